//! What a node keeps: its journal, its blocks, its key, and the lock that makes a data folder
//! belong to one process.
//!
//! ```text
//! <data-dir>/  key  api.token  lock  kv.redb  blocks/XX/<cid>  journal/NNNN.log  journal/NNNN.snap
//! ```
//! Everything here blocks; callers in async code use a thread for it. Deliberately absent: any
//! opinion about what the bytes mean.

pub mod blocks;
mod data_dir;
mod import;
pub mod journal;
mod ledger;
pub mod limits;
mod owner;
mod sealed;

pub use blocks::{Blocks, BlocksConfig};
pub use data_dir::{DataDir, DataDirError};
pub use import::import;
pub use journal::{Journal, JournalError, Recovered};
pub use ledger::{Ledger, LedgerError, Snapshot};
pub use owner::{Owner, OwnerError, OwnerFiles, export};
pub use sealed::{Plain, PlainError};

/// A directory's entries are durable only after the directory itself was synced.
fn sync_dir(dir: &std::path::Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}
