//! `GET /v1/models`.

use crate::error::Fault;
use crate::keys::Who;
use crate::{Model, Shared};
use axum::Json;
use axum::extract::{Extension, Path, State};
use serde_json::{Value, json};
use talkoo_base::{Price, Refusal, RefusalCode};

/// The price of one token as OpenRouter writes it, of a price for a million: 12 digits behind the point, no needless ones.
#[must_use]
pub fn a_token(price: u128) -> String {
    let text = format!("{}.{:012}", price / 10_u128.pow(12), price % 10_u128.pow(12));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a token costs whoever asks.
fn price(shared: &Shared, who: &Who) -> Price {
    let sold = shared.sales.as_ref().filter(|_| matches!(who, Who::Payer(_)));
    sold.map(|sales| sales.price).unwrap_or_default()
}

/// OpenAI's object, with OpenRouter's fields and ours.
fn shown(model: &Model, price: Price) -> Value {
    let kind = if model.is_encoder { "embedding" } else { "text" };
    json!({
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "talkoo",
        "context_length": model.context,
        "architecture": {"input_modalities": ["text"], "output_modalities": [kind]},
        // What the owner's own machine runs costs nothing, but for strangers; the market's prices are among the endpoints.
        "pricing": {"prompt": a_token(price.input), "completion": a_token(price.output)},
        "quantization": model.quantization,
        "bytes": model.bytes,
        "cid": model.cid,
        "root": model.root,
    })
}

pub(crate) async fn list(State(shared): State<Shared>, Extension(who): Extension<Who>) -> Result<Json<Value>, Fault> {
    let (models, price) = (shared.desk.models().await?, price(&shared, &who));
    let data: Vec<Value> = models.iter().map(|model| shown(model, price)).collect();
    Ok(Json(json!({"object": "list", "data": data})))
}

/// A model, or with `/endpoints` behind its name, who runs it.
pub(crate) async fn one(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    let (models, price) = (shared.desk.models().await?, price(&shared, &who));
    let find = |name: &str| models.iter().find(|model| model.is_called(name));
    if let Some(model) = find(&id) {
        return Ok(Json(shown(model, price)));
    }
    if let Some(model) = id.strip_suffix("/endpoints").and_then(find) {
        let mut value = shown(model, price);
        value["endpoints"] = json!(model.endpoints);
        return Ok(Json(json!({"data": value})));
    }
    let hint = "GET /v1/models has those that are here; `talkoo pull NAME` gets more";
    Err(Refusal::new(RefusalCode::UnknownModel, format!("the model `{id}` is not here"), hint).into())
}

#[cfg(test)]
mod tests {
    use super::a_token;

    #[test]
    fn prices_of_one_token_are_exact() {
        let cases = [
            (0, "0"),
            (1, "0.000000000001"),
            (400_000, "0.0000004"),
            (10_u128.pow(12), "1"),
            (25 * 10_u128.pow(11), "2.5"),
        ];
        for (price, want) in cases {
            assert_eq!(a_token(price), want);
        }
    }
}
