//! All connections.

use super::bitswap::Outbound;
use super::handler::{Handler, Told};
use super::wants::Wants;
use super::{Connection, work};
use crate::events::Direction;
use crate::ident::node_of;
use crate::limits::{ANSWER_STREAMS, ANSWERS_QUEUED, LARGE_BYTES, PINGS_QUEUED, WANT_MESSAGES_QUEUED};
use crate::shared::{Link, Shared, is_relayed};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};

/// What the behaviour tells the swarm's task.
#[derive(Debug)]
pub(crate) enum StreamsEvent {
    /// A work stream is open.
    Ready { peer: PeerId, connection: ConnectionId },
    /// The peer is no node of our network.
    NotANode { peer: PeerId, connection: ConnectionId },
    /// The peer broke a protocol.
    Misbehaved { peer: PeerId, why: String },
}

#[derive(Debug, Error)]
#[error("the peer broke a protocol a short while ago")]
struct Banned;

type Action = ToSwarm<StreamsEvent, THandlerInEvent<StreamsBehaviour>>;

pub(crate) struct StreamsBehaviour {
    shared: Arc<Shared>,
    work: StreamProtocol,
    /// Links of connections that other behaviours may still refuse.
    pending: BTreeMap<ConnectionId, Link>,
    actions: VecDeque<Action>,
}

impl StreamsBehaviour {
    pub(crate) fn new(shared: Arc<Shared>, work: StreamProtocol) -> Self {
        Self { shared, work, pending: BTreeMap::new(), actions: VecDeque::new() }
    }

    /// Closes all connections with a peer and refuses new ones for a while.
    pub(crate) fn ban(&mut self, peer: PeerId, why: String) {
        // Several streams of one peer may break a protocol at the same time.
        if !self.shared.is_banned(&peer) {
            self.shared.ledgers.counts.misbehaved.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.ban(peer);
        let connection = CloseConnection::All;
        self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection });
        self.actions.push_back(ToSwarm::GenerateEvent(StreamsEvent::Misbehaved { peer, why }));
    }

    fn handler(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        (addr, direction, is_relayed): (&Multiaddr, Direction, bool),
    ) -> Result<Handler, ConnectionDenied> {
        if self.shared.is_banned(&peer) {
            return Err(ConnectionDenied::new(Banned));
        }
        let (work_sender, work_receiver) = work::queue();
        let (wants_sender, wants_receiver) = mpsc::channel(WANT_MESSAGES_QUEUED);
        let (answers, receivers): (Vec<_>, Vec<_>) = (0..ANSWER_STREAMS).map(|_| mpsc::channel(ANSWERS_QUEUED)).unzip();
        let (pings_sender, pings) = mpsc::channel(PINGS_QUEUED);
        let (node, ledger, announced) = (node_of(&peer), self.shared.ledgers.of(peer), watch::Sender::new(false));
        let is_kept = Arc::<AtomicBool>::default();
        let link = Link {
            connection: id,
            node,
            addr: addr.clone(),
            direction,
            is_relayed,
            work: work_sender,
            wants: wants_sender,
            pings: pings_sender,
            ledger: Arc::clone(&ledger),
            is_kept: Arc::clone(&is_kept),
            announced: announced.clone(),
            is_ready: false,
        };
        self.pending.insert(id, link);
        let connection = Connection {
            shared: Arc::clone(&self.shared),
            peer,
            addr: addr.clone(),
            node,
            is_node: watch::Sender::new(None),
            is_kept,
            ledger,
            wants: Wants::default(),
            refused: AtomicU64::new(0),
            large: Semaphore::new(LARGE_BYTES),
            answers,
            announced,
        };
        let mut wants = Some(wants_receiver);
        let outbounds = receivers.into_iter().map(|answers| Outbound::new(wants.take(), answers)).collect();
        Ok(Handler::new(Arc::new(connection), self.work.clone(), work_receiver, outbounds, pings))
    }
}

impl NetworkBehaviour for StreamsBehaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamsEvent;

    fn handle_established_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // Through a relay, only our own end says so.
        self.handler(connection_id, peer, (remote_addr, Direction::Inbound, is_relayed(local_addr)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection_id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(connection_id, peer, (addr, Direction::Outbound, is_relayed(addr)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                if let Some(link) = self.pending.remove(&established.connection_id) {
                    self.shared.add_link(established.peer_id, link);
                }
            }
            FromSwarm::DialFailure(failure) => _ = self.pending.remove(&failure.connection_id),
            FromSwarm::ListenFailure(failure) => _ = self.pending.remove(&failure.connection_id),
            // `FromSwarm` is non-exhaustive; closed connections are handled by the swarm's task,
            // which also tells the node.
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, told: THandlerOutEvent<Self>) {
        match told {
            Told::WorkReady => {
                self.actions.push_back(ToSwarm::GenerateEvent(StreamsEvent::Ready { peer, connection }));
            }
            Told::NotANode => {
                self.actions.push_back(ToSwarm::GenerateEvent(StreamsEvent::NotANode { peer, connection }));
            }
            Told::Broken(why) => {
                tracing::debug!(%peer, why, "connection given up");
                let connection = CloseConnection::One(connection);
                self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection });
            }
            Told::Misbehaved(why) => self.ban(peer, why),
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Actions are added only by calls of the swarm or of its task, which polls again after them.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
