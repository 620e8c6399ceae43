//! A response as a stream of events, each with its number.

use super::kept::Record;
use super::{Draft, Kept, call, finish, message};
use crate::collect::{Flow, Happening, fresh};
use crate::sse::{Teller, event};
use serde_json::{Value, json};
use std::sync::Arc;

/// The events of a stream.
pub(super) struct Events {
    draft: Draft,
    keep: Option<(Arc<Kept>, Record)>,
    number: u64,
    /// The message that is open: its id, its text, its log probabilities.
    open: Option<(String, String, Vec<Value>)>,
}

impl Events {
    pub(super) fn new(draft: Draft, keep: Option<(Arc<Kept>, Record)>) -> Self {
        Self { draft, keep, number: 0, open: None }
    }

    fn event(&mut self, name: &str, mut fields: Value) -> String {
        fields["type"] = json!(name);
        fields["sequence_number"] = json!(self.number);
        self.number += 1;
        event(name, &fields)
    }

    fn whole(&mut self, name: &str) -> String {
        let response = self.draft.json();
        self.event(name, json!({"response": response}))
    }

    fn index(&self) -> usize {
        self.draft.output.len()
    }

    fn begin_message(&mut self) -> Vec<String> {
        let (id, index) = (fresh("msg_"), self.index());
        let item = json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []});
        let part = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
        self.open = Some((id.clone(), String::new(), Vec::new()));
        let added = json!({"item_id": id, "output_index": index, "content_index": 0, "part": part});
        vec![
            self.event("response.output_item.added", json!({"output_index": index, "item": item})),
            self.event("response.content_part.added", added),
        ]
    }

    fn end_message(&mut self, status: &str) -> Vec<String> {
        let Some((id, text, logprobs)) = self.open.take() else { return Vec::new() };
        let index = self.index();
        let item = message(&id, status, &text, &logprobs);
        let part = item["content"][0].clone();
        self.draft.output.push(item.clone());
        let place = |more: Value| {
            let mut fields = json!({"item_id": id, "output_index": index, "content_index": 0});
            if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
                fields.extend(more);
            }
            fields
        };
        vec![
            self.event("response.output_text.done", place(json!({"text": text, "logprobs": logprobs}))),
            self.event("response.content_part.done", place(json!({"part": part}))),
            self.event("response.output_item.done", json!({"output_index": index, "item": item})),
        ]
    }

    fn call(&mut self, one: &crate::ToolCall) -> Vec<String> {
        let (id, index) = (fresh("fc_"), self.index());
        let (begun, done) = (call(&id, "in_progress", one, ""), call(&id, "completed", one, &one.arguments));
        self.draft.output.push(done.clone());
        let place = json!({"item_id": id, "output_index": index});
        let (mut delta, mut whole) = (place.clone(), place);
        delta["delta"] = json!(one.arguments);
        whole["arguments"] = json!(one.arguments);
        whole["name"] = json!(one.name);
        vec![
            self.event("response.output_item.added", json!({"output_index": index, "item": begun})),
            self.event("response.function_call_arguments.delta", delta),
            self.event("response.function_call_arguments.done", whole),
            self.event("response.output_item.done", json!({"output_index": index, "item": done})),
        ]
    }
}

impl Teller for Events {
    fn begin(&mut self, _: &Flow) -> Vec<String> {
        vec![self.whole("response.created"), self.whole("response.in_progress")]
    }

    fn tell(&mut self, flow: &Flow, happening: Happening) -> Vec<String> {
        match happening {
            Happening::Text { text, logprobs, .. } => {
                let mut lines = if self.open.is_none() { self.begin_message() } else { Vec::new() };
                let index = self.index();
                let Some((id, whole, all)) = &mut self.open else { return lines };
                whole.push_str(&text);
                all.extend(logprobs.clone());
                let delta = json!({
                    "item_id": id, "output_index": index, "content_index": 0, "delta": text, "logprobs": logprobs,
                });
                lines.push(self.event("response.output_text.delta", delta));
                lines
            }
            Happening::Call { call, .. } => {
                let mut lines = self.end_message("completed");
                lines.extend(self.call(&call));
                lines
            }
            Happening::End { reason, tokens, facts, .. } => {
                let mut lines = Vec::new();
                if self.open.is_none() && self.draft.output.is_empty() {
                    lines.extend(self.begin_message());
                }
                let is_cut = reason == "length";
                lines.extend(self.end_message(if is_cut { "incomplete" } else { "completed" }));
                self.draft.close(reason, flow.prompt_tokens, tokens, facts);
                lines.push(self.whole(if is_cut { "response.incomplete" } else { "response.completed" }));
                finish(self.keep.take(), &self.draft);
                lines
            }
            Happening::Failed(refusal) => {
                self.draft.fail(&refusal);
                finish(self.keep.take(), &self.draft);
                vec![self.whole("response.failed")]
            }
        }
    }

    fn end(&mut self, _: &Flow) -> Vec<String> {
        vec!["data: [DONE]\n\n".to_owned()]
    }
}
