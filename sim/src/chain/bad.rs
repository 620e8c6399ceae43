//! What bad nodes send in the place of what their machine says.

use super::node::Node;
use super::scene::{Conduct, Scene};
use crate::rng::Dice;
use std::collections::BTreeSet;
use talkoo_base::wire::Typed;
use talkoo_base::{Address, Certificate, Digest, Network, Vote, VoteKind, keccak256};
use talkoo_chain::{Message, SignedProposal, SignedVote};

/// The messages that leave for one peer.
pub(super) fn instead(
    node: &Node,
    message: &Message,
    others: &[Address],
    network: &Network,
    dice: &mut Dice,
    scene: &Scene,
) -> Vec<Message> {
    match (node.part.conduct, message) {
        (Conduct::Silent, _) => Vec::new(),
        (Conduct::TwoFaced, Message::Vote(signed)) if signed.validator == node.me => {
            let faces = [message.clone(), Message::Vote(other_vote(node, signed, network))];
            two_faced(faces, dice, scene)
        }
        (Conduct::TwoFaced, Message::Proposal { proposal, .. }) if proposal.proposer == node.me => {
            let other = other_proposal(node, proposal, network);
            two_faced([message.clone(), other], dice, scene)
        }
        (Conduct::Forger, Message::Proposal { proposal, bytes }) => {
            vec![Message::Proposal { proposal: *proposal, bytes: forged(bytes) }]
        }
        (Conduct::Forger, Message::Block { certificate, bytes }) => {
            vec![
                other_block(node, certificate, network),
                Message::Block { certificate: certificate.clone(), bytes: forged(bytes) },
            ]
        }
        (Conduct::Forger, Message::Vote(signed)) if signed.validator == node.me => {
            forged_votes(signed, message, others)
        }
        (Conduct::Boaster, Message::Status { height, .. }) => {
            vec![Message::Status { height: height + dice.below(3) * 1_000, ready: true }]
        }
        (Conduct::Boaster, Message::Block { .. }) => Vec::new(),
        _ => vec![message.clone()],
    }
}

fn forged(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

/// Where nothing else goes wrong everybody hears both; else a peer hears one, the other, or both.
fn two_faced([one, other]: [Message; 2], dice: &mut Dice, scene: &Scene) -> Vec<Message> {
    match dice.below(3) {
        _ if scene.delay_ms.0 == scene.delay_ms.1 => vec![one, other],
        0 => vec![one],
        1 => vec![other],
        _ => vec![one, other],
    }
}

/// The contrary: none instead of a block, and a block that it knows, or one that nobody does, instead of none.
fn other_vote(node: &Node, signed: &SignedVote, network: &Network) -> SignedVote {
    let known = node.approved.last().copied().unwrap_or(Digest([9; 32]));
    let mut vote = signed.vote;
    vote.block = if vote.block == Digest::ZERO { known } else { Digest::ZERO };
    SignedVote { vote, validator: node.me, signature: node.key.sign(&vote.digest(network)) }
}

/// Another block, as valid as the first.
fn other_proposal(node: &Node, signed: &SignedProposal, network: &Network) -> Message {
    let (block, bytes) =
        node.ledger.propose(node.me, &BTreeSet::from([u64::from(signed.proposal.round) + 1_000]), false);
    let proposal = talkoo_base::Proposal { block, body: keccak256(&[&bytes]), valid_round: None, ..signed.proposal };
    let signature = node.key.sign(&proposal.digest(network));
    Message::Proposal { proposal: SignedProposal { proposal, proposer: node.me, signature }, bytes }
}

/// Its own vote in the name of everybody, and certificates made of it.
fn forged_votes(signed: &SignedVote, message: &Message, others: &[Address]) -> Vec<Message> {
    let names: Vec<SignedVote> = others.iter().map(|other| SignedVote { validator: *other, ..*signed }).collect();
    let mut said: Vec<Message> = names.iter().map(|vote| Message::Vote(*vote)).collect();
    for votes in [vec![*signed], vec![*signed; others.len()], names] {
        match signed.vote.kind {
            _ if votes.is_empty() => {}
            VoteKind::Prevote if signed.vote.block != Digest::ZERO => said.push(Message::Polka { votes }),
            VoteKind::Prevote => said.push(Message::Round { skip: true, votes }),
            VoteKind::Precommit => said.push(Message::Round { skip: false, votes }),
        }
    }
    said.push(message.clone());
    said
}

/// Another block in the place of a final one, as valid, with a certificate of its own making.
fn other_block(node: &Node, certificate: &Certificate, network: &Network) -> Message {
    let Certificate { height, round, .. } = *certificate;
    let (block, bytes) = node.ledger.before(height).propose(node.me, &BTreeSet::from([2_000]), false);
    let vote = Vote { kind: VoteKind::Precommit, height, round, block };
    let signatures = vec![node.key.sign(&vote.digest(network)); certificate.signatures.len()];
    Message::Block { certificate: Certificate { height, round, block, signatures }, bytes }
}
