//! What a job would take and cost, before anything is ordered.
//!
//! Time is a model of the workers that would be asked, in the order in which they would be: all steps' tokens over all their
//! streams, no sooner than the longest step on the fastest of them. The likely time takes each step at half of its limit;
//! the late one at all of it, and without the fastest worker. Speeds are measured ones, else those of the workers' own cards.

use crate::book::{Book, Peer};
use crate::limits::SLOTS_PER_CLIENT_MAX;
use crate::search::{Wanted, rank};
use talkoo_base::{Amount, NodeId, Now, Price, Refusal};

/// Tokens of one step, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Prompt tokens.
    pub input: u64,
    /// Output tokens at most.
    pub output: u64,
}

/// What it would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Who would be asked, first the best, with streams and output tokens a second of one, in thousandths.
    pub workers: Vec<(NodeId, u32, u64)>,
    /// The likely time, in milliseconds; nothing if nobody would work.
    pub p50_ms: Option<u64>,
    /// The late time.
    pub p95_ms: Option<u64>,
    /// What all steps cost with all of their tokens, at the price of the dearest of these workers.
    pub cost: Amount,
    /// What they can cost, whoever works: at the job's highest price. Re-runs by others come on top.
    pub cost_max: Amount,
    /// Why others would not work.
    pub refused: Vec<(NodeId, Refusal)>,
}

struct Worker {
    node: NodeId,
    slots: u32,
    decode: u64,
    prefill: u64,
    price: Price,
}

pub(crate) fn quote(wanted: &Wanted, me: &NodeId, book: &Book, sizes: &[Size], now: Now) -> Quote {
    let (mut fit, mut refused) = (Vec::new(), Vec::new());
    for (node, peer) in book.peers() {
        match rank(wanted, me, node, peer, now) {
            Ok(score) => fit.extend(worker(wanted, node, peer).map(|worker| (score, worker))),
            Err(refusal) => refused.push((*node, refusal)),
        }
    }
    fit.sort_by_key(|(score, worker)| (std::cmp::Reverse(*score), worker.node));
    fit.truncate(wanted.nodes_max as usize);
    let workers: Vec<Worker> = fit.into_iter().map(|(_, worker)| worker).collect();
    let half: Vec<Size> = sizes.iter().map(|s| Size { output: s.output.div_ceil(2), ..*s }).collect();
    let fastest = workers.iter().map(|w| w.decode).max().unwrap_or(0);
    let mut rest: Vec<&Worker> = workers.iter().collect();
    if let Some(at) = rest.iter().position(|w| w.decode == fastest).filter(|_| rest.len() > 1) {
        rest.remove(at);
    }
    let dearest = workers.iter().map(|w| w.price).fold(Price { input: 0, output: 0 }, |most, price| Price {
        input: most.input.max(price.input),
        output: most.output.max(price.output),
    });
    let cost =
        |price: Price| sizes.iter().map(|s| price.owed(s.input, s.output)).fold(Amount::ZERO, |sum, one| sum + one);
    Quote {
        p50_ms: time(&workers.iter().collect::<Vec<_>>(), &half),
        p95_ms: time(&rest, sizes),
        cost: cost(dearest),
        cost_max: cost(wanted.price_max),
        workers: workers.iter().map(|w| (w.node, w.slots, w.decode)).collect(),
        refused,
    }
}

fn worker(wanted: &Wanted, node: &NodeId, peer: &Peer) -> Option<Worker> {
    let card = peer.card.as_ref()?;
    let offer = card.models.iter().find(|m| m.program == wanted.program)?;
    Some(Worker {
        node: *node,
        slots: card.slots.min(SLOTS_PER_CLIENT_MAX),
        decode: peer.decode_mtps().unwrap_or(offer.decode_mtps).max(1),
        prefill: offer.prefill_mtps.max(1),
        price: card.price,
    })
}

/// Milliseconds for so much on these workers.
fn time(workers: &[&Worker], sizes: &[Size]) -> Option<u64> {
    let ms = |tokens: u128, mtps: u128| tokens.saturating_mul(1_000_000) / mtps.max(1);
    let sum = |one: fn(&Worker) -> u128| workers.iter().map(|w| one(w)).sum::<u128>();
    let (decode, prefill) = (sum(|w| u128::from(w.decode) * u128::from(w.slots)), sum(|w| u128::from(w.prefill)));
    let all = |one: fn(&Size) -> u64| sizes.iter().map(|s| u128::from(one(s))).sum::<u128>();
    let together = ms(all(|s| s.output), decode) + ms(all(|s| s.input), prefill);
    let best = workers.iter().max_by_key(|w| w.decode)?;
    let alone = sizes
        .iter()
        .map(|s| ms(u128::from(s.output), u128::from(best.decode)) + ms(u128::from(s.input), u128::from(best.prefill)));
    u64::try_from(together.max(alone.max().unwrap_or(0))).ok()
}
