//! Grants of sealed data: who bought, and what the owner says to it.

use utoipa::ToSchema;

/// Whether paid grants wait for the owner's word.
#[derive(ToSchema)]
pub struct DataOnRequest {
    /// CID of what is sealed.
    pub id: String,
    /// Whether they do.
    pub on_request: bool,
}

/// The owner's word about a request.
#[derive(ToSchema)]
pub struct GrantAnswered {
    /// Number of the grant.
    pub grant: u64,
    /// `approved` or `refused`.
    pub answer: String,
    /// Approved: the node that gets the key.
    pub node: Option<String>,
    /// Refused: after which Unix second the contract gives the price back.
    pub back_after: Option<u64>,
    /// Refused: what that means.
    pub hint: Option<String>,
}

/// Grants of ours.
#[derive(ToSchema)]
pub struct Grants {
    /// One for each.
    pub grants: Vec<Grant>,
}

/// A grant.
#[derive(ToSchema)]
pub struct Grant {
    /// Its number.
    pub grant: u64,
    /// How it stands: `paid`, `active`, `revoked`, …
    pub state: String,
    /// Address of who has it.
    pub grantee: String,
    /// The version.
    pub version: String,
    /// Number of its offer.
    pub offer: u64,
    /// Price in micro-units.
    pub price: String,
    /// Until when, in Unix seconds.
    pub end: u64,
    /// Uses so far.
    pub uses: u64,
    /// Uses; 0: any number.
    pub uses_most: u64,
    /// Of ours: the node that asked for the key, where that waits for the owner's word or did.
    pub node: Option<String>,
    /// Of ours: when it asked, in Unix seconds.
    pub since: Option<u64>,
    /// Of ours: what the data may be used for, as it was published.
    pub purpose: Option<String>,
    /// Of ours: `waits`, `approved` or `refused`, where it needs the owner's word.
    pub answer: Option<String>,
    /// Of ours: why it was refused.
    pub why: Option<String>,
}

/// A grant that was ended.
#[derive(ToSchema)]
pub struct GrantRevoked {
    /// Its number.
    pub grant: u64,
    /// Always `revoked`.
    pub state: String,
    /// What that does not undo.
    pub hint: String,
}
