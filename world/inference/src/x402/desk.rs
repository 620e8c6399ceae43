//! Two desks before the node's own: one that only counts what a request would cost, one that holds an answer back until it is paid.

use super::No;
use super::kept::Hold;
use super::places::Place;
use crate::keys::Who;
use crate::limits::PAYER_ANSWERS_MAX;
use crate::{Answering, Desk, EmbedOrder, Embedded, Measured, Model, Order, Piece, Prompt, Wishes};
use futures::future::BoxFuture;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_base::{Address, Refusal, RefusalCode};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

/// Pieces between an answer that is paid and its reader.
const PIECES_QUEUED: usize = 64;

/// What the orders of a request come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Orders, and how many answers they want together.
    pub(super) orders: usize,
    pub(super) answers: u32,
    /// Tokens that are read and those that may be written, for all answers.
    pub(super) input: u64,
    pub(super) output: u64,
    /// Whether one of them can't be answered.
    pub(super) is_refused: bool,
}

/// Counts what a request would cost, and answers nothing.
pub(super) struct Counter {
    desk: Arc<dyn Desk>,
    counted: Mutex<Counted>,
}

impl Counter {
    pub(super) fn new(desk: Arc<dyn Desk>) -> Self {
        Self { desk, counted: Mutex::default() }
    }

    pub(super) fn counted(&self) -> Counted {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn count_order(&self, order: Order) -> Result<Answering, Refusal> {
        let answers = self.counted().answers.saturating_add(order.choices);
        let measured = if order.wishes != Wishes::default() {
            let message = "`provider` and `service_tier` are not for who pays by x402: this node's own models answer";
            Err(Refusal::new(RefusalCode::UnsupportedParameter, message, "leave them out, or ask with a key"))
        } else if answers > PAYER_ANSWERS_MAX {
            let message = format!("more than {PAYER_ANSWERS_MAX} answers at once are not sold");
            Err(Refusal::new(RefusalCode::TooLarge, message, "ask for fewer"))
        } else {
            self.desk.measure(order.clone()).await
        };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Measured { model, prompt_tokens, max_tokens } = measured.inspect_err(|_| counted.is_refused = true)?;
        let choices = u64::from(order.choices);
        counted.orders += 1;
        counted.answers = answers;
        counted.input += choices * u64::from(prompt_tokens);
        counted.output += choices * u64::from(max_tokens);
        let (to, pieces) = mpsc::channel(1);
        let no = Refusal::new(RefusalCode::InsufficientFunds, "it was only counted", "");
        to.try_send(Piece::Failed(no)).expect("it has room for one");
        Ok(Answering { model, prompt_tokens, pieces })
    }
}

/// How it stands with a payment.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Nothing is decided.
    Open,
    /// It was paid by this transaction.
    Paid(String),
    /// It will not be paid, for there is no answer, or for a reason: nothing of the answer may leave.
    Unpaid(Option<No>),
}

/// An answer that is being bought.
pub(super) struct Sale {
    pub(super) desk: Arc<dyn Desk>,
    pub(super) tasks: TaskTracker,
    pub(super) payer: Address,
    /// Of an order that names none.
    pub(super) seed: u64,
    /// Whether it leaves from its first piece on, or as a whole.
    pub(super) streams: bool,
    /// Hears of each order that is ready to leave, or that there will be no answer.
    pub(super) ready: mpsc::Sender<bool>,
    pub(super) outcome: watch::Receiver<Outcome>,
    /// Why there is no answer.
    pub(super) failure: Arc<Mutex<Option<Refusal>>>,
    /// `price`, and `payment` without its transaction.
    pub(super) facts: Value,
    /// Held until the answer has left.
    pub(super) held: Arc<Held>,
}

/// What a buyer has while he is answered.
pub(super) struct Held {
    pub(super) hold: Hold,
    pub(super) _place: Place,
}

impl Sale {
    async fn begin(&self, order: Order) -> Result<Answering, Refusal> {
        let choices = order.choices;
        let order = Order { seed: order.seed.or(Some(self.seed)), who: Who::Payer(self.payer), ..order };
        let Answering { model, prompt_tokens, pieces } = self.desk.generate(order).await.inspect_err(|no| {
            note(&self.failure, no);
        })?;
        let (to, out) = mpsc::channel(PIECES_QUEUED);
        let relay = Relay {
            pieces,
            to,
            ready: self.ready.clone(),
            outcome: self.outcome.clone(),
            failure: self.failure.clone(),
            facts: self.facts.clone(),
            _held: self.held.clone(),
        };
        let enough = if self.streams { Enough::First } else { Enough::Ends(choices) };
        self.tasks.spawn(relay.run(enough));
        Ok(Answering { model, prompt_tokens, pieces: out })
    }
}

/// Notes the first reason why there is no answer.
pub(super) fn note(failure: &Mutex<Option<Refusal>>, no: &Refusal) {
    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| no.clone());
}

/// How much of an answer has to be there before it is paid.
enum Enough {
    First,
    /// All, with so many ends to come.
    Ends(u32),
}

/// Stands between an answer and its reader.
struct Relay {
    pieces: mpsc::Receiver<Piece>,
    to: mpsc::Sender<Piece>,
    ready: mpsc::Sender<bool>,
    outcome: watch::Receiver<Outcome>,
    failure: Arc<Mutex<Option<Refusal>>>,
    facts: Value,
    _held: Arc<Held>,
}

impl Relay {
    /// Gathers enough, waits until it is paid, and lets it go. Who reads no more ends it.
    async fn run(mut self, mut enough: Enough) {
        let mut gathered = Vec::new();
        loop {
            let piece = tokio::select! {
                piece = self.pieces.recv() => piece,
                () = self.to.closed() => return,
                () = unpaid(&mut self.outcome) => return self.fail(no_payment()).await,
            };
            let is_enough = match (&piece, &mut enough) {
                (None, _) => {
                    let no = Refusal::new(RefusalCode::Stopping, "the answer was broken off", "ask again");
                    return self.fail(no).await;
                }
                (Some(Piece::Failed(no)), _) => return self.fail(no.clone()).await,
                (Some(Piece::End { .. }), Enough::Ends(left)) => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                (Some(_), Enough::First) => true,
                (Some(_), Enough::Ends(_)) => false,
            };
            gathered.extend(piece);
            if is_enough {
                break;
            }
        }
        // Who counts may have given up.
        self.ready.send(true).await.ok();
        let outcome = tokio::select! {
            outcome = self.outcome.wait_for(|outcome| *outcome != Outcome::Open) => outcome.map(|now| now.clone()).ok(),
            () = self.to.closed() => return,
        };
        let Some(Outcome::Paid(transaction)) = outcome else { return self.fail(no_payment()).await };
        self.facts["payment"]["transaction"] = Value::String(transaction);
        for piece in gathered {
            if self.tell(piece).await.is_err() {
                return;
            }
        }
        loop {
            let piece = tokio::select! {
                piece = self.pieces.recv() => piece,
                () = self.to.closed() => return,
            };
            let Some(piece) = piece else { return };
            if self.tell(piece).await.is_err() {
                return;
            }
        }
    }

    async fn tell(&self, mut piece: Piece) -> Result<(), mpsc::error::SendError<Piece>> {
        if let Piece::End { facts, .. } = &mut piece {
            for key in ["price", "payment"] {
                facts[key] = self.facts[key].clone();
            }
        }
        self.to.send(piece).await
    }

    async fn fail(&self, no: Refusal) {
        note(&self.failure, &no);
        // Others of the same request may wait to be paid.
        self.ready.send(false).await.ok();
        self.to.send(Piece::Failed(no)).await.ok();
    }
}

fn no_payment() -> Refusal {
    Refusal::new(RefusalCode::InsufficientFunds, "the payment was not made", "send another one")
}

/// Comes when it is sure that nothing will be paid.
async fn unpaid(outcome: &mut watch::Receiver<Outcome>) {
    if outcome.wait_for(|outcome| matches!(outcome, Outcome::Unpaid(_))).await.is_err() {
        // Decided otherwise, and nobody is left who could change it.
        std::future::pending::<()>().await;
    }
}

impl Desk for Counter {
    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, Refusal>> {
        self.desk.models()
    }
    fn generate(&self, order: Order) -> BoxFuture<'_, Result<Answering, Refusal>> {
        Box::pin(self.count_order(order))
    }
    fn measure(&self, order: Order) -> BoxFuture<'_, Result<Measured, Refusal>> {
        self.desk.measure(order)
    }
    fn count(&self, model: String, prompt: Prompt) -> BoxFuture<'_, Result<u32, Refusal>> {
        self.desk.count(model, prompt)
    }
    fn embed(&self, order: EmbedOrder) -> BoxFuture<'_, Result<Embedded, Refusal>> {
        self.desk.embed(order)
    }
}

impl Desk for Sale {
    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, Refusal>> {
        self.desk.models()
    }
    fn generate(&self, order: Order) -> BoxFuture<'_, Result<Answering, Refusal>> {
        Box::pin(self.begin(order))
    }
    fn measure(&self, order: Order) -> BoxFuture<'_, Result<Measured, Refusal>> {
        self.desk.measure(order)
    }
    fn count(&self, model: String, prompt: Prompt) -> BoxFuture<'_, Result<u32, Refusal>> {
        self.desk.count(model, prompt)
    }
    fn embed(&self, order: EmbedOrder) -> BoxFuture<'_, Result<Embedded, Refusal>> {
        self.desk.embed(order)
    }
}
