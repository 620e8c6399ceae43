//! From GGUF metadata to a vocabulary.

use super::Inner;
use super::bpe::{Bpe, bytes_of_token};
use super::split::Style;
use crate::error::ModelError;
use crate::gguf::Metadata;
use regex::Regex;
use talkoo_base::{Digest, sha256};

/// GGUF token types.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// Control tokens that end a turn in the models of the last years; GGUF's `eos_token_id` names only
/// one of a model's several. The list is llama.cpp's.
const END_NAMES: [&str; 11] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "<|end_of_text|>",
    "<|return|>",
    "</s>",
];

pub(super) fn load(metadata: &Metadata) -> Result<Inner, ModelError> {
    let model = metadata.string("tokenizer.ggml.model").unwrap_or("none");
    if model != "gpt2" {
        return Err(ModelError::unsupported(format!("tokenizer {model:?}"), "a model with byte-level BPE (\"gpt2\")"));
    }
    let pre = metadata.string("tokenizer.ggml.pre").unwrap_or("default");
    let style = Style::from_name(pre).ok_or_else(|| {
        ModelError::unsupported(format!("pre-tokenizer {pre:?}"), format!("one of {}", Style::NAMES.join(", ")))
    })?;
    let tokens = list(metadata, "tokenizer.ggml.tokens")?;
    let merges = list(metadata, "tokenizer.ggml.merges")?;
    let normal = vec![1; tokens.len()];
    let types = metadata.integers("tokenizer.ggml.token_type").unwrap_or(&normal);
    if types.len() != tokens.len() || tokens.is_empty() {
        return Err(ModelError::damaged("the tokenizer's lists have different lengths"));
    }
    let is_special = |i: usize| types[i] == CONTROL || types[i] == USER_DEFINED;
    let token_id = |key: &str| metadata.u32(key).filter(|id| (*id as usize) < tokens.len());
    let bos = token_id("tokenizer.ggml.bos_token_id");
    let eos = end_tokens(metadata, tokens, &is_special);
    let text = |id: Option<u32>| id.map_or(String::new(), |id| tokens[id as usize].clone());
    Ok(Inner {
        id: identity(metadata, pre, tokens, types, merges, &eos),
        pieces: (0..tokens.len())
            .map(|i| if is_special(i) { tokens[i].clone().into_bytes() } else { bytes_of_token(&tokens[i]) })
            .collect(),
        hidden: types.iter().map(|t| *t == CONTROL).collect(),
        bpe: Bpe::new(tokens, merges, &is_special, style == Style::LlamaBpe)?,
        style,
        special: finder(tokens, &is_special)?,
        user_defined: finder(tokens, &|i| types[i] == USER_DEFINED)?,
        bos,
        adds_bos: metadata.bool("tokenizer.ggml.add_bos_token").unwrap_or(style == Style::LlamaBpe),
        eos,
        bos_text: text(bos),
        eos_text: text(token_id("tokenizer.ggml.eos_token_id")),
        template: metadata.string("tokenizer.chat_template").map(Into::into),
    })
}

fn list<'a>(metadata: &'a Metadata, key: &str) -> Result<&'a [String], ModelError> {
    metadata.strings(key).ok_or_else(|| ModelError::damaged(format!("{key} is missing")))
}

fn end_tokens(metadata: &Metadata, tokens: &[String], is_special: &impl Fn(usize) -> bool) -> Vec<u32> {
    let named = ["eos", "eot", "eom"].iter().filter_map(|n| metadata.u32(&format!("tokenizer.ggml.{n}_token_id")));
    let known = tokens.iter().enumerate().filter(|(i, t)| is_special(*i) && END_NAMES.contains(&t.as_str()));
    let mut out: Vec<u32> =
        named.chain(known.map(|(i, _)| i as u32)).filter(|i| (*i as usize) < tokens.len()).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// A pattern of the chosen tokens' names, longest first, so the longest wins where several begin.
fn finder(tokens: &[String], chosen: &dyn Fn(usize) -> bool) -> Result<Option<Regex>, ModelError> {
    let mut names: Vec<&str> =
        tokens.iter().enumerate().filter(|(i, t)| chosen(*i) && !t.is_empty()).map(|(_, t)| t.as_str()).collect();
    if names.is_empty() {
        return Ok(None);
    }
    names.sort_by_key(|n| std::cmp::Reverse(n.len()));
    let pattern = names.iter().map(|n| regex::escape(n)).collect::<Vec<_>>().join("|");
    Regex::new(&pattern).map(Some).map_err(|_| ModelError::damaged("far too many special tokens"))
}

/// SHA-256 over all that matters, strings with a u32 length, numbers big-endian.
fn identity(
    metadata: &Metadata,
    pre: &str,
    tokens: &[String],
    types: &[i64],
    merges: &[String],
    eos: &[u32],
) -> Digest {
    let mut bytes = Vec::new();
    let mut push = |s: &str| {
        bytes.extend((s.len() as u32).to_be_bytes());
        bytes.extend(s.as_bytes());
    };
    push("gpt2");
    push(pre);
    push(metadata.string("tokenizer.chat_template").unwrap_or(""));
    tokens.iter().chain(merges).for_each(|s| push(s));
    bytes.extend(types.iter().flat_map(|t| t.to_be_bytes()));
    for key in ["bos", "eos"] {
        let id = metadata.u32(&format!("tokenizer.ggml.{key}_token_id"));
        bytes.extend(id.unwrap_or(u32::MAX).to_be_bytes());
    }
    bytes.push(metadata.bool("tokenizer.ggml.add_bos_token").map_or(2, u8::from));
    bytes.extend(eos.iter().flat_map(|t| t.to_be_bytes()));
    sha256(&[
        b"talkoo/vocabulary/1",
        &(tokens.len() as u32).to_be_bytes(),
        &(merges.len() as u32).to_be_bytes(),
        &bytes,
    ])
}
