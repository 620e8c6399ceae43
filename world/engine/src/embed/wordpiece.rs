//! BERT's tokenizer: text is cleaned, lower-cased and stripped of accents, cut at spaces, punctuation and
//! CJK characters, and each word becomes its longest known pieces. The reference is the `tokenizers` package.

use crate::error::ModelError;
use regex::Regex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;
use talkoo_base::{Digest, sha256};
use unicode_normalization::UnicodeNormalization;

/// GGUF's mark of a token that begins a word; those without continue one.
pub(super) const BEGIN: char = '\u{2581}';
/// Longer words, in characters, are unknown.
const WORD_MAX: usize = 100;

/// Control characters, format characters, private ones and the replacement character, but for white space.
static DROPPED: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{Cc}\p{Cf}\p{Co}\u{fffd}--[\t\n\r]]+"));
/// Accents, once they stand apart.
static MARKS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\p{Mn}+"));
/// A punctuation mark or CJK ideograph alone, or a run of anything else but white space.
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    let alone = r"[[:punct:]]\p{P}\u{4e00}-\u{9fff}\u{3400}-\u{4dbf}\u{20000}-\u{2a6df}\u{2a700}-\u{2ceaf}\u{f900}-\u{faff}\u{2f800}-\u{2fa1f}";
    pattern(&format!(r"[{alone}]|[^\s{alone}]+"))
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a fixed pattern, compiled in every test")
}

/// The token ids of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The ids, class token and separator included: at most the context.
    pub tokens: Vec<u32>,
    /// How many there would be if the context had no end.
    pub whole: usize,
}

/// A WordPiece vocabulary.
#[derive(Debug)]
pub(super) struct WordPiece {
    id: Digest,
    /// Pieces that begin a word, and those that continue one.
    pieces: [HashMap<String, u32>; 2],
    /// Bytes of the longest piece.
    longest: usize,
    class: u32,
    separator: u32,
    unknown: u32,
}

impl WordPiece {
    /// From tokens as GGUF spells them.
    pub(super) fn new(tokens: &[String]) -> Result<Self, ModelError> {
        let named = |name: &str| {
            let at = tokens.iter().position(|t| t == name);
            at.map(|i| i as u32).ok_or_else(|| ModelError::damaged(format!("the vocabulary has no {name}")))
        };
        let [class, separator, unknown] = [named("[CLS]")?, named("[SEP]")?, named("[UNK]")?];
        let mut pieces = [HashMap::new(), HashMap::new()];
        let mut bytes = Vec::new();
        bytes.extend((tokens.len() as u32).to_be_bytes());
        [class, separator, unknown].iter().for_each(|id| bytes.extend(id.to_be_bytes()));
        for (i, token) in tokens.iter().enumerate() {
            bytes.extend((token.len() as u32).to_be_bytes());
            bytes.extend(token.as_bytes());
            let (continues, piece) = token.strip_prefix(BEGIN).map_or((1, token.as_str()), |piece| (0, piece));
            pieces[continues].entry(piece.to_owned()).or_insert(i as u32);
        }
        let longest = tokens.iter().map(String::len).max().unwrap_or(0);
        let id = sha256(&[b"talkoo/wordpiece/1", &bytes]);
        Ok(Self { id, pieces, longest, class, separator, unknown })
    }

    /// Digest over all tokens and what three of them mean.
    pub(super) fn id(&self) -> Digest {
        self.id
    }

    /// The ids of `text` between class token and separator; what does not fit `context` is cut off before the
    /// separator. Names of special tokens in the text are text.
    pub(super) fn encode(&self, text: &str, context: usize) -> Encoded {
        let mut tokens = vec![self.class];
        for word in WORD.find_iter(&normalise(text)) {
            self.push_word(word.as_str(), &mut tokens);
        }
        let whole = tokens.len() + 1;
        tokens.truncate(context - 1);
        tokens.push(self.separator);
        Encoded { tokens, whole }
    }

    /// Ids between class token and separator, which may be there already.
    pub(super) fn framed(&self, ids: &[u32]) -> Vec<u32> {
        let ids = ids.strip_prefix(&[self.class]).unwrap_or(ids);
        let ids = ids.strip_suffix(&[self.separator]).unwrap_or(ids);
        [&[self.class], ids, &[self.separator]].concat()
    }

    /// Appends the longest piece at every place, or one unknown token if some place has none.
    fn push_word(&self, word: &str, out: &mut Vec<u32>) {
        let (start, mut from) = (out.len(), 0);
        let short = word.len() <= WORD_MAX || word.chars().count() <= WORD_MAX;
        while from < word.len() && short {
            let pieces = &self.pieces[usize::from(from > 0)];
            let most = word.len().min(from + self.longest);
            let ends = (from + 1..=most).rev().filter(|end| word.is_char_boundary(*end));
            let Some((end, id)) = ends.filter_map(|end| Some((end, *pieces.get(&word[from..end])?))).next() else {
                break;
            };
            out.push(id);
            from = end;
        }
        if from < word.len() {
            out.truncate(start);
            out.push(self.unknown);
        }
    }
}

/// Clean, without accents, in lower case: character by character, so a final sigma is as any other.
fn normalise(text: &str) -> Cow<'_, str> {
    let clean = DROPPED.replace_all(text, "");
    if clean.is_ascii() {
        return if clean.bytes().any(|b| b.is_ascii_uppercase()) { clean.to_ascii_lowercase().into() } else { clean };
    }
    let apart: String = clean.nfd().collect();
    MARKS.replace_all(&apart, "").chars().flat_map(char::to_lowercase).collect::<String>().into()
}
