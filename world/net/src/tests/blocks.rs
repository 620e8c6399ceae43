use super::*;
use crate::{FetchError, FetchOptions, Search, peer_id_of};
use std::sync::Condvar;
use talkoo_store::fetch::FetchFailure;
use tokio::sync::Notify;

const FILE_BYTES: usize = 20 << 20;

fn options(from: Vec<NodeId>) -> FetchOptions {
    FetchOptions { from: from.iter().filter_map(peer_id_of).collect(), ..FetchOptions::default() }
}

async fn fetch(node: &Node, root: Cid, from: Vec<NodeId>) -> Result<crate::Fetched, FetchError> {
    timeout(DEADLINE, node.net.fetch(root, options(from), |_| {})).await.expect("a download ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_from_three_peers_at_once() {
    let data = pattern(FILE_BYTES, 1);
    let client = Node::start(Memory::new(), &[]).await;
    let mut peers = Vec::new();
    let mut root = None;
    for _ in 0..3 {
        let (memory, cid) = Memory::with_file(&data);
        root = Some(cid);
        let peer = Node::start(memory, &[]).await;
        client.net.dial(peer.tcp()).await.unwrap();
        peers.push(peer);
    }
    let root = root.unwrap();
    let last = Mutex::new(crate::FetchProgress::default());
    let fetched = client.net.fetch(root, options(vec![]), |progress| *last.lock().unwrap() = progress);
    let fetched = timeout(DEADLINE, fetched).await.unwrap().unwrap();
    assert_eq!((fetched.blocks, fetched.held_bytes), (21, 0));
    assert_eq!(client.store.read(root), data);
    let last = *last.lock().unwrap();
    assert_eq!((last.blocks, last.total_bytes), (21, Some(FILE_BYTES as u64)));
    for peer in &peers {
        assert!(peer.store.served.load(Ordering::SeqCst) >= 2, "every peer serves");
    }
    let received: u64 = client.net.peers().iter().map(|peer| peer.received_bytes).sum();
    assert!(received >= FILE_BYTES as u64);
    // Again: everything is here.
    let again = fetch(&client, root, vec![]).await.unwrap();
    assert_eq!(again.held_bytes, again.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_as_private_is_given_to_nobody() {
    let (memory, root) = Memory::with_file(&pattern(3 << 20, 7));
    let owner = Node::start(memory, &[]).await;
    let (grantee, other) = (Node::start(Memory::new(), &[]).await, Node::start(Memory::new(), &[]).await);
    grantee.net.dial(owner.tcp()).await.unwrap();
    other.net.dial(grantee.tcp()).await.unwrap();
    let private = FetchOptions { visibility: Visibility::Private, ..options(vec![owner.net.id()]) };
    timeout(DEADLINE, grantee.net.fetch(root, private, |_| {})).await.unwrap().unwrap();
    let missing = fetch(&other, root, vec![grantee.net.id()]).await;
    assert!(matches!(missing, Err(FetchError::Missing { cid, .. }) if cid == root), "{missing:?}");
    assert_eq!(grantee.store.served.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_dies_in_the_middle_costs_nothing_but_time() {
    let data = pattern(FILE_BYTES, 2);
    let (stuck, gate) = (Arc::new(Notify::new()), Arc::new((Mutex::new(false), Condvar::new())));
    let (memory, root) = Memory::with_file(&data);
    let (notify, hold) = (Arc::clone(&stuck), Arc::clone(&gate));
    let victim = memory.serving(move |block, n| {
        if n < 2 {
            return Some(block.bytes().clone());
        }
        notify.notify_one();
        // Dead from here on; the deadline only bounds a failing test.
        let guard = hold.0.lock().unwrap();
        drop(hold.1.wait_timeout_while(guard, DEADLINE, |is_over| !*is_over).unwrap());
        None
    });
    let victim = Node::start(victim, &[]).await;
    let client = Node::start(Memory::new(), &[]).await;
    client.net.dial(victim.tcp()).await.unwrap();
    let (mut others, mut from) = (Vec::new(), vec![victim.net.id()]);
    for _ in 0..2 {
        let peer = Node::start(Memory::with_file(&data).0, &[]).await;
        client.net.dial(peer.tcp()).await.unwrap();
        from.push(peer.net.id());
        others.push(peer);
    }
    let kill = async {
        timeout(DEADLINE, stuck.notified()).await.expect("the victim is asked");
        victim.net.shutdown().await;
    };
    let (result, ()) = tokio::join!(fetch(&client, root, from), kill);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    result.unwrap();
    assert_eq!(client.store.read(root), data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_download_is_resumed() {
    let data = pattern(FILE_BYTES, 3);
    let (memory, root) = Memory::with_file(&data);
    let server = Node::start(memory, &[]).await;
    let client = Node::start(Memory::new(), &[]).await;
    client.net.dial(server.tcp()).await.unwrap();
    let mut stored = client.store.stored.subscribe();
    tokio::select! {
        biased;
        some = stored.wait_for(|count| *count >= 3) => {
            some.unwrap();
        }
        _ = client.net.fetch(root, options(vec![]), |_| {}) => {}
    }
    drop(stored);
    let fetched = fetch(&client, root, vec![server.net.id()]).await.unwrap();
    assert!(fetched.held_bytes > 0, "{fetched:?}");
    assert_eq!(client.store.read(root), data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_wrong_bytes_is_dropped_and_reported() {
    let data = pattern(FILE_BYTES, 4);
    let (memory, root) = Memory::with_file(&data);
    let liar = memory.serving(|block, n| {
        let mut bytes = block.bytes().to_vec();
        bytes.push(n as u8);
        bytes.truncate(bytes.len().min(1 << 20));
        bytes[0] ^= 1;
        Some(bytes.into())
    });
    let liar = Node::start(liar, &[]).await;
    let honest = Node::start(Memory::with_file(&data).0, &[]).await;
    let mut client = Node::start(Memory::new(), &[]).await;
    client.net.dial(liar.tcp()).await.unwrap();
    // Alone the liar cannot complete anything.
    let alone = fetch(&client, root, vec![liar.net.id()]).await;
    assert!(matches!(alone, Err(FetchError::Missing { .. })), "{alone:?}");
    client.net.dial(honest.tcp()).await.unwrap();
    fetch(&client, root, vec![]).await.unwrap();
    assert_eq!(client.store.read(root), data);
    let id = liar.net.id();
    client
        .until("the report", |event| matches!(event, NetEvent::Misbehaved { peer, .. } if peer == id).then_some(()))
        .await;
    assert!(client.net.peers().iter().all(|peer| peer.id != id));
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_fail_typed() {
    let data = pattern(3 << 20, 5);
    let (memory, root) = Memory::with_file(&data);
    let server = Node::start(memory, &[]).await;
    let client = Node::start(Memory { quota: 2, ..Memory::new() }, &[]).await;
    client.net.dial(server.tcp()).await.unwrap();
    let full = fetch(&client, root, vec![]).await;
    assert!(matches!(full, Err(FetchError::Failed(FetchFailure::Store { .. }))), "{full:?}");
    let absent = *Block::of(0x55, Bytes::from_static(b"nobody has this")).unwrap().cid();
    let absent = fetch(&client, absent, vec![]).await;
    let Err(FetchError::Missing { tried, .. }) = absent else { panic!("{absent:?}") };
    assert_eq!((tried.asked, tried.denied, tried.dht), (1, 1, Search::Found(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_blocks_are_not_served() {
    let (memory, root) = Memory::with_file(b"a secret");
    memory.blocks.lock().unwrap().get_mut(&root).unwrap().1 = Visibility::Private;
    let server = Node::start(memory, &[]).await;
    let client = Node::start(Memory::new(), &[]).await;
    client.net.dial(server.tcp()).await.unwrap();
    let result = fetch(&client, root, vec![server.net.id()]).await;
    assert!(matches!(result, Err(FetchError::Missing { .. })), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_are_found_in_the_dht() {
    let data = pattern(3 << 20, 6);
    let first = Node::start(Memory::new(), &[]).await;
    let (memory, root) = Memory::with_file(&data);
    let mut provider = Node::start(memory, &[first.tcp()]).await;
    provider.peer_up(first.net.id()).await;
    let mut client = Node::start(Memory::new(), &[first.tcp()]).await;
    client.peer_up(provider.net.id()).await;
    provider.net.provide(root).await;
    assert_eq!(client.net.find_providers(root).await, [provider.net.id()]);
    fetch(&client, root, vec![]).await.unwrap();
    assert_eq!(client.store.read(root), data);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_download_serve_one_another() {
    // Everyone pulls at once, as nodes do that just heard of a model; only one has it.
    let data = pattern(FILE_BYTES, 7);
    let (memory, root) = Memory::with_file(&data);
    let mut nodes = vec![Node::start(memory, &[]).await];
    for _ in 0..3 {
        let mut node = Node::start(Memory::new(), &[nodes[0].tcp()]).await;
        let mut missing: Vec<NodeId> = nodes.iter().map(|earlier| earlier.net.id()).collect();
        let met = |event| {
            if let NetEvent::PeerUp { peer, .. } = event {
                missing.retain(|id| *id != peer);
            }
            missing.is_empty().then_some(())
        };
        node.until("everybody who came before", met).await;
        nodes.push(node);
    }
    let (a, b, c) =
        tokio::join!(fetch(&nodes[1], root, vec![]), fetch(&nodes[2], root, vec![]), fetch(&nodes[3], root, vec![]));
    for (result, node) in [a, b, c].into_iter().zip(&nodes[1..]) {
        result.unwrap();
        assert_eq!(node.store.read(root), data);
    }
}
