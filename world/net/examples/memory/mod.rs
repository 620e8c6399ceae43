//! Blocks in memory, all of them public, for the programs beside it.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use talkoo_base::{Cid, NodeId};
use talkoo_net::BlockStore;
use talkoo_store::Block;

#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<Cid, Block>>);

impl BlockStore for Memory {
    fn serve(&self, _to: Option<&NodeId>, cid: &Cid) -> Option<Bytes> {
        self.get(cid).map(|block| block.bytes().clone())
    }
    fn serves(&self, _to: Option<&NodeId>, cid: &Cid) -> bool {
        self.get(cid).is_some()
    }
    fn held_bytes(&self, cid: &Cid) -> Option<u64> {
        self.get(cid).map(|block| block.bytes().len() as u64)
    }
    fn get(&self, cid: &Cid) -> Option<Block> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(cid).cloned()
    }
    fn put(&self, blocks: &[Block]) -> Result<(), String> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.extend(blocks.iter().map(|block| (*block.cid(), block.clone())));
        Ok(())
    }
}
