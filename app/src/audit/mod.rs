//! A bundle for auditors: one file with what this node can prove, checked without a node and without a network.
//!
//! ```text
//! manifest.json  manifest.sig  chain/…  data-audit.jsonl  delegation  evidence/…  keys-audit.jsonl  receipts/…
//! ```
//! A tar with one spelling: the two first members, then the others by name, each header computed from name and size alone,
//! so that two exports of the same things are the same bytes, and every byte of a file that is checked is one that the
//! manifest's signature stands for. What the bundle cannot show is said in it. The format: docs/AUDIT.md.

mod archive;
mod chain;
mod check;
mod collect;
mod export;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use chain::Root;
pub(crate) use check::verify;
pub(crate) use export::{Choice, Maker, export};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Name and version of the format.
const FORMAT: &str = "talkoo/audit";
const VERSION: u16 = 1;
/// The first member, and the signature over it.
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
const DELEGATION: &str = "delegation";
const DATA_LOG: &str = "data-audit.jsonl";
const KEYS_LOG: &str = "keys-audit.jsonl";
/// Members of a bundle: a hundred thousand receipts and what goes with them.
const MEMBERS_MAX: usize = 200_000;
/// Bytes of a manifest: that many members at two hundred and fifty bytes.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a log: some million lines.
const LOG_BYTES_MAX: u64 = 1 << 30;
/// Bytes of any other member: no record is larger, no proof either.
const MEMBER_BYTES_MAX: u64 = 4 << 20;

/// Why a file is no bundle, or not the one that was made.
#[derive(Debug, Error)]
pub(crate) enum BundleError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It ends before its end.
    #[error("it ends in {0}: copy it again")]
    Truncated(String),
    /// It begins with something else.
    #[error("it is no bundle of `talkoo audit export`: it does not begin with {MANIFEST}")]
    Other,
    /// A manifest that cannot be read.
    #[error("its manifest is none ({0})")]
    Manifest(String),
    /// Made by another program.
    #[error("its format is {0}, this program knows {FORMAT} {VERSION}; update it")]
    Format(String),
    /// The signature is not of the node that the manifest names.
    #[error("its manifest is not signed by the node that it names")]
    Signature,
    /// A header's bytes are not those that name and size give.
    #[error("the header of {0} is damaged")]
    Header(String),
    /// A link, a folder, a device.
    #[error("{0} is no plain file: a bundle holds neither links nor folders")]
    Kind(String),
    /// A name that leads out of a folder, or that no bundle has.
    #[error("a member is called {0:?}: no bundle has such a name")]
    Name(String),
    /// A member for the second time.
    #[error("{0} is there twice, or not in its place")]
    Twice(String),
    /// A member that the manifest does not name.
    #[error("{0} is not in the manifest")]
    Extra(String),
    /// One that it names is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// Larger than it may be.
    #[error("{name} has {have} bytes, at most {most} are allowed")]
    TooLarge {
        /// Which.
        name: String,
        /// Its size.
        have: u64,
        /// What is allowed.
        most: u64,
    },
    /// More after the end.
    #[error("something follows its end")]
    Tail,
}

/// What a bundle is, and the hash of every other member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: String,
    version: u16,
    /// The node that signs: its key, and its address.
    node: String,
    address: String,
    owner: Option<String>,
    network: String,
    chain_id: u64,
    /// First and last day, in UTC; from the beginning, until now, if they are not named.
    from: Option<String>,
    to: Option<String>,
    /// The jobs that were asked for; all, if none is named.
    jobs: Vec<String>,
    disclosed: bool,
    models: Vec<ModelName>,
    data_log: Option<LogPart>,
    /// What the bundle does not show, in words.
    not_shown: Vec<String>,
    count: usize,
    members: Vec<Member>,
}

/// A model that receipts name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelName {
    root: String,
    name: Option<String>,
    cid: Option<String>,
}

/// A part of a log with a hash chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogPart {
    /// Number of the first line.
    pub(crate) first: u64,
    /// Hash of the line before it.
    pub(crate) before: String,
    pub(crate) lines: u64,
    /// Hash of the last line.
    pub(crate) head: String,
}

/// A member after the first two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: String,
    size: u64,
    sha256: String,
}

impl Member {
    /// Whether a bundle may have it.
    fn check(&self) -> Result<(), BundleError> {
        let most = most(&self.name).ok_or_else(|| BundleError::Name(self.name.clone()))?;
        let (name, have) = (self.name.clone(), self.size);
        if have > most { Err(BundleError::TooLarge { name, have, most }) } else { Ok(()) }
    }
}

/// Most bytes of a member with this name; nothing if no bundle has one.
fn most(name: &str) -> Option<u64> {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_plain);
    match name.split('/').collect::<Vec<_>>()[..] {
        [MANIFEST] => Some(MANIFEST_BYTES_MAX),
        [DATA_LOG | KEYS_LOG] => Some(LOG_BYTES_MAX),
        [SIGNATURE | DELEGATION] => Some(MEMBER_BYTES_MAX),
        ["chain", part] if is_part(part) => Some(MEMBER_BYTES_MAX),
        ["receipts" | "evidence", job, part] if is_part(job) && is_part(part) => Some(MEMBER_BYTES_MAX),
        _ => None,
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
}

/// Where a receipt stands in a bundle, as in a data folder.
fn place_of(folder: &str, kept: &talkoo_proof::Kept) -> String {
    let lease = talkoo_base::wire::Typed::digest(&kept.request.body, &kept.network());
    format!("{folder}/{}/{:05}-{}.receipt", kept.request.body.job, kept.step, lease.short())
}
