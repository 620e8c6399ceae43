//! A CAR file of a stranger, in portions: never a panic, every block is what its CID says, and what is
//! read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talkoo_store::Block;
use talkoo_store::car::{Decoder, Item, frame, header};

fn read(car: &[u8], portion: usize) -> (Vec<Item>, bool) {
    let (mut decoder, mut items) = (Decoder::default(), Vec::new());
    for part in car.chunks(portion) {
        decoder.push(part);
        loop {
            match decoder.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(_) => return (items, false),
            }
        }
    }
    (items, decoder.finish().is_ok())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (portion, bytes) = input;
    let (items, is_whole) = read(bytes, usize::from(portion) + 1);
    assert_eq!((&items, is_whole), (&read(bytes, bytes.len().max(1)).0, is_whole));
    let mut again = Vec::new();
    for item in &items {
        match item {
            Item::Roots(roots) => again.extend(header(roots)),
            Item::Block(block) => {
                assert!(Block::verified(*block.cid(), block.bytes().clone()).is_ok());
                again.extend(frame(block));
            }
        }
    }
    if is_whole {
        assert_eq!(read(&again, 7), (items, true));
    }
});
