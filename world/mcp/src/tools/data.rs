//! Sealed data: what `talkoo data` calls.

use super::{Call, search};
use crate::ask::No;
use crate::limits::PAY_WAIT;
use serde_json::{Value, json};

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
    let args = json!({"id": call.args["id"], "why": call.args["why"], "key": call.key()});
    call.office.call("data_buy", args, PAY_WAIT).await
}

pub(super) async fn read(call: &Call<'_>) -> Result<Value, No> {
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
