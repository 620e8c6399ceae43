//! The client's side: rank the book for a job, reserve the best few at once, keep every reason.

use crate::book::{Book, Peer, Standing};
use crate::limits::{ANSWER_MS_MAX, ASKS_AT_ONCE_MAX, MEET_AGAIN_MS, MEETS_AT_ONCE_MAX, PAUSE_MS};
use crate::offer::Offer;
use crate::{Effect, Message};
use std::collections::BTreeMap;
use talkoo_base::{
    Address, Card, Digest, JobId, Mono, NodeId, Now, Preferences, Price, Refusal, RefusalCode, Sort, Tier, Unix,
};

/// What a job looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The job.
    pub job: JobId,
    /// The model.
    pub program: Digest,
    /// How its answers have to be checkable.
    pub tier: Tier,
    /// Longest context of its steps, in tokens.
    pub context: u32,
    /// Highest price it pays.
    pub price_max: Price,
    /// Workers at most.
    pub nodes_max: u32,
    /// Whether our own node may work on it.
    pub own: bool,
    /// Which workers it wants.
    pub prefer: Preferences,
}

/// Ranks one peer for a job: a score (larger is better) or the reason why not.
/// Pure: the same peer, job and time give the same answer.
///
/// # Errors
/// The first reason against the peer.
pub fn rank(wanted: &Wanted, me: &NodeId, node: &NodeId, peer: &Peer, now: Now) -> Result<u64, Refusal> {
    if node == me && !wanted.own {
        return Err(Refusal::new(RefusalCode::NotProviding, "this is our own node", "allow own work to use it"));
    }
    match &peer.standing {
        Standing::Paused(until) if *until > now.mono => {
            let rest = (*until - now.mono).div_ceil(1000);
            let hint = format!("it is asked again in {rest} s");
            return Err(Refusal::new(RefusalCode::Silent, "it failed us a moment ago", hint));
        }
        Standing::Good | Standing::Paused(_) => {}
        Standing::Convicted(why) => {
            return Err(Refusal::new(RefusalCode::ProvenLiar, why.clone(), "its evidence is kept; never used again"));
        }
    }
    if let Some(why) = &peer.barred {
        return Err(Refusal::new(RefusalCode::BuildQuarantined, why.clone(), "it has to update"));
    }
    if !peer.up && node != me {
        return Err(Refusal::new(RefusalCode::Disconnected, "no connection", "it may come back"));
    }
    let Some(card) = &peer.card else {
        return Err(Refusal::new(RefusalCode::NotProviding, "it has sent no card", "wait for it to offer"));
    };
    let place = check_wishes(&wanted.prefer, node, card)?;
    check_card(wanted, card, now.unix)?;
    Ok(place << PLACE_SHIFT | (score(wanted, peer, card) >> peer.failures().min(16)))
}

/// Where the places of `order` begin in a score; what a sort makes of a worker stays below.
const PLACE_SHIFT: u32 = 48;
const SCORE_MAX: u64 = (1 << PLACE_SHIFT) - 1;

/// How good a worker is for what the job sorts by.
fn score(wanted: &Wanted, peer: &Peer, card: &Card) -> u64 {
    let offer = card.models.iter().find(|m| m.program == wanted.program);
    let score = match wanted.prefer.sort {
        // Measured nodes first, fast before slow; a failure halves the score.
        None => peer.decode_mtps().unwrap_or(1_000),
        Some(Sort::Throughput) => peer.decode_mtps().or(offer.map(|m| m.decode_mtps)).unwrap_or(1),
        Some(Sort::Latency) => offer.map_or(1, |m| m.prefill_mtps),
        Some(Sort::Price) => {
            let price = card.price.input.saturating_add(card.price.output);
            SCORE_MAX - u64::try_from(price).unwrap_or(SCORE_MAX).min(SCORE_MAX - 1)
        }
    };
    score.clamp(1, SCORE_MAX)
}

/// A worker's place in the buyer's order, the first the largest, or why the buyer does not want it.
fn check_wishes(prefer: &Preferences, node: &NodeId, card: &Card) -> Result<u64, Refusal> {
    let no = |what: &str| Err(Refusal::new(RefusalCode::NotWanted, what, "change the job's preferences"));
    let is = |name: &Address| *name == node.address() || *name == card.operator;
    if prefer.ignore.iter().any(is) {
        return no("the job ignores it");
    }
    if !prefer.only.is_empty() && !prefer.only.iter().any(is) {
        return no("the job wants only others");
    }
    match prefer.order.iter().position(is) {
        Some(at) => Ok((prefer.order.len() - at) as u64),
        None if !prefer.allow_fallbacks && !prefer.order.is_empty() => no("it is not in the job's order"),
        None => Ok(0),
    }
}

fn check_card(wanted: &Wanted, card: &Card, now: Unix) -> Result<(), Refusal> {
    if card.expiry <= now {
        return Err(Refusal::new(RefusalCode::CardExpired, "its card has expired", "it will send a new one"));
    }
    if card.slots == 0 {
        return Err(Refusal::new(RefusalCode::NotProviding, "it offers no compute now", "its owner may start again"));
    }
    let Some(offer) = card.models.iter().find(|m| m.program == wanted.program) else {
        return Err(Refusal::new(
            RefusalCode::UnknownModel,
            "it does not have the model",
            "it could pull it, or offer it with the `--kv` of the job",
        ));
    };
    if offer.tier != wanted.tier {
        let no = Refusal::new(RefusalCode::UnknownModel, "it offers the model in another tier", "ask for that tier");
        return Err(no.with(wanted.tier.name(), offer.tier.name()));
    }
    if offer.context < wanted.context {
        let no = Refusal::new(RefusalCode::ContextExceeded, "its context is too short", "shorten the prompts");
        return Err(no.with(wanted.context, offer.context));
    }
    if !card.price.within(&wanted.price_max) {
        let no = Refusal::new(
            RefusalCode::PriceAboveMax,
            "it asks more than the job allows",
            "raise --max-price, or `max_price` of `provider`",
        );
        return Err(no.with(
            format!("{}/{}", card.price.input, card.price.output),
            format!("{}/{}", wanted.price_max.input, wanted.price_max.output),
        ));
    }
    Ok(())
}

struct Search {
    wanted: Wanted,
    asked: BTreeMap<NodeId, Mono>,
    agreed: BTreeMap<NodeId, u32>,
    /// Why not, and until when not again (`None`: as long as ranking says so).
    reasons: BTreeMap<NodeId, (Refusal, Option<Mono>)>,
    /// Workers that it wanted to meet, until when it leaves them alone.
    met: BTreeMap<NodeId, Mono>,
}

#[derive(Default)]
pub(crate) struct Searches(BTreeMap<JobId, Search>);

impl Searches {
    pub(crate) fn open(&mut self, wanted: Wanted) {
        let job = wanted.job;
        let fresh = Search {
            wanted,
            asked: BTreeMap::new(),
            agreed: BTreeMap::new(),
            reasons: BTreeMap::new(),
            met: BTreeMap::new(),
        };
        self.0.entry(job).or_insert(fresh);
    }

    pub(crate) fn close(&mut self, job: JobId, me: NodeId, offer: &mut Offer, out: &mut Vec<Effect>) {
        let Some(search) = self.0.remove(&job) else { return };
        for node in search.agreed.into_keys().chain(search.asked.into_keys()) {
            // A release would also undo a grant that is on its way to another job.
            if self.0.values().any(|s| s.agreed.contains_key(&node) || s.asked.contains_key(&node)) {
                continue;
            }
            if node == me {
                offer.release(&me);
            } else {
                out.push(Effect::Send { to: node, message: Message::Release });
            }
        }
    }

    pub(crate) fn explain(&self, job: &JobId) -> Vec<(NodeId, Refusal)> {
        let Some(search) = self.0.get(job) else { return Vec::new() };
        search.reasons.iter().map(|(node, (why, _))| (*node, why.clone())).collect()
    }

    /// A worker failed, left or lied: every job loses it.
    pub(crate) fn drop_node(&mut self, node: NodeId, refusal: &Refusal, out: &mut Vec<Effect>) {
        for (job, search) in &mut self.0 {
            let asked = search.asked.remove(&node).is_some();
            if search.agreed.remove(&node).is_some() {
                out.push(Effect::Lost { job: *job, node, refusal: refusal.clone() });
            } else if !asked {
                continue;
            }
            search.reasons.insert(node, (refusal.clone(), None));
        }
    }

    pub(crate) fn reserved(
        &mut self,
        from: NodeId,
        program: Digest,
        slots: u32,
        decode_mtps: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        for (job, search) in &mut self.0 {
            if search.wanted.program != program || search.asked.remove(&from).is_none() {
                continue;
            }
            search.reasons.remove(&from);
            search.agreed.insert(from, slots);
            out.push(Effect::Agreed { job: *job, node: from, slots, decode_mtps });
        }
    }

    pub(crate) fn refused(&mut self, now: Mono, from: NodeId, program: Digest, refusal: &Refusal) {
        for search in self.0.values_mut().filter(|s| s.wanted.program == program) {
            if search.asked.remove(&from).is_some() {
                search.reasons.insert(from, (refusal.clone(), Some(now + PAUSE_MS)));
            }
        }
    }

    /// Lets unanswered asks lapse, then asks the best nodes not asked yet.
    pub(crate) fn advance(&mut self, now: Now, me: NodeId, book: &Book, out: &mut Vec<Effect>) {
        for search in self.0.values_mut() {
            search.reasons.retain(|node, _| book.get(node).is_some());
            search.lapse(now.mono);
            search.ask(now, me, book, out);
        }
    }

    pub(crate) fn next_wake(&self, book: &Book) -> Option<Mono> {
        let asked = self.0.values().flat_map(|s| s.asked.values().copied());
        let paused = self.0.values().flat_map(|s| s.reasons.values().filter_map(|(_, until)| *until));
        let resting = book.peers().filter_map(|(_, p)| match p.standing {
            Standing::Paused(until) if !self.0.is_empty() => Some(until),
            _ => None,
        });
        asked.chain(paused).chain(resting.filter(|_| self.0.values().any(Search::has_room))).min()
    }
}

impl Search {
    fn has_room(&self) -> bool {
        self.agreed.len() < self.wanted.nodes_max as usize
    }

    fn lapse(&mut self, now: Mono) {
        self.met.retain(|_, until| *until > now);
        let late: Vec<NodeId> = self.asked.iter().filter(|(_, until)| **until <= now).map(|(n, _)| *n).collect();
        for node in late {
            self.asked.remove(&node);
            let no = Refusal::new(RefusalCode::Silent, "it did not answer a reservation", "it is asked again later");
            self.reasons.insert(node, (no, Some(now + 5 * PAUSE_MS)));
        }
        for (_, until) in self.reasons.values_mut() {
            *until = until.filter(|t| *t > now);
        }
    }

    fn ask(&mut self, now: Now, me: NodeId, book: &Book, out: &mut Vec<Effect>) {
        let (mut fit, mut away): (Vec<(u64, NodeId)>, Vec<NodeId>) = (Vec::new(), Vec::new());
        for (node, peer) in book.peers() {
            if self.agreed.contains_key(node) || self.asked.contains_key(node) {
                continue;
            }
            if self.reasons.get(node).is_some_and(|(_, until)| until.is_some()) {
                continue;
            }
            match rank(&self.wanted, &me, node, peer, now) {
                Ok(score) => fit.push((score, *node)),
                // The reason for a pause says more than the pause.
                Err(refusal) if refusal.code == RefusalCode::Silent && self.reasons.contains_key(node) => {}
                Err(refusal) => {
                    if refusal.code == RefusalCode::Disconnected && !self.met.contains_key(node) {
                        away.push(*node);
                    }
                    self.reasons.insert(*node, (refusal, None));
                }
            }
        }
        fit.sort_by_key(|(score, node)| (std::cmp::Reverse(*score), *node));
        let room = (self.wanted.nodes_max as usize).saturating_sub(self.agreed.len() + self.asked.len());
        self.meet(now, me, book, &away, room.saturating_sub(fit.len()), out);
        for (_, node) in fit.into_iter().take(room.min(ASKS_AT_ONCE_MAX.saturating_sub(self.asked.len()))) {
            self.asked.insert(node, now.mono + ANSWER_MS_MAX);
            self.reasons.remove(&node);
            let message = Message::Reserve {
                program: self.wanted.program,
                price: self.wanted.price_max,
                context: self.wanted.context,
            };
            out.push(Effect::Send { to: node, message });
        }
    }

    /// Asks to meet the best of those that are not connected, at most as many as there is room for.
    fn meet(&mut self, now: Now, me: NodeId, book: &Book, away: &[NodeId], room: usize, out: &mut Vec<Effect>) {
        let room = room.min(MEETS_AT_ONCE_MAX.saturating_sub(self.met.len()));
        if room == 0 {
            return;
        }
        let score = |node: &NodeId| {
            let mut there = book.get(node)?.clone();
            there.up = true;
            Some((rank(&self.wanted, &me, node, &there, now).ok()?, *node))
        };
        let mut far: Vec<(u64, NodeId)> = away.iter().filter_map(score).collect();
        far.sort_by_key(|(score, node)| (std::cmp::Reverse(*score), *node));
        for (_, node) in far.into_iter().take(room) {
            self.met.insert(node, now.mono + MEET_AGAIN_MS);
            out.push(Effect::Meet(node));
        }
    }
}
