//! The wallet, and what a key may do with it.

use super::Call;
use crate::ask::No;
use crate::limits::PAY_WAIT;
use serde_json::{Value, json};
use talkoo_inference::Who;

pub(super) async fn show(call: &Call<'_>) -> Result<Value, No> {
    call.ask("wallet", json!({})).await
}

pub(super) async fn history(call: &Call<'_>) -> Result<Value, No> {
    call.ask("wallet_history", json!({"limit": call.number("limit").unwrap_or(20)})).await
}

pub(super) async fn pay(call: &Call<'_>) -> Result<Value, No> {
    let mut args = call.args.clone();
    args["key"] = call.key();
    call.office.call("wallet_pay", args, PAY_WAIT).await
}

/// What the key may do, and what was decided about its payments.
pub(super) async fn policy(call: &Call<'_>) -> Result<Value, No> {
    match &call.who {
        Who::Owner => Ok(
            json!({"who": "owner", "note": "the owner's token may do all but spend by tools: keys have policies for that"}),
        ),
        Who::Anybody => Ok(
            json!({"who": "anybody", "note": "without a key: models of this machine and batches, no money, no data"}),
        ),
        Who::Payer(_) => Ok(json!({"who": "payer", "note": "who pays by x402 buys answers only"})),
        Who::Key(id) => call.ask("key_show", json!({"id": id})).await,
    }
}
