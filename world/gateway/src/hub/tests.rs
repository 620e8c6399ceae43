use super::*;
use crate::tests::{Answer, ask, folder_of, request, store};
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use talkoo_api::Caller::{Owner, Stranger};
use talkoo_base::sha256;

struct World {
    router: Router,
    hub: Hub,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    let (store, folder) = store();
    let block = talkoo_store::Block::of(talkoo_store::RAW, b"weights".as_slice().into()).unwrap();
    let sync = talkoo_disk::blocks::Sync::Now;
    store.blocks.put(std::slice::from_ref(&block), talkoo_store::Visibility::Public, sync).unwrap();
    let model = Model { name: "tiny".into(), file: "tiny.gguf".into(), cid: *block.cid() };
    let models: Models = Arc::new(move || vec![model.clone()]);
    let hub = Hub::open(store, models, folder.path().join("hub"), [7; 32]).unwrap();
    World { router: hub.clone().router(), hub, _folder: folder }
}

impl World {
    async fn get(&self, caller: Caller, path: &str) -> Answer {
        ask(&self.router, caller, request("GET", path, &[])).await
    }

    async fn post(&self, caller: Caller, path: &str, body: impl Into<Body>) -> Answer {
        ask(&self.router, caller, Request::post(path).body(body.into()).unwrap()).await
    }

    async fn create(&self, name: &str, visibility: &str) -> Answer {
        let body = json!({"name": name, "organization": "me", "visibility": visibility}).to_string();
        self.post(Owner, "/hf/api/repos/create", body).await
    }

    async fn commit(&self, lines: &[Value]) -> Answer {
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.post(Owner, "/hf/api/models/me/one/commit/main", body).await
    }
}

fn header(parent: Option<&str>) -> Value {
    json!({"key": "header", "value": {"summary": "a title", "description": "", "parentCommit": parent}})
}

fn file(path: &str, bytes: &[u8]) -> Value {
    json!({"key": "file", "value": {"path": path, "encoding": "base64", "content": STANDARD.encode(bytes)}})
}

#[tokio::test]
async fn what_is_committed_is_read_at_every_revision() {
    let world = world();
    assert_eq!(world.create("one", "public").await.status.as_u16(), 200);
    let again = world.create("one", "public").await;
    assert!(again.status.as_u16() == 409 && again.json()["url"].as_str().unwrap().ends_with("/hf/me/one"));
    let first = world.commit(&[header(None), file("a/b.txt", b"one"), file("c.txt", b"two")]).await.json();
    let first = first["commitOid"].as_str().unwrap().to_owned();
    let second = world
        .commit(&[
            header(Some(&first)),
            file("c.txt", b"three"),
            json!({"key": "deletedFolder", "value": {"path": "a/"}}),
        ])
        .await;
    assert_eq!(second.status.as_u16(), 200, "{}", second.text());
    let stale = world.commit(&[header(Some(&first)), file("d", b"x")]).await;
    assert_eq!(stale.status.as_u16(), 409);
    let cases = [
        ("main", "c.txt", 200, "three"),
        (first.as_str(), "c.txt", 200, "two"),
        (first.as_str(), "a/b.txt", 200, "one"),
        ("main", "a/b.txt", 404, ""),
        ("v9", "c.txt", 404, ""),
    ];
    for (revision, path, status, text) in cases {
        let path = format!("/hf/me/one/resolve/{revision}/{path}");
        let answer = world.get(Stranger, &path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(text.is_empty() || answer.text() == text, "{path}");
    }
    let told = world.get(Stranger, "/hf/me/one/resolve/main/c.txt").await;
    assert_eq!(told.header("x-repo-commit").len(), 40);
    assert_eq!(told.header("x-linked-etag"), format!("\"{}\"", sha256(&[b"three"])));
    let info = world.get(Stranger, "/hf/api/models/me/one?blobs=true").await.json();
    assert_eq!(
        (info["siblings"][0]["rfilename"].as_str(), info["siblings"][0]["size"].as_u64()),
        (Some("c.txt"), Some(5))
    );
    // Nothing of a commit is collected, and nothing else is kept.
    world.hub.store.blocks.collect().unwrap();
    assert_eq!(world.get(Stranger, &format!("/hf/me/one/resolve/{first}/a/b.txt")).await.text(), "one");
}

#[tokio::test]
async fn large_files_come_by_an_address_that_only_the_node_can_make() {
    let world = world();
    world.create("one", "public").await;
    let bytes = vec![5; 3_000_000];
    let oid = sha256(&[&bytes]).to_string();
    let ask_for = json!({"operation": "upload", "objects": [{"oid": oid, "size": bytes.len()}]}).to_string();
    let batch = world.post(Owner, "/hf/me/one.git/info/lfs/objects/batch", ask_for.clone()).await.json();
    let href = batch["objects"][0]["actions"]["upload"]["href"].as_str().unwrap().to_owned();
    let path = href.split_once("/hf/").map(|(_, path)| format!("/hf/{path}")).unwrap();
    let put = |path: String, body: Vec<u8>| {
        let request = Request::put(path).body(Body::from(body)).unwrap();
        ask(&world.router, Stranger, request)
    };
    assert_eq!(put(path.replace("/lfs/", "/lfs/0"), bytes.clone()).await.status.as_u16(), 401);
    assert_eq!(put(path.clone(), bytes[1..].to_vec()).await.status.as_u16(), 400);
    assert_eq!(put(path, bytes.clone()).await.status.as_u16(), 200);
    let batch = world.post(Owner, "/hf/me/one.git/info/lfs/objects/batch", ask_for).await.json();
    assert!(batch["objects"][0].get("actions").is_none(), "it is here already");
    let missing = json!({"key": "lfsFile", "value": {"path": "y", "oid": "0".repeat(64), "size": 1}});
    assert_eq!(world.commit(&[header(None), missing]).await.status.as_u16(), 404);
    let large =
        json!({"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": oid, "size": bytes.len()}});
    assert_eq!(world.commit(&[header(None), large]).await.status.as_u16(), 200);
    let headers = [("range", "bytes=2999999-")];
    let last = ask(&world.router, Stranger, request("GET", "/hf/me/one/resolve/main/w.bin", &headers)).await;
    assert_eq!(
        (last.status.as_u16(), last.body.as_slice(), last.header("x-linked-size")),
        (206, [5].as_slice(), "3000000")
    );
}

#[tokio::test]
async fn strangers_neither_write_nor_see_what_is_private() {
    let world = world();
    world.create("one", "private").await;
    world.commit(&[header(None), file("a", b"secret")]).await;
    let cases = [
        ("/hf/api/models/me/one", 404),
        ("/hf/me/one/resolve/main/a", 404),
        ("/hf/api/models/me/one/tree/main", 404),
        ("/hf/api/whoami-v2", 401),
        ("/hf/nothing", 404),
        ("/hf/api/models/..%2f..%2fetc", 400),
        ("/hf/api/models/%ff", 400),
        ("/hf/ipfs/nonsense/resolve/main/a", 404),
    ];
    for (path, status) in cases {
        assert_eq!(world.get(Stranger, path).await.status.as_u16(), status, "{path}");
    }
    let private: talkoo_base::Cid = {
        let info = world.get(Owner, "/hf/api/models/me/one").await.json();
        info["cid"].as_str().unwrap().parse().unwrap()
    };
    assert_eq!(world.get(Stranger, &format!("/hf/ipfs/{private}/resolve/main/a")).await.status.as_u16(), 504);
    assert_eq!(world.get(Owner, "/hf/me/one/resolve/main/a").await.text(), "secret");
    for path in ["/hf/api/repos/create", "/hf/api/models/me/one/commit/main", "/hf/me/one.git/info/lfs/objects/batch"] {
        assert_eq!(world.post(Stranger, path, "{}").await.status.as_u16(), 401, "{path}");
    }
    for body in ["", "[]", "{\"name\": 5}", "{\"name\": \"../x\"}", "{\"name\": \"x\", \"organization\": \"ipfs\"}"] {
        assert_eq!(world.post(Owner, "/hf/api/repos/create", body).await.status.as_u16(), 400, "{body}");
    }
    assert!(world.get(Stranger, "/hf/api/models").await.text().contains("talkoo/tiny"));
    assert_eq!(world.get(Stranger, "/hf/talkoo/tiny/resolve/main/tiny.gguf").await.text(), "weights");
}

#[tokio::test]
async fn names_of_folders_that_others_made_are_bounded() {
    let world = world();
    let store = &world.hub.store;
    let leaf = folder_of(
        store,
        &"n".repeat(1 << 19),
        *talkoo_store::Block::of(talkoo_store::RAW, "x".into()).unwrap().cid(),
        Some(1),
    );
    let wide = folder_of(store, "", leaf, Some(255));
    let deep = (0..20).fold(leaf, |below, _| folder_of(store, &"d".repeat(255), below, None));
    let out = folder_of(store, "..", leaf, None);
    for root in [wide, deep, out] {
        let answer = world.get(Stranger, &format!("/hf/api/models/ipfs/{root}/tree/main?recursive=true")).await;
        assert!(matches!(answer.status.as_u16(), 413 | 500), "{}", answer.status);
    }
    let path = format!("/hf/api/models/ipfs/{wide}/paths-info/main");
    assert_eq!(world.post(Stranger, &path, vec![b' '; BODY_BYTES_MAX + 1]).await.status.as_u16(), 413);
}
