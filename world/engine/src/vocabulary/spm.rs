//! SentencePiece in its BPE form (Kudo and Richardson 2018; "llama" in GGUF): neighbours merge into
//! the piece with the highest score, and a character without a piece becomes its bytes.

use super::merge::merge;
use crate::error::ModelError;
use std::cmp::Reverse;
use std::collections::HashMap;

/// Stands for a space in pieces.
const SPACE: &str = "\u{2581}";

#[derive(Debug)]
pub(super) struct Spm {
    /// Pieces by their text: score and id. Control tokens are not among them, so no text merges into one.
    pieces: HashMap<String, (i32, u32)>,
    /// Bytes of the longest piece.
    longest: usize,
    /// The token of every byte, or the unknown token.
    bytes: [Option<u32>; 256],
    /// A space goes before text at the beginning and after control tokens.
    space_prefix: bool,
}

impl Spm {
    /// `scores` are the bit patterns of f32; `is_piece` says which tokens text may become.
    pub(super) fn new(
        tokens: &[String],
        scores: &[u32],
        is_piece: &impl Fn(usize) -> bool,
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Result<Self, ModelError> {
        let (mut pieces, mut longest) = (HashMap::new(), 0);
        let mut bytes = [unknown; 256];
        for (i, (token, score)) in tokens.iter().zip(scores).enumerate() {
            if is_piece(i) {
                let score = order(*score).ok_or_else(|| ModelError::damaged(format!("token {i} has no score")))?;
                pieces.insert(token.clone(), (score, i as u32));
                longest = longest.max(token.len());
            } else if let Some(byte) = byte_of(token) {
                bytes[usize::from(byte)] = Some(i as u32);
            }
        }
        Ok(Self { pieces, longest, bytes, space_prefix })
    }

    /// Appends the ids of `text`; `first`: at the beginning or after a control token.
    pub(super) fn encode(&self, text: &str, first: bool, out: &mut Vec<u32>) {
        let mut escaped = String::with_capacity(text.len() + SPACE.len());
        if first && self.space_prefix {
            escaped.push_str(SPACE);
        }
        escaped.push_str(&text.replace(' ', SPACE));
        let symbols = escaped.char_indices().map(|(at, c)| (at, at + c.len_utf8())).collect();
        let joined = |left: (usize, usize), right: (usize, usize)| {
            let whole = (left.0, right.1);
            let (score, _) = self.piece(&escaped[whole.0..whole.1])?;
            Some((Reverse(score), whole))
        };
        for (from, to) in merge(symbols, joined) {
            match self.piece(&escaped[from..to]) {
                Some((_, id)) => out.push(id),
                None => out.extend(escaped.as_bytes()[from..to].iter().filter_map(|b| self.bytes[usize::from(*b)])),
            }
        }
    }

    fn piece(&self, text: &str) -> Option<(i32, u32)> {
        if text.len() > self.longest { None } else { self.pieces.get(text).copied() }
    }
}

/// A whole number that is ordered as the f32 of these bits; `None` if that is none.
fn order(bits: u32) -> Option<i32> {
    let magnitude = (bits & 0x7fff_ffff) as i32;
    if magnitude > 0x7f80_0000 {
        return None;
    }
    Some(if bits >> 31 == 1 { -magnitude } else { magnitude })
}

/// The byte that a token named like `<0x0A>` stands for.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>').filter(|hex| hex.len() == 2)?;
    u8::from_str_radix(hex, 16).ok()
}

/// The text a piece stands for.
pub(super) fn text_of(token: &str) -> String {
    token.replace(SPACE, " ")
}
