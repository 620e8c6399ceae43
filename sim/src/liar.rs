//! The ways to cheat. Every one of them lies about results; the first two are merely bad at their job.

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
