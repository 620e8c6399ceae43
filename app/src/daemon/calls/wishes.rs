//! The `provider` object of a job: OpenRouter's words for which workers a buyer wants.

use super::{bad, optional, yes_or_no};
use crate::daemon::config::{PRICE_MAX_DEFAULT, price_of};
use serde_json::Value;
use talkoo_base::{Address, PREFERRED_MAX, Preferences, Price, Refusal, RefusalCode, Sort};

/// What it has; anything else is refused, for it would not be honoured.
const KEYS: [&str; 7] = ["sort", "order", "only", "ignore", "allow_fallbacks", "require_parameters", "max_price"];

/// Reads it: the wishes, and the highest price if it names one.
pub(super) fn read(provider: &Value) -> Result<(Preferences, Option<Price>), Refusal> {
    let Some(fields) = provider.as_object() else {
        return if provider.is_null() {
            Ok((Preferences::default(), None))
        } else {
            Err(bad("`provider` is not an object", "see docs/API.md"))
        };
    };
    if let Some(key) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = match key.as_str() {
            "quantizations" => "a model here is one exact program: choose the quantisation by the model's name",
            "data_collection" | "zdr" => "a worker sees the prompt; `verify: own` keeps it from everybody else",
            _ => "known are sort, order, only, ignore, allow_fallbacks, require_parameters and max_price",
        };
        let why = format!("`provider.{key}` can't be honoured");
        return Err(Refusal::new(RefusalCode::UnsupportedParameter, why, hint));
    }
    let sort = match optional(provider, "sort", |v| v.as_str().ok_or("a text"))? {
        None => None,
        Some("price") => Some(Sort::Price),
        Some("throughput") => Some(Sort::Throughput),
        Some("latency") => Some(Sort::Latency),
        Some(other) => return Err(bad(format!("sort `{other}` is unknown"), "use price, throughput or latency")),
    };
    let names = |key: &str| -> Result<Vec<Address>, Refusal> {
        let what = "a list of at most 256 addresses of nodes or owners";
        let list = optional(provider, key, |v| v.as_array().filter(|l| l.len() <= PREFERRED_MAX).ok_or(what))?;
        list.into_iter().flatten().map(|name| address(key, name)).collect()
    };
    // Always so: a worker refuses what it can't do. Either word is honoured.
    optional(provider, "require_parameters", yes_or_no)?;
    let prefer = Preferences {
        sort,
        order: names("order")?,
        only: names("only")?,
        ignore: names("ignore")?,
        allow_fallbacks: optional(provider, "allow_fallbacks", yes_or_no)?.unwrap_or(true),
    };
    Ok((prefer, ceiling(&provider["max_price"])?))
}

/// `{prompt, completion}`, in tokens of money for a million tokens.
fn ceiling(max_price: &Value) -> Result<Option<Price>, Refusal> {
    if max_price.is_null() {
        return Ok(None);
    }
    let known =
        |fields: &serde_json::Map<String, Value>| fields.keys().all(|key| key == "prompt" || key == "completion");
    if !max_price.as_object().is_some_and(known) {
        return Err(bad(
            "`provider.max_price` is no {prompt, completion}",
            "both are tokens of money for a million tokens",
        ));
    }
    let part = |key: &str| -> Result<Option<u128>, Refusal> {
        // OpenRouter's clients send either.
        let read = |v: &Value| v.as_f64().or_else(|| v.as_str()?.parse().ok()).ok_or("a number");
        let number = optional(max_price, key, read)?;
        Ok(number.map(price_of).transpose()?.map(|price| price.output))
    };
    let (input, output) = (part("prompt")?, part("completion")?);
    Ok(Some(Price {
        input: input.unwrap_or(PRICE_MAX_DEFAULT.input),
        output: output.unwrap_or(PRICE_MAX_DEFAULT.output),
    }))
}

fn address(key: &str, name: &Value) -> Result<Address, Refusal> {
    let mut bytes = [0; 20];
    let text = name.as_str().unwrap_or_default();
    hex::decode_to_slice(text.trim_start_matches("0x"), &mut bytes).map(|()| Address(bytes)).map_err(|_| {
        bad(format!("`{text}` in `provider.{key}` is no address"), "`talkoo peers` lists nodes and owners")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wishes_are_read_or_refused() {
        let one = "0x0101010101010101010101010101010101010101";
        let (prefer, price) = read(&json!({
            "sort": "price", "order": [one], "only": [], "ignore": null, "allow_fallbacks": false,
            "require_parameters": true, "max_price": {"prompt": 0.1, "completion": "0.40"},
        }))
        .unwrap();
        let order = vec![Address([1; 20])];
        assert_eq!(
            prefer,
            Preferences { sort: Some(Sort::Price), order, allow_fallbacks: false, ..Preferences::default() }
        );
        assert_eq!(price, Some(Price { input: 100_000, output: 400_000 }));
        assert_eq!(read(&Value::Null).unwrap(), (Preferences::default(), None));
        let bad = [
            (json!("fast"), RefusalCode::Malformed),
            (json!({"sort": "cheap"}), RefusalCode::Malformed),
            (json!({"order": one}), RefusalCode::Malformed),
            (json!({"only": ["OpenAI"]}), RefusalCode::Malformed),
            (json!({"ignore": vec![one; 257]}), RefusalCode::Malformed),
            (json!({"allow_fallbacks": 1}), RefusalCode::Malformed),
            (json!({"max_price": {"prompt": "one"}}), RefusalCode::Malformed),
            (json!({"max_price": {"prompt": "NaN"}}), RefusalCode::Malformed),
            (json!({"max_price": 0.5}), RefusalCode::Malformed),
            (json!({"max_price": {"output": 0.5}}), RefusalCode::Malformed),
            (json!({"quantizations": ["int4"]}), RefusalCode::UnsupportedParameter),
            (json!({"data_collection": "deny"}), RefusalCode::UnsupportedParameter),
            (json!({"speed": 1}), RefusalCode::UnsupportedParameter),
        ];
        for (provider, code) in bad {
            assert_eq!(read(&provider).unwrap_err().code, code, "{provider}");
        }
    }
}
