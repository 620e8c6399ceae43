//! Limits of what is kept on disk.

/// Bytes of one journal record: sixteen times the largest record on the wire.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// Bytes of a snapshot: read into memory at the start.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Journal bytes after which a snapshot is due (`decisions.md` §13): replay stays under a second.
pub const SNAPSHOT_EVERY_BYTES: u64 = 64 << 20;
/// Appended bytes held in memory before they are written without waiting for a flush.
pub const JOURNAL_BUFFER_BYTES: usize = 1 << 20;
/// Blocks up to this length live in the index: a file per 100-byte record would waste a page each.
pub const INLINE_BYTES_MAX: usize = 4096;
/// Blocks written but not yet synced; one more and they are synced. Bounds what a power cut takes.
pub const UNSYNCED_BLOCKS_MAX: usize = 256;
/// Threads that wait for the disk at once while blocks are synced.
pub const SYNC_THREADS: usize = 8;
/// Memory for redb's page cache: the index of 100,000 blocks is about 10 MB.
pub const INDEX_CACHE_BYTES: usize = 16 << 20;
/// Default room for blocks: a few small models.
pub const QUOTA_BYTES_DEFAULT: u64 = 50 << 30;
/// Bytes of what a pin's maker notes, as JSON.
pub const PIN_META_BYTES_MAX: usize = 16 << 10;
/// Bytes of a pin's id, name and origin.
pub const PIN_NAME_BYTES_MAX: usize = 256;
/// Memory that the ledger's file may use as a cache: the state itself keeps what is hot.
pub const LEDGER_CACHE_BYTES: usize = 64 * 1024 * 1024;
