//! Prompts as token ids.

use super::Known;
use serde_json::{Value, json};
use talkoo_base::{Refusal, RefusalCode};
use talkoo_engine::{ChatMessage, Vocabulary};
use talkoo_inference::{Message, Prompt, ToolCall, in_words};

/// Bytes of a letter, which is one token where the model does not know it.
const LETTER_BYTES_MAX: usize = 4;

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

/// The tokens of an order, if they leave room for an answer. What can't do that, whatever its tokens are, is not read.
pub(super) fn prompt_of(known: &Known, context: u32, prompt: &Prompt) -> Result<Vec<u32>, Refusal> {
    let least = least_tokens(prompt, known.token_bytes_max.max(LETTER_BYTES_MAX));
    let tokens = if least >= context as usize { Err(least) } else { Ok(tokens_of(&known.vocabulary, prompt)?) };
    match tokens {
        Ok(tokens) if tokens.len() < context as usize => Ok(tokens),
        many => {
            let message = "the prompt leaves no room in the model's context";
            let need = many.map_or_else(|least| least, |tokens| tokens.len()) + 1;
            Err(Refusal::new(RefusalCode::ContextExceeded, message, "shorten it").with(need, context))
        }
    }
}

/// No prompt of so much text has fewer tokens.
fn least_tokens(prompt: &Prompt, token_bytes_max: usize) -> usize {
    match prompt {
        Prompt::Tokens(tokens) => tokens.len(),
        Prompt::Text(text) => text.len() / token_bytes_max,
        Prompt::Chat(messages, _) => messages.iter().map(|message| message.text.len()).sum::<usize>() / token_bytes_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_whatever_its_tokens_are_is_counted_before_it_is_read() {
        let message = |bytes: usize| Message { role: "user".into(), text: "a".repeat(bytes), ..Message::default() };
        let cases = [
            (Prompt::Tokens(vec![1; 5]), 5),
            (Prompt::Text("a".repeat(63)), 0),
            (Prompt::Text("a".repeat(128)), 2),
            (Prompt::Chat(vec![message(64), message(64)], talkoo_inference::Tools::default()), 2),
        ];
        for (prompt, least) in cases {
            assert_eq!(least_tokens(&prompt, 64), least, "{prompt:?}");
        }
    }
}
