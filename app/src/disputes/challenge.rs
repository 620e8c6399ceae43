//! The client's side: goes on with every dispute of ours, one question after the other, by messages as long as the worker
//! answers them, else on chain.
//!
//! ```text
//! our engine refuted the worker ──► record ──► ask ── answer fits ──► … ──► finding ──► convict ──► seize
//!                                               └── silence, refusal, unfit ──► ask on chain ── clock ──► timeout ──► seize
//! ```
//! The records are the queue: whatever is not over is looked at when something new comes, and again after a while.

use super::abi;
use super::court::{Court, CourtError};
use super::record::{Dispute, Ending, Line, Records, Sent, Who};
use super::rerun::EngineRun;
use super::talk::Said;
use super::words::Sight;
use super::{Mailbox, Post, Tell};
use crate::daemon::executor::Lender;
use crate::ledger::{RpcError, unix};
use alloy_primitives::keccak256;
use alloy_sol_types::SolValue;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use talkoo_base::wire::Typed;
use talkoo_base::{Digest, NodeId, Refusal, RefusalCode};
use talkoo_ledger::bindings::Turn;
use talkoo_proof::dispute::{Answer, Challenger, Move, Question, Rerun, Shape};
use talkoo_proof::limits::PREFILL_TOKEN_MS_MAX;
use tracing::{info, warn};

/// How long a worker has for one answer by message, besides the time of a prefill.
const ANSWER: Duration = Duration::from_secs(30);
/// How often the chain is looked at while something is expected.
const LOOK: Duration = Duration::from_millis(200);
/// How long a dispute is left alone that can't go on.
const RETRY: Duration = Duration::from_secs(30);
/// How often guilty workers' money is looked for at first: on a chain of ours, and on one whose server is shared.
const REST: Duration = Duration::from_secs(2);
const REST_OUTSIDE: Duration = Duration::from_secs(60);
/// Seconds after its request's deadline in which a dispute that can't go on is tried again.
const TRIED_S: u64 = 3_600;

/// What the thread is told.
pub(super) enum Told {
    /// There is a new record, or the wallet is open.
    Look,
    /// A worker answered the question with this number, or said why not.
    Answer(u64, Result<Answer, String>),
}

/// Why a dispute does not go on now.
pub(super) enum Stuck {
    /// It may later.
    Later(String),
    /// It never will.
    Never(String),
    /// The node stops.
    Stopping,
}

impl From<CourtError> for Stuck {
    fn from(error: CourtError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<RpcError> for Stuck {
    fn from(error: RpcError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<Refusal> for Stuck {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            RefusalCode::Busy | RefusalCode::Stopping => Self::Later(refusal.message),
            _ => Self::Never(refusal.message),
        }
    }
}

/// What came of a question.
enum Outcome {
    Answered,
    /// The worker let its clock run out, or somebody else convicted it.
    Guilty,
}

/// The thread's own.
pub(super) struct Challenges {
    pub(super) court: Court,
    pub(super) records: Records,
    pub(super) lender: Lender,
    pub(super) post: Post,
    pub(super) tell: Tell,
    pub(super) inbox: Receiver<Told>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) number: u64,
    pub(super) is_outside: bool,
    /// Whether there is a record that was not looked at.
    pub(super) is_new: bool,
}

impl Challenges {
    pub(super) fn run(mut self) {
        let mut open = self.open();
        let rest = if self.is_outside { REST_OUTSIDE } else { REST };
        let mut played: BTreeMap<Digest, Instant> = BTreeMap::new();
        while !self.is_stopping() {
            for dispute in &mut open {
                let id = self.court.id(&dispute.case);
                let pause = match dispute.ending {
                    // What is to come comes soon, or within the window.
                    Some(Ending::Guilty { since, .. }) => {
                        rest.max(Duration::from_secs(unix().saturating_sub(since) / 8))
                    }
                    Some(Ending::Open(_)) | None => RETRY,
                };
                if played.get(&id).is_none_or(|at| at.elapsed() >= pause) {
                    self.go_on(dispute);
                    played.insert(id, Instant::now());
                }
            }
            open.retain(|dispute| !dispute.is_over());
            match self.inbox.recv_timeout(rest) {
                Ok(Told::Look) => (open, played) = (self.open(), BTreeMap::new()),
                Ok(Told::Answer(..)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if std::mem::take(&mut self.is_new) {
                open = self.open();
            }
        }
    }

    /// What is not over.
    fn open(&self) -> Vec<Dispute> {
        self.records.shrink();
        self.records.all().into_iter().filter(|dispute| !dispute.is_over()).collect()
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// As far as a dispute goes now.
    fn go_on(&mut self, dispute: &mut Dispute) {
        let before = dispute.clone();
        let went = match dispute.ending {
            None => self.play(dispute),
            Some(_) => self.seize(dispute),
        };
        match went {
            Ok(()) | Err(Stuck::Stopping) => {}
            Err(Stuck::Later(why)) => {
                let tried_until = dispute.case.request.body.deadline.0 + TRIED_S;
                if dispute.ending.is_none() && unix() > tried_until {
                    self.end(dispute, Ending::Open(why));
                } else {
                    warn!(dispute = %self.court.id(&dispute.case).short(), why, "a dispute waits; it is tried again");
                }
            }
            Err(Stuck::Never(why)) if dispute.ending.is_none() => self.end(dispute, Ending::Open(why)),
            Err(Stuck::Never(why)) => warn!(why, "what a guilty worker owes can't be taken"),
        }
        if *dispute != before {
            self.records.keep(dispute);
        }
    }

    pub(super) fn end(&self, dispute: &mut Dispute, ending: Ending) {
        let (dispute_id, worker) = (self.court.id(&dispute.case).short(), dispute.worker);
        match &ending {
            Ending::Open(why) => warn!(dispute_id, ?worker, why, "a dispute ends without a verdict"),
            Ending::Guilty { .. } => warn!(dispute_id, ?worker, "the judge found a worker guilty: talkoo dispute show"),
        }
        dispute.ending = Some(ending);
        self.records.keep(dispute);
        self.say(dispute, "dispute.ended");
    }

    /// Tells everybody who listens.
    fn say(&self, dispute: &Dispute, kind: &str) {
        let mut event = dispute.summary(&self.court.network);
        event["type"] = json!(kind);
        if let Some(line) = dispute.story.last() {
            event["message"] = json!(line.text);
            event["transaction"] = json!(line.sent.as_ref().map(|sent| &sent.hash));
            event["transaction_gas"] = json!(line.sent.as_ref().map(|sent| sent.gas));
        }
        (self.tell)(&event);
    }

    /// A line of the story, kept at once.
    pub(super) fn note(&self, dispute: &mut Dispute, who: Who, text: String, sent: Option<Sent>) {
        info!(dispute = %self.court.id(&dispute.case).short(), gas = sent.as_ref().map(|sent| sent.gas), "{text}");
        dispute.story.push(Line { at: unix(), who, text, sent });
        self.records.keep(dispute);
        self.say(dispute, "dispute.move");
    }

    /// Plays from where it was left.
    fn play(&mut self, dispute: &mut Dispute) -> Result<(), Stuck> {
        let lease = dispute.lease(&self.court.network);
        let operator = dispute.case.receipt.body.operator.0.into();
        if self.court.guilt(&lease)?.since.to::<u64>() > 0 {
            return self.guilty(dispute, None);
        }
        if self.is_convicted(dispute) && self.court.stake(operator)? == 0 {
            let why = "its operator was convicted by another of our disputes, and has nothing more at stake";
            return Err(Stuck::Never(why.into()));
        }
        // It refuted the worker, so it was here: it may be loading, or its memory in use.
        let lent = self.lender.lend(dispute.case.request.body.program);
        let model = lent.map_err(|refusal| Stuck::Later(refusal.to_string()))?;
        let mut run = EngineRun::new(model, &dispute.case)?;
        let exact = run.model();
        let sight = Sight { shape: Shape::of(&dispute.case, exact.layers.len()), model: &exact };
        let mut challenger = Challenger::new(dispute.case.clone(), self.court.network.clone());
        for answer in dispute.heard.clone() {
            challenger.next(&mut run)?;
            let unfit = |why| Stuck::Never(format!("what was kept of it can't be gone on with: {why}"));
            challenger.hear(&mut run, answer).map_err(unfit)?;
        }
        loop {
            match challenger.next(&mut run)? {
                Move::Ask(question) => {
                    let outcome = self.ask(dispute, &mut challenger, &mut run, &sight, &question)?;
                    if matches!(outcome, Outcome::Guilty) {
                        return self.guilty(dispute, None);
                    }
                }
                Move::Convict(finding) => return self.convict(dispute, &run, &sight, &finding),
                Move::Nothing(why) => return Err(Stuck::Never(why)),
            }
        }
    }

    /// Whether another dispute of ours had its operator convicted.
    fn is_convicted(&self, dispute: &Dispute) -> bool {
        let same = |other: &Dispute| other.case.receipt.body.operator == dispute.case.receipt.body.operator;
        self.records.all().iter().any(|other| same(other) && matches!(other.ending, Some(Ending::Guilty { .. })))
    }

    /// Asks until there is an answer that fits, or none in time.
    fn ask(
        &mut self,
        dispute: &mut Dispute,
        challenger: &mut Challenger,
        run: &mut EngineRun,
        sight: &Sight<'_>,
        question: &Question,
    ) -> Result<Outcome, Stuck> {
        let what = sight.question(question);
        if !dispute.is_silent {
            let heard = self.by_message(dispute, question)?;
            let heard = heard.and_then(|answer| {
                challenger.hear(run, answer.clone()).map_err(|unfit| unfit.to_string())?;
                dispute.heard.push(answer);
                Ok(())
            });
            match heard {
                Ok(()) => {
                    self.note(dispute, Who::Worker, format!("asked by message, it showed {what}"), None);
                    return Ok(Outcome::Answered);
                }
                Err(why) => {
                    dispute.is_silent = true;
                    self.note(dispute, Who::Worker, format!("asked by message, it did not show {what}: {why}"), None);
                }
            }
        }
        let Some(answer) = self.on_chain(dispute, challenger, run, sight, question)? else {
            return Ok(Outcome::Guilty);
        };
        challenger.hear(run, answer.clone()).map_err(|unfit| Stuck::Never(unfit.to_string()))?;
        dispute.heard.push(answer);
        self.note(dispute, Who::Worker, format!("answered on chain: {what}"), None);
        Ok(Outcome::Answered)
    }

    /// Asks as one node another: its answer, or why there is none.
    fn by_message(&mut self, dispute: &Dispute, question: &Question) -> Result<Result<Answer, String>, Stuck> {
        self.number += 1;
        let (id, case, network) = (self.number, &dispute.case, &self.court.network);
        let (lease, receipt) = (dispute.lease(network), case.receipt.body.digest(network));
        let ask = Said::Ask { id, lease, receipt, question: question.clone() };
        self.mailbox.expect(Some((dispute.worker, id)));
        let tokens = (case.prompt.len() + case.output.len()) as u64;
        let until = Instant::now() + ANSWER + Duration::from_millis(PREFILL_TOKEN_MS_MAX * tokens);
        let mut is_sent = false;
        let answer = loop {
            let left = until.saturating_duration_since(Instant::now());
            // One that is away may come back.
            is_sent = is_sent || (self.post)(dispute.worker, ask.to_bytes());
            match self.inbox.recv_timeout(left.min(LOOK)) {
                Ok(Told::Answer(number, answer)) if number == id => break answer,
                Ok(Told::Look) => self.is_new = true,
                Ok(Told::Answer(..)) => {}
                Err(_) if self.is_stopping() => return Err(Stuck::Stopping),
                Err(_) if left.is_zero() && is_sent => break Err("it said nothing in time".into()),
                Err(_) if left.is_zero() => break Err("it is not connected".into()),
                Err(_) => {}
            }
        };
        self.mailbox.expect(None);
        Ok(answer)
    }

    /// Asks on chain and waits for the answer; `None` if the worker is guilty instead.
    fn on_chain(
        &mut self,
        dispute: &mut Dispute,
        challenger: &Challenger,
        run: &EngineRun,
        sight: &Sight<'_>,
        question: &Question,
    ) -> Result<Option<Answer>, Stuck> {
        let (court, case) = (self.court.clone(), dispute.case.clone());
        let (id, lease, what) = (court.id(&case), dispute.lease(&court.network), sight.question(question));
        let support = challenger.support(question);
        let asked = abi::question(question, &support.root, sight.count(question, support.count));
        let hash = keccak256(asked.abi_encode());
        let from = court.block()?;
        loop {
            if court.guilt(&lease)?.since.to::<u64>() > 0 {
                return Ok(None);
            }
            let now = court.case(&id, court.me())?;
            match now.turn {
                Turn::Ask if now.question == hash => {
                    let told = court.answered(&id, from.saturating_sub(super::LOOK_BACK))?;
                    let answer = told.and_then(|told| abi::answer_of(question, &id, &told));
                    return answer.map(Some).ok_or_else(|| Stuck::Later("its answer is not in the events".into()));
                }
                Turn::None | Turn::Ask => {
                    let bond = if now.turn == Turn::None { court.bond(&id)? } else { Default::default() };
                    let signatures = court.signatures(&case, dispute.delegation.as_ref())?;
                    let shown = abi::support(&support, &run.tree().manifest(&run.model()));
                    let sent = court.ask(abi::words(&case), signatures, asked.clone(), shown, bond)?;
                    self.note(dispute, Who::We, format!("asked on chain: {what}"), Some(sent));
                }
                Turn::Answer if court.time()? >= now.deadline.to::<u64>() => {
                    let sent = court.timeout(abi::words(&case))?;
                    self.note(dispute, Who::Chain, format!("no answer in time: {what}"), Some(sent));
                    return Ok(None);
                }
                Turn::Answer => self.pause()?,
                Turn::Guilty | Turn::Acquitted | Turn::__Invalid => {
                    return Err(Stuck::Never("the case is closed on chain".into()));
                }
            }
        }
    }

    fn pause(&mut self) -> Result<(), Stuck> {
        self.is_new |= matches!(self.inbox.recv_timeout(LOOK), Ok(Told::Look));
        if self.is_stopping() { Err(Stuck::Stopping) } else { Ok(()) }
    }
}

/// Whom a question went to, and its number.
pub(super) type Expected = Option<(NodeId, u64)>;
