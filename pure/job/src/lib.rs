//! A job as a list of steps: lease them to workers, move them when a worker fails, copy the last
//! ones to faster workers, collect the results in order.
//!
//! ```text
//! step:  waiting ─► leased ─► delivered ─► done
//!           ▲         │ silent, lost,   │ refuted by an audit,
//!           └─────────┴ refused ────────┘ or its worker convicted
//! ```
//!
//! It does not know what a receipt or a price is: `proof` opens the leases, `market` finds the workers.

mod assign;
mod job;
pub mod limits;
pub mod wire;

pub use job::{Done, Job, JobStatus, Lease, Output, Step, StepStatus, Worker};
pub use wire::{Event, JobSpec, StepSpec};

use std::collections::BTreeMap;
use talkoo_base::{Attempt, AuditPolicy, Finish, JobId, Mono, NodeId, Now, Refusal, RefusalCode, Work};

/// What the other machines and the user tell the jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A user posts a job.
    Post(Box<JobSpec>),
    /// A user cancels one.
    Cancel(JobId),
    /// A user wants nothing left of one that is over.
    Forget(JobId),
    /// A worker agreed to work for a job.
    Agreed {
        /// The job.
        job: JobId,
        /// The worker.
        node: NodeId,
        /// Leases it takes at once.
        slots: u32,
        /// Output tokens a second, in thousandths, if ever measured.
        decode_mtps: Option<u64>,
    },
    /// A worker is gone.
    Lost {
        /// The job.
        job: JobId,
        /// The worker.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// A chunk of a lease came, was checked and paid.
    Progress {
        /// The lease.
        attempt: Attempt,
        /// Output tokens so far.
        units: u64,
    },
    /// A lease is complete; its verdict is still open.
    Delivered {
        /// The lease.
        attempt: Attempt,
        /// The output.
        tokens: Vec<u32>,
        /// Canonical bytes of its log probabilities; empty if the step wants none.
        logprobs: Vec<u8>,
        /// Why it ended.
        finish: Finish,
    },
    /// A lease failed.
    Broken {
        /// The lease.
        attempt: Attempt,
        /// Why.
        refusal: Refusal,
    },
    /// The verdict on a delivered lease.
    Verdict {
        /// The lease.
        attempt: Attempt,
        /// Whether its output stands.
        stands: bool,
        /// Whether anybody re-ran it.
        audited: bool,
    },
    /// A worker lied: nothing of its that nobody re-ran is kept.
    Convicted(NodeId),
    /// The node starts again after the journal was folded.
    Restarted,
    /// Time went by.
    Tick,
}

/// What the jobs ask of the other machines and tell the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this down before anything else leaves.
    Record(Box<Event>),
    /// Find workers.
    Want(JobId),
    /// No workers are needed any more.
    Enough(JobId),
    /// Lease a step.
    Open {
        /// The lease.
        attempt: Attempt,
        /// To whom.
        node: NodeId,
        /// What to run.
        work: Box<Work>,
        /// Who may re-run it.
        audit: AuditPolicy,
    },
    /// End a lease.
    Close {
        /// The lease.
        attempt: Attempt,
        /// Why.
        refusal: Refusal,
    },
    /// A worker failed.
    Failed {
        /// Which.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// A worker's speed on real work.
    Measured {
        /// Which.
        node: NodeId,
        /// Output tokens a second, in thousandths.
        decode_mtps: u64,
    },
    /// Something a user may want to see.
    Notice(Notice),
}

/// What happened to a job, for the people who watch it. Not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A lease began.
    Started {
        /// The lease.
        attempt: Attempt,
        /// Its worker.
        node: NodeId,
        /// Whether it is a copy of a step that another worker runs.
        copy: bool,
    },
    /// A lease went on.
    Progress {
        /// The lease.
        attempt: Attempt,
        /// Its worker.
        node: NodeId,
        /// Output tokens so far.
        units: u64,
    },
    /// A lease failed; its step moves on.
    LeaseLost {
        /// The lease.
        attempt: Attempt,
        /// Its worker.
        node: NodeId,
        /// Output tokens it had sent.
        units: u64,
        /// Why.
        refusal: Refusal,
    },
    /// A step has its result.
    StepDone {
        /// The lease whose output stands.
        attempt: Attempt,
        /// Its worker.
        node: NodeId,
        /// Output tokens.
        units: u64,
        /// Whether it was re-run.
        audited: bool,
    },
    /// A step's result counts no more: its worker was convicted, and nobody had re-run it. It waits again.
    StepRevoked {
        /// The job.
        job: JobId,
        /// The step.
        step: u32,
    },
    /// A step failed for good.
    StepFailed {
        /// The job.
        job: JobId,
        /// The step.
        step: u32,
        /// Why.
        refusal: Refusal,
    },
    /// A job is over.
    Closed {
        /// The job.
        job: JobId,
        /// Whether the user cancelled it.
        cancelled: bool,
    },
}

/// All jobs of one client.
#[derive(Default)]
pub struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    /// As they were posted: who came first is served first.
    order: Vec<JobId>,
}

impl Jobs {
    /// Takes one input. Total.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let at = now.mono;
        match input {
            Input::Post(spec) => self.post(*spec, out),
            Input::Cancel(job) => self.cancel(job, out),
            Input::Forget(job) => self.forget(job, out),
            Input::Agreed { job, node, slots, decode_mtps } => {
                if let Some(job) = self.open_job(&job) {
                    job.workers.insert(node, Worker { slots, proven: slots.min(1), decode_mtps });
                }
            }
            Input::Lost { job, node, refusal } => {
                if let Some(job) = self.open_job(&job) {
                    job.lose(node, &refusal, out);
                }
            }
            Input::Progress { attempt, units } => self.with(&attempt.job, |job| job.progress(at, attempt, units, out)),
            Input::Delivered { attempt, tokens, logprobs, finish } => {
                let output = Output { tokens, logprobs, finish };
                self.with(&attempt.job, |job| job.delivered(at, attempt, output, out));
            }
            Input::Broken { attempt, refusal } => self.with(&attempt.job, |job| job.broken(attempt, &refusal, out)),
            Input::Verdict { attempt, stands, audited } => {
                self.with(&attempt.job, |job| job.verdict(attempt, stands, audited, out));
            }
            Input::Convicted(node) => {
                self.jobs.values_mut().filter(|j| j.status == JobStatus::Open).for_each(|j| j.convicted(node, out));
            }
            Input::Restarted => {
                self.jobs.values_mut().filter(|j| j.status == JobStatus::Open).for_each(|j| j.want(out));
            }
            Input::Tick => {}
        }
        // Jobs of one client share its workers' slots: a lease that waited behind another job's would lapse.
        let mut busy = BTreeMap::new();
        for job in self.jobs.values_mut().filter(|j| j.status == JobStatus::Open) {
            job.lapse(at, out);
            job.count_busy(&mut busy);
        }
        for id in &self.order {
            let Some(job) = self.jobs.get_mut(id).filter(|j| j.status == JobStatus::Open) else { continue };
            job.assign(at, &mut busy, out);
            job.close_if_over(out);
        }
    }

    /// When the jobs next want an [`Input::Tick`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Mono> {
        self.jobs.values().filter(|j| j.status == JobStatus::Open).filter_map(Job::next_wake).min()
    }

    /// Applies a recorded event: also how a restart rebuilds the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Posted(spec) => {
                if self.jobs.insert(spec.id, Job::new(spec.clone())).is_none() {
                    self.order.push(spec.id);
                }
            }
            Event::Done { job, step, done } => {
                self.with(job, |j| j.set_done(*step, done.clone()));
            }
            Event::Failed { job, step, code, message } => {
                let refusal = Refusal::new(RefusalCode::parse(code), message.clone(), "");
                self.with(job, |j| j.set_failed(*step, refusal));
            }
            Event::Revoked { job, step } => self.with(job, |j| j.revoke(*step)),
            Event::Forgotten { job } => {
                self.jobs.remove(job);
                self.order.retain(|id| id != job);
            }
            Event::Closed { job, cancelled } => self.with(job, |j| j.close(*cancelled)),
        }
    }

    /// The fewest events that give this state again, leases apart.
    pub fn history(&self) -> impl Iterator<Item = Event> {
        self.iter().flat_map(Job::history)
    }

    /// One job.
    #[must_use]
    pub fn get(&self, job: &JobId) -> Option<&Job> {
        self.jobs.get(job)
    }

    /// All jobs, as they were posted.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.order.iter().filter_map(|id| self.jobs.get(id))
    }

    fn open_job(&mut self, job: &JobId) -> Option<&mut Job> {
        self.jobs.get_mut(job).filter(|j| j.status == JobStatus::Open)
    }

    fn with(&mut self, job: &JobId, act: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(job) {
            act(job);
        }
    }

    fn post(&mut self, spec: JobSpec, out: &mut Vec<Effect>) {
        if self.jobs.contains_key(&spec.id) {
            return;
        }
        let (id, event) = (spec.id, Event::Posted(spec));
        self.apply(&event);
        out.push(Effect::Record(Box::new(event)));
        self.with(&id, |job| job.want(out));
    }

    fn forget(&mut self, id: JobId, out: &mut Vec<Effect>) {
        if self.jobs.get(&id).is_some_and(|job| job.status != JobStatus::Open) {
            let event = Event::Forgotten { job: id };
            self.apply(&event);
            out.push(Effect::Record(Box::new(event)));
        }
    }

    fn cancel(&mut self, id: JobId, out: &mut Vec<Effect>) {
        if let Some(job) = self.open_job(&id) {
            job.cancel(out);
        }
    }
}

#[cfg(test)]
mod tests;
