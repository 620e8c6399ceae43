//! Expectations of the path, subdomain and trustless gateway specifications, and of others' conformance suite, restated.

use super::*;
use crate::import::{Import, ImportOptions};
use crate::tests::{Answer, ask, folder_of, request, store};
use talkoo_api::Caller;
use talkoo_disk::blocks::Sync;
use talkoo_store::unixfs::Profile;
use talkoo_store::{Block, DAG_CBOR, Visibility};

struct World {
    router: Router,
    store: Store,
    root: Cid,
    private: Cid,
    _folder: tempfile::TempDir,
}

/// A folder with a page, a file of three leaves, a link, and a private file beside it.
fn world() -> World {
    let (store, folder) = store();
    let add = |files: &[(&str, &[u8])]| {
        let mut import = Import::new(Some(&store.blocks), ImportOptions { profile: Profile::V1_2025 });
        for (path, bytes) in files {
            import.begin(path).unwrap();
            import.push(bytes).unwrap();
            import.end().unwrap();
        }
        import.symlink("link", "hello.txt").unwrap();
        import.finish(true).unwrap().roots[0].cid
    };
    let big: Vec<u8> = (0..2_500_000_u32).map(|i| (i * 7 + i / 999) as u8).collect();
    let root = add(&[
        ("hello.txt", b"hello world\n"),
        ("sub/page/index.html", b"<!doctype html><title>page</title>"),
        ("sub/deep/\u{e9} & <b>.bin", &big),
        ("denied/x", b"x"),
    ]);
    let private = add(&[("secret.txt", b"secret")]);
    store.blocks.set_class(&root, Visibility::Public).unwrap();
    let router = Gateway { store: store.clone(), reach: Reach::Network }.router();
    World { router, store, root, private, _folder: folder }
}

impl World {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let path = path.replace("ROOT", &self.root.to_string());
        ask(&self.router, Caller::Stranger, request("GET", &path, headers)).await
    }
}

#[tokio::test]
async fn files_have_types_ranges_and_tags() {
    let world = world();
    let hello = world.get("/ipfs/ROOT/hello.txt", &[]).await;
    assert_eq!((hello.status.as_u16(), hello.text().as_str()), (200, "hello world\n"));
    assert_eq!(hello.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(hello.header("cache-control"), "public, max-age=29030400, immutable");
    assert_eq!(hello.header("accept-ranges"), "bytes");
    assert_eq!(hello.header("access-control-allow-origin"), "*");
    assert!(hello.header("x-ipfs-roots").starts_with(&format!("{},", world.root)));
    let tag = hello.header("etag").to_owned();
    let cases = [(tag.as_str(), 304), ("*", 304), ("\"other\", W/\"x\"", 200)];
    for (known, status) in cases {
        assert_eq!(world.get("/ipfs/ROOT/hello.txt", &[("if-none-match", known)]).await.status.as_u16(), status);
    }
    let file = "/ipfs/ROOT/sub/deep/%C3%A9%20%26%20%3Cb%3E.bin";
    let ranges = [
        ("bytes=0-0", 206, "bytes 0-0/2500000", 1),
        ("bytes=1048570-1048580", 206, "bytes 1048570-1048580/2500000", 11),
        ("bytes=2499990-", 206, "bytes 2499990-2499999/2500000", 10),
        ("bytes=-5", 206, "bytes 2499995-2499999/2500000", 5),
        ("bytes=0-99999999", 206, "bytes 0-2499999/2500000", 2_500_000),
        ("bytes=2500000-", 416, "bytes */2500000", 0),
        ("bytes=-0", 416, "bytes */2500000", 0),
        // Not one range of bytes: all of it.
        ("bytes=5-1", 200, "", 2_500_000),
        ("bytes=0-1,5-6", 200, "", 2_500_000),
        ("pages=1-2", 200, "", 2_500_000),
    ];
    for (range, status, said, length) in ranges {
        let part = world.get(file, &[("range", range)]).await;
        assert_eq!(
            (part.status.as_u16(), part.header("content-range"), part.body.len()),
            (status, said, length),
            "{range}"
        );
    }
    let head =
        ask(&world.router, Caller::Stranger, request("HEAD", &format!("/ipfs/{}/hello.txt", world.root), &[])).await;
    assert_eq!((head.header("content-length"), head.body.len()), ("12", 0));
    let named = world.get("/ipfs/ROOT/hello.txt?filename=a%22%C3%A9.txt&download=true", &[]).await;
    assert_eq!(
        named.header("content-disposition"),
        "attachment; filename=\"a__.txt\"; filename*=UTF-8''a%22%C3%A9%2Etxt"
    );
}

#[tokio::test]
async fn folders_have_a_page_or_their_index() {
    let world = world();
    let moved = world.get("/ipfs/ROOT/sub", &[]).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (301, format!("/ipfs/{}/sub/", world.root).as_str()));
    let page = world.get("/ipfs/ROOT/sub/deep/", &[]).await;
    assert!(page.text().contains("\u{e9} &amp; &lt;b&gt;.bin</a>") && !page.text().contains("<b>"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(page.header("cache-control"), answer::GENERATED);
    let index = world.get("/ipfs/ROOT/sub/page/", &[]).await;
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    assert!(index.text().contains("<title>page"));
    let known = [("if-none-match", index.header("etag"))];
    assert_eq!(world.get("/ipfs/ROOT/sub/page/", &known).await.status.as_u16(), 304);
    let link = world.get("/ipfs/ROOT/link", &[]).await;
    assert_eq!((link.header("content-type"), link.text().as_str()), ("inode/symlink", "hello.txt"));
    let tar = world.get("/ipfs/ROOT/sub?format=tar", &[]).await;
    let mut archive = tar::Archive::new(tar.body.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, ["sub/", "sub/deep/", "sub/deep/\u{e9} & <b>.bin", "sub/page/", "sub/page/index.html"]);
}

#[tokio::test]
async fn each_dag_has_an_origin_of_its_own_on_localhost() {
    let world = world();
    let moved = world.get("/ipfs/ROOT/hello.txt?x=1", &[("host", "localhost:8421")]).await;
    let to = format!("http://{}.ipfs.localhost:8421/hello.txt?x=1", world.root);
    assert_eq!((moved.status.as_u16(), moved.header("location")), (301, to.as_str()));
    let host = format!("{}.ipfs.localhost:8421", world.root);
    let hello = world.get("/hello.txt", &[("host", &host)]).await;
    assert_eq!(hello.text(), "hello world\n");
    assert!(world.get("/", &[("host", &host)]).await.text().contains("hello.txt"));
    let moved = world.get("/sub/page", &[("host", &host)]).await;
    assert_eq!(moved.header("location"), "/sub/page/");
    let bad = world.get("/", &[("host", "nonsense.ipfs.localhost")]).await;
    assert_eq!(bad.status.as_u16(), 400);
    let old = world.get("/ipfs/QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o", &[("host", "localhost")]).await;
    assert!(
        old.header("location").starts_with("http://bafybeicg2rebjoofv4kbyovkw7af3rpiitvnl6i7ckcywaq6xjcxnc2mby.ipfs")
    );
}

#[tokio::test]
async fn blocks_and_cars_can_be_checked() {
    let world = world();
    let raw = world.get("/ipfs/ROOT?format=raw", &[]).await;
    assert_eq!(raw.header("content-type"), "application/vnd.ipld.raw");
    assert_eq!(raw.header("content-disposition").split(';').next(), Some("attachment"));
    Block::verified(world.root, raw.body.into()).unwrap();
    let accept = [("accept", "application/vnd.ipld.car; version=1; order=dfs; dups=y")];
    let cases = [
        ("/ipfs/ROOT/hello.txt", 2),
        ("/ipfs/ROOT/sub/page?dag-scope=block", 3),
        ("/ipfs/ROOT/sub/page?dag-scope=entity", 3),
        ("/ipfs/ROOT/sub/deep/%C3%A9%20%26%20%3Cb%3E.bin?dag-scope=entity", 7),
        ("/ipfs/ROOT/sub/deep/%C3%A9%20%26%20%3Cb%3E.bin?entity-bytes=0:10", 5),
        ("/ipfs/ROOT/sub/deep/%C3%A9%20%26%20%3Cb%3E.bin?entity-bytes=-10:*", 5),
    ];
    for (path, blocks) in cases {
        let car = world.get(path, &accept).await;
        assert_eq!(car.header("content-type"), "application/vnd.ipld.car; version=1; order=dfs; dups=y", "{path}");
        assert!(car.header("etag").starts_with("W/\"") && car.header("accept-ranges") == "none");
        let mut decoder = talkoo_store::car::Decoder::default();
        decoder.push(&car.body);
        let mut items = Vec::new();
        while let Some(item) = decoder.next().unwrap() {
            items.push(item);
        }
        decoder.finish().unwrap();
        assert_eq!(items.len(), 1 + blocks, "{path}");
    }
    let cbor = Block::of(DAG_CBOR, vec![0xa1, 0x61, b'a', 0x01].into()).unwrap();
    world.store.blocks.put(std::slice::from_ref(&cbor), Visibility::Public, Sync::Now).unwrap();
    let json = world.get(&format!("/ipfs/{}?format=dag-json", cbor.cid()), &[]).await;
    assert_eq!((json.text().as_str(), json.header("content-type")), ("{\"a\":1}", "application/vnd.ipld.dag-json"));
    let whole = world.get(&format!("/ipfs/{}", cbor.cid()), &[]).await;
    assert_eq!(
        (whole.body.as_slice(), whole.header("content-type")),
        (cbor.bytes().as_ref(), "application/vnd.ipld.dag-cbor")
    );
}

#[tokio::test]
async fn few_blocks_that_unfold_to_many_names_end_an_archive_early() {
    let world = world();
    let file = Block::of(talkoo_store::RAW, "x".into()).unwrap();
    world.store.blocks.put(std::slice::from_ref(&file), Visibility::Public, Sync::Later).unwrap();
    let file = *file.cid();
    // 256 × 256 × 4 names of three blocks; a name before thousands; a name that leads out.
    let (leaf, long) = (folder_of(&world.store, "n", file, Some(3)), "n".repeat(1 << 20));
    let wide = (0..2).fold(leaf, |below, _| folder_of(&world.store, "", below, Some(255)));
    let many = folder_of(&world.store, "m", file, Some(255));
    let cases = [wide, folder_of(&world.store, &long, many, None), folder_of(&world.store, "..", file, None)];
    for root in cases {
        let tar = world.get(&format!("/ipfs/{root}?format=tar"), &[]).await;
        assert!(tar.status.as_u16() == 200 && tar.body.len() <= 2048, "{} bytes", tar.body.len());
    }
    // Deep ones are no trouble as long as paths are short.
    let deep = (0..20).fold(many, |below, _| folder_of(&world.store, "d", below, None));
    let tar = world.get(&format!("/ipfs/{deep}?format=tar"), &[]).await;
    assert_eq!(tar::Archive::new(tar.body.as_slice()).entries().unwrap().count(), 21 + 256);
}

#[tokio::test]
async fn what_is_wrong_private_denied_or_absent_is_said() {
    let world = world();
    let private = format!("/ipfs/{}/secret.txt", world.private);
    let private_raw = format!("/ipfs/{}?format=raw", world.private);
    let binary = format!("/ipfs/{}", world.root.to_string_of_base(cid::multibase::Base::Base2).unwrap());
    let absent = "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    // What is private looks like what nobody has, also by the time that the network is asked.
    let cases = [
        (private.as_str(), 504),
        (private_raw.as_str(), 504),
        (absent, 504),
        ("/ipfs/ROOT/nowhere", 404),
        ("/ipfs/ROOT/hello.txt/below", 404),
        ("/ipfs/ROOT/denied/x", 410),
        ("/ipfs/nonsense", 400),
        // Right, but in base 2: names so long are not read, for in base 58 that would take seconds.
        (binary.as_str(), 400),
        ("/ipfs/ROOT/%ff", 400),
        ("/ipfs/ROOT/a/../b", 400),
        ("/ipfs/ROOT/a%2f..%2fb", 400),
        ("/ipfs/ROOT/a%00b", 400),
        ("/ipfs/ROOT?format=what", 400),
        ("/ipfs/ROOT?format=car&dag-scope=what", 400),
        ("/ipfs/ROOT?format=car&entity-bytes=what", 400),
        ("/ipfs/ROOT?format=car&car-version=2", 400),
        ("/ipfs/ROOT?format=ipns-record", 501),
        ("/ipns/example.org/", 501),
        ("/elsewhere", 404),
        ("/routing/v1/providers/nonsense", 400),
        ("/routing/v1/ipns/k51", 501),
    ];
    for (path, status) in cases {
        let answer = world.get(path, &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert!(answer.text().len() > 20, "{path} says why");
    }
    let cached = world.get(absent, &[("cache-control", "only-if-cached")]).await;
    assert_eq!(cached.status.as_u16(), 412);
    let worker = world.get("/ipfs/ROOT/hello.txt", &[("service-worker", "script")]).await;
    assert_eq!(worker.status.as_u16(), 400);
    let written = ask(&world.router, Caller::Stranger, request("PUT", "/ipfs/x", &[])).await;
    assert_eq!((written.status.as_u16(), written.header("allow")), (405, "GET, HEAD, OPTIONS"));
    // Not even the owner's token opens what is private here.
    let owner = ask(&world.router, Caller::Owner, request("GET", &private, &[])).await;
    assert_eq!(owner.status.as_u16(), 504);
    let found = world.get(&format!("/routing/v1/providers/{}", world.root), &[("host", "127.0.0.1:8421")]).await;
    assert_eq!(found.json()["Providers"][0]["Addrs"][0], "/ip4/127.0.0.1/tcp/8421/http");
    let nothing = world.get(&format!("/routing/v1/providers/{}", world.private), &[]).await;
    assert_eq!(nothing.json()["Providers"], serde_json::Value::Null);
}
