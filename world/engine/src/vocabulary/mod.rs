//! Words to token ids and back: the tokenizer and chat template of a GGUF file.
//!
//! Byte-level BPE ("gpt2" in GGUF) with the pre-tokenizers in [`split`], and SentencePiece's BPE
//! ("llama"); others are refused by name, because a guessed pre-tokenizer gives wrong ids without any error.

mod bpe;
mod decode;
mod load;
mod merge;
mod split;
mod spm;
mod template;

pub use decode::Decoder;
pub use template::ChatMessage;

use crate::constraint::Compiler;
use crate::error::{ModelError, RunError, TemplateError};
use crate::gguf::Header;
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use talkoo_base::{Constraint, Digest};

/// The tokenizer, chat template and end tokens of one model. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: Digest,
    /// The bytes each token stands for; for special tokens its name.
    pieces: Vec<Vec<u8>>,
    /// Control tokens are not shown.
    hidden: Vec<bool>,
    tokenizer: Tokenizer,
    /// Control and user-defined tokens by name.
    special_ids: HashMap<String, u32>,
    /// Finds control and user-defined tokens in text, and those of one kind alone.
    special: Option<Regex>,
    user_defined: Option<Regex>,
    control: Option<Regex>,
    bos: Option<u32>,
    adds_bos: bool,
    eos: Vec<u32>,
    bos_text: String,
    eos_text: String,
    template: Option<String>,
    /// Made for the first constraint.
    compiler: OnceLock<Result<Compiler, RunError>>,
}

#[derive(Debug)]
enum Tokenizer {
    Bytes { bpe: bpe::Bpe, style: split::Style },
    Sentences(spm::Spm),
}

/// Goes between the letters of control tokens' names in the messages of a chat, and out again before
/// they are encoded: a Unicode noncharacter, which no text for interchange contains.
pub(crate) const BREAK: char = '\u{fdd0}';

impl Vocabulary {
    /// Reads tokenizer and template from the metadata of a model file; whatever comes behind them need not be there.
    ///
    /// # Errors
    /// If the file is not a GGUF with a tokenizer this engine knows.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Ok(Self { inner: Arc::new(load::load(&Header::metadata_of(path)?)?) })
    }

    /// The same from a header already read.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_header(header: &Header) -> Result<Self, ModelError> {
        Ok(Self { inner: Arc::new(load::load(&header.metadata)?) })
    }

    /// Digest over everything that turns text into ids, ids into text, and ends an output.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.inner.id
    }

    /// Number of token ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.pieces.len()
    }

    /// Whether there are no tokens; never true of a vocabulary that loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.pieces.is_empty()
    }

    /// Ids that end an output: end of text, end of turn, in ascending order.
    #[must_use]
    pub fn eos(&self) -> &[u32] {
        &self.inner.eos
    }

    /// The beginning-of-text id, if the model has one.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.inner.bos
    }

    /// The bytes of one token as shown to people: nothing for control and unknown tokens.
    #[must_use]
    pub fn piece(&self, token: u32) -> &[u8] {
        match self.inner.hidden.get(token as usize) {
            Some(false) => &self.inner.pieces[token as usize],
            _ => &[],
        }
    }

    /// One token as text, broken UTF-8 replaced: of a control token its name.
    #[must_use]
    pub fn name(&self, token: u32) -> Cow<'_, str> {
        self.inner.pieces.get(token as usize).map_or("".into(), |piece| String::from_utf8_lossy(piece))
    }

    /// The token ids of `text`. With `parse_special`, the names of control tokens become these
    /// tokens; without, they are ordinary text (for words that come from strangers).
    /// Adds no beginning-of-text token: see [`Self::encode_prompt`].
    #[must_use]
    pub fn encode(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let special = if parse_special { &self.inner.special } else { &self.inner.user_defined };
        let plain = |from: usize, to: usize| {
            let part = &text[from..to];
            if parse_special && part.contains(BREAK) { part.replace(BREAK, "").into() } else { Cow::Borrowed(part) }
        };
        let mut out = Vec::new();
        let (mut from, mut first) = (0, true);
        if let Some(special) = special {
            for found in special.find_iter(text) {
                self.encode_plain(&plain(from, found.start()), first, &mut out);
                out.extend(self.inner.special_ids.get(found.as_str()));
                (from, first) = (found.end(), true);
            }
        }
        self.encode_plain(&plain(from, text.len()), first, &mut out);
        out
    }

    /// [`Self::encode`] with special tokens parsed, and the beginning-of-text token in front if the
    /// model wants one and the text does not begin with it.
    #[must_use]
    pub fn encode_prompt(&self, text: &str) -> Vec<u32> {
        let mut out = self.encode(text, true);
        if let (true, Some(bos)) = (self.inner.adds_bos, self.inner.bos)
            && out.first() != Some(&bos)
        {
            out.insert(0, bos);
        }
        out
    }

    /// `first`: at the beginning or after a special token.
    fn encode_plain(&self, text: &str, first: bool, out: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        match &self.inner.tokenizer {
            Tokenizer::Sentences(spm) => spm.encode(text, first, out),
            Tokenizer::Bytes { bpe, style } => {
                for piece in split::split(*style, text) {
                    bpe.encode(piece.as_bytes(), out);
                }
            }
        }
    }

    /// A decoder for one stream of tokens.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.clone())
    }

    /// The text of `tokens`, control tokens left out, broken UTF-8 replaced.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut decoder = self.decoder();
        let mut out: String = tokens.iter().map(|t| decoder.push(*t)).collect();
        out.push_str(&decoder.finish());
        out
    }

    /// The text that a prompt was encoded from, names of control tokens included, for an engine that encodes it again:
    /// without the beginning-of-text token where [`Self::encode_prompt`] puts it in front. Broken UTF-8 is replaced.
    #[must_use]
    pub fn prompt_text(&self, tokens: &[u32]) -> String {
        let tokens = match tokens {
            [first, rest @ ..] if self.inner.adds_bos && self.inner.bos == Some(*first) => rest,
            tokens => tokens,
        };
        let pieces = tokens.iter().filter_map(|token| self.inner.pieces.get(*token as usize));
        String::from_utf8_lossy(&pieces.flatten().copied().collect::<Vec<u8>>()).into_owned()
    }

    /// Checks that a constraint can be followed with this vocabulary.
    ///
    /// # Errors
    /// If it is none, or too large, or the model has no end token.
    pub fn check_constraint(&self, constraint: &Constraint) -> Result<(), RunError> {
        self.compiler()?.compile(constraint).map(drop)
    }

    pub(crate) fn compiler(&self) -> Result<&Compiler, RunError> {
        self.inner.compiler.get_or_init(|| Compiler::new(self)).as_ref().map_err(Clone::clone)
    }

    /// Whether the file has a chat template.
    #[must_use]
    pub fn has_template(&self) -> bool {
        self.inner.template.is_some()
    }

    /// The prompt text for a conversation, ready for the assistant's answer and for
    /// [`Self::encode_prompt`]. Names of control tokens in the messages are broken by an invisible
    /// mark, so that they become text there: only the template itself ends a turn or begins one.
    ///
    /// # Errors
    /// If there is no template, or it refuses or fails.
    pub fn render_chat(&self, messages: &[ChatMessage]) -> Result<String, TemplateError> {
        self.render_with_tools(messages, &[])
    }

    /// Whether the template knows what tools are.
    #[must_use]
    pub fn knows_tools(&self) -> bool {
        self.inner.template.as_deref().is_some_and(|template| template.contains("tools"))
    }

    /// The same with tools that the model may call, as OpenAI describes them; a template that does not
    /// know them ([`Self::knows_tools`]) leaves them out.
    ///
    /// # Errors
    /// As [`Self::render_chat`].
    pub fn render_with_tools(&self, messages: &[ChatMessage], tools: &[Value]) -> Result<String, TemplateError> {
        let template = self.inner.template.as_deref().ok_or(TemplateError::Missing)?;
        let harmless = |m: &ChatMessage| ChatMessage {
            role: self.break_control(&m.role).into_owned(),
            content: self.break_control(&m.content).into_owned(),
            tool_calls: m.tool_calls.iter().map(|call| self.break_all(call)).collect(),
            tool_call_id: m.tool_call_id.as_ref().map(|id| self.break_control(id).into_owned()),
        };
        let messages: Vec<ChatMessage> = messages.iter().map(harmless).collect();
        let tools: Vec<Value> = tools.iter().map(|tool| self.break_all(tool)).collect();
        template::render(template, &messages, &tools, (&self.inner.bos_text, &self.inner.eos_text))
    }

    /// [`Self::break_control`] in every text of a value, names of fields included.
    fn break_all(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.break_control(text).into_owned()),
            Value::Array(items) => items.iter().map(|item| self.break_all(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (self.break_control(name).into_owned(), self.break_all(value)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// A mark behind every letter of a control token's name, so that no other name begins in it either.
    fn break_control<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let broken = |name: &regex::Captures<'_>| name[0].chars().flat_map(|c| [c, BREAK]).collect::<String>();
        self.inner.control.as_ref().map_or(Cow::Borrowed(text), |control| control.replace_all(text, broken))
    }
}
