//! Messages and events as bytes: one spelling each, none of which may change unnoticed.

use super::{JOB, MODEL, delegation, id, key, net, price, spec};
use crate::{Event, Hello, Message};
use proptest::prelude::*;
use talkoo_base::wire::{DecodeError, VERSION, cid_of};
use talkoo_base::{
    Amount, AuditPolicy, Card, ChannelConfig, Digest, Finish, Kind, LeaseId, Limits, Logprobs, ModelOffer, Receipt,
    Refusal, RefusalCode, Request, Signed, Signer, Tier, TokenLogprobs, Unit, Unix, Voucher,
};
use talkoo_job::JobSpec;
use talkoo_job::wire::DoneWire;
use talkoo_market::Message as M;
use talkoo_proof::{Answer, Chunk, Message as P, Order};

fn d(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn lease() -> LeaseId {
    LeaseId(d(3))
}

fn hello() -> Message {
    let models = vec![ModelOffer { program: MODEL, tier: Tier::Exact, context: 1, prefill_mtps: 2, decode_mtps: 3 }];
    let operator = key(2).address();
    let (node, build, expiry) = (id(2), d(4), Unix(5));
    let card = Card { version: VERSION, node, operator, build, models, slots: 6, price: price(7), expiry };
    let card = Signed::new(card, &net(), &key(2));
    Message::Hello(Box::new(Hello { card, delegation: Signed::new(delegation(2), &net(), &key(2)) }))
}

fn heard() -> Message {
    let Message::Hello(hello) = hello() else { unreachable!() };
    Message::Heard(hello)
}

fn order(rerun: Option<Vec<u32>>) -> Message {
    let channel = ChannelConfig {
        payer: key(1).address(),
        payer_authorizer: key(1).address(),
        receiver: net().contracts.vault,
        receiver_authorizer: key(2).address(),
        token: net().contracts.token,
        withdraw_delay: 86_400,
        salt: Digest::ZERO,
    };
    let request = Request {
        version: VERSION,
        kind: Kind::Generate,
        job: JOB.0,
        program: MODEL,
        inputs: vec![d(1), d(2)],
        params: vec![0xa0],
        limits: Limits { input_units: 1, output_units: 2, state_bytes: 3 },
        seed: 4,
        audit_commit: d(5),
        audit: AuditPolicy::Drawn,
        price: price(6),
        deadline: Unix(7),
        worker: key(2).address(),
        channel: channel.id(&net()),
    };
    let request = Signed::new(request, &net(), &key(1));
    let (prompt_salt, trace_salt, prompt) = (d(8), d(9), vec![1, 300, 70_000]);
    Message::Proof(P::Lease(Box::new(Order { request, channel, prompt_salt, trace_salt, prompt, rerun })))
}

fn receipt() -> Signed<Receipt> {
    let receipt = Receipt {
        version: VERSION,
        tier: Tier::Exact,
        request: lease().0,
        unit: Unit::Token,
        units: 3,
        output_root: d(1),
        trace_root: d(2),
        build: d(4),
        operator: key(2).address(),
        node: key(2).address(),
        channel: d(5),
        cumulative: Amount(1 << 70),
        finish: Finish::Stop,
    };
    Signed::new(receipt, &net(), &key(2))
}

fn no() -> Refusal {
    Refusal::new(RefusalCode::PriceTooLow, "the price offered is too low", "raise the highest price").with("2/2", "1/1")
}

/// Every message there is, with the CID of its bytes.
pub(super) fn messages() -> Vec<(&'static str, Message)> {
    let voucher = Signed::new(Voucher { channel: d(5), max_claimable: Amount(9) }, &net(), &key(1));
    let chunk =
        Chunk { lease: lease(), index: 1, tokens: vec![5, 6, 7], digest: d(6), logprobs: None, receipt: receipt() };
    let mut bytes = Vec::new();
    TokenLogprobs { chosen: -3, top: vec![(5, -3)] }.push_bytes(&mut bytes);
    let told = Chunk { logprobs: Some(Logprobs { inner: d(9), bytes }), ..chunk.clone() };
    let answer = Answer { lease: lease(), receipt: receipt(), salt: d(7) };
    let bare = Refusal::new(RefusalCode::Busy, "all slots are held", "");
    let owed = voucher.clone();
    vec![
        ("bafyreiftkm2amnlkp4iiultkmz7mdy7stwyxumqw4c3le5qvg65f4hbydm", hello()),
        ("bafyreibvrlytbhxenpijgc4qlpjuclfvxygghhckaaoo5hh6hhlhyugjze", heard()),
        (
            "bafyreiazuakszjct4afva2zmte3qjv4fimydqask74ov7yhcbzchk2skfq",
            Message::Proof(P::Warning {
                lease: lease(),
                refusal: Refusal::new(RefusalCode::AnswerRefuted, "other numbers", "test this machine"),
            }),
        ),
        (
            "bafyreievrbde6zkhj6mptguifisjryysbreznrxukewaevvveobriuaotm",
            Message::Market(M::Reserve { program: MODEL, price: price(2), context: 512 }),
        ),
        (
            "bafyreicfuudyyq67jgvzvqdwdw4rxt7zv47wdeum2fui3tbbgjfgmjh2x4",
            Message::Market(M::Reserved { program: MODEL, slots: 4 }),
        ),
        (
            "bafyreify4in6fmmreap35alrz3loyrgwtzmd6jokm3eiy4hykgw4qsktfu",
            Message::Market(M::Refused { program: MODEL, refusal: no() }),
        ),
        ("bafyreifs5fmdo42743deaspuzib2mm7rn3os5732r4xyt5ddmzxgdqta3u", Message::Market(M::Release)),
        ("bafyreidzie62ip3mgrc74cidxtkkhvdef7bb53lsqvqrmpymca2zejpomq", order(None)),
        ("bafyreifx5ah43mbije474texfskcdxirrtswcsu7wg2adzano2mhntqvom", order(Some(vec![5, 6, 7]))),
        ("bafyreicqs7x3kuukajbirehycwdblnez7hzbfekcurxwid3fy6tc4zfcsy", Message::Proof(P::Chunk(Box::new(chunk)))),
        ("bafyreihmf43drcylxg4sgln5gcajkrl3xjoh4gza3575mmzi3gelw5rxhy", Message::Proof(P::Chunk(Box::new(told)))),
        (
            "bafyreibbcqmi75kybbr54osnq7y37tq6nhoblleoliv67undiycsraiqwi",
            Message::Proof(P::Pay { lease: lease(), index: 1, voucher }),
        ),
        (
            "bafyreidk2qdxuyhg3ix2oq5v2mjwz56pr42qcsgdfmg6bcvlbkfg5qshl4",
            Message::Proof(P::Close { lease: lease(), refusal: bare }),
        ),
        (
            "bafyreihyshmp5ioknkz57vsg43opnd22ukgen2hen4cwyt2bimm2zkpwoq",
            Message::Proof(P::Commit { lease: lease(), commit: d(8) }),
        ),
        ("bafyreiba7rmd7lgqpqd75zytbilejsczwywuy2p35vuxjdj6y3z7h47o4q", Message::Proof(P::Reveal { lease: lease() })),
        ("bafyreicy2fs6mx3byiiricb433o5le7mivjw3wyxitgjtt6vs6neicypbu", Message::Proof(P::Owed { voucher: owed })),
        ("bafyreiaghnsq4zoszsninliowaentirpqcffrlfmt3z7umn5hckjubdwru", Message::Proof(P::Answer(Box::new(answer)))),
    ]
}

/// Every event there is, with the CID of its bytes.
fn events() -> Vec<(&'static str, Event)> {
    use talkoo_job::Event as J;
    use talkoo_proof::Event as E;
    let (job, step, node, total) = (JOB, 2, id(2), Amount(1 << 70));
    let tokens = vec![5, 300, 70_000];
    let done = DoneWire { node, number: 1, tokens, logprobs: Vec::new(), finish: Finish::Stop, audited: true };
    let told = DoneWire { logprobs: vec![0xff; 24], ..done.clone() };
    let (code, message) = ("run_failed".to_string(), "out of memory".to_string());
    let voucher = Signed::new(Voucher { channel: d(5), max_claimable: total }, &net(), &key(1));
    let voucher = talkoo_base::wire::Sealed::from(&voucher);
    let seen = Some(talkoo_proof::Seen { at: Unix(1_800_000_000), build: d(6), bond: total });
    vec![
        (
            "bafyreickm52jymjkldby5zmgn7m5aygdqqvkm44l6iyg5dyjdk7m3yq5ji",
            Event::Job(J::Posted(spec(2, AuditPolicy::Drawn))),
        ),
        (
            "bafyreifgeuejpzxhuv5zj2vbugcto2sl5o3ytlxjktgo3gxatg5mzkcnjm",
            Event::Job(J::Posted(JobSpec { tier: Tier::Float, ..spec(2, AuditPolicy::None) })),
        ),
        ("bafyreiaja76xx2wxylapki5rhcldrfyxbje2jk64l3jxkt5qj4xodpzncu", Event::Job(J::Done { job, step, done })),
        ("bafyreibxeavaqk5w34jkjgpa2dg4vlsmakf3fqwlsihoyod3dydhoigzni", Event::Job(J::Done { job, step, done: told })),
        (
            "bafyreibficgedo3eifkbc26sa7b72qspmlxdwmksne6v2u4q7f36asu4by",
            Event::Job(J::Failed { job, step, code, message }),
        ),
        ("bafyreifexarldr5t7voiqjni4kigkqxmjjwxh3mdxrmxbomttq4tv6jhma", Event::Job(J::Revoked { job, step })),
        (
            "bafyreieet65zm2vlcatnwpsb4ivmgxf3cqggooy5dzrqntdh42wp7vsopi",
            Event::Job(J::Closed { job, cancelled: false }),
        ),
        ("bafyreiausosgrb7fhhd3enjs2e5uxvhw4agotkhk6lhgvsxrulucinq7ea", Event::Job(J::Forgotten { job })),
        (
            "bafyreieo46f4ots2h2fhgdt2olgg3r3bmhmn2lerucqsjhmeaoufs4wzqm",
            Event::Market(talkoo_market::Event::Convicted { node, why: "other weights".into() }),
        ),
        ("bafyreib3luortoibe4ds5sxhvwyuu7gagb3scoouvwulvhgwajmnyguyqu", Event::Proof(E::Paid { node, total })),
        (
            "bafyreib2x4r3uhfkiiqbxttetrsz7pc7jfn5j264wrxkeiy4zhgfbvmd3i",
            Event::Proof(E::Accepted { node, worth: total, audited: true, seen: None }),
        ),
        (
            "bafyreihsc56xyupd5sel7jhf6omjg6r5l2t4shhh26fwyavnvbf2gvrwme",
            Event::Proof(E::Accepted { node, worth: total, audited: true, seen }),
        ),
        ("bafyreifbeidvjopnq4ht2gkfa7qfcis6x4rpclwrsgnltip5kjibxhc3pm", Event::Proof(E::Refuted(node))),
        ("bafyreidyvztw2nndjwp3ugehy5cv43wmr2mrqo6bxukedz22fhm5sp3bfe", Event::Proof(E::Earned { node, voucher })),
        (
            "bafyreicrpeaq3c3ypb5m3gyist44adhcwplqxidbwojvcdavolbkjrcvta",
            Event::Proof(E::Account {
                node,
                signed: total,
                deserved: total,
                clean: 3,
                refuted: true,
                vested: [Amount::ZERO; 2],
                seen: None,
            }),
        ),
        (
            "bafyreiasikg22l6jnt5jngige6d3cy266i6yjq4aj3djbxmdlro53y2t7m",
            Event::Proof(E::Account {
                node,
                signed: total,
                deserved: total,
                clean: 3,
                refuted: false,
                vested: [total, Amount::ZERO],
                seen,
            }),
        ),
    ]
}

fn all_equal(golden: &[(&str, String)]) {
    let (want, have): (Vec<&str>, Vec<&str>) = golden.iter().map(|(want, have)| (*want, have.as_str())).unzip();
    assert_eq!(have, want);
}

#[test]
fn every_message_comes_back_and_its_bytes_are_golden() {
    let mut golden = Vec::new();
    for (want, message) in messages() {
        let bytes = message.to_bytes();
        assert_eq!(Message::from_bytes(&bytes, &net()), Ok(message.clone()));
        golden.push((want, cid_of(&bytes).to_string()));
    }
    all_equal(&golden);
}

#[test]
fn every_event_comes_back_and_its_bytes_are_golden() {
    let mut golden = Vec::new();
    for (want, event) in events() {
        let bytes = event.to_bytes();
        assert_eq!(Event::from_bytes(&bytes), Ok(event.clone()));
        golden.push((want, cid_of(&bytes).to_string()));
    }
    all_equal(&golden);
    assert_eq!(Event::from_bytes(&[2, 0]), Err(DecodeError::UnsupportedVersion(2)));
    assert!(Event::from_bytes(&[]).is_err());
}

/// Reading and writing again gives the same bytes; a refusal's text may be shortened, once.
fn one_spelling(bytes: &[u8]) {
    let Ok(message) = Message::from_bytes(bytes, &net()) else { return };
    let again = message.to_bytes();
    match &message {
        Message::Market(M::Refused { .. }) | Message::Proof(P::Close { .. } | P::Warning { .. }) => {
            assert_eq!(Message::from_bytes(&again, &net()), Ok(message));
        }
        _ => assert_eq!(again, bytes),
    }
}

fn one_event(bytes: &[u8]) {
    if let Ok(event) = Event::from_bytes(bytes) {
        assert_eq!(event.to_bytes(), bytes);
    }
}

#[test]
fn no_changed_byte_is_another_spelling() {
    let flipped = |bytes: &[u8], at: usize, flip: u8| {
        let mut near = bytes.to_vec();
        near[at] ^= flip;
        near
    };
    for (_, message) in messages() {
        let bytes = message.to_bytes();
        (0..bytes.len()).for_each(|at| [1, 0x20, 0x80].iter().for_each(|f| one_spelling(&flipped(&bytes, at, *f))));
        (0..bytes.len()).for_each(|end| assert!(Message::from_bytes(&bytes[..end], &net()).is_err()));
        assert!(Message::from_bytes(&[&bytes[..], &[0]].concat(), &net()).is_err());
    }
    for (_, event) in events() {
        let bytes = event.to_bytes();
        (0..bytes.len()).for_each(|at| [1, 0x20, 0x80].iter().for_each(|f| one_event(&flipped(&bytes, at, *f))));
        (0..bytes.len()).for_each(|end| assert!(Event::from_bytes(&bytes[..end]).is_err()));
        assert!(Event::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn an_event_spelled_otherwise_is_refused() {
    // A step number (2) in two bytes instead of one.
    let bytes = Event::Job(talkoo_job::Event::Revoked { job: JOB, step: 2 }).to_bytes();
    let at = bytes.windows(5).position(|w| w == b"dstep").unwrap() + 5;
    assert_eq!(bytes[at], 2);
    let longer = [&bytes[..at], &[0x18, 2], &bytes[at + 1..]].concat();
    assert!(Event::from_bytes(&longer).is_err());
    // A field more than there are.
    let map = bytes.windows(4).position(|w| w == b"cjob").unwrap() - 1;
    assert_eq!(bytes[map], 0xa2);
    let more = [&bytes[..map], &[0xa3], &bytes[map + 1..], &b"ezzzzz"[..], &[0]].concat();
    assert_eq!(Event::from_bytes(&more), Err(DecodeError::NotCanonical));
}

#[test]
fn a_peers_refusal_is_cut_to_what_we_keep() {
    let long = Refusal { message: "a\u{1b}[31m".repeat(1_000), ..no() };
    let bytes = Message::Market(M::Refused { program: MODEL, refusal: long }).to_bytes();
    let Ok(Message::Market(M::Refused { refusal, .. })) = Message::from_bytes(&bytes, &net()) else { unreachable!() };
    assert_eq!(refusal.message.chars().count(), 300);
    assert!(!refusal.message.contains('\u{1b}'));
}

proptest! {
    #[test]
    fn decoders_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        one_spelling(&bytes);
        one_event(&bytes);
        one_event(&[&[1], &bytes[..]].concat());
    }

    #[test]
    fn near_messages_have_one_spelling(which in 0usize..15, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = messages()[which].1.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        one_spelling(&bytes);
    }
}
