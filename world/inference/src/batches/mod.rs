//! `/v1/batches`: a file of requests, each answered as if it had been sent by itself, some side by side. A request that names `provider`
//! or a `service_tier` goes to the market, so a batch is spread over the network.
//!
//! ```text
//! validating ─► in_progress ─► finalizing ─► completed
//!      └─► failed    ├─► cancelling ─► cancelled
//!                    └─► expired, after a day
//! ```
//! Results are written line by line: a node that is killed goes on, after its start, with the lines that have none.

mod run;
mod state;

pub(crate) use state::Batches;

use crate::Shared;
use crate::collect::{fresh, unix};
use crate::error::{Fault, json_of};
use crate::files::{listed, page};
use crate::keys::{Who, name_of};
use crate::limits::{BATCH_S, METADATA_BYTES_MAX};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, Query, State};
use serde_json::Value;
use state::{Batch, Counts, Usage};
use std::collections::BTreeMap;
use talkoo_base::{Refusal, RefusalCode};

/// What a batch may ask.
const ENDPOINTS: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"];

pub(crate) use run::resume;

fn malformed(message: &str, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

pub(crate) async fn create(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Fault> {
    let body = json_of(body)?;
    let of = |refusal| Fault::of(refusal, &body);
    let text = |key: &str| body[key].as_str();
    let known = ["input_file_id", "endpoint", "completion_window", "metadata"];
    let fields = body.as_object().ok_or_else(|| of(malformed("the body is not an object", "")))?;
    if let Some((key, _)) = fields.iter().find(|(key, value)| !value.is_null() && !known.contains(&key.as_str())) {
        let no = Refusal::new(RefusalCode::UnsupportedParameter, format!("`{key}` is not supported"), "leave it out");
        return Err(of(no));
    }
    let Some(endpoint) = text("endpoint").filter(|endpoint| ENDPOINTS.contains(endpoint)) else {
        return Err(of(malformed("`endpoint` is none that a batch may ask", &ENDPOINTS.join(", "))));
    };
    if text("completion_window") != Some("24h") {
        return Err(of(malformed("`completion_window` is not 24h", "it is the only one")));
    }
    let file = text("input_file_id").ok_or_else(|| of(malformed("`input_file_id` is missing", "POST /v1/files")))?;
    let file = shared.files.find(file, &who).map_err(of)?;
    if file.purpose != "batch" {
        return Err(of(malformed("`input_file_id` is a file of another purpose", "upload it with purpose batch")));
    }
    if body["metadata"].to_string().len() > METADATA_BYTES_MAX {
        return Err(of(malformed("`metadata` is too long", "OpenAI's has 16 pairs of at most 576 bytes")));
    }
    shared.batches.make_room()?;
    let batch = Batch {
        id: fresh("batch_"),
        who: name_of(&who),
        endpoint: endpoint.to_owned(),
        input_file_id: file.id,
        metadata: body["metadata"].clone(),
        status: "validating".into(),
        created_at: unix(),
        expires_at: unix() + BATCH_S,
        times: BTreeMap::new(),
        counts: Counts::default(),
        usage: Usage::default(),
        errors: Vec::new(),
        output_file_id: None,
        error_file_id: None,
    };
    shared.batches.keep(&batch)?;
    run::begin(&shared, batch.clone());
    Ok(Json(batch.json()))
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Json<Value> {
    let all = shared.batches.all(&who).iter().map(Batch::json).collect();
    let (page, has_more) = page(all, &query, 100);
    Json(listed(page, has_more))
}

pub(crate) async fn one(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    Ok(Json(shared.batches.find(&id, &who)?.json()))
}

pub(crate) async fn cancel(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    Ok(Json(shared.batches.cancel(&id, &who)?.json()))
}
