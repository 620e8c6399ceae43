//! A denylist of a stranger: never a panic, and no rule without a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use talkoo_store::denylist::Denylist;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    let Ok(list) = Denylist::parse(text) else { return };
    assert!(list.len() as u64 + list.malformed <= text.lines().count() as u64);
    let cid = "QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768".parse().expect("a cid");
    for rule in [list.verdict(&cid, path), list.blocks_name(path, path)].into_iter().flatten() {
        assert!(rule.line >= 1);
    }
});
