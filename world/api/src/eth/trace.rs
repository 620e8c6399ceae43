//! How transactions and calls went: `debug_traceTransaction` and `debug_traceCall`, as go-ethereum tells it.

use super::RpcError;
use super::desk::{Answer, Asked};
use super::error::reason;
use super::json::hex;
use super::params::{BlockId, CallRequest, Overrides, Param, field, given, object};
use super::state::check;
use alloy_primitives::{B256, Bytes, hex as digits};
use serde_json::{Map, Value, json};
use talkoo_ledger::{Frame, Step, StepParts, Trace, TraceError, Watch, store};

/// What is to be told, and for a call what it pretends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// The calls, or the steps.
    pub watch: Watch,
    /// What the call pretends of accounts.
    pub overrides: Overrides,
}

impl Param for TraceOptions {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        let none = Value::Object(Map::new());
        let fields = object(value.or(Some(&none)), "a set of trace options")?;
        let is = |fields: &Map<String, Value>, name: &str| -> Result<bool, String> {
            Ok(field::<Option<bool>>(fields, name)?.unwrap_or_default())
        };
        let limit =
            fields.get("limit").map_or(Ok(0), |limit| u64::read(Some(limit)).map_err(|why| format!("limit: {why}")))?;
        let watch = match given(fields, "tracer").map(|name| name.as_str().unwrap_or_default()) {
            None => Watch::Steps(StepParts {
                stack: !is(fields, "disableStack")?,
                memory: is(fields, "enableMemory")?,
                storage: !is(fields, "disableStorage")?,
                return_data: is(fields, "enableReturnData")?,
                limit: usize::try_from(limit).map_err(|why| why.to_string())?,
            }),
            Some("callTracer") => {
                let config = object(given(fields, "tracerConfig").or(Some(&none)), "tracerConfig")?;
                Watch::Calls { only_top: is(config, "onlyTopCall")?, with_logs: is(config, "withLog")? }
            }
            Some(name) => return Err(format!("no tracer `{name}` here: callTracer, or none for single steps")),
        };
        if given(fields, "blockOverrides").is_some() {
            return Err("`blockOverrides` is not supported".into());
        }
        Ok(Self { watch, overrides: Overrides::read(given(fields, "stateOverrides"))? })
    }
}

/// A transaction of any block, executed again.
pub(super) fn transaction(asked: &Asked<'_>) -> Answer {
    let (hash, options): (B256, TraceOptions) = asked.read()?;
    let place = store::place(&*asked.view.kv, &hash)?;
    let (number, index) = place.ok_or_else(|| RpcError::server("transaction not found"))?;
    asked.now(|reader| reader.trace_transaction(number, index, options.watch)).map(told)
}

/// A call on top of the last block.
pub(super) fn call(asked: &Asked<'_>) -> Answer {
    let (request, at, options): (CallRequest, BlockId, TraceOptions) = asked.read()?;
    check(asked, &request, at, &options.overrides)?;
    asked.state(at, |reader| reader.trace_call(&request.call, &options.overrides.0, options.watch)).map(told)
}

impl From<TraceError> for RpcError {
    fn from(error: TraceError) -> Self {
        match error {
            TraceError::Call(error) => error.into(),
            TraceError::Gone(_) => Self::server(format!("missing trie node: {error}")),
            TraceError::Long => Self::too_long_trace(error),
        }
    }
}

fn told(trace: Trace) -> Value {
    match trace {
        Trace::Calls(frame) => call_told(*frame),
        Trace::Steps { success, gas_used, output, steps } => json!({
            "gas": gas_used,
            "failed": !success,
            "returnValue": hex(output),
            "structLogs": steps.into_iter().map(step).collect::<Value>(),
        }),
    }
}

fn call_told(frame: Frame) -> Value {
    let Frame { kind, from, to, value, gas, gas_used, input, output, error, calls, logs } = frame;
    let mut fields = json!({"from": hex(from), "gas": hex(gas), "gasUsed": hex(gas_used), "input": hex(input)});
    if let Some(to) = to {
        fields["to"] = hex(to);
    }
    if error.as_deref() == Some("execution reverted")
        && let Some(reason) = reason(&output)
    {
        fields["revertReason"] = json!(reason);
    }
    if let Some(error) = error {
        fields["error"] = json!(error);
    }
    if !output.is_empty() {
        fields["output"] = hex(output);
    }
    if !calls.is_empty() {
        fields["calls"] = calls.into_iter().map(call_told).collect();
    }
    if !logs.is_empty() {
        let log = |(log, position): (alloy_primitives::Log, usize)| {
            let topics: Vec<Value> = log.topics().iter().map(hex).collect();
            json!({"address": hex(log.address), "topics": topics, "data": hex(log.data.data), "position": hex(position)})
        };
        fields["logs"] = logs.into_iter().map(log).collect();
    }
    if let Some(value) = value {
        fields["value"] = hex(value);
    }
    fields["type"] = json!(kind);
    fields
}

fn step(step: Step) -> Value {
    let Step { pc, name, gas, cost, depth, refund, stack, memory, storage, return_data, error } = step;
    let mut fields = json!({"pc": pc, "op": name, "gas": gas, "gasCost": cost, "depth": depth});
    if let Some(stack) = stack {
        fields["stack"] = stack.into_iter().map(hex).collect();
    }
    if let Some(memory) = memory {
        fields["memory"] = memory.chunks(32).map(digits::encode_prefixed).collect();
    }
    if let Some(storage) = storage {
        let word = |number| B256::from(number).to_string();
        fields["storage"] = storage.into_iter().map(|(slot, value)| (word(slot), json!(word(value)))).collect();
    }
    if let Some(data) = return_data.filter(|data: &Bytes| !data.is_empty()) {
        fields["returnData"] = hex(data);
    }
    if refund > 0 {
        fields["refund"] = json!(refund);
    }
    if let Some(error) = error {
        fields["error"] = json!(error);
    }
    fields
}
