//! Whether arguments are what a tool's schema says: the part of JSON Schema that our schemas use. What a model sends wrong it is
//! told by name, so that it can send it right.

use crate::ask::No;
use rmcp::model::JsonObject;
use serde_json::Value;

/// # Errors
/// Names the first field that is not as it has to be.
pub(crate) fn arguments(schema: &JsonObject, args: &Value) -> Result<(), No> {
    value(&Value::Object(schema.clone()), args, "arguments")
}

fn wrong(name: &str, what: &str) -> No {
    No::malformed(format!("`{name}` is not {what}"), "the tool's inputSchema says what it takes")
}

fn value(schema: &Value, given: &Value, name: &str) -> Result<(), No> {
    let kind = schema["type"].as_str().unwrap_or_default();
    let fits = match kind {
        "object" => given.is_object(),
        "array" => given.is_array(),
        "string" => given.is_string(),
        "integer" => given.is_u64() || given.is_i64(),
        "number" => given.is_number(),
        "boolean" => given.is_boolean(),
        _ => true,
    };
    if !fits {
        return Err(wrong(name, &format!("of the type {kind}")));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(given)) {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return Err(wrong(name, &format!("one of {}", words.join(", "))));
    }
    size(schema, given, name)?;
    if let Some(fields) = given.as_object().filter(|_| schema["properties"].is_object()) {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for field in required {
            if !fields.contains_key(field) {
                return Err(No::malformed(
                    format!("`{field}` is missing"),
                    "the tool's inputSchema says what it takes",
                ));
            }
        }
        for (field, given) in fields {
            match schema["properties"].get(field) {
                Some(schema) => value(schema, given, field)?,
                None => {
                    return Err(No::malformed(format!("there is no `{field}`"), "the tool's inputSchema has the list"));
                }
            }
        }
    }
    if let Some(items) = given.as_array().filter(|_| schema["items"].is_object()) {
        items.iter().try_for_each(|item| value(&schema["items"], item, name))?;
    }
    Ok(())
}

/// Lengths and limits.
fn size(schema: &Value, given: &Value, name: &str) -> Result<(), No> {
    let within = |key: &str, have: f64, most: bool| {
        let limit = schema[key].as_f64();
        limit.is_none_or(|limit| if most { have <= limit } else { have >= limit })
    };
    let limits = match given {
        Value::String(text) => Some(("minLength", "maxLength", text.chars().count() as f64)),
        Value::Array(items) => Some(("minItems", "maxItems", items.len() as f64)),
        Value::Number(number) => number.as_f64().map(|number| ("minimum", "maximum", number)),
        _ => None,
    };
    match limits {
        Some((least, _, have)) if !within(least, have, false) => {
            Err(wrong(name, &format!("at least {} ({least})", schema[least])))
        }
        Some((_, most, have)) if !within(most, have, true) => {
            Err(wrong(name, &format!("at most {} ({most})", schema[most])))
        }
        _ => Ok(()),
    }
}
