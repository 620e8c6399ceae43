//! Blocks in memory, all of them public, or made up anew whenever they are read, for the program beside it.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use talkoo_base::{Cid, NodeId};
use talkoo_net::BlockStore;
use talkoo_store::unixfs::{Importer, Profile};
use talkoo_store::{Block, DAG_PB, Visibility};

const LEAF_BYTES: usize = 1 << 20;

#[derive(Default)]
struct State {
    blocks: BTreeMap<Cid, Block>,
    /// Leaves that are made up: their seed.
    made: BTreeMap<Cid, u64>,
    /// Leaves are dropped when they come, as a program does that only passes them on.
    forgets: bool,
}

#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self) {
        *self.state() = State { forgets: true, ..State::default() };
    }

    /// A file of whole leaves that needs no memory.
    pub(crate) fn make(&self, bytes: u64, seed: u64) -> Result<Cid, Box<dyn std::error::Error>> {
        let mut importer = Importer::new(Profile::default());
        let mut at = seed << 32;
        for leaf in 0..bytes / LEAF_BYTES as u64 {
            at = seed << 32 | leaf;
            importer.push(&made_up(at), &mut |block| self.note(block, at))?;
        }
        // A file of whole leaves has none left at its end.
        Ok(importer.finish(&mut |block| self.note(block, at))?.cid)
    }

    fn note(&self, block: Block, seed: u64) -> Result<(), String> {
        let mut state = self.state();
        match block.cid().codec() {
            DAG_PB => _ = state.blocks.insert(*block.cid(), block),
            _ => _ = state.made.insert(*block.cid(), seed),
        }
        Ok(())
    }
}

/// One leaf: different for every seed, and fast to make.
fn made_up(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0x6b; LEAF_BYTES];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

impl BlockStore for Memory {
    fn serve(&self, _to: Option<&NodeId>, cid: &Cid) -> Option<Bytes> {
        let made = self.state().made.get(cid).copied();
        made.map(|seed| made_up(seed).into()).or_else(|| self.get(cid).map(|block| block.bytes().clone()))
    }

    fn serves(&self, _to: Option<&NodeId>, cid: &Cid) -> bool {
        let state = self.state();
        state.made.contains_key(cid) || state.blocks.contains_key(cid)
    }

    fn held_bytes(&self, cid: &Cid) -> Option<u64> {
        self.state().blocks.get(cid).map(|block| block.bytes().len() as u64)
    }

    fn get(&self, cid: &Cid) -> Option<Block> {
        self.state().blocks.get(cid).cloned()
    }

    fn put(&self, blocks: &[Block], _: Visibility) -> Result<(), String> {
        let mut state = self.state();
        let forgets = state.forgets;
        let kept = blocks.iter().filter(|block| !forgets || block.cid().codec() == DAG_PB);
        state.blocks.extend(kept.map(|block| (*block.cid(), block.clone())));
        Ok(())
    }
}
