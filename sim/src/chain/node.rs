//! One node: the machine, its executor, and what is on its disk.

use super::ledger::{Book, Ledger};
use super::scene::{Conduct, Part};
use std::collections::BTreeSet;
use std::sync::Arc;
use talkoo_base::{Address, Digest, Mono, Network, NodeId, Now, Signature, Signer, Unix};
use talkoo_chain::{Chain, Event, Input};

/// A signer that two owners share: the machine, and the bad conduct around it.
pub(super) struct Shared(pub(super) Arc<dyn Signer>);

impl Signer for Shared {
    fn address(&self) -> Address {
        self.0.address()
    }
    fn sign(&self, digest: &Digest) -> Signature {
        self.0.sign(digest)
    }
}

/// One node.
pub(super) struct Node {
    pub(super) part: Part,
    pub(super) id: NodeId,
    pub(super) key: Arc<dyn Signer>,
    pub(super) me: Address,
    /// None while it is down.
    pub(super) chain: Option<Chain>,
    /// How often it was started: what an earlier life asked for is void.
    pub(super) life: u32,
    pub(super) wake_at: u64,
    pub(super) journal: Vec<Vec<u8>>,
    pub(super) ledger: Ledger,
    /// Numbers that users sent and it heard of.
    pub(super) pool: BTreeSet<u64>,
    /// Blocks that its executor built or found valid, in any life.
    pub(super) approved: BTreeSet<Digest>,
}

impl Node {
    pub(super) fn new(part: Part, (id, key): (NodeId, Arc<dyn Signer>), book: &Arc<Book>) -> Self {
        let me = key.address();
        let (journal, ledger) = (Vec::new(), Ledger::new(book));
        let (pool, approved) = (BTreeSet::new(), BTreeSet::new());
        Self { part, id, key, me, chain: None, life: 0, wake_at: 0, journal, ledger, pool, approved }
    }

    pub(super) fn is_honest(&self) -> bool {
        self.part.conduct == Conduct::Honest
    }

    /// Its own clock.
    pub(super) fn now(&self, world_ms: u64) -> Now {
        let local = world_ms * self.part.clock / 1_000 + self.part.clock;
        Now { mono: Mono(local), unix: Unix(local / 1_000) }
    }

    /// When its clock will show `at`, in the world's time.
    pub(super) fn when(&self, at: Mono) -> u64 {
        (at.0.saturating_sub(self.part.clock) * 1_000).div_ceil(self.part.clock)
    }

    /// Starts a life from what is on disk; `compact` shortens the journal first, as a snapshot does.
    pub(super) fn start(&mut self, network: &Network, compact: bool) {
        self.life += 1;
        let genesis = self.ledger.validators(1).to_vec();
        let fold = |journal: &[Vec<u8>]| {
            let mut chain = Chain::new(Box::new(Shared(self.key.clone())), network.clone(), 1, &genesis);
            for bytes in journal {
                chain.apply(&Event::from_bytes(bytes).expect("what was recorded can be read"));
            }
            chain
        };
        let mut chain = fold(&self.journal);
        if compact && !self.journal.is_empty() {
            self.journal = chain.history().map(|event| event.to_bytes()).collect();
            chain = fold(&self.journal);
        }
        self.chain = Some(chain);
        self.wake_at = 0;
    }

    /// Whether it has something that no block has.
    pub(super) fn is_ready(&self) -> bool {
        self.pool.difference(&self.ledger.numbers).next().is_some()
    }

    /// The block it would propose.
    pub(super) fn propose(&mut self, height: u64, round: u32) -> Option<Input> {
        if height != self.ledger.height() + 1 {
            return None;
        }
        let (block, bytes) = self.ledger.propose(self.me, &self.pool, self.part.conduct == Conduct::BadBlocks);
        self.approved.insert(block);
        Some(Input::Proposed { height, round, block, bytes })
    }

    /// The executor's word on a stranger's block.
    pub(super) fn validate(
        &mut self,
        height: u64,
        (block, body): (Digest, Digest),
        builder: Option<Address>,
        bytes: &[u8],
    ) -> Option<Input> {
        if height != self.ledger.height() + 1 {
            return None;
        }
        let valid = self.ledger.validate(block, builder, bytes).is_some();
        if valid {
            self.approved.insert(block);
        }
        Some(Input::Validated { height, block, body, valid })
    }
}
