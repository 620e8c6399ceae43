//! Machine scripts: each line is a time, an input, and what must come out, in words.
//! After every input the next wake lies in the future.

use crate::limits::{
    ANSWER_MS_MAX, ASKS_AT_ONCE_MAX, CLIENTS_MAX, HOLD_MS, IDLE_MS, PAUSE_MS, PAUSE_MS_MAX, PEERS_MAX,
    SLOTS_PER_CLIENT_MAX,
};
use crate::*;
use talkoo_base::{Address, ModelOffer, Preferences, RefusalCode, Sort, Tier, Unix};

const ME: u32 = 99;
const MODEL: Digest = Digest([7; 32]);
const PRICE: Price = Price { input: 10, output: 20 };

fn n(number: u32) -> NodeId {
    NodeId::pretended(number)
}

fn number(node: &NodeId) -> u32 {
    u32::from_be_bytes(node.as_bytes()[29..].try_into().unwrap())
}

fn job(number: u8) -> JobId {
    JobId(Digest([number; 32]))
}

fn at(mono: u64) -> Now {
    Now { mono: Mono(mono), unix: Unix(1_000 + mono / 1_000) }
}

fn card(node: u32) -> Card {
    Card {
        version: 1,
        node: n(node),
        operator: Address([1; 20]),
        build: Digest::ZERO,
        models: vec![ModelOffer { program: MODEL, tier: Tier::Exact, context: 2_048, prefill_mtps: 1, decode_mtps: 1 }],
        slots: 2,
        price: PRICE,
        expiry: Unix(1_000_000),
    }
}

fn want(number: u8) -> Wanted {
    Wanted {
        job: job(number),
        program: MODEL,
        tier: Tier::Exact,
        context: 512,
        price_max: PRICE,
        nodes_max: 2,
        own: false,
        prefer: Preferences::default(),
    }
}

fn ask(slots: u32) -> Option<Ask> {
    Some(Ask { programs: [(MODEL, (Tier::Exact, 2_048))].into(), slots, price: PRICE })
}

fn no(code: RefusalCode) -> Refusal {
    Refusal::new(code, "because", "")
}

fn failed(node: u32) -> Input {
    Input::Failed { node: n(node), refusal: no(RefusalCode::Silent) }
}

fn lied(node: u32) -> Input {
    Input::Convicted { node: n(node), refusal: no(RefusalCode::ProvenLiar) }
}

fn says(node: u32, message: Message) -> Input {
    Input::Message { from: n(node), message }
}

fn reserve() -> Message {
    Message::Reserve { program: MODEL, price: PRICE, context: 512 }
}

fn reserved(slots: u32) -> Message {
    Message::Reserved { program: MODEL, slots }
}

fn refused(code: RefusalCode) -> Message {
    Message::Refused { program: MODEL, refusal: no(code) }
}

fn words(effect: &Effect) -> String {
    match effect {
        Effect::Record(Event::Convicted { node, .. }) => format!("record lie of {}", number(node)),
        Effect::Record(Event::Quarantined { build, .. }) => format!("record quarantine of {}", build.0[0]),
        Effect::Send { to, message } => match message {
            Message::Reserve { .. } => format!("reserve {}", number(to)),
            Message::Reserved { slots, .. } => format!("grant {} x{slots}", number(to)),
            Message::Refused { refusal, .. } => format!("refuse {} {}", number(to), refusal.code),
            Message::Release => format!("release {}", number(to)),
        },
        Effect::Meet(node) => format!("meet {}", number(node)),
        Effect::Agreed { job, node, slots, .. } => format!("job {} agreed {} x{slots}", job.0.0[0], number(node)),
        Effect::Lost { job, node, refusal } => format!("job {} lost {} {}", job.0.0[0], number(node), refusal.code),
    }
}

fn play(market: &mut Market, script: &[(u64, Input, &str)]) {
    for (line, (time, input, want)) in script.iter().enumerate() {
        let mut out = Vec::new();
        market.handle(at(*time), input.clone(), &mut out);
        let have: Vec<String> = out.iter().map(words).collect();
        assert_eq!(have.join(", "), *want, "line {line}, at {time}: {input:?}");
        let wake = market.next_wake();
        assert!(wake.is_none_or(|wake| wake > Mono(*time)), "line {line} wakes in the past: {wake:?}");
    }
}

fn check(script: &[(u64, Input, &str)]) -> Market {
    let mut market = Market::new(n(ME));
    play(&mut market, script);
    market
}

/// A market that knows these workers, all of them connected.
fn with_workers(workers: impl IntoIterator<Item = u32>) -> Market {
    let mut market = Market::new(n(ME));
    for worker in workers {
        play(&mut market, &[(0, Input::PeerUp(n(worker)), ""), (0, Input::Card(card(worker)), "")]);
    }
    market
}

fn wake(market: &Market) -> Option<u64> {
    market.next_wake().map(|m| m.0)
}

fn why(market: &Market, node: u32) -> Option<RefusalCode> {
    market.explain(&job(1)).into_iter().find(|(who, _)| *who == n(node)).map(|(_, no)| no.code)
}

#[test]
fn rank_names_the_first_reason_against_a_peer() {
    use RefusalCode::{
        BuildQuarantined, CardExpired, ContextExceeded, Disconnected, NotProviding, PriceAboveMax, ProvenLiar, Silent,
        UnknownModel,
    };
    type Change = fn(&mut Wanted, &mut Peer);
    let cases: &[(&str, u32, Change, Result<u64, RefusalCode>)] = &[
        ("as it should be", 1, |_, _| {}, Ok(1_000)),
        ("our own, not allowed", ME, |_, _| {}, Err(NotProviding)),
        ("our own, allowed, never connected", ME, |w, p| (w.own, p.up) = (true, false), Ok(1_000)),
        ("paused", 1, |_, p| p.standing = Standing::Paused(Mono(1)), Err(Silent)),
        ("a pause that is over", 1, |_, p| p.standing = Standing::Paused(Mono(0)), Ok(1_000)),
        ("a liar", 1, |_, p| p.standing = Standing::Convicted("x".into()), Err(ProvenLiar)),
        ("a liar that is also down", 1, |_, p| *p = liar_down(), Err(ProvenLiar)),
        ("a bad build", 1, |_, p| p.barred = Some("x".into()), Err(BuildQuarantined)),
        ("down", 1, |_, p| p.up = false, Err(Disconnected)),
        ("no card", 1, |_, p| p.card = None, Err(NotProviding)),
        ("expired this second", 1, |_, p| change(p, |c| c.expiry = Unix(1_000)), Err(CardExpired)),
        ("expires next second", 1, |_, p| change(p, |c| c.expiry = Unix(1_001)), Ok(1_000)),
        ("offers nothing", 1, |_, p| change(p, |c| c.slots = 0), Err(NotProviding)),
        ("another model", 1, |w, _| w.program = Digest([8; 32]), Err(UnknownModel)),
        ("another tier", 1, |w, _| w.tier = Tier::Float, Err(UnknownModel)),
        (
            "the float tier",
            1,
            |w, p| (w.tier = Tier::Float, change(p, |c| c.models[0].tier = Tier::Float)).1,
            Ok(1_000),
        ),
        ("no model", 1, |_, p| change(p, |c| c.models.clear()), Err(UnknownModel)),
        ("context just fits", 1, |w, _| w.context = 2_048, Ok(1_000)),
        ("context too short", 1, |w, _| w.context = 2_049, Err(ContextExceeded)),
        ("input too dear", 1, |_, p| change(p, |c| c.price.input += 1), Err(PriceAboveMax)),
        ("output too dear", 1, |_, p| change(p, |c| c.price.output += 1), Err(PriceAboveMax)),
    ];
    for (name, node, edit, expect) in cases {
        let (mut wanted, mut peer) = (want(1), Peer::default());
        (peer.up, peer.card) = (true, Some(card(*node)));
        edit(&mut wanted, &mut peer);
        let have = rank(&wanted, &n(ME), &n(*node), &peer, at(0)).map_err(|no| no.code);
        assert_eq!(have, *expect, "{name}");
    }
}

fn liar_down() -> Peer {
    let mut peer = Peer::default();
    peer.standing = Standing::Convicted("x".into());
    peer
}

fn change(peer: &mut Peer, edit: impl FnOnce(&mut Card)) {
    edit(peer.card.as_mut().unwrap());
}

#[test]
fn measured_speed_ranks_and_failures_halve() {
    let mut market = with_workers([1, 2, 3]);
    play(
        &mut market,
        &[
            (0, Input::Measured { node: n(2), decode_mtps: 50_000 }, ""),
            (0, Input::Measured { node: n(3), decode_mtps: 9_000 }, ""),
            // A blend of 70 % old and 30 % new.
            (0, Input::Measured { node: n(2), decode_mtps: 10_000 }, ""),
            (1, Input::Measured { node: n(4), decode_mtps: 1 }, ""),
            (1, Input::Want(want(1)), "reserve 2, reserve 3"),
        ],
    );
    assert_eq!(market.peer(&n(2)).unwrap().decode_mtps(), Some(38_000));
    assert!(market.peer(&n(4)).is_none(), "a measurement of a stranger opens no entry");
    let huge = Input::Measured { node: n(2), decode_mtps: u64::MAX };
    play(&mut market, &[(2, huge.clone(), ""), (2, huge, "")]);
    // Once it failed, the slower but reliable one is asked before it.
    let mut market = with_workers([1, 2]);
    let one = Wanted { nodes_max: 1, ..want(1) };
    play(
        &mut market,
        &[
            (0, Input::Measured { node: n(2), decode_mtps: 1_900 }, ""),
            (0, failed(2), ""),
            (PAUSE_MS, Input::Want(one), "reserve 1"),
        ],
    );
}

#[test]
fn reservations_are_granted_and_refused_with_a_reason() {
    let other = Digest([8; 32]);
    check(&[
        (0, says(1, reserve()), "refuse 1 not_providing"),
        (0, Input::Provide(ask(3)), ""),
        (0, says(1, Message::Reserve { program: other, price: PRICE, context: 1 }), "refuse 1 unknown_model"),
        (0, says(1, Message::Reserve { program: MODEL, price: PRICE, context: 2_049 }), "refuse 1 context_exceeded"),
        (
            0,
            says(1, Message::Reserve { program: MODEL, price: Price::default(), context: 1 }),
            "refuse 1 price_too_low",
        ),
        (0, says(1, reserve()), "grant 1 x3"),
        (0, says(2, reserve()), "refuse 2 busy"),
        // Asked again, it is still its own.
        (0, says(1, reserve()), "grant 1 x3"),
        (0, says(1, Message::Release), ""),
        (0, says(2, reserve()), "grant 2 x3"),
        (0, Input::PeerDown(n(2)), ""),
        (0, Input::Provide(ask(1_000)), ""),
        (0, says(3, reserve()), "grant 3 x64"),
        (0, says(4, reserve()), "grant 4 x64"),
        (0, Input::Provide(None), ""),
        (0, says(3, reserve()), "refuse 3 not_providing"),
    ]);
    assert_eq!(SLOTS_PER_CLIENT_MAX, 64);
}

#[test]
fn a_worker_has_so_many_clients() {
    let mut market = check(&[(0, Input::Provide(ask(u32::MAX)), "")]);
    for client in 0..u32::try_from(CLIENTS_MAX).unwrap() {
        play(&mut market, &[(0, says(client, reserve()), &format!("grant {client} x64"))]);
    }
    play(&mut market, &[(0, says(90, reserve()), "refuse 90 busy"), (0, says(5, reserve()), "grant 5 x64")]);
    assert_eq!(market.offered().map(|(_, taken)| taken), Some(64 * 64));
}

#[test]
fn a_reservation_lapses_unless_it_is_used() {
    let mut market = check(&[(0, Input::Provide(ask(2)), ""), (0, says(1, reserve()), "grant 1 x2")]);
    assert_eq!(wake(&market), Some(HOLD_MS));
    play(
        &mut market,
        &[
            (HOLD_MS - 1, Input::Used { client: n(1), for_ms: 0 }, ""),
            (HOLD_MS - 1, Input::Used { client: n(2), for_ms: 0 }, ""),
            (HOLD_MS, says(2, reserve()), "refuse 2 busy"),
        ],
    );
    assert!(market.holds(&n(1)) > 0 && market.holds(&n(2)) == 0);
    assert_eq!(wake(&market), Some(2 * HOLD_MS - 1));
    play(&mut market, &[(2 * HOLD_MS - 1, Input::Tick, "")]);
    assert!(market.holds(&n(1)) == 0);
    play(
        &mut market,
        &[
            // Whoever let his slots run out waits, so that others get them.
            (2 * HOLD_MS - 1, says(1, reserve()), "refuse 1 busy"),
            (2 * HOLD_MS - 1, says(2, reserve()), "grant 2 x2"),
            (2 * HOLD_MS, Input::Provide(ask(3)), ""),
            (2 * HOLD_MS + IDLE_MS - 1, says(1, reserve()), "grant 1 x1"),
        ],
    );
}

#[test]
fn a_long_prefill_keeps_its_slot() {
    let mut market = check(&[(0, Input::Provide(ask(2)), ""), (0, says(1, reserve()), "grant 1 x2")]);
    play(&mut market, &[(5, Input::Used { client: n(1), for_ms: 100_000 }, "")]);
    // What comes soon after does not shorten it.
    play(&mut market, &[(6, Input::Used { client: n(1), for_ms: 0 }, ""), (HOLD_MS + 100_004, Input::Tick, "")]);
    assert_eq!(market.holds(&n(1)), 2);
    play(&mut market, &[(HOLD_MS + 100_005, Input::Tick, "")]);
    assert_eq!(market.holds(&n(1)), 0);
}

#[test]
fn asking_again_does_not_make_a_hold_last_longer() {
    let mut market = check(&[(0, Input::Provide(ask(2)), ""), (0, says(1, reserve()), "grant 1 x2")]);
    play(&mut market, &[(HOLD_MS - 1, says(1, reserve()), "grant 1 x2"), (HOLD_MS, Input::Tick, "")]);
    assert_eq!(market.holds(&n(1)), 0);
}

#[test]
fn several_are_asked_at_once_and_each_no_is_kept() {
    use RefusalCode::{Busy, PriceAboveMax, Silent};
    let mut market = with_workers([1, 2, 3, 4]);
    let dear = Card { price: Price { input: 11, output: 20 }, ..card(5) };
    play(
        &mut market,
        &[
            (0, Input::PeerUp(n(5)), ""),
            (0, Input::Card(dear), ""),
            (0, Input::Want(want(1)), "reserve 1, reserve 2"),
            (0, Input::Want(want(1)), ""),
            (10, says(1, refused(Busy)), "reserve 3"),
            (20, says(3, reserved(2)), "job 1 agreed 3 x2"),
            // Late, repeated, never asked, of another model: nothing.
            (21, says(3, reserved(2)), ""),
            (21, says(4, reserved(9)), ""),
            (21, says(2, Message::Reserved { program: Digest([8; 32]), slots: 1 }), ""),
            (ANSWER_MS_MAX, Input::Tick, "reserve 1"),
        ],
    );
    assert_eq!([5, 2, 3, 1].map(|node| why(&market, node)), [Some(PriceAboveMax), Some(Silent), None, None]);
    play(
        &mut market,
        &[
            (ANSWER_MS_MAX + 1, says(2, reserved(1)), ""),
            (ANSWER_MS_MAX + 2, says(1, reserved(1)), "job 1 agreed 1 x1"),
            (ANSWER_MS_MAX + 3, Input::Enough(job(1)), "release 1, release 3"),
            (ANSWER_MS_MAX + 4, Input::Enough(job(1)), ""),
        ],
    );
    assert_eq!(wake(&market), None);
}

#[test]
fn no_more_than_so_many_asks_are_open() {
    let mut market = with_workers(1..=40);
    let mut out = Vec::new();
    market.handle(at(0), Input::Want(Wanted { nodes_max: 1_000, ..want(1) }), &mut out);
    assert_eq!(out.len(), ASKS_AT_ONCE_MAX);
    play(&mut market, &[(1, says(1, reserved(1)), "job 1 agreed 1 x1, reserve 17")]);
}

#[test]
fn a_grant_of_nothing_is_a_no_and_of_everything_is_bounded() {
    let mut market = with_workers([1]);
    play(
        &mut market,
        &[
            (0, Input::Want(want(1)), "reserve 1"),
            // Asked again at once, a peer could keep us asking for ever.
            (1, says(1, reserved(0)), ""),
            (2, says(1, reserved(0)), ""),
            (1 + PAUSE_MS, Input::Tick, "reserve 1"),
            (2 + PAUSE_MS, says(1, reserved(u32::MAX)), "job 1 agreed 1 x64"),
        ],
    );
}

#[test]
fn a_failed_worker_is_lost_by_every_job_and_comes_back() {
    let mut market = with_workers([1]);
    play(
        &mut market,
        &[
            (0, Input::Want(want(1)), "reserve 1"),
            (0, Input::Want(want(2)), "reserve 1"),
            (0, says(1, reserved(2)), "job 1 agreed 1 x2, job 2 agreed 1 x2"),
            (100, failed(1), "job 1 lost 1 silent, job 2 lost 1 silent"),
            (101, Input::Tick, ""),
        ],
    );
    assert_eq!(wake(&market), Some(100 + PAUSE_MS));
    play(&mut market, &[(100 + PAUSE_MS, Input::Tick, "reserve 1, reserve 1")]);
}

#[test]
fn pauses_double_and_good_work_forgives() {
    let mut market = with_workers([1]);
    play(&mut market, &[(0, Input::Want(want(1)), "reserve 1")]);
    let mut now = 0;
    for round in 0..12 {
        let pause = (PAUSE_MS << round).min(PAUSE_MS_MAX);
        play(&mut market, &[(now, failed(1), ""), (now + pause - 1, Input::Tick, "")]);
        now += pause;
        play(&mut market, &[(now, Input::Tick, "reserve 1")]);
    }
    assert_eq!(market.peer(&n(1)).unwrap().failures(), 12);
    play(
        &mut market,
        &[
            (now, Input::Measured { node: n(1), decode_mtps: 1_000 }, ""),
            (now, failed(1), ""),
            (now + PAUSE_MS, Input::Tick, "reserve 1"),
        ],
    );
}

#[test]
fn what_fails_within_a_pause_is_the_same_failure() {
    let mut market = with_workers([1]);
    // Eight leases of one silent worker lapse at once.
    for _ in 0..8 {
        play(&mut market, &[(0, failed(1), "")]);
    }
    assert_eq!(market.peer(&n(1)).unwrap().failures(), 1);
    play(&mut market, &[(PAUSE_MS, Input::Want(want(1)), "reserve 1")]);
}

#[test]
fn a_conviction_is_for_ever_and_survives_a_restart() {
    let mut market = with_workers([1, 2]);
    play(
        &mut market,
        &[
            (0, Input::Want(want(1)), "reserve 1, reserve 2"),
            (1, says(1, reserved(1)), "job 1 agreed 1 x1"),
            (2, lied(1), "record lie of 1, job 1 lost 1 proven_liar"),
            (3, failed(1), ""),
            (4, Input::Measured { node: n(1), decode_mtps: 1 << 40 }, ""),
            (5, Input::PeerDown(n(1)), ""),
            (6, Input::PeerUp(n(1)), ""),
            (7, Input::Card(card(1)), ""),
            (8, says(1, reserved(1)), ""),
            (9 + PAUSE_MS_MAX, Input::Want(want(2)), "reserve 2"),
        ],
    );
    assert_eq!(why(&market, 1), Some(RefusalCode::ProvenLiar));

    let mut again = Market::new(n(ME));
    again.apply(&Event::Convicted { node: n(1), why: "because".into() });
    play(
        &mut again,
        &[
            (0, Input::PeerUp(n(1)), ""),
            (0, Input::Card(card(1)), ""),
            (0, Input::Want(want(1)), ""),
            (1, failed(1), ""),
            (PAUSE_MS_MAX, Input::Tick, ""),
        ],
    );
    assert_eq!(again.peer(&n(1)).unwrap().standing, Standing::Convicted("because".into()));
    assert_eq!(why(&again, 1), Some(RefusalCode::ProvenLiar));
}

#[test]
fn a_lost_connection_is_a_lost_worker_until_it_is_back() {
    let mut market = with_workers([1]);
    play(
        &mut market,
        &[
            (0, Input::Want(want(1)), "reserve 1"),
            (1, says(1, reserved(1)), "job 1 agreed 1 x1"),
            (2, Input::PeerDown(n(1)), "job 1 lost 1 disconnected, meet 1"),
            (3, Input::PeerDown(n(8)), ""),
            (4, Input::PeerUp(n(1)), "reserve 1"),
            (5, Input::PeerDown(n(1)), ""),
        ],
    );
    assert_eq!(why(&market, 1), Some(RefusalCode::Disconnected));
}

#[test]
fn an_older_card_does_not_undo_a_newer_one() {
    let newer = Card { slots: 0, expiry: Unix(1_000_001), ..card(1) };
    check(&[
        (0, Input::PeerUp(n(1)), ""),
        (0, Input::Card(newer), ""),
        (0, Input::Card(card(1)), ""),
        (0, Input::Want(want(1)), ""),
    ]);
}

#[test]
fn slots_that_another_job_uses_or_asks_for_are_not_given_back() {
    let mut market = with_workers([1]);
    play(
        &mut market,
        &[
            (0, Input::Want(want(1)), "reserve 1"),
            (1, says(1, reserved(1)), "job 1 agreed 1 x1"),
            // Job 2 asks while job 1 ends: a release sent now would undo the grant that is on its way.
            (2, Input::Want(want(2)), "reserve 1"),
            (3, Input::Enough(job(1)), ""),
            (4, says(1, reserved(1)), "job 2 agreed 1 x1"),
            (5, Input::Want(want(3)), "reserve 1"),
            (6, says(1, reserved(1)), "job 3 agreed 1 x1"),
            (7, Input::Enough(job(2)), ""),
            (8, Input::Enough(job(3)), "release 1"),
        ],
    );
}

#[test]
fn our_own_node_works_for_us_if_it_may() {
    let own = Wanted { own: true, ..want(1) };
    let mut market = check(&[
        (0, Input::Provide(ask(2)), ""),
        (0, Input::Card(card(ME)), ""),
        (0, Input::Want(want(2)), ""),
        (0, Input::Want(own), "reserve 99"),
        (0, says(ME, reserve()), "grant 99 x2"),
        (0, says(ME, reserved(2)), "job 1 agreed 99 x2"),
    ]);
    assert!(market.holds(&n(ME)) > 0);
    play(&mut market, &[(1, Input::Enough(job(1)), "")]);
    assert!(market.holds(&n(ME)) == 0, "released without a message");
}

#[test]
fn a_full_book_forgets_the_idle_and_nobody_else() {
    let mut market =
        check(&[(0, Input::Card(card(ME)), ""), (0, Input::PeerUp(n(1)), ""), (0, lied(2), "record lie of 2")]);
    for idle in 100..97 + u32::try_from(PEERS_MAX).unwrap() {
        play(&mut market, &[(0, Input::PeerUp(n(idle)), ""), (0, Input::PeerDown(n(idle)), "")]);
    }
    assert_eq!(market.peers().count(), PEERS_MAX);
    // One that is known makes no room and loses nothing.
    play(&mut market, &[(0, Input::PeerUp(n(100)), ""), (0, Input::Card(card(101)), "")]);
    assert_eq!(market.peers().count(), PEERS_MAX);
    play(&mut market, &[(0, Input::PeerUp(n(50_000)), "")]);
    let left: Vec<u32> = market.peers().map(|(node, _)| number(node)).collect();
    assert_eq!(left, [1, 2, ME, 100, 50_000]);
}

fn liking(prefer: Preferences) -> Wanted {
    Wanted { prefer, nodes_max: 8, ..want(1) }
}

/// Nodes 1 to 4, of operators 1 to 4, each dearer, faster and later to begin than the one before.
fn shops() -> Market {
    let mut market = Market::new(n(0));
    for node in 1..=4_u32 {
        let speed = u64::from(node) * 1_000;
        let offer = ModelOffer { prefill_mtps: 10_000 - speed, decode_mtps: speed, ..card(node).models[0].clone() };
        let step = u128::from(node) - 1;
        let price = Price { input: PRICE.input - 4 + step, output: PRICE.output - 4 + step };
        let card = Card { operator: Address([node as u8; 20]), models: vec![offer], price, ..card(node) };
        market.handle(at(0), Input::PeerUp(n(node)), &mut Vec::new());
        market.handle(at(0), Input::Card(card), &mut Vec::new());
    }
    market
}

#[test]
fn a_buyer_s_wishes_choose_and_order_workers() {
    let (all, names) =
        (Preferences::default(), |list: &[u8]| list.iter().map(|n| Address([*n; 20])).collect::<Vec<_>>());
    let cases = [
        (Preferences { sort: Some(Sort::Price), ..all.clone() }, vec![1, 2, 3, 4]),
        (Preferences { sort: Some(Sort::Throughput), ..all.clone() }, vec![4, 3, 2, 1]),
        (Preferences { sort: Some(Sort::Latency), ..all.clone() }, vec![1, 2, 3, 4]),
        (Preferences { only: names(&[2, 3]), ..all.clone() }, vec![2, 3]),
        (Preferences { ignore: names(&[2, 3]), ..all.clone() }, vec![1, 4]),
        (Preferences { order: names(&[3, 1]), ..all.clone() }, vec![3, 1, 2, 4]),
        (Preferences { order: names(&[3, 1]), sort: Some(Sort::Throughput), ..all.clone() }, vec![3, 1, 4, 2]),
        (Preferences { order: names(&[3, 1]), allow_fallbacks: false, ..all.clone() }, vec![3, 1]),
        // A node is meant by its own name, too.
        (Preferences { only: vec![n(4).address()], ..all.clone() }, vec![4]),
        (Preferences { only: names(&[1]), ignore: names(&[1]), ..all }, vec![]),
    ];
    for (prefer, want) in cases {
        let quote = shops().quote(at(0), &liking(prefer.clone()), &[]);
        let got: Vec<NodeId> = quote.workers.iter().map(|(node, ..)| *node).collect();
        assert_eq!(got, want.into_iter().map(n).collect::<Vec<_>>(), "{prefer:?}");
        assert!(quote.refused.iter().all(|(_, why)| why.code == RefusalCode::NotWanted), "{prefer:?}");
    }
}

#[test]
fn a_quote_says_time_and_cost() {
    let sizes = [Size { input: 100, output: 1_000 }, Size { input: 100, output: 1_000 }];
    let quote = shops().quote(at(0), &liking(Preferences::default()), &sizes);
    // The longest step alone on the fastest takes longer than all of them together.
    let alone =
        |output: u64, worker: u64| output * 1_000_000 / (worker * 1_000) + 100_000_000 / (10_000 - worker * 1_000);
    assert_eq!((quote.p50_ms, quote.p95_ms), (Some(alone(500, 4)), Some(alone(1_000, 3))));
    let dearest = Price { input: PRICE.input - 1, output: PRICE.output - 1 };
    assert_eq!(quote.cost, dearest.owed(100, 1_000) + dearest.owed(100, 1_000));
    assert_eq!(quote.cost_max, PRICE.owed(100, 1_000) + PRICE.owed(100, 1_000));
    let nobody = Preferences { only: vec![Address([9; 20])], ..Preferences::default() };
    let quote = shops().quote(at(0), &liking(nobody), &sizes);
    assert_eq!((quote.p50_ms, quote.p95_ms, quote.cost.0), (None, None, 0));
}

#[test]
fn reasons_are_counted() {
    let no = |code, need: u32, have: u32| Refusal::new(code, "because", "do this").with(need, have);
    let all = [
        no(RefusalCode::ContextExceeded, 4_096, 512),
        no(RefusalCode::PriceAboveMax, 30, 20),
        no(RefusalCode::ContextExceeded, 4_096, 2_048),
        no(RefusalCode::PriceAboveMax, 25, 20),
        no(RefusalCode::ContextExceeded, 4_096, 1_024),
        Refusal::new(RefusalCode::Silent, "because", ""),
    ];
    let rows = summarise(all.iter());
    let told = "6 nodes: 3 context_exceeded (need 4096, best 2048), 2 price_above_max (need 20, best 25), 1 silent";
    assert_eq!(line(&rows), told);
    assert_eq!(line(&[]), "no node");
}

#[test]
fn a_worker_knows_what_it_lost() {
    let mut market = Market::new(n(0));
    market.handle(at(0), Input::Provide(ask(1)), &mut Vec::new());
    let reserve =
        |context, output| Message::Reserve { program: MODEL, price: Price { input: PRICE.input, output }, context };
    let asked =
        [(1, 512, PRICE.output - 2), (2, 512, PRICE.output - 1), (3, 9_999, PRICE.output), (4, 512, PRICE.output)];
    for (client, context, output) in asked {
        market.handle(at(0), says(client, reserve(context, output)), &mut Vec::new());
    }
    let lost: Vec<(RefusalCode, usize)> = market.lost().iter().map(|row| (row.code, row.count)).collect();
    assert_eq!(lost, [(RefusalCode::PriceTooLow, 2), (RefusalCode::ContextExceeded, 1)]);
}

#[test]
fn a_price_follows_demand_within_its_bounds() {
    let all = |n: u128| Price { input: n, output: n };
    let bounds = [all(40), all(100)];
    // The price, slots taken of two, clients refused for want of slots, for the price: the next price.
    let cases = [
        (80, 2, 1, 0, 90),
        (80, 2, 0, 5, 80),
        (80, 1, 0, 1, 70),
        (80, 1, 3, 0, 80),
        (80, 0, 0, 0, 80),
        (98, 2, 9, 0, 100),
        (42, 0, 0, 9, 40),
        (10, 0, 0, 0, 40),
        (999, 1, 0, 0, 100),
        (41, 2, 1, 1, 46),
    ];
    for (now, taken, busy, too_dear, want) in cases {
        let ask = Ask { price: all(now), ..ask(2).unwrap() };
        let next = next_price(&ask, taken, Demand { busy, too_dear }, &bounds);
        assert_eq!(next, all(want), "{now} {taken} {busy} {too_dear}");
    }
    let free = [all(0), all(u128::MAX)];
    let ask = Ask { price: all(0), ..ask(2).unwrap() };
    assert_eq!(next_price(&ask, 2, Demand { busy: 1, too_dear: 0 }, &free), all(1), "also nothing can grow");
}

#[test]
fn a_build_in_quarantine_is_left_alone_until_it_is_another() {
    let quarantined = Input::Quarantined { build: Digest::ZERO, refusal: no(RefusalCode::BuildQuarantined) };
    let updated = || Input::Card(Card { build: Digest([2; 32]), expiry: Unix(1_000_001), ..card(1) });
    let mut market = Market::new(n(ME));
    play(
        &mut market,
        &[
            (0, Input::PeerUp(n(1)), ""),
            (0, Input::Card(card(1)), ""),
            (0, Input::Want(want(1)), "reserve 1"),
            (1, says(1, reserved(1)), "job 1 agreed 1 x1"),
            (2, quarantined, "record quarantine of 0, job 1 lost 1 build_quarantined"),
            (3, Input::PeerUp(n(2)), ""),
            (3, Input::Card(card(2)), ""),
        ],
    );
    assert_eq!(why(&market, 1), Some(RefusalCode::BuildQuarantined));
    play(&mut market, &[(4, updated(), "reserve 1")]);
    let mut again = Market::new(n(ME));
    market.history().for_each(|event| again.apply(&event));
    play(&mut again, &[(0, Input::PeerUp(n(2)), ""), (0, Input::Card(card(2)), ""), (0, Input::Want(want(1)), "")]);
    assert_eq!(again.peer(&n(2)).unwrap().barred.as_deref(), Some("because"));
}
