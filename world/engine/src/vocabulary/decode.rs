//! Token ids back to text, one at a time.

use super::Vocabulary;

/// Turns a stream of tokens into text, holding back bytes of a character that is not complete.
#[derive(Clone, Debug)]
pub struct Decoder {
    vocabulary: Vocabulary,
    pending: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(vocabulary: Vocabulary) -> Self {
        Self { vocabulary, pending: Vec::new() }
    }

    /// The text that `token` completes; may be empty. Bytes that can be no UTF-8 become U+FFFD.
    pub fn push(&mut self, token: u32) -> String {
        self.pending.extend_from_slice(self.vocabulary.piece(token));
        let mut out = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(text) => {
                    out.push_str(text);
                    self.pending.clear();
                    return out;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    out.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    let Some(broken) = error.error_len() else {
                        self.pending.drain(..valid);
                        return out;
                    };
                    out.push(char::REPLACEMENT_CHARACTER);
                    self.pending.drain(..valid + broken);
                }
            }
        }
    }

    /// What is left at the end: U+FFFD if the last character never became complete.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}
