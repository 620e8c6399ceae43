//! Byte-level byte-pair encoding (Sennrich et al. 2016, as in GPT-2): merges in order of rank.

use super::merge::merge;
use crate::error::ModelError;
use std::collections::HashMap;

#[derive(Debug)]
pub(super) struct Bpe {
    /// The token of every single byte, where the vocabulary has one.
    bytes: [Option<u32>; 256],
    /// (left id, right id) -> (rank, merged id).
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// Whole pieces by their bytes, for models that look there first.
    whole: Option<HashMap<Vec<u8>, u32>>,
}

impl Bpe {
    /// `look_whole`: a piece that is itself a token is taken as it is (Llama 3's `ignore_merges`).
    pub(super) fn new(
        tokens: &[String],
        merges: &[String],
        is_special: &impl Fn(usize) -> bool,
        look_whole: bool,
    ) -> Result<Self, ModelError> {
        let ids: HashMap<&str, u32> = tokens.iter().enumerate().map(|(i, t)| (t.as_str(), i as u32)).collect();
        let mut table = HashMap::with_capacity(merges.len());
        let mut joined = String::new();
        for (rank, merge) in merges.iter().enumerate() {
            let pair = merge.split_once(' ').and_then(|(left, right)| {
                joined.clear();
                joined.push_str(left);
                joined.push_str(right);
                Some(((*ids.get(left)?, *ids.get(right)?), *ids.get(joined.as_str())?))
            });
            let (pair, merged) =
                pair.ok_or_else(|| ModelError::damaged(format!("tokenizer merge {merge:?} names unknown tokens")))?;
            table.entry(pair).or_insert((rank as u32, merged));
        }
        let mut name = [0; 4];
        let bytes = std::array::from_fn(|b| ids.get(&*char_of_byte(b as u8).encode_utf8(&mut name)).copied());
        let whole = look_whole.then(|| {
            let normal = tokens.iter().enumerate().filter(|(i, _)| !is_special(*i));
            normal.map(|(i, t)| (bytes_of_token(t), i as u32)).collect()
        });
        Ok(Self { bytes, merges: table, whole })
    }

    /// Appends the ids of one piece. A byte without a token is left out, as the reference does.
    pub(super) fn encode(&self, piece: &[u8], out: &mut Vec<u32>) {
        if let Some(id) = self.whole.as_ref().and_then(|w| w.get(piece)) {
            out.push(*id);
            return;
        }
        let ids: Vec<u32> = piece.iter().filter_map(|b| self.bytes[usize::from(*b)]).collect();
        out.extend(merge(ids, |left, right| self.merges.get(&(left, right)).copied()));
    }
}

/// GPT-2's printable stand-in for a byte.
fn char_of_byte(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        0..=0x20 => shifted(u32::from(byte)),
        0x7f..=0xa0 => shifted(u32::from(byte) - 0x7f + 33),
        0xad => shifted(67),
    }
}

fn shifted(n: u32) -> char {
    char::from_u32(256 + n).expect("below 324, so a letter")
}

/// The bytes a token's printable form stands for; characters outside the table stand for themselves.
pub(super) fn bytes_of_token(token: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(token.len());
    for c in token.chars() {
        match u32::from(c) {
            n @ 256..=288 => out.push((n - 256) as u8),
            n @ 289..=322 => out.push((n - 289 + 0x7f) as u8),
            323 => out.push(0xad),
            n if n < 256 && char_of_byte(n as u8) == c => out.push(n as u8),
            _ => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}
