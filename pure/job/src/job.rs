//! One job: its steps, their leases, its workers.

use crate::limits::{LEASES_MAX, NEW_SAMPLE_PERCENT, RUN_FAILURES_MAX};
use crate::wire::{DoneWire, JobSpec};
use crate::{Effect, Event, Notice};
use std::collections::{BTreeMap, BTreeSet};
use talkoo_base::{Attempt, Finish, GenerateParams, JobId, Mono, NodeId, Refusal, RefusalCode, Work};

/// The accepted result of a step.
pub type Done = DoneWire;

/// Whether a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// Steps are open.
    Open,
    /// Every step has a result or has failed.
    Finished,
    /// The user ended it.
    Cancelled,
}

/// A worker of one job.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    /// Leases it takes at once.
    pub slots: u32,
    /// Of these, how many it gets: one more with every chunk that it delivers. Capacity is a claim, and
    /// who agrees first must not draw all of a small job to itself.
    pub proven: u32,
    /// Output tokens a second, in thousandths, as measured.
    pub decode_mtps: Option<u64>,
}

/// One lease of a step.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The worker.
    pub node: NodeId,
    /// When it began.
    pub started: Mono,
    /// When its last chunk came, or when it began.
    pub last: Mono,
    /// Output tokens so far.
    pub units: u64,
    /// When it lapses unless a chunk comes; none once it is delivered.
    pub deadline: Option<Mono>,
    /// The output, once complete, until its verdict.
    pub delivered: Option<Output>,
}

/// A complete output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Canonical bytes of their log probabilities, if the step wants them.
    pub logprobs: Vec<u8>,
    /// Why it ended.
    pub finish: Finish,
}

/// One step.
#[derive(Debug, Default)]
pub struct Step {
    pub(crate) next_number: u32,
    pub(crate) leases: BTreeMap<u32, Lease>,
    pub(crate) failed_on: BTreeSet<NodeId>,
    /// Workers whose engines could not run it.
    pub(crate) run_failed_on: BTreeSet<NodeId>,
    pub(crate) run_failures: u32,
    pub(crate) done: Option<Done>,
    pub(crate) failed: Option<Refusal>,
}

/// How a step stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// No worker has it.
    Waiting,
    /// At least one worker runs it.
    Running,
    /// It is complete and being checked.
    Checking,
    /// It has a result.
    Done,
    /// It failed for good.
    Failed,
}

impl Step {
    /// How it stands.
    #[must_use]
    pub fn status(&self) -> StepStatus {
        if self.done.is_some() {
            StepStatus::Done
        } else if self.failed.is_some() {
            StepStatus::Failed
        } else if self.leases.values().any(|l| l.delivered.is_some()) {
            StepStatus::Checking
        } else if self.leases.is_empty() {
            StepStatus::Waiting
        } else {
            StepStatus::Running
        }
    }

    /// Its result, if it has one.
    #[must_use]
    pub fn done(&self) -> Option<&Done> {
        self.done.as_ref()
    }

    /// Why it failed, if it did.
    #[must_use]
    pub fn failed(&self) -> Option<&Refusal> {
        self.failed.as_ref()
    }

    /// Its leases now.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.done.is_some() || self.failed.is_some()
    }
}

/// One job.
#[derive(Debug)]
pub struct Job {
    /// As posted.
    pub spec: JobSpec,
    /// Whether it goes on.
    pub status: JobStatus,
    /// Its workers now.
    pub workers: BTreeMap<NodeId, Worker>,
    pub(crate) steps: Vec<Step>,
    pub(crate) waiting: BTreeSet<u32>,
    pub(crate) open: u32,
}

impl Job {
    pub(crate) fn new(spec: JobSpec) -> Self {
        let count = u32::try_from(spec.steps.len()).expect("bounded by STEPS_MAX");
        let steps = spec.steps.iter().map(|_| Step::default()).collect();
        Self {
            spec,
            status: JobStatus::Open,
            workers: BTreeMap::new(),
            steps,
            waiting: (0..count).collect(),
            open: count,
        }
    }

    /// Its steps, in the order of the results.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn history(&self) -> impl Iterator<Item = Event> {
        let job = self.spec.id;
        let steps = (0..).zip(&self.steps).filter_map(move |(step, state)| match (&state.done, &state.failed) {
            (Some(done), _) => Some(Event::Done { job, step, done: done.clone() }),
            (None, Some(refusal)) => Some(failure(job, step, refusal)),
            (None, None) => None,
        });
        let closed = Event::Closed { job, cancelled: self.status == JobStatus::Cancelled };
        let closed = (self.status != JobStatus::Open).then_some(closed);
        std::iter::once(Event::Posted(self.spec.clone())).chain(steps).chain(closed)
    }

    pub(crate) fn want(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Want(self.spec.id));
    }

    pub(crate) fn work(&self, step: u32) -> Option<Work> {
        let spec = self.spec.steps.get(step as usize)?;
        let params = GenerateParams::from_bytes(&spec.params).ok()?;
        let JobSpec { kind, program, tier, .. } = self.spec;
        Some(Work { kind, program, tier, prompt: spec.prompt.clone(), params, seed: spec.seed })
    }

    fn lease(&mut self, attempt: Attempt) -> Option<&mut Lease> {
        self.steps.get_mut(attempt.step as usize)?.leases.get_mut(&attempt.number)
    }

    pub(crate) fn progress(&mut self, now: Mono, attempt: Attempt, units: u64, out: &mut Vec<Effect>) {
        let Some(lease) = self.lease(attempt) else { return };
        let (node, first) = (lease.node, lease.units == 0);
        let (fresh, took) = (units.saturating_sub(lease.units), now - lease.last);
        (lease.units, lease.last) = (units, now);
        self.prove(&node);
        // The first chunk holds the prefill and the way there: it says little of decode speed.
        if !first && fresh > 0 {
            self.measure(node, fresh.saturating_mul(1_000_000) / took.max(1), out);
        } else if let Some(worker) = self.workers.get(&node).filter(|w| w.decode_mtps.is_none()) {
            debug_assert!(worker.slots > 0);
            self.measure(node, fresh.saturating_mul(1_000_000) / took.max(1), out);
        }
        let deadline = now + self.chunk_ms_max(&node, 0);
        if let Some(lease) = self.lease(attempt) {
            lease.deadline = Some(deadline);
        }
        out.push(Effect::Notice(Notice::Progress { attempt, node, units }));
    }

    fn prove(&mut self, node: &NodeId) {
        if let Some(worker) = self.workers.get_mut(node) {
            worker.proven = worker.proven.saturating_add(1).min(worker.slots);
        }
    }

    fn measure(&mut self, node: NodeId, sample: u64, out: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get_mut(&node) else { return };
        let old = worker.decode_mtps.unwrap_or(sample);
        let blend =
            old.saturating_mul(100 - NEW_SAMPLE_PERCENT).saturating_add(sample.saturating_mul(NEW_SAMPLE_PERCENT));
        worker.decode_mtps = Some((blend / 100).max(1));
        out.push(Effect::Measured { node, decode_mtps: sample.max(1) });
    }

    pub(crate) fn delivered(&mut self, now: Mono, attempt: Attempt, output: Output, out: &mut Vec<Effect>) {
        let Some(lease) = self.lease(attempt) else { return };
        let (node, units) = (lease.node, output.tokens.len() as u64);
        (lease.units, lease.last, lease.deadline) = (units, now, None);
        lease.delivered = Some(output);
        self.prove(&node);
        out.push(Effect::Notice(Notice::Progress { attempt, node, units }));
    }

    pub(crate) fn broken(&mut self, attempt: Attempt, refusal: &Refusal, out: &mut Vec<Effect>) {
        let Some(step) = self.steps.get_mut(attempt.step as usize) else { return };
        let Some(lease) = step.leases.remove(&attempt.number) else { return };
        step.failed_on.insert(lease.node);
        if refusal.code == RefusalCode::RunFailed {
            step.run_failures += 1;
            step.run_failed_on.insert(lease.node);
        }
        // A few machines that all say so are not a coincidence; neither is all there are, again and again.
        let all = self.workers.keys().all(|node| step.run_failed_on.contains(node));
        let hopeless =
            step.run_failed_on.len() >= RUN_FAILURES_MAX as usize || all && step.run_failures >= RUN_FAILURES_MAX;
        out.push(Effect::Notice(Notice::LeaseLost {
            attempt,
            node: lease.node,
            units: lease.units,
            refusal: refusal.clone(),
        }));
        if hopeless || step.next_number >= LEASES_MAX {
            self.fail(attempt.step, refusal, out);
        } else if step.leases.is_empty() && !step.is_over() {
            self.waiting.insert(attempt.step);
        }
    }

    pub(crate) fn fail(&mut self, step: u32, refusal: &Refusal, out: &mut Vec<Effect>) {
        let job = self.spec.id;
        out.push(Effect::Record(Box::new(failure(job, step, refusal))));
        self.set_failed(step, refusal.clone());
        self.close_leases(step, None, out);
        out.push(Effect::Notice(Notice::StepFailed { job, step, refusal: refusal.clone() }));
    }

    pub(crate) fn verdict(&mut self, attempt: Attempt, stands: bool, audited: bool, out: &mut Vec<Effect>) {
        let Some(lease) = self.lease(attempt) else { return };
        let (node, units) = (lease.node, lease.units);
        let Some(Output { tokens, logprobs, finish }) = lease.delivered.take() else { return };
        if !stands {
            let why = "an audit refuted its answer";
            return self.broken(attempt, &Refusal::new(RefusalCode::ProvenLiar, why, "another worker runs it"), out);
        }
        let done = Done { node, number: attempt.number, tokens, logprobs, finish, audited };
        let (job, step) = (attempt.job, attempt.step);
        out.push(Effect::Record(Box::new(Event::Done { job, step, done: done.clone() })));
        self.set_done(step, done);
        self.close_leases(step, Some(attempt.number), out);
        out.push(Effect::Notice(Notice::StepDone { attempt, node, units, audited }));
    }

    /// Ends what still runs for a step that needs it no more.
    fn close_leases(&mut self, step: u32, keep: Option<u32>, out: &mut Vec<Effect>) {
        let job = self.spec.id;
        let Some(state) = self.steps.get_mut(step as usize) else { return };
        for number in std::mem::take(&mut state.leases).into_keys().filter(|n| Some(*n) != keep) {
            let refusal = Refusal::new(RefusalCode::Superseded, "another worker was faster", "");
            out.push(Effect::Close { attempt: Attempt { job, step, number }, refusal });
        }
    }

    pub(crate) fn lose(&mut self, node: NodeId, refusal: &Refusal, out: &mut Vec<Effect>) {
        self.workers.remove(&node);
        for attempt in self.attempts(|l| l.node == node && l.delivered.is_none()) {
            out.push(Effect::Close { attempt, refusal: refusal.clone() });
            self.broken(attempt, refusal, out);
        }
    }

    pub(crate) fn convicted(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        let job = self.spec.id;
        let unchecked = |s: &Step| s.done.as_ref().is_some_and(|d| d.node == node && !d.audited);
        let steps: Vec<u32> = (0..).zip(&self.steps).filter(|(_, s)| unchecked(s)).map(|(i, _)| i).collect();
        for step in steps {
            out.push(Effect::Record(Box::new(Event::Revoked { job, step })));
            self.revoke(step);
            out.push(Effect::Notice(Notice::StepRevoked { job, step }));
        }
    }

    pub(crate) fn attempts(&self, pick: impl Fn(&Lease) -> bool) -> Vec<Attempt> {
        let job = self.spec.id;
        let steps = (0..).zip(&self.steps);
        let leases = steps.flat_map(|(step, s)| s.leases.iter().map(move |(number, lease)| (step, *number, lease)));
        leases.filter(|(_, _, l)| pick(l)).map(|(step, number, _)| Attempt { job, step, number }).collect()
    }

    pub(crate) fn cancel(&mut self, out: &mut Vec<Effect>) {
        for attempt in self.attempts(|_| true) {
            let refusal = Refusal::new(RefusalCode::Cancelled, "the job was cancelled", "");
            out.push(Effect::Close { attempt, refusal });
        }
        self.steps.iter_mut().for_each(|s| s.leases.clear());
        self.end(true, out);
    }

    pub(crate) fn close_if_over(&mut self, out: &mut Vec<Effect>) {
        if self.open == 0 && self.status == JobStatus::Open {
            self.end(false, out);
        }
    }

    /// Folds the end of a job. A finished one has no open step, unless its record was damaged.
    pub(crate) fn close(&mut self, cancelled: bool) {
        self.status = if cancelled { JobStatus::Cancelled } else { JobStatus::Finished };
        for step in std::mem::take(&mut self.waiting) {
            if !cancelled {
                let lost =
                    Refusal::new(RefusalCode::Other, "its answer was lost with a damaged disk block", "run it again");
                self.set_failed(step, lost);
            }
        }
    }

    fn end(&mut self, cancelled: bool, out: &mut Vec<Effect>) {
        let job = self.spec.id;
        self.status = if cancelled { JobStatus::Cancelled } else { JobStatus::Finished };
        self.workers.clear();
        out.push(Effect::Record(Box::new(Event::Closed { job, cancelled })));
        out.push(Effect::Enough(job));
        out.push(Effect::Notice(Notice::Closed { job, cancelled }));
    }

    pub(crate) fn set_done(&mut self, step: u32, done: Done) {
        // Folded from a journal, the result is all that is left of the leases before it.
        self.settle(step, |s| {
            s.next_number = s.next_number.max(done.number.saturating_add(1));
            s.done = Some(done);
        });
    }

    pub(crate) fn set_failed(&mut self, step: u32, refusal: Refusal) {
        self.settle(step, |s| s.failed = Some(refusal));
    }

    fn settle(&mut self, step: u32, change: impl FnOnce(&mut Step)) {
        let Some(state) = self.steps.get_mut(step as usize) else { return };
        if !state.is_over() {
            self.open -= 1;
        }
        change(state);
        self.waiting.remove(&step);
    }

    pub(crate) fn revoke(&mut self, step: u32) {
        let Some(state) = self.steps.get_mut(step as usize) else { return };
        if state.done.take().is_some() {
            self.open += 1;
            self.waiting.insert(step);
        }
    }
}

fn failure(job: JobId, step: u32, refusal: &Refusal) -> Event {
    Event::Failed { job, step, code: refusal.code.as_str().into(), message: refusal.message.clone() }
}
