//! Where a server is, what it runs, and the key that it wants: checked when the node starts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use talkoo_base::{Digest, Refusal, RefusalCode, float_program};
use talkoo_engine::Vocabulary;

/// A server, as the command line names it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// Path before `/completions`.
    pub(super) prefix: String,
    /// What the server calls the model.
    pub(crate) model: String,
    pub(super) vocabulary: Vocabulary,
    pub(super) room: Room,
    pub(super) key: Option<Key>,
}

/// How much a server takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Longest context, in tokens.
    pub(crate) context: u32,
    /// Requests side by side.
    pub(crate) slots: u32,
}

/// A key, never shown.
#[derive(Clone)]
pub(crate) struct Key(Arc<str>);

impl Key {
    /// The key in a file, without the blanks around it.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn read(path: &Path) -> Result<Self, Refusal> {
        let no = |why: String| {
            let hint = "put the key alone into a file that only you can read";
            Refusal::new(RefusalCode::Malformed, format!("{} holds no key ({why})", path.display()), hint)
        };
        let text = std::fs::read_to_string(path).map_err(|e| no(e.to_string()))?;
        let key = text.trim();
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_key { Ok(Self(key.into())) } else { Err(no("it is empty, or has blanks in it".to_owned())) }
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a key)")
    }
}

impl Server {
    /// Reads `url`, as `http://HOST:PORT`, with or without `/v1`.
    ///
    /// # Errors
    /// What is wrong with the URL or the vocabulary's file.
    pub(crate) fn new(
        url: &str,
        model: String,
        vocabulary: &Path,
        room: Room,
        key: Option<Key>,
    ) -> Result<Self, Refusal> {
        let (host, port, prefix) = parse(url)?;
        let vocabulary = Vocabulary::open(vocabulary).map_err(|why| {
            let hint = "give a GGUF file of this model; its header is enough";
            Refusal::new(RefusalCode::Malformed, format!("the vocabulary cannot be read: {why}"), hint)
        })?;
        Ok(Self { host, port, prefix, model, vocabulary, room, key })
    }

    /// What a request for it names as its program.
    pub(super) fn program(&self) -> Digest {
        float_program(&self.vocabulary.id(), &self.model)
    }
}

/// Host, port, and the path before `/completions`.
fn parse(url: &str) -> Result<(String, u16, String), Refusal> {
    let no = |message: String, hint: &str| Refusal::new(RefusalCode::Malformed, message, hint);
    let example = "an example: http://127.0.0.1:8000";
    let uri: hyper::Uri = url.parse().map_err(|e| no(format!("`{url}` is no URL ({e})"), example))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            let hint = "run the node beside the server, or bring it here through SSH: ssh -L 8000:127.0.0.1:8000 HOST";
            return Err(no("an engine is reached by plain HTTP only".to_owned(), hint));
        }
        _ => return Err(no(format!("`{url}` does not begin with http://"), example)),
    }
    let host =
        uri.host().filter(|host| !host.is_empty()).ok_or_else(|| no(format!("`{url}` names no host"), example))?;
    let path = uri.path().trim_end_matches('/');
    let prefix = if path.ends_with("/v1") { path.to_owned() } else { format!("{path}/v1") };
    Ok((host.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(80), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_people_write_it() {
        let cases = [
            ("http://127.0.0.1:8000", Ok(("127.0.0.1", 8000, "/v1"))),
            ("http://gpu:8000/", Ok(("gpu", 8000, "/v1"))),
            ("http://gpu/v1", Ok(("gpu", 80, "/v1"))),
            ("http://gpu/v1/", Ok(("gpu", 80, "/v1"))),
            ("http://[::1]:11434/api/v1", Ok(("::1", 11434, "/api/v1"))),
            ("http://gpu/proxy", Ok(("gpu", 80, "/proxy/v1"))),
            ("https://gpu", Err("ssh -L")),
            ("gpu:8000", Err("an example")),
            ("/v1", Err("an example")),
            ("", Err("an example")),
            ("http://a b", Err("an example")),
        ];
        for (url, want) in cases {
            let have = parse(url);
            match (&have, want) {
                (Ok((host, port, prefix)), Ok(want)) => {
                    assert_eq!((host.as_str(), *port, prefix.as_str()), want, "{url}");
                }
                (Err(no), Err(hint)) => assert!(no.hint.contains(hint), "{url}: {no}"),
                _ => panic!("{url}: {have:?}"),
            }
        }
    }

    #[test]
    fn a_key_is_read_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (text, fine) in [("sk-secret\n", true), ("", false), (" \n", false), ("a b", false), ("a\nb", false)] {
            std::fs::write(&path, text).unwrap();
            let key = Key::read(&path);
            assert_eq!(key.is_ok(), fine, "{text:?}");
            assert!(!format!("{key:?}").contains("secret"));
        }
        std::fs::write(&path, " sk-secret\n").unwrap();
        assert_eq!(Key::read(&path).unwrap().header(), "Bearer sk-secret");
        assert!(Key::read(&folder.path().join("none")).is_err());
    }
}
