//! Under which terms a node offers: the owner's limits and the price, as flags say at the start, or he says on a running node.
//!
//! What he said last is kept, so that a plain restart goes on with it; a flag goes before it.

use super::config::{Config, price_of};
use super::limits::{Hours, Limits};
use super::memory::Memory;
use serde_json::{Value, json};
use std::time::Duration;
use talkoo_base::{Price, Refusal, RefusalCode};
use tracing::{info, warn};

/// Hours of a day that are told apart.
const HOURS_MAX: usize = 16;
/// The longest reclaim window, in seconds.
const RECLAIM_S_MAX: u64 = 3_600;

fn bad(message: String, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

/// Limits as the API has them: `{hours, idle_only, mains_only, celsius_max, reclaim_s}`.
pub(crate) fn limits_json(limits: &Limits) -> Value {
    json!({
        "hours": limits.hours.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "idle_only": limits.others_max,
        "mains_only": limits.mains_only,
        "celsius_max": limits.celsius_max,
        "reclaim_s": limits.reclaim.as_secs(),
    })
}

/// Reads limits; what is not named is no limit.
pub(crate) fn limits_of(value: &Value) -> Result<Limits, Refusal> {
    let whole = |name: &str, most: u64| match &value[name] {
        Value::Null => Ok(None),
        given => given.as_u64().filter(|n| *n <= most).map(Some).ok_or_else(|| {
            bad(format!("`{name}` is {given}"), &format!("a whole number from 0 to {most}, or null for no limit"))
        }),
    };
    let times = match &value["hours"] {
        Value::Null => Vec::new(),
        Value::Array(all) if all.len() <= HOURS_MAX => all.clone(),
        _ => return Err(bad("`hours` is no list".into(), "up to 16 texts as \"22:00-7:30\"")),
    };
    let hours = |text: &Value| {
        let parsed = text.as_str().map(str::parse::<Hours>);
        parsed.and_then(Result::ok).ok_or_else(|| bad(format!("`hours` has {text}"), "two times as \"22:00-7:30\""))
    };
    Ok(Limits {
        hours: times.iter().map(hours).collect::<Result<_, _>>()?,
        others_max: whole("idle_only", 100)?.and_then(|percent| u8::try_from(percent).ok()),
        mains_only: value["mains_only"].as_bool().unwrap_or_default(),
        celsius_max: whole("celsius_max", 150)?.and_then(|most| u32::try_from(most).ok()),
        reclaim: Duration::from_secs(whole("reclaim_s", RECLAIM_S_MAX)?.unwrap_or(Limits::RECLAIM_S)),
    })
}

/// Reads a price: tokens of money for a million output tokens, or two between which it moves.
pub(crate) fn prices_of(value: &Value) -> Result<[Price; 2], Refusal> {
    let one = |value: &Value| {
        let number = value.as_f64();
        number.ok_or_else(|| bad(format!("`price` has {value}"), "[0.4], or [0.1, 0.5]")).and_then(price_of)
    };
    match value.as_array().map(Vec::as_slice) {
        Some([price]) => one(price).map(|price| [price; 2]),
        Some([least, most]) => {
            let [least, most] = [one(least)?, one(most)?];
            match least.output <= most.output {
                true => Ok([least, most]),
                false => Err(bad("`price` begins with the higher one".into(), "the least, then the most")),
            }
        }
        _ => Err(bad("`price` is no list of one or two".into(), "[0.4], or [0.1, 0.5]")),
    }
}

/// What is kept: limits, and prices in micro-units if they are not the usual one.
fn kept(config: &Config) -> Value {
    let price = |price: &Price| json!([price.input.to_string(), price.output.to_string()]);
    json!({"limits": limits_json(&config.limits), "prices": config.prices.iter().map(price).collect::<Vec<_>>()})
}

fn prices_kept(value: &Value) -> Option<[Price; 2]> {
    let number = |value: &Value| value.as_str()?.parse::<u128>().ok();
    let one = |value: &Value| Some(Price { input: number(&value[0])?, output: number(&value[1])? });
    Some([one(&value[0])?, one(&value[1])?])
}

/// Goes on under the terms of the last time, where the command line says nothing else. Answers whether limits were set that
/// nobody knows any more: an older version kept only that there were some.
pub(super) fn recall(config: &mut Config, memory: &mut Memory) -> bool {
    let (limited, terms) = memory.terms();
    let known = terms["limits"].is_object().then(|| limits_of(&terms["limits"]).ok()).flatten();
    let is_forgotten = limited && !config.limits.is_any() && known.is_none();
    if !config.limits.is_any()
        && let Some(known) = known.filter(Limits::is_any)
    {
        info!(limits = %limits_json(&known), "the owner's limits go on; `talkoo provide limits --none` ends them");
        config.limits = known;
    }
    if !config.is_price_given
        && let Some(prices) = prices_kept(&terms["prices"])
    {
        config.prices = prices;
        let most = prices[1];
        if let Some((price, least)) = &mut config.x402
            && !config.is_x402_price_given
            && (most.output > 0 || least.0 > 0)
        {
            *price = most;
        }
    }
    if is_forgotten && !config.provide && memory.providing() {
        warn!("the last start had limits of the owner, this one has none: `provide start`, or give them again");
    }
    agree(config, memory);
    is_forgotten
}

/// Keeps the terms of now.
pub(super) fn agree(config: &Config, memory: &mut Memory) {
    memory.agrees(config.limits.is_any(), kept(config));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::commands::config_of;
    use clap::Parser as _;

    #[test]
    fn limits_come_back_as_they_went() {
        let cases = [
            (json!({}), true),
            (
                json!({"hours": ["22:00-7:30", "12:00-13:00"], "idle_only": 20, "mains_only": true, "celsius_max": 78, "reclaim_s": 0}),
                true,
            ),
            (json!({"hours": null, "idle_only": null, "celsius_max": null, "reclaim_s": null}), true),
            (json!({"hours": "22-7"}), false),
            (json!({"hours": ["22"]}), false),
            (json!({"hours": vec!["1-2"; 17]}), false),
            (json!({"idle_only": 101}), false),
            (json!({"idle_only": -1}), false),
            (json!({"celsius_max": 1.5}), false),
            (json!({"reclaim_s": 3_601}), false),
        ];
        for (value, is_good) in cases {
            let limits = limits_of(&value);
            assert_eq!(limits.is_ok(), is_good, "{value}");
            if let Ok(limits) = limits {
                assert_eq!(limits_of(&limits_json(&limits)), Ok(limits), "{value}");
            }
        }
        assert_eq!(limits_of(&json!({})).unwrap().reclaim.as_secs(), Limits::RECLAIM_S);
    }

    #[test]
    fn strangers_pay_what_the_owner_last_said() {
        let price = |tokens: f64| price_of(tokens).unwrap();
        let (both, none) = ([price(1.0), price(2.0)], [price(0.0); 2]);
        // What was said, flags, and what x402 costs then.
        let cases = [
            (both, "", price(2.0)),
            (both, " --price 3", price(3.0)),
            (both, " --x402-price 5", price(5.0)),
            (none, "", price(0.0)),
            (none, " --x402-least 0", price(0.4)),
        ];
        for (said, flags, want) in cases {
            let dir = tempfile::tempdir().unwrap();
            let sells = "talkoo up --x402 --ledger http://127.0.0.1:1#0x0000000000000000000000000000000000000001";
            let cli = Cli::try_parse_from(format!("{sells}{flags}").split(' ')).unwrap();
            let Command::Up(args) = cli.command else { panic!("{flags} is not `up`") };
            let mut config = config_of(args, dir.path().to_owned()).unwrap();
            let mut memory = Memory::open(dir.path(), "local");
            agree(&Config { prices: said, ..config.clone() }, &mut memory);
            recall(&mut config, &mut memory);
            assert_eq!(config.x402.unwrap().0, want, "{said:?}{flags}");
        }
    }

    #[test]
    fn prices_are_one_or_two() {
        let price = |tokens: f64| price_of(tokens).unwrap();
        assert_eq!(prices_of(&json!([0.4])), Ok([price(0.4); 2]));
        assert_eq!(prices_of(&json!([0.1, 0.5])), Ok([price(0.1), price(0.5)]));
        for bad in
            [json!("much"), json!([0.5, 0.1]), json!([]), json!(-1), json!([1, 2, 3]), json!([0.1, null]), json!({})]
        {
            assert!(prices_of(&bad).is_err(), "{bad}");
        }
        let both = [price(0.1), price(0.5)];
        let kept: Vec<Value> =
            both.iter().map(|price| json!([price.input.to_string(), price.output.to_string()])).collect();
        assert_eq!(prices_kept(&json!(kept)), Some(both));
        assert_eq!(prices_kept(&Value::Null), None);
    }
}
