//! The chain's journal, shortened: the events that give its state again, in one record.

use anyhow::{Context, Result};
use talkoo_chain::Event;

/// Events one after the other, each behind its length (u32, big endian).
pub(super) fn pack(events: impl Iterator<Item = Event>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events.map(|event| event.to_bytes()) {
        bytes.extend(u32::try_from(event.len()).expect("a block has 768 KiB").to_be_bytes());
        bytes.extend(event);
    }
    bytes
}

/// The reverse of [`pack`].
pub(super) fn unpack(mut bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut events = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (event, rest) = rest.split_at_checked(length).context("the chain's snapshot is torn")?;
        events.push(event);
        bytes = rest;
    }
    Ok(events)
}
