//! The model's own chat template, run with a limit on its work.

use crate::error::TemplateError;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

/// Instructions a template may execute: real ones need a few hundred per message.
const FUEL: u64 = 2_000_000;
/// Marks errors that the template raised itself.
const RAISED: &str = "raised by the template: ";

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

/// Renders with Hugging Face's settings: blocks trimmed, `raise_exception`, Python's string methods.
pub(super) fn render(template: &str, messages: &[ChatMessage], bos: &str, eos: &str) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
    });
    environment
        .render_str(template, context! { messages, add_generation_prompt => true, bos_token => bos, eos_token => eos })
        .map_err(|error| match error.detail().and_then(|d| d.strip_prefix(RAISED)) {
            Some(message) => TemplateError::Refused(message.into()),
            None => TemplateError::Failed(error.to_string()),
        })
}
