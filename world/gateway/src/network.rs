//! What the faces need of the network, so that this crate knows no libp2p.

use serde::Serialize;
use std::time::Duration;
use talkoo_base::{Cid, Refusal};
use talkoo_store::Block;

/// Blocks of one DAG from whoever has them.
pub trait Session: Send {
    /// A block; blocks the thread until it is here.
    ///
    /// # Errors
    /// What was waited for, and how long.
    fn get(&mut self, cid: &Cid) -> Result<Block, Refusal>;

    /// The same from others alone, also of what is here and not to be shown; it is not kept.
    ///
    /// # Errors
    /// As [`Session::get`].
    fn get_elsewhere(&mut self, cid: &Cid) -> Result<Block, Refusal>;
}

/// Where a peer can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provider {
    /// Its PeerId.
    pub id: String,
    /// Its multiaddresses, without the PeerId.
    pub addrs: Vec<String>,
}

/// A connected peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    /// Its PeerId.
    pub id: String,
    /// Where, without the PeerId.
    pub addr: String,
    /// Last measured round trip.
    pub rtt: Option<Duration>,
    /// Whether it called us.
    pub inbound: bool,
    /// What it says it is.
    pub agent: String,
    /// Bytes of blocks sent to it.
    pub sent_bytes: u64,
    /// Bytes of blocks received from it.
    pub received_bytes: u64,
}

/// Ourselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Our PeerId.
    pub id: String,
    /// Our public key as libp2p's protobuf.
    pub public_key: Vec<u8>,
    /// Where we listen, with the PeerId at the end.
    pub addrs: Vec<String>,
    /// Program and version, as told to peers.
    pub agent: String,
}

/// The network. Every call blocks its thread, with a deadline of its own.
pub trait Network: Send + Sync + 'static {
    /// Opens a session for the blocks of `root`'s DAG.
    fn session(&self, root: &Cid) -> Box<dyn Session>;

    /// Downloads the whole DAG below `root` into the store.
    ///
    /// # Errors
    /// What was waited for.
    fn fetch(&self, root: &Cid) -> Result<(), Refusal>;

    /// Who we are.
    fn identity(&self) -> Identity;

    /// Who is connected.
    fn connected(&self) -> Vec<Connected>;

    /// Connects to a multiaddress.
    ///
    /// # Errors
    /// Why not.
    fn connect(&self, addr: &str) -> Result<(), Refusal>;

    /// Closes the connections with a peer.
    ///
    /// # Errors
    /// There are none, or the PeerId is malformed.
    fn disconnect(&self, peer: &str) -> Result<(), Refusal>;

    /// One measured round trip.
    ///
    /// # Errors
    /// It does not answer, or is not connected.
    fn ping(&self, peer: &str) -> Result<Duration, Refusal>;

    /// Who announced a CID.
    fn providers(&self, cid: &Cid) -> Vec<Provider>;

    /// Where a peer can be reached, as far as we know.
    fn addresses(&self, peer: &str) -> Vec<String>;

    /// Announces that we have a CID.
    fn provide(&self, cid: &Cid);
}
