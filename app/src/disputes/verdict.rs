//! The end of a dispute: the finding goes to the judge, and what its verdict takes is collected.

use super::abi;
use super::challenge::{Challenges, Stuck};
use super::court::CourtError;
use super::findings::{Charge, claimed};
use super::record::{Dispute, Ending, Who};
use super::rerun::EngineRun;
use super::words::{Sight, number};
use alloy_primitives::U256;
use talkoo_ledger::bindings::Turn;
use talkoo_proof::dispute::{Finding, Rerun};

impl Challenges {
    /// Brings a finding to the judge.
    pub(super) fn convict(
        &self,
        dispute: &mut Dispute,
        run: &EngineRun,
        sight: &Sight<'_>,
        finding: &Finding,
    ) -> Result<(), Stuck> {
        let (court, case) = (&self.court, dispute.case.clone());
        let numbers = match finding {
            Finding::Element(element) => {
                let (claim, witness) = claimed(element, &case);
                match court.value(claim, witness) {
                    Ok(right) => Some([number(element.claimed), number(right)]),
                    // There is no right one: no honest run gets there.
                    Err(CourtError::Refused(_)) => None,
                    Err(error) => return Err(error.into()),
                }
            }
            Finding::State(_) | Finding::Output { .. } | Finding::Missing { .. } => None,
        };
        let text = sight.finding(finding, numbers.as_ref().map(|[_, right]| right.as_str()));
        let charge = Charge::of(finding, &case, &run.tree().manifest(&run.model()), court.owner);
        let signatures = court.signatures(&case, dispute.delegation.as_ref())?;
        match court.convict(abi::words(&case), signatures, charge) {
            Ok(sent) => self.note(dispute, Who::We, format!("convicted it: {text}"), Some(sent)),
            Err(CourtError::Refused(why)) if court.guilt(&dispute.lease(&court.network))?.since.to::<u64>() == 0 => {
                return Err(Stuck::Never(format!("{text}; the judge did not take it: {why}")));
            }
            // Somebody else was faster.
            Err(CourtError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.guilty(dispute, numbers)
    }

    /// The chain says that the worker is guilty.
    pub(super) fn guilty(&self, dispute: &mut Dispute, claimed: Option<[String; 2]>) -> Result<(), Stuck> {
        let (court, id) = (&self.court, self.court.id(&dispute.case));
        let lease = dispute.lease(&court.network);
        let guilt = court.guilt(&lease)?;
        let turn = court.case(&id, court.me())?.turn;
        if matches!(turn, Turn::Answer | Turn::Ask) {
            court.lapse(abi::words(&dispute.case), court.me())?;
        }
        let slashed = court.slashed(&lease, court.block()?.saturating_sub(super::LOOK_BACK))?;
        let words = format!("guilty: {} of its bond is gone, half of it to us", units(slashed));
        let words = if slashed.is_zero() { "guilty; it had no bond".to_owned() } else { words };
        self.note(dispute, Who::Chain, words, None);
        let (since, none) = (guilt.since.to(), || "0".to_owned());
        let slashed = slashed.to_string();
        let ending = Ending::Guilty { since, slashed, refunded: none(), seized: none(), claimed, closed: false };
        self.end(dispute, ending);
        self.seize(dispute)
    }

    /// Takes what the vault holds of a guilty operator, until nothing more can come.
    pub(super) fn seize(&self, dispute: &mut Dispute) -> Result<(), Stuck> {
        let (court, lease) = (&self.court, dispute.lease(&self.court.network));
        let (until, indices) = court.takeable(&court.guilt(&lease)?)?;
        if !indices.is_empty() {
            let (sent, taken) = court.seize(&lease, indices)?;
            let [back, rest] = taken.map(units);
            let text = format!("took its held pay: {back} back to who paid, {rest} to the finder and the treasury");
            self.note(dispute, Who::We, text, Some(sent));
            if let Some(Ending::Guilty { refunded, seized, .. }) = &mut dispute.ending {
                let [back, rest] = taken;
                let add = |sum: &str, more: U256| (sum.parse::<U256>().unwrap_or_default() + more).to_string();
                (*refunded, *seized) = (add(refunded, back), add(seized, rest));
            }
            self.records.keep(dispute);
        }
        court.collect()?;
        if court.time()? >= until
            && let Some(Ending::Guilty { closed, .. }) = &mut dispute.ending
        {
            *closed = true;
        }
        Ok(())
    }
}

/// Micro-units as people write them.
fn units(amount: U256) -> String {
    let micro: u128 = amount.saturating_to();
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}
