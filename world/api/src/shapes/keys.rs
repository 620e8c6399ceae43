//! Keys that the owner gives away.

use utoipa::ToSchema;

/// What a new key may do.
#[derive(ToSchema)]
pub struct KeyAsk {
    /// What its owner calls it, up to 128 bytes.
    #[schema(max_length = 128)]
    pub name: Option<String>,
    /// Tokens of money that may be spent with it; left out, any number.
    #[schema(minimum = 0, maximum = 18446744073709.0)]
    pub budget: Option<f64>,
    /// Days until it ends; left out, never.
    #[schema(minimum = 1, maximum = 36500)]
    pub days: Option<u32>,
    /// What it may do: names of scopes.
    pub scopes: Option<Vec<String>>,
    /// Requests in a minute; 0: any number.
    #[schema(minimum = 0, maximum = 1000000)]
    pub rate: Option<u32>,
    /// What it pays with: `money`, `stake` or `gas`.
    #[schema(max_length = 16)]
    pub asset: Option<String>,
    /// The most of one payment, as text.
    #[schema(max_length = 64)]
    pub per_payment: Option<String>,
    /// The most of 24 hours, as text.
    #[schema(max_length = 64)]
    pub per_day: Option<String>,
    /// Addresses that it may pay.
    pub allow: Option<Vec<String>>,
    /// Above this, the owner is asked, as text.
    #[schema(max_length = 64)]
    pub approve_above: Option<String>,
    /// Days until the policy ends.
    #[schema(minimum = 1, maximum = 36500)]
    pub policy_days: Option<u32>,
}

/// All keys.
#[derive(ToSchema)]
pub struct Keys {
    /// One for each, also those that were revoked.
    pub keys: Vec<Key>,
}

/// A key, without the key itself.
#[derive(ToSchema)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// When it ends, in Unix seconds.
    pub expires: Option<u64>,
    /// Tokens of money that may be spent with it, as a decimal number.
    pub budget: Option<String>,
    /// Tokens of money that were.
    pub spent: String,
    /// Whether it was taken back.
    pub revoked: bool,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Requests in a minute.
    pub rate: Option<u32>,
    /// What it may pay.
    pub policy: Option<KeyPolicy>,
    /// Paid within 24 hours, as text.
    pub paid: Option<String>,
    /// Payments that wait for the owner.
    pub waits: u64,
}

/// A key that was made just now.
#[derive(ToSchema)]
pub struct NewKey {
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// When it ends, in Unix seconds.
    pub expires: Option<u64>,
    /// Tokens of money that may be spent with it, as a decimal number.
    pub budget: Option<String>,
    /// Tokens of money that were.
    pub spent: String,
    /// Whether it was taken back.
    pub revoked: bool,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Requests in a minute.
    pub rate: Option<u32>,
    /// What it may pay.
    pub policy: Option<KeyPolicy>,
    /// Paid within 24 hours, as text.
    pub paid: Option<String>,
    /// Payments that wait for the owner.
    pub waits: u64,
    /// The key itself: this once.
    pub key: String,
}

/// A key, what waits for the owner of it, and what was decided last.
#[derive(ToSchema)]
pub struct KeyDetail {
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// When it ends, in Unix seconds.
    pub expires: Option<u64>,
    /// Tokens of money that may be spent with it, as a decimal number.
    pub budget: Option<String>,
    /// Tokens of money that were.
    pub spent: String,
    /// Whether it was taken back.
    pub revoked: bool,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Requests in a minute.
    pub rate: Option<u32>,
    /// What it may pay.
    pub policy: Option<KeyPolicy>,
    /// Paid within 24 hours, as text.
    pub paid: Option<String>,
    /// Payments that wait for the owner.
    pub waits: u64,
    /// Payments that wait.
    pub approvals: Vec<Approval>,
    /// What was decided last about its payments.
    #[schema(value_type = Vec<Object>)]
    pub decisions: Vec<serde_json::Value>,
}

/// What to change of a key; what is left out stays.
#[derive(ToSchema)]
pub struct KeySetAsk {
    /// What it may do: names of scopes.
    pub scopes: Option<Vec<String>>,
    /// Requests in a minute; 0: any number.
    #[schema(minimum = 0, maximum = 1000000)]
    pub rate: Option<u32>,
    /// What it pays with: `money`, `stake` or `gas`.
    #[schema(max_length = 16)]
    pub asset: Option<String>,
    /// The most of one payment, as text.
    #[schema(max_length = 64)]
    pub per_payment: Option<String>,
    /// The most of 24 hours, as text.
    #[schema(max_length = 64)]
    pub per_day: Option<String>,
    /// Addresses that it may pay.
    pub allow: Option<Vec<String>>,
    /// Above this, the owner is asked, as text.
    #[schema(max_length = 64)]
    pub approve_above: Option<String>,
    /// Days until the policy ends.
    #[schema(minimum = 1, maximum = 36500)]
    pub policy_days: Option<u32>,
}

/// What a key may pay.
#[derive(ToSchema)]
pub struct KeyPolicy {
    /// `money`, `stake` or `gas`.
    pub asset: String,
    /// The most of one payment, as text.
    pub per_payment: String,
    /// The most of 24 hours, as text.
    pub per_day: String,
    /// Addresses that it may pay.
    pub allow: Vec<String>,
    /// Above this, the owner is asked.
    pub approve_above: Option<String>,
    /// When the policy ends, in Unix seconds.
    pub expires: Option<u64>,
}

/// What was decided about a key's payments.
#[derive(ToSchema)]
pub struct KeyAudit {
    /// The decisions.
    #[schema(value_type = Vec<Object>)]
    pub decisions: Vec<serde_json::Value>,
}

/// Payments that wait for the owner.
#[derive(ToSchema)]
pub struct Approvals {
    /// One for each.
    pub approvals: Vec<Approval>,
}

/// A payment that waits for the owner.
#[derive(ToSchema)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// The key that wants it.
    pub key: String,
    /// To whom.
    pub to: String,
    /// How much, as text.
    pub amount: String,
    /// `money`, `stake` or `gas`.
    pub asset: String,
    /// What for, in the key's words.
    pub why: String,
    /// The data that it buys.
    pub data: Option<String>,
    /// Until when it waits, in Unix seconds.
    pub expires: u64,
}
