//! From GGUF metadata to a vocabulary.

use super::bpe::{Bpe, bytes_of_token};
use super::split::Style;
use super::spm::{Spm, byte_of, text_of};
use super::{Inner, Tokenizer};
use crate::error::ModelError;
use crate::gguf::Metadata;
use regex::Regex;
use std::borrow::Cow;
use talkoo_base::{Digest, sha256};

/// GGUF token types.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const BYTE: i64 = 6;
/// Whether SentencePiece puts a space before text.
const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

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
    let raw = Raw::read(metadata)?;
    let is_special = |i: usize| raw.is_control(i) || raw.types[i] == USER_DEFINED;
    let token_id = |key: &str| raw.token_id(metadata, key);
    let bos = token_id("bos");
    let eos = end_tokens(metadata, raw.tokens, &is_special);
    let text = |id: Option<u32>| id.map_or(String::new(), |id| raw.tokens[id as usize].clone());
    let tokenizer = raw.tokenizer(metadata, &is_special)?;
    let adds_bos = !matches!(tokenizer, Tokenizer::Bytes { style, .. } if style != Style::LlamaBpe);
    let special = (0..raw.tokens.len()).filter(|i| is_special(*i));
    Ok(Inner {
        id: identity(metadata, &raw, &eos),
        pieces: (0..raw.tokens.len())
            .map(|i| if is_special(i) { raw.tokens[i].clone().into_bytes() } else { raw.bytes(i) })
            .collect(),
        hidden: (0..raw.tokens.len()).map(|i| raw.is_control(i)).collect(),
        tokenizer,
        special_ids: special.map(|i| (raw.tokens[i].clone(), i as u32)).collect(),
        special: finder(raw.tokens, &is_special)?,
        user_defined: finder(raw.tokens, &|i| raw.types[i] == USER_DEFINED)?,
        control: finder(raw.tokens, &|i| raw.is_control(i))?,
        compiler: std::sync::OnceLock::new(),
        bos,
        adds_bos: metadata.bool("tokenizer.ggml.add_bos_token").unwrap_or(adds_bos),
        eos,
        bos_text: text(bos),
        eos_text: text(token_id("eos")),
        template: metadata.string("tokenizer.chat_template").map(Into::into),
    })
}

/// The lists of a tokenizer as they stand in the file.
struct Raw<'a> {
    /// "gpt2" or "llama".
    model: &'a str,
    pre: &'a str,
    tokens: &'a [String],
    types: Cow<'a, [i64]>,
    /// Only of "gpt2".
    merges: &'a [String],
    /// Only of "llama": the bit patterns of f32.
    scores: &'a [u32],
}

impl<'a> Raw<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self, ModelError> {
        let model = metadata.string("tokenizer.ggml.model").unwrap_or("none");
        let (mut merges, mut scores): (&[String], &[u32]) = (&[], &[]);
        let tokens = match model {
            "gpt2" => {
                merges = list(metadata, "tokenizer.ggml.merges")?;
                list(metadata, "tokenizer.ggml.tokens")?
            }
            "llama" => {
                let key = "tokenizer.ggml.scores";
                let missing = || ModelError::damaged(format!("{key} is missing"));
                scores = metadata.singles(key).ok_or_else(missing)?;
                list(metadata, "tokenizer.ggml.tokens")?
            }
            _ => {
                let hint = "a model with byte-level BPE (\"gpt2\") or SentencePiece (\"llama\")";
                return Err(ModelError::unsupported(format!("tokenizer {model:?}"), hint));
            }
        };
        let types = metadata.integers("tokenizer.ggml.token_type");
        let types = types.map_or_else(|| Cow::Owned(vec![NORMAL; tokens.len()]), Cow::Borrowed);
        let lengths = [types.len(), if model == "llama" { scores.len() } else { tokens.len() }];
        if lengths != [tokens.len(); 2] || tokens.is_empty() {
            return Err(ModelError::damaged("the tokenizer's lists have different lengths"));
        }
        let pre = metadata.string("tokenizer.ggml.pre").unwrap_or("default");
        Ok(Self { model, pre, tokens, types, merges, scores })
    }

    fn is_spm(&self) -> bool {
        self.model == "llama"
    }

    /// Tokens that no text may become unasked.
    fn is_control(&self, i: usize) -> bool {
        self.types[i] == CONTROL || self.is_spm() && self.types[i] == UNKNOWN
    }

    fn token_id(&self, metadata: &Metadata, name: &str) -> Option<u32> {
        metadata.u32(&format!("tokenizer.ggml.{name}_token_id")).filter(|id| (*id as usize) < self.tokens.len())
    }

    /// The bytes that a token which is not special stands for.
    fn bytes(&self, i: usize) -> Vec<u8> {
        let token = &self.tokens[i];
        match (self.is_spm(), byte_of(token).filter(|_| self.types[i] == BYTE)) {
            (false, _) => bytes_of_token(token),
            (true, Some(byte)) => vec![byte],
            (true, None) => text_of(token).into_bytes(),
        }
    }

    fn tokenizer(&self, metadata: &Metadata, is_special: &impl Fn(usize) -> bool) -> Result<Tokenizer, ModelError> {
        if self.is_spm() {
            let is_piece = |i: usize| !self.is_control(i) && self.types[i] != BYTE;
            let unknown = self.token_id(metadata, "unknown");
            let prefix = metadata.bool(SPACE_PREFIX).unwrap_or(true);
            return Spm::new(self.tokens, self.scores, &is_piece, unknown, prefix).map(Tokenizer::Sentences);
        }
        let style = Style::from_name(self.pre).ok_or_else(|| {
            let known = format!("one of {}", Style::NAMES.join(", "));
            ModelError::unsupported(format!("pre-tokenizer {:?}", self.pre), known)
        })?;
        let bpe = Bpe::new(self.tokens, self.merges, is_special, style == Style::LlamaBpe)?;
        Ok(Tokenizer::Bytes { bpe, style })
    }
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
fn identity(metadata: &Metadata, raw: &Raw<'_>, eos: &[u32]) -> Digest {
    let mut bytes = Vec::new();
    let mut push = |s: &str| {
        bytes.extend((s.len() as u32).to_be_bytes());
        bytes.extend(s.as_bytes());
    };
    push(raw.model);
    push(raw.pre);
    push(metadata.string("tokenizer.chat_template").unwrap_or(""));
    raw.tokens.iter().chain(raw.merges).for_each(|s| push(s));
    bytes.extend(raw.types.iter().flat_map(|t| t.to_be_bytes()));
    for key in ["bos", "eos"] {
        let id = metadata.u32(&format!("tokenizer.ggml.{key}_token_id"));
        bytes.extend(id.unwrap_or(u32::MAX).to_be_bytes());
    }
    bytes.push(metadata.bool("tokenizer.ggml.add_bos_token").map_or(2, u8::from));
    if raw.is_spm() {
        bytes.extend(raw.scores.iter().flat_map(|s| s.to_be_bytes()));
        bytes.extend(raw.token_id(metadata, "unknown").unwrap_or(u32::MAX).to_be_bytes());
        bytes.push(metadata.bool(SPACE_PREFIX).map_or(2, u8::from));
    }
    bytes.extend(eos.iter().flat_map(|t| t.to_be_bytes()));
    sha256(&[
        b"talkoo/vocabulary/1",
        &(raw.tokens.len() as u32).to_be_bytes(),
        &(raw.merges.len() as u32).to_be_bytes(),
        &bytes,
    ])
}
