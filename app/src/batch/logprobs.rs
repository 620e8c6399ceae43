//! Log probabilities as OpenAI tells them. They become floating point here, at the edge, and nowhere before.

use serde_json::{Value, json};
use talkoo_base::TokenLogprobs;
use talkoo_engine::Vocabulary;

/// `logprobs` of a choice: one entry for each token of `tokens` but the model's own end; `null` if there are no
/// `bytes`, which are [`TokenLogprobs`] of all of them.
pub(crate) fn shown(vocabulary: &Vocabulary, tokens: &[u32], bytes: &[u8]) -> Value {
    let entries = entries(vocabulary, tokens, bytes);
    if entries.is_empty() { Value::Null } else { json!({"content": entries}) }
}

/// The entries alone.
pub(crate) fn entries(vocabulary: &Vocabulary, tokens: &[u32], bytes: &[u8]) -> Vec<Value> {
    let told = TokenLogprobs::read_all(bytes).unwrap_or_default();
    let one = |token: u32, logprob: i32| {
        json!({
            "token": vocabulary.name(token),
            "logprob": f64::from(logprob) / 65_536.0,
            "bytes": vocabulary.piece(token),
        })
    };
    let entry = |(token, told): (&u32, &TokenLogprobs)| {
        let mut entry = one(*token, told.chosen);
        entry["top_logprobs"] = told.top.iter().map(|(token, logprob)| one(*token, *logprob)).collect();
        entry
    };
    let shown = tokens.iter().zip(&told).filter(|(token, _)| !vocabulary.eos().contains(token));
    shown.map(entry).collect()
}
