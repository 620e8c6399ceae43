//! Whether a request is what the description says: types, bounds, and no field that nobody would read.
//!
//! It knows the part of JSON Schema that the description of requests uses; a test holds the two together.

use crate::document::{Asks, referred};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use talkoo_base::{Refusal, RefusalCode};

const SEE: &str = "see docs/API.md";

/// The fields of a query, as their types have them; a name that nothing reads or that stands twice is refused.
pub(crate) fn query(asks: &Asks, pairs: Vec<(String, String)>) -> Result<Map<String, Value>, Refusal> {
    let mut read = Map::new();
    for (name, text) in pairs {
        let Some(schema) = asks.query.get(&name) else {
            return Err(unknown("the query's parameter", &name, asks.query.keys()));
        };
        let value = typed(schema, &text);
        fits(&format!("the query's `{name}`"), schema, &value)?;
        if read.insert(name.clone(), value).is_some() {
            return Err(no(format!("the query has `{name}` twice"), "send it once"));
        }
    }
    Ok(read)
}

/// The fields of a body. Nothing of a path or a query may stand there too.
pub(crate) fn body(asks: &Asks, fields: &Value, path: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let twice = |name: &&String| path.contains_key(*name) || asks.query.contains_key(*name);
    if let Some(name) = fields.as_object().and_then(|fields| fields.keys().find(twice)) {
        return Err(no(format!("`{name}` stands in the body, and belongs in the address"), SEE));
    }
    fits("the body", &asks.body, fields)
}

fn no(message: String, hint: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

fn typed(schema: &Value, text: &str) -> Value {
    let is = |kind: &str| kinds(schema).any(|one| one == kind);
    let number = || text.parse::<u64>().ok().filter(|_| is("integer")).map(Value::from);
    let truth = || text.parse::<bool>().ok().filter(|_| is("boolean")).map(Value::from);
    number().or_else(truth).unwrap_or_else(|| Value::from(text))
}

fn kinds(schema: &Value) -> impl Iterator<Item = &str> {
    let kind = &schema["type"];
    kind.as_str().into_iter().chain(kind.as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn fits(at: &str, schema: &Value, value: &Value) -> Result<(), Refusal> {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(at, referred(reference), value);
    }
    if let Some(either) = schema["oneOf"].as_array() {
        // Something or `null`: what is wrong with the something is worth saying.
        let mut some = either.iter().filter(|one| one["type"] != "null");
        return if value.is_null() { Ok(()) } else { some.try_for_each(|one| fits(at, one, value)) };
    }
    let is_kind = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    };
    if kinds(schema).next().is_some() && !kinds(schema).any(is_kind) {
        let wanted = kinds(schema).filter(|kind| *kind != "null").map(article).collect::<Vec<_>>().join(" or ");
        return Err(no(format!("{at} is not {wanted}"), SEE));
    }
    if let Some(choices) = schema["enum"].as_array().filter(|choices| !value.is_null() && !choices.contains(value)) {
        let choices: Vec<String> = choices.iter().map(|choice| choice.to_string().replace('"', "`")).collect();
        return Err(no(format!("{at} is {value}, which is not known"), format!("use {}", choices.join(", "))));
    }
    match value {
        Value::Object(given) => object(at, schema, given),
        Value::Array(given) => {
            bounded(at, schema, "Items", given.len() as u64, "entries")?;
            (0..).zip(given).try_for_each(|(i, one): (usize, _)| fits(&format!("{at}[{i}]"), &schema["items"], one))
        }
        Value::String(given) => bounded(at, schema, "Length", given.chars().count() as u64, "characters"),
        Value::Number(given) => {
            let given = given.as_f64().unwrap_or(f64::NAN);
            let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
            let is_out = least.is_some_and(|least| given < least) || most.is_some_and(|most| given > most);
            if is_out {
                let range = |bound: Option<f64>| bound.map_or_else(|| "any".to_owned(), |bound| bound.to_string());
                let need = format!("{} to {}", range(least), range(most));
                return Err(no(format!("{at} is out of its range"), SEE).with(need, value));
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn object(at: &str, schema: &Value, given: &Map<String, Value>) -> Result<(), Refusal> {
    let none = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&none);
    for (name, value) in given {
        match known.get(name) {
            Some(schema) => fits(&format!("`{name}`"), schema, value)?,
            // The node says why a wish for workers cannot be honoured.
            None if schema["additionalProperties"] == Value::Bool(false) => {
                return Err(unknown(&format!("{at}'s field"), name, known.keys()));
            }
            None => {}
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match required.into_iter().find(|name| !given.contains_key(*name)) {
        Some(name) => Err(no(format!("`{name}` is missing"), SEE)),
        None => Ok(()),
    }
}

fn bounded(at: &str, schema: &Value, what: &str, have: u64, unit: &str) -> Result<(), Refusal> {
    let (least, most) = (schema[format!("min{what}")].as_u64(), schema[format!("max{what}")].as_u64());
    match (least, most) {
        (Some(least), _) if have < least => Err(no(format!("{at} has too few {unit}"), SEE).with(least, have)),
        (_, Some(most)) if have > most => Err(no(format!("{at} has too many {unit}"), SEE).with(most, have)),
        _ => Ok(()),
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        _ => "an object",
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Refusal {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let hint = match nearest(name, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none here".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    let short: String = name.chars().take(64).collect();
    no(format!("{what} `{short}` is not known"), hint)
}

/// The known word that is at most a third of its letters away.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let far = |one: &&str| strsim::osa_distance(word, one);
    known.iter().copied().filter(|one| word.len() <= 64 && far(one) <= one.len().div_ceil(3)).min_by_key(far)
}

#[cfg(test)]
mod tests;
