//! Money on channels: what we signed for whom, and what others signed for us.
//!
//! Amounts on a channel only grow. A voucher is recorded in the journal before it leaves.

use crate::limits::{BONDS_MAX, WITHDRAW_DELAY_S};
use crate::trust::Trust;
use crate::wire::Event;
use std::collections::BTreeMap;
use talkoo_base::wire::Sealed;
use talkoo_base::{Address, Amount, ChannelConfig, Digest, Network, NodeId, Signed, Signer, Voucher};

/// A client's account with one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Account {
    /// Vouchers signed, in all.
    pub signed: Amount,
    /// Of that, for work that was accepted.
    pub deserved: Amount,
    /// What its audits say.
    pub trust: Trust,
    /// Whether it lied: what is signed but not deserved is contested.
    pub refuted: bool,
}

/// A worker's account with one client.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Earnings {
    /// Amount of the largest voucher received.
    pub received: Amount,
    /// That voucher.
    pub voucher: Option<Sealed<Voucher>>,
    /// Whose deposit pays, once the client ordered something.
    pub payer: Option<Address>,
}

#[derive(Default)]
pub(crate) struct Purse {
    accounts: BTreeMap<NodeId, Account>,
    earnings: BTreeMap<NodeId, Earnings>,
    /// Not durable: the ledger knows.
    bonds: BTreeMap<Address, Amount>,
}

impl Purse {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Paid { node, total } => {
                let account = self.accounts.entry(*node).or_default();
                account.signed = account.signed.max(*total);
            }
            Event::Accepted { node, worth, audited, seen } => {
                let account = self.accounts.entry(*node).or_default();
                account.deserved += *worth;
                if let Some(seen) = seen {
                    account.trust = account.trust.accepted(*worth, *audited, *seen);
                }
            }
            Event::Refuted(node) => {
                let account = self.accounts.entry(*node).or_default();
                (account.trust, account.refuted) = (Trust::default(), true);
            }
            Event::Account { node, signed, deserved, clean, refuted, vested, seen } => {
                let trust = Trust { clean: *clean, vested: *vested, seen: *seen };
                let account = Account { signed: *signed, deserved: *deserved, trust, refuted: *refuted };
                self.accounts.insert(*node, account);
            }
            Event::Earned { node, voucher } => {
                let (earned, total) = (self.earnings.entry(*node).or_default(), voucher.body.max_claimable);
                if total > earned.received {
                    (earned.received, earned.voucher) = (total, Some(voucher.clone()));
                }
            }
            Event::Payer { node, payer } => self.earnings.entry(*node).or_default().payer = Some(*payer),
        }
    }

    /// The fewest events that give this purse again.
    pub(crate) fn history(&self) -> impl Iterator<Item = Event> {
        let accounts = self.accounts.iter().map(|(node, account)| {
            let Account { signed, deserved, trust: Trust { clean, vested, seen }, refuted } = *account;
            Event::Account { node: *node, signed, deserved, clean, refuted, vested, seen }
        });
        let earned = |(node, e): (&NodeId, &Earnings)| Some(Event::Earned { node: *node, voucher: e.voucher.clone()? });
        let earnings = self.earnings.iter().filter_map(earned);
        let payer = |(node, e): (&NodeId, &Earnings)| Some(Event::Payer { node: *node, payer: e.payer? });
        accounts.chain(earnings).chain(self.earnings.iter().filter_map(payer))
    }

    pub(crate) fn account(&self, node: &NodeId) -> Account {
        self.accounts.get(node).copied().unwrap_or_default()
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&NodeId, &Account)> {
        self.accounts.iter()
    }

    /// The ledger says what an operator has at stake.
    pub(crate) fn bonded(&mut self, operator: Address, bond: Amount) {
        if self.bonds.len() < BONDS_MAX || self.bonds.contains_key(&operator) {
            self.bonds.insert(operator, bond);
        }
    }

    pub(crate) fn bond(&self, operator: &Address) -> Amount {
        self.bonds.get(operator).copied().unwrap_or_default()
    }

    /// The largest voucher of a client.
    pub(crate) fn voucher(&self, client: &NodeId) -> Option<&Sealed<Voucher>> {
        self.earnings.get(client)?.voucher.as_ref()
    }

    /// Whose deposit pays for a client.
    pub(crate) fn payer(&self, client: &NodeId) -> Option<Address> {
        self.earnings.get(client)?.payer
    }

    pub(crate) fn earned(&self, client: &NodeId) -> Amount {
        self.earnings.get(client).map_or(Amount::ZERO, |e| e.received)
    }

    pub(crate) fn earnings(&self) -> impl Iterator<Item = (&NodeId, &Earnings)> {
        self.earnings.iter()
    }
}

/// The channel between a client's node and a worker: the same on both sides, so nobody sends it twice.
#[must_use]
pub fn channel(
    network: &Network,
    payer: Address,
    client: Address,
    operator: Address,
    worker: Address,
) -> ChannelConfig {
    // Each node of an operator has a channel of its own, for it counts by itself.
    let mut salt = Digest::ZERO;
    salt.0[12..].copy_from_slice(&worker.0);
    ChannelConfig {
        payer,
        payer_authorizer: client,
        receiver: network.contracts.vault,
        receiver_authorizer: operator,
        token: network.contracts.token,
        withdraw_delay: WITHDRAW_DELAY_S,
        salt,
    }
}

pub(crate) fn voucher(network: &Network, signer: &dyn Signer, channel: Digest, total: Amount) -> Signed<Voucher> {
    Signed::new(Voucher { channel, max_claimable: total }, network, signer)
}
