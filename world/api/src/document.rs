//! The API's description: OpenAPI 3.1, made of the table of routes and the shapes. A copy is checked in as
//! `docs/openapi.json`; a test says how to write it anew.

use crate::feed::TYPES;
use crate::limits::KEY_BYTES_MAX;
use crate::routes::{ROUTES, Repeat, Route, Verb};
use crate::shapes::{self, Shape};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Schemas of what a route may be asked.
#[derive(Debug)]
pub(crate) struct Asks {
    pub(crate) body: Value,
    pub(crate) query: Map<String, Value>,
}

/// The whole description.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The description as text, as it is served and checked in.
#[must_use]
pub fn openapi() -> String {
    let mut text = serde_json::to_string_pretty(&*DOCUMENT).expect("JSON is written to memory");
    text.push('\n');
    text
}

/// The description's schema behind a `$ref`.
pub(crate) fn referred(reference: &str) -> &'static Value {
    DOCUMENT.pointer(reference.trim_start_matches('#')).expect("the description refers to itself only")
}

/// What may be asked of a route.
pub(crate) fn asks(route: &Route) -> Asks {
    let nothing = || json!({"type": "object", "properties": {}, "additionalProperties": false});
    let body = route.body.map_or_else(nothing, |shape| referred(&reference(&shape)).clone());
    Asks { body, query: route.query.map(|shape| fields(&shape)).unwrap_or_default() }
}

fn document() -> Value {
    let mut schemas = Map::new();
    for shape in [shapes::of::<shapes::Problem>(), shapes::of::<shapes::ErrorCodes>()] {
        add(&mut schemas, &shape);
    }
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        route.body.iter().chain([&route.answer]).for_each(|shape| add(&mut schemas, shape));
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[verb(route.verb)] = operation(route);
    }
    own(&mut paths);
    schemas.insert("Event".into(), event());
    schemas.sort_keys();
    close(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Talkoo native API",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Jobs, models, peers, data, deals and keys of one node",
            "description": "HTTP on loopback; docs/API.md says what the words mean. Money is in tokens as decimal text, or in micro-units where a field says so.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8420", "description": "Unless `--api` says otherwise"}],
        "security": [{"token": []}],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Refused": refused()},
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer", "description": "The content of `<data-dir>/api.token`.",
            }},
        },
    })
}

fn reference(shape: &Shape) -> String {
    format!("#/components/schemas/{}", (shape.name)())
}

fn plain(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).expect("a schema is JSON")
}

fn add(schemas: &mut Map<String, Value>, shape: &Shape) {
    let mut parts = Vec::new();
    (shape.parts)(&mut parts);
    parts.push(((shape.name)().into_owned(), (shape.schema)()));
    for (name, schema) in parts {
        schemas.insert(name, plain(&schema));
    }
}

/// What is asked has no other fields than those that are listed.
fn close(schemas: &mut Map<String, Value>) {
    for (_, schema) in schemas.iter_mut().filter(|(name, _)| name.ends_with("Ask")) {
        schema["additionalProperties"] = json!(false);
    }
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::Post => "post",
        Verb::Delete => "delete",
    }
}

/// The part of the path that says what it is about.
fn tag(path: &str) -> &str {
    match path.trim_start_matches("/api/v1/").split(['/', '-']).next().unwrap_or_default() {
        "jobs" | "quotes" | "accounts" | "offers" => "jobs",
        "data" => "data",
        "deals" => "deals",
        "keys" => "keys",
        "disputes" => "disputes",
        "settle" | "unlock" | "close" | "wallet" | "earnings" | "receipts" | "ledger" => "money",
        "webhooks" | "approvals" => "keys",
        "models" | "provide" => "models",
        _ => "node",
    }
}

fn tags() -> Value {
    json!([
        {"name": "node", "description": "The node, its peers and its events"},
        {"name": "models", "description": "Models, and offering them"},
        {"name": "jobs", "description": "Batches, what they cost, and who works"},
        {"name": "money", "description": "Channels and the wallet"},
        {"name": "data", "description": "Sealed data"},
        {"name": "deals", "description": "Storage for pay"},
        {"name": "keys", "description": "Keys and webhooks for programs"},
        {"name": "disputes", "description": "Refuted workers before the judge"},
    ])
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        parameters.push(json!({
            "name": name, "in": "path", "required": true,
            "description": "Which one.", "schema": {"type": "string", "minLength": 1},
        }));
    }
    parameters.extend(route.query.iter().flat_map(query));
    if route.repeat != Repeat::Same {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "A name for this very request: sent again within 24 hours, it gets the first answer and nothing is done twice.",
            "schema": {"type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[!-~]+$"},
        }));
    }
    let mut operation = json!({
        "operationId": operation_id(route.name), "summary": route.summary, "tags": [tag(route.path)],
        "parameters": parameters, "responses": answers(route),
    });
    if let Some(shape) = &route.body {
        let is_needed = referred_required(shape);
        let content = json!({"application/json": {"schema": {"$ref": reference(shape)}}});
        operation["requestBody"] = json!({"required": is_needed, "content": content});
    }
    operation
}

/// `data_add` as `dataAdd`.
fn operation_id(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |id, word| id + &word[..1].to_uppercase() + &word[1..])
}

fn referred_required(shape: &Shape) -> bool {
    plain(&(shape.schema)())["required"].as_array().is_some_and(|names| !names.is_empty())
}

fn fields(shape: &Shape) -> Map<String, Value> {
    match plain(&(shape.schema)()) {
        Value::Object(mut schema) => match schema.remove("properties") {
            Some(Value::Object(fields)) => fields,
            _ => Map::new(),
        },
        _ => Map::new(),
    }
}

/// The parameters behind the `?`. A text cannot be `null`.
fn query(shape: &Shape) -> Vec<Value> {
    let parameter = |(name, mut schema): (String, Value)| {
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        if let Some(kind) =
            schema["type"].as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).cloned()
        {
            schema["type"] = kind;
        }
        json!({"name": name, "in": "query", "description": description, "schema": schema})
    };
    fields(shape).into_iter().map(parameter).collect()
}

/// Statuses with which any route may say no, and those of routes that do more.
fn answers(route: &Route) -> Value {
    let mut answers = json!({"200": {
        "description": "Done",
        "content": {"application/json": {"schema": {"$ref": reference(&route.answer)}}},
    }});
    if route.repeat != Repeat::Same {
        answers["200"]["headers"] = json!({"Idempotency-Replayed": {
            "description": "`true` if this is the first answer again.", "schema": {"type": "string", "const": "true"},
        }});
    }
    if route.verb == Verb::Get {
        answers["200"]["headers"] = json!({"ETag": {
            "description": "Changes when the answer does; `If-None-Match` with it gets 304.", "schema": {"type": "string"},
        }});
        answers["304"] = json!({"description": "Still what `If-None-Match` names"});
    }
    let body: &[u16] = if route.body.is_some() { &[413, 415] } else { &[] };
    let keyed: &[u16] = if route.repeat != Repeat::Same { &[402] } else { &[] };
    for status in [400, 401, 403, 404, 409, 422, 429, 503, 504].iter().chain(body).chain(keyed) {
        answers[status.to_string()] = json!({"$ref": "#/components/responses/Refused"});
    }
    answers.as_object_mut().iter_mut().for_each(|answers| answers.sort_keys());
    answers
}

fn refused() -> Value {
    json!({
        "description": "Refused: the body says why and what to do",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

/// The routes that this crate answers itself.
fn own(paths: &mut Map<String, Value>) {
    let no = |statuses: &[u16]| -> Map<String, Value> {
        statuses.iter().map(|s| (s.to_string(), json!({"$ref": "#/components/responses/Refused"}))).collect()
    };
    let ok = |kind: &str, schema: Value| json!({"description": "Done", "content": {kind: {"schema": schema}}});
    let get = |id: &str, summary: &str, ok: Value, statuses: &[u16], parameters: Value| {
        let mut answers = Map::from_iter([("200".to_owned(), ok)]);
        answers.extend(no(statuses));
        json!({"get": {"operationId": id, "summary": summary, "tags": ["node"], "parameters": parameters, "responses": answers}})
    };
    let codes = json!({"$ref": "#/components/schemas/ErrorCodes"});
    let summary = "Every code of a refusal, and what it means";
    let answer = get("errors", summary, ok("application/json", codes), &[400, 401, 403], json!([]));
    paths.insert("/api/v1/errors".into(), answer);
    let summary = "This description";
    let answer =
        get("openapi", summary, ok("application/json", json!({"type": "object"})), &[400, 401, 403], json!([]));
    paths.insert("/api/v1/openapi.json".into(), answer);
    let parameters = json!([
        {"name": "types", "in": "query", "style": "form", "explode": false,
         "description": "Only events of these types, with commas between them.",
         "schema": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": TYPES}}},
        {"name": "Last-Event-ID", "in": "header",
         "description": "The `id:` of the last event that was read: what came since comes first.",
         "schema": {"type": "string", "pattern": "^[0-9]{1,20}-[0-9]{1,20}$"}},
    ]);
    let stream = json!({"type": "string", "description": "Of each event `id:`, `event:` (its type) and `data:` (an Event as JSON)."});
    let summary = "What happens, as server-sent events, for as long as somebody reads";
    let answer = get("events", summary, ok("text/event-stream", stream), &[400, 401, 403, 429], parameters);
    paths.insert("/api/v1/events".into(), answer);
}

fn event() -> Value {
    json!({
        "type": "object", "required": ["type"], "additionalProperties": true,
        "description": "Something that happened; docs/API.md, \"Events\", has each type's fields.",
        "properties": {
            "type": {"type": "string", "enum": TYPES},
            "job": {"type": "string"}, "step": {"type": "integer"}, "node": {"type": "string"},
            "missed": {"type": "integer", "description": "Of `lagged`: how many events are lost."},
            "reason": {"type": "string", "description": "Of `reset`: why what was missed is not known."},
        },
    })
}
