//! A body that a web page posts: read into requests, and their arguments into every type that any method takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talkoo_api::eth::{
    Batch, BlockId, CallRequest, Criteria, Overrides, Params, Percentiles, Request, Slots, TraceOptions,
};

/// Reads the same arguments as `T`; a refusal has the code for it.
fn read<T: Params>(request: &Request) {
    if let Err(why) = T::read(&request.params) {
        assert_eq!(why.code, -32_602);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let requests = match Batch::parse(bytes) {
        Ok(Batch::One(request)) => vec![request],
        Ok(Batch::Many(requests)) => requests,
        Err(why) => return assert!([-32_700, -32_600].contains(&why.code)),
    };
    for request in requests.iter().flatten() {
        read::<(CallRequest, BlockId, Overrides)>(request);
        read::<(CallRequest, BlockId, TraceOptions)>(request);
        read::<(Criteria,)>(request);
        read::<(u64, BlockId, Option<Percentiles>)>(request);
        read::<(alloy_primitives::Address, Slots, BlockId)>(request);
        read::<(alloy_primitives::Bytes, Option<bool>)>(request);
        read::<(alloy_primitives::B256, alloy_primitives::U256, String, u128)>(request);
    }
});
