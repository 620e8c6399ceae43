//! Codecs of blocks that have no links (the multicodec table).

/// Plain CBOR.
pub(crate) const CBOR: u64 = 0x51;
/// Plain JSON.
pub(crate) const JSON: u64 = 0x0200;
