//! The float tier: nobody can recompute its answers, but our own engine can say how likely they are. One window of tokens
//! that are unlike the model moves the work elsewhere; a second one ends it. It is no proof: nobody is slashed for it.

use crate::audit::Audits;
use crate::buyer::convict;
use crate::machine::Context;
use crate::parameters::UNLIKE_MAX;
use crate::verdict::accept;
use crate::{Effect, Notice};
use std::collections::BTreeMap;
use talkoo_base::{LeaseId, Likeness, NodeId, Refusal, RefusalCode};

/// Workers whose answers are being weighed.
const WEIGHED_MAX: usize = 4_096;

/// What was weighed of each worker since the last word about it, and how many windows were unlike the model. Not durable:
/// what a restart forgets is weighed again.
#[derive(Default)]
pub(crate) struct Scales(BTreeMap<NodeId, (Likeness, u32)>);

impl Scales {
    /// Adds an answer. The number of windows that are unlike the model, if this one ended such a window.
    fn add(&mut self, node: NodeId, likeness: Likeness) -> Option<u32> {
        if self.0.len() >= WEIGHED_MAX && !self.0.contains_key(&node) {
            self.0.retain(|_, (_, unlike)| *unlike > 0);
            if self.0.len() >= WEIGHED_MAX {
                self.0.pop_first();
            }
        }
        let (sum, unlike) = self.0.entry(node).or_default();
        *sum = sum.and(likeness);
        let is_like = sum.is_like()?;
        *sum = Likeness::default();
        *unlike += u32::from(!is_like);
        (!is_like).then_some(*unlike)
    }
}

impl Audits {
    /// Our own engine has weighed an answer.
    pub(crate) fn weighed(&mut self, cx: &mut Context, lease: LeaseId, likeness: Likeness, out: &mut Vec<Effect>) {
        let Some(audit) = self.take_own(lease) else { return };
        let (attempt, node) = (audit.purchase.attempt, audit.purchase.worker.node);
        let unlike = cx.scales.add(node, likeness);
        let ended = Notice::AuditEnded { attempt, worker: node, verifier: None, equal: unlike.is_none() };
        out.push(Effect::Notice(ended));
        let Some(unlike) = unlike else { return accept(cx, &audit, false, None, out) };
        let message = "its answers are unlike those of the model that it claims";
        if unlike >= UNLIKE_MAX {
            convict(cx, node, Refusal::new(RefusalCode::AnswerRefuted, message, "no proof: its bond is safe"), out);
        }
        let refusal = Refusal::new(RefusalCode::AnswerRefuted, message, "another worker runs the step");
        out.push(Effect::Broken { attempt, node, refusal });
    }
}
