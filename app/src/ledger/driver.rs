//! The thread of the chain: the machine that agrees (`talkoo-chain`) between the executor, the disk and the network.
//!
//! Everything happens here in turn, so nothing has to be locked but the pool and the view. The journal is flushed before
//! anything that follows from it leaves: no vote is ever signed twice differently, whatever is killed.

use super::evidence::Cases;
use super::file::Disk;
use super::log::pack;
use super::sponsor::Askers;
use super::{Shared, Store, lock, unix};
use alloy_primitives::B256;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use talkoo_base::wire::encode;
use talkoo_base::{Address, Certificate, Digest, Mono, NodeId, Now, Unix, Validator};
use talkoo_chain::{Chain, Effect, Event, Input, Message, Notice};
use talkoo_disk::Journal;
use talkoo_ledger::{
    BASE_FEE_MIN, Block, Executed, Head, Seal, SignedBy, Writes, apply, decode_block, decode_transaction, encode_block,
    encode_transaction, next_base_fee, propose, store,
};
use tracing::{debug, error, info, warn};

/// Blocks after which the state is written: so many are executed again after a crash, in well under a second.
pub(super) const STATE_EVERY: u64 = 64;
/// Transactions that arrive so soon after one another share a block.
const GATHER: Duration = Duration::from_millis(20);
/// A stranger's block may be dated so far ahead of our clock, in seconds.
const AHEAD_S_MAX: u64 = 5;
/// What comes at once is taken in turns of so many, so that a flood does not keep the machine from its work.
const TURN_MAX: usize = 256;
/// Waiting transactions that a new peer is told.
const TOLD_MAX: usize = 256;
/// The longest wait for anything to happen.
const RETRY: Duration = Duration::from_secs(1);
/// First byte of a chain message among the node's: no message of another kind begins so.
pub(super) const CHAIN: u8 = 1;
/// First byte of a transaction.
pub(super) const TRANSACTION: u8 = 2;
/// First byte of a newcomer's request for starter credit: its owner's address and its node's follow.
pub(super) const NEWCOMER: u8 = 3;

/// What comes to the thread.
pub(super) enum Inbound {
    /// A peer came or went.
    Peer(NodeId, bool),
    /// What a peer sent, its kind's byte taken off.
    Said(NodeId, Message),
    /// A peer's transaction.
    Transaction(Vec<u8>),
    /// Our owner and node want starter credit, which only others can give.
    Ask([Address; 2]),
    /// A peer's owner and node want starter credit.
    Newcomer(NodeId, [Address; 2]),
    /// What a peer sent, and how many bytes of the queue it took.
    Queued(Box<Inbound>, usize),
    /// The pool has something, or the end came.
    Nudge,
}

/// Sends bytes to a peer.
pub(super) type Post = Box<dyn Fn(NodeId, Vec<u8>) + Send>;

/// The thread's own.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<Store>,
    pub(super) chain: Chain,
    pub(super) journal: Journal,
    pub(super) validators: Vec<Validator>,
    pub(super) me: Address,
    pub(super) head: Head,
    /// The block whose state is on disk.
    pub(super) saved: u64,
    pub(super) post: Post,
    /// Stops the node.
    pub(super) fatal: Box<dyn Fn() + Send>,
    pub(super) started: Instant,
    /// Double votes that are not judged yet.
    pub(super) cases: Cases,
    /// Blocks executed on top of the head, by hash.
    pub(super) candidates: BTreeMap<Digest, Executed>,
    pub(super) peers: Vec<NodeId>,
    pub(super) askers: Askers,
}

impl Driver {
    pub(super) fn run(mut self, inbox: &Receiver<Inbound>, restarted: bool) {
        let mut inputs = VecDeque::new();
        if restarted {
            inputs.push_back(Input::Restarted);
        }
        // What the ledger has and the journal does not know.
        while let Some(committed) = self.known() {
            inputs.push_back(committed);
            if let Err(why) = self.work(&mut inputs) {
                error!(%why, "the chain can't go on from its journal");
                return;
            }
        }
        while !self.shared.stop.load(Ordering::Acquire) {
            if let Err(why) = self.work(&mut inputs) {
                // What the machine said is not all written: only the journal can tell what was.
                error!(%why, "the chain's disk fails: this node stops; make room and start it again");
                (self.fatal)();
                return;
            }
            let wait =
                self.chain.next_wake().map_or(RETRY, |at| Duration::from_millis(at - self.now().mono)).min(RETRY);
            match inbox.recv_timeout(wait) {
                Ok(inbound) => {
                    self.take(inbound, &mut inputs);
                    for _ in 0..TURN_MAX {
                        let Ok(inbound) = inbox.try_recv() else { break };
                        self.take(inbound, &mut inputs);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.pursue();
                    inputs.push_back(Input::Tick);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(why) = self.save() {
            warn!(%why, "the state was not written at the end; the next start executes its blocks again");
        }
    }

    fn now(&self) -> Now {
        let mono = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono: Mono(mono), unix: Unix(unix()) }
    }

    /// The word that the ledger is further than the machine.
    fn known(&self) -> Option<Input> {
        let height = self.chain.height();
        if height > self.head.header.number {
            return None;
        }
        let disk = Disk(self.store.snapshot().ok()?);
        let block = store::block(&disk, height).ok()??;
        let builder = Address(block.header.beneficiary.0.0);
        Some(Input::Committed { height, builder, validators: store::validators(&disk, &block.header).ok()? })
    }

    fn take(&mut self, inbound: Inbound, inputs: &mut VecDeque<Input>) {
        match inbound {
            Inbound::Peer(peer, true) => {
                self.peers.push(peer);
                self.tell_waiting(peer);
                inputs.push_back(Input::PeerUp(peer));
            }
            Inbound::Peer(peer, false) => {
                self.peers.retain(|other| *other != peer);
                inputs.push_back(Input::PeerDown(peer));
            }
            Inbound::Queued(inbound, bytes) => {
                self.shared.queued.fetch_sub(bytes, Ordering::AcqRel);
                return self.take(*inbound, inputs);
            }
            Inbound::Said(from, message) => inputs.push_back(Input::Message { from, message }),
            Inbound::Transaction(bytes) => self.transaction(&bytes),
            Inbound::Ask([owner, node]) => {
                let bytes = [&[NEWCOMER][..], &owner.0, &node.0].concat();
                self.peers.iter().for_each(|peer| (self.post)(*peer, bytes.clone()));
            }
            Inbound::Newcomer(from, addresses) => self.newcomer(from, addresses),
            Inbound::Nudge => {
                // Others that are on their way shall share the block.
                std::thread::sleep(GATHER);
                self.shared.nudged.store(false, Ordering::Release);
                self.tell_transactions();
            }
        }
        if lock(&self.shared.pool).is_ready() {
            inputs.push_back(Input::Ready);
        }
    }

    /// A peer's transaction waits here, too; whoever heard it first has told everybody.
    fn transaction(&self, bytes: &[u8]) {
        let known = decode_transaction(bytes, self.head.chain_id).map_err(|e| e.to_string());
        let taken = known.and_then(|transaction| self.shared.admit(transaction).map_err(|e| e.to_string()));
        if let Err(why) = taken {
            debug!(why, "a peer's transaction was not taken");
        }
    }

    /// Gives a peer starter credit, if we may; the faucet's caps are the quota.
    fn newcomer(&mut self, from: NodeId, [owner, node]: [Address; 2]) {
        if !self.askers.may(from, unix()) {
            return;
        }
        match self.shared.give_as_sponsor(owner.0.into(), node.0.into()) {
            Some(Ok(hashes)) if !hashes.is_empty() => info!(?from, "gave a newcomer test credit (no value)"),
            Some(Err(why)) => info!(?from, %why, "a newcomer gets nothing"),
            _ => {}
        }
    }

    /// A peer that was away may have missed what waits.
    fn tell_waiting(&self, peer: NodeId) {
        let waiting: Vec<SignedBy> = lock(&self.shared.pool).best(u128::from(BASE_FEE_MIN)).take(TOLD_MAX).collect();
        for transaction in waiting {
            let mut bytes = vec![TRANSACTION];
            bytes.extend(encode_transaction(transaction.inner()));
            (self.post)(peer, bytes);
        }
    }

    /// Tells peers what users handed in here.
    fn tell_transactions(&self) {
        for transaction in std::mem::take(&mut *lock(&self.shared.fresh)) {
            let mut bytes = vec![TRANSACTION];
            bytes.extend(encode_transaction(transaction.inner()));
            self.peers.iter().for_each(|peer| (self.post)(*peer, bytes.clone()));
        }
    }

    /// Feeds the machine until it has nothing more to say.
    fn work(&mut self, inputs: &mut VecDeque<Input>) -> Result<()> {
        let mut out = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.chain.handle(self.now(), input, &mut out);
            let records: Vec<Vec<u8>> = out.iter().filter_map(recorded).map(Event::to_bytes).collect();
            if !records.is_empty() {
                self.journal.append(&records.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                self.journal.flush()?;
                if self.journal.wants_snapshot() {
                    self.journal.snapshot(&pack(self.chain.history()))?;
                }
            }
            for effect in out.drain(..) {
                self.carry_out(effect, inputs)?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect, inputs: &mut VecDeque<Input>) -> Result<()> {
        match effect {
            Effect::Record(_) => {}
            Effect::Propose { height, round } => inputs.extend(self.propose(height, round)?),
            Effect::Validate { height, block, body, builder, bytes } => {
                let valid = self.validate(height, block, builder, &bytes);
                inputs.push_back(Input::Validated { height, block, body, valid });
            }
            Effect::Commit { certificate, bytes } => inputs.extend(self.commit(&certificate, &bytes)?),
            Effect::Send { to, message } => self.send(to, &message),
            Effect::Broadcast(message) => self.peers.iter().for_each(|peer| self.send(*peer, &message)),
            Effect::Serve { to, height, count } => self.serve(to, height, count)?,
            Effect::Evidence(votes) => self.accuse(&votes)?,
            Effect::Notice(Notice::Round { height, round, proposer }) if round > 0 => {
                info!(height, round, %proposer, "another round, for the last one brought no block");
            }
            Effect::Notice(Notice::Doubled { height }) => {
                error!(
                    height,
                    "another node votes with this node's validator key: stop one of them, or the bond is cut"
                );
            }
            Effect::Notice(notice) => debug!(?notice, "chain"),
        }
        Ok(())
    }

    fn send(&self, to: NodeId, message: &Message) {
        let mut bytes = vec![CHAIN];
        bytes.extend(message.to_bytes());
        (self.post)(to, bytes);
    }

    fn serve(&self, to: NodeId, height: u64, count: u32) -> Result<()> {
        let disk = Disk(self.store.snapshot()?);
        for height in (height..).take(count as usize) {
            let (Some(bytes), Some(certificate)) =
                (store::block_bytes(&disk, height)?, store::certificate(&disk, height)?)
            else {
                break;
            };
            let certificate: Certificate = talkoo_base::wire::decode(&certificate).context("a certificate of ours")?;
            self.send(to, &Message::Block { certificate, bytes });
        }
        Ok(())
    }

    /// Builds a block of what waits.
    fn propose(&mut self, height: u64, round: u32) -> Result<Option<Input>> {
        if height != self.head.header.number + 1 {
            return Ok(None);
        }
        let disk = Disk(self.store.snapshot()?);
        let base_fee = next_base_fee(&self.head.header);
        let waiting: Vec<SignedBy> = lock(&self.shared.pool).best(base_fee.into()).collect();
        let timestamp = unix().max(self.head.header.timestamp);
        let seal = Seal { timestamp, beneficiary: self.me.0.into() };
        let (executed, refused) = propose(&self.head, &disk, &|n| ancestor(&disk, n), seal, waiting)?;
        for (hash, reason) in refused {
            info!(%hash, %reason, "a transaction was dropped");
            lock(&self.shared.pool).refuse(&hash);
        }
        let (block, bytes) = (Digest(executed.head.hash.0), encode_block(&executed.block));
        self.candidates.insert(block, executed);
        Ok(Some(Input::Proposed { height, round, block, bytes }))
    }

    /// Whether a stranger's block may follow the last one.
    fn validate(&mut self, height: u64, hash: Digest, builder: Option<Address>, bytes: &[u8]) -> bool {
        match self.execute(height, hash, builder, bytes) {
            Ok(executed) => {
                self.candidates.insert(hash, executed);
                true
            }
            Err(why) => {
                warn!(height, %why, "a block was refused");
                false
            }
        }
    }

    fn execute(&self, height: u64, hash: Digest, builder: Option<Address>, bytes: &[u8]) -> Result<Executed, String> {
        let block: Block = decode_block(bytes)?;
        let header = &block.header;
        let is = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        is(height == self.head.header.number + 1 && header.number == height, "it is of another height")?;
        is(talkoo_ledger::hash(header).0 == hash.0, "its header has another hash")?;
        is(builder.is_none_or(|builder| header.beneficiary.0.0 == builder.0), "it names another builder")?;
        is(builder.is_none() || header.timestamp <= unix() + AHEAD_S_MAX, "it comes from the future")?;
        let disk = Disk(self.store.snapshot().map_err(|e| e.to_string())?);
        apply(&self.head, &disk, &|n| ancestor(&disk, n), block).map_err(|e| e.to_string())
    }

    /// Writes a block that is final, and tells.
    fn commit(&mut self, certificate: &Certificate, bytes: &[u8]) -> Result<Option<Input>> {
        if certificate.height != self.head.header.number + 1 {
            return Ok(None);
        }
        let executed = match self.candidates.remove(&certificate.block) {
            Some(executed) => executed,
            None => self
                .execute(certificate.height, certificate.block, None, bytes)
                .map_err(|why| anyhow::anyhow!("a block is final and can't be executed here: {why}"))?,
        };
        let mut writes = store::record(&executed, encode(certificate));
        let mut head = executed.head.clone();
        let number = head.header.number;
        let saving = number >= self.saved + STATE_EVERY;
        if saving {
            head.state.save(&mut writes);
            store::state_saved(&mut writes, number);
        }
        if let Some(validators) = &executed.handover {
            store::handed_over(&mut writes, &Disk(self.store.snapshot()?), number, validators)?;
            info!(block = number, validators = validators.len(), "the validators change with the next block");
            self.validators.clone_from(validators);
        }
        self.store.write(&writes)?;
        if saving {
            self.saved = number;
        }
        self.head = head;
        self.candidates.clear();
        let builder = Address(self.head.header.beneficiary.0.0);
        self.shared.publish(self.head.clone(), Disk(self.store.snapshot()?), executed);
        self.pursue();
        Ok(Some(Input::Committed { height: number, builder, validators: self.validators.clone() }))
    }

    fn save(&mut self) -> Result<()> {
        let number = self.head.header.number;
        if number > self.saved {
            let mut writes = Writes::new();
            self.head.state.save(&mut writes);
            store::state_saved(&mut writes, number);
            self.store.write(&writes)?;
        }
        Ok(())
    }
}

fn recorded(effect: &Effect) -> Option<&Event> {
    match effect {
        Effect::Record(event) => Some(event),
        _ => None,
    }
}

pub(super) fn ancestor(kv: &dyn talkoo_ledger::KvRead, number: u64) -> Result<B256, talkoo_ledger::KvError> {
    Ok(store::block(kv, number)?.map_or_else(Default::default, |block| talkoo_ledger::hash(&block.header)))
}
