//! The transfer of one payment: after the answer is there, before any of it leaves.

use super::desk::{Held, Outcome, note};
use super::kept::Record;
use super::{Authorization, No, Sales, Unsettled, reason};
use crate::Meters;
use crate::collect::unix;
use crate::limits::SETTLE_ROOM_S;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

/// A payment on its way; it goes on when the buyer is gone.
pub(super) struct Settling {
    pub(super) sales: Arc<Sales>,
    pub(super) authorization: Authorization,
    pub(super) record: Record,
    pub(super) held: Arc<Held>,
    /// So many have to be ready.
    pub(super) orders: usize,
    pub(super) readies: mpsc::Receiver<bool>,
    pub(super) decide: watch::Sender<Outcome>,
    pub(super) failure: Arc<Mutex<Option<Refusal>>>,
    pub(super) meters: Meters,
}

impl Settling {
    pub(super) async fn run(mut self) {
        let outcome = match self.is_ready().await {
            true => self.settle().await,
            false => Outcome::Unpaid(None),
        };
        if let Outcome::Paid(transaction) = &outcome {
            let (payer, amount) = (&self.record.payer, self.record.amount);
            tracing::info!(payer, amount, transaction, "an answer was paid by x402");
            self.meters.x402("paid");
            self.meters.x402_earned(amount);
        }
        self.decide.send_replace(outcome);
    }

    /// Waits until the answer is there.
    async fn is_ready(&mut self) -> bool {
        let left = self.authorization.valid_before.saturating_sub(SETTLE_ROOM_S).saturating_sub(unix());
        let deadline = Instant::now() + Duration::from_secs(left);
        for _ in 0..self.orders {
            match timeout_at(deadline, self.readies.recv()).await {
                Ok(Some(true)) => {}
                Ok(_) => return false,
                Err(_) => {
                    let message = "the answer was not ready before the authorization's end";
                    let hint = "ask for fewer tokens, or stream; nothing was paid";
                    note(&self.failure, &Refusal::new(RefusalCode::Silent, message, hint));
                    return false;
                }
            }
        }
        true
    }

    async fn settle(&mut self) -> Outcome {
        // Before anything is sent: a kill in between leaves what can be looked up on the chain.
        if let Err(no) = self.write().await {
            note(&self.failure, &no);
            return Outcome::Unpaid(None);
        }
        let (since, sent) = (self.record.since, self.record.sent.clone());
        match self.sales.till.settle(self.authorization, since, sent).await {
            Ok(transaction) => {
                self.record.transaction = Some(transaction.clone());
                if let Err(no) = self.write().await {
                    // The chain has it, and the intent is on the disk.
                    tracing::warn!(%no, transaction, "a payment was made and could not be noted");
                }
                Outcome::Paid(transaction)
            }
            Err(Unsettled::Refused(why)) => {
                let held = self.held.clone();
                blocking(move || {
                    held.hold.forget();
                    Ok(())
                })
                .await
                .ok();
                Outcome::Unpaid(Some(No::new(reason::TRANSACTION, format!("the chain refuses the transfer: {why}"))))
            }
            Err(Unsettled::Late(transaction)) => {
                let message = format!(
                    "the transfer {transaction} is in no block yet: send the same request and authorization again"
                );
                self.record.sent = Some(transaction);
                if let Err(no) = self.write().await {
                    tracing::warn!(%no, "a transfer that may still come could not be noted");
                }
                Outcome::Unpaid(Some(No::new(reason::PENDING, message)))
            }
            Err(Unsettled::Away(why)) => {
                let message = format!("{why}: send the same request and authorization again");
                Outcome::Unpaid(Some(No::new(reason::SETTLE, message)))
            }
        }
    }

    async fn write(&self) -> Result<(), Refusal> {
        let (held, record) = (self.held.clone(), self.record.clone());
        blocking(move || held.hold.write(record)).await
    }
}

/// Does what waits for a disk on a thread where that is allowed.
pub(super) async fn blocking(work: impl FnOnce() -> Result<(), Refusal> + Send + 'static) -> Result<(), Refusal> {
    let broken = |why: tokio::task::JoinError| Refusal::new(RefusalCode::Other, why.to_string(), "please report it");
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|why| Err(broken(why)))
}
