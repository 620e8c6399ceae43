//! Where blocks, receipts and their indices lie among the keys.
//!
//! ```text
//! B number → block (RLP)          R number → receipts (RLP list of EIP-2718 bytes)    C number → certificate
//! P number → what its transactions read (RLP), to execute them again
//! H hash → number                 T transaction hash → number, index
//! M head → number ‖ hash          M state → number up to which the state is written
//! V hash → validators             N number → next block that named others    M set → last block that did
//! M cases → double votes that are to be reported (the app's own)
//! ```
//! Beside them the state's own: `a` accounts, `s` storage, `c` code. Numbers are 8 bytes, big endian.

use crate::block::{Block, Header, Receipt, decode_block, encode_block};
use crate::execute::Executed;
use crate::kv::{KvError, KvRead, Writes};
use crate::state::Reads;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Decodable;
use talkoo_base::{Address, Validator, validators_bytes, validators_hash};

const HEAD: &[u8] = b"Mhead";
const STATE: &[u8] = b"Mstate";
const SET: &[u8] = b"Mset";
/// Bytes of a validator in a set: address and power.
const VALIDATOR_BYTES: usize = 28;

fn by_number(kind: u8, number: u64) -> Vec<u8> {
    [&[kind][..], &number.to_be_bytes()].concat()
}

fn by_hash(kind: u8, hash: &B256) -> Vec<u8> {
    [&[kind][..], hash.as_slice()].concat()
}

fn damaged(what: impl ToString) -> KvError {
    KvError::Damaged(what.to_string())
}

/// What to write when a block became final: the block, its certificate, what came of it, where it is found.
#[must_use]
pub fn record(executed: &Executed, certificate: Vec<u8>) -> Writes {
    let Executed { block, receipts, reads, head, .. } = executed;
    let number = block.header.number;
    let receipts: Vec<Bytes> = receipts.iter().map(|receipt| receipt.encoded_2718().into()).collect();
    let mut writes: Writes = [
        (by_number(b'B', number), Some(encode_block(block))),
        (by_number(b'R', number), Some(alloy_rlp::encode(&receipts))),
        (by_number(b'C', number), Some(certificate)),
        (by_number(b'P', number), Some(alloy_rlp::encode(reads))),
        (by_hash(b'H', &head.hash), Some(number.to_be_bytes().to_vec())),
        (HEAD.to_vec(), Some([&number.to_be_bytes()[..], head.hash.as_slice()].concat())),
    ]
    .into();
    for (index, transaction) in (0u32..).zip(&block.body.transactions) {
        let place = [&number.to_be_bytes()[..], &index.to_be_bytes()].concat();
        writes.insert(by_hash(b'T', transaction.tx_hash()), Some(place));
    }
    writes
}

/// What to write when the state after a block was written.
pub fn state_saved(writes: &mut Writes, number: u64) {
    writes.insert(STATE.to_vec(), Some(number.to_be_bytes().to_vec()));
}

/// What to write when block `number` named other validators, or the first ones.
///
/// # Errors
/// [`KvError`].
pub fn handed_over(writes: &mut Writes, kv: &dyn KvRead, number: u64, validators: &[Validator]) -> Result<(), KvError> {
    if let Some(before) = kv.get(SET)? {
        writes.insert([b"N", before.as_slice()].concat(), Some(number.to_be_bytes().to_vec()));
    }
    let hash = B256::from(validators_hash(validators).0);
    writes.insert(by_hash(b'V', &hash), Some(validators_bytes(validators)));
    writes.insert(SET.to_vec(), Some(number.to_be_bytes().to_vec()));
    Ok(())
}

/// Who decides the block after one with this header.
///
/// # Errors
/// [`KvError`], also if the set was never written.
pub fn validators(kv: &dyn KvRead, header: &Header) -> Result<Vec<Validator>, KvError> {
    let bytes = kv.get(&[b"V", header.extra_data.as_ref()].concat())?;
    let bytes = bytes.ok_or_else(|| damaged(format!("the validators of block {}", header.number + 1)))?;
    let (chunks, rest) = bytes.as_chunks::<VALIDATOR_BYTES>();
    let read = |chunk: &[u8; VALIDATOR_BYTES]| {
        let (address, power) = chunk.split_at(20);
        let address = Address(address.try_into().expect("20 bytes"));
        Validator { address, power: u64::from_be_bytes(power.try_into().expect("8 bytes")) }
    };
    match rest {
        [] => Ok(chunks.iter().map(read).collect()),
        _ => Err(damaged("a set of validators")),
    }
}

/// The next block that named other validators, after the first block or one that did.
///
/// # Errors
/// [`KvError`].
pub fn next_handover(kv: &dyn KvRead, after: u64) -> Result<Option<u64>, KvError> {
    kv.get(&by_number(b'N', after))?.map(|bytes| number(&bytes)).transpose()
}

fn number(bytes: &[u8]) -> Result<u64, KvError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged("a number"))
}

/// The last final block, if there is any: its number and hash.
///
/// # Errors
/// [`KvError`].
pub fn head(kv: &dyn KvRead) -> Result<Option<(u64, B256)>, KvError> {
    let Some(bytes) = kv.get(HEAD)? else { return Ok(None) };
    let (n, hash) = bytes.split_at_checked(8).ok_or_else(|| damaged("the head"))?;
    Ok(Some((number(n)?, B256::try_from(hash).map_err(damaged)?)))
}

/// The block up to which the state is written.
///
/// # Errors
/// [`KvError`].
pub fn saved(kv: &dyn KvRead) -> Result<u64, KvError> {
    kv.get(STATE)?.map_or(Ok(0), |bytes| number(&bytes))
}

/// A block by its number.
///
/// # Errors
/// [`KvError`].
pub fn block(kv: &dyn KvRead, number: u64) -> Result<Option<Block>, KvError> {
    kv.get(&by_number(b'B', number))?.map(|bytes| decode_block(&bytes).map_err(damaged)).transpose()
}

/// A block's bytes by its number.
///
/// # Errors
/// [`KvError`].
pub fn block_bytes(kv: &dyn KvRead, number: u64) -> Result<Option<Vec<u8>>, KvError> {
    kv.get(&by_number(b'B', number))
}

/// A block's certificate by its number.
///
/// # Errors
/// [`KvError`].
pub fn certificate(kv: &dyn KvRead, number: u64) -> Result<Option<Vec<u8>>, KvError> {
    kv.get(&by_number(b'C', number))
}

/// What came of a block's transactions.
///
/// # Errors
/// [`KvError`].
pub fn receipts(kv: &dyn KvRead, number: u64) -> Result<Vec<Receipt>, KvError> {
    let Some(bytes) = kv.get(&by_number(b'R', number))? else { return Ok(Vec::new()) };
    let list = Vec::<Bytes>::decode(&mut bytes.as_slice()).map_err(damaged)?;
    list.iter().map(|bytes| Receipt::decode_2718_exact(bytes).map_err(damaged)).collect()
}

/// What a block's transactions read; nothing for blocks of before this was kept.
///
/// # Errors
/// [`KvError`].
pub fn reads(kv: &dyn KvRead, number: u64) -> Result<Option<Reads>, KvError> {
    kv.get(&by_number(b'P', number))?.map(|bytes| Reads::decode(&mut bytes.as_slice()).map_err(damaged)).transpose()
}

/// The number of the block with a hash.
///
/// # Errors
/// [`KvError`].
pub fn number_of(kv: &dyn KvRead, hash: &B256) -> Result<Option<u64>, KvError> {
    kv.get(&by_hash(b'H', hash))?.map(|bytes| number(&bytes)).transpose()
}

/// Where a transaction stands: number of the block, and place in it.
///
/// # Errors
/// [`KvError`].
pub fn place(kv: &dyn KvRead, transaction: &B256) -> Result<Option<(u64, usize)>, KvError> {
    let Some(bytes) = kv.get(&by_hash(b'T', transaction))? else { return Ok(None) };
    let (n, index) = bytes.split_at_checked(8).ok_or_else(|| damaged("a transaction's place"))?;
    let index = index.try_into().map(u32::from_be_bytes).map_err(damaged)?;
    Ok(Some((number(n)?, index as usize)))
}
