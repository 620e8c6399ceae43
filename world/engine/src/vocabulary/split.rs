//! Pre-tokenizers: how text is cut into pieces before BPE.
//!
//! The reference patterns end in `\s+(?!\S)|\s+`: a run of white space gives its last character to
//! the word that follows. The regex library has no look-ahead (and so no exponential time); the same
//! cut is made by hand after the match.

use regex::Regex;
use std::sync::LazyLock;

/// The pre-tokenizers of GGUF's `tokenizer.ggml.pre` that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// GPT-2.
    Gpt2,
    /// Every digit alone, then GPT-2 on what lies between.
    Smollm,
    /// Llama 3: up to three digits together, line breaks apart.
    LlamaBpe,
    /// Qwen 2: as Llama 3 with single digits.
    Qwen2,
}

impl Style {
    /// The names that [`Self::from_name`] knows.
    pub(super) const NAMES: [&str; 4] = ["gpt-2", "smollm", "llama-bpe", "qwen2"];

    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "gpt-2" => Some(Self::Gpt2),
            "smollm" => Some(Self::Smollm),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => Some(Self::LlamaBpe),
            "qwen2" | "deepseek-r1-qwen" | "megrez" => Some(Self::Qwen2),
            _ => None,
        }
    }
}

static GPT2: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"));
static LLAMA: LazyLock<Regex> = LazyLock::new(|| pattern(&llama_pattern(r"\p{N}{1,3}")));
static QWEN2: LazyLock<Regex> = LazyLock::new(|| pattern(&llama_pattern(r"\p{N}")));

fn llama_pattern(numbers: &str) -> String {
    format!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+"
    )
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a fixed pattern, compiled in every test")
}

/// The pieces of `text`, in order; together they are `text`.
pub(super) fn split(style: Style, text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    match style {
        Style::Gpt2 => cut(&GPT2, false, text, &mut out),
        Style::LlamaBpe => cut(&LLAMA, true, text, &mut out),
        Style::Qwen2 => cut(&QWEN2, true, text, &mut out),
        Style::Smollm => {
            let mut from = 0;
            for (at, digit) in text.char_indices().filter(|(_, c)| c.is_numeric()) {
                cut(&GPT2, false, &text[from..at], &mut out);
                from = at + digit.len_utf8();
                out.push(&text[at..from]);
            }
            cut(&GPT2, false, &text[from..], &mut out);
        }
    }
    out
}

/// `line_breaks`: the pattern has its own alternative for runs that end in a line break.
fn cut<'a>(pattern: &Regex, line_breaks: bool, text: &'a str, out: &mut Vec<&'a str>) {
    let mut rest = text;
    while let Some(found) = pattern.find(rest) {
        debug_assert_eq!(found.start(), 0, "the patterns cover every character");
        let mut end = found.end();
        let last = found.as_str().chars().next_back().map_or(0, char::len_utf8);
        let whole_run =
            found.as_str().chars().all(char::is_whitespace) && !(line_breaks && found.as_str().ends_with(['\r', '\n']));
        if whole_run && end > last && end < rest.len() {
            end -= last;
        }
        out.push(&rest[..end]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        out.push(rest);
    }
}
