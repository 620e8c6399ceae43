//! Denylists: what is not served, nor followed (specs.ipfs.tech/compact-denylist-format, IPIP-383).
//!
//! ```text
//! version: 1                       a header of YAML; only `key: value`, and `hints` one level deeper, is read
//! ---
//! /ipfs/CID  /ipfs/CID/path*       by multihash, and by path from there
//! //DOUBLE-HASH reason:copyright   the hash of what is denied; a hint
//! !/ipfs/CID/path/not              an exception: of all rules that match, the last one counts
//! ```
//! Of the hash functions for double hashes only SHA-256 is known, as for blocks.

use crate::block::{DAG_PB, SHA2_256};
use crate::limits::{CID_CHARS_MAX, DENYLIST_HEADER_BYTES_MAX, DENYLIST_LINE_BYTES_MAX, DENYLIST_RULES_MAX};
use cid::multibase::Base;
use cid::{Cid, Version};
use multihash::Multihash;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a text is no denylist.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DenylistError {
    /// A version of the format that we do not know.
    #[error("denylist of version {version}: only version 1 is known")]
    Version {
        /// What it says.
        version: String,
    },
    /// A line that is too long.
    #[error("line {line} of the denylist has more than {DENYLIST_LINE_BYTES_MAX} bytes")]
    LineTooLong {
        /// Which, from 1.
        line: u32,
    },
    /// Too many rules.
    #[error("denylist with more than {DENYLIST_RULES_MAX} rules: divide it over several nodes")]
    TooManyRules,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its line in the text, from 1.
    pub line: u32,
    /// It is an exception.
    pub allows: bool,
    /// Its own hints, each with its value.
    pub hints: Vec<(String, String)>,
}

/// Which paths from a root a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Paths {
    Exactly(String),
    From(String),
}

/// The rules of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denylist {
    /// What the header calls it.
    pub name: String,
    /// Hints for all rules.
    pub hints: BTreeMap<String, String>,
    /// Lines that are no rules.
    pub malformed: u64,
    rules: Vec<Rule>,
    /// Namespace and multihash, or domain → paths, rule.
    roots: BTreeMap<Vec<u8>, Vec<(Paths, u32)>>,
    /// SHA-256 → rule.
    hashes: BTreeMap<[u8; 32], u32>,
}

impl Denylist {
    /// Reads a text. Lines that make no sense are passed over and counted.
    ///
    /// # Errors
    /// [`DenylistError`].
    pub fn parse(text: &str) -> Result<Self, DenylistError> {
        let mut list = Self::default();
        let header = header(text);
        if let Some(lines) = header {
            list.read_header(text.lines().take(lines))?;
        }
        for (line, text) in (1..).zip(text.lines()).skip(header.map_or(0, |lines| lines + 1)) {
            if text.len() > DENYLIST_LINE_BYTES_MAX {
                return Err(DenylistError::LineTooLong { line });
            }
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if list.rules.len() >= DENYLIST_RULES_MAX {
                return Err(DenylistError::TooManyRules);
            }
            if list.read_rule(line, text).is_none() {
                list.malformed += 1;
            }
        }
        Ok(list)
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule that denies a path from `cid` on; names are decoded and divided by `/`. A block by itself
    /// has the path "".
    #[must_use]
    pub fn blocks(&self, cid: &Cid, path: &str) -> Option<&Rule> {
        self.verdict(cid, path).filter(|rule| !rule.allows)
    }

    /// The last rule about a path from `cid` on, also if it allows it: where several lists are used, the
    /// last one with a verdict counts.
    #[must_use]
    pub fn verdict(&self, cid: &Cid, path: &str) -> Option<&Rule> {
        let path = path.trim_matches('/');
        let by_root = self.by_root(&key("ipfs", &cid.hash().to_bytes()), path);
        let by_hash = (!self.hashes.is_empty()).then(|| {
            let hash = Base::Base58Btc.encode(cid.hash().to_bytes());
            let modern = if path.is_empty() { hash } else { format!("{hash}/{path}") };
            self.by_hash(&modern).max(self.by_hash(&format!("{}/{path}", v1(cid))))
        });
        by_root.max(by_hash.flatten()).map(|rule| &self.rules[rule as usize])
    }

    /// The rule that denies a path from an IPNS name on: a key's CID or a domain.
    #[must_use]
    pub fn blocks_name(&self, name: &str, path: &str) -> Option<&Rule> {
        let path = path.trim_matches('/');
        let by_root = self.by_root(&key("ipns", &name_bytes(name)), path);
        let slash = if path.is_empty() { "" } else { "/" };
        let (modern, legacy) = match name.parse::<Cid>() {
            Ok(cid) => (Base::Base58Btc.encode(cid.hash().to_bytes()), v1(&cid)),
            Err(_) => (format!("/ipns/{name}"), name.to_owned()),
        };
        let modern = self.by_hash(&format!("{modern}{slash}{path}"));
        let rule = by_root.max(modern).max(self.by_hash(&format!("{legacy}/{path}")));
        rule.map(|rule| &self.rules[rule as usize]).filter(|rule| !rule.allows)
    }

    fn by_root(&self, root: &[u8], path: &str) -> Option<u32> {
        let matches = |(paths, _): &&(Paths, u32)| match paths {
            Paths::Exactly(only) => path == only,
            Paths::From(begin) => path.starts_with(begin.as_str()),
        };
        self.roots.get(root)?.iter().rev().find(matches).map(|(_, rule)| *rule)
    }

    fn by_hash(&self, text: &str) -> Option<u32> {
        self.hashes.get(&<[u8; 32]>::from(Sha256::digest(text))).copied()
    }

    fn read_header<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Result<(), DenylistError> {
        let mut is_hint = false;
        for line in lines {
            let Some((field, value)) = line.split_once(':') else { continue };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match (field.starts_with(' '), field.trim()) {
                (true, field) if is_hint => _ = self.hints.insert(field.to_owned(), value),
                (true, _) => {}
                (false, "version") if value != "1" => return Err(DenylistError::Version { version: value }),
                (false, field) => {
                    is_hint = field == "hints";
                    if field == "name" {
                        self.name = value;
                    }
                }
            }
        }
        Ok(())
    }

    /// `None` if it is no rule.
    fn read_rule(&mut self, line: u32, text: &str) -> Option<()> {
        // The specification negates with `!`; lists for Kubo's blocker do so with `+`.
        let (allows, text) = match text.strip_prefix(['!', '+']) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut words = text.split_ascii_whitespace();
        let (item, number) = (words.next()?, self.rules.len() as u32);
        if let Some(hash) = item.strip_prefix("//") {
            self.hashes.insert(double_hash(hash)?, number);
        } else {
            let (space, rest) = item.strip_prefix('/')?.split_once('/')?;
            let (root, path) = rest.split_once('/').unwrap_or((rest, ""));
            let root = match space {
                "ipfs" => multihash_of(root)?,
                "ipns" => name_bytes(root),
                _ => return None,
            };
            let path = percent_decode_str(path).decode_utf8().ok()?;
            let paths = match path.strip_suffix('*') {
                Some(begin) => Paths::From(begin.trim_matches('/').to_owned()),
                None => Paths::Exactly(path.trim_matches('/').to_owned()),
            };
            self.roots.entry(key(space, &root)).or_default().push((paths, number));
        }
        let hint = |word: &str| word.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.rules.push(Rule { line, allows, hints: words.filter_map(hint).collect() });
        Some(())
    }
}

/// Lines of the header before its `---`; `None` if there is none.
fn header(text: &str) -> Option<usize> {
    let mut bytes = 0;
    for (number, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            return Some(number);
        }
        bytes += line.len() + 1;
        if bytes > DENYLIST_HEADER_BYTES_MAX {
            return None;
        }
    }
    None
}

fn key(space: &str, root: &[u8]) -> Vec<u8> {
    [space.as_bytes(), b"/", root].concat()
}

/// The multihash of a CID of either version, or of a bare one in base58.
fn multihash_of(text: &str) -> Option<Vec<u8>> {
    // Longer texts would take time by the square of their length.
    if text.len() > CID_CHARS_MAX {
        return None;
    }
    match text.parse::<Cid>() {
        Ok(cid) => Some(cid.hash().to_bytes()),
        Err(_) => {
            let bytes = Base::Base58Btc.decode(text).ok()?;
            Multihash::<64>::from_bytes(&bytes).is_ok().then_some(bytes)
        }
    }
}

fn name_bytes(name: &str) -> Vec<u8> {
    multihash_of(name).unwrap_or_else(|| name.to_ascii_lowercase().into_bytes())
}

/// The SHA-256 in a rule's double hash: a multihash in base58, or 64 digits of hex.
fn double_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 {
        let bytes = Base::Base16Lower.decode(text.to_ascii_lowercase()).ok()?;
        return bytes.try_into().ok();
    }
    let hash = Multihash::<64>::from_bytes(&Base::Base58Btc.decode(text).ok()?).ok()?;
    (hash.code() == SHA2_256).then(|| hash.digest().try_into().ok())?
}

/// A CID as text of version 1 in base32.
fn v1(cid: &Cid) -> String {
    let codec = if cid.version() == Version::V0 { DAG_PB } else { cid.codec() };
    Cid::new_v1(codec, *cid.hash()).to_string()
}

#[cfg(test)]
mod tests;
