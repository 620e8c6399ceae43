//! Messages and events as bytes: one spelling each, none of which may change unnoticed; bounds; hostile bytes.

use super::play::{block, key, net, proposal, vote};
use crate::limits::{BLOCK_BYTES_MAX, FETCH_BLOCKS_MAX, HEIGHT_MAX, ROUND_MAX};
use crate::wire::{Event, Message, SignedProposal, SignedVote, Step};
use crate::{Chain, Input};
use proptest::prelude::*;
use talkoo_base::VoteKind::{Precommit, Prevote};
use talkoo_base::wire::{DecodeError, cid_of};
use talkoo_base::{Address, Certificate, Digest, Now, Signer, Validator};

fn votes(kind: talkoo_base::VoteKind) -> Vec<SignedVote> {
    let signed = |who| match vote(who, kind, 2, block(1).0) {
        Message::Vote(vote) => vote,
        _ => unreachable!(),
    };
    (1..=3).map(signed).collect()
}

fn proposed(valid_round: Option<u32>) -> (SignedProposal, Vec<u8>) {
    let (hash, bytes) = block(1);
    match proposal(1, 2, valid_round, (hash, &bytes)) {
        Message::Proposal { proposal, bytes } => (proposal, bytes),
        _ => unreachable!(),
    }
}

fn certificate() -> Certificate {
    let signatures = votes(Precommit).iter().map(|v| v.signature).collect();
    Certificate { height: 1, round: 2, block: block(1).0, signatures }
}

/// Every message there is, with the CID of its bytes.
fn messages() -> Vec<(&'static str, Message)> {
    let (fresh, bytes) = proposed(None);
    let (again, _) = proposed(Some(1));
    vec![
        ("bafyreiedjadrjpdfqwiy2met4h5fwytrvu6aomqfwmnot2eryfzfup5jny", Message::Vote(votes(Prevote)[0])),
        ("bafyreibyib7l5or33yuznhpcshbpdlzx3sc3eqetcipizxugs2a7k6q3r4", vote(2, Precommit, 0, Digest::ZERO)),
        (
            "bafyreibklnykzvvzv6kmua4yovza2lwn5tvnwxmeopw5w2emlzmwnmahlu",
            Message::Proposal { proposal: fresh, bytes: bytes.clone() },
        ),
        (
            "bafyreicrre7mcixmeh2iowpqoww7ysctnktw35jqfcvhtbvura2hfzz4zq",
            Message::Proposal { proposal: again, bytes: bytes.clone() },
        ),
        ("bafyreicmbu62byg6fv4xmpgstwurmxniqivv3iv2hpduzqsgf2cagnj2ve", Message::Polka { votes: votes(Prevote) }),
        (
            "bafyreibyewqg4p24upmphxsjl5ralu5hlv7y37divwd52nurwabihqxrnm",
            Message::Round { skip: true, votes: votes(Prevote) },
        ),
        (
            "bafyreia43debvaptwvbuczwuwm4bpfeafzmewaywc6fcovg2v2bvf4bsva",
            Message::Round { skip: false, votes: votes(Precommit) },
        ),
        ("bafyreialhu7vl5asgyu5vtmlpsssqkrljh26koew7ootexp6du5stafewi", Message::Status { height: 7, ready: true }),
        ("bafyreih2qrzutmfglgl6axuxeqs7z4aivgilcrq3mjfrcbhcy6xcub33yu", Message::Fetch { height: 8, count: 16 }),
        (
            "bafyreie4busf4edoe3kvuopdmsu5lxi2p2nikubv3okmlttpo6xvoeezhm",
            Message::Block { certificate: certificate(), bytes },
        ),
    ]
}

/// Every event there is, with the CID of its bytes.
fn events() -> Vec<(&'static str, Event)> {
    let (signed, bytes) = proposed(None);
    let (address, (hash, _)) = (key(1).address(), block(1));
    let validators = vec![Validator { address, power: 3 }];
    let (round, proposer, body) = (2, address, signed.proposal.body);
    vec![
        (
            "bafyreihcmerov4ymglqdcbsmgvwoo34xveo4b6zbyjgettvozqld3x7ary",
            Event::Height { height: 2, validators, absent: vec![Address([4; 20])] },
        ),
        ("bafyreid3r75en36am663ny4wmymvkyeld4gbihv6rdkrgnfccik4tzo74e", Event::Vote(votes(Prevote)[0])),
        ("bafyreidf2v7xukh4ij5wmopph4apt3sq3uo43q5p6zvawjdvidrbwoncze", Event::Proposal(signed)),
        ("bafyreie6x5o3mklg75oigr6ftwajoz7aadikcktlab6f3lvvoz7gbchnqq", Event::Polka { votes: votes(Prevote) }),
        (
            "bafyreiephpxey4nb6a4nqyc7mvjfnoy74anwgo5annxti5gvmcd25eem3m",
            Event::Timeout { height: 1, round, step: Step::Propose },
        ),
        (
            "bafyreibn3ihn77ako7wdcxzgc5lrl6djcajgclxybh3kinlhbhddw4ewaa",
            Event::Timeout { height: 1, round, step: Step::Prevote },
        ),
        (
            "bafyreifgtypsdjwlzlc3rla2yuc4gygkxmarpcm2cxu7fbdm4u2qegivmm",
            Event::Timeout { height: 1, round, step: Step::Precommit },
        ),
        (
            "bafyreie4pwwlom5ad46guzaz5xpsgd77cwmitlcpvkgfm5oz7sedmxpwqe",
            Event::Value { height: 1, round, proposer, block: hash, body, valid: true, bytes },
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
        assert_eq!(Message::from_bytes(&bytes), Ok(message));
        golden.push((want, cid_of(&bytes).to_string()));
    }
    all_equal(&golden);
}

#[test]
fn every_event_comes_back_and_its_bytes_are_golden() {
    let mut golden = Vec::new();
    for (want, event) in events() {
        let bytes = event.to_bytes();
        assert_eq!(Event::from_bytes(&bytes), Ok(event));
        golden.push((want, cid_of(&bytes).to_string()));
    }
    all_equal(&golden);
    assert_eq!(Event::from_bytes(&[2, 0]), Err(DecodeError::UnsupportedVersion(2)));
    assert!(Event::from_bytes(&[]).is_err());
}

#[test]
fn what_breaks_a_bound_is_no_message() {
    let (proposal, bytes) = proposed(None);
    let changed = |change: &dyn Fn(&mut SignedProposal)| {
        let mut proposal = proposal;
        change(&mut proposal);
        Message::Proposal { proposal, bytes: bytes.clone() }
    };
    let of = |change: &dyn Fn(&mut Vec<SignedVote>)| {
        let mut votes = votes(Prevote);
        change(&mut votes);
        votes
    };
    let far = |height, round| {
        let mut vote = votes(Prevote)[0];
        (vote.vote.height, vote.vote.round) = (height, round);
        Message::Vote(vote)
    };
    let many = of(&|v| *v = vec![v[0]; 129]);
    let long = vec![0; BLOCK_BYTES_MAX + 1];
    let cases = [
        ("height 0", far(0, 0)),
        ("a height too high", far(HEIGHT_MAX, 0)),
        ("a round too high", far(1, ROUND_MAX)),
        ("no block", changed(&|p| p.proposal.block = Digest::ZERO)),
        ("a valid round that is not before", changed(&|p| p.proposal.valid_round = Some(2))),
        ("a block too long", Message::Proposal { proposal, bytes: long.clone() }),
        ("a final block too long", Message::Block { certificate: certificate(), bytes: long }),
        ("no votes", Message::Polka { votes: vec![] }),
        ("too many votes", Message::Round { skip: true, votes: many }),
        ("votes of two rounds", Message::Round { skip: true, votes: of(&|v| v[1].vote.round = 3) }),
        ("votes of two heights", Message::Polka { votes: of(&|v| v[1].vote.height = 3) }),
        ("a polka for two blocks", Message::Polka { votes: of(&|v| v[1].vote.block = Digest([8; 32])) }),
        ("a polka for none", Message::Polka { votes: of(&|v| v.iter_mut().for_each(|v| v.vote.block = Digest::ZERO)) }),
        ("a polka of precommits", Message::Polka { votes: votes(Precommit) }),
        ("a round ended by prevotes", Message::Round { skip: false, votes: votes(Prevote) }),
        ("a height of nobody", Message::Status { height: HEIGHT_MAX, ready: false }),
        ("no blocks wanted", Message::Fetch { height: 1, count: 0 }),
        ("too many blocks wanted", Message::Fetch { height: 1, count: FETCH_BLOCKS_MAX + 1 }),
    ];
    for (what, message) in cases {
        assert!(matches!(Message::from_bytes(&message.to_bytes()), Err(DecodeError::Rule(_))), "{what}");
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
        for (at, flip) in (0..bytes.len()).flat_map(|at| [1, 0x20, 0x80].map(|flip| (at, flip))) {
            let near = flipped(&bytes, at, flip);
            if let Ok(message) = Message::from_bytes(&near) {
                assert_eq!(message.to_bytes(), near);
            }
        }
        (0..bytes.len()).for_each(|end| assert!(Message::from_bytes(&bytes[..end]).is_err()));
        assert!(Message::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }
}

proptest! {
    /// Whatever a peer sends in whatever order, the machine neither panics nor votes.
    #[test]
    fn hostile_messages_do_nothing(picks in prop::collection::vec((0usize..10, 0usize..600, any::<u8>(), 1u8..4), 1..40)) {
        let validators: Vec<_> = (5..=8).map(|w| Validator { address: key(w).address(), power: 1 }).collect();
        let mut chain = Chain::new(Box::new(key(5)), net(), 1, &validators);
        let (mut out, now) = (Vec::new(), Now::default());
        chain.handle(now, Input::PeerUp(key(1).node_id()), &mut out);
        for (which, at, flip, times) in picks {
            let mut bytes = messages()[which].1.to_bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let Ok(message) = Message::from_bytes(&bytes) else { continue };
            for _ in 0..times {
                let input = Input::Message { from: key(1).node_id(), message: message.clone() };
                chain.handle(now, input, &mut out);
            }
        }
        let voted = |e: &crate::Effect| matches!(e, crate::Effect::Record(_) | crate::Effect::Validate { .. });
        prop_assert!(!out.iter().any(voted), "{out:?}");
    }
}
