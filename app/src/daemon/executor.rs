//! The engine's own thread: runs what the node asks, a chunk at a time, within its credit.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use talkoo_base::{Digest, Finish, GenerateParams, ModelOffer, Refusal, RefusalCode};
use talkoo_engine::{Chunk, Engine, Kernel, Model, RunError, Task};
use talkoo_proof::{Input, Run, Ticket};

/// Runs that wait at most; the node's own limits are lower, so this never refuses an honest node.
const QUEUE_MAX: usize = 1_024;
/// A model that nobody used for so long is unloaded, in seconds.
const IDLE: Duration = Duration::from_secs(300);
/// Output tokens of the self-test: every kernel runs, and it costs a fraction of a second.
const SELF_TEST_TOKENS: u32 = 2;
/// Longest wait for credit before a run is given up: the engine is for others, too.
const CREDIT_WAIT: Duration = Duration::from_secs(6);

/// What the executor tells the node's loop.
pub(crate) enum Report {
    /// For the proof machine.
    Run(Input),
    /// A model was loaded and measured, or could not be.
    Loaded { name: String, offer: Result<ModelOffer, Refusal> },
}

#[derive(Default)]
struct State {
    queue: VecDeque<Order>,
    credits: BTreeMap<Ticket, u32>,
    current: Option<Ticket>,
    stop_current: bool,
    files: BTreeMap<Digest, PathBuf>,
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
    pub(crate) fn start(threads: usize, report: impl Fn(Report) + Send + 'static) -> std::io::Result<Self> {
        let shared: Shared = Arc::default();
        let worker = Worker { shared: shared.clone(), threads, report: Box::new(report), loaded: None };
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || worker.work())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where the file of a model is.
    pub(crate) fn add_model(&self, root: Digest, file: PathBuf) {
        lock(&self.shared).files.insert(root, file);
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
        self.shared.1.notify_all();
    }

    /// Allows so many chunks more.
    pub(crate) fn credit(&self, ticket: Ticket, chunks: u32) {
        *lock(&self.shared).credits.entry(ticket).or_default() += chunks;
        self.shared.1.notify_all();
    }

    /// Ends a run, waiting or under way.
    pub(crate) fn stop(&self, ticket: Ticket) {
        let mut state = lock(&self.shared);
        state.queue.retain(|order| !matches!(order, Order::Run(run) if run.ticket == ticket));
        state.credits.remove(&ticket);
        state.stop_current |= state.current == Some(ticket);
        self.shared.1.notify_all();
    }

    /// Ends the thread after the chunk it is at.
    pub(crate) fn end(&mut self) -> std::thread::Result<()> {
        let mut state = lock(&self.shared);
        (state.ended, state.stop_current) = (true, true);
        drop(state);
        self.shared.1.notify_all();
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

struct Worker {
    shared: Shared,
    threads: usize,
    report: Box<dyn Fn(Report) + Send>,
    loaded: Option<(Digest, Engine)>,
}

impl Worker {
    fn work(mut self) {
        while let Some(order) = self.next() {
            match order {
                Order::Load { name, root } => {
                    let offer = self.offer(root);
                    (self.report)(Report::Loaded { name, offer });
                }
                Order::Run(run) => {
                    let ticket = run.ticket;
                    if let Err(refusal) = self.run(&run) {
                        (self.report)(Report::Run(Input::RunFailed { ticket, refusal }));
                    }
                    let mut state = lock(&self.shared);
                    (state.current, state.stop_current) = (None, false);
                    state.credits.remove(&ticket);
                }
            }
        }
    }

    /// Waits for something to do; re-runs first, for a whole audit hangs on them.
    fn next(&mut self) -> Option<Order> {
        let mut state = lock(&self.shared);
        let mut idle_since = Instant::now();
        loop {
            if state.ended {
                return None;
            }
            let rerun = |o: &Order| matches!(o, Order::Run(run) if run.rerun.is_some());
            let at = state.queue.iter().position(rerun).unwrap_or(0);
            if let Some(order) = state.queue.remove(at) {
                if let Order::Run(run) = &order {
                    state.current = Some(run.ticket);
                }
                return Some(order);
            }
            let waited = self.shared.1.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() && idle_since.elapsed() >= IDLE {
                self.loaded = None;
                idle_since = Instant::now();
            }
        }
    }

    fn engine(&mut self, root: Digest) -> Result<&mut Engine, Refusal> {
        if self.loaded.as_ref().is_none_or(|(loaded, _)| *loaded != root) {
            self.loaded = None;
            let file = lock(&self.shared).files.get(&root).cloned();
            let file = file.ok_or_else(|| {
                Refusal::new(RefusalCode::UnknownModel, "the model is not on this machine", "pull it first")
            })?;
            let model = Model::load(&file).map_err(|e| {
                Refusal::new(RefusalCode::RunFailed, format!("cannot load the model: {e}"), "pull it again")
            })?;
            self.loaded = Some((root, Engine::new(Arc::new(model), self.threads)));
        }
        Ok(&mut self.loaded.as_mut().expect("loaded just above").1)
    }

    fn offer(&mut self, root: Digest) -> Result<ModelOffer, Refusal> {
        let engine = self.engine(root)?;
        self_test(engine)?;
        let speed = engine.measure();
        Ok(ModelOffer {
            program: root,
            context: engine.model().context_max(),
            prefill_mtps: speed.prefill_milli_tps,
            decode_mtps: speed.decode_milli_tps,
        })
    }

    fn run(&mut self, run: &Run) -> Result<(), Refusal> {
        let task = Task {
            prompt: run.work.prompt.clone(),
            params: run.work.params.clone(),
            seed: run.work.seed,
            trace_id: run.trace_id,
        };
        let ticket = run.ticket;
        let shared = self.shared.clone();
        if let Some(tokens) = &run.rerun {
            let found = self.engine(run.work.program)?.verify(&task, tokens).map_err(|e| run_failed(&e))?;
            (self.report)(Report::Run(Input::Verified {
                ticket,
                digests: found.chunk_digests,
                diverged: found.diverged.map(u64::from),
                finish: found.finish.unwrap_or(Finish::Running),
            }));
            return Ok(());
        }
        self.engine(run.work.program)?;
        let Self { report, loaded, .. } = self;
        let engine = &mut loaded.as_mut().expect("loaded just above").1;
        let mut end = None;
        let mut on_chunk = |chunk: &Chunk| {
            if let Err(why) = take_credit(&shared, ticket) {
                end = Some(why);
                return ControlFlow::Break(());
            }
            report(Report::Run(Input::Produced {
                ticket,
                index: chunk.index,
                tokens: chunk.tokens.clone(),
                digest: chunk.digest,
                finish: chunk.finish.unwrap_or(Finish::Running),
            }));
            ControlFlow::Continue(())
        };
        engine.generate(&task, &mut |_| (), &mut on_chunk).map_err(|e| run_failed(&e))?;
        match end {
            Some(End::Unpaid) => {
                let message = format!("no payment for {} s", CREDIT_WAIT.as_secs());
                Err(Refusal::new(RefusalCode::ExposureExceeded, message, "answer each chunk with a voucher"))
            }
            Some(End::Stopped) | None => Ok(()),
        }
    }
}

/// Why a run ends before its output does.
enum End {
    Stopped,
    Unpaid,
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

/// Takes one credit, or waits for it.
fn take_credit(shared: &Shared, ticket: Ticket) -> Result<(), End> {
    let mut state = lock(shared);
    let deadline = Instant::now() + CREDIT_WAIT;
    loop {
        if state.stop_current || state.ended {
            return Err(End::Stopped);
        }
        if let Some(credit) = state.credits.get_mut(&ticket).filter(|c| **c > 0) {
            *credit -= 1;
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(End::Unpaid);
        }
        state = shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}
