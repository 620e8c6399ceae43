use super::*;
use crate::block::RAW;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

const A: PeerRef = PeerRef(1);
const B: PeerRef = PeerRef(2);
const C: PeerRef = PeerRef(3);

fn block(n: u8) -> Block {
    Block::of(RAW, Bytes::copy_from_slice(&[n])).unwrap()
}

fn cid(n: u8) -> Cid {
    *block(n).cid()
}

fn get(n: u8) -> Input {
    Input::Get { cid: cid(n), deadline: Mono(10_000) }
}

fn says(peer: PeerRef, n: u8, have: bool) -> Input {
    Input::Presence { peer, cid: cid(n), have }
}

fn gives(peer: PeerRef, n: u8) -> Input {
    Input::Block { peer, block: block(n) }
}

fn have(peer: PeerRef, n: u8) -> Output {
    Output::Want { peer, cid: cid(n), kind: WantKind::Have }
}

fn want(peer: PeerRef, n: u8) -> Output {
    Output::Want { peer, cid: cid(n), kind: WantKind::Block }
}

fn cancel(peer: PeerRef, n: u8) -> Output {
    Output::Cancel { peer, cid: cid(n) }
}

fn missed(n: u8, asked: usize, denied: usize) -> Output {
    Output::Missed { cid: cid(n), asked, denied }
}

/// Plays a script of (time, input, what follows).
fn check(name: &str, script: Vec<(u64, Input, Vec<Output>)>) {
    let mut session = Session::default();
    for (step, (at, input, expected)) in script.into_iter().enumerate() {
        let mut out = Vec::new();
        session.handle(Mono(at), input, &mut out);
        assert_eq!(out, expected, "{name}, step {step}");
    }
}

#[test]
fn who_has_it_is_asked_and_then_asked_first() {
    check(
        "two peers",
        vec![
            (0, Input::PeerUp(A), vec![]),
            (0, Input::PeerUp(B), vec![]),
            (0, get(1), vec![have(A, 1), have(B, 1)]),
            (5, says(B, 1, true), vec![want(B, 1)]),
            (6, says(A, 1, true), vec![]),
            (9, gives(B, 1), vec![cancel(B, 1), Output::Got(block(1))]),
            // The next block: no round trip for the question.
            (10, get(2), vec![want(B, 2)]),
            (20, gives(B, 2), vec![cancel(B, 2), Output::Got(block(2))]),
            // And when it has not got this one, everybody is asked.
            (30, get(3), vec![want(B, 3)]),
            (31, says(B, 3, false), vec![have(A, 3)]),
            (32, says(A, 3, true), vec![want(A, 3)]),
            (33, gives(A, 3), vec![cancel(A, 3), Output::Got(block(3))]),
            // Of two that gave, the one that gave more is asked, the other whether it has it.
            (40, get(4), vec![want(B, 4), have(A, 4)]),
            (41, Input::Forget(cid(4)), vec![cancel(A, 4), cancel(B, 4)]),
            (42, gives(B, 4), vec![]),
        ],
    );
}

#[test]
fn a_lonely_peer_is_asked_for_the_block_at_once() {
    check(
        "one peer",
        vec![
            (0, Input::PeerUp(A), vec![]),
            (0, get(1), vec![want(A, 1)]),
            (1, says(A, 1, false), vec![Output::Search]),
            (2, Input::Searched { coming: 0 }, vec![missed(1, 1, 1)]),
            (3, get(1), vec![want(A, 1)]),
            (4, says(A, 1, false), vec![missed(1, 1, 1)]),
        ],
    );
}

#[test]
fn slow_and_lost_peers_are_replaced_and_deadlines_end_it() {
    check(
        "slow",
        vec![
            (0, get(1), vec![Output::Search]),
            (1, Input::Searched { coming: 1 }, vec![]),
            (2, Input::PeerUp(A), vec![want(A, 1)]),
            (3, Input::PeerUp(B), vec![]),
            (500, Input::Tick, vec![]),
            (1_100, Input::Tick, vec![have(B, 1)]),
            (1_101, says(B, 1, true), vec![want(B, 1)]),
            (1_200, Input::PeerUp(C), vec![have(C, 1)]),
            (1_300, Input::PeerGone(B), vec![]),
            (1_301, says(C, 1, true), vec![want(C, 1)]),
            (9_999, Input::Tick, vec![]),
            (10_000, Input::Tick, vec![cancel(A, 1), cancel(C, 1), missed(1, 2, 0)]),
            (10_001, Input::Tick, vec![]),
        ],
    );
}

#[test]
fn what_nobody_asked_for_changes_nothing() {
    check(
        "strange",
        vec![
            (0, Input::PeerUp(A), vec![]),
            (0, gives(A, 9), vec![]),
            (0, says(A, 9, true), vec![]),
            (0, says(B, 9, true), vec![]),
            (0, get(1), vec![want(A, 1)]),
            (1, says(B, 1, true), vec![]),
            (1, says(A, 1, true), vec![]),
            (1, Input::PeerGone(C), vec![]),
        ],
    );
}

fn any_input() -> impl Strategy<Value = Input> {
    let (peer, n) = (|| (0..4u32).prop_map(PeerRef), || 0..4u8);
    prop_oneof![
        (n(), 0..3_000u64).prop_map(|(n, deadline)| Input::Get { cid: cid(n), deadline: Mono(deadline) }),
        n().prop_map(|n| Input::Forget(cid(n))),
        peer().prop_map(Input::PeerUp),
        peer().prop_map(Input::PeerGone),
        (peer(), n(), any::<bool>()).prop_map(|(peer, n, have)| says(peer, n, have)),
        (peer(), n()).prop_map(|(peer, n)| gives(peer, n)),
        (0..3usize).prop_map(|coming| Input::Searched { coming }),
    ]
}

proptest! {
    #[test]
    fn every_wait_ends_in_time_and_asks_nobody_twice_for_a_block(inputs in vec((0..100u64, any_input()), 0..60)) {
        let (mut session, mut now, mut out) = (Session::default(), 0, Vec::new());
        let mut open = std::collections::BTreeSet::new();
        for (later, input) in inputs.into_iter().chain([(10_000, Input::Tick)]) {
            now += later;
            // Who is gone or has denied a block may be asked for it again.
            match &input {
                Input::PeerGone(gone) => open.retain(|(_, peer)| peer != gone),
                Input::Presence { peer, cid, have: false } => _ = open.remove(&(*cid, *peer)),
                _ => {}
            }
            session.handle(Mono(now), input, &mut out);
            for output in out.drain(..) {
                match output {
                    Output::Want { peer, cid, kind: WantKind::Block } => prop_assert!(open.insert((cid, peer))),
                    Output::Want { .. } | Output::Search => {}
                    Output::Cancel { peer, cid } => _ = open.remove(&(cid, peer)),
                    Output::Got(block) => open.retain(|(cid, _)| cid != block.cid()),
                    Output::Missed { cid, .. } => open.retain(|(open, _)| *open != cid),
                }
            }
        }
        prop_assert_eq!(session.wanted().count(), 0);
    }
}
