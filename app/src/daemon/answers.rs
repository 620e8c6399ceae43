//! The loop's part of answers that are bought (`crate::inference`).

use super::Daemon;
use super::calls::Terms;
use crate::inference::{Asked, Posting};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use talkoo_base::{Digest, JobId, Kind, Refusal, RefusalCode, Tier};
use talkoo_inference::a_token;
use talkoo_job::{JobSpec, StepSpec};
use talkoo_market::Standing;
use talkoo_node::{Input, Notice};
use tracing::warn;

impl Daemon {
    pub(super) fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Post(posting) => self.post_answer(*posting),
            Asked::Drop(job) => self.pending.extend(self.bought.drop(job, self.node.jobs())),
            Asked::Why(job, reply) => drop(reply.send(self.why_nobody(&job))),
            Asked::Offers(programs, reply) => drop(reply.send(self.offers_of(&programs))),
        }
    }

    fn post_answer(&mut self, posting: Posting) {
        let Posting { terms, name, program, kind, context, steps, params, who, heard, reply } = posting;
        let terms = match Terms::read(&terms) {
            Ok(terms) => terms,
            Err(no) => return drop(reply.send(Err(no))),
        };
        let mut id = [0; 32];
        if let Err(why) = getrandom::fill(&mut id) {
            let no = Refusal::new(RefusalCode::Other, why.to_string(), "no random bytes");
            return drop(reply.send(Err(no)));
        }
        let id = JobId(Digest(id));
        if let Some(key) = who
            && let Err(why) = crate::erase::receipts::belongs(&self.config.data_dir, &id, &key)
        {
            warn!(%why, "whose job this is could not be written: `erase --key` will not find its receipts");
        }
        let custom_id = if kind == Kind::Embed { "embedding" } else { "chat" };
        let step = |(prompt, seed)| StepSpec { custom_id: custom_id.into(), prompt, params: params.clone(), seed };
        let steps = steps.into_iter().map(step).collect();
        let base = JobSpec {
            id,
            name,
            program,
            kind,
            tier: Tier::Exact,
            context,
            steps,
            copies: false,
            ..terms.spec(self.providing)
        };
        self.bought.listen(id, heard);
        self.pending.push(Input::Post(Box::new(base)));
        if reply.send(Ok(id)).is_err() {
            // Who asked is gone.
            self.pending.push(Input::Cancel(id));
        }
    }

    /// Why nobody has answered; busy, if somebody is at it.
    fn why_nobody(&self, job: &JobId) -> Refusal {
        if self.node.jobs().get(job).is_some_and(|job| !job.workers.is_empty()) {
            return Refusal::new(RefusalCode::Busy, "a worker has it", "wait");
        }
        let why = self.node.market().explain(job);
        let rows = talkoo_market::summarise(why.iter().map(|(_, why)| why));
        if rows.is_empty() {
            let message = "nobody offers this model".to_owned();
            return Refusal::new(
                RefusalCode::NotWanted,
                message,
                "join a network: `talkoo join CODE`, see `talkoo peers`",
            );
        }
        let message = format!("nobody can run it under these limits: {}", talkoo_market::line(&rows));
        let hint = rows.first().map(|row| row.hint.clone()).unwrap_or_default();
        Refusal::new(RefusalCode::NotWanted, message, hint)
    }

    /// Who of the network offers these programs.
    fn offers_of(&self, programs: &[Digest]) -> BTreeMap<Digest, Vec<Value>> {
        let mut all: BTreeMap<Digest, Vec<Value>> = BTreeMap::new();
        for (node, peer) in self.node.market().peers().filter(|(_, peer)| peer.up) {
            let Some(card) = peer.card.as_ref().filter(|_| peer.standing == Standing::Good) else { continue };
            for offer in card.models.iter().filter(|offer| programs.contains(&offer.program)) {
                all.entry(offer.program).or_default().push(json!({
                    "name": node.to_string(),
                    "provider_name": card.operator.to_string(),
                    "tag": node.address().to_string(),
                    "context_length": offer.context,
                    "pricing": {"prompt": a_token(card.price.input), "completion": a_token(card.price.output)},
                    // As measured on real work, else as its card says.
                    "throughput_last_30m": peer.decode_mtps().unwrap_or(offer.decode_mtps) as f64 / 1000.0,
                    "slots": card.slots,
                    "status": 0,
                }));
            }
        }
        all
    }

    pub(super) fn heard(&mut self, notice: &Notice) {
        self.pending.extend(self.bought.hear(notice, self.node.jobs()));
    }
}
