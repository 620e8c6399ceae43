//! Our words in the grammar of the consensus core: its `Context` and what belongs to it.
//!
//! A value is the hash of a block, not the block: the core holds and compares 32 bytes, the bytes travel beside the
//! proposal and stay in [`crate::host`].

use crate::validators::{Validators, Voter};
use crate::wire::{SignedProposal, SignedVote};
use malachite_types::{self as core, NilOrVal, Round, VoteType};
use std::fmt;
use std::time::Duration;
use talkoo_base as base;
use talkoo_base::{Digest, Signature, VoteKind};

/// A validator's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(pub(crate) base::Address);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Address for Address {}

/// Number of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(pub(crate) u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);
    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }
    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }
    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// What is agreed on: a block, by the hash of its header. The hash of its bytes is no part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) block: Digest,
    pub(crate) body: Digest,
}

impl core::Value for Value {
    type Id = Digest;
    fn id(&self) -> Digest {
        self.block
    }
}

/// A vote as the core keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    kind: VoteType,
    height: Height,
    round: Round,
    block: NilOrVal<Digest>,
    validator: Address,
}

impl Vote {
    /// What is signed.
    pub(crate) fn body(&self) -> base::Vote {
        let kind = match self.kind {
            VoteType::Prevote => VoteKind::Prevote,
            VoteType::Precommit => VoteKind::Precommit,
        };
        let block = self.block.as_ref().cloned().value_or_default();
        base::Vote { kind, height: self.height.0, round: self.round.as_u32().unwrap_or_default(), block }
    }
}

impl core::Vote<Ctx> for Vote {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &NilOrVal<Digest> {
        &self.block
    }
    fn take_value(self) -> NilOrVal<Digest> {
        self.block
    }
    fn vote_type(&self) -> VoteType {
        self.kind
    }
    fn validator_address(&self) -> &Address {
        &self.validator
    }
    fn extension(&self) -> Option<&core::SignedExtension<Ctx>> {
        None
    }
    fn take_extension(&mut self) -> Option<core::SignedExtension<Ctx>> {
        None
    }
    fn extend(self, _: core::SignedExtension<Ctx>) -> Self {
        self
    }
}

/// A proposal as the core keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    height: Height,
    round: Round,
    value: Value,
    valid_round: Round,
    proposer: Address,
}

impl Proposal {
    /// What is signed.
    pub(crate) fn body(&self) -> base::Proposal {
        let Value { block, body } = self.value;
        let round = self.round.as_u32().unwrap_or_default();
        base::Proposal { height: self.height.0, round, valid_round: self.valid_round.as_u32(), block, body }
    }
}

impl core::Proposal<Ctx> for Proposal {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &Value {
        &self.value
    }
    fn take_value(self) -> Value {
        self.value
    }
    fn pol_round(&self) -> Round {
        self.valid_round
    }
    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

impl core::Validator<Ctx> for Voter {
    fn address(&self) -> &Address {
        &self.address
    }
    fn public_key(&self) -> &Address {
        &self.address
    }
    fn voting_power(&self) -> u64 {
        self.power
    }
}

impl core::ValidatorSet<Ctx> for Validators {
    fn count(&self) -> usize {
        self.voters().len()
    }
    fn total_voting_power(&self) -> u64 {
        self.power()
    }
    fn get_by_address(&self, address: &Address) -> Option<&Voter> {
        self.get(address.0)
    }
    fn get_by_index(&self, index: usize) -> Option<&Voter> {
        self.voters().get(index)
    }
}

/// Blocks travel beside the proposal: there are no parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoPart;

impl core::ProposalPart<Ctx> for NoPart {
    fn is_first(&self) -> bool {
        true
    }
    fn is_last(&self) -> bool {
        true
    }
}

/// The waits are in [`crate::host`], which has the timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoTimeouts;

impl core::Timeouts<Ctx> for NoTimeouts {
    fn duration_for(&self, _: core::Timeout) -> Duration {
        Duration::ZERO
    }
}

/// secp256k1 with recovery: a public key is an address. The core never sees a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheme;

impl core::SigningScheme for Scheme {
    type DecodingError = &'static str;
    type Signature = Signature;
    type PublicKey = Address;
    type PrivateKey = ();
    fn decode_signature(bytes: &[u8]) -> Result<Signature, &'static str> {
        bytes.try_into().map(Signature).map_err(|_| "a signature has 65 bytes")
    }
    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.to_vec()
    }
    fn decode_public_key(bytes: &[u8]) -> Result<Address, &'static str> {
        bytes.try_into().map(|bytes| Address(base::Address(bytes))).map_err(|_| "an address has 20 bytes")
    }
    fn encode_public_key(key: &Address) -> Vec<u8> {
        key.0.0.to_vec()
    }
}

/// Ties them together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ctx;

impl Ctx {
    /// A vote of a message, for the core.
    pub(crate) fn vote(signed: &SignedVote) -> core::SignedVote<Self> {
        let SignedVote { vote, validator, signature } = *signed;
        let kind = match vote.kind {
            VoteKind::Prevote => VoteType::Prevote,
            VoteKind::Precommit => VoteType::Precommit,
        };
        let block = if vote.block == Digest::ZERO { NilOrVal::Nil } else { NilOrVal::Val(vote.block) };
        let (height, round, validator) = (Height(vote.height), Round::new(vote.round), Address(validator));
        core::SignedVote::new(Vote { kind, height, round, block, validator }, signature)
    }

    /// A vote of the core, for a message.
    pub(crate) fn signed_vote(vote: &core::SignedVote<Self>) -> SignedVote {
        let (validator, signature) = (vote.message.validator.0, vote.signature);
        SignedVote { vote: vote.message.body(), validator, signature }
    }

    /// A proposal of a message, for the core.
    pub(crate) fn proposal(signed: &SignedProposal) -> core::SignedProposal<Self> {
        let SignedProposal { proposal, proposer, signature } = *signed;
        let value = Value { block: proposal.block, body: proposal.body };
        let (height, round) = (Height(proposal.height), Round::new(proposal.round));
        let (valid_round, proposer) = (Round::from(proposal.valid_round), Address(proposer));
        core::SignedProposal::new(Proposal { height, round, value, valid_round, proposer }, signature)
    }

    /// A proposal of the core, for a message.
    pub(crate) fn signed_proposal(proposal: &core::SignedProposal<Self>) -> SignedProposal {
        let (proposer, signature) = (proposal.message.proposer.0, proposal.signature);
        SignedProposal { proposal: proposal.message.body(), proposer, signature }
    }
}

impl core::Context for Ctx {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Voter;
    type ValidatorSet = Validators;
    type Timeouts = NoTimeouts;
    type Value = Value;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Scheme;

    fn select_proposer<'a>(&self, set: &'a Validators, height: Height, round: Round) -> &'a Voter {
        set.proposer(height.0, round.as_u32().unwrap_or_default())
    }
    fn new_proposal(&self, height: Height, round: Round, value: Value, valid: Round, proposer: Address) -> Proposal {
        Proposal { height, round, value, valid_round: valid, proposer }
    }
    fn new_prevote(&self, height: Height, round: Round, block: NilOrVal<Digest>, validator: Address) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, block, validator }
    }
    fn new_precommit(&self, height: Height, round: Round, block: NilOrVal<Digest>, validator: Address) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, block, validator }
    }
}
