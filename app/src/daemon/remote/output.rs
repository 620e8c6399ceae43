//! The tokens of an answer that grows: as the server tells them, or else those of its text.
//!
//! Text is tokenised whole, again and again, because what comes next may change its last tokens;
//! these are kept back until more has come or the answer is over.

use super::failed;
use super::words::Piece;
use talkoo_base::{CHUNK_TOKENS, Finish, Refusal};
use talkoo_engine::Vocabulary;

/// Last tokens of a text that are not certain: longer than any chain of merges that one more letter undoes.
const KEPT_BACK: usize = 16;
/// A text is tokenised again when it has grown by so many bytes, so that a long one costs little.
const STEP_BYTES: usize = 64;

/// The output of one run.
pub(super) struct Output {
    vocabulary: Vocabulary,
    /// Tokens at most.
    max: usize,
    /// All tokens so far; of a text, as it was when it was last tokenised.
    tokens: Vec<u32>,
    /// How many of them stay as they are.
    certain: usize,
    sent: usize,
    /// The text, if the server tells no ids.
    text: Option<String>,
    /// Bytes of the text that were tokenised.
    read: usize,
    finish: Option<Finish>,
}

impl Output {
    pub(super) fn new(vocabulary: &Vocabulary, max_tokens: u32) -> Self {
        Self {
            vocabulary: vocabulary.clone(),
            max: max_tokens as usize,
            tokens: Vec::new(),
            certain: 0,
            sent: 0,
            text: None,
            read: 0,
            finish: None,
        }
    }

    /// Tokens so far.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing more is wanted.
    pub(super) fn is_over(&self) -> bool {
        self.finish.is_some()
    }

    /// Takes what an event brought.
    ///
    /// # Errors
    /// Ids that the vocabulary does not have, a text whose tokens changed behind what was sent, or an answer of nothing.
    pub(super) fn push(&mut self, piece: Piece) -> Result<(), Refusal> {
        match (piece.tokens, &mut self.text) {
            (None, None) if piece.text.is_empty() => {}
            (None, None) if !self.tokens.is_empty() => return Err(failed("the engine stopped telling token ids")),
            (Some(ids), None) => {
                let last = self.vocabulary.len();
                if ids.iter().any(|id| *id as usize >= last) {
                    return Err(failed("the engine's tokens are not those of the vocabulary it is offered with"));
                }
                self.tokens.extend(ids);
                self.certain = self.tokens.len();
            }
            (_, text) => {
                let text = text.get_or_insert_default();
                text.push_str(&piece.text);
                if text.len() - self.read >= STEP_BYTES || piece.finish.is_some() {
                    self.tokenize(piece.finish.is_some())?;
                }
            }
        }
        match piece.finish {
            // A server that counts other tokens than we do may send more than was asked.
            _ if self.certain > self.max => self.end(Finish::Length),
            None if self.certain == self.max => self.end(Finish::Length),
            None => Ok(()),
            Some(finish) => self.end(finish),
        }
    }

    fn tokenize(&mut self, is_whole: bool) -> Result<(), Refusal> {
        let text = self.text.as_deref().unwrap_or_default();
        self.read = text.len();
        let tokens = self.vocabulary.encode(text, false);
        if tokens.get(..self.sent) != self.tokens.get(..self.sent) {
            return Err(failed("the tokens of the engine's text changed behind what was sent"));
        }
        let kept_back = if is_whole { 0 } else { KEPT_BACK };
        self.certain = tokens.len().saturating_sub(kept_back).max(self.sent);
        self.tokens = tokens;
        Ok(())
    }

    fn end(&mut self, finish: Finish) -> Result<(), Refusal> {
        if self.tokens.is_empty() {
            // An answer that ends at once is its end token; a receipt is for at least one token.
            let eos = self.vocabulary.eos().first().ok_or_else(|| failed("the engine answered nothing"))?;
            self.tokens.push(*eos);
        }
        self.tokens.truncate(self.max);
        self.certain = self.tokens.len();
        self.finish = Some(finish);
        Ok(())
    }

    /// Whether a chunk can leave. A full one waits until it is known not to be the last: that one says why it ends.
    pub(super) fn has_chunk(&self) -> bool {
        self.finish.is_some() && self.sent < self.certain || self.certain > self.sent + CHUNK_TOKENS as usize
    }

    /// The next chunk and why the output ends with it.
    pub(super) fn chunk(&mut self) -> (Vec<u32>, Finish) {
        let end = self.certain.min(self.sent + CHUNK_TOKENS as usize);
        let tokens = self.tokens[self.sent..end].to_vec();
        self.sent = end;
        let is_last = end == self.certain;
        (tokens, self.finish.filter(|_| is_last).unwrap_or(Finish::Running))
    }
}
