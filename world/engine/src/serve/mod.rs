//! Many tasks on one engine at once.
//!
//! ```text
//! streams ── rows of each ─┐
//!   decoding: one token    ├─► one batch through the model ─► states, logits ─► back to each stream
//!   prefill, verify: many ─┘
//! ```
//! A batch takes one token of every stream that decodes; prefills and verifications share what is left
//! of it, the oldest first. Integer sums do not depend on who shares a batch, so no stream's bits do.
//! A stream without credit is parked: it holds its memory and takes no turn. A batch whose numbers
//! leave the contract's range is run again stream by stream, so that only the guilty one fails.
//! A stream that begins as another of its [`Scope`] takes over what that one computed (`prefixes.rs`).

mod prefixes;
mod stream;

use crate::engine::{BATCH, Cache, Engine, LOGITS_BATCH, Row};
use crate::error::RunError;
use crate::model::Model;
use crate::run::{Checker, Chunk, Generator, Task, Verified};
use prefixes::{Feed, Prefixes};
use std::collections::BTreeMap;
use std::sync::Arc;
use stream::{Role, Stream};
use talkoo_exact::RangeError;

pub use prefixes::Scope;

/// Rows of a batch while somebody decodes: a long prefill delays nobody's next token for long.
const MIXED_BATCH: usize = 64;

/// Name of a stream of one server.
pub type StreamId = u64;

/// What a step brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A generation has a new output token.
    Token {
        /// Its stream.
        stream: StreamId,
        /// The token.
        token: u32,
    },
    /// A generation has a new chunk; its stream is gone if the chunk ends the output.
    Chunk {
        /// Its stream.
        stream: StreamId,
        /// The chunk.
        chunk: Chunk,
    },
    /// A verification is done; its stream is gone.
    Verified {
        /// Its stream.
        stream: StreamId,
        /// What an honest run says.
        verified: Verified,
    },
    /// A run cannot go on; its stream is gone.
    Failed {
        /// Its stream.
        stream: StreamId,
        /// Why.
        error: RunError,
    },
}

/// Runs tasks of one model side by side.
pub struct Server {
    engine: Engine,
    streams: BTreeMap<StreamId, Stream>,
    next: StreamId,
    /// Positions that streams and prefixes may hold in all.
    positions_max: usize,
    /// Positions that streams may come to hold.
    positions: usize,
    prefixes: Prefixes,
    reused: u64,
}

impl Server {
    /// A server on `engine` whose streams hold at most `positions_max` positions of keys and values
    /// ([`Model::cache_bytes_per_position`] bytes each) at once. What they leave of it keeps what ended
    /// streams have run, the most recently used of it.
    #[must_use]
    pub fn new(engine: Engine, positions_max: usize) -> Self {
        let (streams, prefixes) = (BTreeMap::new(), Prefixes::default());
        Self { engine, streams, next: 0, positions_max, positions: 0, prefixes, reused: 0 }
    }

    /// The engine. What it is used for otherwise does not disturb the streams.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The model it runs.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        self.engine.model()
    }

    /// Whether a task with so many positions, prompt and output, finds room now.
    #[must_use]
    pub fn has_room(&self, positions: usize) -> bool {
        // A task larger than the server runs alone.
        self.streams.is_empty() || self.positions + positions <= self.positions_max
    }

    /// Positions that ended streams have left behind; they give way to new streams.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.prefixes.positions()
    }

    /// Positions that the open streams may come to hold.
    #[must_use]
    pub fn promised(&self) -> usize {
        self.positions
    }

    /// Positions that streams took over instead of computing them, since the start.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.reused
    }

    /// Starts a generation that may make `credit` chunks; `None`: as many as it has.
    ///
    /// # Errors
    /// If the task does not fit the model.
    pub fn generate(&mut self, task: Task, scope: Scope, credit: Option<u32>) -> Result<StreamId, RunError> {
        let input = task.prompt.clone();
        let context = self.model().context_max() as usize;
        let positions = input.len().saturating_add(task.params.max_tokens as usize).min(context);
        let role = Role::Generate { generator: Box::new(Generator::new(self.model(), task)?), credit, paid: false };
        Ok(self.open(role, scope, input, positions))
    }

    /// Starts a verification of `tokens` as the output of `task`.
    ///
    /// # Errors
    /// If the task does not fit the model.
    pub fn verify(&mut self, task: Task, scope: Scope, tokens: Vec<u32>) -> Result<StreamId, RunError> {
        let checker = Checker::new(self.model(), task, tokens)?;
        let input = checker.input().to_vec();
        let positions = input.len();
        Ok(self.open(Role::Verify(Box::new(checker)), scope, input, positions))
    }

    fn open(&mut self, role: Role, scope: Scope, input: Vec<u32>, positions: usize) -> StreamId {
        let id = self.next;
        self.next += 1;
        self.positions += positions;
        let feed = Feed::new(scope, input, Cache::new(&self.model().manifest));
        self.streams.insert(id, Stream { role, feed, positions });
        id
    }

    /// Allows a generation so many chunks more.
    pub fn credit(&mut self, stream: StreamId, chunks: u32) {
        if let Some(Role::Generate { credit: Some(credit), .. }) = self.streams.get_mut(&stream).map(|s| &mut s.role) {
            *credit = credit.saturating_add(chunks);
        }
    }

    /// Ends a stream; its memory is free for others at once.
    pub fn stop(&mut self, stream: StreamId) {
        self.close(stream);
    }

    fn close(&mut self, stream: StreamId) -> Option<Role> {
        let Stream { role, feed, positions } = self.streams.remove(&stream)?;
        self.positions -= positions;
        self.prefixes.keep(feed);
        self.make_room();
        Some(role)
    }

    /// What ended streams left behind gives way to those that are open.
    fn make_room(&mut self) {
        self.prefixes.shrink(self.positions_max.saturating_sub(self.positions));
    }

    /// Lets a stream that is about to begin take over what another one has fed.
    fn reuse(&mut self, id: StreamId) {
        let stream = &self.streams[&id];
        let (wanted, most) = (&stream.feed, stream.reusable());
        let open = self.streams.values().map(|s| (s.feed.common(wanted, most), &s.feed));
        let (common, other) = open.max_by_key(|(common, _)| *common).expect("it is open itself");
        let taken = self.prefixes.take(wanted, common, most).or_else(|| other.beginning(common));
        if let Some((cache, states)) = taken {
            self.reused += cache.positions() as u64;
            self.streams.get_mut(&id).expect("it was just looked at").begin(cache, states);
        }
    }

    /// Streams that are open, parked ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Streams that wait for credit.
    pub fn parked(&self) -> impl Iterator<Item = StreamId> {
        self.streams.iter().filter(|(_, stream)| stream.is_parked()).map(|(id, _)| *id)
    }

    /// Runs one batch and tells what it brought; `false` if no stream can go on.
    pub fn step(&mut self, out: &mut Vec<Event>) -> bool {
        let plan = self.plan();
        if plan.is_empty() {
            return self.conclude(out);
        }
        if let Err(error) = self.run(&plan, out) {
            let alone = if plan.len() > 1 { plan } else { return self.fail(plan[0].0, error, out) };
            for part in alone {
                if let Err(error) = self.run(&[part], out) {
                    self.fail(part.0, error, out);
                }
            }
        }
        true
    }

    fn fail(&mut self, stream: StreamId, error: RangeError, out: &mut Vec<Event>) -> bool {
        self.stop(stream);
        out.push(Event::Failed { stream, error: error.into() });
        true
    }

    /// Who takes part in the next batch, with how many rows.
    fn plan(&mut self) -> Vec<(StreamId, usize)> {
        self.streams.values_mut().for_each(Stream::take_credit);
        let ready = || self.streams.iter().filter(|(_, stream)| !stream.is_parked());
        let mut plan: Vec<(StreamId, usize)> =
            ready().filter(|(_, s)| s.decodes()).map(|(id, _)| (*id, 1)).take(BATCH).collect();
        let rows_max = if plan.is_empty() { BATCH } else { MIXED_BATCH };
        let mut room = rows_max.saturating_sub(plan.len());
        // A whole audit waits for a verification, one client for a generation.
        let (checks, prompts): (Vec<_>, Vec<_>) =
            ready().filter(|(_, s)| !s.decodes()).partition(|(_, s)| matches!(s.role, Role::Verify(_)));
        for id in checks.into_iter().chain(prompts).map(|(id, _)| *id).collect::<Vec<_>>() {
            if room > 0 && self.streams[&id].feed.fed == 0 {
                self.reuse(id);
            }
            let rows = self.streams[&id].left().min(room);
            if rows > 0 {
                plan.push((id, rows));
                room -= rows;
            }
        }
        self.make_room();
        plan
    }

    /// Runs a batch; after an error nothing has changed.
    fn run(&mut self, plan: &[(StreamId, usize)], out: &mut Vec<Event>) -> Result<(), RangeError> {
        // Rows, and for each its stream's place in the plan and its index in the stream's input.
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (place, (id, count)) in plan.iter().enumerate() {
            let stream = &self.streams[id];
            for index in stream.feed.fed..stream.feed.fed + count {
                rows.push(Row { stream: place, token: stream.feed.tokens[index] });
                places.push((place, index));
            }
        }
        let wanted: Vec<usize> =
            (0..rows.len()).filter(|row| self.streams[&plan[places[*row].0].0].wants_logits(places[*row].1)).collect();
        let mut caches: Vec<Cache> = plan.iter().map(|(id, _)| self.take_cache(id)).collect();
        let states = self.engine.forward(&rows, &mut caches.iter_mut().collect::<Vec<_>>(), true);
        let logits = states.and_then(|states| Ok((states, self.all_logits(&wanted)?)));
        for ((id, count), mut cache) in plan.iter().zip(caches) {
            let stream = self.streams.get_mut(id).expect("a planned stream is open");
            if logits.is_err() {
                cache.truncate(stream.feed.fed);
            } else {
                stream.feed.fed += count;
            }
            stream.feed.cache = cache;
        }
        let (states, logits) = logits?;
        self.hand_out(plan, &places, &states, &wanted, &logits, out);
        Ok(())
    }

    fn take_cache(&mut self, id: &StreamId) -> Cache {
        std::mem::take(&mut self.streams.get_mut(id).expect("a planned stream is open").feed.cache)
    }

    /// The logits after all wanted rows, one after the other.
    fn all_logits(&mut self, wanted: &[usize]) -> Result<Vec<i64>, RangeError> {
        let mut all = Vec::new();
        for wanted in wanted.chunks(LOGITS_BATCH) {
            for logits in self.engine.logits(wanted)? {
                all.extend_from_slice(logits);
            }
        }
        Ok(all)
    }

    /// Gives each stream the states and logits of its rows.
    fn hand_out(
        &mut self,
        plan: &[(StreamId, usize)],
        places: &[(usize, usize)],
        states: &[talkoo_base::Digest],
        wanted: &[usize],
        logits: &[i64],
        out: &mut Vec<Event>,
    ) {
        let (layers, vocabulary) = (self.model().layers.len(), self.model().manifest.architecture.vocabulary);
        let mut logits = wanted.iter().zip(logits.chunks_exact(vocabulary)).peekable();
        for ((row, (place, index)), states) in places.iter().enumerate().zip(states.chunks_exact(layers)) {
            let id = plan[*place].0;
            let logits = logits.next_if(|(wanted, _)| **wanted == row).map(|(_, logits)| logits);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.take(id, *index, states, logits, &self.engine, out) {
                self.stop(id);
            }
        }
        self.conclude(out);
    }

    /// Ends the verifications that have their answer, also those that had nothing to feed; whether there
    /// were any.
    fn conclude(&mut self, out: &mut Vec<Event>) -> bool {
        let checked: Vec<StreamId> = self.streams.iter().filter(|(_, s)| s.is_checked()).map(|(id, _)| *id).collect();
        for id in &checked {
            if let Some(Role::Verify(checker)) = self.close(*id) {
                out.push(match checker.verified() {
                    Ok(verified) => Event::Verified { stream: *id, verified },
                    Err(error) => Event::Failed { stream: *id, error },
                });
            }
        }
        !checked.is_empty()
    }
}
