use super::*;
use crate::block::RAW;
use proptest::collection::vec;
use proptest::prelude::*;

fn block(seed: &[u8]) -> Block {
    Block::of(RAW, Bytes::copy_from_slice(seed)).unwrap()
}

fn any_cid() -> impl Strategy<Value = Cid> {
    vec(any::<u8>(), 0..8).prop_map(|seed| *block(&seed).cid())
}

fn any_want() -> impl Strategy<Value = Want> {
    let kind = prop_oneof![Just(WantKind::Block), Just(WantKind::Have)];
    (any_cid(), any::<i32>(), any::<bool>(), kind, any::<bool>())
        .prop_map(|(cid, priority, cancel, kind, send_dont_have)| Want { cid, priority, cancel, kind, send_dont_have })
}

fn any_message() -> impl Strategy<Value = Message> {
    let payload = vec(any::<u8>(), 0..2000).prop_map(|data| Payload::of(&block(&data)));
    let presence = (any_cid(), any::<bool>()).prop_map(|(cid, have)| Presence { cid, have });
    (any::<bool>(), vec(any_want(), 0..5), vec(payload, 0..4), vec(presence, 0..5), any::<i32>()).prop_map(
        |(full, wants, payloads, presences, pending_bytes)| Message { full, wants, payloads, presences, pending_bytes },
    )
}

proptest! {
    #[test]
    fn round_trip(message in any_message()) {
        let bytes = Bytes::from(message.encode());
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Message::decode(&Bytes::from(bytes));
    }

    #[test]
    fn damaged_messages_never_panic(message in any_message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = message.encode();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(message) = Message::decode(&Bytes::from(bytes)) {
            for payload in message.payloads {
                let _ = payload.into_block();
            }
        }
    }
}

#[test]
fn golden_bytes() {
    let cid = *block(b"hello world").cid();
    let message = Message {
        wants: vec![Want::new(cid, WantKind::Have), Want::cancel(cid)],
        payloads: vec![Payload::of(&block(b"hi"))],
        presences: vec![Presence { cid, have: false }],
        ..Message::default()
    };
    let golden = concat!(
        "0a5a0a2c0a2401551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
        "1001200128010a2a0a2401551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
        "10001801",
        "1a0a0a04015512201202686922280a2401551220",
        "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde91001",
    );
    let hex: String = message.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden);
}

#[test]
fn a_payload_names_itself_by_its_hash() {
    let good = Payload::of(&block(b"hi"));
    assert_eq!(good.clone().into_block(), Ok(block(b"hi")));
    let other_hash = Payload { prefix: CidPrefix { hash: 0x1b, ..good.prefix }, ..good.clone() };
    assert_eq!(other_hash.into_block(), Err(BlockError::UnsupportedHash { code: 0x1b }));
    let truncated = Payload { prefix: CidPrefix { digest_bytes: 4, ..good.prefix }, ..good };
    assert_eq!(truncated.into_block(), Err(BlockError::UnsupportedHash { code: 0x12 }));
}

#[test]
fn caps_are_typed_errors() {
    let cid = *block(b"x").cid();
    let wants = vec![Want::new(cid, WantKind::Block); WANT_ENTRIES_MAX + 1];
    let message = Message { wants, ..Message::default() };
    assert_eq!(Message::decode(&message.encode().into()), Err(MessageError::TooManyEntries));
    let presences = vec![Presence { cid, have: true }; ANSWER_ENTRIES_MAX + 1];
    let message = Message { presences, ..Message::default() };
    assert_eq!(Message::decode(&message.encode().into()), Err(MessageError::TooManyEntries));
    let bytes = MESSAGE_BYTES_MAX + 1;
    assert_eq!(Message::decode(&vec![0; bytes].into()), Err(MessageError::TooLarge { bytes }));
}
