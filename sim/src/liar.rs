//! The ways to cheat. Every one of them lies about results; the first two are merely bad at their job.

use crate::world::World;
use talkoo_node::Message;
use talkoo_proof as proof;

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Does what it says.
    Honest,
    /// Takes leases and never answers.
    Silent,
    /// Twenty times slower than its card says.
    Slow,
    /// Runs another model than it claims.
    OtherWeights,
    /// Ends its answers early.
    Truncated,
    /// Changes one token.
    TamperedToken,
    /// Hands in the answer to another request.
    CopiedAnswer,
    /// Honest logits, loaded dice.
    CheatedSampler,
    /// Answers with a receipt it signed for another request.
    ReplayedReceipt,
    /// Honest tokens, and log probabilities that no model gives.
    FalseLogprobs,
    /// As a verifier: finds faults that are not there.
    FalseAccuser,
    /// Runs another model, and vouches for whoever does the same.
    Colluder,
    /// Honest for a dozen answers, then [`Strategy::OtherWeights`].
    LongCon,
}

impl Strategy {
    /// All that lie about results.
    pub const LIARS: [Self; 10] = [
        Self::OtherWeights,
        Self::Truncated,
        Self::TamperedToken,
        Self::CopiedAnswer,
        Self::CheatedSampler,
        Self::ReplayedReceipt,
        Self::FalseLogprobs,
        Self::FalseAccuser,
        Self::Colluder,
        Self::LongCon,
    ];

    /// Whether convicting it is just.
    #[must_use]
    pub fn lies(self) -> bool {
        Self::LIARS.contains(&self)
    }
}

impl World<'_> {
    /// One of the lies happens in what is sent, not in what is computed.
    pub(crate) fn replay_old_receipt(&mut self, from: u32, message: &mut Message) {
        let n = &mut self.nodes[from as usize];
        let Message::Proof(proof::Message::Chunk(chunk)) = message else { return };
        if n.strategy != Strategy::ReplayedReceipt {
            return;
        }
        match &n.old_chunk {
            None => n.old_chunk = Some((**chunk).clone()),
            Some(old) if old.lease != chunk.lease && old.index == chunk.index => {
                chunk.receipt = old.receipt.clone();
                n.engine.lies += 1;
            }
            Some(_) => {}
        }
    }
}
