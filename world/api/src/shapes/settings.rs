//! How this run of the node was started.

use utoipa::ToSchema;

/// How this run of the node was started. Passphrases, keys and paths of URLs are left out.
#[derive(ToSchema)]
pub struct Settings {
    /// The node's id.
    pub node: String,
    /// The node's address.
    pub address: String,
    /// The owner's address.
    pub owner: String,
    /// Its version.
    pub version: String,
    /// Hash of the engine's build.
    pub build: String,
    /// Where the API listens.
    pub api: String,
    /// How long things are kept.
    pub retention: Kept,
    /// The flags of `talkoo up` as they hold, also those that were left out.
    pub settings: Vec<Setting>,
}

/// How long things are kept, in days; none: for ever.
#[derive(ToSchema)]
pub struct Kept {
    /// Prompts and answers.
    pub prompts_days: Option<u32>,
    /// Receipts and evidence.
    pub receipts_days: Option<u32>,
}

/// A flag as it holds.
#[derive(ToSchema)]
pub struct Setting {
    /// The flag of `talkoo up`.
    pub flag: String,
    /// Its value in words.
    pub value: String,
}
