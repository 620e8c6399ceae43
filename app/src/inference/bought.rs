//! Answers that the market's workers give: a job of one line, whose chunks are told as they are checked and paid.
//!
//! A worker that vanishes changes nothing that was said: the next one gives the same tokens, and what was told is not told
//! again. If two give different ones, one of them lied, and nothing more of the answer is told.

use super::hearing::{Hearing, Wanted};
use super::here::Open;
use super::{Ask, Node, PIECES_QUEUED};
use crate::batch::logprob_entries;
use crate::erase::Retention;
use crate::ledger::unix;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use talkoo_base::{Amount, Attempt, CHUNK_TOKENS, Digest, JobId, Kind, NodeId, Refusal, RefusalCode};
use talkoo_inference::Piece;
use talkoo_job::{Done, JobStatus, Notice as Job};
use talkoo_node::{Input, Notice};
use talkoo_proof::Notice as Proof;
use tokio::sync::{mpsc, oneshot};

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
    pub(crate) kind: Kind,
    pub(crate) context: u32,
    /// Of each step the prompt and the seed.
    pub(crate) steps: Vec<(Vec<u32>, u64)>,
    pub(crate) params: Vec<u8>,
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
    /// What was told of a step counts no more: its worker was convicted. It is made again.
    Revoked {
        step: u32,
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
            Notice::Job(Job::StepRevoked { job, step }) => (*job, Heard::Revoked { step: *step }),
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
        let choices = ask.order.choices;
        let first = first_seed(ask.order.seed);
        let seeds: Vec<u64> = (0..choices).map(|choice| first.wrapping_add(u64::from(choice))).collect();
        let program = ask.held.root_with(self.setup.kv)?;
        let wanted = Wanted {
            name: ask.held.name.clone(),
            program,
            kind: Kind::Generate,
            context: ask.tokens.len() as u32 + ask.params.max_tokens,
            steps: seeds.iter().map(|seed| (ask.tokens.clone(), *seed)).collect(),
            params: &ask.params,
            chunks: ask.params.max_tokens.div_ceil(CHUNK_TOKENS) as usize,
            wishes: &ask.order.wishes,
            who: &ask.order.who,
        };
        let hearing = self.post(wanted).await?;
        let (pieces, out) = mpsc::channel(PIECES_QUEUED);
        let facts = json!({"model": ask.model(program), "tier": "exact", "job": hearing.job.to_string()});
        let open = (0..choices).map(|_| Open::new(&ask.known.vocabulary, &ask.params)).collect();
        let telling = Telling {
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
        self.setup.tasks.spawn(telling.run(hearing, pieces));
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

/// An answer that is being told.
struct Telling {
    open: Vec<Open>,
    /// Tokens that were told, of each choice.
    said: Vec<Vec<u32>>,
    /// Tokens of every lease.
    leases: BTreeMap<(u32, u32), Vec<u32>>,
    seeds: Vec<u64>,
    facts: Value,
    retention: Retention,
    left: u32,
    known: Arc<super::Known>,
    is_over: bool,
}

impl Telling {
    async fn run(mut self, mut hearing: Hearing, pieces: mpsc::Sender<Piece>) {
        while !self.is_over {
            let heard = tokio::select! {
                heard = hearing.next() => heard,
                () = pieces.closed() => break,
            };
            let more = match heard {
                Ok(heard) => self.hear(&hearing, heard),
                Err(no) => vec![self.fail(no)],
            };
            for piece in more {
                if pieces.send(piece).await.is_err() {
                    self.is_over = true;
                    break;
                }
            }
        }
        hearing.end().await;
    }

    fn fail(&mut self, refusal: Refusal) -> Piece {
        self.is_over = true;
        Piece::Failed(refusal)
    }

    fn hear(&mut self, hearing: &Hearing, heard: Heard) -> Vec<Piece> {
        match heard {
            Heard::Failed(refusal) => vec![self.fail(refusal)],
            Heard::Chunk { attempt, tokens, .. } => {
                let lease = self.leases.entry((attempt.step, attempt.number)).or_default();
                lease.extend(tokens);
                let lease = lease.clone();
                self.say(attempt.step, &lease)
            }
            Heard::Done { step, done, receipt } => self.done(step, &done, receipt, hearing.price_of(step)),
            // It was told as an answer that stands.
            Heard::Revoked { .. } => vec![self.fail(refuted("the worker of one of the answers was caught lying"))],
        }
    }

    /// Tells what is new in an answer so far, unless it contradicts what was told.
    fn say(&mut self, step: u32, tokens: &[u32]) -> Vec<Piece> {
        let said = &mut self.said[step as usize];
        let common = said.len().min(tokens.len());
        if said[..common] != tokens[..common] {
            let message = "two workers gave different answers, so one of them lied; what came may be the lie";
            return vec![self.fail(refuted(message))];
        }
        let new = tokens[common..].to_vec();
        said.extend_from_slice(&new);
        let open = &mut self.open[step as usize];
        if open.tells_logprobs() || new.is_empty() {
            return Vec::new();
        }
        open.text(step, &new, Vec::new())
    }

    fn done(&mut self, step: u32, done: &Done, receipt: Option<String>, price: Amount) -> Vec<Piece> {
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
        let mut facts = self.facts.clone();
        facts["nodes"] = json!([{"node": name(&done.node), "address": done.node.address().to_string()}]);
        facts["seed"] = json!(self.seeds[step as usize]);
        facts["price"] = json!(price.to_string());
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

fn refuted(message: &str) -> Refusal {
    Refusal::new(RefusalCode::AnswerRefuted, message, "ask again")
}

pub(super) fn name(node: &NodeId) -> String {
    node.to_string()
}
