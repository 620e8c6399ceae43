//! What the loop hears and is asked about disputes, sealed data and deals: all of it needs a ledger.

use super::Daemon;
use crate::deals::Deals;
use crate::disputes::Disputes;
use serde_json::Value;
use talkoo_base::{NodeId, Refusal, RefusalCode};
use talkoo_node::Hello;
use talkoo_proof::dispute::Case;
use tokio::sync::oneshot;
use tracing::debug;

impl Daemon {
    /// Our engine refuted a worker.
    pub(super) fn dispute(&self, worker: NodeId, case: Case) {
        match &self.money.disputes {
            Some(disputes) => disputes.begin(worker, case),
            None => debug!(?worker, "nothing is at stake without a ledger: the evidence is kept, and no more"),
        }
    }

    /// A peer's message about a dispute; without a ledger it is nothing to us.
    pub(super) fn dispute_message(&mut self, peer: NodeId, bytes: &[u8]) {
        if let Some(Err(why)) = self.money.disputes.as_ref().map(|disputes| disputes.hear(peer, bytes)) {
            self.refuse(peer, &why);
        }
    }

    /// A peer's message about data; without a ledger it is nothing to us.
    pub(super) fn data_message(&mut self, peer: NodeId, bytes: &[u8]) {
        if let Some(Err(why)) = self.money.data.as_ref().map(|data| data.hear(peer, bytes)) {
            self.refuse(peer, &why);
        }
    }

    /// A peer's message about storage; without a ledger it is nothing to us.
    pub(super) fn deals_message(&mut self, peer: NodeId, bytes: &[u8]) {
        if let Some(Err(why)) = self.money.deals.as_ref().map(|deals| deals.hear(peer, bytes)) {
            self.refuse(peer, &why);
        }
    }

    /// The deals about storage, for people who ask.
    pub(super) fn deals(&self) -> Result<&Deals, Refusal> {
        let none = || Refusal::new(RefusalCode::NotProviding, "this node has no ledger", "start it with --ledger");
        self.money.deals.as_ref().ok_or_else(none)
    }

    /// Answers a question about them in its own time.
    pub(super) fn ask_deals(&self, name: &str, args: &Value, reply: oneshot::Sender<Result<Value, Refusal>>) {
        match self.deals() {
            Ok(deals) => deals.ask(name, args, reply),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    /// A peer shows its card and who owns it.
    pub(super) fn owned(&mut self, peer: NodeId, hello: &Hello) {
        self.money.disputes.iter_mut().for_each(|disputes| disputes.owned(peer, &hello.delegation));
    }

    /// The disputes, for people who ask.
    pub(super) fn disputes(&self) -> Result<&Disputes, Refusal> {
        let none = || Refusal::new(RefusalCode::NotProviding, "this node has no ledger", "start it with --ledger");
        self.money.disputes.as_ref().ok_or_else(none)
    }
}
