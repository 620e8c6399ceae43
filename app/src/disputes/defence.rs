//! The worker's side: shows what its receipts commit to, to clients that ask by message, and to anybody who asks on chain.

use super::abi;
use super::court::{Court, CourtError, Told};
use super::rerun::EngineRun;
use super::sold::{KEPT_S, Shelf};
use super::talk::Said;
use super::{LOOK_BACK, Post};
use crate::daemon::executor::Lender;
use crate::ledger::unix;
use alloy_primitives::{Address, keccak256};
use alloy_sol_types::SolValue;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use talkoo_base::{Digest, NodeId, Refusal, RefusalCode};
use talkoo_ledger::bindings::{IDisputes, Turn};
use talkoo_proof::dispute::{Answer, Case, Defender, Question};
use tracing::{info, warn};

/// How often the chain is looked at: of ours, and of one whose server is shared.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_OUTSIDE: Duration = Duration::from_secs(5);
/// Questions by message about one lease; a dispute has at most eight, and may begin again.
const ASKED_MAX: u32 = 24;
/// Cases that wait for their challenger's next move; others' bonds anybody can bring us.
const ANSWERED_MAX: usize = 64;
/// How long what was computed for an answer is kept for the next one.
const RUN_IDLE: Duration = Duration::from_secs(60);
/// How often an answer is tried again that could not be given, as when the engines are busy or the model is not loaded yet.
const AGAIN: Duration = Duration::from_secs(10);
/// … and of how many at most: each costs its challenger a bond.
const UNANSWERED_MAX: usize = 1_024;
/// How often leases that are over are looked for.
const SWEEP: Duration = Duration::from_secs(3_600);

/// A question by message.
pub(super) struct Asked {
    pub(super) from: NodeId,
    pub(super) id: u64,
    pub(super) lease: Digest,
    pub(super) receipt: Digest,
    pub(super) question: Question,
}

/// Peers whose question waits: each has one at a time.
#[derive(Default)]
pub(super) struct Waiting(Mutex<BTreeSet<NodeId>>);

impl Waiting {
    pub(super) fn begin(&self, peer: NodeId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer)
    }

    pub(super) fn end(&self, peer: &NodeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }
}

/// What was computed for the last answer.
struct Run {
    receipt: Digest,
    defender: Defender,
    run: EngineRun,
    used: Instant,
}

/// The thread's own.
pub(super) struct Defence {
    pub(super) court: Court,
    pub(super) is_outside: bool,
    pub(super) shelf: Arc<Shelf>,
    pub(super) lender: Lender,
    pub(super) post: Post,
    pub(super) inbox: Receiver<Asked>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) state: State,
}

/// What it remembers.
#[derive(Default)]
pub(super) struct State {
    run: Option<Run>,
    /// Questions by message, by lease.
    asked: BTreeMap<Digest, u32>,
    /// Cases that we answered last: receipt, lease, challenger.
    answered: BTreeSet<(Digest, Digest, Address)>,
    /// Questions on chain that could not be answered yet, by receipt and challenger, and when that was last tried.
    unanswered: BTreeMap<(Digest, Address), IDisputes::Asked>,
    tried: Option<Instant>,
    /// The next block to look at.
    block: Option<u64>,
    swept: Option<Instant>,
    trouble: Option<CourtError>,
}

fn refuse(message: &str) -> Refusal {
    Refusal::new(RefusalCode::UnknownId, message, "")
}

impl Defence {
    pub(super) fn run(mut self) {
        let look = if self.is_outside { LOOK_OUTSIDE } else { LOOK };
        while !self.stop.load(Ordering::Acquire) {
            let asked = match self.inbox.recv_timeout(look) {
                Ok(asked) => Some(asked),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // Clocks run on chain.
            if let Err(trouble) = self.look().and_then(|()| self.again()).and_then(|()| self.lapse()) {
                if self.state.trouble.as_ref() != Some(&trouble) {
                    warn!(%trouble, "the chain can't be asked whether somebody doubts our work; trying again");
                }
                self.state.trouble = Some(trouble);
            } else {
                self.state.trouble = None;
            }
            if let Some(asked) = asked {
                self.tell(asked);
            }
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        if self.state.run.as_ref().is_some_and(|run| run.used.elapsed() >= RUN_IDLE) {
            self.state.run = None;
        }
        if self.state.swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            self.state.swept = Some(Instant::now());
            // A judge that can't be asked may have any clock.
            let Ok(open_s) = self.court.open_s() else { return };
            self.shelf.sweep(unix().saturating_sub(open_s.saturating_sub(KEPT_S)));
            let shelf = &self.shelf;
            self.state.asked.retain(|lease, _| shelf.has(lease));
        }
    }

    /// Answers a message.
    fn tell(&mut self, asked: Asked) {
        let Asked { from, id, lease, receipt, question } = asked;
        let said = match self.for_client(&from, &lease, &receipt, &question) {
            Ok(answer) => Said::Tell { id, answer },
            Err(refusal) => Said::Refuse { id, reason: refusal.message },
        };
        self.waiting.end(&from);
        (self.post)(from, said.to_bytes());
    }

    fn for_client(
        &mut self,
        from: &NodeId,
        lease: &Digest,
        receipt: &Digest,
        question: &Question,
    ) -> Result<Answer, Refusal> {
        let case = self.case(lease, receipt)?;
        if case.request.signer(&self.court.network).ok() != Some(from.address()) {
            return Err(refuse("this lease is another client's"));
        }
        let count = self.state.asked.entry(*lease).or_default();
        *count += 1;
        if *count > ASKED_MAX {
            return Err(refuse("there were enough questions about this lease: ask on chain"));
        }
        self.answer(*receipt, case, question)
    }

    fn case(&self, lease: &Digest, receipt: &Digest) -> Result<Case, Refusal> {
        let sold = self.shelf.get(lease).ok_or_else(|| refuse("there is no such lease here"))?;
        sold.at(receipt, &self.court.network).ok_or_else(|| refuse("the receipt is none of ours"))
    }

    fn answer(&mut self, receipt: Digest, case: Case, question: &Question) -> Result<Answer, Refusal> {
        let kept = self.state.run.take().filter(|run| run.receipt == receipt);
        let mut kept = match kept {
            Some(run) => run,
            None => {
                let model = self.lender.lend(case.request.body.program)?;
                let run = EngineRun::new(model, &case)?;
                let defender = Defender::new(case, self.court.network.clone(), self.court.node.clone());
                Run { receipt, defender, run, used: Instant::now() }
            }
        };
        let answer = kept.defender.answer(&mut kept.run, question);
        kept.used = Instant::now();
        self.state.run = Some(kept);
        answer
    }

    /// Answers what was asked on chain since the last look.
    fn look(&mut self) -> Result<(), CourtError> {
        if self.shelf.is_empty() {
            self.state.block = None;
            return Ok(());
        }
        let last = self.court.block()?;
        let from = self.state.block.unwrap_or_else(|| last.saturating_sub(LOOK_BACK));
        if from > last {
            return Ok(());
        }
        let node = self.court.me().into_word();
        let told: Vec<Told<IDisputes::Asked>> = self.court.events((from, last), &[None, None, Some(node)])?;
        for Told { event, .. } in told {
            self.on_chain(&event)?;
        }
        self.state.block = Some(last + 1);
        Ok(())
    }

    /// Tries what could not be answered, until its clock is out: one bad moment shall not cost the bond.
    fn again(&mut self) -> Result<(), CourtError> {
        if self.state.tried.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(());
        }
        self.state.tried = Some(Instant::now());
        self.state.unanswered.clone().values().try_for_each(|asked| self.on_chain(asked))
    }

    /// Takes the bonds of challengers that did not go on.
    fn lapse(&mut self) -> Result<(), CourtError> {
        for (id, lease, challenger) in self.state.answered.clone() {
            let now = self.court.case(&id, challenger)?;
            if now.turn == Turn::Answer || (now.turn == Turn::Ask && self.court.time()? < now.deadline.to::<u64>()) {
                continue;
            }
            if let (Turn::Ask, Ok(case)) = (now.turn, self.case(&lease, &id)) {
                match self.court.lapse(abi::words(&case), challenger) {
                    Ok(sent) => {
                        info!(receipt = %id.short(), gas = sent.gas, "nobody went on: the challenger's bond is ours");
                        self.court.collect()?;
                    }
                    Err(CourtError::Refused(why)) => info!(receipt = %id.short(), why, "somebody else ended the case"),
                    Err(error) => return Err(error),
                }
            }
            self.state.answered.remove(&(id, lease, challenger));
        }
        Ok(())
    }

    /// Answers one question on chain, if it is still open.
    fn on_chain(&mut self, asked: &IDisputes::Asked) -> Result<(), CourtError> {
        let (id, lease) = (Digest(asked.id.0), Digest(asked.lease.0));
        let now = self.court.case(&id, asked.challenger)?;
        if now.turn == Turn::Ask && self.state.answered.len() < ANSWERED_MAX {
            self.state.answered.insert((id, lease, asked.challenger));
        }
        let is_open = now.turn == Turn::Answer && now.question == keccak256(asked.question.abi_encode());
        if !is_open || self.court.time()? >= now.deadline.to::<u64>() {
            self.state.unanswered.remove(&(id, asked.challenger));
            return Ok(());
        }
        warn!(receipt = %id.short(), challenger = %asked.challenger, "our work is doubted on chain; answering");
        let case = self.case(&lease, &id);
        let question = abi::question_of(&asked.question).ok_or_else(|| refuse("there is no such question"));
        let said = case.and_then(|case| Ok((case.clone(), self.answer(id, case, &question?)?)));
        let (case, answer) = match said {
            Ok(said) => said,
            Err(why) => {
                warn!(receipt = %id.short(), %why, "no answer can be given now: our bond is at stake; trying again");
                if self.state.unanswered.len() < UNANSWERED_MAX {
                    self.state.unanswered.insert((id, asked.challenger), asked.clone());
                }
                return Ok(());
            }
        };
        self.state.unanswered.remove(&(id, asked.challenger));
        let (words, question) = (abi::words(&case), asked.question.clone());
        match self.court.answer(words, asked.challenger, question, abi::answer(&answer)) {
            Ok(sent) => {
                info!(receipt = %id.short(), gas = sent.gas, "answered on chain");
                if self.state.answered.len() < ANSWERED_MAX {
                    self.state.answered.insert((id, lease, asked.challenger));
                }
            }
            Err(CourtError::Refused(why)) => {
                warn!(receipt = %id.short(), why, "the judge does not take our answer: our bond is at stake");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
