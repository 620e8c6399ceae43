//! The messages of a conversation, and the body of a chat completion.

use crate::fields::{CHAT, Fields, malformed, unsupported};
use crate::tools::Tools;
use crate::{ServiceTier, Wishes};
use serde_json::Value;
use talkoo_base::{GenerateParams, Refusal};

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Its text.
    pub text: String,
    /// The assistant's calls.
    pub calls: Vec<ToolCall>,
    /// Of a tool's answer: which call it answers.
    pub call_id: Option<String>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Its name in the conversation.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// JSON as text.
    pub arguments: String,
}

impl Message {
    /// A message that is only text.
    pub(crate) fn text(role: &str, text: impl Into<String>) -> Self {
        Self { role: role.to_owned(), text: text.into(), ..Self::default() }
    }
}

/// The body of a chat completion, as OpenAI has it.
#[derive(Clone, Debug)]
pub struct Chat {
    /// Name of the model; empty if it names none.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Tools,
    /// How to generate.
    pub params: GenerateParams,
    /// Whether it says how long the answer may be.
    pub names_length: bool,
    /// The seed that it names.
    pub seed: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// Where it may run.
    pub wishes: Wishes,
}

impl Chat {
    /// Reads it.
    ///
    /// # Errors
    /// Names the field that is wrong or that can't be honoured.
    pub fn read(body: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(body, CHAT)?;
        let model = fields.text("model")?.unwrap_or_default();
        let messages = messages_of(fields.get("messages").unwrap_or(&Value::Null))?;
        let tools = Tools::read(&fields)?;
        let mut params = fields.params()?;
        if let Some(constraint) = tools.constraint()
            && params.constraint.replace(constraint).is_some()
        {
            return Err(malformed("`tool_choice` demands a call, `response_format` something else", "give one"));
        }
        Ok(Self {
            model,
            messages,
            tools,
            params,
            names_length: fields.names_length(),
            seed: fields.seed()?,
            choices: fields.choices()?,
            wishes: wishes_of(&fields)?,
        })
    }
}

/// `provider` and `service_tier`.
pub(crate) fn wishes_of(fields: &Fields<'_>) -> Result<Wishes, Refusal> {
    let tier = match fields.text("service_tier")?.as_deref() {
        None | Some("auto" | "default") => ServiceTier::Default,
        Some("flex") => ServiceTier::Flex,
        Some("priority" | "fast" | "scale") => ServiceTier::Priority,
        Some(_) => return Err(malformed("`service_tier` is unknown", "use auto, default, flex or priority")),
    };
    let provider = fields.get("provider").cloned().unwrap_or(Value::Null);
    if !provider.is_null() && !provider.is_object() {
        return Err(malformed("`provider` is not an object", "see docs/INFERENCE.md"));
    }
    Ok(Wishes { provider, tier })
}

fn messages_of(value: &Value) -> Result<Vec<Message>, Refusal> {
    let Some(list) = value.as_array() else {
        return Err(malformed("`messages` is not a list", "a message is {\"role\", \"content\"}"));
    };
    if list.is_empty() {
        return Err(malformed("it has no `messages`", "send at least one"));
    }
    list.iter().map(message_of).collect()
}

fn message_of(value: &Value) -> Result<Message, Refusal> {
    let Some(fields) = value.as_object() else {
        return Err(malformed("one of the `messages` is not an object", "a message is {\"role\", \"content\"}"));
    };
    let role = match fields.get("role").and_then(Value::as_str) {
        // The newer name of the same role.
        Some("developer") => "system",
        Some(role @ ("system" | "user" | "assistant" | "tool")) => role,
        Some(other) => {
            let message = format!("one of the `messages` has the unknown role {other:?}");
            return Err(malformed(message, "use system, developer, user, assistant or tool"));
        }
        None => return Err(malformed("one of the `messages` has no role", "use system, user, assistant or tool")),
    };
    let calls = match fields.get("tool_calls") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(calls)) if role == "assistant" => calls.iter().map(call_of).collect::<Result<_, _>>()?,
        Some(_) => return Err(malformed("`tool_calls` of one of the `messages` is no list of calls", "")),
    };
    let call_id = fields.get("tool_call_id").and_then(Value::as_str).map(str::to_owned);
    if role == "tool" && call_id.is_none() {
        return Err(malformed("a tool's answer among the `messages` has no tool_call_id", "say which call it answers"));
    }
    let text = match fields.get("content") {
        None | Some(Value::Null) if role == "assistant" => {
            // What a model refused to say is what it said.
            fields.get("refusal").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        content => text_of(content.unwrap_or(&Value::Null))?,
    };
    Ok(Message { role: role.to_owned(), text, calls, call_id })
}

/// Content as text or as parts.
pub(crate) fn text_of(content: &Value) -> Result<String, Refusal> {
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let text = |part: &Value| match part["type"].as_str() {
                Some("text" | "input_text" | "output_text") => part["text"].as_str().map(str::to_owned),
                Some("refusal") => part["refusal"].as_str().map(str::to_owned),
                _ => None,
            };
            let texts: Option<Vec<String>> = parts.iter().map(text).collect();
            let no =
                || unsupported("one of the `messages` has a part that is not text", "the models here read only text");
            texts.map(|texts| texts.concat()).ok_or_else(no)
        }
        _ => Err(malformed("the content of one of the `messages` is neither text nor parts", "")),
    }
}

fn call_of(value: &Value) -> Result<ToolCall, Refusal> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let function = &value["function"];
    match (text(&value["id"]), text(&function["name"]), text(&function["arguments"])) {
        (Some(id), Some(name), Some(arguments)) => Ok(ToolCall { id, name, arguments }),
        _ => Err(malformed(
            "one of the `tool_calls` in `messages` is no call",
            "a call is {\"id\", \"type\": \"function\", \"function\": {\"name\", \"arguments\": TEXT}}",
        )),
    }
}
