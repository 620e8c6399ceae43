//! Messages of bitswap 1.2 (specs.ipfs.tech/bitswap-protocol): protobuf, prefixed by their length
//! as a varint. Decoding is bounded and shares the buffer; encoding never exceeds the cap when the
//! caller keeps to [`crate::limits::BATCH_BYTES`].

use crate::block::{Block, BlockError, CidPrefix};
use crate::limits::{ANSWER_ENTRIES_MAX, MESSAGE_BYTES_MAX, WANT_ENTRIES_MAX};
use crate::pb::{self, Fields, Malformed, Value};
use bytes::Bytes;
use cid::Cid;
use thiserror::Error;

/// What is wanted of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantKind {
    /// The block itself.
    #[default]
    Block,
    /// Whether the peer has it.
    Have,
}

/// One entry of a wantlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Of which block.
    pub cid: Cid,
    /// Higher is sooner.
    pub priority: i32,
    /// The entry takes an earlier one back.
    pub cancel: bool,
    /// What is wanted.
    pub kind: WantKind,
    /// The peer shall say so when it does not have the block.
    pub send_dont_have: bool,
}

impl Want {
    /// Asks for `cid`, and for a "don't have" otherwise.
    #[must_use]
    pub fn new(cid: Cid, kind: WantKind) -> Self {
        Self { cid, priority: 1, cancel: false, kind, send_dont_have: true }
    }

    /// Takes an earlier want back.
    #[must_use]
    pub fn cancel(cid: Cid) -> Self {
        Self { cid, priority: 0, cancel: true, kind: WantKind::Block, send_dont_have: false }
    }
}

/// Bytes that claim to be a block; [`Payload::into_block`] checks what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// CID without the digest.
    pub prefix: CidPrefix,
    /// The content.
    pub data: Bytes,
}

impl Payload {
    /// The payload of a block.
    #[must_use]
    pub fn of(block: &Block) -> Self {
        Self { prefix: CidPrefix::of(block.cid()), data: block.bytes().clone() }
    }

    /// Hashes the content and so names the block.
    ///
    /// # Errors
    /// See [`Block::received`].
    pub fn into_block(self) -> Result<Block, BlockError> {
        Block::received(self.prefix, self.data)
    }
}

/// Whether a peer has a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Which block.
    pub cid: Cid,
    /// It has it.
    pub have: bool,
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The wants replace all earlier ones.
    pub full: bool,
    /// The wantlist, or changes to it.
    pub wants: Vec<Want>,
    /// Blocks.
    pub payloads: Vec<Payload>,
    /// HAVE and DONT_HAVE.
    pub presences: Vec<Presence>,
    /// Bytes that the sender still has queued for us.
    pub pending_bytes: i32,
}

/// Why bytes are not a message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// Not protobuf, or a field of the wrong type.
    #[error("malformed bitswap message: not the protobuf of bitswap 1.2")]
    Malformed,
    /// A CID that does not parse.
    #[error("malformed cid in a bitswap message")]
    BadCid,
    /// A block with a bad prefix.
    #[error("bad block in a bitswap message")]
    BadBlock(#[from] BlockError),
    /// Over the cap.
    #[error("bitswap message of {bytes} bytes is over the limit of {MESSAGE_BYTES_MAX}: send smaller batches")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Too many wants, blocks or presences.
    #[error("bitswap message with too many entries: at most {WANT_ENTRIES_MAX} wants and {ANSWER_ENTRIES_MAX} answers")]
    TooManyEntries,
}

impl From<Malformed> for MessageError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Message {
    /// Nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty() && self.payloads.is_empty() && self.presences.is_empty()
    }

    /// Bytes of the blocks in it.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payloads.iter().map(|payload| payload.data.len()).sum()
    }

    /// The message without its length prefix.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.pieces().concat()
    }

    /// The message with its length prefix, to be written piece by piece: blocks are shared, not copied.
    #[must_use]
    pub fn to_frame(&self) -> Vec<Bytes> {
        let mut pieces = self.pieces();
        let mut length = Vec::with_capacity(5);
        pb::write_varint(pieces.iter().map(Bytes::len).sum::<usize>() as u64, &mut length);
        pieces.insert(0, length.into());
        pieces
    }

    fn pieces(&self) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(2 * self.payloads.len() + 1);
        let mut out = Vec::new();
        if self.full || !self.wants.is_empty() {
            pb::write_bytes(1, &self.encode_wants(), &mut out);
        }
        for Payload { prefix, data } in &self.payloads {
            let mut head = Vec::with_capacity(24);
            pb::write_bytes(1, &prefix.to_bytes(), &mut head);
            pb::write_varint(2 << 3 | 2, &mut head);
            pb::write_varint(data.len() as u64, &mut head);
            pb::write_varint(3 << 3 | 2, &mut out);
            pb::write_varint((head.len() + data.len()) as u64, &mut out);
            out.extend_from_slice(&head);
            pieces.push(std::mem::take(&mut out).into());
            pieces.push(data.clone());
        }
        for presence in &self.presences {
            let mut entry = Vec::with_capacity(48);
            pb::write_bytes(1, &presence.cid.to_bytes(), &mut entry);
            pb::write_number(2, u64::from(!presence.have), &mut entry);
            pb::write_bytes(4, &entry, &mut out);
        }
        if self.pending_bytes != 0 {
            pb::write_number(5, from_i32(self.pending_bytes), &mut out);
        }
        pieces.push(out.into());
        pieces
    }

    /// Reads a message without its length prefix. Blocks share `bytes` and are not hashed yet.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLarge { bytes: bytes.len() });
        }
        let mut message = Self::default();
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Bytes(list)) => message.decode_wants(list)?,
                (3, Value::Bytes(payload)) => message.payloads.push(decode_payload(payload, bytes)?),
                (4, Value::Bytes(presence)) => message.presences.push(decode_presence(presence)?),
                (5, Value::Varint(pending)) => message.pending_bytes = pending as i32,
                (1 | 3 | 4 | 5, _) => return Err(MessageError::Malformed),
                // Field 2 is bitswap 1.0; unknown fields are for later versions.
                _ => {}
            }
            if message.payloads.len() + message.presences.len() > ANSWER_ENTRIES_MAX {
                return Err(MessageError::TooManyEntries);
            }
        }
        Ok(message)
    }

    fn encode_wants(&self) -> Vec<u8> {
        let mut list = Vec::with_capacity(self.wants.len() * 52 + 2);
        let mut entry = Vec::with_capacity(52);
        for want in &self.wants {
            entry.clear();
            pb::write_bytes(1, &want.cid.to_bytes(), &mut entry);
            pb::write_number(2, from_i32(want.priority), &mut entry);
            let flags = [(3, want.cancel), (4, want.kind == WantKind::Have), (5, want.send_dont_have)];
            for (field, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
                pb::write_number(field, 1, &mut entry);
            }
            pb::write_bytes(1, &entry, &mut list);
        }
        if self.full {
            pb::write_number(2, 1, &mut list);
        }
        list
    }

    fn decode_wants(&mut self, list: &[u8]) -> Result<(), MessageError> {
        for field in Fields::of(list) {
            match field? {
                (1, Value::Bytes(_)) if self.wants.len() >= WANT_ENTRIES_MAX => {
                    return Err(MessageError::TooManyEntries);
                }
                (1, Value::Bytes(entry)) => self.wants.push(decode_want(entry)?),
                (2, Value::Varint(full)) => self.full = full != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Protobuf writes a negative int32 as the 64-bit two's complement.
fn from_i32(value: i32) -> u64 {
    i64::from(value) as u64
}

fn decode_cid(bytes: &[u8]) -> Result<Cid, MessageError> {
    Cid::try_from(bytes).map_err(|_| MessageError::BadCid)
}

fn decode_want(bytes: &[u8]) -> Result<Want, MessageError> {
    let mut cid = None;
    let mut want = Want { priority: 1, ..Want::cancel(Cid::default()) };
    want.cancel = false;
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(name)) => cid = Some(decode_cid(name)?),
            (2, Value::Varint(priority)) => want.priority = priority as i32,
            (3, Value::Varint(cancel)) => want.cancel = cancel != 0,
            (4, Value::Varint(1)) => want.kind = WantKind::Have,
            (5, Value::Varint(flag)) => want.send_dont_have = flag != 0,
            _ => {}
        }
    }
    want.cid = cid.ok_or(MessageError::BadCid)?;
    Ok(want)
}

fn decode_payload(bytes: &[u8], whole: &Bytes) -> Result<Payload, MessageError> {
    let (mut prefix, mut data) = (None, Bytes::new());
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => prefix = Some(CidPrefix::from_bytes(bytes)?),
            (2, Value::Bytes(bytes)) => data = whole.slice_ref(bytes),
            _ => {}
        }
    }
    let prefix = prefix.ok_or(BlockError::BadPrefix)?;
    Ok(Payload { prefix, data })
}

fn decode_presence(bytes: &[u8]) -> Result<Presence, MessageError> {
    let (mut cid, mut have) = (None, true);
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(name)) => cid = Some(decode_cid(name)?),
            (2, Value::Varint(kind)) => have = kind == 0,
            _ => {}
        }
    }
    Ok(Presence { cid: cid.ok_or(MessageError::BadCid)?, have })
}

#[cfg(test)]
mod tests;
