//! The text of an answer. It ends before a stop string, as OpenAI's does, though the tokens, and what
//! is paid, include the one that completes it.

use talkoo_engine::{Decoder, Vocabulary};

/// Text as its tokens come: what may become a stop string is held back.
pub(crate) struct Answer {
    vocabulary: Vocabulary,
    decoder: Decoder,
    cut: Cut,
}

impl Answer {
    pub(crate) fn new(vocabulary: &Vocabulary, stop: &[String]) -> Self {
        Self { vocabulary: vocabulary.clone(), decoder: vocabulary.decoder(), cut: Cut::new(stop) }
    }

    /// The text that is certain with this token.
    pub(crate) fn push(&mut self, token: u32) -> String {
        if self.vocabulary.eos().contains(&token) { String::new() } else { self.cut.push(&self.decoder.push(token)) }
    }

    /// The stop string that ended it, if one did.
    pub(crate) fn stopped_by(&self) -> Option<&str> {
        self.cut.hit.as_deref()
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> String {
        self.cut.push(&self.decoder.finish()) + &std::mem::take(&mut self.cut.held)
    }
}

/// The text of a whole output.
pub(crate) fn text_of(vocabulary: &Vocabulary, tokens: &[u32], stop: &[String]) -> String {
    let mut answer = Answer::new(vocabulary, stop);
    let mut text: String = tokens.iter().map(|token| answer.push(*token)).collect();
    text.push_str(&answer.finish());
    text
}

/// Lets text through up to the first stop string.
struct Cut {
    stop: Vec<String>,
    /// Text that may be the beginning of a stop string.
    held: String,
    /// The stop string that came.
    hit: Option<String>,
}

impl Cut {
    fn new(stop: &[String]) -> Self {
        Self { stop: stop.to_vec(), held: String::new(), hit: None }
    }

    fn push(&mut self, text: &str) -> String {
        if self.hit.is_some() {
            return String::new();
        }
        self.held.push_str(text);
        let found = self.stop.iter().filter_map(|stop| Some((self.held.find(stop)?, stop)));
        if let Some((at, stop)) = found.min_by_key(|(at, _)| *at) {
            self.hit = Some(stop.clone());
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let may_begin = |at: &usize| self.stop.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        let certain = self.held.char_indices().map(|(at, _)| at).find(may_begin).unwrap_or(self.held.len());
        let rest = self.held.split_off(certain);
        std::mem::replace(&mut self.held, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_before_a_stop_string_however_it_comes() {
        type Texts = &'static [&'static str];
        // Stop strings, text as it comes, what goes through with each piece, what is left at the end.
        let cases: [(Texts, Texts, Texts, &str); 7] = [
            (&[], &["a", "b"], &["a", "b"], ""),
            (&["END"], &["x E", "N", "", "D y", "z"], &["x ", "", "", "", ""], ""),
            (&["END"], &["x E", "Na", "EN"], &["x ", "ENa", ""], "EN"),
            (&["aab"], &["aa", "ab", "c"], &["", "a", ""], ""),
            (&["b\n", "a"], &["xa b\n"], &["x"], ""),
            (&["bc", "abcd"], &["xab", "c"], &["x", "a"], ""),
            (&["é!"], &["ée", "é", "!"], &["ée", "", ""], ""),
        ];
        for (stop, pieces, want, rest) in cases {
            let stop: Vec<String> = stop.iter().map(|s| (*s).to_owned()).collect();
            let mut cut = Cut::new(&stop);
            let come: Vec<String> = pieces.iter().map(|piece| cut.push(piece)).collect();
            assert_eq!((come, cut.held.as_str()), (want.iter().map(|s| (*s).to_owned()).collect(), rest), "{stop:?}");
        }
    }
}
