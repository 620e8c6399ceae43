//! JSON-RPC 2.0 as it comes in: one request, or a batch of them.

use super::RpcError;
use crate::limits::BATCH_MAX;
use serde_json::{Map, Value, json};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whom the answer is for: nobody gets one to a notification.
    pub id: Option<Value>,
    /// The method's name.
    pub method: String,
    /// Its arguments, in their order.
    pub params: Vec<Value>,
}

/// What one body or message holds. An entry that is no request still gets an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batch {
    /// A single request.
    One(Result<Request, Refused>),
    /// Several, answered in one list.
    Many(Vec<Result<Request, Refused>>),
}

/// An entry that is no request, with the id it has anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    id: Value,
    why: Box<RpcError>,
}

impl Batch {
    /// Reads a body.
    ///
    /// # Errors
    /// -32700 if it is no JSON (or is nested deeper than 128), -32600 if it is an empty or too large batch.
    pub fn parse(bytes: &[u8]) -> Result<Self, RpcError> {
        match serde_json::from_slice(bytes).map_err(RpcError::unreadable)? {
            Value::Array(list) if list.is_empty() => Err(RpcError::request("empty batch")),
            Value::Array(list) if list.len() > BATCH_MAX => {
                let message = format!("batch too large: {} requests, at most {BATCH_MAX}", list.len());
                Err(RpcError::request(message))
            }
            Value::Array(list) => Ok(Self::Many(list.into_iter().map(Request::read).collect())),
            value => Ok(Self::One(Request::read(value))),
        }
    }

    /// The same answer to each, as text: none if nobody expects one.
    pub(super) fn refuse(&self, why: &RpcError) -> Option<String> {
        self.answer(usize::MAX, |_| Err(why.clone()))
    }

    /// The answers to all, as text: none if nobody expects one.
    /// What is longer than `bytes_max`, all together, is refused.
    pub(super) fn answer(
        &self,
        bytes_max: usize,
        mut ask: impl FnMut(&Request) -> Result<Value, RpcError>,
    ) -> Option<String> {
        let mut left = bytes_max;
        let mut one = |entry: &Result<Request, Refused>| match entry {
            Ok(request) if left == 0 => request.id.as_ref().map(|id| answer(id, Err(RpcError::too_long(bytes_max)))),
            Ok(request) => {
                let result = ask(request);
                let id = request.id.as_ref()?;
                let text = answer(id, result);
                let fits = text.len() <= left;
                left = left.saturating_sub(text.len());
                Some(if fits { text } else { answer(id, Err(RpcError::too_long(bytes_max))) })
            }
            Err(refused) => Some(answer(&refused.id, Err(RpcError::clone(&refused.why)))),
        };
        match self {
            Self::One(entry) => one(entry),
            Self::Many(entries) => {
                let answers: Vec<String> = entries.iter().filter_map(one).collect();
                (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
            }
        }
    }
}

impl Request {
    fn read(value: Value) -> Result<Self, Refused> {
        let Value::Object(mut fields) = value else {
            return Err(Refused {
                id: Value::Null,
                why: Box::new(RpcError::request("invalid request: not an object")),
            });
        };
        let id = fields.remove("id");
        let answerable = id.clone().filter(|id| id.is_string() || id.is_number()).unwrap_or_default();
        let refused = |why| Refused { id: answerable, why: Box::new(why) };
        if id.as_ref().is_some_and(|id| id.is_object() || id.is_array() || id.is_boolean()) {
            return Err(refused(RpcError::request("invalid request: the id is a string or a number")));
        }
        match Self::body(fields) {
            Ok((method, params)) => Ok(Self { id, method, params }),
            Err(why) => Err(refused(why)),
        }
    }

    fn body(mut fields: Map<String, Value>) -> Result<(String, Vec<Value>), RpcError> {
        if fields.get("jsonrpc") != Some(&json!("2.0")) {
            return Err(RpcError::request("invalid request: `jsonrpc` is not \"2.0\""));
        }
        let Some(Value::String(method)) = fields.remove("method") else {
            return Err(RpcError::request("invalid request: `method` is not a string"));
        };
        match fields.remove("params") {
            None | Some(Value::Null) => Ok((method, Vec::new())),
            Some(Value::Array(params)) => Ok((method, params)),
            Some(_) => Err(RpcError::params("non-array args")),
        }
    }
}

/// One answer as text.
pub(super) fn answer(id: &Value, result: Result<Value, RpcError>) -> String {
    match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(why) => json!({"jsonrpc": "2.0", "id": id, "error": why.json()}),
    }
    .to_string()
}
