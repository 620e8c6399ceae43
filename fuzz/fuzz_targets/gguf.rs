//! The header of a model file: never a panic, never more memory than the file could describe.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talkoo_engine::Header;

fuzz_target!(|bytes: &[u8]| {
    let _ = Header::parse(bytes, bytes.len() as u64);
});
