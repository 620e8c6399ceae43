//! A frame of another validator: one spelling, and whatever a stranger sends begins nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talkoo_base::{Network, Now, SecretKey, Signer, Validator};
use talkoo_chain::{Chain, Effect, Event, Input, Message};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = Event::from_bytes(bytes) {
        assert_eq!(event.to_bytes(), bytes);
    }
    let Ok(message) = Message::from_bytes(bytes) else { return };
    assert_eq!(message.to_bytes(), bytes);
    let key = |n| SecretKey::from_bytes(&[n; 32]).expect("small numbers are keys");
    let (address, stranger) = (key(1).address(), key(2).node_id());
    let set = [Validator { address, power: 1 }];
    let mut chain = Chain::new(Box::new(key(1)), Network::local("fuzz"), 1, &set);
    let mut out = Vec::new();
    chain.handle(Now::default(), Input::PeerUp(stranger), &mut out);
    chain.handle(Now::default(), Input::Message { from: stranger, message }, &mut out);
    assert!(!out.iter().any(|e| matches!(e, Effect::Record(_) | Effect::Propose { .. } | Effect::Validate { .. })));
});
