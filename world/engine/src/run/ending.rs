//! When an output ends: the same rule for generating, verifying and defining.

use crate::model::Model;
use std::sync::Arc;
use talkoo_base::{Finish, GenerateParams};

/// Follows an output token by token.
pub(super) struct Ending {
    model: Arc<Model>,
    params: GenerateParams,
    /// Output tokens at most.
    room: u32,
    count: u32,
    /// The end of the output's bytes, long enough to find any stop string that a token completes.
    tail: Vec<u8>,
}

impl Ending {
    /// `room`: positions left in the context after the prompt.
    pub(super) fn new(model: Arc<Model>, params: &GenerateParams, room: u32) -> Self {
        Self { model, room: room.min(params.max_tokens), params: params.clone(), count: 0, tail: Vec::new() }
    }

    /// Takes the next output token; says why the output ends with it, if it does. A stop token or a
    /// stop string counts before the length.
    pub(super) fn after(&mut self, token: u32) -> Option<Finish> {
        self.count += 1;
        let eos = !self.params.ignore_eos && self.model.vocabulary().eos().contains(&token);
        if eos || self.params.stop_tokens.contains(&token) || self.completes_stop_string(token) {
            return Some(Finish::Stop);
        }
        (self.count >= self.room).then_some(Finish::Length)
    }

    fn completes_stop_string(&mut self, token: u32) -> bool {
        let params = &self.params;
        let stops = || params.stop.iter().filter(|s| !s.is_empty()).map(String::as_bytes);
        let Some(longest) = stops().map(<[u8]>::len).max() else { return false };
        self.tail.extend_from_slice(self.model.vocabulary().piece(token));
        let found = stops().any(|stop| self.tail.windows(stop.len()).any(|w| w == stop));
        let surplus = self.tail.len().saturating_sub(longest - 1);
        self.tail.drain(..surplus);
        found
    }
}
