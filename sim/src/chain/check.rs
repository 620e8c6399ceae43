//! What has to hold after every step, whatever the bad ones and the network do.

use std::collections::{BTreeMap, BTreeSet};
use talkoo_base::wire::Typed;
use talkoo_base::{Address, Certificate, Digest, Network, Validator, VoteKind};
use talkoo_chain::{Message, SignedProposal, SignedVote};

/// Everything the world remembers of what nodes said and did.
#[derive(Default)]
pub(super) struct Check {
    /// The block of each height.
    blocks: BTreeMap<u64, Digest>,
    /// What each honest validator signed: height, round, kind (0 is a proposal).
    signed: BTreeMap<(Address, u64, u32, u8), Digest>,
    /// Who prevoted for which block: height, round, block.
    prevotes: BTreeMap<(u64, u32, Digest), BTreeSet<Address>>,
    /// Who decides each height.
    sets: BTreeMap<u64, Vec<Validator>>,
    /// The reports of double votes that are on their way into a block.
    pub(super) reported: BTreeSet<u64>,
    /// Who was proved to have voted twice.
    pub(super) convicted: BTreeSet<Address>,
    /// The first thing that must not be.
    pub(super) broken: Option<String>,
}

impl Check {
    fn hold(&mut self, holds: bool, why: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(why());
        }
    }

    /// A block became final somewhere.
    pub(super) fn committed(
        &mut self,
        who: usize,
        certificate: &Certificate,
        validators: &[Validator],
        network: &Network,
    ) {
        let (height, block) = (certificate.height, certificate.block);
        let agreed = *self.blocks.entry(height).or_insert(block);
        self.hold(agreed == block, || {
            format!("a fork: block {height} of node {who} is {block}, another's is {agreed}")
        });
        let verified = certificate.verify(validators, network);
        self.hold(verified.is_ok(), || format!("node {who}'s certificate of block {height}: {verified:?}"));
    }

    /// A node works out who decides a height: everybody the same.
    pub(super) fn decides(&mut self, who: usize, height: u64, set: &[Validator]) {
        let known = self.sets.entry(height).or_insert_with(|| set.to_vec()) == set;
        self.hold(known, || format!("node {who} has other validators at height {height}: {set:?}"));
    }

    /// An honest node executed a block that agreement is reached on: it has to be valid.
    pub(super) fn executed(&mut self, who: usize, height: u64, valid: bool) {
        self.hold(valid, || format!("node {who} was given an invalid block {height} to write"));
    }

    /// An honest validator says something.
    pub(super) fn said(&mut self, me: Address, message: &Message, approved: &BTreeSet<Digest>, network: &Network) {
        let (place, digest) = match message {
            Message::Vote(SignedVote { vote, validator, .. }) if *validator == me => {
                let known = vote.block == Digest::ZERO || approved.contains(&vote.block);
                self.hold(known, || format!("{me} voted for block {} and never executed it", vote.block));
                ((me, vote.height, vote.round, vote.kind as u8 + 1), vote.digest(network))
            }
            Message::Proposal { proposal: SignedProposal { proposal, proposer, .. }, .. } if *proposer == me => {
                ((me, proposal.height, proposal.round, 0), proposal.digest(network))
            }
            _ => return,
        };
        let before = *self.signed.entry(place).or_insert(digest);
        self.hold(before == digest, || format!("an honest validator signed twice differently: {place:?}"));
    }

    /// A validator votes, be it honest or not: nobody honest may precommit a block before two thirds prevoted for it.
    pub(super) fn voted(&mut self, signed: &SignedVote, honest: bool, validators: &[Validator]) {
        let SignedVote { vote, validator, .. } = *signed;
        if vote.block == Digest::ZERO {
            return;
        }
        let prevotes = self.prevotes.entry((vote.height, vote.round, vote.block)).or_default();
        if vote.kind == VoteKind::Prevote {
            prevotes.insert(validator);
        } else if honest {
            let total: u64 = validators.iter().map(|v| v.power).sum();
            let have: u64 = validators.iter().filter(|v| prevotes.contains(&v.address)).map(|v| v.power).sum();
            self.hold(have * 3 > total * 2, || format!("{validator} precommitted {} on {have} of {total}", vote.block));
        }
    }

    /// A node shows two votes.
    pub(super) fn accused(&mut self, votes: &[SignedVote; 2], honest: &BTreeSet<Address>, network: &Network) {
        let [a, b] = votes;
        let signed = |v: &SignedVote| talkoo_base::recover(&v.vote.digest(network), &v.signature) == Ok(v.validator);
        let place = |v: &SignedVote| (v.validator, v.vote.height, v.vote.round, v.vote.kind == VoteKind::Prevote);
        let proof = place(a) == place(b) && a.vote.block != b.vote.block && signed(a) && signed(b);
        self.hold(proof, || format!("evidence that proves nothing: {votes:?}"));
        self.hold(!honest.contains(&a.validator), || format!("an honest validator is accused: {votes:?}"));
        self.convicted.insert(a.validator);
    }
}
