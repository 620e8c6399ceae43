use super::*;
use crate::limits::{WORK_MESSAGE_BYTES_MAX, WORK_QUEUE_BYTES};
use crate::{DialError, NetError, SendError};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_over_both_transports() {
    for over_quic in [false, true] {
        let (mut a, mut b) = (Node::start(Memory::new(), &[]).await, Node::start(Memory::new(), &[]).await);
        let addr = if over_quic { b.quic() } else { b.tcp() };
        assert_eq!(a.net.dial(addr).await.unwrap(), b.net.id());
        a.peer_up(b.net.id()).await;
        b.peer_up(a.net.id()).await;
        for n in 0..1000_u32 {
            let mut bytes = vec![n as u8; (n as usize * 37) % 5000];
            bytes.extend_from_slice(&n.to_le_bytes());
            a.net.send(b.net.id(), bytes.clone()).unwrap();
            if n % 10 == 0 {
                b.net.send(a.net.id(), bytes).unwrap();
            }
        }
        for n in 0..1000_u32 {
            let (peer, bytes) = b.message().await;
            assert_eq!(peer, a.net.id());
            assert_eq!((bytes.len(), &bytes[bytes.len() - 4..]), ((n as usize * 37) % 5000 + 4, &n.to_le_bytes()[..]));
        }
        for n in (0..1000_u32).step_by(10) {
            assert!(a.message().await.1.ends_with(&n.to_le_bytes()));
        }
        assert_eq!(a.net.peers().len(), 1);
        let a_id = a.net.id();
        a.net.shutdown().await;
        b.peer_down(a_id).await;
        assert!(b.net.peers().is_empty());
        b.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_slows_its_peer_and_loses_nothing() {
    let a = Node::start(Memory::new(), &[]).await;
    let mut b = Node::start_with(config("test"), Memory::new(), 1).await;
    a.net.dial(b.tcp()).await.unwrap();
    let to = b.net.id();
    let too_large = vec![0; WORK_MESSAGE_BYTES_MAX + 1];
    assert_eq!(a.net.send(to, too_large.clone()), Err(SendError::TooLarge { bytes: too_large.len() }));
    assert_eq!(a.net.send(NodeId::pretended(9), vec![]), Err(SendError::NotConnected));
    // Nobody takes b's events: the queue fills, the sender is told, memory stays bounded.
    let mut sent = 0_u32;
    let until = Instant::now() + DEADLINE;
    let mut congested = 0;
    while congested < 1000 {
        assert!(Instant::now() < until, "no congestion after {sent} messages");
        let mut message = vec![0; 100_000];
        message[..4].copy_from_slice(&sent.to_le_bytes());
        match a.net.send(to, message) {
            Ok(()) => (sent, congested) = (sent + 1, 0),
            Err(SendError::Congested) => {
                congested += 1;
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent as usize * 100_000 < 4 * WORK_QUEUE_BYTES, "{sent}");
    for n in 0..sent {
        assert_eq!(b.message().await.1[..4], n.to_le_bytes());
    }
    a.net.send(to, b"again".to_vec()).unwrap();
    assert_eq!(&b.message().await.1[..], b"again");
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_messages_go_out_before_the_shutdown() {
    let (a, mut b) = (Node::start(Memory::new(), &[]).await, Node::start(Memory::new(), &[]).await);
    a.net.dial(b.tcp()).await.unwrap();
    for _ in 0..50 {
        a.net.send(b.net.id(), vec![1; 100_000]).unwrap();
    }
    a.net.send(b.net.id(), b"bye".to_vec()).unwrap();
    let clone = a.net.clone();
    a.net.shutdown().await;
    for _ in 0..50 {
        b.message().await;
    }
    assert_eq!(&b.message().await.1[..], b"bye");
    assert_eq!(clone.dial(b.tcp()).await, Err(DialError::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_is_gone_and_does_not_come_back_at_once() {
    let (mut a, mut b) = (Node::start(Memory::new(), &[]).await, Node::start(Memory::new(), &[]).await);
    a.net.dial(b.tcp()).await.unwrap();
    b.peer_up(a.net.id()).await;
    b.net.ban(a.net.id(), "it sent garbage".to_owned());
    b.peer_down(a.net.id()).await;
    a.peer_down(b.net.id()).await;
    // Either the dial fails, or the connection is closed before it carries anything.
    if a.net.dial(b.tcp()).await.is_ok() {
        a.peer_down(b.net.id()).await;
    }
    assert!(b.net.peers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn dialling_fails_typed() {
    let a = Node::start(Memory::new(), &[]).await;
    let other = Node::start_with(config("other"), Memory::new(), 64).await;
    let result = a.net.dial(other.tcp()).await;
    assert!(matches!(result, Err(DialError::OtherNetwork { .. })), "{result:?}");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let result = a.net.dial(format!("/ip4/127.0.0.1/tcp/{free}").parse().unwrap()).await;
    assert!(matches!(result, Err(DialError::Unreachable { .. })), "{result:?}");
    let result = a.net.dial(a.tcp()).await;
    assert!(matches!(result, Err(DialError::Unreachable { .. })), "{result:?}");
    let taken = a.tcp().to_string().split("/p2p/").next().unwrap().parse().unwrap();
    let config = NetConfig { listen: vec![taken], ..config("test") };
    let (sender, _events) = mpsc::channel(8);
    let result = Net::start(config, Arc::new(Memory::new()), sender).await;
    assert!(matches!(result.err(), Some(NetError::Listen { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_that_know_one_become_a_mesh() {
    let first = Node::start(Memory::new(), &[]).await;
    let started = Instant::now();
    let mut nodes = vec![first];
    for _ in 0..4 {
        let node = Node::start(Memory::new(), &[nodes[0].tcp()]).await;
        nodes.push(node);
    }
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.net.id()).collect();
    for node in &mut nodes {
        let mut missing: Vec<NodeId> = ids.iter().copied().filter(|id| *id != node.net.id()).collect();
        node.until("the mesh", |event| {
            if let NetEvent::PeerUp { peer, .. } = event {
                missing.retain(|id| *id != peer);
            }
            missing.is_empty().then_some(())
        })
        .await;
        assert_eq!(node.net.peers().len(), 4);
    }
    eprintln!("mesh of 5 after {:?}", started.elapsed());
    // Every node can talk to every other.
    for node in &nodes {
        for id in ids.iter().filter(|id| **id != node.net.id()) {
            node.net.send(*id, b"hello".to_vec()).unwrap();
        }
    }
    for node in &mut nodes {
        for _ in 0..4 {
            assert_eq!(&node.message().await.1[..], b"hello");
        }
    }
    for node in nodes {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_bootstrap_node_is_found_again() {
    let server_config = config("test");
    let server = Node::start_with(server_config.clone(), Memory::new(), 64).await;
    let (id, addr) = (server.net.id(), server.tcp());
    let mut node = Node::start(Memory::new(), std::slice::from_ref(&addr)).await;
    node.peer_up(id).await;
    server.net.shutdown().await;
    node.peer_down(id).await;
    let plain = addr.to_string().split("/p2p/").next().unwrap().parse().unwrap();
    let _server = Node::start_with(NetConfig { listen: vec![plain], ..server_config }, Memory::new(), 64).await;
    node.peer_up(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_learn_where_to_dial_the_other() {
    let mut server = Node::start(Memory::new(), &[]).await;
    let mut node = Node::start(Memory::new(), &[server.tcp()]).await;
    let (ids, addrs) = ((server.net.id(), node.net.id()), (server.tcp(), node.tcp()));
    for (here, who, addr) in [(&mut node, ids.0, addrs.0), (&mut server, ids.1, addrs.1)] {
        here.until("an address", |event| {
            matches!(event, NetEvent::Dialable { peer, addrs } if peer == who && addrs.contains(&addr)).then_some(())
        })
        .await;
    }
}
