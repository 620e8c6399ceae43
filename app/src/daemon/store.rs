//! The block store as the network sees it: strangers get public blocks, those to whom a folder was
//! granted get that too, and nobody gets what a denylist names.

use super::denylists::Denylists;
use bytes::Bytes;
use std::sync::Arc;
use talkoo_base::{Cid, NodeId};
use talkoo_disk::Blocks;
use talkoo_disk::blocks::{BlocksError, Sync};
use talkoo_net::BlockStore;
use talkoo_store::{Block, Visibility};
use tracing::warn;

pub(super) struct PublicBlocks {
    pub(super) blocks: Arc<Blocks>,
    pub(super) denylists: Arc<Denylists>,
}

fn logged<T>(result: Result<Option<T>, BlocksError>) -> Option<T> {
    result.unwrap_or_else(|why| {
        warn!(%why, "a block cannot be read");
        None
    })
}

impl BlockStore for PublicBlocks {
    fn serve(&self, to: Option<&NodeId>, cid: &Cid) -> Option<Bytes> {
        self.serves(to, cid).then(|| logged(self.blocks.read_unchecked(cid))).flatten()
    }

    fn serves(&self, to: Option<&NodeId>, cid: &Cid) -> bool {
        self.denylists.denies(cid, "").is_none()
            && logged(self.blocks.may_read(cid, to, crate::ledger::unix()).map(Some)).unwrap_or(false)
    }

    fn held_bytes(&self, cid: &Cid) -> Option<u64> {
        logged(self.blocks.info(cid)).map(|info| info.bytes)
    }

    fn get(&self, cid: &Cid) -> Option<Block> {
        logged(self.blocks.get(cid))
    }

    fn put(&self, blocks: &[Block], visibility: Visibility) -> Result<(), String> {
        for cid in blocks.iter().map(Block::cid) {
            if let Some(rule) = self.denylists.denies(cid, "") {
                return Err(format!("{cid} is denied by {rule}"));
            }
        }
        self.blocks.put(blocks, visibility, Sync::Later).map_err(|why| why.to_string())
    }
}
