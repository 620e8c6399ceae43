//! Scripts: one node of four, its peers played by the test.

mod play;
mod wire;

use crate::limits::{ABSENT_HEIGHTS, FETCH_MS, PEERS_MAX, PROPOSE_MS, RELAY_MS, STATUS_IDLE_MS, VOTE_MS};
use crate::validators::Validators;
use crate::wire::Message;
use crate::{Effect, Event, Input, Notice};
use play::{Play, block, id, key, proposal, vote};
use std::collections::BTreeSet;
use talkoo_base::VoteKind::{Precommit, Prevote};
use talkoo_base::{Address, Digest, NodeId, Signer, Validator};

fn votes_of(who: u8, block: Digest) -> Vec<crate::SignedVote> {
    let Message::Vote(signed) = vote(who, Prevote, 0, block) else { unreachable!() };
    vec![signed; 3]
}

fn addresses(set: &Validators, height: u64, rounds: u32) -> Vec<Address> {
    (0..rounds).map(|round| set.proposer(height, round).address.0).collect()
}

#[test]
fn nothing_happens_while_there_is_nothing_to_do() {
    let mut play = Play::new(4);
    play.wait(60_000);
    let status = |effect: &Effect| matches!(effect, Effect::Broadcast(Message::Status { ready: false, .. }));
    assert!(play.said.iter().all(status), "{:?}", play.said);
    assert_eq!(play.said.len() as u64, 60_000 / STATUS_IDLE_MS + 1);
}

#[test]
fn one_validator_alone_agrees_without_a_message() {
    let mut play = Play::new(1);
    play.put(Input::Ready);
    assert_eq!(play.proposals(), [(1, 0)]);
    let (hash, bytes) = block(1);
    play.put(Input::Proposed { height: 1, round: 0, block: hash, bytes: bytes.clone() });
    let [(certificate, committed)] = &play.commits()[..] else { panic!("{:?}", play.said) };
    assert_eq!((certificate.block, certificate.round, committed), (hash, 0, &bytes));
    assert_eq!(certificate.verify(&play.validators, &play.network), Ok(()));
}

#[test]
fn no_vote_for_a_block_that_was_not_executed_here() {
    let mut play = Play::new(4);
    let proposer = play.proposer(0);
    let (hash, bytes) = block(1);
    play.hear(proposer, proposal(proposer, 0, None, (hash, &bytes)));
    // All others vote for it: it stays unexecuted, so nothing but the wait's end moves this node.
    for other in play.others() {
        play.hear(other, vote(other, Prevote, 0, hash));
        play.hear(other, vote(other, Precommit, 0, hash));
    }
    assert_eq!((play.votes(), play.commits().len()), (vec![], 0));
    let [Effect::Validate { height: 1, block, body, builder: Some(builder), .. }] = play.validates()[..] else {
        panic!("{:?}", play.said)
    };
    assert_eq!((*block, *builder), (hash, key(proposer).address()));
    let body = *body;
    play.put(Input::Validated { height: 1, block: hash, body, valid: true });
    // It was decided without us.
    assert_eq!((play.votes(), play.commits().len()), (vec![], 1));
}

#[test]
fn an_invalid_block_is_voted_down() {
    let mut play = Play::new(4);
    let proposer = play.proposer(0);
    let (hash, bytes) = block(1);
    play.hear(proposer, proposal(proposer, 0, None, (hash, &bytes)));
    play.judge(false);
    assert_eq!(play.votes(), [(Prevote, 0, Digest::ZERO)]);
}

#[test]
fn changed_bytes_under_an_honest_signature_are_refused() {
    let mut play = Play::new(4);
    let proposer = play.proposer(0);
    let (hash, bytes) = block(1);
    let Message::Proposal { proposal: signed, .. } = proposal(proposer, 0, None, (hash, &bytes)) else {
        unreachable!()
    };
    let liar = play.others()[1];
    play.hear(liar, Message::Proposal { proposal: signed, bytes: vec![1, 2, 3] });
    assert_eq!((play.validates().len(), play.refusals()), (0, vec![id(liar)]));
    // The honest ones still count.
    play.hear(proposer, proposal(proposer, 0, None, (hash, &bytes)));
    assert_eq!(play.validates().len(), 1);
}

#[test]
fn strangers_and_out_of_turn_proposers_begin_nothing() {
    let (hash, bytes) = block(1);
    let mut play = Play::new(4);
    let (stranger, late) = (9, play.proposer(1));
    play.put(Input::PeerUp(id(stranger)));
    play.said.clear();
    for message in [
        vote(stranger, Prevote, 0, hash),
        proposal(stranger, 0, None, (hash, &bytes)),
        proposal(late, 0, None, (hash, &bytes)),
        Message::Polka { votes: votes_of(stranger, hash) },
        Message::Status { height: 0, ready: true },
        Message::Fetch { height: 1, count: 16 },
    ] {
        play.hear(stranger, message);
    }
    let refused = |effect: &Effect| matches!(effect, Effect::Notice(crate::Notice::Refused { .. }));
    assert!(play.said.iter().all(refused), "{:?}", play.said);
    assert_eq!(play.said.len(), 4);
}

#[test]
fn strangers_cannot_take_the_places_of_validators() {
    let mut play = Play::new(4);
    let late = play.others()[2];
    play.put(Input::PeerDown(id(late)));
    (1..=PEERS_MAX as u32).for_each(|n| play.put(Input::PeerUp(NodeId::pretended(n))));
    play.put(Input::PeerUp(id(late)));
    play.hear(late, vote(late, Prevote, 0, block(1).0));
    assert_eq!(play.round_began(), Some(0));
}

#[test]
fn certificates_of_every_kind_are_counted_not_believed() {
    let (hash, _) = block(1);
    let mut play = Play::new(4);
    let others = play.others();
    let signed = |who: u8, kind| match vote(who, kind, 3, hash) {
        Message::Vote(vote) => vote,
        _ => unreachable!(),
    };
    let two: Vec<_> = others[..2].iter().map(|o| signed(*o, Precommit)).collect();
    let twice = vec![two[0], two[0], two[0]];
    let mut forged = two.clone();
    forged.push(crate::SignedVote { validator: key(others[2]).address(), ..two[0] });
    for votes in [two.clone(), twice.clone(), forged.clone()] {
        play.hear(others[0], Message::Round { skip: false, votes });
    }
    for votes in [&twice, &forged] {
        let prevotes = votes.iter().map(|v| {
            let mut prevote = signed(others[0], Prevote);
            prevote.validator = v.validator;
            prevote
        });
        play.hear(others[0], Message::Polka { votes: prevotes.collect() });
    }
    // One third and more suffice to enter a round, and are too few to leave it.
    assert_eq!(play.round_began(), Some(0));
    play.hear(others[0], Message::Round { skip: true, votes: two.clone() });
    assert_eq!(play.round_began(), Some(3));
    let three = others.iter().map(|o| signed(*o, Precommit)).collect();
    play.hear(others[0], Message::Round { skip: false, votes: three });
    play.wait(VOTE_MS * 4);
    assert!(play.round_began() >= Some(4));
}

#[test]
fn who_votes_twice_is_shown_when_the_height_ends() {
    let mut play = Play::new(4);
    let (hash, bytes) = block(1);
    let (proposer, others) = (play.proposer(0), play.others());
    play.hear(proposer, proposal(proposer, 0, None, (hash, &bytes)));
    play.judge(true);
    play.hear(others[0], vote(others[0], Prevote, 0, hash));
    play.hear(others[0], vote(others[0], Prevote, 0, Digest::ZERO));
    for other in &others {
        play.hear(*other, vote(*other, Prevote, 0, hash));
        play.hear(*other, vote(*other, Precommit, 0, hash));
    }
    assert_eq!(play.commits().len(), 1);
    let [Effect::Evidence(votes)] =
        &play.said.iter().filter(|e| matches!(e, Effect::Evidence(_))).collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", play.said)
    };
    let blocks: BTreeSet<Digest> = votes.iter().map(|v| v.vote.block).collect();
    assert!(votes.iter().all(|v| v.validator == key(others[0]).address()));
    assert_eq!(blocks, BTreeSet::from([Digest::ZERO, hash]));
}

/// Everything is on disk before anything leaves, so a node that comes back says the same again, or nothing.
#[test]
fn a_crash_at_any_record_never_signs_twice_differently() {
    let (hash, bytes) = block(1);
    let mut play = Play::new(4);
    let (proposer, others) = (play.proposer(0), play.others());
    play.hear(proposer, proposal(proposer, 0, None, (hash, &bytes)));
    play.judge(true);
    others.iter().for_each(|other| play.hear(*other, vote(*other, Prevote, 0, hash)));
    let (journal, said) = (play.journal.clone(), play.votes());
    assert_eq!(said, [(Prevote, 0, hash), (Precommit, 0, hash)]);
    for kept in 0..=journal.len() {
        let mut again = Play::again(4, &journal[..kept]);
        let own = |e: &&Event| matches!(e, Event::Vote(v) if v.validator == key(again.me).address());
        let signed = journal[..kept].iter().filter(own).count();
        again.put(Input::Restarted);
        assert!(again.votes().len() >= signed, "{kept} records");
        // The world has changed meanwhile: another block, and nobody repeats the old votes.
        let (other_hash, other_bytes) = block(2);
        again.hear(proposer, proposal(proposer, 0, None, (other_hash, &other_bytes)));
        again.judge(true);
        again.wait(PROPOSE_MS + VOTE_MS);
        for (kind, round, block) in again.votes() {
            let before = said[..signed].iter().find(|(k, r, _)| (*k, *r) == (kind, round));
            assert!(before.is_none_or(|(.., b)| *b == block), "{kept} records: {kind:?} {round} {block}");
        }
    }
}

#[test]
fn a_node_that_is_behind_fetches_from_the_next_peer_if_one_is_silent() {
    let mut play = Play::new(4);
    let others = play.others();
    for other in &others[..2] {
        play.hear(*other, Message::Status { height: 3, ready: false });
    }
    let first = play.fetches();
    play.wait(FETCH_MS);
    let second = play.fetches();
    assert_eq!((first.len(), second.len()), (1, 2));
    assert_ne!(first[0].0, second[1].0);
    let (asked, _) = second[1];
    let asked = *others.iter().find(|o| id(**o) == asked).unwrap();
    for height in [2, 1, 3] {
        let (certificate, bytes) = play.final_block(height);
        play.hear(asked, Message::Block { certificate, bytes });
    }
    for height in 1..=3 {
        play.judge(true);
        assert_eq!(play.commits().last().unwrap().0.height, height);
        play.written(height);
    }
    assert_eq!(play.chain.height(), 4);
}

#[test]
fn a_fetched_block_counts_by_its_certificate_alone() {
    let mut play = Play::new(4);
    let others = play.others();
    play.hear(others[0], Message::Status { height: 3, ready: false });
    let (mut certificate, bytes) = play.final_block(1);
    certificate.signatures.truncate(2);
    play.hear(others[0], Message::Block { certificate, bytes });
    assert_eq!((play.validates().len(), play.refusals()), (0, vec![id(others[0])]));
    // Not asked for: not looked at.
    let (certificate, bytes) = play.final_block(1);
    play.hear(others[1], Message::Block { certificate, bytes });
    assert_eq!(play.validates().len(), 0);
}

#[test]
fn who_lets_its_turn_go_by_is_left_out_until_the_next_boundary() {
    let records: Vec<Validator> = (1..=4).map(|i| Validator { address: Address([i; 20]), power: 1 }).collect();
    let all = Validators::new(&records, BTreeSet::new());
    let turns = addresses(&all, 5, 5);
    assert_eq!(turns[0], turns[4]);
    // The block of height 5 came from the one whose turn was third.
    let mut set = all.next(5, turns[2], &records);
    assert_eq!(set.absent(), &BTreeSet::from([turns[0], turns[1]]));
    assert!(addresses(&set, 6, 2).iter().all(|a| !set.absent().contains(a)));
    // If those fail too, everybody has a turn.
    assert_eq!(addresses(&set, 6, 6)[2..].iter().collect::<BTreeSet<_>>().len(), 4);
    for height in 6..ABSENT_HEIGHTS {
        let builder = set.proposer(height, 0).address.0;
        set = set.next(height, builder, &records);
        assert_eq!(set.absent().is_empty(), height + 1 == ABSENT_HEIGHTS, "{height}");
    }
    // One that builds a block after all is back at once; if nobody is left, all are.
    let set = Validators::new(&records, BTreeSet::from([turns[0]]));
    assert!(set.next(6, turns[0], &records).absent().len() < 4);
    assert!(Validators::new(&records, turns.iter().copied().collect()).absent().is_empty());
}

#[test]
fn votes_and_proposals_are_said_on_once_and_when_they_are_said_again() {
    let mut play = Play::new(4);
    let (hash, bytes) = block(1);
    let (proposer, others) = (play.proposer(0), play.others());
    let told = |play: &Play| -> Vec<(NodeId, Message)> {
        let sent = |e: &Effect| match e {
            Effect::Send { to, message } => Some((*to, message.clone())),
            _ => None,
        };
        play.said.iter().filter_map(sent).collect()
    };
    let said = [proposal(proposer, 0, None, (hash, &bytes)), vote(others[0], Prevote, 0, hash)];
    for (message, from) in said.iter().zip([others[1], others[2]]) {
        play.said.clear();
        // From whom it comes does not matter, but that one knows it.
        play.hear(from, message.clone());
        let want: Vec<_> = others.iter().filter(|o| **o != from).map(|o| (id(*o), message.clone())).collect();
        let mut have = told(&play);
        have.sort_by_key(|(to, _)| others.iter().position(|o| id(*o) == *to));
        assert_eq!(have, want);
        play.said.clear();
        others.iter().for_each(|other| play.hear(*other, message.clone()));
        assert_eq!(told(&play), []);
    }
    play.wait(RELAY_MS);
    play.said.clear();
    play.hear(others[0], said[1].clone());
    assert_eq!(told(&play).len(), 2);
    // Certificates travel on, too: who lost the votes of a round that is over hears them no more.
    play.said.clear();
    let forged = crate::SignedVote { validator: key(others[1]).address(), ..votes_of(others[0], hash)[0] };
    play.hear(others[0], Message::Round { skip: true, votes: vec![votes_of(others[0], hash)[0], forged] });
    assert_eq!(told(&play), []);
    play.hear(others[0], Message::Round { skip: true, votes: votes_of(others[0], hash) });
    assert_eq!(told(&play).len(), 2);
    // What is forged and what is signed with our key stays here.
    play.said.clear();
    let mine = play.me;
    play.hear(others[0], vote(mine, Prevote, 0, hash));
    assert!(play.said.iter().any(|e| matches!(e, Effect::Notice(Notice::Doubled { height: 1 }))));
    play.hear(others[0], vote(9, Prevote, 0, hash));
    assert_eq!(told(&play), []);
}
