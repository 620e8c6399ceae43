//! Messages of data: who is answered what.

use super::talk::Said;
use super::{Answer, Desks, REFUSED_MAX, Told, lock, no};
use serde_json::json;
use std::time::Instant;
use talkoo_base::wire::Sealed;
use talkoo_base::{Delegation, Digest, NodeId, Refusal, RefusalCode};

impl Desks {
    /// Sends a message; who is not connected is looked for, and asked again later. A keeper that buys asks itself, too.
    pub(super) fn post(&self, to: NodeId, said: &Said) {
        if to == self.node.node_id() {
            self.to.try_send(Told::Said(to, said.clone())).ok();
        } else if self.net.send(to, said.to_bytes()).is_err() {
            self.net.meet(to);
        }
    }

    /// Takes what a node said.
    pub(super) fn heard(&self, from: NodeId, said: Said) -> Answer<()> {
        match said {
            Said::Ask { version, grant, delegation } => {
                let answer = self.asked(from, version, grant, &delegation);
                self.answer(from, version, grant, answer);
                Ok(())
            }
            Said::Deliver { version, grant, delegation } => {
                let answer = self.told_to_deliver(from, version, grant, &delegation);
                self.answer(from, version, grant, answer);
                Ok(())
            }
            Said::Keep { version, part, wrap, manifest } => {
                let answer = self.keep(from, version, part, &wrap, manifest.into_vec());
                self.answer(from, version, 0, answer.map(|said| vec![said]));
                Ok(())
            }
            Said::Tell { version, grant, wrap } => self.delivered(from, version, grant, &wrap),
            Said::Share { version, grant, part, wrap } => self.shared(from, version, grant, part, &wrap),
            Said::Ready { version, grant } => self.ready(from, version, grant),
            Said::Kept { version, has_data } => self.kept_by(from, version, Ok(has_data)),
            Said::Refuse { version, grant, reason } => self.refused(from, version, grant, reason),
        }
    }

    fn asked(&self, from: NodeId, version: Digest, grant: u64, asks: &Sealed<Delegation>) -> Answer<Vec<Said>> {
        if self.kept.get(&version.to_string()).is_some() {
            return self.asked_as_keeper(from, version, grant, asks);
        }
        self.release(from, version, grant, asks)
    }

    fn answer(&self, to: NodeId, version: Digest, grant: u64, answer: Answer<Vec<Said>>) {
        match answer {
            Ok(all) => all.iter().for_each(|said| self.post(to, said)),
            Err(why) => {
                self.note_refusal(to, version, grant, &why);
                self.post(to, &Said::Refuse { version, grant, reason: why.message });
            }
        }
    }

    fn refused(&self, from: NodeId, version: Digest, grant: u64, reason: String) -> Answer<()> {
        if grant == 0 && self.by_version(&version).is_some() {
            return self.kept_by(from, version, Err(reason));
        }
        let name = format!("{version}-{grant}");
        let Some(bought) = self.bought.get(&name).filter(|bought| bought.wrap.is_none()) else { return Ok(()) };
        let manifest = self.manifest_of_bought(&bought)?;
        if !manifest.nodes.contains(&from) {
            self.keeper_refused(&bought, &manifest, from, reason);
            return Ok(());
        }
        lock(&self.said).insert(name.clone(), (reason.clone(), Instant::now()));
        // What is paid may still come; what is not given is asked for again when somebody wants it.
        if grant == 0 { self.change(&self.bought, &name, |bought| bought.over = Some(reason)) } else { Ok(()) }
    }

    fn note_refusal(&self, node: NodeId, version: Digest, grant: u64, why: &Refusal) {
        let mut refused = lock(&self.refused);
        if refused.len() >= REFUSED_MAX {
            return;
        }
        if refused.insert((node, version, grant, why.message.clone())) {
            let (node, version) = (node.to_string(), version.to_string());
            self.audit.note("refused", json!({"node": node, "version": version, "grant": grant, "why": why.message}));
        }
    }

    /// The audit log: its last lines, or whether all of it is as it was written.
    pub(crate) fn audit(&self, verify: bool) -> Answer<serde_json::Value> {
        if !verify {
            return Ok(json!({"lines": self.audit.last().map_err(super::broken)?}));
        }
        let checked = self.audit.verify().map_err(super::broken)?;
        match checked.broken {
            None => Ok(json!({"count": checked.lines, "head": checked.head.to_string(), "whole": true})),
            Some(line) => {
                let hint = "somebody changed it: compare it with a copy";
                Err(no(RefusalCode::Malformed, format!("line {line} of the audit log is not what was written"), hint))
            }
        }
    }
}
