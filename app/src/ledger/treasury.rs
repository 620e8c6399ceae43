//! The node's money on a ledger: deposits for what it orders, claims of what it earned.
//!
//! A thread of its own, for it waits for blocks. It decides from what the chain says and what the journal holds, so
//! it can be killed anywhere: no claim pays twice, for the contracts count cumulatively. A deposit that was on its way when the
//! node died may be made again, into the same channel.
//!
//! ```text
//! client: Fund{need} ──► deposit by the owner's authorization (ERC-3009), sent by the node key
//! worker: Watch ──► what the channel holds ──► Funds{balance}
//! client: an hour without orders ──► what is not promised comes back (`closing`)
//! worker: best vouchers ──► delegation once ──► vault.claim in batches ──► after the window: release, withdraw
//! ```

use super::bonds::Bonds;
use super::closing;
use super::earnings::CLAIM_AFTER;
use super::place::Place;
use super::rpc::{Rpc, RpcError};
use alloy_primitives::{B256, U256};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use talkoo_base::wire::Sealed;
use talkoo_base::{Amount, ChannelConfig, Delegation, Digest, Network, NodeId, SecretKey, Signed, Signer, Voucher};
use talkoo_ledger::Deployment;
use talkoo_proof::Channel;
use tracing::{info, warn};

/// How often a chain of ours is asked what changed; another's, whose server is shared.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_OUTSIDE: Duration = Duration::from_secs(2);
/// What is earned or paid shall be worth so many times the gas that it takes.
pub(super) const GAS_TIMES: u128 = 20;
/// Unclaimed earnings that are worth a transaction, in micro-units.
const CLAIM_MIN: u128 = 1_000;
/// Channels that are watched for clients.
const WATCHED_MAX: usize = 4_096;
/// How often starter credit is asked for at each look; then seldom.
const ASKED_SOON: u32 = 5;
/// How long an empty purse is not looked into again.
pub(super) const POOR: Duration = Duration::from_secs(10);
/// How long the thread leaves a ledger alone that failed.
const RETRY: Duration = Duration::from_secs(2);
/// How long somebody who asks for a settlement waits for it.
pub(crate) const SETTLE_WAIT: Duration = Duration::from_secs(60);

/// What vouchers promise in all, by worker.
pub(crate) type Promises = BTreeMap<talkoo_base::Address, u128>;

/// What the loop tells the treasury.
pub(crate) enum Command {
    /// A channel is in use.
    Channel(Channel),
    /// A client's largest voucher, and the channel it is of.
    Earned { config: ChannelConfig, voucher: Sealed<Voucher> },
    /// Claim what there is, whatever it is worth; the answer is when it is done.
    Settle(Sender<()>),
    /// The wallet is open: the owner's key.
    Unlock(SecretKey),
    /// Nothing is on order, and our vouchers promise so much to each worker: channels may be closed. All of them, if
    /// somebody waits for it.
    Promised(Promises, Option<Sender<()>>),
}

/// What the treasury tells the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A client's channel holds so much in all.
    Funds { client: NodeId, balance: Amount },
    /// What do our vouchers promise?
    Promises,
    /// A worker's operator has so much at stake.
    Bond { operator: talkoo_base::Address, bond: Amount },
}

/// What it is started with.
pub(crate) struct Setup {
    pub(crate) place: Place,
    /// What 10¹⁸ wei of the gas asset are worth, in micro-units; nothing on a chain of ours.
    pub(crate) gas_worth: Option<u128>,
    /// Where our channels are remembered.
    pub(crate) channels: PathBuf,
    pub(crate) network: Network,
    /// Signs transactions.
    pub(crate) node: Arc<SecretKey>,
    /// Pays deposits, and gets what is earned.
    pub(crate) owner: talkoo_base::Address,
    /// Signs deposits; nothing while the wallet is locked.
    pub(crate) owner_key: Option<SecretKey>,
    pub(crate) delegation: Signed<Delegation>,
}

/// The handle of the thread.
pub(crate) struct Treasury {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Treasury {
    /// Starts the thread; `tell` hears its news.
    pub(crate) fn start(setup: Setup, tell: impl Fn(News) + Send + 'static) -> std::io::Result<Self> {
        let (commands, inbox) = channel();
        let purse = Purse::new(setup, Box::new(tell));
        let thread = std::thread::Builder::new().name("treasury".into()).spawn(move || purse.run(&inbox))?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    /// For those that tell it something later; nothing once it ends.
    pub(crate) fn sender(&self) -> Option<Sender<Command>> {
        self.commands.clone()
    }

    pub(crate) fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread ends only with us.
            commands.send(command).ok();
        }
    }

    /// Claims what there is and ends; call it where waiting is allowed.
    pub(crate) fn end(&mut self) {
        self.commands = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the treasury's thread panicked");
        }
    }
}

/// A channel whose client we work for.
struct Watched {
    client: NodeId,
    told: Option<u128>,
    /// When it last ordered.
    since: Instant,
}

/// A channel that we pay on, what it should hold, and when that was last said.
pub(super) struct Ours {
    pub(super) config: ChannelConfig,
    pub(super) need: u128,
    pub(super) ordered: Instant,
}

/// A channel that owes us.
pub(super) struct Claimable {
    pub(super) config: ChannelConfig,
    pub(super) voucher: Sealed<Voucher>,
    /// What the vault has booked, as far as we know.
    pub(super) booked: u128,
    /// The voucher's amount when it was last looked at, and when to look again whatever it is.
    pub(super) tried: u128,
    pub(super) next: Instant,
}

/// The thread's own.
pub(super) struct Purse {
    pub(super) rpc: Rpc,
    pub(super) setup: Setup,
    pub(super) tell: Box<dyn Fn(News) + Send>,
    watched: BTreeMap<Digest, Watched>,
    pub(super) claims: BTreeMap<Digest, Claimable>,
    pub(super) ours: BTreeMap<Digest, Ours>,
    /// What our channels hold for our orders.
    pub(super) held: BTreeMap<Digest, u128>,
    pub(super) bonds: Bonds,
    /// When it was last asked what our vouchers promise, and the last answer.
    pub(super) asked_promises: Instant,
    promised: Option<(Promises, Option<Sender<()>>)>,
    begun: bool,
    asked: u32,
    asked_at: Option<Instant>,
    /// Deposits on their way, and since when: while one may still be mined no other is made.
    pub(super) sent: BTreeMap<Digest, (B256, Instant)>,
    /// Until when nothing is deposited, for there was not enough.
    pub(super) poor_until: Option<Instant>,
    pub(super) delegated: bool,
    /// When the vault was last asked for what is ours.
    pub(super) collected: Option<Instant>,
    /// The last block that was looked at.
    block: Option<u64>,
    settling: Vec<Sender<()>>,
    last_trouble: Option<RpcError>,
}

impl Purse {
    fn new(setup: Setup, tell: Box<dyn Fn(News) + Send>) -> Self {
        let ours = closing::read(&setup.channels)
            .into_iter()
            .map(|config| (config.id(&setup.network), Ours { config, need: 0, ordered: Instant::now() }));
        Self {
            ours: ours.collect(),
            rpc: setup.place.rpc(),
            setup,
            tell,
            watched: BTreeMap::new(),
            claims: BTreeMap::new(),
            held: BTreeMap::new(),
            bonds: Bonds::default(),
            asked_promises: Instant::now(),
            promised: None,
            begun: false,
            asked: 0,
            asked_at: None,
            sent: BTreeMap::new(),
            poor_until: None,
            delegated: false,
            collected: None,
            block: None,
            settling: Vec::new(),
            last_trouble: None,
        }
    }

    fn run(mut self, inbox: &Receiver<Command>) {
        let look = if self.setup.place.is_outside() { LOOK_OUTSIDE } else { LOOK };
        let mut rest = look;
        loop {
            match inbox.recv_timeout(rest) {
                Ok(command) => {
                    self.take(command);
                    while let Ok(command) = inbox.try_recv() {
                        self.take(command);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            rest = match self.turn(false) {
                Ok(()) => look,
                Err(trouble) => {
                    self.say(trouble);
                    RETRY
                }
            };
        }
        if let Err(trouble) = self.turn(true) {
            warn!(%trouble, "what was earned is not all claimed; the next start claims it");
        }
    }

    /// Says what is wrong, once.
    fn say(&mut self, trouble: RpcError) {
        if self.last_trouble.as_ref() != Some(&trouble) {
            warn!(%trouble, "the ledger does not do what we ask; trying again");
            self.last_trouble = Some(trouble);
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Channel(Channel::Fund { config, need }) => {
                let id = config.id(&self.setup.network);
                if !self.ours.contains_key(&id) {
                    closing::remember(&self.setup.channels, &config);
                }
                // It was idle when that was said: now it is not.
                self.promised = None;
                let ordered = Instant::now();
                let ours = self.ours.entry(id).or_insert(Ours { config, need: 0, ordered });
                (ours.need, ours.ordered) = (ours.need.max(need.0), ordered);
            }
            Command::Channel(Channel::Watch { client, config }) => {
                let id = config.id(&self.setup.network);
                if self.watched.len() >= WATCHED_MAX && !self.watched.contains_key(&id) {
                    // Who ordered longest ago says so again with the next order.
                    let oldest = self.watched.iter().min_by_key(|(_, watched)| watched.since).map(|(id, _)| *id);
                    oldest.map(|id| self.watched.remove(&id));
                }
                let since = Instant::now();
                self.watched.entry(id).or_insert(Watched { client, told: None, since }).since = since;
            }
            Command::Earned { config, voucher } => {
                let id = config.id(&self.setup.network);
                let next = Instant::now() + CLAIM_AFTER;
                let new = || Claimable { config, voucher: voucher.clone(), booked: 0, tried: 0, next };
                let claim = self.claims.entry(id).or_insert_with(new);
                claim.voucher = voucher;
            }
            Command::Settle(done) => self.settling.push(done),
            Command::Unlock(key) => (self.setup.owner_key, self.poor_until) = (Some(key), None),
            Command::Promised(totals, done) => self.promised = Some((totals, done)),
        }
    }

    /// Does whatever is to be done.
    fn turn(&mut self, at_end: bool) -> Result<(), RpcError> {
        // Where gas has a price, nothing is claimed for less only because the node ends.
        let all = (at_end && !self.setup.place.is_outside()) || !self.settling.is_empty();
        // What one part can't do shall not keep the others from what they can.
        let begun = if at_end { Ok(()) } else { self.begin() };
        let closed = match self.promised.take().filter(|_| !at_end) {
            Some((totals, done)) => self.close(&totals, done.is_some()).inspect(|()| {
                // Who asked may have gone.
                done.iter().for_each(|done| done.send(()).unwrap_or_default());
            }),
            None => Ok(()),
        };
        self.ask_promises();
        let bonds = self.look_at_bonds();
        let done = [begun, self.fund(), closed, self.look(), bonds, self.claim(all), self.collect(all)];
        done.into_iter().collect::<Result<(), _>>()?;
        for done in self.settling.drain(..) {
            // Who asked may have gone.
            done.send(()).ok();
        }
        self.last_trouble = None;
        Ok(())
    }

    /// Asks for starter credit and gas, if the ledger gives any and we have none.
    fn begin(&mut self) -> Result<(), RpcError> {
        if self.begun {
            return Ok(());
        }
        let (owner, node) = (self.setup.owner.to_string(), self.setup.node.address().to_string());
        let chain = self.rpc.number("eth_chainId", &json!([]))?;
        if chain != U256::from(self.setup.network.chain_id) {
            let why = format!("it is chain {chain}, our signatures are for {}", self.setup.network.chain_id);
            return Err(RpcError::Unreachable { url: self.rpc.name.clone(), why });
        }
        if self.setup.place.is_outside() {
            self.begun = true;
            return Ok(());
        }
        if self.asked >= ASKED_SOON && self.asked_at.is_some_and(|at| at.elapsed() < POOR) {
            return Ok(());
        }
        self.asked += 1;
        self.asked_at = Some(Instant::now());
        match self.rpc.ask("talkoo_sponsor", &json!([owner, node])) {
            Ok(hashes) => {
                // A node that may not give asks those who may; what comes of it is seen in the balance.
                if hashes == json!([]) && self.rpc.number("eth_getBalance", &json!([node, "latest"]))?.is_zero() {
                    return Ok(());
                }
                let hashes = hashes.as_array().into_iter().flatten().filter_map(|hash| hash.as_str()?.parse().ok());
                for hash in hashes.collect::<Vec<B256>>() {
                    self.rpc.wait(hash)?;
                    info!(%hash, "got test credit (no value)");
                }
            }
            Err(RpcError::Refused { message, .. }) => {
                info!(node, message, "this ledger gives no starter credit: the node needs gas, its owner the token");
            }
            Err(error) => return Err(error),
        }
        self.begun = true;
        Ok(())
    }

    pub(super) fn at(&self) -> Deployment {
        self.setup.place.at
    }

    /// Least amount that is worth a transaction of so much gas.
    pub(super) fn worth(&self, gas: u64) -> Result<u128, RpcError> {
        let Some(worth) = self.setup.gas_worth else { return Ok(CLAIM_MIN) };
        let price: u128 = self.rpc.number("eth_gasPrice", &json!([]))?.saturating_to();
        let wei = price.saturating_mul(u128::from(gas)).saturating_mul(GAS_TIMES);
        Ok((wei.saturating_mul(worth) / 10u128.pow(18)).max(CLAIM_MIN))
    }

    /// Tells what watched channels hold, when there is a new block.
    fn look(&mut self) -> Result<(), RpcError> {
        if self.watched.is_empty() {
            return Ok(());
        }
        let block = self.rpc.number("eth_blockNumber", &json!([]))?.saturating_to();
        let is_new = self.block != Some(block);
        let asked: BTreeSet<Digest> =
            self.watched.iter().filter(|(_, w)| is_new || w.told.is_none()).map(|(id, _)| *id).collect();
        for id in asked {
            let balance = self.funds(&id)?.0;
            let Some(watched) = self.watched.get_mut(&id) else { continue };
            if watched.told.replace(balance) != Some(balance) {
                (self.tell)(News::Funds { client: watched.client, balance: Amount(balance) });
            }
        }
        self.block = Some(block);
        Ok(())
    }
}
