//! Tools: what a model may call, how a template that does not know them is told, and the calls in what it says.

use crate::fields::{Fields, dense, malformed, unsupported};
use crate::limits::{CALL_BYTES_MAX, TOOLS_MAX};
use crate::message::Message;
use serde_json::{Value, json};
use talkoo_base::{Constraint, ConstraintForm, Finish, Refusal};

/// Begins a call in the text of most models that know tools (Hermes, Qwen).
const OPEN: &str = "<tool_call>";
/// Ends it.
const CLOSE: &str = "</tool_call>";

/// What a model may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tools {
    /// `{"type": "function", "function": {"name", "description", "parameters"}}` each.
    pub list: Vec<Value>,
    /// Whether it has to.
    pub choose: Choose,
}

/// OpenAI's `tool_choice`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choose {
    /// As the model likes.
    #[default]
    Auto,
    /// It may not.
    Never,
    /// One of them.
    Any,
    /// This one.
    Named(String),
}

impl Tools {
    /// Reads `tools`, `tool_choice` and `parallel_tool_calls`.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, Refusal> {
        fields.flag("parallel_tool_calls")?;
        let list = match fields.get("tools") {
            None => Vec::new(),
            Some(Value::Array(tools)) if tools.len() <= TOOLS_MAX => tools.clone(),
            Some(_) => return Err(malformed(format!("`tools` is no list of at most {TOOLS_MAX} tools"), "")),
        };
        for tool in &list {
            check(tool)?;
        }
        let choose = match fields.get("tool_choice") {
            None => Choose::Auto,
            Some(Value::String(word)) => match word.as_str() {
                "auto" => Choose::Auto,
                "none" => Choose::Never,
                "required" => Choose::Any,
                _ => return Err(malformed("`tool_choice` is unknown", "use none, auto, required or a function")),
            },
            Some(choice) => match choice["function"]["name"].as_str() {
                Some(name) if choice["type"] == "function" => Choose::Named(name.to_owned()),
                _ => return Err(malformed("`tool_choice` is unknown", "use none, auto, required or a function")),
            },
        };
        Self { list, choose }.checked()
    }

    /// Refuses a choice among tools that are not there.
    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        let is_there = match &self.choose {
            Choose::Auto | Choose::Never => true,
            Choose::Any => !self.list.is_empty(),
            Choose::Named(name) => self.names().any(|known| known == name),
        };
        if !is_there {
            return Err(malformed("`tool_choice` chooses a tool that `tools` does not have", "add it"));
        }
        Ok(self)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter_map(|tool| tool["function"]["name"].as_str())
    }

    /// The tools that the model is told of.
    #[must_use]
    pub fn told(&self) -> &[Value] {
        if self.choose == Choose::Never { &[] } else { &self.list }
    }

    /// What an answer has to be that has to be a call.
    pub(crate) fn constraint(&self) -> Option<Constraint> {
        let wanted = |tool: &&Value| match &self.choose {
            Choose::Auto | Choose::Never => false,
            Choose::Any => true,
            Choose::Named(name) => tool["function"]["name"] == name.as_str(),
        };
        let call = |tool: &Value| {
            let function = &tool["function"];
            let mut parameters = function["parameters"].as_object().cloned().unwrap_or_default();
            // A small model fills an open object for ever.
            parameters.entry("type").or_insert_with(|| json!("object"));
            if parameters["type"] == "object" {
                parameters.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            json!({
                "type": "object",
                "properties": {"name": {"const": function["name"]}, "arguments": parameters},
                "required": ["name", "arguments"],
                "additionalProperties": false,
            })
        };
        let mut calls: Vec<Value> = self.list.iter().filter(wanted).map(call).collect();
        let schema = match calls.len() {
            0 => return None,
            1 => calls.remove(0),
            _ => json!({"anyOf": calls}),
        };
        Some(Constraint { form: ConstraintForm::JsonSchema, source: dense(&schema) })
    }

    /// Finds the calls in an answer.
    pub(crate) fn finder(&self) -> Finder {
        let names = self.told().iter().filter_map(|tool| tool["function"]["name"].as_str());
        let names: Vec<String> = names.map(str::to_owned).collect();
        let state = if names.is_empty() { State::Off } else { State::Start };
        Finder { names, state, held: String::new() }
    }
}

fn check(tool: &Value) -> Result<(), Refusal> {
    if tool["type"] != "function" {
        return Err(unsupported("one of the `tools` is not a function", "only functions are known here"));
    }
    let name = tool["function"]["name"].as_str().unwrap_or_default();
    let is_name =
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !is_name {
        return Err(malformed("one of the `tools` has no name of 1 to 64 letters, digits, _ and -", ""));
    }
    match &tool["function"]["parameters"] {
        Value::Null | Value::Object(_) => Ok(()),
        _ => Err(malformed(format!("the parameters of {name} in `tools` are no JSON schema"), "")),
    }
}

/// A conversation for a template that knows no tools: they stand in the system's message, calls and answers are text, in the
/// words that most models that know tools were trained on (NousResearch, Hermes function calling).
#[must_use]
pub fn in_words(messages: &[Message], tools: &[Value]) -> Vec<Message> {
    let mut plain: Vec<Message> = messages.iter().map(in_plain).collect();
    if tools.is_empty() {
        return plain;
    }
    let list: Vec<String> = tools.iter().map(Value::to_string).collect();
    let told = format!(
        "You may call functions. They are described here, one JSON object a line:\n<tools>\n{}\n</tools>\n\
         To call one, answer with nothing but\n{OPEN}\n{{\"name\": NAME, \"arguments\": {{…}}}}\n{CLOSE}",
        list.join("\n")
    );
    match plain.first_mut().filter(|first| first.role == "system") {
        Some(first) => first.text = format!("{}\n\n{told}", first.text),
        None => plain.insert(0, Message::text("system", told)),
    }
    plain
}

fn in_plain(message: &Message) -> Message {
    match message.role.as_str() {
        "tool" => Message::text("user", format!("<tool_response>\n{}\n</tool_response>", message.text)),
        "assistant" if !message.calls.is_empty() => {
            let call = |call: &crate::ToolCall| {
                let name = Value::from(call.name.as_str());
                format!("{OPEN}\n{{\"name\": {name}, \"arguments\": {}}}\n{CLOSE}", call.arguments)
            };
            let calls: Vec<String> = message.calls.iter().map(call).collect();
            let text = [message.text.as_str()].into_iter().filter(|text| !text.is_empty()).map(str::to_owned);
            Message::text("assistant", text.chain(calls).collect::<Vec<_>>().join("\n"))
        }
        role => Message::text(role, message.text.clone()),
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Text(String),
    /// Name and arguments, JSON as text.
    Call(String, String),
}

/// Finds calls in text as it comes. What may be one is held back until it is clear.
#[derive(Debug)]
pub(crate) struct Finder {
    names: Vec<String>,
    state: State,
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing may be called.
    Off,
    /// Only blanks came.
    Start,
    /// In text.
    Text,
    /// Behind [`OPEN`].
    Call,
    /// In an answer that began as JSON: Llama's calls have no frame, and a demanded one has none.
    Bare,
}

impl Finder {
    /// What is certain with this text.
    pub(crate) fn push(&mut self, text: &str) -> Vec<Said> {
        if self.state == State::Off {
            return if text.is_empty() { Vec::new() } else { vec![Said::Text(text.to_owned())] };
        }
        self.held.push_str(text);
        let mut said = Vec::new();
        while self.go_on(&mut said) {}
        said
    }

    /// One step; `false` if nothing more is certain.
    fn go_on(&mut self, said: &mut Vec<Said>) -> bool {
        match self.state {
            State::Off => false,
            State::Start => match self.held.trim_start().chars().next() {
                None => false,
                Some('{' | '[') => {
                    self.state = State::Bare;
                    true
                }
                Some(_) => {
                    self.state = State::Text;
                    true
                }
            },
            State::Text => match self.held.find(OPEN) {
                Some(at) => {
                    let rest = self.held.split_off(at + OPEN.len());
                    self.held.truncate(at);
                    let before = std::mem::replace(&mut self.held, rest);
                    // The blanks before a call are the template's, not the answer's.
                    if !before.trim().is_empty() {
                        said.push(Said::Text(before));
                    }
                    self.state = State::Call;
                    true
                }
                None => {
                    let certain = self.certain();
                    let rest = self.held.split_off(certain);
                    let text = std::mem::replace(&mut self.held, rest);
                    if !text.is_empty() {
                        said.push(Said::Text(text));
                    }
                    false
                }
            },
            State::Call => match self.held.find(CLOSE) {
                Some(at) => {
                    let rest = self.held.split_off(at + CLOSE.len());
                    self.held.truncate(at);
                    let inside = std::mem::replace(&mut self.held, rest);
                    self.state = State::Text;
                    match self.calls_in(&inside) {
                        Some(calls) => said.extend(calls),
                        None => said.push(Said::Text(format!("{OPEN}{inside}{CLOSE}"))),
                    }
                    true
                }
                None if self.held.len() > CALL_BYTES_MAX => {
                    said.push(Said::Text(format!("{OPEN}{}", std::mem::take(&mut self.held))));
                    self.state = State::Text;
                    false
                }
                None => false,
            },
            State::Bare if self.held.len() > CALL_BYTES_MAX => {
                self.state = State::Text;
                true
            }
            State::Bare => false,
        }
    }

    /// Bytes of the held text that begin no [`OPEN`].
    fn certain(&self) -> usize {
        let may_begin = |at: &usize| OPEN.starts_with(&self.held[*at..]);
        self.held.char_indices().map(|(at, _)| at).find(may_begin).unwrap_or(self.held.len())
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> Vec<Said> {
        let held = std::mem::take(&mut self.held);
        let text = |text: String| if text.is_empty() { Vec::new() } else { vec![Said::Text(text)] };
        match std::mem::replace(&mut self.state, State::Off) {
            State::Off | State::Start | State::Text => text(held),
            State::Call => self.calls_in(&held).unwrap_or_else(|| text(format!("{OPEN}{held}"))),
            State::Bare => self.calls_in(&held).unwrap_or_else(|| text(held)),
        }
    }

    /// The calls in a JSON text, if it is calls of our tools and nothing else.
    fn calls_in(&self, text: &str) -> Option<Vec<Said>> {
        let value: Value = serde_json::from_str(text.trim()).ok()?;
        let list = match value {
            Value::Array(list) if !list.is_empty() => list,
            value @ Value::Object(_) => vec![value],
            _ => return None,
        };
        let call = |value: &Value| {
            let name = value["name"].as_str().filter(|name| self.names.iter().any(|known| known == name))?;
            let arguments = match (value.get("arguments"), value.get("parameters")) {
                (Some(Value::String(text)), _) => text.clone(),
                (Some(arguments), _) | (None, Some(arguments)) => arguments.to_string(),
                (None, None) => "{}".to_owned(),
            };
            Some(Said::Call(name.to_owned(), arguments))
        };
        list.iter().map(call).collect()
    }
}

/// OpenAI's `finish_reason`.
pub(crate) fn reason(finish: Finish, has_calls: bool) -> &'static str {
    match finish.openai() {
        Some("stop") if has_calls => "tool_calls",
        Some(reason) => reason,
        // The node ended it; what came is whole as far as it goes.
        None => "length",
    }
}
