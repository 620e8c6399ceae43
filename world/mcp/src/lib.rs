//! The Model Context Protocol on the API's port: what a node can do, as tools of a language model's client.
//!
//! ```text
//! POST /mcp ─► guard (host, origin, key, rate) ─► rmcp: versions, sessions ─► a tool ─► the routes of inference, or a call of the loop
//! ```
//! No tool does anything itself: each is a request that some other face of the node has, too, so there is one way to run a model, to
//! read data and to pay. What a tool refuses is its answer (`isError`, with code, message and hint); errors of the protocol are
//! for broken messages. 2026-07-28 is served without sessions, 2024-11-05 to 2025-11-25 with.

mod ask;
mod guard;
mod limits;
mod service;
mod sessions;
#[cfg(test)]
mod tests;
mod tools;

pub use guard::{Shape, mount};
pub use service::refused;
pub use tools::matches;

use ask::Office;
use axum::Router;
use service::Service;
use std::sync::Arc;
use talkoo_api::Call;
use talkoo_inference::Keys;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What the protocol is put up with.
pub struct Attach {
    /// The routes of inference, for callers that were let in.
    pub inference: Router,
    /// To the node's loop.
    pub calls: mpsc::Sender<Call>,
    /// Who may ask.
    pub keys: Arc<Keys>,
    /// Ends it all.
    pub stop: CancellationToken,
}

/// The route, for the API's port.
pub fn router(attach: Attach) -> Router {
    let Attach { inference, calls, keys, stop } = attach;
    let office = Arc::new(Office::new(inference, calls, keys.clone()));
    mount(Shape { keys, stop }, move || Service::new(office.clone()))
}
