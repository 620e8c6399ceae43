//! Where a face gets its blocks: the store first, then the network, and never what the asker may not have.

use crate::network::{Network, Session};
use std::sync::Arc;
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_disk::Blocks;
use talkoo_disk::blocks::{BlockInfo, BlocksError};
use talkoo_store::{Block, Visibility};

/// How far a face looks for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In this node's store.
    Local,
    /// Also in the network.
    Network,
}

/// Whether a path below a CID is on a denylist.
pub type Denied = Arc<dyn Fn(&Cid, &str) -> bool + Send + Sync>;

/// The store, the network and what must not be shown. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// The blocks of this node.
    pub blocks: Arc<Blocks>,
    /// The others.
    pub network: Arc<dyn Network>,
    /// Whether a path below a CID is shown to nobody.
    pub denied: Denied,
}

impl Store {
    /// A reader of the DAG below `root`.
    #[must_use]
    pub fn open(&self, root: &Cid, caller: Caller, reach: Reach) -> Source {
        Source { store: self.clone(), root: *root, caller, reach, session: None }
    }

    /// Whether a path below a CID may be shown.
    ///
    /// # Errors
    /// [`RefusalCode::Denied`].
    pub fn allow(&self, cid: &Cid, path: &str) -> Result<(), Refusal> {
        if !(self.denied)(cid, path) {
            return Ok(());
        }
        let hint = "the operator of this node took up a list of content that it does not serve";
        Err(Refusal::new(RefusalCode::Denied, format!("{cid} is on a denylist of this node"), hint))
    }
}

/// Reads blocks of one DAG; the network is asked only when a block is not here.
pub struct Source {
    store: Store,
    root: Cid,
    caller: Caller,
    reach: Reach,
    session: Option<Box<dyn Session>>,
}

impl Source {
    /// Who reads.
    pub(crate) fn caller(&self) -> Caller {
        self.caller
    }

    /// A block.
    ///
    /// # Errors
    /// It is neither here nor, within the deadline, there; or it is not for this caller.
    pub fn get(&mut self, cid: &Cid) -> Result<Option<Block>, Refusal> {
        self.store.allow(cid, "")?;
        if let Some(block) = Block::inlined(cid) {
            return Ok(Some(block));
        }
        let blocks = &self.store.blocks;
        let info = blocks.info(cid).map_err(broken)?;
        let is_hidden = |info: BlockInfo| self.caller == Caller::Stranger && info.visibility != Visibility::Public;
        let is_hidden = info.is_some_and(is_hidden);
        if info.is_some()
            && !is_hidden
            && let Some(block) = blocks.get(cid).map_err(broken)?
        {
            return Ok(Some(block));
        }
        if self.reach == Reach::Local {
            return Err(absent(cid));
        }
        let (network, root) = (&self.store.network, &self.root);
        let session = self.session.get_or_insert_with(|| network.session(root));
        // Asked for as if it were not here: a quick "no" would tell that it is.
        if is_hidden { session.get_elsewhere(cid) } else { session.get(cid) }.map(Some)
    }

    /// A block, for callers that have no use for "not here" apart from an error.
    ///
    /// # Errors
    /// As [`Source::get`].
    pub fn need(&mut self, cid: &Cid) -> Result<Block, Refusal> {
        self.get(cid)?.ok_or_else(|| absent(cid))
    }
}

/// The same words for a private block and for none at all: a stranger learns nothing. See [`Source::get`] for the time.
pub(crate) fn absent(cid: &Cid) -> Refusal {
    let hint = "ask a node that has it, or let this one look in the network";
    Refusal::new(RefusalCode::UnknownId, format!("block {cid} is not here"), hint)
}

/// The disk said no.
pub(crate) fn broken(why: BlocksError) -> Refusal {
    let code = match why {
        BlocksError::QuotaExceeded { .. } | BlocksError::DiskFull { .. } => RefusalCode::TooLarge,
        _ => RefusalCode::Other,
    };
    Refusal::new(code, format!("the block store cannot do it: {why}"), "see the node's log")
}
