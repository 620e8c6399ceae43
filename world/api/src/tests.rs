//! A real server, a real client, a loop that echoes.

use super::*;

async fn echo() -> (SocketAddr, broadcast::Sender<Arc<str>>, CancellationToken) {
    let (calls, mut inbox) = mpsc::channel::<Call>(4);
    let (events, _) = broadcast::channel(16);
    let stop = CancellationToken::new();
    let addr = "127.0.0.1:0".parse().unwrap();
    let attach = Attach { addr, token: "secret".into(), calls, events: events.clone(), stop: stop.clone() };
    let api = Api::bind(attach).await.unwrap();
    let addr = api.addr;
    tokio::spawn(api.serve());
    tokio::spawn(async move {
        while let Some(call) = inbox.recv().await {
            let no = Refusal::new(RefusalCode::UnknownId, "no such job", "see `talkoo job ls`");
            let answer = if call.name == "job" { Err(no) } else { Ok(json!({"name": call.name, "args": call.args})) };
            call.reply.send(answer).unwrap();
        }
    });
    (addr, events, stop)
}

fn get(url: String, token: &'static str, host: Option<&'static str>) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(&url).header("Authorization", format!("Bearer {token}"));
    if let Some(host) = host {
        request = request.header("Host", host);
    }
    let mut response = request.call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_the_loop_and_strangers_do_not() {
    let (addr, _, stop) = echo().await;
    let cases = [
        ("/api/v1/status?x=1", "secret", None, 200, r#""args":{"x":"1"}"#),
        ("/api/v1/jobs/42", "secret", None, 404, "unknown_id"),
        ("/api/v1/status", "wrong", None, 401, "api.token"),
        ("/api/v1/status", "secret", Some("evil.example"), 403, "loopback"),
        ("/api/v1/nothing", "secret", None, 404, "no such route"),
    ];
    for (path, token, host, status, text) in cases {
        let url = format!("http://{addr}{path}");
        let got = tokio::task::spawn_blocking(move || get(url, token, host)).await.unwrap();
        assert_eq!(got.0, status, "{path}: {}", got.1);
        assert!(got.1.contains(text), "{path}: {}", got.1);
    }
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_happen_and_end_with_the_node() {
    let (addr, events, stop) = echo().await;
    let url = format!("http://{addr}/api/v1/events");
    let reader = tokio::task::spawn_blocking(move || get(url, "secret", None));
    while events.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
    events.send(r#"{"type":"x"}"#.into()).unwrap();
    // The stream ends with the node, and what was sent before is in it.
    stop.cancel();
    let (status, body) = reader.await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(body, ": listening\n\ndata: {\"type\":\"x\"}\n\n");
}
