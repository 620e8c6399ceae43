//! What a node earned, by day.

use utoipa::ToSchema;

/// How many days.
#[derive(ToSchema)]
pub struct EarningsQuery {
    /// Days, today's the last; left out: 7.
    #[schema(minimum = 1, maximum = 366)]
    pub days: Option<u32>,
}

/// What came in, in tokens of money.
#[derive(ToSchema)]
pub struct Earnings {
    /// One for each day in UTC, the oldest first; a day without income is one of zeros.
    pub days: Vec<EarnedDay>,
    /// All of them together.
    pub sum: EarnedSum,
    /// Since when it is counted.
    pub since: EarnedSince,
    /// Always `tokens of money`.
    pub unit: String,
}

/// Income of a day.
#[derive(ToSchema)]
pub struct EarnedDay {
    /// As 2026-01-31.
    pub date: String,
    /// Answers that were paid by vouchers.
    pub inference: String,
    /// Answers that were paid by transfer.
    pub x402: String,
    /// Storage that was proven.
    pub storage: String,
    /// Sealed data that was sold, and what was made from ours.
    pub data: String,
    /// All of it.
    pub total: String,
}

/// Income of several days.
#[derive(ToSchema)]
pub struct EarnedSum {
    /// Answers that were paid by vouchers.
    pub inference: String,
    /// Answers that were paid by transfer.
    pub x402: String,
    /// Storage that was proven.
    pub storage: String,
    /// Sealed data that was sold, and what was made from ours.
    pub data: String,
    /// All of it.
    pub total: String,
}

/// Since when income is counted: what came before is in no row. In Unix seconds.
#[derive(ToSchema)]
pub struct EarnedSince {
    /// Of `inference`: when this node began its day book.
    pub inference: u64,
    /// Of the others: the oldest block that is looked at; none without a ledger.
    pub ledger: Option<u64>,
}
