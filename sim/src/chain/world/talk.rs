//! What nodes say to each other and to the world.

use super::{What, World};
use crate::chain::bad::instead;
use crate::chain::ledger::REPORTS;
use crate::chain::node::Node;
use std::rc::Rc;
use talkoo_base::Address;
use talkoo_chain::{Message, Notice, SignedVote};

impl World<'_> {
    /// An honest validator reports who voted twice.
    pub(super) fn accuse(&mut self, node: usize, votes: &[SignedVote; 2]) {
        self.check.accused(votes, &self.honest, &self.network);
        let Node { ledger, me, .. } = &self.nodes[node];
        let votes_now = ledger.validators(ledger.height() + 1).iter().any(|v| v.address == *me);
        let cheat = (REPORTS..).zip(&self.nodes).find(|(_, n)| n.me == votes[0].validator).map(|(number, _)| number);
        if let Some(number) = cheat.filter(|_| votes_now && self.nodes[node].is_honest())
            && self.check.reported.insert(number)
        {
            self.spread(self.now, number);
        }
    }

    pub(super) fn notice(&mut self, node: usize, notice: &Notice) {
        self.tell(|| format!("node {node}: {notice:?}"));
        match notice {
            Notice::Round { round, .. } if *round > 0 && self.nodes[node].is_honest() => self.report.late_rounds += 1,
            Notice::Doubled { .. } if self.nodes[node].is_honest() => {
                self.check.broken = Some(format!("node {node} does not know its own votes"));
            }
            Notice::Round { .. } | Notice::Refused { .. } | Notice::Doubled { .. } => {}
            Notice::Stuck(why) => self.check.broken = Some(format!("node {node} is stuck: {why}")),
        }
    }

    pub(super) fn serve(&mut self, node: usize, to: talkoo_base::NodeId, height: u64, count: u32) {
        let Some(to) = self.nodes.iter().position(|n| n.id == to) else { return };
        for height in height..height + u64::from(count) {
            let Some((certificate, bytes)) = self.nodes[node].ledger.block(height).cloned() else { break };
            self.say(node, to, &Message::Block { certificate, bytes });
        }
    }

    /// Sends a message, or what a bad node sends in its place.
    pub(super) fn say(&mut self, from: usize, to: usize, message: &Message) {
        if self.nodes[from].is_honest() {
            self.check.said(self.nodes[from].me, message, &self.nodes[from].approved, &self.network);
        }
        let sender = &self.nodes[from];
        let others: Vec<Address> =
            self.nodes.iter().filter(|n| n.part.power > 0 && n.me != sender.me).map(|n| n.me).collect();
        for message in instead(sender, message, &others, &self.network, &mut self.dice, self.scene) {
            if let Message::Vote(vote) = &message
                && vote.validator == self.nodes[from].me
                && !self.nodes[from].is_honest()
            {
                self.check.voted(vote, false, &[]);
            }
            let bytes = Rc::new(message.to_bytes());
            let calm = self.now >= self.scene.calm_ms;
            let lost = !calm && self.dice.chance(self.scene.loss);
            let copies = if lost { 0 } else { 1 + usize::from(!calm && self.dice.chance(self.scene.twice)) };
            for _ in 0..copies {
                let (least, most) = self.scene.delay_ms;
                let delay = least + self.dice.below(most - least + 1);
                self.at(self.now + delay, What::Deliver { from, to, bytes: bytes.clone() });
            }
        }
    }
}
