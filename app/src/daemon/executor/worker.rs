//! The engines' own thread: begins what can begin, then one batch of every model in turn.

use super::encoders::{Encoders, cached, with_it};
use super::loaded::{self, Loaded};
use super::machine::Cores;
use super::models::Models;
use super::offer::offer;
use super::{Allowance, Order, Report, Shared, Told, lock};
use std::sync::{Arc, PoisonError};
use talkoo_base::{Digest, Kind, Refusal, RefusalCode, Tier};
use talkoo_proof::{Input, Run, Ticket};

pub(super) struct Worker {
    shared: Shared,
    allowance: Allowance,
    report: Arc<dyn Fn(Report) + Send + Sync>,
    models: Models,
    encoders: Encoders,
    cores: Cores,
}

impl Worker {
    pub(super) fn new(shared: Shared, allowance: Allowance, report: Arc<dyn Fn(Report) + Send + Sync>) -> Self {
        let models = Models::new(allowance.memory_bytes_max);
        Self { shared, allowance, report, models, encoders: Encoders::default(), cores: Cores::new(allowance.threads) }
    }

    pub(super) fn work(mut self) {
        while let Some(asked) = self.settle() {
            let mut took_long = false;
            while !took_long && let Some(order) = self.next() {
                // Vectors are made at once; then the other models have their turn.
                took_long = matches!(&order, Order::Run(run) if run.work.kind == Kind::Embed);
                self.begin(order);
                self.settle();
            }
            if !self.step() && !took_long {
                self.rest(asked);
            }
            self.models.tidy();
            self.encoders.tidy(loaded::IDLE);
        }
    }

    /// Passes stops and credits on to the runs under way. What was asked so far; `None` at the end.
    fn settle(&mut self) -> Option<u64> {
        let mut state = lock(&self.shared);
        let state = &mut *state;
        if state.ended {
            return None;
        }
        let stops = std::mem::take(&mut state.stops);
        for loaded in self.models.iter_mut() {
            stops.iter().for_each(|ticket| loaded.stop(ticket));
            let granted: Vec<_> = state.credits.extract_if(.., |ticket, _| loaded.runs(ticket)).collect();
            granted.iter().for_each(|(ticket, chunks)| loaded.credit(ticket, *chunks));
        }
        // A run is queued before its credit comes: what is left over is of runs that are over.
        let waits = |ticket: &Ticket| state.queue.iter().any(|o| matches!(o, Order::Run(run) if run.ticket == *ticket));
        state.credits.retain(|ticket, _| waits(ticket));
        Some(state.asked)
    }

    fn next(&self) -> Option<Order> {
        lock(&self.shared).next(&self.models)
    }

    fn begin(&mut self, order: Order) {
        match order {
            Order::Load { name, root } => {
                let threads = self.allowance.threads;
                let file = lock(&self.shared).files.get(&root).filter(|file| file.is_encoder).cloned();
                if let Some(file) = file {
                    let offer = self.encoders.offer(root, || Ok(file), threads);
                    return (self.report)(Report::Loaded { name, offer });
                }
                let offer = self.load(root).and_then(|loaded| offer(root, loaded.engine(threads)));
                (self.report)(Report::Loaded { name, offer });
            }
            Order::Run(run) if run.work.kind == Kind::Embed => self.embed(*run),
            Order::Run(run) if run.work.tier == Tier::Float => {
                let ticket = run.ticket;
                let threads = self.allowance.threads;
                let weighed = self.load(run.work.program).and_then(|loaded| loaded.weigh(*run, threads));
                let input = match weighed {
                    Ok(likeness) => Input::Weighed { ticket, likeness },
                    Err(refusal) => Input::RunFailed { ticket, refusal },
                };
                (self.report)(Report::Run(input));
            }
            Order::Lend { root, to } => {
                // Who asked may have given up.
                to.send(self.load(root).map(|loaded| loaded.model())).ok();
            }
            Order::Direct(direct) => match self.load(direct.root) {
                Ok(loaded) => loaded.direct(*direct),
                Err(refusal) => drop(direct.to.try_send((direct.choice, Told::Failed(refusal)))),
            },
            Order::Run(run) => {
                let ticket = run.ticket;
                let begun = self.load(run.work.program).and_then(|loaded| loaded.begin(*run));
                if let Err(refusal) = begun {
                    lock(&self.shared).credits.remove(&ticket);
                    (self.report)(Report::Run(Input::RunFailed { ticket, refusal }));
                }
            }
        }
    }

    /// Embeds a text, and those that wait for the same encoder.
    fn embed(&mut self, run: Run) {
        let (root, most) = (run.work.program, self.allowance.threads);
        let is_for_others = matches!(run.ticket, Ticket::Sale(_));
        let (known, runs) = {
            let mut state = lock(&self.shared);
            (state.files.get(&root).cloned(), with_it(&mut state, run, most))
        };
        let threads = if is_for_others { self.threads_left() } else { most };
        let file = || match known {
            Some(file) if file.is_encoder => Ok(file),
            Some(_) => Err(other_kind("this model generates text and makes no vectors")),
            // Nobody else has a model of this machine computed that its owner does not offer.
            None if is_for_others => Err(unknown()),
            None => cached(&root).ok_or_else(unknown),
        };
        for input in self.encoders.run(root, file, runs, threads) {
            (self.report)(Report::Run(input));
        }
    }

    /// Threads for what others pay for.
    fn threads_left(&mut self) -> usize {
        if self.allowance.is_polite { self.cores.left() } else { self.allowance.threads }
    }

    /// The model, loaded.
    fn load(&mut self, root: Digest) -> Result<&mut Loaded, Refusal> {
        let file = lock(&self.shared).files.get(&root).cloned();
        if file.as_ref().is_some_and(|file| file.is_encoder) {
            // Before other models make way for it.
            return Err(other_kind("this model makes vectors and generates no text"));
        }
        self.models.load(root, self.allowance.threads, || file.ok_or_else(unknown))
    }

    /// Runs one batch of every model; `false` if there was nothing to run.
    fn step(&mut self) -> bool {
        let left = self.threads_left();
        let mut went = false;
        for loaded in self.models.iter_mut() {
            loaded.give_up_unpaid(&*self.report);
            let threads = if loaded.is_for_others() { left } else { self.allowance.threads };
            went |= loaded.step(threads, &*self.report);
        }
        went
    }

    /// Waits until more than `asked` is asked.
    fn rest(&self, asked: u64) {
        let longest = self.models.iter().map(Loaded::rests).min().unwrap_or(loaded::IDLE);
        let state = lock(&self.shared);
        let waited = self.shared.1.wait_timeout_while(state, longest, |state| state.asked == asked);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

fn unknown() -> Refusal {
    Refusal::new(RefusalCode::UnknownModel, "the model is not on this machine", "pull it first")
}

fn other_kind(message: &str) -> Refusal {
    Refusal::new(RefusalCode::UnknownModel, message, "ask another model")
}
