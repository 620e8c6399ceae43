//! `GET /v1/models`.

use crate::error::Fault;
use crate::{Model, Shared};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use talkoo_base::{Refusal, RefusalCode};

/// OpenAI's object, with OpenRouter's fields and ours.
fn shown(model: &Model) -> Value {
    let kind = if model.is_encoder { "embedding" } else { "text" };
    json!({
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "talkoo",
        "context_length": model.context,
        "architecture": {"input_modalities": ["text"], "output_modalities": [kind]},
        // What the owner's own machine runs costs nothing; the market's prices are among the endpoints.
        "pricing": {"prompt": "0", "completion": "0"},
        "quantization": model.quantization,
        "bytes": model.bytes,
        "cid": model.cid,
        "root": model.root,
    })
}

pub(crate) async fn list(State(shared): State<Shared>) -> Result<Json<Value>, Fault> {
    let models = shared.desk.models().await?;
    Ok(Json(json!({"object": "list", "data": models.iter().map(shown).collect::<Vec<_>>()})))
}

/// A model, or with `/endpoints` behind its name, who runs it.
pub(crate) async fn one(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<Value>, Fault> {
    let models = shared.desk.models().await?;
    let find = |name: &str| models.iter().find(|model| model.is_called(name));
    if let Some(model) = find(&id) {
        return Ok(Json(shown(model)));
    }
    if let Some(model) = id.strip_suffix("/endpoints").and_then(find) {
        let mut value = shown(model);
        value["endpoints"] = json!(model.endpoints);
        return Ok(Json(json!({"data": value})));
    }
    let hint = "GET /v1/models has those that are here; `talkoo pull NAME` gets more";
    Err(Refusal::new(RefusalCode::UnknownModel, format!("the model `{id}` is not here"), hint).into())
}
