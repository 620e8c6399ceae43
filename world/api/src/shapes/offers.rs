//! What the market offers.

use utoipa::ToSchema;

/// A page of offers.
#[derive(ToSchema)]
pub struct Offers {
    /// One for each node with a card, by its id.
    pub offers: Vec<NodeOffer>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// A node's signed card.
#[derive(ToSchema)]
pub struct NodeOffer {
    /// The node.
    pub node: String,
    /// Its owner's address.
    pub operator: String,
    /// Whether a connection to it is open.
    pub connected: bool,
    /// `good`, `paused` or `liar: …`.
    pub standing: String,
    /// Runs that it takes at once.
    pub slots: u32,
    /// Tokens of money for a million input tokens.
    pub price_input: String,
    /// Tokens of money for a million output tokens.
    pub price_output: String,
    /// When the card ends, in Unix seconds.
    pub expires: u64,
    /// Output tokens a second, as this node measured them on real work.
    pub decode_tps_measured: Option<u64>,
    /// Models that it runs.
    pub models: Vec<OfferedModel>,
}

/// A model on a card. Its speeds are the owner's word.
#[derive(ToSchema)]
pub struct OfferedModel {
    /// Its name, if it is here or in the catalogue.
    pub name: Option<String>,
    /// Root of the model; of the float tier its name's digest.
    pub program: String,
    /// `exact` or `float`.
    pub tier: String,
    /// Longest context, in tokens.
    pub context: u32,
    /// Prompt tokens a second.
    pub prefill_tps: u64,
    /// Output tokens a second of one run.
    pub decode_tps: u64,
}
