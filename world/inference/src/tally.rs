//! What the chunks of OpenAI's two streams have in common.

use crate::chat::usage;
use crate::collect::{Flow, one_or_all, unix};
use crate::sse::data;
use serde_json::{Value, json};

/// Counts what a stream told, for its end.
pub(crate) struct Tally {
    created: u64,
    /// Whether the end tells the usage.
    tells_usage: bool,
    tokens: u32,
    facts: Vec<Value>,
}

impl Tally {
    pub(crate) fn new(tells_usage: bool) -> Self {
        Self { created: unix(), tells_usage, tokens: 0, facts: Vec::new() }
    }

    pub(crate) fn chunk(&self, flow: &Flow, object: &str, choices: Value) -> Value {
        let mut chunk = json!({
            "id": flow.id, "object": object, "created": self.created, "model": flow.model, "choices": choices,
        });
        if self.tells_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// An answer ended with this chunk.
    pub(crate) fn ended(&mut self, mut chunk: Value, tokens: u32, facts: Value) -> Value {
        self.tokens += tokens;
        chunk["talkoo"] = facts.clone();
        self.facts.push(facts);
        chunk
    }

    /// The end of the stream, with a chunk that has no choices.
    pub(crate) fn last(&mut self, flow: &Flow, mut chunk: Value) -> Vec<String> {
        let done = "data: [DONE]\n\n".to_owned();
        if !self.tells_usage {
            return vec![done];
        }
        chunk["usage"] = usage(flow.prompt_tokens, self.tokens);
        chunk["talkoo"] = one_or_all(std::mem::take(&mut self.facts));
        vec![data(&chunk), done]
    }
}
