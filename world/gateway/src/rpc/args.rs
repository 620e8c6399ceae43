//! Arguments of a call: `?arg=…&name=value`.

use crate::gateway::{form_pairs, parse_cid};
use crate::limits::ARGUMENTS_MAX;
use percent_encoding::percent_decode_str;
use talkoo_base::{Cid, Refusal, RefusalCode};

/// What was asked, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args(Vec<(String, String)>);

impl Args {
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        let pairs = form_pairs(query)?;
        if pairs.len() > ARGUMENTS_MAX {
            let no = Refusal::new(RefusalCode::TooLarge, "too many arguments in one call", "ask in several calls");
            return Err(no.with(ARGUMENTS_MAX, pairs.len()));
        }
        Ok(Self(pairs))
    }

    /// All values of `arg`.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(name, _)| name == "arg").map(|(_, value)| value.as_str())
    }

    /// The one `arg`.
    pub(crate) fn one(&self) -> Result<&str, Refusal> {
        let hint = "name it with ?arg=";
        self.all().next().ok_or_else(|| Refusal::new(RefusalCode::Malformed, "the argument is missing", hint))
    }

    /// A named value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A yes or no; with no value it is a yes.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some("true" | "1" | "") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(wrong(name, other, "true or false")),
        }
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.get(name).map(|text| text.parse().map_err(|_| wrong(name, text, "a number, not negative"))).transpose()
    }
}

/// A value that a parameter cannot have.
pub(crate) fn wrong(name: &str, value: &str, hint: &str) -> Refusal {
    let value: String = value.chars().take(80).collect();
    Refusal::new(RefusalCode::Malformed, format!("`{name}` cannot be `{value}`"), hint)
}

/// Reads `/ipfs/<cid>/<path>`, `ipfs://<cid>/<path>`, or `<cid>/<path>`.
pub(crate) fn path(text: &str) -> Result<(Cid, Vec<String>), Refusal> {
    if text.starts_with("/ipns/") {
        return Err(Refusal::new(RefusalCode::UnsupportedParameter, "there is no IPNS here", "write /ipfs/<cid>"));
    }
    let (is_uri, bare) = match text.strip_prefix("ipfs://") {
        Some(bare) => (true, bare),
        None => (false, ["/ipfs/", "/ipld/"].iter().find_map(|start| text.strip_prefix(start)).unwrap_or(text)),
    };
    let mut parts = bare.split('/').filter(|part| !part.is_empty());
    let root = parts.next().unwrap_or_default();
    let root = parse_cid(root).ok_or_else(|| wrong("arg", text, "write /ipfs/<cid>/<path>"))?;
    // Paths are names as they are; only in a URI they are encoded.
    let decode = |part: &str| {
        if !is_uri {
            return Ok(part.to_owned());
        }
        let text = percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned);
        text.map_err(|_| wrong("arg", part, "write the path in UTF-8"))
    };
    Ok((root, parts.map(decode).collect::<Result<_, _>>()?))
}

/// Reads a CID, alone or as a path of nothing else.
pub(crate) fn cid(text: &str) -> Result<Cid, Refusal> {
    match path(text)? {
        (cid, rest) if rest.is_empty() => Ok(cid),
        _ => Err(wrong("arg", text, "a CID without a path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_are_and_uris_decoded() {
        let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        let cases = [
            (format!("{cid}/100%25/a b"), vec!["100%25", "a b"]),
            (format!("/ipfs/{cid}/x//y/"), vec!["x", "y"]),
            (format!("ipfs://{cid}/100%25/a%20b"), vec!["100%", "a b"]),
            (cid.to_owned(), vec![]),
        ];
        for (text, names) in cases {
            assert_eq!(
                path(&text).map(|(root, names)| (root.to_string(), names)),
                Ok((cid.to_owned(), names.into_iter().map(str::to_owned).collect()))
            );
        }
        for wrong in ["", "/", "nonsense", "/ipns/x", &format!("ipfs://{cid}/%ff")] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }
}
