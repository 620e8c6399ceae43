//! Limits of the HTTP faces.

use std::time::Duration;

/// Requests that read or write blocks at once, the owner's and others' each: each holds a thread and some MiB.
pub(crate) const WORKERS_MAX: usize = 128;
/// How long a request waits for a worker.
pub(crate) const WORKER_WAIT: Duration = Duration::from_secs(20);
/// Pieces between a worker and a socket; a piece has at most 2 MiB.
pub(crate) const PIECES_QUEUED: usize = 4;
/// Entries of a directory's HTML page; more are reached by `ls` or by name.
pub(crate) const PAGE_ENTRIES_MAX: usize = 10_000;
/// Bytes of a block's JSON that are put together in memory.
pub(crate) const JSON_BYTES_MAX: usize = 8 << 20;
/// Blocks of an import that wait for the disk.
pub(crate) const IMPORT_BATCH: usize = 32;
/// Entries of one upload: each is a name in memory until its folder is written.
pub(crate) const UPLOAD_ENTRIES_MAX: usize = 1 << 20;
/// Bytes of the path of an entry.
pub(crate) const PATH_BYTES_MAX: usize = 4096;
/// Bytes of names that wait for their turn in an archive, or that one list of a repository has: about 200,000 entries.
pub(crate) const NAMES_BYTES_MAX: usize = 32 << 20;
/// Bytes of a JSON body.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Arguments of one call.
pub(crate) const ARGUMENTS_MAX: usize = 1024;
/// Pins told in one answer (Pinning Service API: 1,000).
pub(crate) const PINS_LISTED_MAX: usize = 1000;
/// Peers told in one answer of the routing API.
pub(crate) const PROVIDERS_MAX: usize = 100;
/// Pins of the service that are fetched at once.
pub(crate) const PINNING_AT_ONCE: usize = 4;
/// Indirect pins told in one answer: names of 64 bytes in memory.
pub(crate) const INDIRECT_LISTED_MAX: usize = 1 << 20;
/// A reader that takes nothing for this long is gone, and so is a client whose upload brings nothing.
pub(crate) const READER_WAIT: Duration = Duration::from_secs(60);
