//! One task among many.

use super::prefixes::Feed;
use super::{Event, StreamId};
use crate::engine::{Cache, Engine, Observer};
use crate::run::{Checker, Generator};
use talkoo_base::{CHUNK_TOKENS, Digest};

/// What a stream is for.
pub(super) enum Role {
    Generate {
        generator: Box<Generator>,
        /// Chunks that it may still begin; `None`: all.
        credit: Option<u32>,
        /// Whether the chunk that it is at took its credit.
        paid: bool,
    },
    Verify(Box<Checker>),
}

/// A task under way.
pub(super) struct Stream {
    pub(super) role: Role,
    /// The prompt, then the output; the whole input of a verification.
    pub(super) feed: Feed,
    /// Positions that it may come to hold.
    pub(super) positions: usize,
}

impl Stream {
    /// Rows that it could feed now.
    pub(super) fn left(&self) -> usize {
        self.feed.tokens.len() - self.feed.fed
    }

    /// How many of its tokens it need not feed itself if another stream has: the logits after the
    /// prompt's last one are wanted.
    pub(super) fn reusable(&self) -> usize {
        let prompt = match &self.role {
            Role::Generate { generator, .. } => generator.task().prompt.len(),
            Role::Verify(checker) => checker.prompt(),
        };
        prompt.min(self.feed.tokens.len()).saturating_sub(1)
    }

    /// Begins with what another stream made of the same tokens, all of them of the prompt.
    pub(super) fn begin(&mut self, cache: Cache, states: Vec<Digest>) {
        match &mut self.role {
            Role::Generate { generator, .. } => generator.states(&states),
            Role::Verify(checker) => checker.states(0, &states),
        }
        self.feed.fed = cache.positions();
        (self.feed.cache, self.feed.states) = (cache, states);
    }

    /// Whether it makes one token after the other.
    pub(super) fn decodes(&self) -> bool {
        matches!(&self.role, Role::Generate { generator, .. } if self.feed.fed >= generator.task().prompt.len())
    }

    /// At the beginning of a chunk, takes the credit for it.
    pub(super) fn take_credit(&mut self) {
        if let Role::Generate { credit: Some(credit), paid, .. } = &mut self.role
            && !*paid
            && *credit > 0
        {
            (*credit, *paid) = (*credit - 1, true);
        }
    }

    /// Whether it waits for credit.
    pub(super) fn is_parked(&self) -> bool {
        matches!(&self.role, Role::Generate { credit: Some(0), paid: false, .. })
    }

    /// Whether the logits after input token `index` are wanted.
    pub(super) fn wants_logits(&self, index: usize) -> bool {
        match &self.role {
            Role::Generate { .. } => index + 1 == self.feed.tokens.len(),
            Role::Verify(checker) => checker.wants_logits(index),
        }
    }

    /// Takes what a batch says of input token `index`; whether the stream is over.
    pub(super) fn take(
        &mut self,
        id: StreamId,
        index: usize,
        states: &[Digest],
        logits: Option<&[i64]>,
        engine: &Engine,
        out: &mut Vec<Event>,
    ) -> bool {
        self.feed.states.extend_from_slice(states);
        match &mut self.role {
            Role::Verify(checker) => {
                if !checker.is_decided() {
                    checker.states(index, states);
                    logits.map(|logits| checker.logits(index, logits));
                }
                false
            }
            Role::Generate { generator, paid, .. } => {
                generator.states(states);
                let Some(logits) = logits else { return false };
                let grown = match generator.logits(logits, engine) {
                    Ok(grown) => grown,
                    Err(error) => {
                        out.push(Event::Failed { stream: id, error });
                        return true;
                    }
                };
                out.push(Event::Token { stream: id, token: grown.token });
                self.feed.tokens.push(grown.token);
                if let Some(chunk) = grown.chunk {
                    debug_assert!(chunk.tokens.len() <= CHUNK_TOKENS as usize);
                    *paid = false;
                    out.push(Event::Chunk { stream: id, chunk });
                }
                grown.finish.is_some()
            }
        }
    }

    /// Whether a verification has its answer.
    pub(super) fn is_checked(&self) -> bool {
        matches!(&self.role, Role::Verify(checker) if checker.is_decided() || self.left() == 0)
    }
}
