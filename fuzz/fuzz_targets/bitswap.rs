//! A bitswap message of another peer: never a panic, and what is read reads back the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use talkoo_store::bitswap::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::decode(&Bytes::copy_from_slice(bytes)) {
        assert_eq!(Message::decode(&Bytes::from(message.encode())), Ok(message));
    }
});
