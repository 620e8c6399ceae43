//! A sentence-transformers folder of a BERT model becomes one file: a GGUF of architecture "bert", with the
//! numbers as they are. The same folder always gives the same bytes, and so the same CID and model root.

use super::safetensors::{self, Stored};
use super::wordpiece::BEGIN;
use crate::error::ModelError;
use crate::gguf::Writer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use talkoo_exact::import::Format;

/// Gives the bytes of a file of the folder, if it is there.
pub type Folder<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<Option<Vec<u8>>>;

#[derive(Deserialize)]
struct Config {
    model_type: String,
    hidden_act: String,
    #[serde(default)]
    position_embedding_type: Option<String>,
    num_hidden_layers: u32,
    hidden_size: u32,
    num_attention_heads: u32,
    intermediate_size: u32,
    layer_norm_eps: f32,
    max_position_embeddings: usize,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
struct Sentences {
    max_seq_length: Option<usize>,
}

#[derive(Deserialize)]
struct Tokenizer {
    normalizer: Normalizer,
    model: Words,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    lowercase: bool,
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
}

#[derive(Deserialize)]
struct Words {
    #[serde(rename = "type")]
    kind: Option<String>,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    vocab: BTreeMap<String, usize>,
}

/// The parts of a layer: the name in the folder, the name in GGUF.
const LAYER: [(&str, &str); 8] = [
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
];

/// The GGUF file of the model in `folder`: config.json, tokenizer.json, model.safetensors, modules.json, the
/// pooling's config.json and, if it is there, sentence_bert_config.json, whose length is the context.
///
/// # Errors
/// If a file is missing or damaged, or asks for what the contract does not have.
pub fn gguf_of_folder(folder: Folder<'_>) -> Result<Vec<u8>, ModelError> {
    let config: Config = need(folder, "config.json")?;
    let positions = config.position_embedding_type.as_deref().unwrap_or("absolute");
    for (what, have, need) in [
        ("model_type", &*config.model_type, "bert"),
        ("hidden_act", &config.hidden_act, "gelu"),
        ("position_embedding_type", positions, "absolute"),
    ] {
        refuse_unless(have == need, || format!("{what} {have:?}"), need)?;
    }
    let pooling = pooling(folder)?;
    let sentences: Sentences = optional(folder, "sentence_bert_config.json")?.unwrap_or_default();
    let context = sentences.max_seq_length.unwrap_or(usize::MAX).min(config.max_position_embeddings);
    let mut w = Writer::default();
    w.text("general.architecture", "bert");
    for (key, v) in [
        ("block_count", config.num_hidden_layers),
        ("context_length", u32::try_from(context).unwrap_or(u32::MAX)),
        ("embedding_length", config.hidden_size),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_attention_heads),
        ("pooling_type", pooling),
    ] {
        w.u32(&format!("bert.{key}"), v);
    }
    w.single("bert.attention.layer_norm_epsilon", config.layer_norm_eps.to_bits());
    w.entry("bert.attention.causal", 7, &[0]);
    words(need(folder, "tokenizer.json")?, &mut w)?;
    let file = bytes(folder, "model.safetensors")?.ok_or_else(|| missing("model.safetensors"))?;
    tensors(&file, config.num_hidden_layers, context, &mut w)?;
    Ok(w.finish())
}

fn missing(name: &str) -> ModelError {
    ModelError::damaged(format!("the folder has no {name}"))
}

fn refuse_unless(fits: bool, what: impl Fn() -> String, hint: &str) -> Result<(), ModelError> {
    if fits { Ok(()) } else { Err(ModelError::unsupported(what(), format!("a model with {hint}"))) }
}

fn bytes(folder: Folder<'_>, name: &str) -> Result<Option<Vec<u8>>, ModelError> {
    folder(name).map_err(|source| ModelError::Read { path: name.into(), source })
}

fn optional<T: DeserializeOwned>(folder: Folder<'_>, name: &str) -> Result<Option<T>, ModelError> {
    let Some(bytes) = bytes(folder, name)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|why| ModelError::damaged(format!("{name}: {why}")))
}

fn need<T: DeserializeOwned>(folder: Folder<'_>, name: &str) -> Result<T, ModelError> {
    optional(folder, name)?.ok_or_else(|| missing(name))
}

/// GGUF's number of the pooling: 1 mean, 2 class token.
fn pooling(folder: Folder<'_>) -> Result<u32, ModelError> {
    let modules: Vec<Module> = need(folder, "modules.json")?;
    let known = ["Transformer", "Pooling", "Normalize"];
    let named = |m: &Module, name: &str| m.kind.rsplit('.').next() == Some(name);
    if let Some(other) = modules.iter().find(|m| !known.iter().any(|name| named(m, name))) {
        return Err(ModelError::unsupported(format!("module {:?}", other.kind), "a model of transformer and pooling"));
    }
    let module = modules.iter().find(|m| named(m, "Pooling")).ok_or_else(|| missing("pooling in modules.json"))?;
    if module.path.split('/').any(|part| part == "..") || module.path.starts_with('/') {
        return Err(ModelError::damaged("modules.json leads out of its folder"));
    }
    let modes: BTreeMap<String, serde_json::Value> = need(folder, &format!("{}/config.json", module.path))?;
    let is_on =
        |(mode, on): &(&String, &serde_json::Value)| mode.starts_with("pooling_mode_") && on.as_bool() == Some(true);
    let on: Vec<&str> = modes.iter().filter(is_on).map(|(mode, _)| mode.as_str()).collect();
    match on[..] {
        ["pooling_mode_mean_tokens"] => Ok(1),
        ["pooling_mode_cls_token"] => Ok(2),
        _ => Err(ModelError::unsupported(format!("pooling by {on:?}"), "a model with mean or class token pooling")),
    }
}

/// The vocabulary as GGUF spells it: tokens that begin a word get a mark, those that continue one lose theirs.
fn words(tokenizer: Tokenizer, w: &mut Writer) -> Result<(), ModelError> {
    let Tokenizer { normalizer: n, model } = tokenizer;
    let usual = n.kind == "BertNormalizer" && n.lowercase && n.clean_text && n.handle_chinese_chars;
    refuse_unless(
        usual && n.strip_accents != Some(false),
        || "this normalizer".into(),
        "lower-casing, as \"uncased\" ones do",
    )?;
    let pieces = model.kind.as_deref().unwrap_or("WordPiece") == "WordPiece" && model.max_input_chars_per_word == 100;
    refuse_unless(
        pieces && model.continuing_subword_prefix == "##",
        || "this tokenizer".into(),
        "WordPiece as BERT's",
    )?;
    let mut tokens = vec![None; model.vocab.len()];
    for (token, id) in &model.vocab {
        *tokens.get_mut(*id).ok_or_else(|| ModelError::damaged("the vocabulary has gaps"))? = Some(spelled(token));
    }
    let tokens: Option<Vec<String>> = tokens.into_iter().collect();
    let tokens = tokens.ok_or_else(|| ModelError::damaged("the vocabulary names an id twice"))?;
    w.text("tokenizer.ggml.model", "bert");
    w.text("tokenizer.ggml.pre", "default");
    let control = |t: &String| if is_special(t) { 3 } else { 1 };
    w.integers("tokenizer.ggml.token_type", &tokens.iter().map(control).collect::<Vec<_>>());
    w.texts("tokenizer.ggml.tokens", &tokens);
    Ok(())
}

fn is_special(token: &str) -> bool {
    token.starts_with('[') && token.ends_with(']')
}

fn spelled(token: &str) -> String {
    match token.strip_prefix("##") {
        Some(rest) => rest.to_owned(),
        None if is_special(token) => token.to_owned(),
        None => format!("{BEGIN}{token}"),
    }
}

fn tensors(file: &[u8], layers: u32, context: usize, w: &mut Writer) -> Result<(), ModelError> {
    let stored = safetensors::read(file)?;
    let plain = |name: String| name.strip_prefix("bert.").map_or(name.clone(), str::to_owned);
    let mut stored: BTreeMap<String, Stored<'_>> = stored.into_iter().map(|(name, s)| (plain(name), s)).collect();
    // The pooler is for another task, and the positions are 0, 1, 2 …
    stored.retain(|name, _| !name.starts_with("pooler.") && name != "embeddings.position_ids");
    let mut put = |from: &str, to: &str, rows_max: usize| {
        let tensor = stored.remove(from).ok_or_else(|| missing(from))?;
        put_tensor(w, to, &tensor, rows_max).ok_or_else(|| {
            ModelError::unsupported(format!("{from} as {} of {:?}", tensor.kind, tensor.shape), "F32, F16 or BF16")
        })
    };
    put("embeddings.word_embeddings.weight", "token_embd.weight", usize::MAX)?;
    put("embeddings.position_embeddings.weight", "position_embd.weight", context)?;
    put("embeddings.token_type_embeddings.weight", "token_types.weight", usize::MAX)?;
    for kind in ["weight", "bias"] {
        put(&format!("embeddings.LayerNorm.{kind}"), &format!("token_embd_norm.{kind}"), usize::MAX)?;
    }
    for (l, (from, to)) in (0..layers).flat_map(|l| LAYER.map(|names| (l, names))) {
        for kind in ["weight", "bias"] {
            put(&format!("encoder.layer.{l}.{from}.{kind}"), &format!("blk.{l}.{to}.{kind}"), usize::MAX)?;
        }
    }
    match stored.keys().next() {
        Some(name) => Err(ModelError::unsupported(format!("tensor {name}"), "a plain BERT")),
        None => Ok(()),
    }
}

/// Matrices as they are, of which the first `rows_max` rows; vectors as F32.
fn put_tensor(w: &mut Writer, name: &str, tensor: &Stored<'_>, rows_max: usize) -> Option<()> {
    let format = match &*tensor.kind {
        "F32" => Format::F32,
        "F16" => Format::F16,
        "BF16" => Format::BF16,
        _ => return None,
    };
    match tensor.shape[..] {
        [length] => w.tensor(name, &[length], Format::F32.ggml(), singles(format, tensor.bytes)),
        [rows, columns] => {
            let width = tensor.bytes.len() / (rows * columns).max(1);
            let rows = rows.min(rows_max);
            w.tensor(name, &[columns, rows], format.ggml(), tensor.bytes[..rows * columns * width].to_vec());
        }
        _ => return None,
    }
    Some(())
}

/// Numbers as single precision, exactly.
fn singles(format: Format, bytes: &[u8]) -> Vec<u8> {
    let short = |b: &[u8]| u32::from(u16::from_le_bytes([b[0], b[1]]));
    match format {
        Format::F16 => bytes.chunks_exact(2).flat_map(|b| single_of_half(short(b)).to_le_bytes()).collect(),
        Format::BF16 => bytes.chunks_exact(2).flat_map(|b| (short(b) << 16).to_le_bytes()).collect(),
        _ => bytes.to_vec(),
    }
}

/// The bit pattern of a half-precision number in single precision.
fn single_of_half(bits: u32) -> u32 {
    let (sign, exponent, fraction) = ((bits & 0x8000) << 16, bits >> 10 & 31, bits & 0x3ff);
    sign | match (exponent, fraction) {
        (0, 0) => 0,
        // Subnormal: the leading one moves to its place.
        (0, f) => {
            let up = f.leading_zeros() - 21;
            ((113 - up) << 23) | ((f << up & 0x3ff) << 13)
        }
        (31, f) => 0x7f80_0000 | f << 13,
        (e, f) => (e + 112) << 23 | f << 13,
    }
}
