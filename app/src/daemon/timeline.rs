//! What happened to the steps of a job, and when: one span for each run of a step, and for each re-run of its answer. Kept in memory, for people
//! who watch; the journal has what matters.

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};
use talkoo_base::{Attempt, JobId, NodeId};
use talkoo_job::Notice as Job;
use talkoo_node::Notice;
use talkoo_proof::Notice as Proof;

/// Jobs that are remembered; the one that is longest without news goes first.
const JOBS_MAX: usize = 128;
/// Spans of one job; the oldest go.
const SPANS_MAX: usize = 4_096;

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Done,
    Lost,
    Equal,
    Unequal,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Lost => "lost",
            Self::Equal => "equal",
            Self::Unequal => "unequal",
        }
    }
}

/// A node at work.
#[derive(Clone, Debug)]
struct Span {
    attempt: Attempt,
    /// Who works; nothing for this node's own engine.
    node: Option<NodeId>,
    is_check: bool,
    is_copy: bool,
    /// Milliseconds since 1970.
    from: u64,
    to: Option<u64>,
    end: End,
    units: Option<u64>,
    why: Option<String>,
}

#[derive(Debug, Default)]
struct Spans {
    list: VecDeque<Span>,
    dropped: u64,
    touched: u64,
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The spans of the latest jobs.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    jobs: BTreeMap<JobId, Spans>,
}

impl Timeline {
    /// Takes what a notice says.
    pub(super) fn note(&mut self, notice: &Notice, now: u64) {
        match notice {
            Notice::Job(Job::Started { attempt, node, copy }) => self.begin(*attempt, Some(*node), false, *copy, now),
            Notice::Job(Job::StepDone { attempt, units, .. }) => {
                self.end(attempt, false, End::Done, now, Some(*units), None);
            }
            Notice::Job(Job::LeaseLost { attempt, units, refusal, .. }) => {
                self.end(attempt, false, End::Lost, now, Some(*units), Some(refusal.to_string()));
            }
            Notice::Proof(Proof::AuditStarted { attempt, verifier, .. }) => {
                // The worker has answered; whether that counts is seen later.
                self.stop(attempt, now);
                self.begin(*attempt, *verifier, true, false, now);
            }
            Notice::Proof(Proof::AuditEnded { attempt, equal, .. }) => {
                let end = if *equal { End::Equal } else { End::Unequal };
                self.end(attempt, true, end, now, None, None);
            }
            _ => {}
        }
    }

    fn begin(&mut self, attempt: Attempt, node: Option<NodeId>, is_check: bool, is_copy: bool, now: u64) {
        if !self.jobs.contains_key(&attempt.job) && self.jobs.len() >= JOBS_MAX {
            let oldest = self.jobs.iter().min_by_key(|(_, spans)| spans.touched).map(|(job, _)| *job);
            oldest.map(|job| self.jobs.remove(&job));
        }
        let spans = self.jobs.entry(attempt.job).or_default();
        spans.touched = now;
        if spans.list.len() >= SPANS_MAX {
            spans.list.pop_front();
            spans.dropped += 1;
        }
        let span =
            Span { attempt, node, is_check, is_copy, from: now, to: None, end: End::Open, units: None, why: None };
        spans.list.push_back(span);
    }

    fn stop(&mut self, attempt: &Attempt, now: u64) {
        let is_it = |span: &&mut Span| span.attempt == *attempt && !span.is_check && span.end == End::Open;
        let spans = self.jobs.get_mut(&attempt.job);
        let run = spans.and_then(|spans| spans.list.iter_mut().rev().find(is_it));
        run.into_iter().for_each(|run| run.to = run.to.or(Some(now)));
    }

    fn end(&mut self, attempt: &Attempt, is_check: bool, end: End, now: u64, units: Option<u64>, why: Option<String>) {
        let Some(spans) = self.jobs.get_mut(&attempt.job) else { return };
        spans.touched = now;
        let is_it = |span: &&mut Span| span.attempt == *attempt && span.is_check == is_check && span.end == End::Open;
        if let Some(span) = spans.list.iter_mut().rev().find(is_it) {
            (span.to, span.end, span.units, span.why) = (span.to.or(Some(now)), end, units, why);
        }
    }

    /// What is known of a job.
    pub(super) fn of(&self, job: &JobId) -> Value {
        let none = Spans::default();
        let spans = self.jobs.get(job).unwrap_or(&none);
        let row = |span: &Span| {
            json!({
                "step": span.attempt.step,
                "lease": span.attempt.number,
                "node": span.node.map(|node| node.to_string()),
                "kind": if span.is_check { "check" } else { "run" },
                "copy": span.is_copy,
                "from_ms": span.from,
                "to_ms": span.to,
                "end": span.end.name(),
                "units": span.units,
                "why": span.why,
            })
        };
        json!({"job": job.to_string(), "spans": spans.list.iter().map(row).collect::<Vec<_>>(), "dropped": spans.dropped})
    }
}

#[cfg(test)]
mod tests {
    use super::{JOBS_MAX, SPANS_MAX, Timeline};
    use serde_json::Value;
    use talkoo_base::{Attempt, Digest, JobId, NodeId, Refusal, RefusalCode, SecretKey};
    use talkoo_job::Notice as Job;
    use talkoo_node::Notice;
    use talkoo_proof::Notice as Proof;

    fn node(n: u8) -> NodeId {
        SecretKey::from_bytes(&[n; 32]).unwrap().node_id()
    }

    fn attempt(job: u8, step: u32, number: u32) -> Attempt {
        Attempt { job: JobId(Digest([job; 32])), step, number }
    }

    fn started(attempt: Attempt) -> Notice {
        Notice::Job(Job::Started { attempt, node: node(1), copy: false })
    }

    fn ends(timeline: &Timeline, job: u8) -> Vec<(String, Value)> {
        let value = timeline.of(&JobId(Digest([job; 32])));
        let row = |row: &Value| (row["end"].as_str().unwrap().to_owned(), row["to_ms"].clone());
        value["spans"].as_array().unwrap().iter().map(row).collect()
    }

    #[test]
    fn runs_and_re_runs_end_as_they_ended() {
        let (mut timeline, first, second) = (Timeline::default(), attempt(1, 0, 0), attempt(1, 0, 1));
        let refusal = Refusal::new(RefusalCode::Silent, "nothing came", "");
        let (worker, verifier) = (node(1), Some(node(2)));
        for (at, notice) in [
            started(first),
            Notice::Job(Job::LeaseLost { attempt: first, node: worker, units: 3, refusal }),
            started(second),
            Notice::Proof(Proof::AuditStarted { attempt: second, worker, verifier }),
            Notice::Proof(Proof::AuditEnded { attempt: second, worker, verifier, equal: false }),
        ]
        .iter()
        .enumerate()
        {
            timeline.note(notice, at as u64);
        }
        let row = |end: &str, to: Option<u64>| (end.to_owned(), to.into());
        assert_eq!(ends(&timeline, 1), [row("lost", Some(1)), row("open", Some(3)), row("unequal", Some(4))]);
        timeline.note(&Notice::Job(Job::StepDone { attempt: second, node: worker, units: 7, audited: true }), 9);
        assert_eq!(ends(&timeline, 1)[1], row("done", Some(3)));
        assert!(ends(&timeline, 2).is_empty());
    }

    #[test]
    fn jobs_and_spans_are_bounded() {
        let mut timeline = Timeline::default();
        for step in 0..=SPANS_MAX as u32 {
            timeline.note(&started(attempt(0, step, 0)), 0);
        }
        let value = timeline.of(&JobId(Digest([0; 32])));
        assert_eq!((value["spans"].as_array().unwrap().len(), &value["dropped"]), (SPANS_MAX, &1.into()));
        for job in 1..=JOBS_MAX as u8 {
            timeline.note(&started(attempt(job, 0, 0)), u64::from(job));
        }
        assert!(ends(&timeline, 0).is_empty() && ends(&timeline, 1).len() == 1 && timeline.jobs.len() == JOBS_MAX);
    }
}
