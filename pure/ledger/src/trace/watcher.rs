//! Looks on while the EVM runs, and writes down what was asked for.

use super::{Frame, Step, Watch};
use crate::limits::{TRACE_BYTES_MAX, TRACE_DEPTH_MAX};
use alloy_primitives::{Address, Bytes, Log, U256};
use revm::Inspector;
use revm::bytecode::opcode::{OpCode, SLOAD, SSTORE};
use revm::context_interface::{ContextTr, JournalTr};
use revm::interpreter::interpreter_types::{Jumps, LoopControl};
use revm::interpreter::{
    CallInputs, CallOutcome, CallScheme, CreateInputs, CreateOutcome, CreateScheme, Gas, InstructionResult,
    Interpreter, InterpreterAction, InterpreterResult,
};
use std::collections::BTreeMap;

/// Looks on.
pub(super) struct Watcher {
    watch: Watch,
    /// How long the answer will be, about.
    bytes: usize,
    /// Whether there is too much to tell.
    pub(super) is_long: bool,
    /// The calls that are not over.
    open: Vec<Frame>,
    /// The first call, when it is over.
    pub(super) done: Vec<Frame>,
    pub(super) steps: Vec<Step>,
    /// Whether the last step is being told.
    telling: bool,
    /// What contracts read and wrote.
    storage: BTreeMap<Address, BTreeMap<U256, U256>>,
    /// The slot that the step reads.
    reading: Option<U256>,
}

impl Watcher {
    pub(super) fn new(watch: Watch) -> Self {
        let (open, done, steps, storage) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
        Self { watch, bytes: 0, is_long: false, open, done, steps, telling: false, storage, reading: None }
    }

    /// Counts what will be told.
    fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.is_long |= self.bytes > TRACE_BYTES_MAX;
    }

    /// Whether calls are told, and this one.
    fn tells_calls(&self) -> bool {
        match self.watch {
            Watch::Calls { only_top, .. } => !only_top || self.open.is_empty(),
            Watch::Steps(_) => false,
        }
    }

    /// A call begins; says whether there is too much to tell.
    fn enter(&mut self, frame: Frame) -> bool {
        if self.tells_calls() {
            self.spend(500 + 2 * frame.input.len());
            self.is_long |= self.open.len() >= TRACE_DEPTH_MAX;
        }
        self.open.push(frame);
        self.is_long
    }

    /// It ends.
    fn leave(&mut self, result: &InterpreterResult, created: Option<Address>) {
        let Some(mut frame) = self.open.pop() else { return };
        if !self.tells_calls() {
            return;
        }
        frame.gas_used = frame.gas.saturating_sub(result.gas.remaining());
        frame.to = frame.to.or(created);
        if !result.is_ok() {
            frame.error = Some(words(result.result));
            frame.forget_logs();
        }
        if result.is_ok() || result.result == InstructionResult::Revert {
            frame.output = result.output.clone();
            self.spend(2 * frame.output.len());
        }
        self.open.last_mut().map_or(&mut self.done, |parent| &mut parent.calls).push(frame);
    }

    /// The slot that a step touches, by what lies on the stack.
    fn touch(&mut self, interp: &Interpreter) {
        let at = |n| interp.stack.peek(n).ok();
        self.reading = None;
        match (interp.bytecode.opcode(), at(0), at(1)) {
            (SLOAD, slot, _) => self.reading = slot,
            (SSTORE, Some(slot), Some(value)) => {
                self.storage.entry(interp.input.target_address).or_default().insert(slot, value);
            }
            _ => {}
        }
    }
}

impl Frame {
    /// What failed left no events. A call that failed before has none any more.
    fn forget_logs(&mut self) {
        self.logs.clear();
        self.calls.iter_mut().filter(|call| call.error.is_none()).for_each(Self::forget_logs);
    }
}

impl<C: ContextTr> Inspector<C> for Watcher {
    fn step(&mut self, interp: &mut Interpreter, context: &mut C) {
        if self.is_long {
            return interp.halt(InstructionResult::OutOfGas);
        }
        let Watch::Steps(parts) = self.watch else { return };
        self.telling = parts.limit == 0 || self.steps.len() < parts.limit;
        if !self.telling {
            return;
        }
        if parts.storage {
            self.touch(interp);
        }
        let memory = parts.memory.then(|| interp.memory.context_memory().to_vec());
        let step = Step {
            pc: interp.bytecode.pc(),
            name: name(interp.bytecode.opcode()),
            gas: interp.gas.remaining(),
            cost: 0,
            depth: context.journal().depth(),
            refund: interp.gas.refunded(),
            stack: parts.stack.then(|| interp.stack.data().to_vec()),
            memory,
            storage: None,
            return_data: parts.return_data.then(|| interp.return_data.0.clone()),
            error: None,
        };
        let stack = step.stack.as_ref().map_or(0, Vec::len);
        let bytes = step.memory.as_ref().map_or(0, Vec::len) + step.return_data.as_ref().map_or(0, |data| data.len());
        self.spend(120 + 40 * stack + 3 * bytes);
        self.steps.push(step);
    }

    fn step_end(&mut self, interp: &mut Interpreter, _: &mut C) {
        let (Watch::Steps(parts), true) = (self.watch, self.telling) else { return };
        let contract = interp.input.target_address;
        if let (Some(slot), Ok(value)) = (self.reading.take(), interp.stack.peek(0)) {
            self.storage.entry(contract).or_default().insert(slot, value);
        }
        let Some(step) = self.steps.last_mut() else { return };
        step.cost = step.gas.saturating_sub(interp.gas.remaining());
        if parts.storage && ["SLOAD", "SSTORE"].contains(&step.name) {
            step.storage = self.storage.get(&contract).cloned();
        }
        if let Some(end) = interp.bytecode.action().as_ref().and_then(InterpreterAction::instruction_result)
            && !end.is_ok()
            && end != InstructionResult::Revert
        {
            step.error = Some(words(end));
        }
        let slots = step.storage.as_ref().map_or(0, BTreeMap::len);
        self.spend(140 * slots);
    }

    fn log(&mut self, _: &mut C, log: Log) {
        let Watch::Calls { only_top, with_logs: true } = self.watch else { return };
        if only_top && self.open.len() > 1 {
            return;
        }
        self.spend(400 + 2 * log.data.data.len());
        if let Some(frame) = self.open.last_mut() {
            frame.logs.push((log, frame.calls.len()));
        }
    }

    fn call(&mut self, context: &mut C, inputs: &mut CallInputs) -> Option<CallOutcome> {
        let (kind, borrows) = match inputs.scheme {
            CallScheme::Call => ("CALL", false),
            CallScheme::CallCode => ("CALLCODE", true),
            CallScheme::DelegateCall => ("DELEGATECALL", true),
            CallScheme::StaticCall => ("STATICCALL", false),
        };
        let (from, to) = match borrows {
            true => (inputs.target_address, inputs.bytecode_address),
            false => (inputs.caller, inputs.target_address),
        };
        let value = (inputs.scheme != CallScheme::StaticCall).then(|| inputs.value.get());
        let input = if self.tells_calls() { inputs.input.bytes(context) } else { Bytes::new() };
        let gas = inputs.gas_limit;
        let frame = Frame { kind, from, to: Some(to), value, gas, input, ..Frame::default() };
        self.enter(frame)
            .then(|| CallOutcome::new_oog(inputs.gas_limit, inputs.return_memory_offset.clone(), inputs.reservoir))
    }

    fn call_end(&mut self, _: &mut C, _: &CallInputs, outcome: &mut CallOutcome) {
        self.leave(&outcome.result, None);
    }

    fn create(&mut self, _: &mut C, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        let kind = if matches!(inputs.scheme(), CreateScheme::Create2 { .. }) { "CREATE2" } else { "CREATE" };
        let (from, gas, input) = (inputs.caller(), inputs.gas_limit(), inputs.init_code().clone());
        let frame = Frame { kind, from, to: None, value: Some(inputs.value()), gas, input, ..Frame::default() };
        let ended = InterpreterResult::new(
            InstructionResult::OutOfGas,
            Bytes::new(),
            Gas::new_spent_with_reservoir(gas, inputs.reservoir()),
        );
        self.enter(frame).then(|| CreateOutcome::new(ended, None))
    }

    fn create_end(&mut self, _: &mut C, _: &CreateInputs, outcome: &mut CreateOutcome) {
        self.leave(&outcome.result, outcome.address);
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        let Watch::Calls { only_top: false, .. } = self.watch else { return };
        self.spend(500);
        let gone =
            Frame { kind: "SELFDESTRUCT", from: contract, to: Some(target), value: Some(value), ..Frame::default() };
        self.open.last_mut().map_or(&mut self.done, |parent| &mut parent.calls).push(gone);
    }
}

/// An operation's name as go-ethereum has it.
fn name(code: u8) -> &'static str {
    match OpCode::new(code).map_or("INVALID", OpCode::as_str) {
        "DIFFICULTY" => "PREVRANDAO",
        name => name,
    }
}

/// Why a call failed, in go-ethereum's words.
fn words(end: InstructionResult) -> String {
    use InstructionResult as R;
    match end {
        R::Revert => "execution reverted".into(),
        R::OutOfGas
        | R::MemoryOOG
        | R::MemoryLimitOOG
        | R::PrecompileOOG
        | R::InvalidOperandOOG
        | R::ReentrancySentryOOG => "out of gas".into(),
        R::OutOfFunds => "insufficient balance for transfer".into(),
        R::CallTooDeep => "max call depth exceeded".into(),
        R::InvalidJump => "invalid jump destination".into(),
        R::OpcodeNotFound | R::InvalidFEOpcode | R::NotActivated => "invalid opcode".into(),
        R::StateChangeDuringStaticCall | R::CallNotAllowedInsideStatic => "write protection".into(),
        R::CreateCollision => "contract address collision".into(),
        R::CreateContractSizeLimit => "max code size exceeded".into(),
        R::CreateContractStartingWithEF => "invalid code: must not begin with 0xef".into(),
        R::StackUnderflow => "stack underflow".into(),
        R::StackOverflow => "stack limit reached 1024 (1023)".into(),
        other => format!("{other:?}"),
    }
}
