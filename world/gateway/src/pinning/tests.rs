use super::*;
use crate::tests::{Answer, ask, request, store};
use axum::body::Body;
use axum::http::Request;
use talkoo_store::{Block, RAW, Visibility};

async fn send(router: &Router, method: &str, path: &str, body: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    ask(router, Caller::Owner, request.body(Body::from(body.to_owned())).unwrap()).await
}

/// Asks until a pin is where it will stay.
async fn settled(router: &Router, id: &str) -> Value {
    loop {
        let told = send(router, "GET", &format!("/pins/{id}"), "").await.json();
        if matches!(told["status"].as_str(), Some("pinned" | "failed")) {
            return told;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn pins_are_written_found_replaced_and_let_go() {
    let (store, _folder) = store();
    let block = Block::of(RAW, b"here".as_slice().into()).unwrap();
    store.blocks.put(std::slice::from_ref(&block), Visibility::Private, talkoo_disk::blocks::Sync::Now).unwrap();
    let router = Pinning::new(store.clone()).router();
    let pin = json!({"cid": block.cid().to_string(), "name": "Mine", "meta": {"app": "x"}, "origins": ["/ip4/127.0.0.1/tcp/1"]});
    let made = send(&router, "POST", "/pins", &pin.to_string()).await;
    assert_eq!(made.status.as_u16(), 202);
    let id = made.json()["requestid"].as_str().unwrap().to_owned();
    let told = settled(&router, &id).await;
    assert_eq!((told["status"].as_str(), &told["pin"]), (Some("pinned"), &pin));
    let absent = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    let failed = send(&router, "POST", "/pins", &json!({"cid": absent}).to_string()).await.json();
    let failed = settled(&router, failed["requestid"].as_str().unwrap()).await;
    assert!(
        failed["status"] == "failed" && failed["info"]["status_details"].as_str().unwrap().contains("nobody has it")
    );
    let counts = [
        ("", 1),
        ("?status=failed", 1),
        ("?status=failed,pinned", 2),
        ("?name=mine", 0),
        ("?name=mine&match=iexact", 1),
        ("?name=in&match=partial", 1),
        ("?meta=%7B%22app%22%3A%22x%22%7D", 1),
        ("?meta=%7B%22app%22%3A%22y%22%7D", 0),
        ("?before=1999-01-01T00:00:00Z", 0),
        ("?after=1999-01-01T00:00:00Z&limit=1&status=pinned,failed", 2),
        (&format!("?cid={absent}"), 1),
    ];
    for (query, count) in counts {
        let list = send(&router, "GET", &format!("/pins{query}"), "").await.json();
        assert_eq!(list["count"], count, "{query}");
    }
    // A service that starts again goes on with what is written.
    let again = Pinning::new(store.clone());
    again.resume();
    let again = again.router();
    assert_eq!(settled(&again, &id).await["status"], "pinned");
    let new = send(&again, "POST", &format!("/pins/{id}"), &pin.to_string()).await.json();
    assert_eq!(send(&again, "GET", &format!("/pins/{id}"), "").await.status.as_u16(), 404);
    let new = new["requestid"].as_str().unwrap();
    store.blocks.collect().unwrap();
    assert!(store.blocks.has(block.cid()).unwrap());
    assert_eq!(send(&again, "DELETE", &format!("/pins/{new}"), "").await.status.as_u16(), 202);
    store.blocks.collect().unwrap();
    assert!(!store.blocks.has(block.cid()).unwrap());
    let cases = [
        ("POST", "/pins", "", 400),
        ("POST", "/pins", "{\"cid\": \"x\"}", 400),
        ("GET", "/pins?limit=0", "", 400),
        ("GET", "/pins?status=odd", "", 400),
        ("GET", "/pins?before=now", "", 400),
        ("GET", "/pins/..%2F", "", 404),
        ("DELETE", "/pins/none", "", 404),
    ];
    for (method, path, body, status) in cases {
        let answer = send(&again, method, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}");
        assert!(answer.json()["error"]["reason"].as_str().is_some_and(|reason| reason.len() > 4));
    }
    let stranger = ask(&again, Caller::Stranger, request("GET", "/pins", &[])).await;
    assert_eq!(stranger.status.as_u16(), 401);
}
