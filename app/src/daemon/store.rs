//! The block store as the network sees it: strangers get public blocks only.

use bytes::Bytes;
use std::sync::Arc;
use talkoo_base::{Cid, NodeId};
use talkoo_disk::Blocks;
use talkoo_disk::blocks::{BlocksError, Sync};
use talkoo_net::BlockStore;
use talkoo_store::{Block, Visibility};
use tracing::warn;

pub(super) struct PublicBlocks(pub(super) Arc<Blocks>);

fn logged<T>(result: Result<Option<T>, BlocksError>) -> Option<T> {
    result.unwrap_or_else(|why| {
        warn!(%why, "a block cannot be read");
        None
    })
}

impl BlockStore for PublicBlocks {
    fn serve(&self, to: Option<&NodeId>, cid: &Cid) -> Option<Bytes> {
        self.serves(to, cid).then(|| logged(self.0.read_unchecked(cid))).flatten()
    }

    fn serves(&self, to: Option<&NodeId>, cid: &Cid) -> bool {
        logged(self.0.may_read(cid, to, crate::ledger::unix()).map(Some)).unwrap_or(false)
    }

    fn held_bytes(&self, cid: &Cid) -> Option<u64> {
        logged(self.0.info(cid)).map(|info| info.bytes)
    }

    fn get(&self, cid: &Cid) -> Option<Block> {
        logged(self.0.get(cid))
    }

    fn put(&self, blocks: &[Block]) -> Result<(), String> {
        self.0.put(blocks, Visibility::Public, Sync::Later).map_err(|why| why.to_string())
    }
}
