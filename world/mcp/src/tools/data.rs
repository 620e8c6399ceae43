//! Sealed data: what `talkoo data` calls.

use super::{Call, search};
use crate::ask::No;
use crate::limits::{NODE_WAIT, PAY_WAIT, READS_MAX};
use serde_json::{Value, json};
use talkoo_base::{Refusal, RefusalCode};
use tokio::time::timeout;

/// Bytes of one read, unless told otherwise.
const READ_BYTES: u64 = 16 << 10;

pub(super) async fn search(call: &Call<'_>) -> Result<Value, No> {
    let found = search::data(call, call.text("words").unwrap_or_default(), search::limit(call)).await?;
    Ok(json!({"data": found}))
}

pub(super) async fn show(call: &Call<'_>) -> Result<Value, No> {
    call.ask("data_show", json!({"id": call.args["id"]})).await
}

pub(super) async fn buy(call: &Call<'_>) -> Result<Value, No> {
    let (id, why, per_query) = (&call.args["id"], &call.args["why"], &call.args["per_query"]);
    let args = json!({"id": id, "why": why, "per_query": per_query, "key": call.key()});
    call.office.call("data_buy", args, PAY_WAIT).await
}

pub(super) async fn read(call: &Call<'_>) -> Result<Value, No> {
    let _turn = timeout(NODE_WAIT, call.office.reads.acquire()).await.map_err(|_| {
        let message = format!("{READS_MAX} reads of data were at work for {} s", NODE_WAIT.as_secs());
        Refusal::new(RefusalCode::Busy, message, "read less at once")
    })?;
    call.ask(
        "data_read",
        json!({
            "id": call.args["id"],
            "file": call.args["file"],
            "offset": call.number("offset").unwrap_or(0),
            "bytes": call.number("bytes").unwrap_or(READ_BYTES),
        }),
    )
    .await
}
