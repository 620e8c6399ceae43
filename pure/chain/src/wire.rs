//! What validators say to each other and write into the journal, as bytes.
//!
//! Canonical DAG-CBOR on `/talkoo/<network>/chain/1`, one message a frame. A signature's maker is named beside it, so
//! that one recovery checks it; nothing here has been checked.

use crate::limits::{BLOCK_BYTES_MAX, FETCH_BLOCKS_MAX, HEIGHT_MAX, ROUND_MAX};
use serde::{Deserialize, Serialize};
use talkoo_base::wire::{Check, DecodeError, decode, encode};
use talkoo_base::{Address, Certificate, Digest, Proposal, Signature, VALIDATORS_MAX, Validator, Vote, VoteKind};

/// A vote and whose it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVote {
    /// What was voted.
    pub vote: Vote,
    /// Who.
    pub validator: Address,
    /// Over the vote's digest.
    pub signature: Signature,
}

/// A proposal and whose it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedProposal {
    /// What is proposed.
    pub proposal: Proposal,
    /// By whom.
    pub proposer: Address,
    /// Over the proposal's digest.
    pub signature: Signature,
}

/// What nodes say to each other about blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A vote.
    Vote(SignedVote),
    /// A block is proposed.
    Proposal {
        /// By whom, for which round.
        proposal: SignedProposal,
        /// The block.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Prevotes of more than two thirds for one block.
    Polka {
        /// The prevotes.
        votes: Vec<SignedVote>,
    },
    /// Why a round may be entered.
    Round {
        /// Votes of more than one third in that round; else precommits of more than two thirds in the one before.
        skip: bool,
        /// The votes.
        votes: Vec<SignedVote>,
    },
    /// How far a node is.
    Status {
        /// Its last final block.
        height: u64,
        /// Whether it has something for the next one.
        ready: bool,
    },
    /// A node that is behind asks for blocks.
    Fetch {
        /// The first one.
        height: u64,
        /// How many, at most.
        count: u32,
    },
    /// A final block.
    Block {
        /// Why it is final.
        certificate: Certificate,
        /// The block.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
}

fn rule(holds: bool, what: &'static str) -> Result<(), DecodeError> {
    if holds { Ok(()) } else { Err(DecodeError::Rule(what)) }
}

fn check_place(height: u64, round: u32) -> Result<(), DecodeError> {
    rule((1..HEIGHT_MAX).contains(&height), "heights are 1 to 2^62")?;
    rule(round < ROUND_MAX, "rounds are below 2^30")
}

fn check_block(bytes: &[u8]) -> Result<(), DecodeError> {
    rule(bytes.len() <= BLOCK_BYTES_MAX, "a block has at most 768 KiB")
}

/// All of one height and round.
fn check_votes(votes: &[SignedVote]) -> Result<(), DecodeError> {
    let first = votes.first().ok_or(DecodeError::Rule("a certificate has a vote"))?.vote;
    rule(votes.len() <= VALIDATORS_MAX, "a certificate has at most 128 votes")?;
    let same = votes.iter().all(|v| (v.vote.height, v.vote.round) == (first.height, first.round));
    rule(same, "the votes of a certificate are of one round")?;
    check_place(first.height, first.round)
}

impl Check for Message {
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::Vote(signed) => check_place(signed.vote.height, signed.vote.round),
            Self::Proposal { proposal: SignedProposal { proposal, .. }, bytes } => {
                proposal.check()?;
                let before = proposal.valid_round.is_none_or(|valid| valid < proposal.round);
                rule(before, "what stands behind a proposal is of an earlier round")?;
                check_place(proposal.height, proposal.round)?;
                check_block(bytes)
            }
            Self::Polka { votes } => {
                check_votes(votes)?;
                let Vote { block, .. } = votes[0].vote;
                let same = votes.iter().all(|v| v.vote.kind == VoteKind::Prevote && v.vote.block == block);
                rule(same && block != Digest::ZERO, "a polka is prevotes for one block")
            }
            Self::Round { skip, votes } => {
                check_votes(votes)?;
                let precommits = votes.iter().all(|v| v.vote.kind == VoteKind::Precommit);
                rule(*skip || precommits, "precommits end a round")
            }
            Self::Status { height, .. } => rule(*height < HEIGHT_MAX, "heights are 1 to 2^62"),
            Self::Fetch { height, count } => {
                check_place(*height, 0)?;
                rule((1..=FETCH_BLOCKS_MAX).contains(count), "1 to 16 blocks are fetched at once")
            }
            Self::Block { certificate, bytes } => {
                certificate.check()?;
                check_place(certificate.height, certificate.round)?;
                check_block(bytes)
            }
        }
    }
}

impl Message {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`DecodeError`] if they break a rule or are not the one spelling of their message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }

    /// The height it is about, if it is about one that is not final yet.
    pub(crate) fn height(&self) -> Option<u64> {
        match self {
            Self::Vote(SignedVote { vote, .. }) => Some(vote.height),
            Self::Proposal { proposal, .. } => Some(proposal.proposal.height),
            Self::Polka { votes } | Self::Round { votes, .. } => votes.first().map(|v| v.vote.height),
            Self::Status { .. } | Self::Fetch { .. } | Self::Block { .. } => None,
        }
    }
}

/// The waits of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// For the proposal.
    Propose,
    /// For the last prevotes.
    Prevote,
    /// For the last precommits.
    Precommit,
}

/// A durable change of the chain: all that a restarted node needs to say again what it said, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The block before is final; this is the height to agree on.
    Height {
        /// Its number.
        height: u64,
        /// Who votes.
        validators: Vec<Validator>,
        /// Whose turn to propose does not come.
        absent: Vec<Address>,
    },
    /// A vote counted, ours or another's.
    Vote(SignedVote),
    /// A proposal was taken, ours or another's.
    Proposal(SignedProposal),
    /// Prevotes counted together.
    Polka {
        /// The prevotes.
        votes: Vec<SignedVote>,
    },
    /// A wait was over.
    Timeout {
        /// Of which height.
        height: u64,
        /// Of which round.
        round: u32,
        /// For what.
        step: Step,
    },
    /// A block was made or executed here.
    Value {
        /// Its height.
        height: u64,
        /// The round in which it was first seen.
        round: u32,
        /// Who proposed it then.
        proposer: Address,
        /// Hash of its header.
        block: Digest,
        /// keccak256 of its bytes.
        body: Digest,
        /// Whether it may follow the block before.
        valid: bool,
        /// Its bytes; none if it is not valid.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
}

impl Event {
    /// The journal's bytes: version 1, then DAG-CBOR.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(encode(self));
        bytes
    }

    /// Reads the journal's bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are of another version, damaged, or not the one spelling of their event.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.split_first() {
            Some((1, rest)) => decode(rest),
            Some((version, _)) => Err(DecodeError::UnsupportedVersion((*version).into())),
            None => Err(DecodeError::Malformed("empty event".into())),
        }
    }
}

impl Check for Event {
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::Height { height, validators, .. } => {
                rule((1..=VALIDATORS_MAX).contains(&validators.len()), "a chain has 1 to 128 validators")?;
                check_place(*height, 0)
            }
            Self::Vote(signed) => check_place(signed.vote.height, signed.vote.round),
            Self::Proposal(signed) => check_place(signed.proposal.height, signed.proposal.round),
            Self::Polka { votes } => check_votes(votes),
            Self::Timeout { height, round, .. } => check_place(*height, *round),
            Self::Value { height, round, bytes, .. } => {
                check_place(*height, *round)?;
                check_block(bytes)
            }
        }
    }
}
