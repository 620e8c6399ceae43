//! What receipts, payments and verdicts leave in the journal, and what a worker keeps of its leases.

use crate::dispute::Case;
use serde::{Deserialize, Serialize};
use talkoo_base::wire::{Sealed, Typed};
use talkoo_base::{Address, Amount, CHUNK_TOKENS, Digest, Network, NodeId, Receipt, Unix, Voucher};

/// A worker when it answered: whatever of this changes makes it a stranger again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at: Unix,
    /// Build of its engine.
    pub build: Digest,
    /// Its bond.
    pub bond: Amount,
}

fn is_zero(vested: &[Amount; 2]) -> bool {
    *vested == [Amount::ZERO; 2]
}

/// A durable change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// As a client: a voucher for this amount in all was signed for a worker's channel.
    Paid {
        /// The worker.
        node: NodeId,
        /// Cumulative amount.
        total: Amount,
    },
    /// As a client: work worth this amount was accepted, so that much of the vouchers is deserved.
    Accepted {
        /// The worker.
        node: NodeId,
        /// Price of the work.
        worth: Amount,
        /// Whether somebody re-ran it and found the same.
        audited: bool,
        /// Its worker, if the answer could have been audited; otherwise it adds nothing to trust.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Seen>,
    },
    /// As a client: the node lied; its streak of clean audits is gone.
    Refuted(NodeId),
    /// As a client: a whole account, in a snapshot.
    Account {
        /// The worker.
        node: NodeId,
        /// Vouchers signed, in all.
        signed: Amount,
        /// Of that, for work that was accepted.
        deserved: Amount,
        /// Clean audits in a row.
        clean: u64,
        /// Whether it lied.
        refuted: bool,
        /// Pay that the vault holds back, in two parts.
        #[serde(default, skip_serializing_if = "is_zero")]
        vested: [Amount; 2],
        /// When it was last seen, and how.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Seen>,
    },
    /// As a worker: a client's voucher came that is larger than all before.
    Earned {
        /// The client.
        node: NodeId,
        /// The voucher; whoever has it can claim the money.
        voucher: Sealed<Voucher>,
    },
    /// As a worker: who pays for a client, which names the channel that its vouchers are good for.
    Payer {
        /// The client.
        node: NodeId,
        /// Whose deposit it is.
        payer: Address,
    },
}

/// What a worker keeps of a lease for as long as it can be disputed. Its client may dispute any receipt that went out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sold {
    /// The lease as the last receipt has it.
    pub case: Case,
    /// The receipts before, first chunk first.
    pub earlier: Vec<Sealed<Receipt>>,
}

impl Sold {
    /// The lease as the receipt of this EIP-712 digest has it; `None` if none of ours is.
    #[must_use]
    pub fn at(&self, receipt: &Digest, network: &Network) -> Option<Case> {
        let Self { case, earlier } = self;
        let receipt = earlier.iter().chain([&case.receipt]).find(|r| r.body.digest(network) == *receipt)?;
        let units = usize::try_from(receipt.body.units).ok()?;
        let chunks = units.div_ceil(CHUNK_TOKENS as usize);
        Some(Case {
            receipt: receipt.clone(),
            output: case.output.get(..units)?.to_vec(),
            digests: case.digests.get(..chunks)?.to_vec(),
            logprobs: case.logprobs.iter().take(chunks).cloned().collect(),
            ..case.clone()
        })
    }
}
