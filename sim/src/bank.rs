//! The pretended ledger: channels that hold money some time after somebody asked for it.

use crate::world::{Happening, World};
use std::collections::BTreeMap;
use talkoo_base::{Amount, ChannelConfig, Digest, Network, NodeId};
use talkoo_node::Input;
use talkoo_proof::{Channel, Input as Proof};

/// What channels hold, and who wants to know.
#[derive(Default)]
pub(crate) struct Bank {
    holds: BTreeMap<Digest, Amount>,
    watchers: BTreeMap<Digest, (u32, NodeId)>,
}

/// What follows from a request to the ledger.
enum Then {
    /// A block will have this deposit.
    Deposit { channel: Digest, total: Amount },
    /// The asker hears at once what a channel holds.
    Tell { client: NodeId, balance: Amount },
    /// Nothing.
    Nothing,
}

impl Bank {
    /// A node uses a channel.
    fn ask(&mut self, index: u32, channel: Channel, network: &Network) -> Then {
        let id = |config: &ChannelConfig| config.id(network);
        match channel {
            Channel::Fund { config, need } if need > self.holds(&id(&config)) => {
                // Exactly what is needed: that a channel runs dry again and again is the harder world.
                Then::Deposit { channel: id(&config), total: need }
            }
            Channel::Fund { .. } => Then::Nothing,
            Channel::Watch { client, config } => {
                let channel = id(&config);
                self.watchers.insert(channel, (index, client));
                Then::Tell { client, balance: self.holds(&channel) }
            }
        }
    }

    /// A block has a deposit; says who has to hear of it.
    fn deposited(&mut self, channel: Digest, total: Amount) -> Option<(u32, NodeId, Amount)> {
        let holds = self.holds.entry(channel).or_default();
        *holds = total.max(*holds);
        let (index, client) = self.watchers.get(&channel)?;
        Some((*index, *client, *holds))
    }

    /// What a channel holds.
    pub(crate) fn holds(&self, channel: &Digest) -> Amount {
        self.holds.get(channel).copied().unwrap_or_default()
    }
}

impl World<'_> {
    /// A node asks the ledger for something.
    pub(crate) fn lend(&mut self, index: u32, channel: Channel) {
        match self.bank.ask(index, channel, &self.network) {
            Then::Deposit { channel, total } => {
                let after = 20 + self.dice.below(2_000);
                self.at(after, Happening::Deposited { channel, total });
            }
            Then::Tell { client, balance } => self.feed(index, Input::Engine(Proof::Funds { client, balance })),
            Then::Nothing => {}
        }
    }

    /// A block has a deposit: who watches the channel hears of it.
    pub(crate) fn deposited(&mut self, channel: Digest, total: Amount) {
        if let Some((node, client, balance)) = self.bank.deposited(channel, total) {
            self.feed(node, Input::Engine(Proof::Funds { client, balance }));
        }
    }
}
