//! Webhooks on a real socket.

use super::deliver::signature;
use super::{Hooks, lock};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::RefusalCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Deadline of all that a test waits for.
const SOON: Duration = Duration::from_secs(30);

type Heard = (HeaderMap, String);

/// An address that answers with a status, and says what it hears.
async fn ear(status: StatusCode) -> (String, mpsc::Receiver<Heard>) {
    let (said, heard) = mpsc::channel(64);
    let hear = move |headers: HeaderMap, body: String| async move {
        said.send((headers, body)).await.unwrap();
        (status, [("location", "/elsewhere")])
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", post(hear));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, heard)
}

async fn next(heard: &mut mpsc::Receiver<Heard>) -> Heard {
    timeout(SOON, heard.recv()).await.expect("an event comes").unwrap()
}

/// Waits until one webhook is as it should be.
async fn until(hooks: &Hooks, is_so: impl Fn(&super::Hook) -> bool) {
    let wait = async {
        while !is_so(&hooks.all()[0]) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, wait).await.expect("the attempt is noted");
}

#[test]
fn a_signature_is_that_of_the_standards_example() {
    // github.com/standard-webhooks/standard-webhooks, the example of its libraries' tests.
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn addresses_and_events_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = Hooks::open(folder.path().to_owned()).unwrap();
    let long = format!("http://a/{}", "x".repeat(3000));
    for url in
        ["", "example.org", "ftp://example.org/x", "http://", "https://me:pass@example.org/", "file:///etc", &long]
    {
        assert_eq!(hooks.create(url, Vec::new()).unwrap_err().code, RefusalCode::Malformed, "{url}");
    }
    let no = hooks.create("http://127.0.0.1:9/", vec!["batch.done".into()]).unwrap_err();
    assert!(no.message.contains("batch.done") && no.hint.contains("batch.completed"));
    for _ in 0..crate::limits::HOOKS_MAX {
        hooks.create("http://127.0.0.1:9/", Vec::new()).unwrap();
    }
    assert_eq!(hooks.create("http://127.0.0.1:9/", Vec::new()).unwrap_err().code, RefusalCode::TooLarge);
    assert_eq!(hooks.remove("we_0").unwrap_err().code, RefusalCode::UnknownId);
}

#[tokio::test]
async fn who_wants_an_event_is_told_it_signed_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (url, mut heard) = ear(StatusCode::OK).await;
    let hooks = Arc::new(Hooks::open(folder.path().to_owned()).unwrap());
    let (hook, secret) = hooks.create(&url, vec!["batch.completed".into()]).unwrap();
    let stop = CancellationToken::new();
    let goes = tokio::spawn(hooks.clone().go(stop.clone()));
    hooks.tell("batch.failed", "batch_1");
    hooks.tell("batch.completed", "batch_2");
    let (headers, body) = next(&mut heard).await;
    let text = |name: &str| headers[name].to_str().unwrap();
    let event: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((event["type"].as_str(), event["data"]["id"].as_str()), (Some("batch.completed"), Some("batch_2")));
    assert_eq!(event["id"], text("webhook-id"));
    let signed = signature(&secret, text("webhook-id"), text("webhook-timestamp").parse().unwrap(), &body);
    assert_eq!(signed, text("webhook-signature"));
    until(&hooks, |hook| hook.delivered == 1).await;
    hooks.test(&hook.id).unwrap();
    assert!(next(&mut heard).await.1.contains("webhook.test"));
    until(&hooks, |hook| hook.delivered == 2).await;
    stop.cancel();
    timeout(SOON, goes).await.expect("it ends").unwrap();
    // Nothing is left, here or on the disk.
    assert!(lock(&hooks.pending).is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("queue")).unwrap().count(), 0);
    assert!(!hooks.shown(&hooks.all()[0]).to_string().contains(&secret));
}

#[tokio::test]
async fn what_was_not_told_is_told_after_a_restart_with_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody goes yet: as if the node had been killed right after it noted the event.
    let (url, mut heard) = ear(StatusCode::NO_CONTENT).await;
    let hooks = Hooks::open(folder.path().to_owned()).unwrap();
    hooks.create(&url, Vec::new()).unwrap();
    hooks.tell("response.failed", "resp_1");
    let id = lock(&hooks.pending).values().next().unwrap().event.clone();
    drop(hooks);
    std::fs::write(folder.path().join("queue/torn.json"), "{\"event\": \"ev").unwrap();
    let hooks = Arc::new(Hooks::open(folder.path().to_owned()).unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(hooks.clone().go(stop.clone()));
    assert_eq!(next(&mut heard).await.0["webhook-id"].to_str().unwrap(), id);
    until(&hooks, |hook| hook.delivered == 1).await;
    stop.cancel();
}

#[tokio::test]
async fn failures_are_tried_again_later_and_410_ends_it() {
    for (status, is_gone) in
        [(StatusCode::INTERNAL_SERVER_ERROR, false), (StatusCode::TEMPORARY_REDIRECT, false), (StatusCode::GONE, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let (url, mut heard) = ear(status).await;
        let hooks = Arc::new(Hooks::open(folder.path().to_owned()).unwrap());
        hooks.create(&url, Vec::new()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(hooks.clone().go(stop.clone()));
        hooks.tell("batch.expired", "batch_3");
        next(&mut heard).await;
        until(&hooks, |hook| hook.trouble.is_some()).await;
        let hook = hooks.all().remove(0);
        assert!(hook.is_gone == is_gone && hook.trouble.unwrap().contains(status.as_str()));
        let is_so = || match lock(&hooks.pending).values().next() {
            Some(one) => !is_gone && one.attempts > 0,
            None => is_gone,
        };
        timeout(SOON, async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it waits for its next attempt, or is forgotten");
        stop.cancel();
    }
}
