//! Peers that do not follow the protocols: they write any bytes to any stream.

use super::*;
use futures::future::BoxFuture;
use futures::{AsyncWriteExt, StreamExt};
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, upgrade};
use libp2p::swarm::handler::OneShotHandler;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, SubstreamProtocol, SwarmEvent,
    THandlerInEvent, ToSwarm,
};
use libp2p::{PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use proptest::strategy::{Strategy, ValueTree};
use std::io;
use std::task::{Context, Poll};

/// Writes its bytes to a stream of its protocol and leaves the stream open.
#[derive(Clone, Debug)]
struct Write {
    protocol: StreamProtocol,
    bytes: Vec<u8>,
}

impl upgrade::UpgradeInfo for Write {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.protocol.clone())
    }
}

impl upgrade::OutboundUpgrade<Stream> for Write {
    type Output = ();
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<(), io::Error>>;

    fn upgrade_outbound(self, mut stream: Stream, _: StreamProtocol) -> Self::Future {
        Box::pin(async move {
            stream.write_all(&self.bytes).await?;
            stream.flush().await?;
            stream.close().await
        })
    }
}

type Handler = OneShotHandler<upgrade::DeniedUpgrade, Write, Done>;

/// Every stream was written.
#[derive(Debug)]
struct Done;

impl From<()> for Done {
    fn from((): ()) -> Self {
        Self
    }
}

impl From<std::convert::Infallible> for Done {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

struct Raw {
    writes: Vec<Write>,
    peer: Option<PeerId>,
}

impl NetworkBehaviour for Raw {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(SubstreamProtocol::new(upgrade::DeniedUpgrade, ()), Default::default()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.peer = Some(peer);
        Ok(Handler::new(SubstreamProtocol::new(upgrade::DeniedUpgrade, ()), Default::default()))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        _: Result<Done, libp2p::swarm::StreamUpgradeError<io::Error>>,
    ) {
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        let (Some(peer_id), Some(event)) = (self.peer, self.peer.and_then(|_| self.writes.pop())) else {
            return Poll::Pending;
        };
        Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event })
    }
}

/// Connects to `node`, writes to its streams, and waits until it is thrown out.
async fn attack(node: &Node, writes: Vec<Write>) {
    let mut key = [9; 32];
    key[31] = KEYS.fetch_add(1, Ordering::SeqCst);
    let key = crate::ident::keypair_of(&key).unwrap();
    let mut swarm: Swarm<Raw> = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Raw { writes, peer: None })
        .unwrap()
        .build();
    swarm.dial(node.tcp()).unwrap();
    let closed = async { while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {} };
    timeout(DEADLINE, closed).await.expect("the attacker is thrown out");
}

fn work(bytes: Vec<u8>) -> Write {
    Write { protocol: StreamProtocol::new("/talkoo/test/work/1"), bytes }
}

fn bitswap(bytes: Vec<u8>) -> Write {
    Write { protocol: StreamProtocol::new("/ipfs/bitswap/1.2.0"), bytes }
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_and_malformed_frames_are_misbehaviour() {
    let mut node = Node::start(Memory::new(), &[]).await;
    let length = |len: u32| len.to_le_bytes().to_vec();
    let cases = [
        ("a work message over 1 MiB", work(length((1 << 20) + 1))),
        ("a work message of 4 GiB", work(length(u32::MAX))),
        ("a bitswap message over 4 MiB", bitswap(vec![0x81, 0x80, 0x80, 0x02])),
        ("a length without end", bitswap(vec![0xff; 9])),
        ("no protobuf", bitswap(vec![3, 0xff, 0xff, 0xff])),
        ("a want without a cid", bitswap(vec![4, 0x0a, 2, 0x0a, 0])),
    ];
    for (name, write) in cases {
        attack(&node, vec![write]).await;
        let reported = |event| matches!(event, NetEvent::Misbehaved { .. }).then_some(());
        node.until(name, reported).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_never_stops_a_node() {
    let (memory, root) = Memory::with_file(b"still here");
    let node = Node::start(memory, &[]).await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..2000);
    for _ in 0..12 {
        let mut draw = || bytes.new_tree(&mut runner).unwrap().current();
        let mut writes: Vec<Write> = (0..10).map(|_| bitswap(draw())).collect();
        writes.push(work(draw()));
        // The last one (written first) makes sure that the connection is closed.
        writes.insert(0, work(vec![0xff; 8]));
        attack(&node, writes).await;
    }
    let client = Node::start(Memory::new(), &[]).await;
    client.net.dial(node.tcp()).await.unwrap();
    client.net.fetch(root, crate::FetchOptions::default(), |_| {}).await.unwrap();
    assert_eq!(client.store.read(root), b"still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wantlist_without_end_costs_a_bounded_queue_and_then_the_connection() {
    use talkoo_store::bitswap::{Message, Want, WantKind};
    use talkoo_store::limits::WANT_ENTRIES_MAX;
    let (memory, root) = Memory::with_file(b"served all the same");
    let mut node = Node::start(memory, &[]).await;
    let mut names = (0u32..).map(|n| *Block::of(0x55, Bytes::copy_from_slice(&n.to_le_bytes())).unwrap().cid());
    let mut list = || {
        let wants = names.by_ref().take(WANT_ENTRIES_MAX).map(|cid| Want::new(cid, WantKind::Block)).collect();
        bitswap(Message { wants, ..Message::default() }.to_frame().concat())
    };
    let writes = std::iter::repeat_with(&mut list).take(10).collect();
    attack(&node, writes).await;
    node.until("the report", |event| matches!(event, NetEvent::Misbehaved { .. }).then_some(())).await;
    let counters = node.net.counters();
    // It takes no answers, so what was taken is at most one queue and what was looked up meanwhile.
    let taken_max = (crate::limits::WANTS_QUEUED + WANT_ENTRIES_MAX) as u64;
    assert!(counters.wants <= taken_max && counters.wants_refused > crate::limits::WANTS_REFUSED_MAX, "{counters:?}");
    assert_eq!(counters.misbehaved, 1);
    let client = Node::start(Memory::new(), &[]).await;
    client.net.dial(node.tcp()).await.unwrap();
    client.net.fetch(root, crate::FetchOptions::default(), |_| {}).await.unwrap();
}
