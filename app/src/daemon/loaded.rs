//! The model in memory and the runs on it.

use crate::models::image::{self, image_of};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::{Digest, Refusal, RefusalCode};
use talkoo_engine::{Engine, Model, Server, StreamId};
use talkoo_proof::Ticket;

/// Memory for keys and values of all runs together.
const CACHE_BYTES_MAX: usize = 1 << 30;

/// The model in memory and the runs on it.
pub(super) struct Loaded {
    pub(super) root: Digest,
    pub(super) server: Server,
    pub(super) runs: BTreeMap<Ticket, StreamId>,
    pub(super) tickets: BTreeMap<StreamId, Ticket>,
    /// Since when a run waits for credit.
    pub(super) parked: BTreeMap<StreamId, Instant>,
    file: PathBuf,
    /// Whether the image was written, or tried.
    pub(super) is_saved: bool,
}

impl Loaded {
    /// Loads the model of this root from its file; `must_be` is the root that it must turn out to have.
    pub(super) fn open(root: Digest, file: PathBuf, must_be: Digest, threads: usize) -> Result<Self, Refusal> {
        let model = Model::load_with(&file, &image_of(&file)).map_err(|e| {
            Refusal::new(RefusalCode::RunFailed, format!("cannot load the model: {e}"), "pull it again")
        })?;
        // A damaged or exchanged file computes other numbers: whoever ran it would look like a liar,
        // and call honest machines liars.
        if model.root() != must_be {
            let message = format!("{} is not the model it was any more", file.display());
            return Err(Refusal::new(RefusalCode::SelfTestFailed, message, "remove it and pull it again"));
        }
        let positions = CACHE_BYTES_MAX / model.cache_bytes_per_position().max(1);
        let server = Server::new(Engine::new(Arc::new(model), threads), positions);
        let (runs, tickets, parked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { root, server, runs, tickets, parked, file, is_saved: false })
    }

    /// Writes the model's image in the background, once.
    pub(super) fn save_image(&mut self) {
        if !std::mem::replace(&mut self.is_saved, true) {
            let (model, file) = (self.server.model().clone(), self.file.clone());
            // A node that stops meanwhile leaves a half under another name, which the next one sweeps.
            std::thread::spawn(move || image::save(&model, &file));
        }
    }

    pub(super) fn stop(&mut self, ticket: &Ticket) {
        if let Some(stream) = self.runs.get(ticket).copied() {
            self.server.stop(stream);
            self.forget(stream);
        }
    }

    pub(super) fn forget(&mut self, stream: StreamId) {
        self.parked.remove(&stream);
        if let Some(ticket) = self.tickets.remove(&stream) {
            self.runs.remove(&ticket);
        }
    }
}
