//! A frame of another node: never a panic, and what is read reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talkoo_base::Network;
use talkoo_node::Message;

fuzz_target!(|bytes: &[u8]| {
    let network = Network::local("fuzz");
    if let Ok(message) = Message::from_bytes(bytes, &network) {
        assert_eq!(Message::from_bytes(&message.to_bytes(), &network), Ok(message));
    }
});
