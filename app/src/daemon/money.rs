//! The ledger of a running node: its own chain, or another's by URL, and the treasury that deals with it.

use super::executor::Lender;
use super::{Daemon, Event};
use crate::data::{self, Data};
use crate::deals::{self, Deals};
use crate::disputes::{self, Disputes};
use crate::ledger::{Command, Explorer, GenesisFile, Ledger, News, Place, Treasury, TreasurySetup, Url};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use talkoo_api::eth::{Rpc, RpcAttach};
use talkoo_base::wire::{Sealed, Signed};
use talkoo_base::{Delegation, Network, NodeId, Refusal, RefusalCode, SecretKey, Signer, Voucher};
use talkoo_disk::{Blocks, DataDir, Owner, OwnerError, OwnerFiles};
use talkoo_ledger::contracts::{BEACON_S, Beginning, EPOCH_S, Staker};
use talkoo_net::Net;
use talkoo_node::Input;
use talkoo_proof::{Input as Proof, channel};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Power of a network's first validators together, by default: half of all that can be staked, so that nobody takes a
/// young network over, or halts it, with the least bond.
pub(crate) const FOUNDERS_POWER: u64 = 500_000;
/// Where wallets look for an Ethereum node.
const RPC_DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8545));

/// Which ledger holds the money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LedgerChoice {
    /// None: vouchers are kept, and worth what the client's word is.
    Off,
    /// A chain of this node's own; other nodes join it by the URL of its RPC.
    Own {
        /// Where wallets and other nodes find it; left out, where they look first, or wherever there is room.
        rpc: Option<SocketAddr>,
        /// Seconds that a worker's proceeds can be challenged.
        window_s: u64,
        /// Seconds of a move in a dispute.
        answer_s: u64,
        /// What the chain begins with, if not with us alone.
        genesis: Option<PathBuf>,
    },
    /// Any Ethereum chain that has our contracts, and what 10¹⁸ wei of its gas asset are worth in micro-units.
    Url {
        /// Where.
        url: Url,
        /// Nothing on a chain of ours.
        gas_worth: Option<u128>,
    },
}

/// What a node needs to have money.
pub(super) struct Keys {
    pub(super) node: Arc<SecretKey>,
    pub(super) owner: Owner,
    pub(super) delegation: Signed<Delegation>,
}

/// The ledger's parts of a running node.
#[derive(Default)]
pub(super) struct Money {
    own: Option<Ledger>,
    /// Where this node itself asks the chain that it serves.
    own_place: Option<Place>,
    treasury: Option<Treasury>,
    pub(super) disputes: Option<Disputes>,
    pub(super) data: Option<Data>,
    pub(super) deals: Option<Deals>,
    /// Where the ledger is.
    pub(super) url: Option<Url>,
    /// Ends the RPC: after the treasury, whose last claims go through it.
    rpc: CancellationToken,
}

/// What the start of the ledger needs of the rest.
pub(super) struct Around<'a> {
    pub(super) net: Arc<Net>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) dir: &'a DataDir,
    pub(super) network: &'a Network,
    /// The ledger, if it is not our own.
    pub(super) place: Option<Place>,
    pub(super) inbox: mpsc::Sender<Event>,
    pub(super) events: talkoo_api::Feed,
    pub(super) lender: Lender,
    pub(super) tasks: &'a TaskTracker,
    /// Stops the node.
    pub(super) stop: CancellationToken,
}

impl Money {
    /// Starts what was chosen.
    ///
    /// # Errors
    /// A chain that can't be opened, or a port that is taken.
    pub(super) async fn start(choice: &LedgerChoice, keys: Keys, around: Around<'_>) -> Result<Self> {
        let Around { network, tasks, .. } = around;
        let (inbox, stop) = (around.inbox.clone(), CancellationToken::new());
        let (own, place, url, worth) = match choice {
            LedgerChoice::Off => return Ok(Self::default()),
            LedgerChoice::Url { gas_worth, .. } => {
                let place = around.place.clone().context("an outside ledger")?;
                (None, place.clone(), place.url, *gas_worth)
            }
            LedgerChoice::Own { rpc, window_s, answer_s, genesis } => {
                let ledger = own(&around, keys.owner.address(), [*window_s, *answer_s], genesis.as_deref())?;
                let attach = |addr| RpcAttach {
                    addr,
                    chain: ledger.chain(),
                    network_name: network.name.clone(),
                    stop: stop.clone(),
                };
                let rpc = match rpc {
                    Some(addr) => Rpc::bind(attach(*addr)).await?,
                    None => match Rpc::bind(attach(RPC_DEFAULT)).await {
                        Ok(rpc) => rpc,
                        Err(_) => Rpc::bind(attach(SocketAddr::from(([127, 0, 0, 1], 0)))).await?,
                    },
                };
                let (url, ask_at) = (format!("http://{}", rpc.addr), rpc.own_url.clone());
                tasks.spawn(async move { rpc.serve().await.unwrap_or_else(|why| warn!(%why, "the RPC ended")) });
                (Some(ledger), Place::ours(&ask_at), Url { rpc: url, list: None }, None)
            }
        };
        let Keys { node, owner, delegation } = keys;
        let (channels, network) = (around.dir.path().join("channels"), network.clone());
        let (owner, owner_key) = (owner.address(), owner.key().ok());
        let disputes = disputes(&around, &place, node.clone(), owner, owner_key.as_ref().map(again))?;
        let tell = around.events.clone();
        let data = Data::start(data::Setup {
            dir: around.dir.path(),
            place: &place,
            network: network.clone(),
            node: node.clone(),
            owner,
            owner_key: owner_key.as_ref().map(again),
            delegation: delegation.clone(),
            blocks: around.blocks.clone(),
            net: around.net.clone(),
            tell: Arc::new(move |event| tell.tell(event)),
        })?;
        let deals = deals::Setup {
            dir: around.dir.path(),
            place: &place,
            node: node.clone(),
            owner,
            owner_key: owner_key.as_ref().map(again),
            blocks: around.blocks.clone(),
            net: around.net.clone(),
        };
        let deals = Some(Deals::start(deals).context("cannot start the deals")?);
        let own_place = own.is_some().then(|| place.clone());
        let setup = TreasurySetup { place, gas_worth: worth, channels, network, node, owner, owner_key, delegation };
        let tell = move |news| {
            // A closed inbox means the node is stopping.
            inbox.blocking_send(Event::Money(news)).ok();
        };
        let treasury = Treasury::start(setup, tell).context("cannot start the treasury's thread")?;
        Ok(Self {
            own,
            own_place,
            treasury: Some(treasury),
            disputes: Some(disputes),
            data: Some(data),
            deals,
            url: Some(url),
            rpc: stop,
        })
    }

    /// The chain that this node serves, for whoever looks at it.
    pub(super) fn explorer(&self) -> Result<Explorer, Refusal> {
        let hint = "ask a node that has one: `talkoo up --ledger own`, or the address of `--ledger URL`";
        let none = || Refusal::new(RefusalCode::NotProviding, "this node serves no chain of its own", hint);
        let place = self.own_place.as_ref().ok_or_else(none)?;
        let rpc = self.url.as_ref().map(|url| url.rpc.clone()).unwrap_or_default();
        Ok(Explorer::new(place, rpc))
    }

    /// Claims what was earned, then closes the chain. Blocks.
    pub(super) fn end(&mut self) {
        self.deals.iter_mut().for_each(Deals::end);
        self.treasury.iter_mut().for_each(Treasury::end);
        // Last, for it may be in a long run: what it does is on disk.
        self.disputes.iter_mut().for_each(Disputes::end);
        self.data.iter_mut().for_each(Data::end);
        self.rpc.cancel();
        self.own.iter_mut().for_each(Ledger::end);
    }
}

/// The same key for somebody else of this process.
pub(super) fn again(key: &SecretKey) -> SecretKey {
    SecretKey::from_bytes(&key.expose()).expect("the bytes of a key")
}

/// Starts the threads that dispute.
fn disputes(
    around: &Around<'_>,
    place: &Place,
    node: Arc<SecretKey>,
    owner: talkoo_base::Address,
    owner_key: Option<SecretKey>,
) -> Result<Disputes> {
    let Around { net, dir, network, events, lender, .. } = around;
    let (net, events) = (net.clone(), events.clone());
    let post = Arc::new(move |to, bytes| net.send(to, bytes).is_ok());
    let tell = Arc::new(move |event: &Value| events.tell(event));
    let (network, lender) = (Network::clone(network), lender.clone());
    let setup = disputes::Setup { dir: dir.path(), place, network, node, owner, owner_key, lender, post, tell };
    Disputes::start(setup).context("cannot start the disputes")
}

/// Opens our own chain; the first start begins it, with us as its one validator.
fn own(
    around: &Around<'_>,
    owner: talkoo_base::Address,
    [window_s, answer_s]: [u64; 2],
    given: Option<&Path>,
) -> Result<Ledger> {
    let Around { dir, network, net, .. } = around;
    let net = net.clone();
    let folder = dir.path().join("chain");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let validator = dir.validator_key()?;
    let begin = || Beginning {
        chain_id: network.chain_id,
        timestamp: crate::ledger::unix(),
        stakers: vec![Staker { operator: owner, ..Staker::own(validator.address(), FOUNDERS_POWER) }],
        founder: owner.0.into(),
        window_s,
        answer_s,
        epoch_s: EPOCH_S,
        beacon_s: BEACON_S,
    };
    let path: &Path = &folder.join("genesis.json");
    let genesis = GenesisFile::take(path, given, begin)?;
    let post = Box::new(move |to, bytes| {
        if let Err(why) = net.send(to, bytes) {
            // Whatever matters is said again.
            debug!(peer = ?to, %why, "chain message not sent");
        }
    });
    let stop = around.stop.clone();
    let fatal = Box::new(move || stop.cancel());
    let network = Network::clone(network);
    Ledger::start(crate::ledger::Setup {
        dir: &folder,
        genesis: &genesis,
        network,
        key: validator,
        pays: dir.validator_key()?,
        post,
        fatal,
    })
}

impl Daemon {
    /// A peer came or went: the chain has to know.
    pub(super) fn chain_peer(&self, peer: NodeId, is_up: bool) {
        self.money.own.iter().for_each(|ledger| ledger.peer(peer, is_up));
    }

    /// A peer's message about a chain; of one that we have not, it is nothing to us.
    pub(super) fn chain_message(&mut self, peer: NodeId, bytes: &[u8]) {
        if let Some(Some(Err(why))) = self.money.own.as_ref().map(|ledger| ledger.hear(peer, bytes)) {
            self.refuse(peer, &why);
        }
    }

    /// A channel is in use.
    pub(super) fn channel(&self, channel: talkoo_proof::Channel) {
        if let Some(treasury) = &self.money.treasury {
            treasury.tell(Command::Channel(channel));
        }
    }

    /// Says in the day book what all vouchers are worth now.
    pub(super) fn count_earned(&mut self) {
        let total: u128 = self.node.proof().earnings().map(|(_, earning)| earning.received.0).sum();
        let now = self.now().unix.0;
        self.book.count(total, now);
    }

    /// Tells the treasury what clients' vouchers are worth: of one, or of all.
    pub(super) fn earned(&self, of: Option<&NodeId>) {
        let Some(treasury) = &self.money.treasury else { return };
        let worker = self.node.id().address();
        for (client, earnings) in self.node.proof().earnings() {
            let (Some(voucher), Some(payer)) = (&earnings.voucher, earnings.payer) else { continue };
            if of.is_none_or(|of| of == client) {
                let config = channel(&self.network, payer, client.address(), self.operator, worker);
                let voucher: Sealed<Voucher> = voucher.clone();
                treasury.tell(Command::Earned { config, voucher });
            }
        }
    }

    /// What the treasury says.
    pub(super) fn money(&mut self, news: News) {
        match news {
            News::Funds { client, balance } => {
                self.pending.push(Input::Engine(Proof::Funds { client, balance }));
            }
            News::Promises => drop(self.promise(None)),
            News::Bond { operator, bond } => self.pending.push(Input::Engine(Proof::Bond { operator, bond })),
        }
    }

    /// Tells the treasury what our vouchers promise, if nothing is on order: until then it grows.
    fn promise(&self, done: Option<Sender<()>>) -> Result<(), Refusal> {
        let (bought, _, audited) = self.node.proof().open();
        if bought + audited > 0 {
            let hint = "wait for the jobs to end, or cancel them";
            return Err(Refusal::new(RefusalCode::Busy, "the channels are in use", hint));
        }
        let promised = self.node.proof().accounts().map(|(worker, account)| (worker.address(), account.signed.0));
        self.treasury()?.tell(Command::Promised(promised.collect(), done));
        Ok(())
    }

    fn treasury(&self) -> Result<&Treasury, Refusal> {
        let none = || Refusal::new(RefusalCode::NotProviding, "this node has no ledger", "start it with --ledger");
        self.money.treasury.as_ref().ok_or_else(none)
    }

    /// Opens the wallet with its passphrase.
    pub(super) fn unlock(&self, args: &Value, reply: oneshot::Sender<Result<Value, Refusal>>) {
        let Some(passphrase) = args["passphrase"].as_str().map(str::to_owned) else {
            let refusal = Refusal::new(RefusalCode::Malformed, "`passphrase` is missing", "see docs/API.md");
            return drop(reply.send(Err(refusal)));
        };
        let files = OwnerFiles::of(&self.config.data_dir);
        let (to, inbox) = match self.treasury() {
            Ok(treasury) => (treasury.sender(), self.inbox.clone()),
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        // The passphrase is made hard to guess, so it takes a while.
        self.tasks.spawn_blocking(move || {
            let answer = match files.open() {
                Ok(Owner::Open(_)) => Ok(json!({"unlocked": true})),
                Ok(Owner::Locked(_)) => files.unlock(&passphrase).map(|key| {
                    inbox.blocking_send(Event::Unlocked(again(&key))).ok();
                    if let Some(to) = to {
                        to.send(Command::Unlock(key)).ok();
                    }
                    json!({"unlocked": true})
                }),
                Err(why) => Err(why),
            };
            let refuse =
                |why: OwnerError| Refusal::new(RefusalCode::Malformed, why.to_string(), "the wallet stays locked");
            reply.send(answer.map_err(refuse)).ok();
        });
    }

    /// Starts to take back what channels hold for nobody, and answers when the chain has heard of it.
    pub(super) fn close_channels(&self, reply: oneshot::Sender<Result<Value, Refusal>>) {
        let (done, wait) = std::sync::mpsc::channel();
        match self.promise(Some(done)) {
            Ok(()) => self.answer_when(wait, reply, json!({"closing": true})),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    /// Claims all that was earned, and answers when it stands in a block.
    pub(super) fn settle(&self, reply: oneshot::Sender<Result<Value, Refusal>>) {
        let (done, wait) = std::sync::mpsc::channel();
        match self.treasury() {
            Ok(treasury) => treasury.tell(Command::Settle(done)),
            Err(refusal) => return drop(reply.send(Err(refusal))),
        }
        self.answer_when(wait, reply, json!({"settled": true}));
    }

    /// Answers a call when the treasury has done something.
    fn answer_when(&self, wait: Receiver<()>, reply: oneshot::Sender<Result<Value, Refusal>>, answer: Value) {
        self.tasks.spawn_blocking(move || {
            let done = wait.recv_timeout(crate::ledger::SETTLE_WAIT).map_err(|_| {
                let hint = "its log says what the ledger answers; nothing is lost: ask again";
                Refusal::new(RefusalCode::Busy, "the ledger did not do it in time", hint)
            });
            reply.send(done.map(|()| answer)).ok();
        });
    }
}
