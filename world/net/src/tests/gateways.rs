//! A gateway on loopback that answers each request with what it was told to.

use super::*;
use crate::{FetchError, FetchOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

type Answer = dyn Fn(&str) -> (u16, Vec<(&'static str, String)>, Vec<u8>) + Send + Sync;

/// Starts a server; its URL. It lives as long as the test's process.
fn gateway(answer: Box<Answer>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::<Answer>::from(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let is_raw = headers.iter().any(|line| line.eq_ignore_ascii_case("accept: application/vnd.ipld.raw"));
                assert!(is_raw && first.contains("?format=raw"), "{first} {headers:?}");
                let (status, headers, body) = answer(first.split(' ').nth(1).unwrap_or_default());
                let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
                // A client may have seen enough.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            });
        }
    });
    url
}

/// Serves the blocks of a store.
fn honest(store: Memory) -> String {
    gateway(Box::new(move |path| {
        let cid = path.strip_prefix("/ipfs/").and_then(|path| path.split('?').next()?.parse().ok());
        match cid.and_then(|cid: Cid| store.get(&cid)) {
            Some(block) => (200, vec![], block.bytes().to_vec()),
            None => (404, vec![], vec![]),
        }
    }))
}

async fn client(gateways: Vec<String>) -> Node {
    Node::start_with(NetConfig { gateways, ..config("test") }, Memory::new(), 4096).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_peer_has_comes_from_a_gateway() {
    let data = pattern(12 << 20, 1);
    let (memory, root) = Memory::with_file(&data);
    let empty = Node::start(Memory::new(), &[]).await;
    let client = client(vec![honest(Memory::new()), honest(memory)]).await;
    client.net.dial(empty.tcp()).await.unwrap();
    timeout(DEADLINE, client.net.fetch(root, FetchOptions::default(), |_| {})).await.unwrap().unwrap();
    assert_eq!(client.store.read(root), data);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_blocks_of_public_or_named_servers_are_taken() {
    let (memory, root) = Memory::with_file(b"checked");
    let good = honest(memory);
    let cases: [(&str, bool, Box<Answer>); 5] = [
        ("other bytes", false, Box::new(|_| (200, vec![], b"unchecked".to_vec()))),
        ("an endless block", false, Box::new(|_| (200, vec![], vec![0; (2 << 20) + 1]))),
        ("an error", false, Box::new(|_| (500, vec![], b"checked".to_vec()))),
        ("a redirect to a private address", false, {
            let good = good.clone();
            Box::new(move |path| (302, vec![("Location", format!("{good}{path}"))], vec![]))
        }),
        ("a redirect to itself, once", true, {
            Box::new(move |path| match path.strip_prefix("/again") {
                Some(_) => (200, vec![], b"checked".to_vec()),
                None => (302, vec![("Location", format!("/again{path}"))], vec![]),
            })
        }),
    ];
    for (name, is_taken, answer) in cases {
        let client = client(vec![gateway(answer)]).await;
        let session = client.net.session(root, vec![]).await.unwrap();
        let result = timeout(DEADLINE, session.get(root)).await.unwrap();
        assert_eq!(result.is_ok(), is_taken, "{name}: {result:?}");
        let is_missing =
            matches!(&result, Err(FetchError::Missing { tried, .. }) if tried.asked == 1 && tried.denied == 1);
        assert!(is_taken || is_missing, "{name}: {result:?}");
    }
    let client = client(vec![good]).await;
    let session = client.net.session(root, vec![]).await.unwrap();
    assert_eq!(timeout(DEADLINE, session.get(root)).await.unwrap().unwrap().bytes(), &b"checked"[..]);
}

#[tokio::test]
async fn addresses_of_gateways_are_checked_at_the_start() {
    for url in ["ftp://x.org", "x.org", "https://", "https://x.org/?a=b", ""] {
        let config = NetConfig { gateways: vec![url.to_owned()], ..config("test") };
        let result = Net::start(config, Arc::new(Memory::new()), mpsc::channel(1).0).await;
        assert!(matches!(result, Err(crate::NetError::Gateway { .. })), "{url}");
    }
}
