//! The "no" of JSON-RPC, with the codes and words that Ethereum's clients look for.

use super::SubmitError;
use alloy_primitives::{Bytes, hex};
use alloy_sol_types::{PanicKind, Revert, SolError};
use serde_json::{Value, json};
use talkoo_ledger::{CallError, InvalidTransaction, KvError, Outcome, TransactionError};
use thiserror::Error;

/// The error of an answer (JSON-RPC 2.0 §5.1; codes also of EIP-1474 and go-ethereum).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct RpcError {
    /// What kind of error.
    pub code: i32,
    /// What is wrong, in words.
    pub message: String,
    /// The data of a revert.
    pub data: Option<Bytes>,
}

impl RpcError {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(super) fn unreadable(why: impl ToString) -> Self {
        Self::new(-32_700, format!("parse error: {}", why.to_string()))
    }

    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::new(-32_600, message)
    }

    pub(super) fn method(name: &str) -> Self {
        Self::new(-32_601, format!("the method {name} does not exist/is not available"))
    }

    pub(super) fn no_notifications() -> Self {
        Self::new(-32_601, "notifications not supported: subscribe over a WebSocket, or use eth_newFilter")
    }

    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(-32_602, message)
    }

    pub(super) fn internal(why: impl ToString) -> Self {
        Self::new(-32_603, why.to_string())
    }

    /// The common refusal.
    pub(super) fn server(message: impl Into<String>) -> Self {
        Self::new(-32_000, message)
    }

    pub(super) fn timed_out() -> Self {
        Self::new(-32_002, "request timed out")
    }

    pub(super) fn too_long(bytes_max: usize) -> Self {
        Self::new(-32_003, format!("response too large: at most {bytes_max} bytes; ask for less at once"))
    }

    pub(super) fn too_long_trace(why: impl ToString) -> Self {
        Self::new(-32_003, why.to_string())
    }

    /// More than anybody gets.
    pub(super) fn limit(message: impl Into<String>) -> Self {
        Self::new(-32_005, message)
    }

    /// A transaction that was sent stands in no block yet (EIP-7966).
    pub(super) fn not_yet(hash: &Value, wait_ms: u64) -> Self {
        let data = hash.as_str().and_then(|hash| hash.parse().ok());
        Self { code: 4, message: format!("the transaction waits, but no block took it within {wait_ms} ms"), data }
    }

    /// As it stands in an answer.
    pub(super) fn json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(data) = &self.data {
            error["data"] = json!(data.to_string());
        }
        error
    }
}

impl From<KvError> for RpcError {
    fn from(error: KvError) -> Self {
        Self::internal(error)
    }
}

impl From<TransactionError> for RpcError {
    fn from(error: TransactionError) -> Self {
        Self::server(error.to_string())
    }
}

impl From<SubmitError> for RpcError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Pool(no) => Self::server(no.to_string()),
            SubmitError::Kv(error) => error.into(),
        }
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Invalid(why) => Self::server(invalid(&why)),
            CallError::Kv(error) => error.into(),
            CallError::Fails(outcome) => failed(&outcome),
        }
    }
}

/// Why a call can't be a transaction, in go-ethereum's words where clients look for them.
fn invalid(why: &InvalidTransaction) -> String {
    match why {
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: have {balance} want {fee}")
        }
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas: need, gas_limit: have }
        | InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor: need, gas_limit: have } => {
            format!("intrinsic gas too low: gas {have}, minimum needed {need}")
        }
        other => other.to_string(),
    }
}

/// What a call that failed says: a revert with its data (code 3), or why it was stopped.
pub(super) fn failed(outcome: &Outcome) -> RpcError {
    match &outcome.halt {
        Some(why) if why.starts_with("OutOfGas") => RpcError::server("out of gas"),
        Some(why) => RpcError::server(format!("execution halted: {why}")),
        None => {
            let message = match reason(&outcome.output) {
                Some(reason) => format!("execution reverted: {reason}"),
                None => "execution reverted".to_owned(),
            };
            RpcError { code: 3, message, data: Some(outcome.output.clone()) }
        }
    }
}

/// The words in the data of a revert: `Error(string)` and `Panic(uint256)` of Solidity, or the selector of a custom error.
pub(super) fn reason(data: &[u8]) -> Option<String> {
    if let Ok(revert) = Revert::abi_decode(data) {
        return Some(revert.reason);
    }
    if let Ok(panic) = alloy_sol_types::Panic::abi_decode(data) {
        let kind = panic.kind().map_or("unknown", PanicKind::as_str);
        return Some(format!("panic: {kind} (0x{:02x})", panic.code));
    }
    let selector = data.first_chunk::<4>()?;
    Some(format!("custom error 0x{}", hex::encode(selector)))
}
