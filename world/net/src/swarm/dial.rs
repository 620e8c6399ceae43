//! Connections that somebody waits for.

use super::{Task, peer_in};
use crate::error::DialError;
use crate::ident::node_of;
use crate::limits::DIALS_MAX;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId};
use talkoo_base::NodeId;
use tokio::sync::oneshot;

/// Who waits for a connection.
#[derive(Debug)]
pub(crate) enum DialReply {
    /// With a node of our network: its work stream is open.
    Node(oneshot::Sender<Result<NodeId, DialError>>),
    /// With any libp2p peer; the connection is kept.
    Peer(oneshot::Sender<Result<PeerId, DialError>>),
}

impl DialReply {
    fn is_closed(&self) -> bool {
        match self {
            Self::Node(reply) => reply.is_closed(),
            Self::Peer(reply) => reply.is_closed(),
        }
    }

    fn fail(self, error: DialError) {
        // The caller may have stopped waiting.
        match self {
            Self::Node(reply) => _ = reply.send(Err(error)),
            Self::Peer(reply) => _ = reply.send(Err(error)),
        }
    }
}

pub(super) struct Dial {
    addr: Multiaddr,
    pub(super) reply: DialReply,
}

impl Task {
    pub(super) fn dial(&mut self, addr: Multiaddr, reply: DialReply) {
        self.dials.retain(|_, dial| !dial.reply.is_closed());
        let peer = peer_in(&addr);
        let node = peer.filter(|peer| self.shared.is_ready(peer)).and_then(|peer| node_of(&peer));
        let reply = match (reply, node, peer) {
            (DialReply::Node(reply), Some(node), _) => return drop(reply.send(Ok(node))),
            (DialReply::Peer(reply), _, Some(peer)) if self.shared.keep(&peer) => return drop(reply.send(Ok(peer))),
            (reply, ..) => reply,
        };
        if self.dials.len() >= DIALS_MAX {
            reply.fail(DialError::TooMany);
            return;
        }
        self.shared.near.name(&addr);
        let options = DialOpts::unknown_peer_id().address(addr.clone()).allocate_new_port().build();
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => _ = self.dials.insert(id, Dial { addr, reply }),
            Err(error) => reply.fail(DialError::Unreachable { addr, why: error.to_string() }),
        }
    }

    pub(super) fn fail_dial(&mut self, id: ConnectionId, error: impl FnOnce(Multiaddr) -> DialError) {
        if let Some(Dial { addr, reply }) = self.dials.remove(&id) {
            reply.fail(error(addr));
        }
    }

    /// Tells those who wait for just any peer.
    pub(super) fn connected(&mut self, id: ConnectionId, peer: PeerId) {
        let is_meant = |dial: &Dial| matches!(dial.reply, DialReply::Peer(_));
        if self.dials.get(&id).is_some_and(is_meant)
            && let Some(Dial { reply: DialReply::Peer(reply), .. }) = self.dials.remove(&id)
        {
            self.shared.keep(&peer);
            _ = reply.send(Ok(peer));
        }
    }
}
