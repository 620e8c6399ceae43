//! What blocks of the known codecs link to, and their content as DAG-JSON and DAG-CBOR (IPLD
//! specifications of these names). Nesting is bounded by the decoders: 256 levels of CBOR, 128 of JSON.
//! Integers below −2⁶³ become floats when they are read from DAG-JSON: its decoder has no room for them.

use crate::block::{Block, BlockError, DAG_CBOR, DAG_JSON, DAG_PB, RAW};
use crate::dagpb::{Node, NodeError};
use crate::limits::{CID_CHARS_MAX, LINKS_READ_MAX};
use bytes::Bytes;
use cid::Cid;
use ipld_core::codec::Links;
use ipld_core::ipld::Ipld;
use serde_ipld_dagcbor::codec::DagCborCodec;
use serde_ipld_dagjson::codec::DagJsonCodec;
use thiserror::Error;

/// Why content cannot change its codec.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConvertError {
    /// Bytes that are not what they are said to be.
    #[error("not {codec}: {why}")]
    Malformed {
        /// The codec.
        codec: &'static str,
        /// What the decoder says.
        why: String,
    },
    /// Content that the codec cannot hold, as maps in raw bytes.
    #[error("this content cannot be {codec}: {why}")]
    Unfit {
        /// The codec.
        codec: &'static str,
        /// What the encoder says.
        why: String,
    },
    /// A codec that is not read or written.
    #[error("codec 0x{codec:x} is not known: raw, dag-pb, dag-cbor and dag-json are")]
    UnknownCodec {
        /// Its multicodec.
        codec: u64,
    },
    /// The block would be too large.
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// Whether blocks of a codec can have links that [`links`] knows.
#[must_use]
pub fn may_link(codec: u64) -> bool {
    matches!(codec, DAG_PB | DAG_CBOR | DAG_JSON)
}

/// The links of a block in the order in which they stand there; none for raw bytes and unknown codecs.
///
/// # Errors
/// [`NodeError::Malformed`], [`NodeError::TooManyLinks`].
pub fn links(block: &Block) -> Result<Vec<Cid>, NodeError> {
    links_in(block.cid().codec(), block.bytes())
}

/// The same of bytes that nobody has hashed.
///
/// # Errors
/// [`NodeError::Malformed`], [`NodeError::TooManyLinks`].
pub fn links_in(codec: u64, bytes: &Bytes) -> Result<Vec<Cid>, NodeError> {
    match codec {
        DAG_PB => Ok(Node::decode(bytes)?.links.into_iter().map(|link| link.cid).collect()),
        DAG_CBOR => {
            let links = DagCborCodec::links(bytes).map_err(|_| NodeError::Malformed { what: "(dag-cbor)" })?;
            bounded(links)
        }
        DAG_JSON => {
            if has_long_link(bytes) {
                return Err(NodeError::Malformed { what: "(link of dag-json)" });
            }
            let links = DagJsonCodec::links(bytes).map_err(|_| NodeError::Malformed { what: "(dag-json)" })?;
            bounded(links)
        }
        _ => Ok(Vec::new()),
    }
}

fn bounded(links: impl Iterator<Item = Cid>) -> Result<Vec<Cid>, NodeError> {
    let links: Vec<Cid> = links.take(LINKS_READ_MAX + 1).collect();
    if links.len() > LINKS_READ_MAX { Err(NodeError::TooManyLinks) } else { Ok(links) }
}

/// The content of a block as DAG-JSON.
///
/// # Errors
/// [`ConvertError`].
pub fn to_dag_json(block: &Block) -> Result<Vec<u8>, ConvertError> {
    encode(DAG_JSON, &decode(block.cid().codec(), block.bytes())?)
}

/// The content of a block as DAG-CBOR.
///
/// # Errors
/// [`ConvertError`].
pub fn to_dag_cbor(block: &Block) -> Result<Vec<u8>, ConvertError> {
    encode(DAG_CBOR, &decode(block.cid().codec(), block.bytes())?)
}

/// The block of `codec` whose content this DAG-JSON says.
///
/// # Errors
/// [`ConvertError`].
pub fn from_dag_json(bytes: &[u8], codec: u64) -> Result<Block, ConvertError> {
    convert(bytes, DAG_JSON, codec)
}

/// The block of the codec `to` whose content bytes of the codec `from` say.
///
/// # Errors
/// [`ConvertError`].
pub fn convert(bytes: &[u8], from: u64, to: u64) -> Result<Block, ConvertError> {
    Ok(Block::of(to, encode(to, &decode(from, bytes)?)?.into())?)
}

fn decode(codec: u64, bytes: &[u8]) -> Result<Ipld, ConvertError> {
    let malformed = |codec, why: &dyn std::fmt::Display| ConvertError::Malformed { codec, why: why.to_string() };
    match codec {
        RAW => Ok(Ipld::Bytes(bytes.to_vec())),
        DAG_PB => ipld_dagpb::to_ipld(bytes).map_err(|why| malformed("dag-pb", &why)),
        DAG_CBOR => serde_ipld_dagcbor::from_slice(bytes).map_err(|why| malformed("dag-cbor", &why)),
        DAG_JSON if has_long_link(bytes) => Err(malformed("dag-json", &"a link is longer than any CID")),
        DAG_JSON => serde_ipld_dagjson::from_slice(bytes).map_err(|why| malformed("dag-json", &why)),
        _ => Err(ConvertError::UnknownCodec { codec }),
    }
}

/// Whether a link in DAG-JSON, `{"/": "…"}`, is longer than any CID. To read the bases 36 and 58 takes time by the square of
/// the length: minutes for a block of theirs.
fn has_long_link(json: &[u8]) -> bool {
    let (mut rest, mut after_slash) = (json, false);
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        let is_link = after_slash && rest[..at].trim_ascii() == b":";
        let text = &rest[at + 1..];
        // Up to the next quotation mark that no backslash escapes; without one it is no JSON.
        let mut end = 0;
        while text.get(end).is_some_and(|byte| *byte != b'"') {
            end += if text[end] == b'\\' { 2 } else { 1 };
        }
        if is_link && end > CID_CHARS_MAX {
            return true;
        }
        after_slash = matches!(text.get(..end), Some(b"/" | b"\\/" | b"\\u002f" | b"\\u002F"));
        rest = text.get(end + 1..).unwrap_or_default();
    }
    false
}

fn encode(codec: u64, content: &Ipld) -> Result<Vec<u8>, ConvertError> {
    let unfit = |codec, why: &dyn std::fmt::Display| ConvertError::Unfit { codec, why: why.to_string() };
    match (codec, content) {
        (RAW, Ipld::Bytes(bytes)) => Ok(bytes.clone()),
        (RAW, _) => Err(unfit("raw", &"only bytes can")),
        (DAG_PB, _) => ipld_dagpb::from_ipld(content).map_err(|why| unfit("dag-pb", &why)),
        (DAG_CBOR, _) => serde_ipld_dagcbor::to_vec(content).map_err(|why| unfit("dag-cbor", &why)),
        (DAG_JSON, _) => serde_ipld_dagjson::to_vec(content).map_err(|why| unfit("dag-json", &why)),
        _ => Err(ConvertError::UnknownCodec { codec }),
    }
}

/// Where keys lead inside a block.
pub(crate) enum Found {
    /// To a link; the keys after it are not used up.
    Link(Cid),
    /// To a value of the block itself, by these keys.
    Inside(Vec<String>),
    /// Nowhere: this one does not exist.
    Nothing(String),
}

/// Follows keys of maps and indices of lists inside a DAG-CBOR or DAG-JSON block up to the first link.
pub(crate) fn follow<'a>(block: &Block, keys: &mut impl Iterator<Item = &'a str>) -> Result<Found, NodeError> {
    let content = content(block)?;
    let (mut value, mut passed) = (&content, Vec::new());
    loop {
        if let Ipld::Link(cid) = value {
            return Ok(Found::Link(*cid));
        }
        let Some(key) = keys.next() else { return Ok(Found::Inside(passed)) };
        match child(value, key) {
            Some(next) => value = next,
            None => return Ok(Found::Nothing(key.to_owned())),
        }
        passed.push(key.to_owned());
    }
}

/// The links below the value to which `keys` lead inside a block.
pub(crate) fn links_at(block: &Block, keys: &[String]) -> Result<Vec<Cid>, NodeError> {
    let content = content(block)?;
    let value = keys.iter().try_fold(&content, |value, key| child(value, key));
    let mut found = Vec::new();
    if let Some(value) = value {
        value.references(&mut found);
    }
    bounded(found.into_iter())
}

fn content(block: &Block) -> Result<Ipld, NodeError> {
    decode(block.cid().codec(), block.bytes()).map_err(|_| NodeError::Malformed { what: "(ipld)" })
}

fn child<'a>(value: &'a Ipld, key: &str) -> Option<&'a Ipld> {
    match value {
        Ipld::Map(map) => map.get(key),
        Ipld::List(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
