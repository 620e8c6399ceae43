//! The engine's own thread: runs side by side what the node asks, each within its credit.

use super::loaded::Loaded;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use talkoo_base::{Digest, Finish, GenerateParams, ModelOffer, Refusal, RefusalCode, sha256};
use talkoo_engine::{Chunk, Engine, Event, Kernel, RunError, Scope, StreamId, Task};
use talkoo_proof::{Input, Run, Ticket};

/// Runs that wait at most; the node's own limits are lower, so this never refuses an honest node.
const QUEUE_MAX: usize = 1_024;
/// A model that nobody used for so long is unloaded.
const IDLE: Duration = Duration::from_secs(300);
/// An engine that had nothing to do for so long writes its model's image.
const IMAGE_AFTER: Duration = Duration::from_secs(30);
/// Output tokens of the self-test: every kernel runs, and it costs a fraction of a second.
const SELF_TEST_TOKENS: u32 = 2;
/// Longest wait for credit before a run is given up: its memory is for others, too.
const CREDIT_WAIT: Duration = Duration::from_secs(6);

/// What the executor tells the node's loop.
pub(crate) enum Report {
    /// For the proof machine.
    Run(Input),
    /// A model was loaded and measured, or could not be.
    Loaded { name: String, offer: Result<ModelOffer, Refusal> },
    /// The engine's thread ended with a panic.
    Died,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Order>,
    /// Credit of runs that wait in the queue, and more for runs under way.
    credits: BTreeMap<Ticket, u32>,
    stops: Vec<Ticket>,
    /// Of each model its file and the root that it must turn out to have.
    files: BTreeMap<Digest, (PathBuf, Digest)>,
    /// Counts what the loop asked, for a thread that waits for something new.
    asked: u64,
    ended: bool,
}

enum Order {
    Run(Box<Run>),
    Load { name: String, root: Digest },
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// The handle that the loop holds.
pub(crate) struct Executor {
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    // A panic in the engine is reported by the thread's end; the state itself is always whole.
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Executor {
    /// Starts the thread. `report` may block: that is how a slow node slows its engine.
    pub(crate) fn start(threads: usize, report: impl Fn(Report) + Send + Sync + 'static) -> std::io::Result<Self> {
        let shared: Shared = Arc::default();
        let report: Arc<dyn Fn(Report) + Send + Sync> = Arc::new(report);
        let worker = Worker { shared: shared.clone(), threads, report: report.clone(), loaded: None };
        let work = move || {
            if catch_unwind(AssertUnwindSafe(|| worker.work())).is_err() {
                report(Report::Died);
            }
        };
        let thread = std::thread::Builder::new().name("engine".into()).spawn(work)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where the file of a model is, and the root that it must turn out to have.
    pub(crate) fn add_model(&self, root: Digest, file: PathBuf, must_be: Digest) {
        lock(&self.shared).files.insert(root, (file, must_be));
    }

    /// Forgets a model.
    pub(crate) fn remove_model(&self, root: &Digest) {
        lock(&self.shared).files.remove(root);
    }

    /// Loads and measures a model; the answer is a [`Report::Loaded`].
    pub(crate) fn load(&self, name: String, root: Digest) {
        self.push(Order::Load { name, root });
    }

    /// Runs something; answers are [`Report::Run`].
    pub(crate) fn run(&self, run: Box<Run>) {
        self.push(Order::Run(run));
    }

    fn push(&self, order: Order) {
        let mut state = lock(&self.shared);
        if state.queue.len() < QUEUE_MAX {
            state.queue.push_back(order);
        }
        self.ring(state);
    }

    /// Wakes the thread.
    fn ring(&self, mut state: MutexGuard<'_, State>) {
        state.asked += 1;
        drop(state);
        self.shared.1.notify_all();
    }

    /// Allows so many chunks more.
    pub(crate) fn credit(&self, ticket: Ticket, chunks: u32) {
        let mut state = lock(&self.shared);
        *state.credits.entry(ticket).or_default() += chunks;
        self.ring(state);
    }

    /// Ends a run, waiting or under way.
    pub(crate) fn stop(&self, ticket: Ticket) {
        let mut state = lock(&self.shared);
        state.queue.retain(|order| !matches!(order, Order::Run(run) if run.ticket == ticket));
        state.credits.remove(&ticket);
        state.stops.push(ticket);
        self.ring(state);
    }

    /// Ends the thread after the batch it is at.
    pub(crate) fn end(&mut self) -> std::thread::Result<()> {
        let mut state = lock(&self.shared);
        state.ended = true;
        self.ring(state);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

struct Worker {
    shared: Shared,
    threads: usize,
    report: Arc<dyn Fn(Report) + Send + Sync>,
    loaded: Option<Loaded>,
}

impl Worker {
    fn work(mut self) {
        let mut idle_since = Instant::now();
        while let Some(asked) = self.settle() {
            while let Some(order) = self.next() {
                self.begin(order);
                self.settle();
            }
            self.give_up_unpaid();
            if self.step() {
                idle_since = Instant::now();
                continue;
            }
            self.rest(asked);
            let Some(loaded) = self.loaded.as_mut().filter(|l| l.server.is_empty()) else { continue };
            if idle_since.elapsed() >= IMAGE_AFTER {
                loaded.save_image();
            }
            if idle_since.elapsed() >= IDLE {
                self.loaded = None;
            }
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
        if let Some(loaded) = &mut self.loaded {
            stops.iter().for_each(|ticket| loaded.stop(ticket));
            let runs = &loaded.runs;
            for (ticket, chunks) in state.credits.extract_if(.., |ticket, _| runs.contains_key(ticket)) {
                loaded.server.credit(loaded.runs[&ticket], chunks);
            }
        }
        // A run is queued before its credit comes: what is left over is of runs that are over.
        let waits = |ticket: &Ticket| state.queue.iter().any(|o| matches!(o, Order::Run(run) if run.ticket == *ticket));
        state.credits.retain(|ticket, _| waits(ticket));
        Some(state.asked)
    }

    /// The next order that can begin now: a re-run first, for a whole audit hangs on it. Runs of
    /// another model wait until nobody uses the one in memory.
    fn next(&self) -> Option<Order> {
        let mut state = lock(&self.shared);
        let can = |order: &Order| match (order, &self.loaded) {
            (Order::Load { root, .. }, Some(loaded)) => loaded.server.is_empty() || loaded.root == *root,
            (Order::Run(run), Some(loaded)) if loaded.root == run.work.program => {
                loaded.server.has_room(positions(run))
            }
            (Order::Run(_), Some(loaded)) => loaded.server.is_empty(),
            (_, None) => true,
        };
        let rerun = |order: &Order| matches!(order, Order::Run(run) if run.rerun.is_some());
        let at = state.queue.iter().position(|order| rerun(order) && can(order));
        // Otherwise strictly in turn, so that no large run and no other model waits for ever.
        let at = at.or_else(|| state.queue.front().filter(|order| can(order)).map(|_| 0))?;
        state.queue.remove(at)
    }

    fn begin(&mut self, order: Order) {
        match order {
            Order::Load { name, root } => {
                let offer = self.offer(root);
                (self.report)(Report::Loaded { name, offer });
            }
            Order::Run(run) => {
                let ticket = run.ticket;
                if let Err(refusal) = self.open(*run) {
                    lock(&self.shared).credits.remove(&ticket);
                    (self.report)(Report::Run(Input::RunFailed { ticket, refusal }));
                }
            }
        }
    }

    fn open(&mut self, run: Run) -> Result<(), Refusal> {
        let Run { ticket, client, work, trace_id, rerun } = run;
        let loaded = self.load(work.program)?;
        let task = Task { prompt: work.prompt, params: work.params, seed: work.seed, trace_id };
        let scope = Scope(sha256(&[client.as_bytes()]));
        let stream = match rerun {
            Some(tokens) => loaded.server.verify(task, scope, tokens),
            None => loaded.server.generate(task, scope, Some(0)),
        };
        let stream = stream.map_err(|e| run_failed(&e))?;
        loaded.runs.insert(ticket, stream);
        loaded.tickets.insert(stream, ticket);
        Ok(())
    }

    /// The model, loaded.
    fn load(&mut self, root: Digest) -> Result<&mut Loaded, Refusal> {
        if self.loaded.as_ref().is_none_or(|loaded| loaded.root != root) {
            self.loaded = None;
            let file = lock(&self.shared).files.get(&root).cloned();
            let (file, must_be) = file.ok_or_else(|| {
                Refusal::new(RefusalCode::UnknownModel, "the model is not on this machine", "pull it first")
            })?;
            self.loaded = Some(Loaded::open(root, file, must_be, self.threads)?);
        }
        Ok(self.loaded.as_mut().expect("loaded just above"))
    }

    fn offer(&mut self, root: Digest) -> Result<ModelOffer, Refusal> {
        let engine = self.load(root)?.server.engine();
        self_test(engine)?;
        let speed = engine.measure();
        Ok(ModelOffer {
            program: root,
            context: engine.model().context_max(),
            prefill_mtps: speed.prefill_milli_tps,
            decode_mtps: speed.decode_milli_tps,
        })
    }

    /// Runs one batch; `false` if there was nothing to run.
    fn step(&mut self) -> bool {
        let Some(loaded) = &mut self.loaded else { return false };
        let mut events = Vec::new();
        let went = loaded.server.step(&mut events);
        for event in events {
            let (stream, input, is_over) = match event {
                Event::Token { .. } => continue,
                Event::Chunk { stream, chunk } => {
                    let is_over = chunk.finish.is_some();
                    let Some(ticket) = loaded.tickets.get(&stream) else { continue };
                    (stream, produced(*ticket, chunk), is_over)
                }
                Event::Verified { stream, verified } => {
                    let Some(ticket) = loaded.tickets.get(&stream) else { continue };
                    let input = Input::Verified {
                        ticket: *ticket,
                        digests: verified.chunk_digests,
                        diverged: verified.diverged.map(u64::from),
                        finish: verified.finish.unwrap_or(Finish::Running),
                    };
                    (stream, input, true)
                }
                Event::Failed { stream, error } => {
                    let Some(ticket) = loaded.tickets.get(&stream) else { continue };
                    (stream, Input::RunFailed { ticket: *ticket, refusal: run_failed(&error) }, true)
                }
            };
            if is_over {
                loaded.forget(stream);
            }
            (self.report)(Report::Run(input));
        }
        went
    }

    /// Ends runs that have waited too long for credit.
    fn give_up_unpaid(&mut self) {
        let Some(loaded) = &mut self.loaded else { return };
        let waiting: Vec<StreamId> = loaded.server.parked().collect();
        loaded.parked.retain(|stream, _| waiting.contains(stream));
        for stream in waiting {
            let since = *loaded.parked.entry(stream).or_insert_with(Instant::now);
            let Some(ticket) = loaded.tickets.get(&stream).copied() else { continue };
            if since.elapsed() < CREDIT_WAIT {
                continue;
            }
            loaded.server.stop(stream);
            loaded.forget(stream);
            let message = format!("no payment for {} s", CREDIT_WAIT.as_secs());
            let refusal = Refusal::new(RefusalCode::ExposureExceeded, message, "answer each chunk with a voucher");
            (self.report)(Report::Run(Input::RunFailed { ticket, refusal }));
        }
    }

    /// Waits until more than `asked` is asked.
    fn rest(&self, asked: u64) {
        let longest = match &self.loaded {
            Some(loaded) if !loaded.parked.is_empty() => CREDIT_WAIT / 4,
            Some(loaded) if !loaded.is_saved => IMAGE_AFTER,
            _ => IDLE,
        };
        let state = lock(&self.shared);
        let waited = self.shared.1.wait_timeout_while(state, longest, |state| state.asked == asked);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Positions that a run may come to hold.
fn positions(run: &Run) -> usize {
    let output = run.rerun.as_ref().map_or(run.work.params.max_tokens as usize, Vec::len);
    run.work.prompt.len().saturating_add(output)
}

fn produced(ticket: Ticket, chunk: Chunk) -> Input {
    let Chunk { index, tokens, digest, finish } = chunk;
    Input::Produced { ticket, index, tokens, digest, finish: finish.unwrap_or(Finish::Running) }
}

/// Runs a few tokens with the kernels that will be used and with the portable ones: a machine whose
/// vector units or memory compute other numbers must not offer, for it would be convicted for them.
fn self_test(engine: &mut Engine) -> Result<(), Refusal> {
    let params = GenerateParams { max_tokens: SELF_TEST_TOKENS, ignore_eos: true, ..GenerateParams::default() };
    let task = Task { prompt: (1..9).collect(), params, seed: 1, trace_id: Digest::ZERO };
    let mut portable = Engine::with_kernel(engine.model().clone(), 1, Kernel::Scalar);
    let run = |engine: &mut Engine| {
        engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).map_err(|e| run_failed(&e))
    };
    if run(engine)? == run(&mut portable)? {
        return Ok(());
    }
    let message = format!("the {} kernels and the portable ones give different numbers", engine.kernel_name());
    Err(Refusal::new(RefusalCode::SelfTestFailed, message, "test this machine's memory; it offers nothing until then"))
}

fn run_failed(error: &RunError) -> Refusal {
    Refusal::new(RefusalCode::RunFailed, error.to_string(), "see the message; another machine would fail too")
}
