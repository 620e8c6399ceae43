//! The exact engine: model files, tokenizers, and kernels that equal `talkoo_exact` bit for bit.
//!
//! ```text
//! GGUF file ── header ── Vocabulary (text <-> ids, chat template)
//!      └────── weights ─ Model (packed integers, model root)
//!                          └─ Engine (threads) ── generate / verify / measure, one task
//!                                └─ Server (KV caches) ── many tasks that share each batch
//! ```
//!
//! A [`Model`] is shared; an [`Engine`] runs one task at a time on its own threads, a [`Server`] many. Everything that
//! enters a result is an integer: on any machine, with any kernel, thread count or batch, a task
//! gives the same tokens and the same digests. It deliberately knows nothing of jobs and money.

mod constraint;
mod embed;
mod engine;
mod error;
mod gguf;
#[allow(unsafe_code)]
mod kernels;
mod model;
mod run;
mod serve;
mod vocabulary;

pub use embed::{Embedded, Embedder, Encoded, Encoder, Folder, gguf_of_folder};
pub use engine::{Engine, Speed};
pub use error::{ModelError, RunError, TemplateError};
pub use gguf::{Header, Metadata, Tensor, Value};
pub use kernels::{Kernel, best_name};
pub use model::Model;
pub use run::{Chunk, Outcome, Task, Verified, define_generate};
pub use serve::{Event, Scope, Server, StreamId};
pub use talkoo_exact::{CONTRACT, KvFormat};
pub use vocabulary::{ChatMessage, Decoder, Vocabulary};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
