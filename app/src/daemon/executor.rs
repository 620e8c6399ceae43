//! The handle to the engines' own thread, which runs side by side what the node asks, each within its
//! credit. What is asked waits here in turn.

mod direct;
mod encoders;
mod loaded;
mod machine;
mod models;
mod offer;
mod worker;

pub(crate) use direct::{Direct, Told};
pub(super) use loaded::CREDIT_WAIT;

pub(crate) use machine::{Load, memory_bytes};

use models::Models;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use talkoo_base::{Digest, Kind, ModelOffer, Refusal, RefusalCode};
use talkoo_engine::{KvFormat, Model};
use talkoo_proof::{Input, Run, Ticket};
use worker::Worker;

/// Runs that wait at most; the node's own limits are lower, so this never refuses an honest node. And as many for programs of
/// this machine, which take no place from those.
const QUEUE_MAX: usize = 1_024;
/// How long somebody waits who wants a model for himself.
const LEND_WAIT: Duration = Duration::from_secs(120);
/// What the engines may use of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) threads: usize,
    /// Bytes of models in memory, the room for keys and values of their runs included.
    pub(crate) memory_bytes_max: u64,
    /// Whether paid runs leave the cores alone that other programs need.
    pub(crate) is_polite: bool,
}

/// What the executor tells the node's loop.
pub(crate) enum Report {
    /// For the proof machine.
    Run(Input),
    /// A model was loaded and measured, or could not be.
    Loaded { name: String, offer: Result<ModelOffer, Refusal> },
    /// Another program's engine does not answer; what was offered of it is not any more.
    Withdrawn { name: String, program: Digest, refusal: Refusal },
    /// The engine's thread ended with a panic.
    Died,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Order>,
    /// Credit of runs that wait in the queue, and more for runs under way.
    credits: BTreeMap<Ticket, u32>,
    stops: Vec<Ticket>,
    files: BTreeMap<Digest, ModelFile>,
    /// Counts what the loop asked, for a thread that waits for something new.
    asked: u64,
    ended: bool,
}

/// Where a model comes from.
#[derive(Clone)]
struct ModelFile {
    path: PathBuf,
    /// How its keys and values are kept.
    kv: KvFormat,
    /// The root that it must turn out to have; nothing for what only weighs answers of the float tier.
    must_be: Option<Digest>,
    bytes: u64,
    /// Whether it makes vectors.
    is_encoder: bool,
}

impl ModelFile {
    fn encoder(path: PathBuf, root: Digest, bytes: u64) -> Self {
        Self { path, kv: KvFormat::default(), must_be: Some(root), bytes, is_encoder: true }
    }
}

enum Order {
    Run(Box<Run>),
    /// For somebody on this machine, without leases and receipts.
    Direct(Box<Direct>),
    Load {
        name: String,
        root: Digest,
    },
    /// For a thread that runs the model by itself.
    Lend {
        root: Digest,
        to: Sender<Result<Arc<Model>, Refusal>>,
    },
}

impl Order {
    fn root(&self) -> Digest {
        match self {
            Self::Run(run) => run.work.program,
            Self::Direct(direct) => direct.root,
            Self::Load { root, .. } | Self::Lend { root, .. } => *root,
        }
    }

    fn is_rerun(&self) -> bool {
        matches!(self, Self::Run(run) if run.rerun.is_some())
    }

    /// Whether an encoder does it, at once; or nothing does, for text is asked of an encoder.
    fn is_for_encoder(&self, files: &BTreeMap<Digest, ModelFile>) -> bool {
        let is_embed = matches!(self, Self::Run(run) if run.work.kind == Kind::Embed);
        is_embed || files.get(&self.root()).is_some_and(|file| file.is_encoder)
    }

    fn chance(&self, models: &Models, files: &BTreeMap<Digest, ModelFile>) -> Chance {
        if self.is_for_encoder(files) {
            return Chance::Now;
        }
        let (can, otherwise) = match (models.get(&self.root()), self) {
            (Some(loaded), Self::Run(run)) => (loaded.has_room(run), Chance::NoRoom),
            (Some(loaded), Self::Direct(direct)) => (loaded.has_room_for(&direct.task), Chance::NoRoom),
            (Some(_), Self::Load { .. } | Self::Lend { .. }) => (true, Chance::NoRoom),
            (None, _) => (models.fits(files.get(&self.root()).map_or(0, |file| file.bytes)), Chance::NoMemory),
        };
        if can { Chance::Now } else { otherwise }
    }
}

/// Whether an order can begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chance {
    /// Perhaps after idle models have gone.
    Now,
    /// Its model has no room for one more run.
    NoRoom,
    /// Its model has to wait until others are idle.
    NoMemory,
}

/// The place of the next order that can begin, of all that wait: model, whether it is a re-run, chance.
/// A re-run goes first, for a whole audit hangs on it. Otherwise strictly in turn, so that no large run and
/// no other model waits for ever: behind a run without room wait those of its model, behind one without
/// memory all.
fn turn<N: Ord + Copy>(waiting: &[(N, bool, Chance)]) -> Option<usize> {
    if let Some(rerun) = waiting.iter().position(|(_, is_rerun, chance)| *is_rerun && *chance == Chance::Now) {
        return Some(rerun);
    }
    let mut full = BTreeSet::new();
    for (at, (model, _, chance)) in waiting.iter().enumerate() {
        match chance {
            Chance::Now if !full.contains(model) => return Some(at),
            Chance::NoMemory => return None,
            Chance::Now | Chance::NoRoom => drop(full.insert(*model)),
        }
    }
    None
}

impl State {
    /// The next order that can begin now.
    fn next(&mut self, models: &Models) -> Option<Order> {
        let ask = |order: &Order| (order.root(), order.is_rerun(), order.chance(models, &self.files));
        let at = turn(&self.queue.iter().map(ask).collect::<Vec<_>>())?;
        self.queue.remove(at)
    }
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// Lends models to threads that run them by themselves.
#[derive(Clone)]
pub(crate) struct Lender(Shared);

impl Lender {
    /// A model, loaded if it is not. Waits for its turn among what the engines do.
    ///
    /// # Errors
    /// If it is not here, can't be loaded, or the node stops.
    pub(crate) fn lend(&self, root: Digest) -> Result<Arc<Model>, Refusal> {
        let (to, lent) = channel();
        push(&self.0, Order::Lend { root, to });
        let none = || Refusal::new(RefusalCode::Busy, "the engines did not lend the model in time", "");
        lent.recv_timeout(LEND_WAIT).unwrap_or_else(|_| Err(none()))
    }

    /// Runs something for somebody on this machine, in turn with all else; what comes is told to [`Direct::to`].
    ///
    /// # Errors
    /// If too much waits already.
    pub(crate) fn run(&self, direct: Direct) -> Result<(), Refusal> {
        // Who does not listen any more makes room.
        lock(&self.0).queue.retain(|order| !matches!(order, Order::Direct(direct) if direct.to.is_closed()));
        let busy = || Refusal::new(RefusalCode::Busy, "too much waits for the engines", "ask again in a moment");
        if push(&self.0, Order::Direct(Box::new(direct))) { Ok(()) } else { Err(busy()) }
    }
}

/// The handle that the loop holds.
pub(crate) struct Executor {
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    // A panic in the engine is reported by the thread's end; the state itself is always whole.
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets an order wait, unless too much of its kind does.
fn push(shared: &Shared, order: Order) -> bool {
    let mut state = lock(shared);
    let is_direct = |order: &Order| matches!(order, Order::Direct(_));
    let kind = is_direct(&order);
    let has_room = state.queue.iter().filter(|order| is_direct(order) == kind).count() < QUEUE_MAX;
    if has_room && !state.ended {
        state.queue.push_back(order);
    }
    ring(shared, state);
    has_room
}

/// Wakes the thread.
fn ring(shared: &Shared, mut state: MutexGuard<'_, State>) {
    state.asked += 1;
    drop(state);
    shared.1.notify_all();
}

impl Executor {
    /// Starts the thread. `report` may block: that is how a slow node slows its engine.
    pub(crate) fn start(
        allowance: Allowance,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let shared: Shared = Arc::default();
        let report: Arc<dyn Fn(Report) + Send + Sync> = Arc::new(report);
        let worker = Worker::new(shared.clone(), allowance, report.clone());
        let work = move || {
            if catch_unwind(AssertUnwindSafe(|| worker.work())).is_err() {
                report(Report::Died);
            }
        };
        let thread = std::thread::Builder::new().name("engine".into()).spawn(work)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where the file of a program is, its format, and the root that it must turn out to have.
    pub(crate) fn add_model(&self, root: Digest, path: PathBuf, kv: KvFormat, must_be: Digest) {
        // A file that is gone is an error when it is loaded.
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        lock(&self.shared).files.insert(root, ModelFile { path, kv, must_be: Some(must_be), bytes, is_encoder: false });
    }

    /// The same of an encoder.
    pub(crate) fn add_encoder(&self, root: Digest, path: PathBuf) {
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        lock(&self.shared).files.insert(root, ModelFile::encoder(path, root, bytes));
    }

    /// Weighs an answer of the float tier by the weights in a file, if it has any; the answer is a [`Report::Run`].
    pub(crate) fn weigh(&self, run: Box<Run>, path: PathBuf) {
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        let file = ModelFile { path, kv: KvFormat::default(), must_be: None, bytes, is_encoder: false };
        lock(&self.shared).files.insert(run.work.program, file);
        push(&self.shared, Order::Run(run));
    }

    /// Forgets a model.
    pub(crate) fn remove_model(&self, root: &Digest) {
        lock(&self.shared).files.remove(root);
    }

    /// For those who run models on threads of their own.
    pub(crate) fn lender(&self) -> Lender {
        Lender(self.shared.clone())
    }

    /// Loads and measures a model; the answer is a [`Report::Loaded`].
    pub(crate) fn load(&self, name: String, root: Digest) {
        push(&self.shared, Order::Load { name, root });
    }

    /// Runs something; answers are [`Report::Run`].
    pub(crate) fn run(&self, run: Box<Run>) {
        push(&self.shared, Order::Run(run));
    }

    /// Allows so many chunks more.
    pub(crate) fn credit(&self, ticket: Ticket, chunks: u32) {
        let mut state = lock(&self.shared);
        *state.credits.entry(ticket).or_default() += chunks;
        ring(&self.shared, state);
    }

    /// Ends a run, waiting or under way.
    pub(crate) fn stop(&self, ticket: Ticket) {
        let mut state = lock(&self.shared);
        state.queue.retain(|order| !matches!(order, Order::Run(run) if run.ticket == ticket));
        state.credits.remove(&ticket);
        state.stops.push(ticket);
        ring(&self.shared, state);
    }

    /// Ends the thread after the batch it is at.
    pub(crate) fn end(&mut self) -> std::thread::Result<()> {
        let mut state = lock(&self.shared);
        state.ended = true;
        // Who waits for a model waits no longer.
        state.queue.clear();
        ring(&self.shared, state);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_this_machine_take_no_place_from_paid_runs() {
        let shared: Shared = Arc::default();
        let lender = Lender(shared.clone());
        let ask = || {
            let (to, told) = tokio::sync::mpsc::channel(1);
            let task = talkoo_engine::Task {
                prompt: vec![1],
                params: talkoo_base::GenerateParams::default(),
                seed: 0,
                trace_id: Digest::ZERO,
            };
            let scope = talkoo_engine::Scope(Digest::ZERO);
            (lender.run(Direct { root: Digest::ZERO, task, scope, choice: 0, to }), told)
        };
        let mut listening: Vec<_> = (0..QUEUE_MAX).map(|_| ask()).collect();
        assert!(listening.iter().all(|(asked, _)| asked.is_ok()));
        assert_eq!(ask().0.unwrap_err().code, RefusalCode::Busy);
        assert!(push(&shared, Order::Load { name: "a".into(), root: Digest::ZERO }), "others have their own places");
        assert_eq!(lock(&shared).queue.len(), QUEUE_MAX + 1);
        listening.pop();
        assert!(ask().0.is_ok(), "who is gone made room");
    }

    #[test]
    fn orders_begin_in_turn() {
        use Chance::{NoMemory, NoRoom, Now};
        const RUN: bool = false;
        const RERUN: bool = true;
        type Case<'a> = (&'a [(char, bool, Chance)], Option<usize>);
        let cases: [Case; 9] = [
            (&[], None),
            (&[('a', RUN, Now), ('b', RUN, Now)], Some(0)),
            (&[('a', RUN, Now), ('b', RERUN, Now)], Some(1)),
            (&[('a', RUN, NoRoom), ('a', RUN, Now)], None),
            (&[('a', RUN, NoRoom), ('a', RUN, Now), ('b', RUN, Now)], Some(2)),
            (&[('a', RUN, NoMemory), ('b', RUN, Now)], None),
            (&[('a', RUN, NoMemory), ('b', RUN, Now), ('c', RERUN, Now)], Some(2)),
            (&[('a', RERUN, NoMemory), ('b', RERUN, NoRoom), ('c', RERUN, Now)], Some(2)),
            (&[('a', RUN, NoRoom), ('b', RUN, NoMemory), ('c', RUN, Now)], None),
        ];
        for (n, (waiting, want)) in cases.into_iter().enumerate() {
            assert_eq!(turn(waiting), want, "case {n}");
        }
    }
}
