//! What fits and what does not, against the description itself.

use super::*;
use crate::document::{DOCUMENT, asks};
use crate::routes::ROUTES;
use serde_json::json;
use std::collections::BTreeSet;

fn of(name: &str) -> Asks {
    asks(ROUTES.iter().find(|route| route.name == name).expect("a route"))
}

#[test]
fn what_does_not_fit_is_named_with_what_would() {
    let cases = [
        ("post", json!({"file": "x"}), ""),
        ("post", json!({"file": "x", "model": null, "provider": null, "own": true}), ""),
        ("post", json!({"file": "x", "provider": {"sort": "price", "only": [], "max_price": {"prompt": 1}}}), ""),
        // The node says why such a wish cannot be honoured.
        ("post", json!({"file": "x", "provider": {"quantizations": []}}), ""),
        ("provide", json!({"limits": {"hours": ["22:00-7:30"], "idle_only": null}, "price": [0.1, 0.5]}), ""),
        ("provide", json!({"limits": {"hour": []}}), "did you mean `hours`?"),
        ("provide", json!({"price": []}), "too few entries"),
        ("provide", json!({"price": [1, 2, 3]}), "too many entries"),
        ("post", json!({}), "`file` is missing"),
        ("post", json!({"file": 1}), "`file` is not a text"),
        ("post", json!({"file": "x", "nods": 1}), "did you mean `nodes`?"),
        ("post", json!({"file": "x", "nodes": 0}), "(need 1 to 4096, have 0)"),
        ("post", json!({"file": "x", "nodes": 1.5}), "`nodes` is not a whole number"),
        ("post", json!({"file": "x", "max_price": 1e30}), "`max_price` is out of its range"),
        ("post", json!({"file": "x", "verify": "twice"}), "use `drawn`, `own`, `none`"),
        ("post", json!({"file": "x", "provider": {"sort": "cheap"}}), "use `price`, `throughput`, `latency`"),
        ("post", json!({"file": "x", "provider": {"max_price": {"promt": 1}}}), "did you mean `prompt`?"),
        ("post", json!({"file": "x", "provider": {"only": vec!["a"; 257]}}), "(need 256, have 257)"),
        ("post", json!({"file": "x", "provider": {"only": [1]}}), "`only`[0] is not a text"),
        ("forget", json!({"id": "x"}), "belongs in the address"),
        ("stop", json!({"now": true}), "there is none here"),
        ("provide", json!({"on": "yes"}), "`on` is not true or false"),
        ("dial", json!({"addr": ""}), "too few characters"),
    ];
    for (name, given, want) in cases {
        let path = BTreeMap::from([("id".to_owned(), "1".to_owned())]);
        let path = if name == "forget" { path } else { BTreeMap::new() };
        let said = body(&of(name), &given, &path).map_or_else(|no| no.to_string(), |()| String::new());
        assert!(if want.is_empty() { said.is_empty() } else { said.contains(want) }, "{name} {given}: {said}");
    }
}

#[test]
fn a_query_is_read_as_its_types_have_it() {
    let asks = of("data_audit");
    let pairs =
        |text: &[(&str, &str)]| text.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    let read = |text| query(&asks, pairs(text)).map_err(|no| no.to_string());
    assert_eq!(read(&[("verify", "true")]).unwrap()["verify"], json!(true));
    for (given, want) in [
        (&[("verify", "yes")][..], "not true or false"),
        (&[("verfy", "true")], "did you mean `verify`?"),
        (&[("verify", "true"), ("verify", "false")], "twice"),
    ] {
        assert!(read(given).unwrap_err().contains(want), "{given:?}");
    }
}

/// The check would be silent about a rule that it does not know.
#[test]
fn the_check_knows_every_rule_that_the_description_has_for_requests() {
    const KNOWN: [&str; 18] = [
        "$ref",
        "additionalProperties",
        "description",
        "enum",
        "example",
        "examples",
        "format",
        "items",
        "maxItems",
        "minItems",
        "maxLength",
        "maximum",
        "minLength",
        "minimum",
        "oneOf",
        "properties",
        "required",
        "type",
    ];
    fn look(schema: &Value, found: &mut BTreeSet<String>) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            found.insert(key.clone());
            match key.as_str() {
                "properties" => value.as_object().into_iter().flatten().for_each(|(_, one)| look(one, found)),
                "items" => look(value, found),
                "oneOf" => value.as_array().into_iter().flatten().for_each(|one| look(one, found)),
                "$ref" => look(referred(value.as_str().expect("a text")), found),
                _ => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    for route in ROUTES {
        let asks = asks(route);
        look(&asks.body, &mut found);
        asks.query.values().for_each(|schema| look(schema, &mut found));
    }
    let unknown: Vec<&String> = found.iter().filter(|key| !KNOWN.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "the check does not know {unknown:?}");
    assert!(DOCUMENT["paths"].as_object().is_some_and(|paths| paths.len() > 30));
}
