//! CAR files (IPLD specifications "CARv1" and "CARv2"): a header with roots, then blocks.
//!
//! ```text
//! v1: varint(n) ‖ dag-cbor {roots, version: 1} ‖ (varint(n) ‖ CID ‖ bytes)*
//! v2: 11 bytes of pragma ‖ characteristics (16) ‖ offset, size of a v1 (8 + 8) ‖ index offset (8) ‖ … v1 …
//! ```
//! Writes v1, reads both; of v2 only the v1 inside. Every block that comes out has been hashed.

use crate::block::{Block, BlockError};
use crate::limits::{BLOCK_BYTES_MAX, CAR_CID_BYTES_MAX, CAR_HEADER_BYTES_MAX};
use crate::pb;
use bytes::{Buf, Bytes, BytesMut};
use cid::Cid;
use ipld_core::ipld::Ipld;
use std::collections::BTreeMap;
use thiserror::Error;

const PRAGMA_V2: [u8; 11] = *b"\x0a\xa1gversion\x02";
const HEADER_V2_BYTES: usize = 40;

/// Why bytes are not a CAR that we read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CarError {
    /// No header, or one without roots and a version.
    #[error("malformed car header: this is no car file of version 1 or 2")]
    BadHeader,
    /// A frame without a CID, or of no length.
    #[error("malformed car at byte {at}: the file is damaged")]
    BadFrame {
        /// Where the frame begins.
        at: u64,
    },
    /// A header or frame over its limit.
    #[error("car frame of {bytes} bytes at byte {at}: at most {max} are possible")]
    TooLarge {
        /// Where it begins.
        at: u64,
        /// Its length.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// Bytes that are not what their CID says.
    #[error("block at byte {at} of the car")]
    BadBlock {
        /// Where its frame begins.
        at: u64,
        /// Why.
        source: BlockError,
    },
    /// The end comes too early.
    #[error("the car ends at byte {at} in the middle of something: it was cut off, get it again")]
    Truncated {
        /// Where.
        at: u64,
    },
}

/// The header of a CAR of version 1, with its length before it.
#[must_use]
pub fn header(roots: &[Cid]) -> Vec<u8> {
    let roots = Ipld::List(roots.iter().copied().map(Ipld::Link).collect());
    let content = BTreeMap::from([("roots".to_owned(), roots), ("version".to_owned(), Ipld::Integer(1))]);
    let header = serde_ipld_dagcbor::to_vec(&Ipld::Map(content)).expect("links and a number are dag-cbor");
    let mut out = Vec::with_capacity(header.len() + 3);
    pb::write_varint(header.len() as u64, &mut out);
    out.extend_from_slice(&header);
    out
}

/// A block as it stands in a CAR.
#[must_use]
pub fn frame(block: &Block) -> Vec<u8> {
    let cid = block.cid().to_bytes();
    let len = cid.len() + block.bytes().len();
    let mut out = Vec::with_capacity(len + 4);
    pb::write_varint(len as u64, &mut out);
    out.extend_from_slice(&cid);
    out.extend_from_slice(block.bytes());
    out
}

/// What comes out of a CAR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The roots of its header, once and first.
    Roots(Vec<Cid>),
    /// A block.
    Block(Block),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Of a file of either version.
    Start,
    /// Between the header of version 2 and the v1: bytes to pass over.
    Skip { bytes: u64 },
    /// In front of the header of version 1.
    Header,
    /// Between two frames.
    Frames,
    /// After the v1 inside a v2.
    Index,
}

/// Reads a CAR that comes in portions. Holds at most one frame and what was pushed last; take all
/// items after each push.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    buffer: BytesMut,
    /// Bytes consumed.
    at: u64,
    /// Where the v1 ends, inside a v2.
    end: Option<u64>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Start, buffer: BytesMut::new(), at: 0, end: None }
    }
}

impl Decoder {
    /// Appends bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Index {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next item, or `None` until more bytes are pushed. Identity blocks are passed over: their
    /// CIDs say all.
    ///
    /// # Errors
    /// [`CarError`]; the decoder must not be used after one.
    #[expect(clippy::should_implement_trait, reason = "None is not its end")]
    pub fn next(&mut self) -> Result<Option<Item>, CarError> {
        loop {
            let step = match self.state {
                State::Start | State::Header => self.header()?,
                State::Skip { bytes } => self.skip(bytes),
                State::Frames => self.block()?,
                State::Index => Step::Wait,
            };
            match step {
                Step::Item(item) => return Ok(Some(item)),
                Step::Wait => return Ok(None),
                Step::Again => {}
            }
        }
    }

    /// Checks that the file may end here.
    ///
    /// # Errors
    /// [`CarError::Truncated`].
    pub fn finish(self) -> Result<(), CarError> {
        let is_whole = match self.state {
            State::Index => true,
            State::Frames => self.buffer.is_empty() && self.end.is_none(),
            State::Start | State::Header | State::Skip { .. } => false,
        };
        let at = self.at + self.buffer.len() as u64;
        if is_whole { Ok(()) } else { Err(CarError::Truncated { at }) }
    }

    fn header(&mut self) -> Result<Step, CarError> {
        if self.state == State::Start && self.buffer.starts_with(&PRAGMA_V2) {
            return self.header_v2();
        }
        if self.state == State::Start && PRAGMA_V2.starts_with(&self.buffer) {
            return Ok(Step::Wait);
        }
        let Some(header) = self.take(CAR_HEADER_BYTES_MAX)? else { return Ok(Step::Wait) };
        let Ok(Ipld::Map(mut content)) = serde_ipld_dagcbor::from_slice(&header) else {
            return Err(CarError::BadHeader);
        };
        let (Some(Ipld::List(roots)), Some(Ipld::Integer(1))) = (content.remove("roots"), content.get("version"))
        else {
            return Err(CarError::BadHeader);
        };
        let root = |root| if let Ipld::Link(cid) = root { Ok(cid) } else { Err(CarError::BadHeader) };
        let roots = roots.into_iter().map(root).collect::<Result<_, _>>()?;
        self.state = State::Frames;
        Ok(Step::Item(Item::Roots(roots)))
    }

    fn header_v2(&mut self) -> Result<Step, CarError> {
        let begin = PRAGMA_V2.len() + HEADER_V2_BYTES;
        if self.buffer.len() < begin {
            return Ok(Step::Wait);
        }
        let mut words = &self.buffer[PRAGMA_V2.len() + 16..begin];
        let (offset, size) = (words.get_u64_le(), words.get_u64_le());
        let bytes = offset.checked_sub(begin as u64).ok_or(CarError::BadHeader)?;
        self.end = Some(offset.checked_add(size).ok_or(CarError::BadHeader)?);
        self.consume(begin);
        self.state = State::Skip { bytes };
        Ok(Step::Again)
    }

    fn skip(&mut self, bytes: u64) -> Step {
        let now = self.buffer.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.consume(now);
        let bytes = bytes - now as u64;
        if bytes > 0 {
            self.state = State::Skip { bytes };
            return Step::Wait;
        }
        self.state = State::Header;
        Step::Again
    }

    fn block(&mut self) -> Result<Step, CarError> {
        let at = self.at;
        if self.end == Some(at) {
            self.state = State::Index;
            self.buffer = BytesMut::new();
            return Ok(Step::Wait);
        }
        let Some(mut frame) = self.take(BLOCK_BYTES_MAX + CAR_CID_BYTES_MAX)? else { return Ok(Step::Wait) };
        let mut rest = &frame[..];
        let cid = Cid::read_bytes(&mut rest).map_err(|_| CarError::BadFrame { at })?;
        frame.advance(frame.len() - rest.len());
        let bad = |source| CarError::BadBlock { at, source };
        if let Some(block) = Block::inlined(&cid) {
            let is_right = *block.bytes() == frame;
            return if is_right { Ok(Step::Again) } else { Err(bad(BlockError::HashMismatch { cid })) };
        }
        Ok(Step::Item(Item::Block(Block::verified(cid, frame).map_err(bad)?)))
    }

    /// A length and as many bytes; `None` if they are not all here yet.
    fn take(&mut self, max: usize) -> Result<Option<Bytes>, CarError> {
        let (at, mut head) = (self.at, 0);
        let Some(bytes) = pb::read_varint(&self.buffer, &mut head) else {
            // Ten bytes without an end are no number.
            return if self.buffer.len() < 10 { Ok(None) } else { Err(CarError::BadFrame { at }) };
        };
        if bytes == 0 {
            return Err(CarError::BadFrame { at });
        }
        let len = usize::try_from(bytes).ok().filter(|len| *len <= max);
        let len = len.ok_or(CarError::TooLarge { at, bytes, max })?;
        if self.end.is_some_and(|end| at + head as u64 + bytes > end) {
            return Err(CarError::BadFrame { at });
        }
        if self.buffer.len() < head + len {
            self.buffer.reserve(head + len - self.buffer.len());
            return Ok(None);
        }
        self.consume(head);
        self.at += bytes;
        Ok(Some(self.buffer.split_to(len).freeze()))
    }

    fn consume(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.at += bytes as u64;
    }
}

enum Step {
    Item(Item),
    Again,
    Wait,
}

#[cfg(test)]
mod tests;
