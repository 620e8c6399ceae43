//! `key`.

use clap::{Args, Subcommand};

/// `key …`.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key for programs that ask this node: OPENAI_API_KEY and the like. It is printed this once.
    Create(KeyArgs),
    /// List them, and what was spent with each.
    Ls,
    /// Take one back.
    Revoke {
        /// Its id or name.
        key: String,
    },
    /// Change what one may do, as scopes, rate and spending policy; what is not named stays. Name, budget and end can't change.
    Set {
        /// Its id or name.
        key: String,
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// Show one: what it may do, what it paid, what waits for you.
    Show {
        /// Its id or name.
        key: String,
    },
    /// List payments that wait for your word.
    Approvals,
    /// Let one be made, now.
    Approve {
        /// Its id.
        payment: String,
    },
    /// Let one not be made.
    Refuse {
        /// Its id.
        payment: String,
    },
    /// Print what was decided about payments of a key, and by which rule.
    Audit {
        /// Its id or name.
        key: String,
    },
}

/// `key create`.
#[derive(Args)]
pub(crate) struct KeyArgs {
    /// What to call it.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// What may be spent with it, in tokens of money; 0 for what costs nothing only.
    #[arg(long)]
    pub(crate) budget: Option<f64>,
    /// Days until it ends.
    #[arg(long)]
    pub(crate) days: Option<u64>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// What a key may do.
#[derive(Args)]
pub(crate) struct LimitArgs {
    /// What it is for, of inference, batch, data, wallet, mcp; the first two unless told otherwise.
    #[arg(long, value_name = "SCOPE,…")]
    pub(crate) scopes: Option<String>,
    /// Requests per minute; 0 for any number.
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<u64>,
    /// What it may pay at once, as 1.5; with --per-day and --allow this makes a spending policy.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) per_payment: Option<String>,
    /// What it may pay within 24 hours.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) per_day: Option<String>,
    /// Whom it may pay; several times. Nobody unless told otherwise; '' for nobody again.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) allow: Option<Vec<String>>,
    /// A payment above this waits for `key approve`.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) approve_above: Option<String>,
    /// Days until the policy ends.
    #[arg(long, value_name = "DAYS")]
    pub(crate) policy_days: Option<u64>,
    /// What it pays with; money unless told otherwise.
    #[arg(long, value_enum)]
    pub(crate) asset: Option<super::Asset>,
}
