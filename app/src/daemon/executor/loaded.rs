//! A model in memory and the runs on it.

use super::direct::Listeners;
use super::{ModelFile, Report};
use crate::models::image::{self, image_of};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use talkoo_base::{Finish, Likeness, Refusal, RefusalCode, sha256};
use talkoo_engine::{Chunk, Engine, Event, Model, RunError, Scope, Server, StreamId, Task};
use talkoo_proof::{Input, Run, Ticket};

/// A model that nobody used for so long is unloaded.
pub(super) const IDLE: Duration = Duration::from_secs(300);
/// A model that had nothing to do for so long has its image written.
pub(super) const IMAGE_AFTER: Duration = Duration::from_secs(30);
/// Longest wait for credit before a run is given up: its memory is for others, too.
pub(in crate::daemon) const CREDIT_WAIT: Duration = Duration::from_secs(6);

/// A model in memory and the runs on it.
pub(super) struct Loaded {
    server: Server,
    runs: BTreeMap<Ticket, StreamId>,
    tickets: BTreeMap<StreamId, Ticket>,
    /// Since when a run waits for credit.
    parked: BTreeMap<StreamId, Instant>,
    listeners: Listeners,
    file: PathBuf,
    /// Whether the image was written, or tried.
    is_saved: bool,
    /// What it counts for under the cap.
    pub(super) bytes: u64,
    /// When it last ran something.
    pub(super) used: Instant,
}

impl Loaded {
    /// Loads the model of this file, which counts for `bytes`, `cache_bytes` of keys and values included.
    pub(super) fn open(file: ModelFile, threads: usize, bytes: u64, cache_bytes: u64) -> Result<Self, Refusal> {
        let ModelFile { path: file, kv, must_be, .. } = file;
        let model = Model::load_with(&file, &image_of(&file)).map_err(|e| {
            Refusal::new(RefusalCode::RunFailed, format!("cannot load the model: {e}"), "pull it again")
        })?;
        let model = model.with_kv(kv);
        // A damaged or exchanged file computes other numbers: whoever ran it would look like a liar,
        // and call honest machines liars.
        if must_be.is_some_and(|root| model.root() != root) {
            let message = format!("{} is not the model it was any more", file.display());
            return Err(Refusal::new(RefusalCode::SelfTestFailed, message, "remove it and pull it again"));
        }
        let positions = usize::try_from(cache_bytes).unwrap_or(usize::MAX) / model.cache_bytes_per_position().max(1);
        let server = Server::new(Engine::new(Arc::new(model), threads), positions);
        let (runs, tickets, parked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let listeners = Listeners::default();
        Ok(Self { server, runs, tickets, parked, listeners, file, is_saved: false, bytes, used: Instant::now() })
    }

    /// Its engine, on so many threads.
    pub(super) fn engine(&mut self, threads: usize) -> &mut Engine {
        let engine = self.server.engine();
        engine.set_threads(threads);
        engine
    }

    /// The model itself, for others to run as well.
    pub(super) fn model(&self) -> Arc<Model> {
        self.server.model().clone()
    }

    /// Whether nothing runs on it.
    pub(super) fn is_idle(&self) -> bool {
        self.server.is_empty()
    }

    /// Whether all that runs on it is paid by others.
    pub(super) fn is_for_others(&self) -> bool {
        self.listeners.is_empty() && self.runs.keys().all(|ticket| matches!(ticket, Ticket::Sale(_)))
    }

    /// Whether this run is one of it.
    pub(super) fn runs(&self, ticket: &Ticket) -> bool {
        self.runs.contains_key(ticket)
    }

    /// Whether a run finds room now.
    pub(super) fn has_room(&self, run: &Run) -> bool {
        let output = run.rerun.as_ref().map_or(run.work.params.max_tokens as usize, Vec::len);
        self.server.has_room(run.work.prompt.len().saturating_add(output))
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// What a run for somebody here needs.
    pub(super) fn for_direct(&mut self) -> (&mut Server, &mut Listeners) {
        (&mut self.server, &mut self.listeners)
    }

    /// How long it may be left alone if nothing is asked.
    pub(super) fn rests(&self) -> Duration {
        match (self.parked.is_empty(), self.is_saved) {
            (false, _) => CREDIT_WAIT / 4,
            (true, false) => IMAGE_AFTER,
            (true, true) => IDLE,
        }
    }

    /// Writes the model's image in the background, once.
    pub(super) fn save_image(&mut self) {
        if !std::mem::replace(&mut self.is_saved, true) {
            let (model, file) = (self.server.model().clone(), self.file.clone());
            // A node that stops meanwhile leaves a half under another name, which the next one sweeps.
            std::thread::spawn(move || image::save(&model, &file));
        }
    }

    /// Begins a run. What it has in common with others that its client pays for is computed once; with
    /// those of others it would show by its time what they asked.
    pub(super) fn begin(&mut self, run: Run) -> Result<(), Refusal> {
        let Run { ticket, client, work, trace_id, rerun } = run;
        let task = Task { prompt: work.prompt, params: work.params, seed: work.seed, trace_id };
        let scope = Scope(sha256(&[client.as_bytes()]));
        let stream = match rerun {
            Some(tokens) => self.server.verify(task, scope, tokens),
            None => self.server.generate(task, scope, Some(0)),
        };
        let stream = stream.map_err(|e| run_failed(&e))?;
        self.runs.insert(ticket, stream);
        self.tickets.insert(stream, ticket);
        Ok(())
    }

    /// Weighs another engine's answer, at once: it is one prefill.
    pub(super) fn weigh(&mut self, run: Run, threads: usize) -> Result<Likeness, Refusal> {
        let Run { work, trace_id, rerun, .. } = run;
        let task = Task { prompt: work.prompt, params: work.params, seed: work.seed, trace_id };
        self.used = Instant::now();
        self.engine(threads).weigh(&task, &rerun.unwrap_or_default()).map_err(|e| run_failed(&e))
    }

    /// Allows a run so many chunks more.
    pub(super) fn credit(&mut self, ticket: &Ticket, chunks: u32) {
        if let Some(stream) = self.runs.get(ticket) {
            self.server.credit(*stream, chunks);
        }
    }

    /// Ends a run.
    pub(super) fn stop(&mut self, ticket: &Ticket) {
        if let Some(stream) = self.runs.get(ticket).copied() {
            self.server.stop(stream);
            self.forget(stream);
        }
    }

    fn forget(&mut self, stream: StreamId) {
        self.parked.remove(&stream);
        if let Some(ticket) = self.tickets.remove(&stream) {
            self.runs.remove(&ticket);
        }
    }

    /// Runs one batch on so many threads; `false` if there was nothing to run.
    pub(super) fn step(&mut self, threads: usize, report: &dyn Fn(Report)) -> bool {
        self.listeners.tidy(&mut self.server);
        self.server.engine().set_threads(threads);
        let mut events = Vec::new();
        let went = self.server.step(&mut events);
        if went {
            self.used = Instant::now();
        }
        for event in events {
            let (stream, input, is_over) = match event {
                Event::Token { stream, token } => {
                    self.listeners.token(stream, token);
                    continue;
                }
                Event::Chunk { stream, chunk } if self.listeners.chunk(stream, &chunk) => continue,
                Event::Failed { stream, error } if self.listeners.failed(stream, &error) => continue,
                Event::Chunk { stream, chunk } => {
                    let is_over = chunk.finish.is_some();
                    let Some(ticket) = self.tickets.get(&stream) else { continue };
                    (stream, produced(*ticket, chunk), is_over)
                }
                Event::Verified { stream, verified } => {
                    let Some(ticket) = self.tickets.get(&stream) else { continue };
                    let input = Input::Verified {
                        ticket: *ticket,
                        digests: verified.chunk_digests,
                        diverged: verified.diverged.map(u64::from),
                        finish: verified.finish.unwrap_or(Finish::Running),
                    };
                    (stream, input, true)
                }
                Event::Failed { stream, error } => {
                    let Some(ticket) = self.tickets.get(&stream) else { continue };
                    (stream, Input::RunFailed { ticket: *ticket, refusal: run_failed(&error) }, true)
                }
            };
            if is_over {
                self.forget(stream);
            }
            report(Report::Run(input));
        }
        went
    }

    /// Ends runs that have waited too long for credit.
    pub(super) fn give_up_unpaid(&mut self, report: &dyn Fn(Report)) {
        let waiting: Vec<StreamId> = self.server.parked().collect();
        self.parked.retain(|stream, _| waiting.contains(stream));
        for stream in waiting {
            let since = *self.parked.entry(stream).or_insert_with(Instant::now);
            let Some(ticket) = self.tickets.get(&stream).copied() else { continue };
            if since.elapsed() < CREDIT_WAIT {
                continue;
            }
            self.server.stop(stream);
            self.forget(stream);
            let message = format!("no payment for {} s", CREDIT_WAIT.as_secs());
            let refusal = Refusal::new(RefusalCode::ExposureExceeded, message, "answer each chunk with a voucher");
            report(Report::Run(Input::RunFailed { ticket, refusal }));
        }
    }
}

fn produced(ticket: Ticket, chunk: Chunk) -> Input {
    let Chunk { index, tokens, digest, logprobs, finish } = chunk;
    Input::Produced { ticket, index, tokens, digest, logprobs, finish: finish.unwrap_or(Finish::Running) }
}

pub(super) fn run_failed(error: &RunError) -> Refusal {
    Refusal::new(RefusalCode::RunFailed, error.to_string(), "see the message; another machine would fail too")
}
