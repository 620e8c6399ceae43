//! Words to token ids and back: the tokenizer and chat template of a GGUF file.
//!
//! Only byte-level BPE ("gpt2" in GGUF) with the pre-tokenizers in [`split`]; others are refused by
//! name, because a guessed pre-tokenizer gives wrong ids without any error.

mod bpe;
mod decode;
mod load;
mod split;
mod template;

pub use decode::Decoder;
pub use template::ChatMessage;

use crate::error::{ModelError, TemplateError};
use crate::gguf::Header;
use regex::Regex;
use std::path::Path;
use std::sync::Arc;
use talkoo_base::Digest;

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
    bpe: bpe::Bpe,
    style: split::Style,
    /// Finds control and user-defined tokens in text, and user-defined ones alone.
    special: Option<Regex>,
    user_defined: Option<Regex>,
    bos: Option<u32>,
    adds_bos: bool,
    eos: Vec<u32>,
    bos_text: String,
    eos_text: String,
    template: Option<String>,
}

impl Vocabulary {
    /// Reads tokenizer and template from the header of a model file; the weights are not read.
    ///
    /// # Errors
    /// If the file is not a GGUF with a tokenizer this engine knows.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::from_header(&Header::open(path)?)
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

    /// The token ids of `text`. With `parse_special`, the names of control tokens become these
    /// tokens; without, they are ordinary text (for words that come from strangers).
    /// Adds no beginning-of-text token: see [`Self::encode_prompt`].
    #[must_use]
    pub fn encode(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let special = if parse_special { &self.inner.special } else { &self.inner.user_defined };
        let mut out = Vec::new();
        let mut from = 0;
        if let Some(special) = special {
            for found in special.find_iter(text) {
                self.encode_plain(&text[from..found.start()], &mut out);
                out.extend(self.inner.bpe.special(found.as_str()));
                from = found.end();
            }
        }
        self.encode_plain(&text[from..], &mut out);
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

    fn encode_plain(&self, text: &str, out: &mut Vec<u32>) {
        for piece in split::split(self.inner.style, text) {
            self.inner.bpe.encode(piece.as_bytes(), out);
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

    /// Whether the file has a chat template.
    #[must_use]
    pub fn has_template(&self) -> bool {
        self.inner.template.is_some()
    }

    /// The prompt text for a conversation, ready for the assistant's answer.
    ///
    /// # Errors
    /// If there is no template, or it refuses or fails.
    pub fn render_chat(&self, messages: &[ChatMessage]) -> Result<String, TemplateError> {
        let template = self.inner.template.as_deref().ok_or(TemplateError::Missing)?;
        template::render(template, messages, &self.inner.bos_text, &self.inner.eos_text)
    }
}
