//! Runs for somebody on this machine: no lease, no receipt, tokens as they come.

use super::loaded::{Loaded, run_failed};
use std::collections::BTreeMap;
use talkoo_base::{Digest, Refusal};
use talkoo_engine::{Chunk, RunError, Scope, Server, StreamId, Task};
use tokio::sync::mpsc::Sender;

/// A run for somebody on this machine.
#[derive(Debug)]
pub(crate) struct Direct {
    /// The program.
    pub(crate) root: Digest,
    pub(crate) task: Task,
    /// Runs of one scope compute together what they have in common.
    pub(crate) scope: Scope,
    /// Which of several answers it is, for who listens.
    pub(crate) choice: u32,
    /// Who listens; has room for all that comes. Whoever is gone has the run ended.
    pub(crate) to: Sender<(u32, Told)>,
}

/// What a run tells.
#[derive(Debug)]
pub(crate) enum Told {
    Token(u32),
    /// Tokens that were told, with their log probabilities; the last one says why it ends.
    Chunk(Chunk),
    Failed(Refusal),
}

/// The runs of a model that are for somebody here.
#[derive(Default)]
pub(super) struct Listeners(BTreeMap<StreamId, (u32, Sender<(u32, Told)>)>);

impl Listeners {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the runs that nobody listens to any more.
    pub(super) fn tidy(&mut self, server: &mut Server) {
        self.0.retain(|stream, (_, to)| {
            let stays = !to.is_closed();
            if !stays {
                server.stop(*stream);
            }
            stays
        });
    }

    pub(super) fn token(&self, stream: StreamId, token: u32) {
        self.tell(stream, Told::Token(token));
    }

    /// Tells a chunk; `false` if nobody here asked for this stream.
    pub(super) fn chunk(&mut self, stream: StreamId, chunk: &Chunk) -> bool {
        if !self.0.contains_key(&stream) {
            return false;
        }
        let is_over = chunk.finish.is_some();
        self.tell(stream, Told::Chunk(chunk.clone()));
        if is_over {
            self.0.remove(&stream);
        }
        true
    }

    /// The same with a failure.
    pub(super) fn failed(&mut self, stream: StreamId, error: &RunError) -> bool {
        self.tell(stream, Told::Failed(run_failed(error)));
        self.0.remove(&stream).is_some()
    }

    fn tell(&self, stream: StreamId, told: Told) {
        if let Some((choice, to)) = self.0.get(&stream) {
            // Who has no room asked for less than comes, or is gone.
            to.try_send((*choice, told)).ok();
        }
    }
}

impl Loaded {
    /// Whether a task finds room now.
    pub(super) fn has_room_for(&self, task: &Task) -> bool {
        self.server().has_room(task.prompt.len().saturating_add(task.params.max_tokens as usize))
    }

    /// Begins a run for somebody here.
    pub(super) fn direct(&mut self, direct: Direct) {
        let Direct { task, scope, choice, to, .. } = direct;
        let (server, listeners) = self.for_direct();
        match server.generate(task, scope, None) {
            Ok(stream) => drop(listeners.0.insert(stream, (choice, to))),
            Err(error) => drop(to.try_send((choice, Told::Failed(run_failed(&error))))),
        }
    }
}
