//! How an audit goes on when those it waits for refuse, leave, are late, or nobody needs it any more.

use crate::audit::{Audit, Audits, Stage};
use crate::machine::Context;
use crate::{Effect, Message, Ticket};
use talkoo_base::{Attempt, LeaseId, Mono, NodeId, Now, Refusal, RefusalCode};

impl Audits {
    pub(crate) fn refused(&mut self, cx: &mut Context, now: Now, from: NodeId, asked: LeaseId, out: &mut Vec<Effect>) {
        let Some((lease, _)) = self.asked_of(from, asked) else { return };
        self.asked.remove(&asked);
        self.next(cx, now, lease, out);
    }

    pub(crate) fn peer_down(&mut self, cx: &mut Context, now: Now, node: NodeId, out: &mut Vec<Effect>) {
        self.move_on(cx, now, |stage| matches!(stage, Stage::Asked { verifier, .. } if verifier.node == node), out);
    }

    pub(crate) fn tick(&mut self, cx: &mut Context, now: Now, out: &mut Vec<Effect>) {
        let late: Vec<LeaseId> = self.own_late(now.mono);
        for lease in late {
            out.push(Effect::Stop(Ticket::Own(lease)));
            let late = Refusal::new(RefusalCode::Silent, "it took too long", "this machine may be overloaded");
            self.not_judged(cx, now, lease, &late, out);
        }
        self.move_on(cx, now, |stage| matches!(stage, Stage::Asked { until, .. } if *until <= now.mono), out);
    }

    fn own_late(&self, now: Mono) -> Vec<LeaseId> {
        let late = |a: &Audit| matches!(a.stage, Stage::Own { until } if until <= now);
        self.open.iter().filter(|(_, a)| late(a)).map(|(l, _)| *l).collect()
    }

    fn move_on(&mut self, cx: &mut Context, now: Now, stuck: impl Fn(&Stage) -> bool, out: &mut Vec<Effect>) {
        let leases: Vec<LeaseId> = self.open.iter().filter(|(_, a)| stuck(&a.stage)).map(|(l, _)| *l).collect();
        for lease in leases {
            self.asked.retain(|_, of| *of != lease);
            if let Some(Stage::Asked { verifier, lease: asked, .. }) = self.open.get(&lease).map(|a| &a.stage) {
                let refusal = Refusal::new(RefusalCode::Silent, "the audit took too long", "");
                let message = Message::Close { lease: *asked, refusal };
                out.push(Effect::Send { to: verifier.node, message });
            }
            self.next(cx, now, lease, out);
        }
    }

    /// The job needs this answer no more. It was paid all the same, and whoever lied must not get away
    /// because another was faster: only a cancelled job ends an audit, and only while nobody has spoken.
    pub(crate) fn close(&mut self, attempt: Attempt, refusal: &Refusal, out: &mut Vec<Effect>) {
        let found = self.open.iter().find(|(_, a)| a.purchase.attempt == attempt).map(|(lease, _)| *lease);
        let Some(lease) = found else { return };
        let spoken = self.open.get(&lease).is_some_and(|a| !a.opinions.is_empty());
        if spoken || refusal.code != RefusalCode::Cancelled {
            return;
        }
        self.asked.retain(|_, of| *of != lease);
        let Some(audit) = self.open.remove(&lease) else { return };
        match audit.stage {
            Stage::Asked { verifier, lease, .. } => {
                let message = Message::Close { lease, refusal: refusal.clone() };
                out.push(Effect::Send { to: verifier.node, message });
            }
            Stage::Own { .. } => out.push(Effect::Stop(Ticket::Own(lease))),
            Stage::Drawing => {}
        }
    }
}
