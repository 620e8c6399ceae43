//! Transactions and calls watched while they run: `debug_traceTransaction`, `debug_traceCall`.
//!
//! A transaction of any block is executed again on what its block read ([`Reads`](crate::Reads)), so no old state is
//! needed. What is told is go-ethereum's: the calls of a transaction as a tree, or every step. revm-inspectors can do this as
//! well, but bounds neither bytes nor calls of what it records; here a trace that grows too long ends the run.

mod watcher;

use crate::call::{Call, CallError, Override, Reader};
use crate::execute::{before, broken};
use crate::kv::KvError;
use crate::limits::{CALL_GAS_MAX, TRACE_BYTES_MAX, TRACE_DEPTH_MAX};
use crate::state::{State, View};
use crate::store;
use alloy_primitives::{Address, Bytes, Log, U256};
use revm::context::TxEnv;
use revm::context::result::EVMError;
use revm::handler::MainnetContext;
use revm::{InspectEvm, MainBuilder};
use std::collections::BTreeMap;
use thiserror::Error;
use watcher::Watcher;

/// What is told of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Its calls.
    Calls {
        /// Only the first.
        only_top: bool,
        /// With their events.
        with_logs: bool,
    },
    /// Its steps.
    Steps(StepParts),
}

/// What is told of a step besides its place, gas and depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepParts {
    /// The stack before it.
    pub stack: bool,
    /// The memory before it.
    pub memory: bool,
    /// The slots that its contract read or wrote so far, if it does.
    pub storage: bool,
    /// What the last call returned.
    pub return_data: bool,
    /// So many steps are told; 0 for all.
    pub limit: usize,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// The first call, with those it made.
    Calls(Box<Frame>),
    /// Every step, and how it ended.
    Steps {
        /// Whether the transaction succeeded.
        success: bool,
        /// Gas used, refunds taken off.
        gas_used: u64,
        /// What was returned.
        output: Bytes,
        /// The steps.
        steps: Vec<Step>,
    },
}

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `CALL`, `STATICCALL`, `DELEGATECALL`, `CALLCODE`, `CREATE`, `CREATE2` or `SELFDESTRUCT`.
    pub kind: &'static str,
    /// Who calls.
    pub from: Address,
    /// Whose code runs, or what was created.
    pub to: Option<Address>,
    /// Wei; a `STATICCALL` has none.
    pub value: Option<U256>,
    /// Gas it may use.
    pub gas: u64,
    /// Gas it used.
    pub gas_used: u64,
    /// Its data.
    pub input: Bytes,
    /// What it returned.
    pub output: Bytes,
    /// Why it failed, in go-ethereum's words.
    pub error: Option<String>,
    /// The calls it made.
    pub calls: Vec<Frame>,
    /// Its events, each with the number of calls made before it.
    pub logs: Vec<(Log, usize)>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Place in the code.
    pub pc: usize,
    /// Name of the operation.
    pub name: &'static str,
    /// Gas before it.
    pub gas: u64,
    /// Gas it takes; a call's with what it gives away.
    pub cost: u64,
    /// How deep the call is; the first is 1.
    pub depth: usize,
    /// Gas to be refunded.
    pub refund: i64,
    /// The stack, its top last.
    pub stack: Option<Vec<U256>>,
    /// The memory.
    pub memory: Option<Vec<u8>>,
    /// Slots of its contract.
    pub storage: Option<BTreeMap<U256, U256>>,
    /// What the last call returned.
    pub return_data: Option<Bytes>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Why there is no trace.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TraceError {
    /// The call can't be made, or the disk failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The block was executed before anything was kept for traces.
    #[error("what block {0} read is not kept: it was executed by an older version")]
    Gone(u64),
    /// It has too many steps, bytes, or calls within calls.
    #[error(
        "the trace is longer than {TRACE_BYTES_MAX} bytes or deeper than {TRACE_DEPTH_MAX} calls: leave out memory, stack and \
         storage, set a limit, or ask for the top call only"
    )]
    Long,
}

impl From<KvError> for TraceError {
    fn from(error: KvError) -> Self {
        Self::Call(error.into())
    }
}

impl Reader<'_> {
    /// Makes a call as [`Reader::call`] does, and tells how it went.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn trace_call(
        &mut self,
        call: &Call,
        overrides: &BTreeMap<Address, Override>,
        watch: Watch,
    ) -> Result<Trace, TraceError> {
        let gas = call.gas.unwrap_or(CALL_GAS_MAX).min(CALL_GAS_MAX);
        let mut state = self.head.state.clone();
        let (context, env) = self.prepare(&mut state, call, overrides, gas)?;
        run(context, env, watch)
    }

    /// Executes a transaction of a block again, and tells how it went.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn trace_transaction(&mut self, number: u64, index: usize, watch: Watch) -> Result<Trace, TraceError> {
        let lost = |what: &str| KvError::Damaged(format!("{what} {number}"));
        let block = store::block(self.kv, number)?.ok_or_else(|| lost("block"))?;
        let parent = store::block(self.kv, number - 1)?.ok_or_else(|| lost("the parent of block"))?;
        let reads = store::reads(self.kv, number)?.ok_or(TraceError::Gone(number))?;
        let mut state = State::with_codes_of(parent.header.state_root, &self.head.state);
        let mut view = View::new(&mut state, self.kv, self.ancestors);
        view.recall(reads);
        let (context, env) = before(view, self.head.chain_id, block, index)?;
        run(context, env, watch)
    }
}

fn run(context: MainnetContext<View<'_>>, env: TxEnv, watch: Watch) -> Result<Trace, TraceError> {
    let gas_limit = env.gas_limit;
    let mut evm = context.build_mainnet_with_inspector(Watcher::new(watch));
    let result = evm.inspect_one_tx(env).map_err(|error| match error {
        EVMError::Transaction(reason) => CallError::Invalid(reason),
        error => CallError::Kv(broken(error)),
    })?;
    let Watcher { is_long, mut done, steps, .. } = evm.inspector;
    if is_long {
        return Err(TraceError::Long);
    }
    let (gas_used, success) = (result.tx_gas_used(), result.is_success());
    Ok(match watch {
        Watch::Steps(_) => {
            Trace::Steps { success, gas_used, output: result.output().cloned().unwrap_or_default(), steps }
        }
        Watch::Calls { .. } => {
            // The first call is the whole transaction.
            let top = done.pop().unwrap_or_default();
            Trace::Calls(Box::new(Frame { gas: gas_limit, gas_used, ..top }))
        }
    })
}
