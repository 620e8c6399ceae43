//! The machine: inputs in, effects out, one height at a time.

mod talk;

use crate::catchup::{CatchUp, Sent};
use crate::context::{Address, Ctx, Height, Value};
use crate::host::{Host, Waiting, tell_evidence};
use crate::limits::{BLOCK_BYTES_MAX, STATUS_IDLE_MS, STATUS_MS};
use crate::validators::Validators;
use crate::wire::{Event, Message};
use crate::{Effect, Input, Notice, journal};
use malachite::{Error, Input as Fed, LocallyProposedValue, Params, State, ValuePayload};
use malachite_types::{Round, VoteExtensionPolicy};
use std::collections::{BTreeMap, BTreeSet};
use talkoo_base::{Certificate, Digest, Mono, Network, NodeId, Now, Signer, Validator, keccak256};

/// The chain of one node, be it a validator or one that follows.
pub struct Chain {
    core: State<Ctx>,
    host: Host,
    validators: Validators,
    height: u64,
    /// The core works on this height.
    started: bool,
    /// This block of the height is being written.
    committing: Option<Digest>,
    /// There is something for the next height.
    ready: bool,
    peers: BTreeSet<NodeId>,
    /// Messages for the next height, by the validator that made them, and who told us.
    early: BTreeMap<talkoo_base::Address, Vec<(NodeId, Message)>>,
    catch_up: CatchUp,
    status_at: Mono,
}

impl Chain {
    /// A chain that goes on at `height`: 1 after a genesis block. The journal's events are applied next, and
    /// [`Input::Restarted`] is the first input if there were any. Without the journal of its last life a validator may
    /// contradict itself.
    ///
    /// # Panics
    /// Unless there are 1 to 128 validators, each once and with power, together at most 2^62.
    #[must_use]
    pub fn new(signer: Box<dyn Signer>, network: Network, height: u64, validators: &[Validator]) -> Self {
        let validators = Validators::new(validators, BTreeSet::new());
        let host = Host::new(signer, network);
        // The bytes travel beside the proposal, and a value counts only when the executor has said what it is worth.
        let params = Params {
            address: Address(host.me),
            threshold_params: malachite::ThresholdParams::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        // The core's own queue for later heights stays empty: we keep early messages by peer.
        let core = State::new(Ctx, Height(height), validators.clone(), params, 1, 1);
        Self {
            core,
            host,
            validators,
            height,
            started: false,
            committing: None,
            ready: false,
            peers: BTreeSet::new(),
            early: BTreeMap::new(),
            catch_up: CatchUp::default(),
            status_at: Mono::default(),
        }
    }

    /// Takes one input. Total: never fails, whatever a peer sends.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.host.now = now.mono;
        match input {
            Input::PeerUp(peer) => self.peer_up(peer, out),
            Input::PeerDown(peer) => {
                self.peers.remove(&peer);
                self.catch_up.drop_peer(now.mono, self.height, peer);
            }
            Input::Message { from, message } => self.message(from, message, out),
            Input::Ready => self.ready(out),
            Input::Proposed { height, round, block, bytes } => self.proposed(height, round, block, bytes, out),
            Input::Validated { height, block, body, valid } => {
                if height == self.height {
                    self.validated(Value { block, body }, valid, out);
                }
            }
            Input::Committed { height, builder, validators } => {
                if height == self.height {
                    // A block from a peer ended the height past the core, which still knows who voted twice in it.
                    tell_evidence(self.core.driver.take_vote_evidence(), out);
                    self.validators = self.validators.next(height, builder, &validators);
                    self.enter(out);
                }
            }
            Input::Restarted => self.restart(out),
            Input::Tick => {}
        }
        self.on_time(out);
    }

    /// When the chain next wants an [`Input::Tick`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Mono> {
        let timers = self.host.timers.iter().map(|(at, _)| *at);
        timers.chain(self.catch_up.next_wake()).chain([self.status_at]).min()
    }

    /// Applies a recorded event: how a restart rebuilds the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Height { height, validators, absent } => {
                self.height = *height;
                self.validators = Validators::new(validators, absent.iter().copied().collect());
                self.host.clear();
            }
            event if journal::height(event) == self.height => self.host.keep(event.clone()),
            _ => {}
        }
    }

    /// The fewest events that give this state again.
    pub fn history(&self) -> impl Iterator<Item = Event> {
        std::iter::once(self.beginning()).chain(self.host.log.iter().cloned())
    }

    /// The height that is being agreed on: one more than that of the last final block.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.height
    }

    /// Who proposes in a round of this height.
    #[must_use]
    pub fn proposer(&self, round: u32) -> talkoo_base::Address {
        self.validators.proposer(self.height, round).address.0
    }

    fn beginning(&self) -> Event {
        let absent = self.validators.absent().iter().copied().collect();
        Event::Height { height: self.height, validators: self.validators.records(), absent }
    }

    /// Feeds the core, and looks what it wants.
    fn step(&mut self, input: Fed<Ctx>, out: &mut Vec<Effect>) {
        let Self { core, host, validators, .. } = self;
        let done: Result<(), Error<Ctx>> = malachite::process!(input: input, state: core, metrics: &(), with: asked => host.effect(validators, asked, out));
        if let Err(error) = done {
            assert!(!matches!(error, Error::ReplayDivergence(..)), "what was signed can be derived again: {error}");
            out.push(Effect::Notice(Notice::Stuck(error.to_string())));
        }
        self.host.incoming = None;
        if !self.core.is_replaying_wal() {
            self.answer(out);
        }
    }

    /// Asks for the block that the core wants, and commits the one that it decided.
    fn answer(&mut self, out: &mut Vec<Effect>) {
        if let Some(round) = self.host.wanted.take() {
            out.push(Effect::Propose { height: self.height, round });
        }
        if let Some(certificate) = self.host.decided.take() {
            match self.host.valid_bytes(certificate.block).cloned() {
                Some(bytes) => self.commit(certificate, bytes, out),
                None => out.push(Effect::Notice(Notice::Stuck("the block that was decided is not here".into()))),
            }
        }
    }

    fn start_core(&mut self, again: bool, out: &mut Vec<Effect>) {
        self.started = true;
        self.status_at = self.host.now + STATUS_MS;
        let set = self.validators.clone();
        self.step(Fed::StartHeight(Height(self.height), set, again, None, VoteExtensionPolicy::Disabled), out);
    }

    fn commit(&mut self, certificate: Certificate, bytes: Vec<u8>, out: &mut Vec<Effect>) {
        if self.committing.is_none() {
            self.committing = Some(certificate.block);
            self.host.timers.clear();
            out.push(Effect::Commit { certificate, bytes });
        }
    }

    /// The next height: quiet until somebody has something for it.
    fn enter(&mut self, out: &mut Vec<Effect>) {
        self.height += 1;
        (self.started, self.committing) = (false, None);
        self.host.clear();
        out.push(Effect::Record(Box::new(self.beginning())));
        self.catch_up.entered(self.host.now, self.height);
        for (from, message) in std::mem::take(&mut self.early).into_values().flatten() {
            self.agree(from, message, out);
        }
        self.advance(out);
        if std::mem::take(&mut self.ready) {
            self.ready(out);
        }
    }

    fn restart(&mut self, out: &mut Vec<Effect>) {
        if self.host.log.is_empty() || self.started {
            return;
        }
        let entries: Vec<_> = self.host.log.iter().filter_map(journal::input).collect();
        self.core.index_wal_entries(&entries);
        self.start_core(true, out);
        for entry in entries {
            self.step(entry, out);
        }
        self.core.reset_entries_index();
        if !self.core.driver.step_is_propose() {
            self.host.wanted = None;
        }
        self.answer(out);
    }

    fn ready(&mut self, out: &mut Vec<Effect>) {
        if self.committing.is_some() {
            self.ready = true;
        } else if !self.started && self.validators.get(self.host.me).is_some() {
            out.push(Effect::Broadcast(self.status(true)));
            self.start_core(false, out);
        }
    }

    fn proposed(&mut self, height: u64, round: u32, block: Digest, bytes: Vec<u8>, out: &mut Vec<Effect>) {
        if height != self.height || !self.started || self.committing.is_some() {
            return;
        }
        if bytes.len() > BLOCK_BYTES_MAX {
            out.push(Effect::Notice(Notice::Stuck("the block is too large to propose: put less into it".into())));
            return;
        }
        let body = keccak256(&[&bytes]);
        let fresh = !self.host.waiting.contains_key(&(block, body));
        if fresh {
            self.host.waiting.insert((block, body), Waiting { round, proposer: self.host.me, bytes });
        }
        let value = LocallyProposedValue::new(Height(height), Round::new(round), Value { block, body });
        self.step(Fed::Propose(value), out);
        if fresh {
            // The core did not want it any more.
            self.host.waiting.remove(&(block, body));
        }
    }

    fn validated(&mut self, value: Value, valid: bool, out: &mut Vec<Effect>) {
        if self.committing.is_some() {
            return;
        }
        let key = (value.block, value.body);
        if let Some(waiting) = self.host.waiting.get(&key) {
            let (round, proposer) = (waiting.round, waiting.proposer);
            self.step(journal::executed(self.height, round, proposer, value, valid), out);
            self.host.waiting.remove(&key);
        }
        let fetched = |(sent, body): &mut (Sent, Digest)| (sent.certificate.block, *body) == key;
        let Some((sent, _)) = self.catch_up.executing.take_if(fetched) else { return };
        if valid {
            self.commit(sent.certificate, sent.bytes, out);
        } else {
            self.refuse(sent.from, "it sent other bytes than those of the final block", out);
        }
    }

    /// Waits that are over.
    fn on_time(&mut self, out: &mut Vec<Effect>) {
        let now = self.host.now;
        while let Some(at) = (0..self.host.timers.len()).min_by_key(|i| self.host.timers[*i].0) {
            if self.host.timers[at].0 > now {
                break;
            }
            let (_, timeout) = self.host.timers.remove(at);
            self.step(Fed::TimeoutElapsed(timeout), out);
        }
        if let Some((to, message)) = self.catch_up.ask(now, self.height) {
            out.push(Effect::Send { to, message });
        }
        if self.status_at <= now {
            out.push(Effect::Broadcast(self.status(false)));
            self.status_at = now + if self.started { STATUS_MS } else { STATUS_IDLE_MS };
        }
    }
}
