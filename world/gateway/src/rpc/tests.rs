use super::*;
use crate::tests::{Answer, ask, request, store};
use axum::body::Body;
use axum::http::Request;
use talkoo_store::Visibility;

/// Path, media type, bytes.
type Part<'a> = (&'a str, &'a str, &'a [u8]);

fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (path, media, bytes) in parts {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{path}\"\r\nContent-Type: {media}\r\n\r\n"
        );
        body.extend(head.as_bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--b--\r\n");
    body
}

async fn upload(router: &Router, path: &str, parts: &[Part<'_>]) -> Answer {
    let request = Request::post(path).header("content-type", "multipart/form-data; boundary=b");
    ask(router, Caller::Owner, request.body(Body::from(form(parts))).unwrap()).await
}

async fn call(router: &Router, path: &str) -> Answer {
    ask(router, Caller::Owner, request("POST", path, &[])).await
}

#[tokio::test]
async fn only_the_owner_is_heard() {
    let (store, _folder) = store();
    let router = router(store);
    let no = ask(&router, Caller::Stranger, request("POST", "/api/v0/id", &[])).await;
    assert_eq!((no.status.as_u16(), no.json()["Reason"].as_str()), (401, Some("bad_signature")));
    assert_eq!(ask(&router, Caller::Owner, request("GET", "/api/v0/id", &[])).await.status.as_u16(), 405);
    assert_eq!(call(&router, "/api/v0/id").await.status.as_u16(), 200);
}

#[tokio::test]
async fn what_is_added_is_private_pinned_and_survives_collection() {
    let (store, _folder) = store();
    let router = router(store.clone());
    let added = upload(
        &router,
        "/api/v0/add?cid-version=1&wrap-with-directory=true",
        &[
            ("a%2Fb.txt", "application/octet-stream", b"one"),
            ("a%2Fempty", "application/x-directory", b""),
            ("a%2Flink", "application/symlink", b"b.txt"),
        ],
    )
    .await;
    let lines: Vec<Value> = added.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|line| line["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a/b.txt", "a/link", "a/empty", "a", ""]);
    let root: talkoo_base::Cid = lines[4]["Hash"].as_str().unwrap().parse().unwrap();
    assert_eq!(store.blocks.info(&root).unwrap().unwrap().visibility, Visibility::Private);
    upload(&router, "/api/v0/add?pin=false&visibility=public", &[("x", "", b"loose")]).await;
    let before = store.blocks.usage().unwrap().blocks;
    call(&router, "/api/v0/repo/gc").await;
    assert_eq!(store.blocks.usage().unwrap().blocks, before - 1);
    assert_eq!(call(&router, &format!("/api/v0/cat?arg={root}/a/b.txt")).await.text(), "one");
    let class = call(&router, &format!("/api/v0/block/class?arg={root}&visibility=public")).await;
    assert_eq!(class.status.as_u16(), 200);
    assert_eq!(store.blocks.info(&root).unwrap().unwrap().visibility, Visibility::Public);
}

#[tokio::test]
async fn a_pin_is_removed_by_the_face_that_made_it() {
    let (store, _folder) = store();
    let router = router(store.clone());
    let root = upload(&router, "/api/v0/add", &[("h", "", b"x")]).await.json()["Hash"].as_str().unwrap().to_owned();
    let hub = crate::keep::pin("hub/models/me/one@1".into(), root.parse().unwrap(), "hub");
    store.blocks.pin_add(&hub).unwrap();
    let remove = format!("/api/v0/pin/rm?arg={root}");
    assert_eq!(call(&router, &remove).await.status.as_u16(), 200);
    let no = call(&router, &remove).await;
    assert_eq!((no.status.as_u16(), no.json()["Reason"].as_str()), (500, Some("in_use")), "{}", no.text());
    call(&router, "/api/v0/repo/gc").await;
    assert_eq!(call(&router, &format!("/api/v0/cat?arg={root}&offline=true")).await.text(), "x");
}

/// `bafkqabtjnzwgs3tf` is the six bytes `inline`; kubo writes such with `add --inline`.
#[tokio::test]
async fn blocks_inside_their_names_are_always_here() {
    let (store, _folder) = store();
    let router = router(store.clone());
    let folder = crate::tests::folder_of(&store, "i", "bafkqabtjnzwgs3tf".parse().unwrap(), None);
    let get = call(&router, &format!("/api/v0/get?arg={folder}&offline=true")).await;
    let mut archive = tar::Archive::new(get.body.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, [format!("{folder}/"), format!("{folder}/i")]);
    assert_eq!(call(&router, "/api/v0/cat?arg=bafkqabtjnzwgs3tf&offline=true").await.text(), "inline");
    // Nobody is asked for it: there is nobody.
    assert_eq!(call(&router, &format!("/api/v0/pin/add?arg={folder}")).await.status.as_u16(), 200);
}

#[tokio::test]
async fn bad_calls_say_why_and_leave_nothing() {
    let (store, _folder) = store();
    let router = router(store.clone());
    let hello = upload(&router, "/api/v0/add", &[("h", "", b"hello world\n")]).await;
    assert_eq!(hello.json()["Hash"], "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o");
    let cases = [
        ("/api/v0/nothing", 500, "there is no such call"),
        ("/api/v0/files/write?arg=/x", 500, "mutable file system"),
        ("/api/v0/cat", 500, ""),
        ("/api/v0/cat?arg=nonsense", 400, "cannot be"),
        ("/api/v0/cat?arg=/ipns/x", 400, "IPNS"),
        ("/api/v0/cat?arg=bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", 500, "nobody has it"),
        ("/api/v0/cat?arg=bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy&offline=true", 500, "not here"),
        ("/api/v0/cat?arg=QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o&offset=-1", 400, "not negative"),
        ("/api/v0/pin/ls?type=odd", 400, "recursive"),
        (
            "/api/v0/pin/rm?arg=bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy&offline=true",
            500,
            "not here",
        ),
        ("/api/v0/get?arg=x&compress=true", 400, "compress"),
        ("/api/v0/swarm/connect?arg=x", 500, "nobody"),
        ("/api/v0/block/class?arg=QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o&visibility=all", 400, "granted"),
        ("/api/v0/routing/provide?arg=QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o", 500, "not public"),
    ];
    for (path, status, word) in cases {
        let answer = call(&router, path).await;
        if word.is_empty() {
            continue;
        }
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert!(answer.json()["Message"].as_str().unwrap().contains(word), "{path}: {}", answer.text());
    }
    let before = store.blocks.usage().unwrap().blocks;
    let uploads: [(&str, &[Part<'_>], &str); 9] = [
        ("/api/v0/add?chunker=size-1000", &[("a", "", b"x")], "chunker"),
        ("/api/v0/add?cid-version=2", &[("a", "", b"x")], "cid-version"),
        ("/api/v0/add?raw-leaves=true", &[("a", "", b"x")], "raw-leaves"),
        ("/api/v0/add", &[("..%2Fa", "", b"x")], "leads out"),
        ("/api/v0/add?only-hash=true", &[("a", "", b"x"), ("a", "", b"y")], "comes twice"),
        ("/api/v0/dag/put?input-codec=dag-cbor", &[("a", "", b"\xff\xff")], ""),
        ("/api/v0/dag/put?hash=blake3", &[("a", "", b"{}")], "sha2-256"),
        ("/api/v0/block/put?cid-codec=what", &[("a", "", b"x")], "raw, dag-pb"),
        ("/api/v0/dag/import", &[("a", "", b"nonsense")], ""),
    ];
    for (path, parts, word) in uploads {
        let answer = upload(&router, path, parts).await;
        assert!(answer.text().contains(word) && answer.text().contains("\"Message\""), "{path}: {}", answer.text());
    }
    assert_eq!(store.blocks.usage().unwrap().blocks, before);
    let cut = Request::post("/api/v0/add").header("content-type", "multipart/form-data; boundary=b");
    let body = form(&[("a", "", b"something")]);
    let cut = ask(&router, Caller::Owner, cut.body(Body::from(body[..body.len() - 9].to_vec())).unwrap()).await;
    assert!(cut.text().contains("broke off"), "{}", cut.text());
    assert_eq!(store.blocks.usage().unwrap().blocks, before);
}
