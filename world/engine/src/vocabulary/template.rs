//! The model's own chat template, run with a limit on its work.

use crate::error::TemplateError;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;
use serde_json::Value;
use std::io::Write;

/// Instructions a template may execute: real ones need a few hundred per message.
const FUEL: u64 = 2_000_000;
/// Marks errors that the template raised itself.
const RAISED: &str = "raised by the template: ";

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
    /// The assistant's calls, `{"id", "type": "function", "function": {"name", "arguments": {…}}}` each, as templates of the
    /// hub read them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
    /// Of a tool's answer: which call it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl ChatMessage {
    /// A message that is only text.
    #[must_use]
    pub fn text(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), ..Self::default() }
    }
}

/// Renders with Hugging Face's settings: blocks trimmed, `raise_exception`, Python's string methods. `tools` is what the
/// template reads under that name, if there are any.
pub(super) fn render(
    template: &str,
    messages: &[ChatMessage],
    tools: &[Value],
    (bos, eos): (&str, &str),
) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
    });
    environment.add_filter("tojson", tojson);
    let tools = (!tools.is_empty()).then_some(tools);
    let words = context! { messages, tools, add_generation_prompt => true, bos_token => bos, eos_token => eos };
    environment.render_str(template, words).map_err(|error| match error.detail().and_then(|d| d.strip_prefix(RAISED)) {
        Some(message) => TemplateError::Refused(message.into()),
        None => TemplateError::Failed(error.to_string()),
    })
}

/// JSON as Hugging Face's templates have it, which is as Python's `json.dumps` writes it, letters of all languages as they are.
fn tojson(value: &minijinja::Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Hugging Face's filter takes them, and they change nothing here.
    let _: (Option<bool>, Option<bool>) = (options.get("ensure_ascii")?, options.get("sort_keys")?);
    options.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Python)),
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let pretty = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, pretty))
        }
    };
    written.map_err(|why| Error::new(ErrorKind::BadSerialization, why.to_string()))?;
    Ok(String::from_utf8(out).expect("JSON is UTF-8"))
}

/// One space behind every comma and colon.
struct Python;

impl serde_json::ser::Formatter for Python {
    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tools_and_calls_are_written_as_python_writes_them() {
        let template = "{% if tools %}{% for t in tools %}{{ t | tojson }}\n{% endfor %}{% endif %}\
            {% for m in messages %}{{ m.role }}: {{ m.content }}\
            {% for c in m.tool_calls or [] %}[{{ c.function.arguments | tojson(indent=1) }}]{% endfor %}\
            {% if m.tool_call_id %}({{ m.tool_call_id }}){% endif %}{{ '\n' }}{% endfor %}";
        let tool = json!({"type": "function", "function": {"name": "f", "x": [1, 2], "é": "<'&>"}});
        let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}});
        let called = ChatMessage { tool_calls: vec![call], ..ChatMessage::text("assistant", "") };
        let told = ChatMessage { tool_call_id: Some("a".into()), ..ChatMessage::text("tool", "ok") };
        let all = [ChatMessage::text("user", "hi"), called, told];
        let text = render(template, &all, &[tool], ("", "")).unwrap();
        let want = "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"x\": [1, 2], \"é\": \"<'&>\"}}\n\
            user: hi\nassistant: [{\n \"x\": 1\n}]\ntool: ok(a)\n";
        assert_eq!(text, want);
        assert_eq!(render(template, &all[..1], &[], ("", "")).unwrap(), "user: hi\n");
    }
}
