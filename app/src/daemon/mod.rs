//! A running node: the machines of `talkoo-node` with the world attached.
//!
//! One loop owns everything. It only receives; then it gives the node up to 256 ready inputs,
//! flushes the journal once if anything durable happened, and carries the effects out. Slow work
//! (files, models, the network's answers) runs in tasks that come back as [`Event`]s.

mod answers;
mod calls;
pub(crate) mod config;
mod contracts;
mod denylists;
mod erasure;
pub(crate) mod executor;
mod faces;
mod fold;
mod kept;
pub(crate) mod limits;
mod loading;
mod memory;
mod money;
mod notices;
mod operators;
pub(crate) mod otlp;
mod owner;
pub(crate) mod remote;
pub(crate) mod rim;
mod start;
mod store;
pub(crate) mod terms;
mod timeline;
mod vault;

pub(crate) use config::Config;
pub(crate) use start::run;

use crate::data::is_of_data;
use crate::deals::is_of_deals;
use crate::disputes::is_of_dispute;
use crate::inference::{Asked, Bought};
use crate::ledger::{News, is_of_chain};
use crate::models::{Shelf, foreign};
pub(crate) use calls::STOP_MS_MAX;

use crate::income::Book;
use calls::Posted;
use executor::{Executor, Report};
use limits::Senses;
use loading::Pulled;
use memory::Memory;
use money::Money;
pub(crate) use money::{FOUNDERS_POWER, LedgerChoice};
use remote::Remote;
use rim::Rim;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use talkoo_api::Call;
use talkoo_base::{Digest, ModelOffer, Mono, Network, NodeId, Now, Price, Refusal, SecretKey, Tier, Unix};
use talkoo_disk::{Blocks, Journal};
use talkoo_inference::{Hooks, Keys, Meters};
use talkoo_market::Demand;
use talkoo_net::{Net, NetEvent};
use talkoo_node::{Effect, Event as Record, Input, Message, Node, Providing};
use timeline::Timeline;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};
use vault::Vault;

/// Inputs handled before a flush.
const BATCH_MAX: usize = 256;
/// Leases that a worker runs side by side: they share each pass over the weights.
pub(crate) const SLOTS: u32 = 8;
/// Refused messages of one peer before its connections are closed for a while, and again each time.
const REFUSED_MAX: u64 = 32;
/// Peers whose refused messages are counted.
const REFUSED_PEERS_MAX: usize = 1_024;
/// Events that wait for the loop; senders wait beyond it.
pub(crate) const INBOX_MAX: usize = 1_024;

/// What comes to the loop besides calls and the network.
pub(crate) enum Event {
    Report(Report),
    Pulled(Pulled),
    Posted(Posted),
    Money(News),
    /// The wallet is open.
    Unlocked(SecretKey),
    Senses(Senses),
    /// Time to think the price over.
    Price,
    /// An answer is to be bought.
    Asked(Asked),
    Erasure(erasure::Heard),
}

/// The loop's own state.
pub(crate) struct Daemon {
    config: Config,
    network: Network,
    node: Node,
    journal: Journal,
    vault: Vault,
    memory: Memory,
    blocks: Arc<Blocks>,
    shelf: Shelf,
    net: Arc<Net>,
    executor: Executor,
    remote: Option<Remote>,
    rim: Box<dyn Rim>,
    inbox: mpsc::Sender<Event>,
    events: talkoo_api::Feed,
    tasks: TaskTracker,
    money: Money,
    stop: CancellationToken,
    started: Instant,
    api_addr: std::net::SocketAddr,
    operator: talkoo_base::Address,
    /// What it asks now, and what clients had wanted when that was last thought over.
    price: Price,
    demand: Demand,
    /// The owner's limit that is touched, and until when running work may go on.
    held_back: Option<(Refusal, Option<Instant>)>,
    /// What the machine was like at the last look.
    senses: Option<Senses>,
    build: Digest,
    /// When a client's warning last made us test ourselves.
    doubted: Option<Instant>,
    /// Whether nothing exact is offered, for what was sold has no room.
    sold_out: bool,
    /// Models that are loaded and measured, ready to be offered.
    offers: BTreeMap<Digest, ModelOffer>,
    /// Pulls under way, so that nobody starts one twice.
    pulling: std::collections::BTreeSet<String>,
    providing: bool,
    /// Messages of peers that were refused: bytes, signatures, frames.
    refused: BTreeMap<NodeId, u64>,
    /// Parent of `receipts/` and `evidence/`.
    receipts: PathBuf,
    bought: Bought,
    erasure: erasure::Erasure,
    book: Book,
    timeline: Timeline,
    keys: Arc<Keys>,
    hooks: Arc<Hooks>,
    meters: Meters,
    out: Vec<Effect>,
    pending: Vec<Input>,
    replies: calls::Replies,
}

impl Daemon {
    fn now(&self) -> Now {
        let mono = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let unix = crate::ledger::unix();
        Now { mono: Mono(mono), unix: Unix(unix) }
    }

    /// Receives, handles, flushes, carries out; until stopped.
    async fn serve(
        &mut self,
        mut inbox: mpsc::Receiver<Event>,
        mut calls: mpsc::Receiver<Call>,
        mut network: mpsc::Receiver<NetEvent>,
    ) -> anyhow::Result<()> {
        self.pending.push(Input::Restarted);
        loop {
            self.turn()?;
            let wake = self.node.next_wake().map(|at| at - self.now().mono);
            let wake = tokio::time::sleep(std::time::Duration::from_millis(wake.unwrap_or(60_000)));
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = wake => self.pending.push(Input::Tick),
                Some(event) = inbox.recv() => self.take(event),
                Some(call) = calls.recv() => self.call(call),
                Some(event) = network.recv() => self.hear(event),
            }
            // Whatever else is ready joins the same flush.
            for _ in 0..BATCH_MAX {
                if let Ok(event) = network.try_recv() {
                    self.hear(event);
                } else if let Ok(event) = inbox.try_recv() {
                    self.take(event);
                } else {
                    break;
                }
            }
        }
    }

    /// Gives the node what is pending, makes it durable, carries it out.
    fn turn(&mut self) -> anyhow::Result<()> {
        let now = self.now();
        self.look_at_shelf();
        if self.node.next_wake().is_some_and(|at| at <= now.mono) {
            self.pending.push(Input::Tick);
        }
        let mut out = std::mem::take(&mut self.out);
        for input in std::mem::take(&mut self.pending) {
            if let Some(input) = self.rim.input(input) {
                self.node.handle(now, input, &mut out);
            }
        }
        // Receipts first: what the journal calls done has one also after a crash, and none of ours leaves before what it binds us to.
        for effect in &out {
            match effect {
                Effect::Keep(kept) => self.keep(kept),
                Effect::Sold(sold) => self.money.disputes.iter().for_each(|disputes| disputes.sold(sold)),
                _ => {}
            }
        }
        let events = out.iter().filter_map(|e| if let Effect::Record(event) = e { Some(&**event) } else { None });
        let records = self.vault.write(events)?;
        if !records.is_empty() {
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            self.journal.append(&records)?;
            self.journal.flush()?;
            for effect in &out {
                if let Effect::Record(event) = effect
                    && let Record::Job(talkoo_job::Event::Forgotten { job }) = &**event
                {
                    self.forgotten(job)?;
                }
            }
            if self.journal.wants_snapshot() {
                self.snapshot()?;
            }
        }
        self.end_erasure()?;
        self.reply();
        for effect in out.drain(..) {
            let effect = self.rim.effect(effect);
            self.carry_out(effect);
        }
        self.out = out;
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            // It is in the journal: a claim may follow.
            Effect::Record(event) => {
                if let Record::Proof(talkoo_proof::Event::Earned { node, .. }) = &*event {
                    self.count_earned();
                    self.earned(Some(node));
                }
            }
            Effect::Send { to, message } => {
                if let Err(why) = self.net.send(to, message.to_bytes()) {
                    // Every message that matters is sent again by its machine.
                    debug!(peer = ?to, %why, "message not sent");
                }
            }
            Effect::Meet(node) => self.net.meet(node),
            Effect::Run(run) => match &mut self.remote {
                _ if run.work.tier == Tier::Float && run.rerun.is_some() => {
                    let file = foreign::file_of(&self.config.data_dir, &run.work.program);
                    self.executor.weigh(run, file);
                }
                Some(remote) if run.work.tier == Tier::Float => remote.run(*run),
                _ => self.executor.run(run),
            },
            Effect::Credit { ticket, chunks } => {
                if !self.remote.as_ref().is_some_and(|remote| remote.credit(&ticket, chunks)) {
                    self.executor.credit(ticket, chunks);
                }
            }
            Effect::Stop(ticket) => {
                if !self.remote.as_mut().is_some_and(|remote| remote.stop(&ticket)) {
                    self.executor.stop(ticket);
                }
            }
            // Written before the journal was.
            Effect::Keep(_) | Effect::Sold(_) => {}
            Effect::Dispute { worker, case } => self.dispute(worker, *case),
            Effect::Channel(channel) => self.channel(*channel),
            Effect::Notice(notice) => self.notice(&notice),
        }
    }

    /// Tells everybody who listens to the event stream.
    fn tell(&self, event: &serde_json::Value) {
        self.events.tell(event);
    }

    fn hear(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening(addr) => info!(%addr, "listening"),
            NetEvent::PeerUp { peer, addr } => {
                info!(?peer, %addr, "peer up");
                self.tell(&json!({"type": "peer.up", "node": peer.to_string()}));
                self.chain_peer(peer, true);
                self.pending.push(Input::PeerUp(peer));
            }
            // The address of an incoming connection leads nowhere; these do.
            NetEvent::Dialable { addrs, .. } => self.memory.met(addrs.iter().map(ToString::to_string).collect()),
            NetEvent::PeerDown { peer } => {
                info!(?peer, "peer down");
                self.tell(&json!({"type": "peer.down", "node": peer.to_string()}));
                self.chain_peer(peer, false);
                self.pending.push(Input::PeerDown(peer));
            }
            NetEvent::Message { peer, bytes } if is_of_chain(&bytes) => self.chain_message(peer, &bytes),
            NetEvent::Message { peer, bytes } if is_of_dispute(&bytes) => self.dispute_message(peer, &bytes),
            NetEvent::Message { peer, bytes } if is_of_data(&bytes) => self.data_message(peer, &bytes),
            NetEvent::Message { peer, bytes } if is_of_deals(&bytes) => self.deals_message(peer, &bytes),
            NetEvent::Message { peer, bytes } => match Message::from_bytes(&bytes, &self.network) {
                Ok(message) => {
                    if let Message::Hello(hello) = &message {
                        self.owned(peer, hello);
                    }
                    self.pending.push(Input::Message { from: peer, message: Box::new(message) });
                }
                Err(why) => self.refuse(peer, &why.to_string()),
            },
            NetEvent::Misbehaved { peer, why } => self.refuse(peer, &why),
        }
    }

    fn refuse(&mut self, peer: NodeId, why: &str) {
        if self.refused.len() >= REFUSED_PEERS_MAX {
            self.refused.clear();
        }
        let count = self.refused.entry(peer).or_default();
        *count += 1;
        if *count == 1 {
            warn!(?peer, why, "message refused; further ones of this peer are only counted");
        }
        if count.is_multiple_of(REFUSED_MAX) {
            self.net.ban(peer, format!("{REFUSED_MAX} of its messages were refused"));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Report(Report::Run(input)) => {
                self.remote.iter().for_each(|remote| remote.heed(&input));
                self.pending.push(Input::Engine(input));
            }
            Event::Report(Report::Loaded { name, offer }) => self.loaded(&name, offer),
            Event::Report(Report::Withdrawn { name, program, refusal }) => {
                self.offers.remove(&program);
                self.offer();
                self.loaded(&name, Err(refusal));
            }
            Event::Report(Report::Died) => {
                error!("the engine panicked: this node stops; its log says where, please report it");
                self.stop.cancel();
            }
            Event::Pulled(pulled) => self.pulled(pulled),
            Event::Posted(posted) => self.posted(posted),
            Event::Money(news) => self.money(news),
            Event::Unlocked(key) => {
                self.money.data.iter().for_each(|data| data.unlock(&key));
                self.money.deals.iter().for_each(|deals| deals.unlock(money::again(&key)));
                if let Some(disputes) = &self.money.disputes {
                    disputes.unlock(key);
                }
            }
            Event::Senses(senses) => self.sensed(&senses),
            Event::Price => self.think_price_over(),
            Event::Asked(asked) => self.asked(asked),
            Event::Erasure(heard) => self.hear_erasure(heard),
        }
    }

    fn loaded(&mut self, name: &str, offer: Result<ModelOffer, Refusal>) {
        match offer {
            Ok(offer) => {
                let tps = offer.decode_mtps / 1000;
                info!(name, tps, "model ready");
                self.tell(&json!({"type": "model.ready", "name": name, "decode_tps": tps}));
                self.offers.insert(offer.program, offer);
                self.offer();
            }
            Err(refusal) => {
                warn!(name, %refusal, "model cannot be offered");
                self.retract(name);
                self.tell(&json!({"type": "model.failed", "name": name, "message": refusal.to_string()}));
            }
        }
    }

    /// Tells the node what we offer now.
    fn offer(&mut self) {
        let sells = |offer: &&ModelOffer| offer.tier != Tier::Exact || !self.sold_out;
        let models: Vec<ModelOffer> = self.offers.values().filter(sells).cloned().collect();
        let ready = self.providing && self.held_back.is_none() && !models.is_empty();
        // A card has one number for all: a server may take more than our own engine.
        let own = models.iter().any(|offer| offer.tier == Tier::Exact).then_some(SLOTS);
        let slots = own.into_iter().chain(self.remote.as_ref().map(Remote::slots)).min().unwrap_or(SLOTS);
        let providing = ready.then_some(Providing { models, slots, price: self.price });
        self.pending.push(Input::Provide(providing));
    }
}
