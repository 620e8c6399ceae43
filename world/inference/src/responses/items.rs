//! What a request for a response says.

use super::{Draft, Kept, chat};
use crate::collect::{fresh, unix};
use crate::fields::{Fields, dense, malformed, unsupported};
use crate::keys::Who;
use crate::limits::{ITEMS_MAX, MAX_TOKENS_DEFAULT};
use crate::message::{Message, ToolCall, text_of, wishes_of};
use crate::tools::{Choose, Tools};
use crate::{Order, Prompt};
use serde_json::{Value, json};
use talkoo_base::{Constraint, ConstraintForm, Refusal};

/// Its own fields.
const OWN: &[&str] = &[
    "input",
    "instructions",
    "max_output_tokens",
    "previous_response_id",
    "background",
    "text",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "truncation",
    "include",
    "reasoning",
    "top_logprobs",
    "max_tool_calls",
];

/// A request that was read.
pub(super) struct Asked {
    pub(super) order: Order,
    pub(super) tools: Tools,
    pub(super) draft: Draft,
    /// Its input, what came before included.
    pub(super) items: Vec<Value>,
    pub(super) streams: bool,
    pub(super) keeps: bool,
    pub(super) is_background: bool,
}

pub(super) fn read(body: &Value, who: &Who, kept: &Kept) -> Result<Asked, Refusal> {
    let fields = Fields::of(body, OWN)?;
    let model = fields.text("model")?.unwrap_or_default();
    chat::named(&model)?;
    refuse(&fields)?;
    let (previous, mut items) = (fields.text("previous_response_id")?, Vec::new());
    if let Some(id) = &previous {
        let before = kept
            .find(id, who)
            .map_err(|no| Refusal { message: format!("`previous_response_id`: {}", no.message), ..no })?;
        items = before.items;
        items.extend(before.response["output"].as_array().into_iter().flatten().cloned());
    }
    items.extend(input_of(fields.get("input"))?);
    if items.len() > ITEMS_MAX {
        return Err(malformed(format!("`input` has more than {ITEMS_MAX} items"), "begin a new conversation"));
    }
    let instructions = fields.text("instructions")?;
    let system = instructions.iter().map(|text| Message::text("system", text.clone()));
    let mut messages: Vec<Message> = system.collect();
    for item in &items {
        push(item, &mut messages)?;
    }
    let tools = tools_of(&fields)?;
    let mut params = fields.params()?;
    let most = fields.whole("max_output_tokens", 1..=131_072)?;
    params.max_tokens = most.map_or(MAX_TOKENS_DEFAULT, |most| most as u32);
    params.constraint = match (format_of(fields.get("text"))?, tools.constraint()) {
        (Some(_), Some(_)) => {
            return Err(malformed("`tool_choice` demands a call, `text` something else", "give one"));
        }
        (one, other) => one.or(other),
    };
    let (streams, is_background) = (fields.flag("stream")?, fields.flag("background")?.unwrap_or(false));
    let keeps = keeps(&fields, who)?;
    let streams = streams.unwrap_or(false);
    if is_background && (streams || !keeps) {
        return Err(unsupported(
            "`background` with `stream`, or without `store`, is not supported",
            "ask for it by its id",
        ));
    }
    let (seed, wishes) = (fields.seed()?, wishes_of(&fields)?);
    let number = |key: &str, or: f64| fields.get(key).and_then(Value::as_f64).unwrap_or(or);
    let echo = json!({
        "previous_response_id": previous,
        "instructions": instructions,
        "tools": fields.get("tools").map_or_else(|| json!([]), told),
        "tool_choice": fields.get("tool_choice").cloned().unwrap_or_else(|| json!("auto")),
        "truncation": "disabled",
        "parallel_tool_calls": fields.flag("parallel_tool_calls")?.unwrap_or(true),
        "text": fields.get("text").filter(|text| text["format"].is_object()).cloned()
            .unwrap_or_else(|| json!({"format": {"type": "text"}})),
        "top_p": number("top_p", 1.0),
        "presence_penalty": number("presence_penalty", 0.0),
        "frequency_penalty": number("frequency_penalty", 0.0),
        "top_logprobs": params.top_logprobs.unwrap_or(0),
        "temperature": number("temperature", 0.0),
        "reasoning": {"effort": null, "summary": null},
        "max_output_tokens": most,
        "max_tool_calls": null,
        "store": keeps,
        "background": is_background,
        "service_tier": wishes.tier.name(),
        "metadata": fields.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "safety_identifier": fields.text("safety_identifier")?,
        "prompt_cache_key": fields.text("prompt_cache_key")?,
    });
    let draft = Draft {
        id: String::new(),
        model: model.clone(),
        created: unix(),
        completed: None,
        status: if is_background { "queued" } else { "in_progress" },
        incomplete: Value::Null,
        error: Value::Null,
        output: Vec::new(),
        usage: Value::Null,
        facts: Value::Null,
        echo,
    };
    let prompt = Prompt::Chat(messages, tools.clone());
    let order = Order { model, prompt, params, seed, choices: 1, wishes, who: who.clone() };
    Ok(Asked { order, tools, draft, items, streams, keeps, is_background })
}

/// Whether a response is kept. Nothing is for who has only paid: he has no name under which he could find it.
fn keeps(fields: &Fields<'_>, who: &Who) -> Result<bool, Refusal> {
    let store = fields.flag("store")?;
    if !matches!(who, Who::Payer(_)) {
        return Ok(store.unwrap_or(true));
    }
    let wants = |key: &str| Ok::<_, Refusal>(fields.flag(key)?.unwrap_or(false));
    let named = [("store", store == Some(true)), ("background", wants("background")?)];
    match named.into_iter().find(|(_, is_wanted)| *is_wanted) {
        Some((key, _)) => {
            Err(unsupported(format!("`{key}` is not for who pays by x402"), "leave it out, or use a key"))
        }
        None => Ok(false),
    }
}

/// Refuses what would change the answer and can't be honoured.
fn refuse(fields: &Fields<'_>) -> Result<(), Refusal> {
    if fields.get("truncation").is_some_and(|truncation| truncation != "disabled") {
        return Err(unsupported("`truncation` other than disabled is not supported", "leave items out yourself"));
    }
    if fields.get("reasoning").is_some_and(|r| !r["effort"].is_null() || !r["summary"].is_null()) {
        return Err(unsupported(
            "`reasoning` is not supported",
            "the models here think aloud or not at all; leave it out",
        ));
    }
    if fields.get("max_tool_calls").is_some() {
        return Err(unsupported("`max_tool_calls` is not supported", "leave it out"));
    }
    let known = ["reasoning.encrypted_content", "message.output_text.logprobs"];
    let is_known = |one: &Value| one.as_str().is_some_and(|one| known.contains(&one));
    if fields.get("include").is_some_and(|list| !list.as_array().is_some_and(|list| list.iter().all(is_known))) {
        return Err(unsupported("`include` names what is not supported", "leave it out"));
    }
    Ok(())
}

/// The items of an input, each with an id.
pub(super) fn input_of(input: Option<&Value>) -> Result<Vec<Value>, Refusal> {
    let list = match input {
        Some(Value::String(text)) => {
            let part = json!([{"type": "input_text", "text": text}]);
            return Ok(vec![json!({"id": fresh("msg_"), "type": "message", "role": "user", "content": part})]);
        }
        Some(Value::Array(list)) if !list.is_empty() => list,
        _ => return Err(malformed("`input` is neither a text nor a list of items", "")),
    };
    let with_id = |item: &Value| {
        let mut item = item.clone();
        if item["type"].is_null() && item["role"].is_string() {
            item["type"] = json!("message");
        }
        if item.is_object() && !item["id"].is_string() {
            item["id"] = json!(fresh("item_"));
        }
        item
    };
    Ok(list.iter().map(with_id).collect())
}

/// Adds an item to the conversation.
fn push(item: &Value, messages: &mut Vec<Message>) -> Result<(), Refusal> {
    let text = |key: &str| item[key].as_str().map(str::to_owned);
    match item["type"].as_str() {
        Some("message") => {
            let role = match item["role"].as_str() {
                Some("developer") => "system",
                Some(role @ ("system" | "user" | "assistant")) => role,
                _ => {
                    return Err(malformed(
                        "a message of `input` has no known role",
                        "use user, assistant, system or developer",
                    ));
                }
            };
            messages.push(Message::text(role, content_of(&item["content"])?));
        }
        Some("function_call") => {
            let (Some(id), Some(name), Some(arguments)) = (text("call_id"), text("name"), text("arguments")) else {
                return Err(malformed("a function_call of `input` lacks call_id, name or arguments", ""));
            };
            let call = ToolCall { id, name, arguments };
            // Calls that the model made together are one message.
            match messages.last_mut().filter(|last| last.role == "assistant") {
                Some(last) => last.calls.push(call),
                None => messages.push(Message { calls: vec![call], ..Message::text("assistant", "") }),
            }
        }
        Some("function_call_output") => {
            let call_id = text("call_id");
            if call_id.is_none() {
                return Err(malformed("a function_call_output of `input` has no call_id", ""));
            }
            messages.push(Message { call_id, ..Message::text("tool", content_of(&item["output"])?) });
        }
        Some("compaction") => super::compact::unpack(item, messages)?,
        // What another model thought is not ours to go on with.
        Some("reasoning") => {}
        _ => {
            let message =
                "`input` has an item that is neither a message, a function's call or output, nor a compaction";
            return Err(unsupported(message, "leave it out"));
        }
    }
    Ok(())
}

fn content_of(content: &Value) -> Result<String, Refusal> {
    text_of(content).map_err(|no| Refusal { message: no.message.replace("`messages`", "`input`"), ..no })
}

/// The tools as the resource tells them: every field is there.
fn told(tools: &Value) -> Value {
    let one = |tool: &Value| {
        let mut tool = tool.clone();
        for (key, or) in [("description", Value::Null), ("parameters", Value::Null), ("strict", json!(true))] {
            if tool.get(key).is_none() {
                tool[key] = or;
            }
        }
        tool
    };
    tools.as_array().into_iter().flatten().map(one).collect()
}

/// The flat tools of this protocol as those of chats.
fn tools_of(fields: &Fields<'_>) -> Result<Tools, Refusal> {
    let nested = |tool: &Value| {
        let function = json!({
            "name": tool["name"], "description": tool["description"], "parameters": tool["parameters"],
        });
        json!({"type": tool["type"], "function": function})
    };
    let list: Vec<Value> = fields.get("tools").and_then(Value::as_array).into_iter().flatten().map(nested).collect();
    let choice = match fields.get("tool_choice") {
        Some(choice) if choice["type"] == "function" => {
            json!({"type": "function", "function": {"name": choice["name"]}})
        }
        other => other.cloned().unwrap_or(Value::Null),
    };
    let body = json!({"tools": list, "tool_choice": choice, "parallel_tool_calls": fields.get("parallel_tool_calls")});
    let tools = Tools::read(&Fields::of(&body, OWN)?)?;
    if tools.list.is_empty() && matches!(tools.choose, Choose::Never) {
        return Ok(Tools::default());
    }
    Ok(tools)
}

/// `text.format`.
fn format_of(text: Option<&Value>) -> Result<Option<Constraint>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    if text["verbosity"].as_str().is_some_and(|verbosity| verbosity != "medium") {
        return Err(unsupported("`text.verbosity` is not supported", "say it in the instructions"));
    }
    let format = &text["format"];
    let source = match (format["type"].as_str(), &format["schema"]) {
        (None | Some("text"), _) => return Ok(None),
        (Some("json_object"), _) => dense(&json!({"type": "object"})),
        (Some("json_schema"), schema @ Value::Object(_)) => dense(schema),
        _ => {
            return Err(malformed(
                "`text` has a format that is unknown",
                "its type is text, json_object or json_schema",
            ));
        }
    };
    Ok(Some(Constraint { form: ConstraintForm::JsonSchema, source }))
}
