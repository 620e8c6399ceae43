//! Answers that the market's workers give: a job of one line, whose chunks are told as they are checked and paid.
//!
//! A worker that vanishes changes nothing that was said: the next one gives the same tokens, and what was told is not told
//! again. If two give different ones, one of them lied, and nothing more of the answer is told.

use super::here::Open;
use super::{Ask, Node, PIECES_QUEUED};
use crate::batch::logprob_entries;
use crate::daemon::Event;
use crate::erase::Retention;
use crate::ledger::unix;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Amount, Attempt, CHUNK_TOKENS, Digest, JobId, NodeId, Refusal, RefusalCode};
use talkoo_inference::{Keys, Piece, ServiceTier, Who};
use talkoo_job::{Done, JobStatus, Notice as Job};
use talkoo_node::{Input, Notice};
use talkoo_proof::Notice as Proof;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long nothing may come: finding workers, a prefill, a lease that lapses and goes to another one.
const SILENCE: Duration = Duration::from_secs(180);
/// How long a worker may take to be found; the market answers in seconds.
const FIND_WAIT: Duration = Duration::from_secs(10);
/// How long the loop may take to take an order.
const POST_WAIT: Duration = Duration::from_secs(10);

/// What the desk asks of the loop.
pub(crate) enum Asked {
    /// An answer.
    Post(Box<Posting>),
    /// It is not wanted any more.
    Drop(JobId),
    /// Why nobody works on it.
    Why(JobId, oneshot::Sender<Refusal>),
    /// Who offers these programs, in OpenRouter's words.
    Offers(Vec<Digest>, oneshot::Sender<BTreeMap<Digest, Vec<Value>>>),
}

/// An order for the market.
pub(crate) struct Posting {
    /// As of `POST /api/v1/jobs`, without a file.
    pub(crate) terms: Value,
    pub(crate) name: String,
    pub(crate) program: Digest,
    pub(crate) context: u32,
    pub(crate) prompt: Vec<u32>,
    pub(crate) params: Vec<u8>,
    pub(crate) seeds: Vec<u64>,
    /// The id of the key that asks.
    pub(crate) who: Option<String>,
    pub(crate) heard: mpsc::Sender<Heard>,
    pub(crate) reply: oneshot::Sender<Result<JobId, Refusal>>,
}

/// What the loop tells of a job.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A chunk of a lease was checked and paid; the lease costs so much up to here.
    Chunk {
        attempt: Attempt,
        tokens: Vec<u32>,
        worth: Amount,
    },
    Done {
        step: u32,
        done: Box<Done>,
        receipt: Option<String>,
    },
    Failed(Refusal),
}

/// The loop's part: who listens to which job.
#[derive(Default)]
pub(crate) struct Bought(BTreeMap<JobId, Listener>);

struct Listener {
    heard: mpsc::Sender<Heard>,
    receipts: BTreeMap<u32, String>,
}

impl Bought {
    pub(crate) fn listen(&mut self, job: JobId, heard: mpsc::Sender<Heard>) {
        self.0.insert(job, Listener { heard, receipts: BTreeMap::new() });
    }

    pub(crate) fn forget(&mut self, job: &JobId) -> bool {
        self.0.remove(job).is_some()
    }

    /// The receipt of a step was written.
    pub(crate) fn kept(&mut self, job: &JobId, step: u32, path: String) {
        if let Some(listener) = self.0.get_mut(job) {
            listener.receipts.insert(step, path);
        }
    }

    /// Passes on what is about a job that somebody listens to. What the node has to be told then.
    pub(crate) fn hear(&mut self, notice: &Notice, jobs: &talkoo_job::Jobs) -> Option<Input> {
        let (job, heard) = match notice {
            Notice::Proof(Proof::Chunk { attempt, tokens, worth }) => {
                let (attempt, tokens, worth) = (*attempt, tokens.clone(), *worth);
                (attempt.job, Heard::Chunk { attempt, tokens, worth })
            }
            Notice::Job(Job::StepDone { attempt, .. }) => {
                let receipt = self.0.get_mut(&attempt.job)?.receipts.remove(&attempt.step);
                let done = jobs.get(&attempt.job)?.steps().get(attempt.step as usize)?.done()?.clone();
                (attempt.job, Heard::Done { step: attempt.step, done: Box::new(done), receipt })
            }
            Notice::Job(Job::StepFailed { job, refusal, .. }) => (*job, Heard::Failed(refusal.clone())),
            // Who listened has all; the answer itself is kept nowhere.
            Notice::Job(Job::Closed { job, .. }) => return self.forget(job).then_some(Input::Forget(*job)),
            _ => return None,
        };
        let listener = self.0.get(&job)?;
        // Its channel has room for all: who has none is gone, or the workers send more than was ordered.
        listener.heard.try_send(heard).is_err().then_some(Input::Cancel(job))
    }

    /// What has to be done when nobody wants a job any more.
    pub(crate) fn drop(&mut self, job: JobId, jobs: &talkoo_job::Jobs) -> Option<Input> {
        let is_open = jobs.get(&job).is_some_and(|job| job.status == JobStatus::Open);
        if !is_open {
            // A job that was refused never closes.
            self.forget(&job);
        }
        is_open.then_some(Input::Cancel(job))
    }
}

impl Node {
    pub(super) async fn buy(&self, ask: Ask) -> Result<mpsc::Receiver<Piece>, Refusal> {
        self.setup.keys.may_spend(&ask.order.who)?;
        let choices = ask.order.choices;
        let first = first_seed(ask.order.seed);
        let seeds: Vec<u64> = (0..choices).map(|choice| first.wrapping_add(u64::from(choice))).collect();
        let chunks = (ask.params.max_tokens.div_ceil(CHUNK_TOKENS) + 2) as usize;
        // Leases that are lost or copied say again what was said.
        let (heard, hears) = mpsc::channel(chunks * choices as usize * 8);
        let (reply, posted) = oneshot::channel();
        let program = ask.held.root_with(self.setup.kv)?;
        let posting = Posting {
            terms: terms(&ask)?,
            name: ask.held.name.clone(),
            program,
            context: ask.tokens.len() as u32 + ask.params.max_tokens,
            prompt: ask.tokens.clone(),
            params: ask.params.to_bytes(),
            seeds: seeds.clone(),
            who: if let Who::Key(id) = &ask.order.who { Some(id.clone()) } else { None },
            heard,
            reply,
        };
        let stopping = || Refusal::new(RefusalCode::Stopping, "the node is stopping", "ask again");
        self.setup.inbox.send(Event::Asked(Asked::Post(Box::new(posting)))).await.map_err(|_| stopping())?;
        let job = timeout(POST_WAIT, posted).await.map_err(|_| stopping())?.map_err(|_| stopping())??;
        let (pieces, out) = mpsc::channel(PIECES_QUEUED);
        let facts = json!({"model": ask.model(program), "tier": "exact", "job": job.to_string()});
        let open = (0..choices).map(|_| Open::new(&ask.known.vocabulary, &ask.params)).collect();
        let telling = Telling {
            job,
            inbox: self.setup.inbox.clone(),
            spent: Spent { keys: self.setup.keys.clone(), who: ask.order.who.clone(), amount: Amount::ZERO },
            open,
            said: vec![Vec::new(); choices as usize],
            leases: BTreeMap::new(),
            seeds,
            facts,
            retention: self.setup.retention,
            left: choices,
            known: ask.known,
            is_over: false,
        };
        self.setup.tasks.spawn(telling.run(hears, pieces));
        Ok(out)
    }
}

/// The seed of the first answer: who names none gets another answer each time, and is told which seed it was.
pub(super) fn first_seed(seed: Option<u64>) -> u64 {
    seed.unwrap_or_else(|| {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).expect("the system has random bytes");
        // Small enough for every JSON reader.
        u64::from(u32::from_be_bytes(bytes))
    })
}

/// The wishes as a job's terms. Nobody but the worker reads the prompt, unless the order says so: `verify`.
fn terms(ask: &Ask) -> Result<Value, Refusal> {
    let mut provider = ask.order.wishes.provider.as_object().cloned().unwrap_or_default();
    let verify = provider.shift_remove("verify").unwrap_or_else(|| json!("own"));
    let sort = match ask.order.wishes.tier {
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

/// An answer that is being told.
struct Telling {
    job: JobId,
    inbox: mpsc::Sender<Event>,
    spent: Spent,
    open: Vec<Open>,
    /// Tokens that were told, of each choice.
    said: Vec<Vec<u32>>,
    /// Tokens and price of every lease.
    leases: BTreeMap<(u32, u32), (Vec<u32>, Amount)>,
    seeds: Vec<u64>,
    facts: Value,
    retention: Retention,
    left: u32,
    known: Arc<super::Known>,
    is_over: bool,
}

impl Telling {
    async fn run(mut self, mut hears: mpsc::Receiver<Heard>, pieces: mpsc::Sender<Piece>) {
        let mut wait = FIND_WAIT;
        while !self.is_over {
            let heard = tokio::select! {
                heard = timeout(wait, hears.recv()) => heard,
                () = pieces.closed() => break,
            };
            let more = match heard {
                Ok(Some(heard)) => {
                    wait = SILENCE;
                    self.hear(heard)
                }
                Ok(None) => vec![self.fail(Refusal::new(RefusalCode::Cancelled, "the job was cancelled", ""))],
                Err(_) if wait == FIND_WAIT && self.someone_works().await => {
                    wait = SILENCE;
                    continue;
                }
                Err(_) => {
                    let why = self.why().await;
                    vec![self.fail(why)]
                }
            };
            for piece in more {
                if pieces.send(piece).await.is_err() {
                    self.is_over = true;
                    break;
                }
            }
        }
        // Whatever still runs is not wanted any more.
        self.inbox.send(Event::Asked(Asked::Drop(self.job))).await.ok();
    }

    fn fail(&mut self, refusal: Refusal) -> Piece {
        self.is_over = true;
        Piece::Failed(refusal)
    }

    async fn someone_works(&self) -> bool {
        self.asked().await.code == RefusalCode::Busy
    }

    async fn why(&self) -> Refusal {
        self.asked().await
    }

    /// Why nobody has answered yet; [`RefusalCode::Busy`] if somebody works on it.
    async fn asked(&self) -> Refusal {
        let none = || Refusal::new(RefusalCode::Silent, "no worker answered in time", "`talkoo doctor`");
        let (reply, why) = oneshot::channel();
        self.inbox.send(Event::Asked(Asked::Why(self.job, reply))).await.ok();
        timeout(POST_WAIT, why).await.ok().and_then(Result::ok).unwrap_or_else(none)
    }

    fn hear(&mut self, heard: Heard) -> Vec<Piece> {
        match heard {
            Heard::Failed(refusal) => vec![self.fail(refusal)],
            Heard::Chunk { attempt, tokens, worth } => {
                let (lease, price) = self.leases.entry((attempt.step, attempt.number)).or_default();
                lease.extend(tokens);
                *price = worth;
                let lease = lease.clone();
                let all = Amount(self.leases.values().map(|(_, price)| price.0).sum());
                if let Err(no) = self.spent.up_to(all) {
                    return vec![self.fail(no)];
                }
                self.say(attempt.step, &lease)
            }
            Heard::Done { step, done, receipt } => self.done(step, &done, receipt),
        }
    }

    /// Tells what is new in an answer so far, unless it contradicts what was told.
    fn say(&mut self, step: u32, tokens: &[u32]) -> Vec<Piece> {
        let said = &mut self.said[step as usize];
        let common = said.len().min(tokens.len());
        if said[..common] != tokens[..common] {
            let message = "two workers gave different answers, so one of them lied; what came may be the lie";
            return vec![self.fail(Refusal::new(RefusalCode::AnswerRefuted, message, "ask again"))];
        }
        let new = tokens[common..].to_vec();
        said.extend_from_slice(&new);
        let open = &mut self.open[step as usize];
        if open.tells_logprobs() || new.is_empty() {
            return Vec::new();
        }
        open.text(step, &new, Vec::new())
    }

    fn done(&mut self, step: u32, done: &Done, receipt: Option<String>) -> Vec<Piece> {
        let mut pieces = self.say(step, &done.tokens);
        if self.is_over {
            return pieces;
        }
        let open = &mut self.open[step as usize];
        if open.tells_logprobs() {
            let entries = logprob_entries(&self.known.vocabulary, &done.tokens, &done.logprobs);
            pieces.extend(open.text(step, &done.tokens, entries));
        }
        open.count(done.tokens.len());
        let of_step = self.leases.iter().filter(|((of, _), _)| *of == step);
        let price: u128 = of_step.map(|(_, (_, price))| price.0).sum();
        let mut facts = self.facts.clone();
        facts["nodes"] = json!([{"node": name(&done.node)}]);
        facts["seed"] = json!(self.seeds[step as usize]);
        facts["price"] = json!(Amount(price).to_string());
        facts["audited"] = json!(done.audited);
        // What discloses it is its receipt: without one nobody can compute it again but who asked.
        let is_kept = receipt.is_some() && facts["tier"] == "exact";
        facts["rerunnable_until"] = json!(is_kept.then(|| self.retention.until(unix())).flatten());
        facts["receipt"] = json!(receipt);
        pieces.extend(open.end(step, done.finish, facts));
        self.left -= 1;
        self.is_over = self.left == 0;
        pieces
    }
}

fn name(node: &NodeId) -> String {
    node.to_string()
}
