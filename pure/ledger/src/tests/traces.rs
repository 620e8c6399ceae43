//! Transactions and calls that are watched.

use super::*;

const ALL: StepParts = StepParts { stack: true, memory: true, storage: true, return_data: true, limit: 0 };
const CALLS: Watch = Watch::Calls { only_top: false, with_logs: true };
const CALLER_AT: Address = Address::repeat_byte(0x53);
/// Calls `calldataload(0)` as an address, with all gas and the same data, and drops what comes of it.
const CALLER: [u8; 16] =
    [0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x5f, 0x36, 0x5f, 0x5f, 0x5f, 0x35, 0x5a, 0xf1, 0x5f, 0x5f, 0xfd];

/// Gives `CALLER_AT` a code.
fn coded(code: &[u8]) -> BTreeMap<Address, Override> {
    [(CALLER_AT, Override { code: Some(Bytes::copy_from_slice(code)), ..Override::default() })].into()
}

impl super::Chain {
    /// As `extend`, and the block lies in the store, with its state.
    fn extend_and_keep(&mut self, candidates: Vec<SignedBy>) -> Executed {
        let (executed, _) = self.extend(candidates);
        let mut writes = crate::store::record(&executed, Vec::new());
        self.head.state.save(&mut writes);
        self.kv.write(writes);
        executed
    }
}

#[test]
fn a_transaction_of_long_ago_runs_again_as_it_did() {
    let mut chain = super::Chain::new();
    chain.extend_and_keep(vec![sign(1, plain(0, address(2), 1, &[]))]);
    let first = vec![sign(0, store(0, 2, 9)), sign(0, plain(1, address(3), 5, &[])), sign(1, store(1, 2, 8))];
    let executed = chain.extend_and_keep(first);
    // Since then everything it touched became something else.
    chain.extend_and_keep(vec![sign(0, store(2, 2, 0)), sign(1, plain(2, address(0), 500, &[]))]);
    let total = |n: usize| executed.receipts[n].cumulative_gas_used();
    for (index, value) in [(0, 9u64), (2, 8)] {
        let trace = chain.reader(|r| r.trace_transaction(2, index, Watch::Steps(ALL))).unwrap();
        let Trace::Steps { success, gas_used, steps, .. } = trace else { panic!("{trace:?}") };
        assert_eq!((success, gas_used), (true, total(index) - index.checked_sub(1).map_or(0, total)));
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        assert_eq!(names, ["PUSH1", "CALLDATALOAD", "PUSH0", "CALLDATALOAD", "SSTORE", "STOP"]);
        assert_eq!(steps[4].storage, Some([(U256::from(2), U256::from(value))].into()));
        assert_eq!(steps[4].stack, Some(vec![U256::from(value), U256::from(2)]));
        assert_eq!(steps[4].gas - steps[4].cost, steps[5].gas);
    }
    let trace = chain.reader(|r| r.trace_transaction(2, 1, CALLS)).unwrap();
    let Trace::Calls(frame) = trace else { panic!("{trace:?}") };
    assert_eq!((frame.kind, frame.to, frame.value), ("CALL", Some(address(3)), Some(U256::from(5))));
    assert_eq!((frame.gas, frame.gas_used, frame.error), (200_000, 21_000, None));
    // A block of before anything was kept.
    chain.kv.0.remove([b"P".as_slice(), &2u64.to_be_bytes()].concat().as_slice());
    assert_eq!(chain.reader(|r| r.trace_transaction(2, 1, CALLS)), Err(TraceError::Gone(2)));
}

#[test]
fn calls_are_told_as_a_tree() {
    let mut chain = super::Chain::new();
    let input = |to: Address| Bytes::from([&[0; 12][..], to.as_slice()].concat());
    let call = |to| Call { from: address(0), to: Some(CALLER_AT), data: input(to), ..Call::default() };
    let told = |chain: &mut super::Chain, call: &Call, watch| {
        chain.reader(|r| r.trace_call(call, &coded(&CALLER), watch)).unwrap()
    };
    let Trace::Calls(top) = told(&mut chain, &call(STORE_AT), CALLS) else { panic!() };
    assert_eq!((top.error.as_deref(), top.calls.len()), (Some("execution reverted"), 1));
    let inner = &top.calls[0];
    assert_eq!((inner.from, inner.to, &inner.input), (CALLER_AT, Some(STORE_AT), &input(STORE_AT)));
    assert_eq!((&inner.error, inner.calls.len()), (&None, 0));
    // It calls itself until the gas for another call is gone: deeper than anybody reads.
    let deep = chain.reader(|r| r.trace_call(&call(CALLER_AT), &coded(&CALLER), CALLS));
    assert_eq!(deep, Err(TraceError::Long));
    let only = told(&mut chain, &call(CALLER_AT), Watch::Calls { only_top: true, with_logs: false });
    assert!(matches!(only, Trace::Calls(frame) if frame.calls.is_empty() && frame.gas_used > 50_000));
}

#[test]
fn a_trace_that_grows_too_long_ends() {
    let mut chain = super::Chain::new();
    let call = |data| Call { from: address(0), to: Some(CALLER_AT), data, ..Call::default() };
    // `for (;;) {}`; and one that sends a megabyte to nobody, over and over.
    let looping = [0x5b, 0x5f, 0x56];
    let sending = [0x5b, 0x5f, 0x5f, 0x62, 0x10, 0, 0, 0x5f, 0x5f, 0x60, 0x99, 0x5a, 0xf1, 0x50, 0x5f, 0x56];
    for (code, watch, is_long) in [
        (&looping[..], Watch::Steps(ALL), true),
        (&looping, Watch::Steps(StepParts { limit: 10, ..ALL }), false),
        (&looping, CALLS, false),
        (&sending, CALLS, true),
    ] {
        let told = chain.reader(|r| r.trace_call(&call(Bytes::new()), &coded(code), watch));
        assert_eq!(told.as_ref().err() == Some(&TraceError::Long), is_long, "{watch:?}");
        match told {
            Ok(Trace::Steps { steps, success, .. }) => assert_eq!((steps.len(), success), (10, false)),
            Ok(Trace::Calls(frame)) => assert_eq!(frame.error.as_deref(), Some("out of gas")),
            Err(_) => {}
        }
    }
}

#[test]
fn an_access_list_names_what_a_call_touches_and_makes_it_cheaper() {
    let mut chain = super::Chain::new();
    let data = Bytes::from([&[0; 12][..], STORE_AT.as_slice(), &[0; 32]].concat());
    let call = Call { from: address(0), to: Some(CALLER_AT), data, ..Call::default() };
    let (list, outcome) = chain.reader(|r| r.access_list(&call, &coded(&CALLER))).unwrap();
    let slot = B256::from(U256::from_be_slice(STORE_AT.as_slice()));
    assert_eq!(list.0, [AccessListItem { address: STORE_AT, storage_keys: vec![slot] }]);
    let listed = Call { access_list: list, ..call };
    assert_eq!(chain.reader(|r| r.call(&listed, &coded(&CALLER))).unwrap().gas_used, outcome.gas_used);
    // Whoever is called, calls or is paid is known without a list.
    let (list, _) =
        chain.reader(|r| r.access_list(&Call { to: Some(address(1)), ..Call::default() }, &coded(&[]))).unwrap();
    assert!(list.0.is_empty());
}
