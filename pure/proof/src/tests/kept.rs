//! Kept records: what holds offline, one broken rule at a time, and their bytes.

use super::{Nodes, Word, candidate, id, key, net, operator};
use crate::kept::{Facts, Kept, Link, Part, VerifyError, verify_kept, verify_part};
use proptest::prelude::*;
use std::sync::OnceLock;
use talkoo_base::wire::{DecodeError, Sealed, Typed, cid_of};
use talkoo_base::{Amount, AuditPolicy, Digest, Finish, Network, Receipt, Request, Signature, Signed, Tier, Voucher};

/// An honest record of 40 tokens in two chunks, re-run by V, which found the same.
fn honest() -> Kept {
    static HONEST: OnceLock<Kept> = OnceLock::new();
    HONEST.get_or_init(|| record(&[('V', Word::Same)], None)).clone()
}

fn record(words: &[(char, Word)], own: Option<Word>) -> Kept {
    let mut nodes = Nodes::new(own.is_some());
    nodes.words = words.iter().copied().chain(own.map(|w| ('C', w))).collect();
    nodes.drawn = words.iter().map(|(who, _)| candidate(*who)).collect();
    nodes.deliver(AuditPolicy::Drawn);
    nodes.kept.unwrap()
}

fn sign<T: Typed + Clone>(sealed: &mut Sealed<T>, name: char, edit: impl FnOnce(&mut T)) {
    edit(&mut sealed.body);
    *sealed = Sealed::from(&Signed::new(sealed.body.clone(), &net(), &key(name)));
}

fn receipt(kept: &mut Kept, index: usize, edit: impl FnOnce(&mut Receipt)) {
    sign(&mut kept.links[index].receipt, 'W', edit);
}

fn voucher(kept: &mut Kept, index: usize, edit: impl FnOnce(&mut Voucher)) {
    sign(&mut kept.links[index].voucher, 'C', edit);
}

fn rerun(kept: &mut Kept, edit: impl FnOnce(&mut Request)) {
    sign(&mut kept.reruns[0].0, 'C', edit);
    let lease = kept.reruns[0].0.body.digest(&net());
    sign(&mut kept.reruns[0].1, 'V', |r| r.request = lease);
}

#[test]
fn an_honest_record_says_what_happened() {
    let kept = honest();
    let facts = verify_kept(&kept).unwrap();
    let rerun = facts.rerun.clone().unwrap();
    assert_eq!(rerun.output, (0..40).collect::<Vec<u32>>());
    assert_eq!((rerun.work.prompt.len(), rerun.trace_id), (10, kept.request.body.inputs[1]));
    let want = Facts {
        tier: Tier::Exact,
        client: id('C').address(),
        worker: id('W').address(),
        program: Digest([7; 32]),
        units: 40,
        finish: Finish::Length,
        paid: Amount(50),
        matched: 1,
        refuted: 0,
        lies: 0,
        own_rerun: None,
        rerun: Some(rerun),
    };
    assert_eq!(facts, want);
    // Stripped, it says the same but keeps prompt and answer to itself.
    assert_eq!(verify_kept(&kept.stripped()), Ok(Facts { rerun: None, ..want }));
    let bytes = kept.stripped().to_bytes();
    assert!(bytes.len() < kept.to_bytes().len());
    for kept in [kept.clone(), kept.stripped()] {
        assert_eq!(Kept::from_bytes(&kept.to_bytes()), Ok(kept));
    }
}

#[test]
fn a_record_stands_or_is_evidence() {
    use Word::{Diverged, Other, Same};
    type Words = &'static [(char, Word)];
    type Found = (usize, usize, bool);
    let cases: [(Words, Option<Word>, Found); 7] = [
        (&[], None, (0, 0, true)),
        (&[('V', Same)], None, (1, 0, true)),
        (&[('V', Other(1))], None, (0, 1, false)),
        (&[('V', Other(1)), ('U', Same)], None, (1, 1, true)),
        (&[('V', Other(1)), ('U', Diverged)], None, (0, 2, false)),
        (&[('V', Other(1)), ('U', Other(1))], Some(Same), (0, 0, true)),
        (&[('V', Other(1)), ('U', Same)], Some(Diverged), (0, 1, false)),
    ];
    for (words, own, want) in cases {
        let facts = verify_kept(&record(words, own)).unwrap();
        assert_eq!((facts.matched, facts.refuted, facts.stands()), want, "{words:?}, {own:?}");
        // Whoever spoke is in the record: for it, against it, or refuted by our own engine.
        assert_eq!(facts.matched + facts.refuted + facts.lies, words.len(), "{words:?}, {own:?}");
    }
}

#[test]
fn one_broken_rule_is_one_error() {
    use VerifyError::{Contradiction, Signature as Sig};
    type Change = fn(&mut Kept);
    const NONE: Signature = Signature([0; 65]);
    let cases: &[(VerifyError, Change)] = &[
        (Sig("request"), |k| k.request.signature = NONE),
        (Sig("receipt"), |k| k.links[1].receipt.signature = NONE),
        (Sig("voucher"), |k| k.links[0].voucher.signature = NONE),
        (Sig("verifier's receipt"), |k| k.reruns[0].1.signature = NONE),
        (Sig("verifier's request"), |k| k.reruns[0].0.signature = NONE),
        (Contradiction("the request names another channel"), |k| k.channel.salt = Digest([1; 32])),
        (Contradiction("the request names another channel"), |k| k.chain_id += 1),
        (Contradiction("the channel is authorised by another key than the request's"), |k| {
            sign(&mut k.request, 'X', |_| ());
        }),
        (Contradiction("receipts and chunks differ in number"), |k| k.digests.truncate(1)),
        (Contradiction("receipts and chunks differ in number"), |k| k.links.truncate(1)),
        (Contradiction("receipts and chunks differ in number"), |k| (k.links, k.digests) = (vec![], vec![])),
        (Contradiction("a receipt is not the ordered worker's"), |k| sign(&mut k.links[0].receipt, 'X', |_| ())),
        (Contradiction("a receipt is not the ordered worker's"), |k| receipt(k, 0, |r| r.node = id('X').address())),
        (Contradiction("a voucher is not the client's"), |k| sign(&mut k.links[1].voucher, 'W', |_| ())),
        (Contradiction("a receipt answers another request"), |k| receipt(k, 1, |r| r.request = Digest::ZERO)),
        (Contradiction("a receipt answers another request"), |k| sign(&mut k.request, 'C', |r| r.seed ^= 1)),
        (Contradiction("a link is on another channel"), |k| receipt(k, 0, |r| r.channel = Digest::ZERO)),
        (Contradiction("a link is on another channel"), |k| voucher(k, 0, |v| v.channel = Digest::ZERO)),
        (Contradiction("a receipt names another operator"), |k| receipt(k, 0, |r| r.operator = operator('X'))),
        (Contradiction("units do not grow"), |k| receipt(k, 1, |r| r.units = 32)),
        (Contradiction("units do not grow"), |k| receipt(k, 0, |r| r.units = 0)),
        (Contradiction("vouchers shrink"), |k| voucher(k, 1, |v| v.max_claimable = Amount(41))),
        (Contradiction("a voucher pays less than its receipt says"), |k| voucher(k, 1, |v| v.max_claimable.0 -= 1)),
        (Contradiction("a trace root is not that of its chunks"), |k| k.digests[0] = Digest::ZERO),
        (Contradiction("a trace root is not that of its chunks"), |k| receipt(k, 1, |r| r.trace_root = Digest::ZERO)),
        (Contradiction("the last receipt does not end the output"), |k| (k.links.truncate(1), k.digests.truncate(1)).0),
        (Contradiction("the last receipt does not end the output"), |k| receipt(k, 1, |r| r.finish = Finish::Diverged)),
        (Contradiction("the prompt is not the one that the request signs"), |k| open(k).prompt[0] ^= 1),
        (Contradiction("the prompt is not the one that the request signs"), |k| open(k).prompt_salt = Digest::ZERO),
        (Contradiction("the prompt is not the one that the request signs"), |k| open(k).trace_salt = Digest::ZERO),
        (Contradiction("the output is not the receipted one"), |k| open(k).output[0] ^= 1),
        (Contradiction("the output is not the receipted one"), |k| open(k).output[39] ^= 1),
        (Contradiction("the output is shorter than a receipt says"), |k| open(k).output.truncate(39)),
        (Contradiction("a chunk has not its length"), |k| receipt(k, 1, |r| r.units = u64::MAX)),
        (Contradiction("a chunk has not its length"), |k| receipt(k, 0, |r| r.units = 31)),
        (Contradiction("the output is longer than was ordered"), |k| {
            sign(&mut k.request, 'C', |r| r.limits.output_units = 39);
            let lease = k.request.body.digest(&net());
            (0..2).for_each(|index| receipt(k, index, |r| r.request = lease));
        }),
        (Contradiction("a verifier is the worker itself, or counted twice"), |k| k.lies = k.reruns.clone()),
        (Contradiction("the output is longer than the last receipt says"), |k| open(k).output.push(0)),
        (Contradiction("a verifier's receipt is not the drawn verifier's"), |k| sign(&mut k.reruns[0].1, 'X', |_| ())),
        (Contradiction("a verifier's order is not the client's"), |k| sign(&mut k.reruns[0].0, 'X', |_| ())),
        (Contradiction("a verifier answers another request"), |k| sign(&mut k.reruns[0].0, 'C', |r| r.seed ^= 1)),
        (Contradiction("a verifier re-ran something else"), |k| rerun(k, |r| r.inputs[0] = Digest::ZERO)),
        (Contradiction("a verifier re-ran something else"), |k| rerun(k, |r| r.inputs[2] = Digest::ZERO)),
        (Contradiction("a verifier re-ran something else"), |k| rerun(k, |r| r.inputs.clear())),
    ];
    let kept = honest();
    for (number, (want, edit)) in cases.iter().enumerate() {
        let mut broken = kept.clone();
        edit(&mut broken);
        assert_eq!(verify_kept(&broken).as_ref().map(|f| f.units), Err(want), "case {number}");
        assert_eq!(broken_parts(&broken).first().map(|(_, why)| why), Some(want), "case {number}, part by part");
    }
}

fn broken_parts(kept: &Kept) -> Vec<(Part, VerifyError)> {
    Part::ALL.into_iter().filter_map(|part| Some((part, verify_part(kept, part).err()?))).collect()
}

#[test]
fn a_part_that_does_not_hold_leaves_the_others_be() {
    let mut kept = honest();
    assert_eq!(broken_parts(&kept), []);
    voucher(&mut kept, 1, |v| v.max_claimable = Amount(41));
    open(&mut kept).prompt[0] ^= 1;
    let broken: Vec<Part> = broken_parts(&kept).into_iter().map(|(part, _)| part).collect();
    assert_eq!(broken, [Part::Chunks, Part::Disclosure]);
}

fn open(kept: &mut Kept) -> &mut crate::kept::Disclosure {
    kept.disclosure.as_mut().unwrap()
}

#[test]
fn parameters_that_do_not_parse_are_named_as_such() {
    let mut kept = honest();
    sign(&mut kept.request, 'C', |r| r.params = vec![0xff]);
    let lease = kept.request.body.digest(&net());
    (0..2).for_each(|index| receipt(&mut kept, index, |r| r.request = lease));
    assert!(matches!(verify_kept(&kept), Err(VerifyError::Record(DecodeError::Malformed(_)))));
    assert!(verify_kept(&Kept { reruns: Vec::new(), ..kept.stripped() }).is_ok(), "nobody looks at what is not shown");
}

#[test]
fn other_versions_and_impossible_channels_do_not_decode() {
    let kept = honest();
    let newer = Kept { version: 2, ..kept.clone() };
    assert_eq!(Kept::from_bytes(&newer.to_bytes()), Err(DecodeError::UnsupportedVersion(2)));
    let mut short = kept.clone();
    short.channel.withdraw_delay = 1;
    let mut old = kept;
    old.links[0].receipt.body.version = 0;
    for kept in [short, old] {
        assert!(Kept::from_bytes(&kept.to_bytes()).is_err());
    }
}

#[test]
fn the_bytes_of_a_record_are_golden() {
    let evidence = record(&[('V', Word::Other(1))], Some(Word::Diverged));
    let cases = [
        ("honest", honest(), "bafyreidgx6ylaykgzdvi5pawssqr54yf37rgpl2u6ynovzhwcwtpjjfcqi"),
        ("stripped", honest().stripped(), "bafyreiey2kfhiuehz3z2w55nanhgzxtnzzoh7qbtl6yul6w46iqvl62yvq"),
        ("evidence", evidence, "bafyreidnwu4yi7sv45l33bjlw4yzl2mprihyf3ds5jpioj4gcxt6k4ylf4"),
    ];
    for (name, kept, want) in cases {
        assert_eq!(cid_of(&kept.to_bytes()).to_string(), want, "{name}");
    }
}

#[test]
fn no_changed_byte_is_another_spelling() {
    let bytes = honest().to_bytes();
    for at in 0..bytes.len() {
        for flip in [1, 0x20, 0x80] {
            let mut near = bytes.clone();
            near[at] ^= flip;
            if let Ok(kept) = Kept::from_bytes(&near) {
                assert_eq!(kept.to_bytes(), near, "byte {at}");
            }
        }
    }
}

/// What is not signed in a record: its place in the job, the network's name, our own engine's word.
fn signed_part(kept: Kept) -> Kept {
    Kept { step: 0, network: String::new(), own_rerun: None, ..kept }
}

proptest! {
    #[test]
    fn a_changed_byte_never_passes_for_the_record(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let kept = honest();
        let mut bytes = kept.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(near) = Kept::from_bytes(&bytes) {
            let holds = verify_kept(&near).is_ok();
            prop_assert!(!holds || signed_part(near) == signed_part(kept), "byte {at}");
        }
    }

    #[test]
    fn random_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(Kept::from_bytes(&bytes).is_err());
    }
}

#[test]
fn links_are_bound_to_one_network() {
    let kept = honest();
    assert_eq!(kept.network(), Network::local("test"));
    let swapped = Kept { links: vec![kept.links[1].clone(), kept.links[0].clone()], ..kept.clone() };
    let twice: Vec<Link> = vec![kept.links[0].clone(); 2];
    for links in [swapped, Kept { links: twice, ..kept }] {
        assert!(verify_kept(&links).is_err());
    }
}
