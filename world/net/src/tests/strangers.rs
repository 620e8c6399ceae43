//! Peers that are no nodes of our network: another network's node is as strange as kubo.

use super::*;
use crate::{Counters, Direction, FetchError, FetchOptions, Search, Serve, Strangers};
use talkoo_store::dagpb;

const MIB: u64 = 1 << 20;

async fn stranger(store: Memory) -> Node {
    Node::start_with(config("other"), store, 4096).await
}

fn from(peer: crate::PeerId) -> FetchOptions {
    FetchOptions { from: vec![peer], ..FetchOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_exchange_blocks_and_are_seen() {
    let data = pattern(3 << 20, 1);
    let (memory, root) = Memory::with_file(&data);
    let (server, client) = (Node::start(memory, &[]).await, stranger(Memory::new()).await);
    let peer = client.net.connect(server.tcp()).await.unwrap();
    assert_eq!(client.net.connect(server.tcp()).await, Ok(peer), "once is enough");
    timeout(DEADLINE, client.net.fetch(root, from(peer), |_| {})).await.unwrap().unwrap();
    assert_eq!(client.store.read(root), data);
    assert!(client.net.peers().is_empty(), "a stranger is no node");
    // A ping is a way to wait until the peer has said who it is.
    let told = async {
        loop {
            client.net.ping(peer).await.unwrap();
            if let [told] = &client.net.swarm()[..]
                && told.agent.is_some()
            {
                return told.clone();
            }
        }
    };
    let told = timeout(DEADLINE, told).await.unwrap();
    assert_eq!((told.peer, told.node, told.direction), (peer, None, Direction::Outbound));
    assert!(told.agent.unwrap().starts_with("talkoo/") && told.protocols.contains(&"/ipfs/bitswap/1.2.0".to_owned()));
    let entry = client.net.ledger(peer);
    assert_eq!((entry.received_blocks, entry.sent_blocks), (4, 0));
    assert!(entry.received_bytes > data.len() as u64 && told.received_bytes == entry.received_bytes);
    let me = server.net.swarm()[0].peer;
    let theirs = server.net.ledger(me);
    assert_eq!((theirs.sent_bytes, theirs.ratio()), (entry.received_bytes, Some(entry.received_bytes as f64)));
    assert!(client.net.disconnect(peer).await && client.net.swarm().is_empty());
    assert!(!client.net.disconnect(peer).await);
    assert_eq!(client.net.ping(peer).await, Err(crate::PingError::NotConnected { peer }));
    assert_eq!(client.net.ledger(peer), entry, "what was exchanged is not forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_moves_the_blocks_that_it_is_asked_for() {
    let (memory, root) = Memory::with_file(&pattern(8 << 20, 2));
    let server = Node::start(memory, &[]).await;
    let client = stranger(Memory::new()).await;
    client.net.connect(server.tcp()).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..3 {
        let other = stranger(Memory::new()).await;
        client.net.connect(other.tcp()).await.unwrap();
        others.push(other);
    }
    let session = client.net.session(root, vec![]).await.unwrap();
    let node = timeout(DEADLINE, session.get(root)).await.unwrap().unwrap();
    let links = dagpb::Node::decode(node.bytes()).unwrap().links;
    for link in links.iter().skip(5).chain(links.iter().skip(5)) {
        let leaf = timeout(DEADLINE, session.get(link.cid)).await.unwrap().unwrap();
        assert_eq!(leaf.cid(), &link.cid);
    }
    assert_eq!(server.store.served.load(Ordering::SeqCst), 4, "the root and three leaves, once each");
    let side_by_side = futures::future::join_all(links[..3].iter().map(|link| session.get(link.cid)));
    assert!(timeout(DEADLINE, side_by_side).await.unwrap().iter().all(Result::is_ok));
    let absent = *Block::of(0x55, Bytes::from_static(b"nobody has this")).unwrap().cid();
    let missing = timeout(DEADLINE, session.get(absent)).await.unwrap();
    let Err(FetchError::Missing { cid, tried }) = missing else { panic!("{missing:?}") };
    assert_eq!((cid, tried.asked, tried.denied, tried.dht), (absent, 4, 4, Search::Found(0)));
    let said = FetchError::Missing { cid, tried }.to_string();
    assert!(said.contains("4 peers asked, 4 said no, the DHT knows 0"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_kept_while_a_peer_is_silent() {
    let (memory, root) = Memory::with_file(b"never");
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let silent = memory.serving(move |_, _| {
        // Until the test is over.
        held.lock().unwrap().recv().ok();
        None
    });
    let (server, client) = (Node::start(silent, &[]).await, stranger(Memory::new()).await);
    let peer = client.net.connect(server.tcp()).await.unwrap();
    let deadline = Duration::from_millis(200);
    let session = client.net.session(root, vec![peer]).await.unwrap();
    let missing = timeout(DEADLINE, session.get_within(root, deadline)).await.unwrap();
    let Err(FetchError::Missing { tried, .. }) = missing else { panic!("{missing:?}") };
    assert!((tried.asked, tried.denied, tried.dht) == (1, 0, Search::No) && tried.waited >= deadline, "{tried}");
    let options = FetchOptions { deadline: Some(deadline), ..from(peer) };
    let missing = timeout(DEADLINE, client.net.fetch(root, options, |_| {})).await.unwrap();
    assert!(matches!(missing, Err(FetchError::Missing { cid, .. }) if cid == root), "{missing:?}");
    drop(hold);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_have_a_budget_and_nodes_have_none() {
    let data = pattern(8 << 20, 3);
    let cases = [
        (Serve { strangers: Strangers::Nobody, ..Serve::default() }, 0..=0, "refused"),
        (Serve { bytes_per_hour: 2 * MIB, ..Serve::default() }, 2 * MIB..=4 * MIB, "a budget each"),
        (Serve { bytes_per_hour_all: 3 * MIB, ..Serve::default() }, 3 * MIB..=5 * MIB, "a budget for all"),
    ];
    for (serve, received, name) in cases {
        let (memory, root) = Memory::with_file(&data);
        let server = Node::start_with(NetConfig { serve, ..config("test") }, memory, 4096).await;
        let client = stranger(Memory::new()).await;
        let peer = client.net.connect(server.tcp()).await.unwrap();
        let options = FetchOptions { deadline: Some(Duration::from_secs(2)), ..from(peer) };
        let result = timeout(DEADLINE, client.net.fetch(root, options, |_| {})).await.unwrap();
        assert!(matches!(result, Err(FetchError::Missing { .. })), "{name}: {result:?}");
        let got = client.net.ledger(peer).received_bytes;
        assert!(received.contains(&got), "{name}: {got}");
        let Counters { strangers_refused, budget_refused, .. } = server.net.counters();
        assert_eq!((strangers_refused > 0, budget_refused > 0), (got == 0, got > 0), "{name}");
        let node = Node::start(Memory::new(), &[]).await;
        node.net.dial(server.tcp()).await.unwrap();
        timeout(DEADLINE, node.net.fetch(root, FetchOptions::default(), |_| {})).await.unwrap().unwrap();
        assert_eq!(node.store.read(root), data, "{name}");
    }
}
