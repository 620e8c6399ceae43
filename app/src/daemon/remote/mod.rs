//! Another program's engine, offered in the float tier: any server that speaks OpenAI's completions, as vLLM,
//! SGLang, llama-server, Ollama and LM Studio do.
//!
//! ```text
//! Effect::Run ─► task ─► POST /v1/completions ─► events ─► tokens ─► chunks of 32, each for one credit
//!                  └──────────────── Input::Produced, Input::RunFailed ◄─────────┘
//! ```
//! A task of its own for each run, which ends with the run, its stop, or the node. Nothing here is exact: the
//! digests commit to tokens alone, and the same request may give another answer a second later.

mod http;
mod output;
mod run;
mod server;
mod sse;
mod words;

pub(crate) use server::{Key, Room, Server};
pub(crate) use sse::Events;

use super::Event;
use super::executor::Report;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_proof::{Input, Run, Ticket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs at once, those included that are just ending; an engine has at most 64 slots.
const RUNS_MAX: usize = 128;

/// Pause between two tries to reach a server that does not answer.
const RETRY: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 15_000 });

/// A run that did not work out. The client sees it, so it names no address.
fn failed(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::RunFailed, message, "another worker may run it; its owner sees the engine's log")
}

/// What a run needs of its server.
struct Backend {
    server: Server,
    /// Whether it takes token ids as a prompt.
    takes_ids: AtomicBool,
    /// Whether somebody is measuring it.
    is_loading: AtomicBool,
}

/// A run under way.
struct Active {
    credit: Arc<Semaphore>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The handle that the loop holds.
pub(crate) struct Remote {
    backend: Arc<Backend>,
    inbox: mpsc::Sender<Event>,
    tasks: TaskTracker,
    stop: CancellationToken,
    runs: BTreeMap<Ticket, Active>,
}

impl Remote {
    pub(crate) fn new(server: Server, inbox: mpsc::Sender<Event>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let backend =
            Arc::new(Backend { server, takes_ids: AtomicBool::new(true), is_loading: AtomicBool::new(false) });
        Self { backend, inbox, tasks, stop, runs: BTreeMap::new() }
    }

    /// Runs that the server takes side by side.
    pub(crate) fn slots(&self) -> u32 {
        self.backend.server.room.slots
    }

    /// Asks the server for some short answers, again and again until it gives them; its offer is a [`Report::Loaded`],
    /// the first failure a [`Report::Withdrawn`].
    pub(crate) fn load(&self) {
        if self.backend.is_loading.swap(true, Ordering::Relaxed) {
            return;
        }
        let (backend, inbox, stop) = (self.backend.clone(), self.inbox.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            // A closed inbox means the node is stopping.
            let load = async {
                let (name, program) = (backend.server.model.clone(), backend.server.program());
                let mut offer = run::measure(&backend).await;
                if let Err(refusal) = &offer {
                    let (name, refusal) = (name.clone(), refusal.clone());
                    inbox.send(Event::Report(Report::Withdrawn { name, program, refusal })).await.ok();
                }
                while offer.is_err() {
                    tokio::time::sleep(RETRY).await;
                    offer = run::measure(&backend).await;
                }
                backend.is_loading.store(false, Ordering::Relaxed);
                inbox.send(Event::Report(Report::Loaded { name, offer })).await.ok();
            };
            tokio::select! { () = stop.cancelled() => {}, () = load => {} }
        });
    }

    /// After a run that failed here the server has to show that it still answers.
    pub(crate) fn heed(&self, input: &Input) {
        if let Input::RunFailed { ticket, refusal } = input
            && refusal.code == RefusalCode::RunFailed
            && self.runs.contains_key(ticket)
        {
            self.load();
        }
    }

    /// Runs something; answers are [`Report::Run`].
    pub(crate) fn run(&mut self, run: Run) {
        self.runs.retain(|_, active| !active.task.is_finished());
        let (ticket, credit, stop) = (run.ticket, Arc::new(Semaphore::new(0)), self.stop.child_token());
        let (backend, inbox) = (self.backend.clone(), self.inbox.clone());
        let (allowed, stopped, is_full) = (credit.clone(), stop.clone(), self.runs.len() >= RUNS_MAX);
        let task = self.tasks.spawn(async move {
            let work = async {
                if is_full {
                    return Err(failed("too many runs at once"));
                }
                run::run(&backend, run, &allowed, &inbox).await
            };
            let done = tokio::select! { () = stopped.cancelled() => return, done = work => done };
            if let Err(refusal) = done {
                inbox.send(Event::Report(Report::Run(Input::RunFailed { ticket, refusal }))).await.ok();
            }
        });
        self.runs.insert(ticket, Active { credit, stop, task });
    }

    /// Allows so many chunks more; `false` if the run is not here.
    pub(crate) fn credit(&self, ticket: &Ticket, chunks: u32) -> bool {
        let active = self.runs.get(ticket);
        active.inspect(|active| active.credit.add_permits(chunks as usize)).is_some()
    }

    /// Ends a run and closes its connection; `false` if it is not here.
    pub(crate) fn stop(&mut self, ticket: &Ticket) -> bool {
        let active = self.runs.remove(ticket);
        active.inspect(|active| active.stop.cancel()).is_some()
    }
}

#[cfg(test)]
mod tests;
