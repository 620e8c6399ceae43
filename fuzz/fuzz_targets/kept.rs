//! A kept record from a stranger's file: one spelling, and checking it never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talkoo_proof::{Kept, verify_kept};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(kept) = Kept::from_bytes(bytes) {
        assert_eq!(kept.to_bytes(), bytes);
        let _ = verify_kept(&kept);
        let _ = verify_kept(&kept.stripped());
    }
});
