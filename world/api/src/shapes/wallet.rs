//! Money of the node's owner, and receipts.

use utoipa::ToSchema;

/// What there is.
#[derive(ToSchema)]
pub struct Wallet {
    /// What can be spent.
    pub available: Option<serde_json::Value>,
}

/// How many movements.
#[derive(ToSchema)]
pub struct HistoryQuery {
    /// The most that are told.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// The last movements.
#[derive(ToSchema)]
pub struct WalletHistory {
    /// The newest first.
    #[schema(value_type = Vec<Object>)]
    pub history: Vec<serde_json::Value>,
    /// Always `micro-units`.
    pub unit: String,
}

/// Whom to pay what.
#[derive(ToSchema)]
pub struct PaymentAsk {
    /// An address: 0x and 40 hexadecimal digits.
    #[schema(max_length = 256)]
    pub to: String,
    /// How much, as text: `1.5`.
    #[schema(max_length = 64)]
    pub amount: String,
    /// `money`, `stake` or `gas`.
    #[schema(max_length = 16)]
    pub asset: Option<String>,
    /// What for, up to 2,000 bytes.
    #[schema(max_length = 2000)]
    pub why: Option<String>,
    /// Opens a locked wallet for this once.
    #[schema(max_length = 4096)]
    pub passphrase: Option<String>,
}

/// What became of a payment.
#[derive(ToSchema)]
pub struct Payment {
    /// `sent`, `bought`, `waits` or `declined`.
    pub status: String,
    /// Hash of its transaction.
    pub transaction: Option<String>,
    /// Block of it.
    pub block: Option<u64>,
}

/// Which receipt.
#[derive(ToSchema)]
pub struct ReceiptAsk {
    /// As an answer calls it: JOB/STEP-LEASE.
    #[schema(max_length = 256)]
    pub receipt: String,
}

/// What checking a receipt found.
#[derive(ToSchema)]
pub struct ReceiptChecked {
    /// Its file in the data folder.
    pub file: String,
}
