//! Vectors that the market's workers make: a job with a step for each text.

use super::Node;
use super::bought::{Heard, name};
use super::encoders::{Read, real};
use super::hearing::{Hearing, Wanted};
use crate::erase::Retention;
use crate::ledger::unix;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use talkoo_base::{Kind, NodeId, Refusal, RefusalCode};
use talkoo_inference::{EmbedOrder, Embedded, check_dimensions};
use talkoo_job::Done;
use tokio::sync::oneshot;

/// A vector that came, with its receipt.
struct Made {
    done: Done,
    receipt: Option<String>,
}

impl Node {
    pub(super) async fn buy_vectors(&self, order: EmbedOrder) -> Result<Embedded, Refusal> {
        let EmbedOrder { model, inputs, dimensions, wishes, who } = order;
        self.setup.keys.may_spend(&who)?;
        let read = self.encoders.read(model, inputs).await?;
        check_dimensions(dimensions, read.dimensions)?;
        let params = Kind::params_of_embed(u32::try_from(read.dimensions).unwrap_or(u32::MAX));
        let wanted = Wanted {
            name: read.title.name.clone(),
            program: read.root,
            kind: Kind::Embed,
            context: read.texts.iter().map(Vec::len).max().unwrap_or(0) as u32,
            steps: read.texts.iter().map(|text| (text.clone(), 0)).collect(),
            params: &params,
            chunks: 1,
            wishes: &wishes,
            who: &who,
        };
        let hearing = self.post(wanted).await?;
        // In a task of its own: whoever goes away has the job ended.
        let retention = self.setup.retention;
        let (mut to, bought) = oneshot::channel();
        self.setup.tasks.spawn(async move {
            let mut hearing = hearing;
            let told = tokio::select! {
                all = gather(&mut hearing, read.texts.len()) => Some(all.map(|all| told(&read, &hearing, all, retention))),
                () = to.closed() => None,
            };
            hearing.end().await;
            told.and_then(|told| to.send(told).ok());
        });
        bought.await.unwrap_or_else(|_| Err(Refusal::new(RefusalCode::Stopping, "the node is stopping", "ask again")))
    }
}

/// Waits for so many vectors.
async fn gather(hearing: &mut Hearing, texts: usize) -> Result<Vec<Made>, Refusal> {
    let mut all = BTreeMap::new();
    while all.len() < texts {
        take(&mut all, hearing.next().await?)?;
    }
    Ok(all.into_values().collect())
}

/// Takes what is told of a job: the vectors that stand.
fn take(all: &mut BTreeMap<u32, Made>, heard: Heard) -> Result<(), Refusal> {
    match heard {
        Heard::Failed(refusal) => return Err(refusal),
        // Paid, and no result before it was checked.
        Heard::Chunk { .. } => {}
        Heard::Done { step, done, receipt } => drop(all.insert(step, Made { done: *done, receipt })),
        Heard::Revoked { step } => drop(all.remove(&step)),
    }
    Ok(())
}

fn told(read: &Read, hearing: &Hearing, all: Vec<Made>, retention: Retention) -> Embedded {
    let mut nodes: BTreeMap<NodeId, u64> = BTreeMap::new();
    all.iter().for_each(|made| *nodes.entry(made.done.node).or_default() += 1);
    let row = |(node, texts): (&NodeId, &u64)| json!({"node": name(node), "address": node.address().to_string(), "texts": texts});
    let nodes: Vec<Value> = nodes.iter().map(row).collect();
    let audited = (0u32..).zip(&all).filter(|(_, made)| made.done.audited).map(|(text, _)| text);
    // What has no receipt here nobody can compute again but who asked.
    let is_kept = all.iter().all(|made| made.receipt.is_some());
    let vector = |made: &Made| made.done.tokens.iter().map(|word| real(word.cast_signed())).collect();
    Embedded {
        vectors: all.iter().map(vector).collect(),
        tokens: read.texts.iter().map(Vec::len).sum::<usize>() as u32,
        facts: json!({
            "model": read.title.model(&read.root),
            "tier": "exact",
            "job": hearing.job.to_string(),
            "price": hearing.price().to_string(),
            "nodes": nodes,
            // Of each text the address of the node that made its vector; the texts that were made twice.
            "by": all.iter().map(|made| made.done.node.address().to_string()).collect::<Vec<_>>(),
            "audited": audited.collect::<Vec<_>>(),
            "rerunnable_until": is_kept.then(|| retention.until(unix())).flatten(),
            "receipts": all.iter().map(|made| &made.receipt).collect::<Vec<_>>(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use talkoo_base::{Finish, SecretKey};

    #[test]
    fn what_a_convicted_worker_made_is_waited_for_again() {
        let done = |step, worker: u8| {
            let node = SecretKey::from_bytes(&[worker; 32]).unwrap().node_id();
            let tokens = vec![u32::from(worker)];
            let done = Done { node, number: 0, tokens, logprobs: Vec::new(), finish: Finish::Stop, audited: false };
            Heard::Done { step, done: Box::new(done), receipt: None }
        };
        let mut all = BTreeMap::new();
        for heard in [done(0, 1), done(1, 2), Heard::Revoked { step: 0 }, done(2, 2)] {
            take(&mut all, heard).unwrap();
        }
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), [1, 2], "three were told, and two stand");
        take(&mut all, done(0, 2)).unwrap();
        assert!(all.values().all(|made| made.done.tokens == [2]));
    }
}
