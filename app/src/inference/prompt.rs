//! Prompts as token ids.

use serde_json::{Value, json};
use talkoo_base::{Refusal, RefusalCode};
use talkoo_engine::{ChatMessage, Vocabulary};
use talkoo_inference::{Message, Order, Prompt, ToolCall, in_words};

fn malformed(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

/// A conversation in the words of the model's template.
pub(crate) fn rendered(vocabulary: &Vocabulary, messages: &[Message], tools: &[Value]) -> Result<Vec<u32>, Refusal> {
    let has_calls = messages.iter().any(|m| !m.calls.is_empty() || m.call_id.is_some());
    let text = if vocabulary.knows_tools() && (has_calls || !tools.is_empty()) {
        let messages: Vec<ChatMessage> = messages.iter().map(with_calls).collect();
        vocabulary.render_with_tools(&messages, tools)
    } else {
        let plain = in_words(messages, tools);
        let messages: Vec<ChatMessage> = plain.into_iter().map(|m| ChatMessage::text(m.role, m.text)).collect();
        vocabulary.render_chat(&messages)
    };
    let text = text.map_err(|e| malformed(format!("the model's template can't render `messages` ({e})"), ""))?;
    Ok(vocabulary.encode_prompt(&text))
}

fn with_calls(message: &Message) -> ChatMessage {
    let call = |call: &ToolCall| {
        // Templates of the hub read an object.
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
        json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
    };
    ChatMessage {
        tool_calls: message.calls.iter().map(call).collect(),
        tool_call_id: message.call_id.clone(),
        ..ChatMessage::text(message.role.clone(), message.text.clone())
    }
}

/// The tokens of a prompt.
pub(super) fn tokens_of(vocabulary: &Vocabulary, prompt: &Prompt) -> Result<Vec<u32>, Refusal> {
    let tokens = match prompt {
        Prompt::Chat(messages, tools) => rendered(vocabulary, messages, tools.told())?,
        Prompt::Text(text) => vocabulary.encode_prompt(text),
        Prompt::Tokens(tokens) => tokens.clone(),
    };
    match tokens.iter().find(|id| **id as usize >= vocabulary.len()) {
        Some(id) => Err(malformed(format!("`prompt` has the token {id}, which the model does not have"), "")),
        None if tokens.is_empty() => Err(malformed("`prompt` is empty", "send at least one token")),
        None => Ok(tokens),
    }
}

/// The tokens of an order, if they leave room for an answer.
pub(super) fn prompt_of(vocabulary: &Vocabulary, context: u32, order: &Order) -> Result<Vec<u32>, Refusal> {
    let tokens = tokens_of(vocabulary, &order.prompt)?;
    if tokens.len() >= context as usize {
        let hint = "shorten it";
        let no = Refusal::new(RefusalCode::ContextExceeded, "the prompt leaves no room in the model's context", hint);
        return Err(no.with(tokens.len() + 1, context));
    }
    Ok(tokens)
}
