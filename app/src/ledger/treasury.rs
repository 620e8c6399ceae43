//! The node's money on a ledger: deposits for what it orders, claims of what it earned.
//!
//! A thread of its own, for it waits for blocks. It decides from what the chain says and what the journal holds, so
//! it can be killed anywhere: no claim pays twice, for the contracts count cumulatively. A deposit that was on its way when the
//! node died may be made again, into the same channel.
//!
//! ```text
//! client: Fund{need} ──► deposit by the owner's authorization (ERC-3009), sent by the node key
//! worker: Watch ──► what the channel holds ──► Funds{balance}
//! worker: best vouchers ──► delegation once ──► vault.claim in batches ──► after the window: release, withdraw
//! ```

use super::earnings::CLAIM_AFTER;
use super::rpc::{Rpc, RpcError};
use super::unix;
use alloy_primitives::{Address, B256, U256};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use talkoo_base::wire::Sealed;
use talkoo_base::{Amount, ChannelConfig, Delegation, Digest, Network, NodeId, SecretKey, Signed, Signer, Voucher};
use talkoo_ledger::bindings::{self, ISettlement, IToken, authorization};
use talkoo_ledger::contracts::{CREDIT_AT, ERC3009_COLLECTOR_AT, SETTLEMENT_AT};
use talkoo_proof::Channel;
use tracing::{info, warn};

/// How often the chain is asked what changed.
const LOOK: Duration = Duration::from_millis(200);
/// The least deposit, in micro-units: several jobs' worth, so that most need no second one.
const DEPOSIT_MIN: u128 = 10_000;
/// Seconds that an authorization to deposit is good for.
const AUTHORIZATION_S: u64 = 600;
/// Unclaimed earnings that are worth a transaction, in micro-units.
pub(super) const CLAIM_MIN: u128 = 1_000;
/// Channels that are watched for clients.
const WATCHED_MAX: usize = 4_096;
/// How often starter credit is asked for at each look; then seldom.
const ASKED_SOON: u32 = 5;
/// How long an empty purse is not looked into again.
const POOR: Duration = Duration::from_secs(10);
/// How long the thread leaves a ledger alone that failed.
const RETRY: Duration = Duration::from_secs(2);
/// How long somebody who asks for a settlement waits for it.
pub(crate) const SETTLE_WAIT: Duration = Duration::from_secs(60);

/// What the loop tells the treasury.
pub(crate) enum Command {
    /// A channel is in use.
    Channel(Channel),
    /// A client's largest voucher, and the channel it is of.
    Earned { config: ChannelConfig, voucher: Sealed<Voucher> },
    /// Claim what there is, whatever it is worth; the answer is when it is done.
    Settle(Sender<()>),
}

/// What the treasury tells the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A client's channel holds so much in all.
    Funds { client: NodeId, balance: Amount },
}

/// What it is started with.
pub(crate) struct Setup {
    pub(crate) url: String,
    pub(crate) network: Network,
    /// Signs transactions.
    pub(crate) node: Arc<SecretKey>,
    /// Signs deposits.
    pub(crate) owner: Arc<SecretKey>,
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
    tell: Box<dyn Fn(News) + Send>,
    watched: BTreeMap<Digest, Watched>,
    pub(super) claims: BTreeMap<Digest, Claimable>,
    /// What our channels hold, and what they should.
    funds: BTreeMap<Digest, (ChannelConfig, u128)>,
    held: BTreeMap<Digest, u128>,
    begun: bool,
    asked: u32,
    asked_at: Option<Instant>,
    /// Deposits on their way, and since when: while one may still be mined no other is made.
    sent: BTreeMap<Digest, (B256, Instant)>,
    /// Until when nothing is deposited, for there was not enough.
    poor_until: Option<Instant>,
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
        Self {
            rpc: Rpc::new(&setup.url),
            setup,
            tell,
            watched: BTreeMap::new(),
            claims: BTreeMap::new(),
            funds: BTreeMap::new(),
            held: BTreeMap::new(),
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
        let mut rest = LOOK;
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
                Ok(()) => LOOK,
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
                let entry = self.funds.entry(id).or_insert((config, 0));
                entry.1 = entry.1.max(need.0);
            }
            Command::Channel(Channel::Watch { client, config }) => {
                if self.watched.len() < WATCHED_MAX {
                    let id = config.id(&self.setup.network);
                    self.watched.entry(id).or_insert(Watched { client, told: None });
                }
            }
            Command::Earned { config, voucher } => {
                let id = config.id(&self.setup.network);
                let next = Instant::now() + CLAIM_AFTER;
                let new = || Claimable { config, voucher: voucher.clone(), booked: 0, tried: 0, next };
                let claim = self.claims.entry(id).or_insert_with(new);
                claim.voucher = voucher;
            }
            Command::Settle(done) => self.settling.push(done),
        }
    }

    /// Does whatever is to be done.
    fn turn(&mut self, at_end: bool) -> Result<(), RpcError> {
        let all = at_end || !self.settling.is_empty();
        // What one part can't do shall not keep the others from what they can.
        let begun = if at_end { Ok(()) } else { self.begin() };
        let done = [begun, self.fund(), self.look(), self.claim(all), self.collect(all)];
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
        let (owner, node) = (self.setup.owner.address().to_string(), self.setup.node.address().to_string());
        let chain = self.rpc.number("eth_chainId", &json!([]))?;
        if chain != U256::from(self.setup.network.chain_id) {
            let why = format!("it is chain {chain}, our signatures are for {}", self.setup.network.chain_id);
            return Err(RpcError::Unreachable { url: self.rpc.name.clone(), why });
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

    /// What a channel holds in all, claimed or not.
    pub(super) fn balance(&self, channel: &Digest) -> Result<u128, RpcError> {
        let call = ISettlement::channelsCall { channelId: channel.0.into() };
        Ok(self.rpc.call(SETTLEMENT_AT, &call)?.balance)
    }

    /// Deposits what our orders may cost, all channels in one block if it can be.
    fn fund(&mut self) -> Result<(), RpcError> {
        if self.poor_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let (mut sent, mut done, mut trouble) = (Vec::new(), Vec::new(), Ok(()));
        for (id, (config, need)) in &self.funds {
            if let Some((hash, since)) = self.sent.get(id).copied() {
                if self.rpc.included(hash)?.is_none() && since.elapsed().as_secs() < AUTHORIZATION_S {
                    continue;
                }
                self.sent.remove(id);
            }
            let held = match self.held.get(id) {
                Some(held) if held >= need => continue,
                _ => self.balance(id)?,
            };
            if held >= *need {
                done.push((*id, held));
                continue;
            }
            let owner = Address::from(self.setup.owner.address().0);
            let have: u128 = self.rpc.call(CREDIT_AT, &IToken::balanceOfCall { account: owner })?.saturating_to();
            let missing = need - held;
            // Twice what is missing, so that the next order seldom waits; but not more than there is.
            let amount = missing.saturating_mul(2).max(DEPOSIT_MIN).min(have);
            if amount < missing {
                self.poor_until = Some(Instant::now() + POOR);
                warn!(have, missing, "not enough credit for what was ordered: get more, or order less");
            }
            if amount > 0 {
                match self.deposit(*id, config, amount) {
                    Ok(hash) => {
                        self.sent.insert(*id, (hash, Instant::now()));
                        sent.push((*id, held + amount, hash));
                    }
                    Err(error) => trouble = Err(error),
                }
            }
        }
        for (id, total, hash) in sent {
            let included = self.rpc.wait(hash)?;
            info!(channel = %id, total, block = included.block, gas = included.gas_used, "deposited");
            self.sent.remove(&id);
            done.push((id, total));
        }
        self.held.extend(done);
        trouble
    }

    fn deposit(&self, id: Digest, config: &ChannelConfig, amount: u128) -> Result<B256, RpcError> {
        let Setup { owner, node, .. } = &self.setup;
        let (until, salt) = (unix() + AUTHORIZATION_S, random_salt());
        let separator = self.rpc.call(CREDIT_AT, &IToken::DOMAIN_SEPARATORCall {})?;
        let nonce = authorization::nonce(id.0.into(), salt);
        let payer = Address::from(owner.address().0);
        let digest = authorization::digest(separator, payer, ERC3009_COLLECTOR_AT, amount, until, nonce);
        let signature = owner.sign(&Digest(digest.0));
        let data = authorization::payload(until, salt, signature.0);
        let config = bindings::ChannelConfig::from(config);
        let call = ISettlement::depositCall { config, amount, collector: ERC3009_COLLECTOR_AT, data };
        self.rpc.send(node, SETTLEMENT_AT, &call)
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
            let balance = self.balance(&id)?;
            let Some(watched) = self.watched.get_mut(&id) else { continue };
            if watched.told.replace(balance) != Some(balance) {
                (self.tell)(News::Funds { client: watched.client, balance: Amount(balance) });
            }
        }
        self.block = Some(block);
        Ok(())
    }
}

/// Makes two deposits of the same amount in one second two authorizations.
fn random_salt() -> U256 {
    let mut bytes = [0; 32];
    // Without randomness the clock has to do: a clash only means that one deposit is refused and tried again.
    if getrandom::fill(&mut bytes).is_err() {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        bytes[..16].copy_from_slice(&since.to_be_bytes());
    }
    U256::from_be_bytes(bytes)
}
