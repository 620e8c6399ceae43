//! Payments that were begun: one answer for each authorization, also over a kill. A file for each, until an hour after its
//! authorization's end.
//!
//! ```text
//! (none) ─► intent, before the transfer is sent ─► paid, before the answer leaves ─► answered again, a few times
//! ```

use super::{Authorization, No, reason};
use crate::limits::{PAYMENT_KEPT_S, PAYMENTS_KEPT_MAX, PAYMENTS_TIDY_S, REPEATS_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use talkoo_base::{Address, Digest, Refusal, RefusalCode, sha256};

/// A payment that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Who pays.
    pub(super) payer: String,
    /// His authorization's nonce, as hex.
    pub(super) nonce: String,
    /// Digest of path and body, as hex: it buys no other answer.
    pub(super) request: String,
    /// What was asked, in the asset's smallest unit.
    pub(super) amount: u128,
    /// The authorization's end, in seconds since 1970.
    pub(super) valid_before: u64,
    /// The block after which the transfer comes.
    pub(super) since: u64,
    /// The transaction that may still come.
    pub(super) sent: Option<String>,
    /// The transaction that paid.
    pub(super) transaction: Option<String>,
    /// How often the answer was begun again.
    pub(super) repeats: u32,
}

pub(super) struct Kept {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<Digest, Record>,
    /// Those that somebody is at: who pays, and what he has yet to pay.
    open: BTreeMap<Digest, (Address, u128)>,
    /// When what is over was forgotten, in seconds since 1970.
    tidied: u64,
}

/// An authorization that nobody else is at, until it is dropped.
pub(super) struct Hold {
    kept: Arc<Kept>,
    id: Digest,
}

/// The name of an authorization: the token counts nonces by payer.
fn id_of(authorization: &Authorization) -> Digest {
    sha256(&[b"talkoo/x402/payment/1", &authorization.from.0, &authorization.nonce.0])
}

impl Kept {
    /// Reads what was begun before. What a crash left half written is none, and so is a damaged record: the chain knows that its
    /// authorization was used, so it buys nothing more.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut records = BTreeMap::new();
        for entry in std::fs::read_dir(&folder)?.filter_map(Result::ok) {
            let path = entry.path();
            let id = path.file_stem().and_then(|name| Digest::from_hex(name.to_str()?));
            match (id, path.extension().is_some_and(|ending| ending == "json")) {
                (Some(id), true) => match serde_json::from_slice(&std::fs::read(&path)?) {
                    Ok(record) => drop(records.insert(id, record)),
                    Err(why) => {
                        tracing::warn!(path = %path.display(), %why, "this record of a payment is damaged and not used");
                        std::fs::remove_file(&path)?;
                    }
                },
                (Some(_), false) => std::fs::remove_file(&path)?,
                (None, _) => {}
            }
        }
        Ok(Self { folder, state: Mutex::new(State { records, ..State::default() }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: &Digest) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Takes an authorization for a request, at `now` in seconds since 1970.
    ///
    /// # Errors
    /// If somebody is at it, it bought something else, or its answer was told often enough; or nothing more can be remembered.
    pub(super) fn hold(
        self: &Arc<Self>,
        authorization: &Authorization,
        request: &Digest,
        now: u64,
    ) -> Result<(Hold, Option<Record>), No> {
        let id = id_of(authorization);
        let mut state = self.lock();
        let is_time = now.saturating_sub(state.tidied) >= PAYMENTS_TIDY_S;
        if is_time || state.records.len() + state.open.len() >= PAYMENTS_KEPT_MAX {
            self.tidy(&mut state, now);
        }
        if state.open.contains_key(&id) {
            return Err(No::new(reason::PENDING, "the authorization is being used by another request"));
        }
        let record = state.records.get(&id).cloned();
        match &record {
            Some(record) if record.request != request.to_string() => {
                return Err(No::new(reason::NONCE, "the authorization was used for another request"));
            }
            Some(record) if record.repeats >= REPEATS_MAX => {
                let message = format!("the answer was told {} times already", REPEATS_MAX + 1);
                return Err(No::new(reason::NONCE, message));
            }
            None if state.records.len() + state.open.len() >= PAYMENTS_KEPT_MAX => {
                return Err(No::new(reason::PENDING, "too many payments of this hour are remembered: try later"));
            }
            _ => {}
        }
        state.open.insert(id, (authorization.from, authorization.value));
        Ok((Hold { kept: self.clone(), id }, record))
    }

    /// Forgets what is over.
    fn tidy(&self, state: &mut State, now: u64) {
        let State { records, open, tidied } = state;
        *tidied = now;
        records.retain(|id, record| {
            let stays = open.contains_key(id) || record.valid_before.saturating_add(PAYMENT_KEPT_S) >= now;
            if !stays && let Err(why) = std::fs::remove_file(self.path(id)) {
                tracing::warn!(%why, "a payment that is over could not be forgotten");
            }
            stays
        });
    }
}

impl Hold {
    /// What its payer has yet to pay for all that is under way, this one included.
    pub(super) fn owed(&self) -> u128 {
        let state = self.kept.lock();
        let payer = state.open.get(&self.id).map(|(payer, _)| *payer);
        let own = state.open.values().filter(|(by, _)| Some(*by) == payer);
        own.fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
    }

    /// Writes a state of it; it is on the disk when this is over. Blocks.
    ///
    /// # Errors
    /// What the disk says; then it counts here, but not after a kill.
    pub(super) fn write(&self, record: Record) -> Result<(), Refusal> {
        let bytes = serde_json::to_vec(&record).expect("JSON of texts and numbers");
        let mut state = self.kept.lock();
        if record.transaction.is_some() {
            state.open.entry(self.id).and_modify(|(_, amount)| *amount = 0);
        }
        state.records.insert(self.id, record);
        drop(state);
        crate::files::write(&self.kept.path(&self.id), &bytes).map_err(|why| {
            Refusal::new(RefusalCode::Other, format!("a payment can't be written ({why})"), "is the disk full?")
        })
    }

    /// Forgets it again: nothing was sent. Blocks.
    pub(super) fn forget(&self) {
        self.kept.lock().records.remove(&self.id);
        if let Err(why) = std::fs::remove_file(self.kept.path(&self.id)) {
            tracing::warn!(%why, "an intent to be paid could not be forgotten");
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.kept.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use talkoo_base::Signature;

    fn authorization(nonce: u8) -> Authorization {
        let (from, to) = (Address([1; 20]), Address([2; 20]));
        let signature = Signature([0; 65]);
        let nonce = Digest([nonce; 32]);
        Authorization { from, to, value: 5, valid_after: 0, valid_before: 1000, nonce, signature }
    }

    fn record(transaction: Option<&str>, repeats: u32) -> Record {
        Record {
            payer: "0x".into(),
            nonce: String::new(),
            request: Digest([7; 32]).to_string(),
            amount: 5,
            valid_before: 1000,
            since: 3,
            sent: None,
            transaction: transaction.map(str::to_owned),
            repeats,
        }
    }

    fn reason_of(held: Result<(Hold, Option<Record>), No>) -> &'static str {
        held.err().expect("it is refused").reason
    }

    #[test]
    fn one_request_at_a_time_has_an_authorization_and_only_what_it_bought() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Arc::new(Kept::open(folder.path().join("x402")).unwrap());
        let (kept, request, other) = (open(), Digest([7; 32]), Digest([8; 32]));
        let (hold, none) = kept.hold(&authorization(1), &request, 0).unwrap();
        assert_eq!(none, None);
        assert_eq!(reason_of(kept.hold(&authorization(1), &request, 0)), reason::PENDING);
        assert!(kept.hold(&authorization(2), &request, 0).is_ok(), "another nonce is another one");
        hold.write(record(None, 0)).unwrap();
        drop(hold);
        // As after a kill: only what is on the disk counts.
        let kept = open();
        assert_eq!(reason_of(kept.hold(&authorization(1), &other, 0)), reason::NONCE);
        let (hold, found) = kept.hold(&authorization(1), &request, 0).unwrap();
        assert_eq!(found, Some(record(None, 0)));
        hold.write(record(Some("0xaa"), REPEATS_MAX)).unwrap();
        drop(hold);
        assert_eq!(reason_of(open().hold(&authorization(1), &request, 0)), reason::NONCE, "told often enough");
        let (hold, _) = kept.hold(&authorization(3), &request, 0).unwrap();
        hold.write(record(None, 0)).unwrap();
        hold.forget();
        drop(hold);
        assert_eq!(open().hold(&authorization(3), &other, 0).unwrap().1, None, "what was not sent buys anything");
    }

    #[test]
    fn what_is_over_is_forgotten_and_half_a_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::open(folder.path().to_owned()).unwrap());
        let (hold, _) = kept.hold(&authorization(1), &Digest([7; 32]), 0).unwrap();
        hold.write(record(None, 0)).unwrap();
        drop(hold);
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        kept.tidy(&mut kept.lock(), 1000 + PAYMENT_KEPT_S);
        assert_eq!(files(), 1);
        kept.tidy(&mut kept.lock(), 1001 + PAYMENT_KEPT_S);
        assert_eq!(files(), 0);
        std::fs::write(folder.path().join(format!("{}.new", Digest([9; 32]))), "{").unwrap();
        Kept::open(folder.path().to_owned()).unwrap();
        assert_eq!(files(), 0);
    }

    #[test]
    fn what_is_over_goes_with_the_next_payment() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::open(folder.path().to_owned()).unwrap());
        let (hold, _) = kept.hold(&authorization(1), &Digest([7; 32]), 0).unwrap();
        hold.write(record(Some("0xaa"), 0)).unwrap();
        drop(hold);
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        drop(kept.hold(&authorization(2), &Digest([7; 32]), 1000 + PAYMENT_KEPT_S).unwrap());
        assert_eq!(files(), 1);
        drop(kept.hold(&authorization(2), &Digest([7; 32]), 1001 + PAYMENT_KEPT_S + PAYMENTS_TIDY_S).unwrap());
        assert_eq!(files(), 0);
    }

    #[test]
    fn a_damaged_record_stops_no_node() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::open(folder.path().to_owned()).unwrap());
        for nonce in [1, 2] {
            let (hold, _) = kept.hold(&authorization(nonce), &Digest([7; 32]), 0).unwrap();
            hold.write(record(Some("0xaa"), 0)).unwrap();
        }
        std::fs::write(kept.path(&id_of(&authorization(1))), "").unwrap();
        let kept = Arc::new(Kept::open(folder.path().to_owned()).unwrap());
        assert_eq!(kept.hold(&authorization(1), &Digest([7; 32]), 0).unwrap().1, None);
        assert!(kept.hold(&authorization(2), &Digest([7; 32]), 0).unwrap().1.is_some());
    }
}
