//! Validators that voted twice: both votes go to the contract that judges them, until it has.
//!
//! What is not judged yet is on the disk, so a restart goes on with it. Every validator reports; the contract takes the
//! first report and refuses the others.

use super::driver::Driver;
use super::{Shared, lock};
use alloy_primitives::{Address, B256, hex};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use talkoo_api::eth::Chain;
use talkoo_base::Signer;
use talkoo_base::wire::{decode_shape, encode};
use talkoo_chain::SignedVote;
use talkoo_ledger::bindings::{IEquivocation, Vote};
use talkoo_ledger::contracts::EQUIVOCATION_AT;
use talkoo_ledger::{KvRead, Writes};
use tracing::{info, warn};

/// Where the ledger's store has them.
const CASES: &[u8] = b"Mcases";
/// Cases at once: a bond is gone after a few.
const CASES_MAX: usize = 64;

/// Two votes of one validator for one place.
type Case = [SignedVote; 2];

/// What is to be judged.
#[derive(Default)]
pub(super) struct Cases {
    open: Vec<Case>,
    /// The transaction that reports a case, by its place.
    sent: BTreeMap<B256, B256>,
}

fn report(case: &Case) -> IEquivocation::reportCall {
    let [first, second] = case;
    IEquivocation::reportCall {
        a: Vote::from(&first.vote),
        signatureA: first.signature.0.to_vec().into(),
        b: Vote::from(&second.vote),
        signatureB: second.signature.0.to_vec().into(),
    }
}

/// What a case is about: of two pairs of votes for one place, one is enough.
fn place([SignedVote { vote, validator, .. }, _]: &Case) -> B256 {
    let fields = (vote.kind, vote.height, vote.round, validator);
    talkoo_base::sha256(&[&encode(&fields)]).0.into()
}

impl Cases {
    /// Those that the last run left.
    pub(super) fn read(kv: &dyn KvRead) -> Result<Self> {
        let open = kv.get(CASES)?.map(|bytes| decode_shape(&bytes).context("the ledger's open cases can't be read"));
        Ok(Self { open: open.transpose()?.unwrap_or_default(), sent: BTreeMap::new() })
    }

    /// Takes a case; what to write if it is new.
    pub(super) fn add(&mut self, case: &Case) -> Option<Writes> {
        let known = self.open.iter().any(|open| place(open) == place(case));
        if known || self.open.len() >= CASES_MAX {
            return None;
        }
        let [SignedVote { vote, validator, .. }, _] = case;
        warn!(%validator, height = vote.height, round = vote.round, "a validator signed two votes that contradict each other");
        self.open.push(*case);
        Some(self.writes())
    }

    /// Reports what is not reported, and forgets what is judged; what to write if any was.
    pub(super) fn pursue(&mut self, shared: &Shared) -> Option<Writes> {
        let before = self.open.len();
        let sent = &mut self.sent;
        self.open.retain(|case| is_open(case, sent.entry(place(case)).or_default(), shared));
        sent.retain(|place_of, _| self.open.iter().any(|case| place(case) == *place_of));
        (self.open.len() < before).then(|| self.writes())
    }

    fn writes(&self) -> Writes {
        [(CASES.to_vec(), Some(encode(&self.open)))].into()
    }
}

impl Driver {
    /// A validator reports who voted twice; a restart goes on with it.
    pub(super) fn accuse(&mut self, votes: &Case) -> Result<()> {
        if self.validators.iter().any(|validator| validator.address == self.me)
            && let Some(writes) = self.cases.add(votes)
        {
            self.store.write(&writes)?;
            self.pursue();
        }
        Ok(())
    }

    /// Looks again at what is not judged.
    pub(super) fn pursue(&mut self) {
        if let Some(Err(why)) = self.cases.pursue(&self.shared).map(|writes| self.store.write(&writes)) {
            warn!(%why, "what is judged was not written; the next start looks again");
        }
    }
}

/// Whether a case has to be looked at again; reports it if it has and its transaction waits nowhere.
fn is_open(case: &Case, sent: &mut B256, shared: &Shared) -> bool {
    if shared.waiting(sent).is_some() {
        return true;
    }
    let (me, call) = (Address::from(shared.key.address().0), report(case));
    match shared.call(me, EQUIVOCATION_AT, &call) {
        Ok(outcome) if outcome.success => {
            let _turn = lock(&shared.sponsoring);
            match shared.send(&shared.key, EQUIVOCATION_AT, &call) {
                Ok(hash) => *sent = hash,
                Err(why) => warn!(%why, "a double vote could not be reported yet"),
            }
            true
        }
        Ok(outcome) => {
            let (validator, height) = (case[0].validator, case[0].vote.height);
            let answer = hex::encode_prefixed(outcome.output.get(..4).unwrap_or_default());
            info!(%validator, height, answer, "a double vote is judged, or can't be any more");
            false
        }
        Err(why) => {
            warn!(%why, "a double vote could not be looked at");
            true
        }
    }
}
