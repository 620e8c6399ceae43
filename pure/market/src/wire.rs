//! What the market writes into the journal.

use serde::{Deserialize, Serialize};
use talkoo_base::NodeId;

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
}
