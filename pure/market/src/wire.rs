//! What the market writes into the journal.

use serde::{Deserialize, Serialize};
use talkoo_base::{Digest, NodeId};

/// A durable change of the market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// This worker lied and will not be used again.
    Convicted {
        /// Which.
        node: NodeId,
        /// The lie, for people.
        why: String,
    },
    /// Nodes of this build are not used.
    Quarantined {
        /// Which build.
        build: Digest,
        /// What is wrong with it, for people.
        why: String,
    },
}
