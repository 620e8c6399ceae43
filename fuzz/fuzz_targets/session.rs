//! What peers say during a session, in any order: never a panic, and every wait ends by its deadline.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use talkoo_base::Mono;
use talkoo_store::fetch::PeerRef;
use talkoo_store::session::{Input, Output, Session};
use talkoo_store::{Block, RAW};

fuzz_target!(|bytes: &[u8]| {
    let (mut session, mut now, mut out) = (Session::default(), 0, Vec::new());
    for step in bytes.chunks_exact(3) {
        let (peer, n) = (PeerRef(u32::from(step[1] % 8)), step[2] % 8);
        let block = Block::of(RAW, Bytes::copy_from_slice(&[n])).expect("one byte is a block");
        let cid = *block.cid();
        now += u64::from(step[1]);
        let input = match step[0] % 9 {
            0 => Input::Get { cid, deadline: Mono(now + 16 * u64::from(n)) },
            1 => Input::Forget(cid),
            2 => Input::PeerUp(peer),
            3 => Input::PeerGone(peer),
            4 => Input::Presence { peer, cid, have: true },
            5 => Input::Presence { peer, cid, have: false },
            6 => Input::Block { peer, block },
            7 => Input::Searched { coming: usize::from(n) },
            _ => Input::Tick,
        };
        session.handle(Mono(now), input, &mut out);
        let asked = |wanted: &Output| matches!(wanted, Output::Want { .. } | Output::Cancel { .. });
        assert!(out.iter().filter(|output| asked(output)).count() <= 8 * 8 * 8, "a step asks a bounded number of times");
        out.clear();
    }
    session.handle(Mono(now + 1_000), Input::Tick, &mut out);
    assert_eq!(session.wanted().count(), 0, "every deadline is over");
});
