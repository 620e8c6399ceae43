//! A job that the desk has posted for an answer, and what is heard of it.

use super::Node;
use super::bought::{Asked, Heard, Posting};
use crate::daemon::Event;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Amount, Digest, GenerateParams, JobId, Kind, Refusal, RefusalCode};
use talkoo_inference::{Keys, ServiceTier, Who, Wishes};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long nothing may come: finding workers, a prefill, a lease that lapses and goes to another one.
const SILENCE: Duration = Duration::from_secs(180);
/// How long a worker may take to be found; the market answers in seconds.
const FIND_WAIT: Duration = Duration::from_secs(10);
/// How long the loop may take to take an order.
const POST_WAIT: Duration = Duration::from_secs(10);

/// A job for the market.
pub(super) struct Wanted<'a> {
    pub(super) name: String,
    pub(super) program: Digest,
    pub(super) kind: Kind,
    pub(super) context: u32,
    pub(super) steps: Vec<(Vec<u32>, u64)>,
    pub(super) params: &'a GenerateParams,
    /// Of a step, at most.
    pub(super) chunks: usize,
    pub(super) wishes: &'a Wishes,
    pub(super) who: &'a Who,
}

/// A job that is listened to; what it costs is booked as it comes.
pub(super) struct Hearing {
    pub(super) job: JobId,
    inbox: mpsc::Sender<Event>,
    hears: mpsc::Receiver<Heard>,
    wait: Duration,
    spent: Spent,
    /// Price of every lease.
    leases: BTreeMap<(u32, u32), Amount>,
}

impl Hearing {
    /// What is told next.
    ///
    /// # Errors
    /// Why nothing comes, or if a key's budget is spent.
    pub(super) async fn next(&mut self) -> Result<Heard, Refusal> {
        loop {
            match timeout(self.wait, self.hears.recv()).await {
                Ok(Some(heard)) => {
                    self.wait = SILENCE;
                    self.book(&heard)?;
                    return Ok(heard);
                }
                Ok(None) => return Err(Refusal::new(RefusalCode::Cancelled, "the job was cancelled", "")),
                Err(_) => {
                    let why = self.why().await;
                    if self.wait != FIND_WAIT || why.code != RefusalCode::Busy {
                        return Err(why);
                    }
                    // Somebody works on it.
                    self.wait = SILENCE;
                }
            }
        }
    }

    fn book(&mut self, heard: &Heard) -> Result<(), Refusal> {
        let Heard::Chunk { attempt, worth, .. } = heard else { return Ok(()) };
        self.leases.insert((attempt.step, attempt.number), *worth);
        self.spent.up_to(self.price())
    }

    /// All that it costs up to here.
    pub(super) fn price(&self) -> Amount {
        Amount(self.leases.values().map(|price| price.0).sum())
    }

    /// What a step costs, with the leases of it that were lost.
    pub(super) fn price_of(&self, step: u32) -> Amount {
        Amount(self.leases.iter().filter(|((of, _), _)| *of == step).map(|(_, price)| price.0).sum())
    }

    /// Why nobody has answered yet; [`RefusalCode::Busy`] if somebody works on it.
    async fn why(&self) -> Refusal {
        let none = || Refusal::new(RefusalCode::Silent, "no worker answered in time", "`talkoo doctor`");
        let (reply, why) = oneshot::channel();
        self.inbox.send(Event::Asked(Asked::Why(self.job, reply))).await.ok();
        timeout(POST_WAIT, why).await.ok().and_then(Result::ok).unwrap_or_else(none)
    }

    /// Whatever still runs is not wanted any more.
    pub(super) async fn end(self) {
        self.inbox.send(Event::Asked(Asked::Drop(self.job))).await.ok();
    }
}

impl Node {
    /// Has a job posted, and listens to it.
    pub(super) async fn post(&self, order: Wanted<'_>) -> Result<Hearing, Refusal> {
        self.setup.keys.may_spend(order.who)?;
        // Leases that are lost or copied say again what was said.
        let (heard, hears) = mpsc::channel((order.chunks + 2) * order.steps.len() * 8);
        let (reply, posted) = oneshot::channel();
        let posting = Posting {
            terms: terms(order.wishes)?,
            name: order.name,
            program: order.program,
            kind: order.kind,
            context: order.context,
            steps: order.steps,
            params: order.params.to_bytes(),
            who: if let Who::Key(id) = order.who { Some(id.clone()) } else { None },
            heard,
            reply,
        };
        let stopping = || Refusal::new(RefusalCode::Stopping, "the node is stopping", "ask again");
        self.setup.inbox.send(Event::Asked(Asked::Post(Box::new(posting)))).await.map_err(|_| stopping())?;
        let job = timeout(POST_WAIT, posted).await.map_err(|_| stopping())?.map_err(|_| stopping())??;
        let spent = Spent { keys: self.setup.keys.clone(), who: order.who.clone(), amount: Amount::ZERO };
        let (inbox, wait, leases) = (self.setup.inbox.clone(), FIND_WAIT, BTreeMap::new());
        Ok(Hearing { job, inbox, hears, wait, spent, leases })
    }
}

/// The wishes as a job's terms. Nobody but the worker reads the prompt, unless the order says so: `verify`.
fn terms(wishes: &Wishes) -> Result<Value, Refusal> {
    let mut provider = wishes.provider.as_object().cloned().unwrap_or_default();
    let verify = provider.shift_remove("verify").unwrap_or_else(|| json!("own"));
    let sort = match wishes.tier {
        ServiceTier::Default => None,
        ServiceTier::Flex => Some("price"),
        ServiceTier::Priority => Some("latency"),
    };
    if let Some(sort) = sort {
        provider.entry("sort").or_insert_with(|| json!(sort));
    }
    let verify = if verify == "spot" { json!("drawn") } else { verify };
    Ok(json!({"provider": provider, "verify": verify}))
}

/// Books what an answer costs as it comes, for its key may ask for others meanwhile; written when it is over, however it ends.
struct Spent {
    keys: Arc<Keys>,
    who: Who,
    amount: Amount,
}

impl Spent {
    /// So much in all up to here.
    fn up_to(&mut self, amount: Amount) -> Result<(), Refusal> {
        let more = amount.0.saturating_sub(self.amount.0);
        self.amount = Amount(self.amount.0 + more);
        self.keys.spent(&self.who, Amount(more))
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        if self.amount > Amount::ZERO {
            self.keys.keep();
        }
    }
}
