//! What ended streams leave behind, for those that begin with the same tokens.
//!
//! Keys, values and state digests of a position depend on nothing but the tokens up to it, so whoever
//! begins alike takes them over and gets the bits that it would compute. How long that takes tells what
//! was asked before: it is done within one [`Scope`] only. Nothing here is written to disk.

use crate::engine::Cache;
use talkoo_base::Digest;

/// Those who may notice what the others of them have asked: one client, one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(pub Digest);

/// Fewer positions are not worth a copy: they fit the rows of one batch.
const PREFIX_MIN: usize = 32;

/// Tokens, and what came of those that were fed.
pub(super) struct Feed {
    scope: Scope,
    pub(super) tokens: Vec<u32>,
    /// How many of the tokens were fed.
    pub(super) fed: usize,
    pub(super) cache: Cache,
    /// State digests of the fed ones, position outer, layer inner.
    pub(super) states: Vec<Digest>,
}

impl Feed {
    pub(super) fn new(scope: Scope, tokens: Vec<u32>, cache: Cache) -> Self {
        Self { scope, tokens, fed: 0, cache, states: Vec::new() }
    }

    /// How many of the first `most` tokens of `other` it has fed, too.
    pub(super) fn common(&self, other: &Self, most: usize) -> usize {
        let fed = if self.scope == other.scope { &self.tokens[..self.fed] } else { &[] };
        fed.iter().zip(&other.tokens[..most]).take_while(|(a, b)| a == b).count()
    }

    /// A copy of cache and states of its first `positions`, if they are worth it.
    pub(super) fn beginning(&self, positions: usize) -> Option<(Cache, Vec<Digest>)> {
        let layers = self.states.len().checked_div(self.fed)?;
        let states = || self.states[..positions * layers].to_vec();
        (positions >= PREFIX_MIN).then(|| (self.cache.prefix(positions), states()))
    }

    fn begins_with(&self, other: &Self) -> bool {
        self.scope == other.scope && self.tokens.starts_with(&other.tokens)
    }
}

/// The feeds of streams that are over; the least recently used first.
#[derive(Default)]
pub(super) struct Prefixes(Vec<Feed>);

impl Prefixes {
    /// Positions that they hold in all.
    pub(super) fn positions(&self) -> usize {
        self.0.iter().map(|feed| feed.fed).sum()
    }

    /// Keeps what a stream has fed, in place of what was the beginning of it.
    pub(super) fn keep(&mut self, mut feed: Feed) {
        feed.tokens.truncate(feed.fed);
        if feed.fed >= PREFIX_MIN && !self.0.iter().any(|kept| kept.begins_with(&feed)) {
            self.0.retain(|kept| !feed.begins_with(kept));
            self.0.push(feed);
        }
    }

    /// Cache and states of the longest beginning of `wanted`, of `least` to `most` positions. What is
    /// of use as a whole is handed out itself, for it comes back longer; of the rest a copy.
    pub(super) fn take(&mut self, wanted: &Feed, least: usize, most: usize) -> Option<(Cache, Vec<Digest>)> {
        let lengths = self.0.iter().map(|feed| feed.common(wanted, most)).enumerate();
        let (at, common) = lengths.max_by_key(|(_, common)| *common).filter(|(_, common)| *common >= least)?;
        if common < PREFIX_MIN {
            return None;
        }
        let feed = self.0.remove(at);
        if common == feed.fed {
            return Some((feed.cache, feed.states));
        }
        let copy = feed.beginning(common);
        self.0.push(feed);
        copy
    }

    /// Forgets the least recently used ones until the others hold at most `positions_max`.
    pub(super) fn shrink(&mut self, positions_max: usize) {
        let mut positions = self.positions();
        while positions > positions_max {
            positions -= self.0.remove(0).fed;
        }
    }
}
