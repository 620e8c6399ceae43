//! Which step goes to which worker, and when a lease lapses.

use crate::job::{Job, Lease};
use crate::limits::{COPIES_MAX, COPY_GAIN_PERCENT, FIRST_CHUNK_MS_MAX, PATIENCE, PREFILL_TOKEN_MS_MAX, SLACK_MS};
use crate::{Effect, Notice};
use std::collections::BTreeMap;
use talkoo_base::{Attempt, GenerateParams, Millis, Mono, NodeId, Refusal, RefusalCode};

impl Job {
    /// When this job next wants to be woken.
    pub(crate) fn next_wake(&self) -> Option<Mono> {
        self.steps.iter().flat_map(|s| s.leases.values()).filter_map(|l| l.deadline).min()
    }

    /// How long `node` may take for its next chunk, after `prefill` prompt tokens.
    pub(crate) fn chunk_ms_max(&self, node: &NodeId, prefill: u64) -> Millis {
        let Some(mtps) = self.workers.get(node).and_then(|w| w.decode_mtps) else {
            return FIRST_CHUNK_MS_MAX.saturating_add(prefill.saturating_mul(PREFILL_TOKEN_MS_MAX));
        };
        // A prompt token never costs more than an output token.
        let chunk = self.spec.kind.chunk_units(self.spec.steps.first().map_or(0, |_| self.max_tokens(0)));
        let tokens = chunk as u64 + prefill;
        (tokens.saturating_mul(1_000_000) / mtps.max(1)).saturating_mul(PATIENCE).saturating_add(SLACK_MS)
    }

    /// Moves the steps of silent workers on.
    pub(crate) fn lapse(&mut self, now: Mono, out: &mut Vec<Effect>) {
        for attempt in self.attempts(|l| l.deadline.is_some_and(|d| d <= now)) {
            let Some(lease) = self.steps[attempt.step as usize].leases.get(&attempt.number) else { continue };
            let (node, waited) = (lease.node, now - lease.last);
            let message = format!("no chunk for {waited} ms");
            let refusal = Refusal::new(RefusalCode::Silent, message, "the step moves to another worker");
            out.push(Effect::Close { attempt, refusal: refusal.clone() });
            out.push(Effect::Failed { node, refusal: refusal.clone() });
            self.broken(attempt, &refusal, out);
        }
    }

    /// Counts the leases that each worker runs for this job.
    pub(crate) fn count_busy(&self, busy: &mut BTreeMap<NodeId, u32>) {
        for lease in self.steps.iter().flat_map(|s| s.leases.values()).filter(|l| l.delivered.is_none()) {
            *busy.entry(lease.node).or_default() += 1;
        }
    }

    /// Gives every free slot something to do: a waiting step, else a copy of a slow one.
    pub(crate) fn assign(&mut self, now: Mono, busy: &mut BTreeMap<NodeId, u32>, out: &mut Vec<Effect>) {
        if self.workers.is_empty() || self.open == 0 {
            return;
        }
        let mut idle: Vec<(u64, NodeId, u32)> = Vec::new();
        for (node, worker) in &self.workers {
            let free = worker.proven.saturating_sub(busy.get(node).copied().unwrap_or(0));
            if free > 0 {
                idle.push((worker.decode_mtps.unwrap_or(0), *node, free));
            }
        }
        // The fastest choose first; a worker never measured comes last.
        idle.sort_by_key(|(mtps, node, _)| (std::cmp::Reverse(*mtps), *node));
        for (_, node, free) in idle {
            for _ in 0..free {
                let Some((step, copy)) = self.pick(now, &node) else { break };
                *busy.entry(node).or_default() += 1;
                self.open_lease(now, step, node, copy, out);
            }
        }
    }

    /// The next step for `node`, and whether it is a copy.
    fn pick(&self, now: Mono, node: &NodeId) -> Option<(u32, bool)> {
        let fits = |step: &&u32| {
            let failed_on = &self.steps[**step as usize].failed_on;
            !failed_on.contains(node) || self.workers.keys().all(|w| failed_on.contains(w))
        };
        if let Some(step) = self.waiting.iter().find(fits) {
            return Some((*step, false));
        }
        if !self.spec.copies || !self.waiting.is_empty() {
            return None;
        }
        let mtps = self.workers.get(node).and_then(|w| w.decode_mtps)?;
        let mut slowest: Option<(Millis, u32)> = None;
        for (index, step) in (0u32..).zip(&self.steps) {
            let copyable = !step.leases.is_empty() && step.leases.len() < COPIES_MAX && !step.is_over();
            let taken = step.leases.values().any(|l| l.node == *node || l.delivered.is_some());
            if !copyable || taken || step.failed_on.contains(node) {
                continue;
            }
            let Some(rest) = step.leases.values().map(|l| self.rest_ms(now, index, l)).min() else { continue };
            let fresh = self.max_tokens(index).saturating_mul(1_000_000) / mtps.max(1);
            if fresh.saturating_mul(100) < rest.saturating_mul(COPY_GAIN_PERCENT)
                && slowest.is_none_or(|(r, _)| r < rest)
            {
                slowest = Some((rest, index));
            }
        }
        slowest.map(|(_, step)| (step, true))
    }

    fn max_tokens(&self, step: u32) -> u64 {
        let params = self.spec.steps.get(step as usize).map(|s| GenerateParams::from_bytes(&s.params));
        params.and_then(Result::ok).map_or(0, |p| u64::from(p.max_tokens))
    }

    /// How long a lease should still need; one whose worker was never measured counts what it may.
    fn rest_ms(&self, now: Mono, step: u32, lease: &Lease) -> Millis {
        let Some(mtps) = self.workers.get(&lease.node).and_then(|w| w.decode_mtps) else {
            return lease.deadline.map_or(0, |d| d - now);
        };
        let rest = self.max_tokens(step).saturating_sub(lease.units);
        // Silence counts against it: a worker that stopped is not about to finish.
        (rest.saturating_mul(1_000_000) / mtps.max(1)).max((now - lease.last).saturating_mul(2))
    }

    fn open_lease(&mut self, now: Mono, step: u32, node: NodeId, copy: bool, out: &mut Vec<Effect>) {
        let Some(work) = self.work(step) else {
            // Checked when the job was posted; a journal of another version may still hold one.
            let refusal = Refusal::new(RefusalCode::Malformed, "the step's parameters do not parse", "post it again");
            return self.fail(step, &refusal, out);
        };
        let prefill = work.prompt.len() as u64;
        let deadline = Some(now + self.chunk_ms_max(&node, prefill));
        let state = &mut self.steps[step as usize];
        let attempt = Attempt { job: self.spec.id, step, number: state.next_number };
        state.next_number += 1;
        let lease = Lease { node, started: now, last: now, units: 0, deadline, delivered: None };
        state.leases.insert(attempt.number, lease);
        self.waiting.remove(&step);
        out.push(Effect::Open { attempt, node, work: Box::new(work), audit: self.spec.audit });
        out.push(Effect::Notice(Notice::Started { attempt, node, copy }));
    }
}
