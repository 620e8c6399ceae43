//! Flags of selling answers to who has no key.

use clap::Args;

/// Answers for whoever pays (docs/X402.md).
#[derive(Args, Clone)]
pub(crate) struct X402Args {
    /// Sell answers of this node's models to whoever pays by x402, without key or account. Needs a chain whose payment token people
    /// can send, so `--ledger URL#ADDRESS`. Then nobody is answered for nothing.
    #[arg(long)]
    pub(crate) x402: bool,
    /// What they pay for a million output tokens, in tokens of money; input costs a quarter. Left out, the most of `--price`, or of what `provide price`
    /// said before this start.
    #[arg(long, value_name = "PRICE", value_parser = super::price, requires = "x402")]
    pub(crate) x402_price: Option<f64>,
    /// What one answer costs at least, in tokens of money: the node pays the gas of its transfer.
    #[arg(long, value_name = "TOKENS", value_parser = super::price, default_value_t = 0.001)]
    pub(crate) x402_least: f64,
}
