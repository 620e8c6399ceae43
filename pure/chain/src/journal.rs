//! The write-ahead log of a height: what of the core's inputs is an event, and back.

use crate::context::{Address, Ctx, Height, Value};
use crate::wire::{Event, Message, SignedVote, Step};
use malachite::{Input as Fed, LivenessMsg, ProposedValue};
use malachite_types::{
    CommitCertificate, PolkaCertificate, Round, RoundCertificate, RoundCertificateType, Timeout, TimeoutKind, Validity,
    ValueOrigin,
};
use talkoo_base::{Certificate, Digest};

/// The event of an input, the bytes of a block apart; none for what is not kept.
pub(crate) fn event(height: Height, input: Fed<Ctx>) -> Option<Event> {
    Some(match input {
        Fed::Vote(vote) => Event::Vote(Ctx::signed_vote(&vote)),
        Fed::Proposal(proposal) => Event::Proposal(Ctx::signed_proposal(&proposal)),
        Fed::PolkaCertificate(polka) => Event::Polka { votes: polka_votes(&polka) },
        Fed::TimeoutElapsed(timeout) => {
            let step = match timeout.kind {
                TimeoutKind::Propose => Step::Propose,
                TimeoutKind::Prevote => Step::Prevote,
                TimeoutKind::Precommit => Step::Precommit,
                TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
            };
            Event::Timeout { height: height.0, round: timeout.round.as_u32()?, step }
        }
        Fed::ProposedValue(proposed, _) => Event::Value {
            height: height.0,
            round: proposed.round.as_u32()?,
            proposer: proposed.proposer.0,
            block: proposed.value.block,
            body: proposed.value.body,
            valid: proposed.validity.is_valid(),
            bytes: Vec::new(),
        },
        Fed::StartHeight(..) | Fed::RoundCertificate(_) | Fed::Propose(_) | Fed::SyncValueResponse(_) => return None,
    })
}

/// The input of an event; none for the beginning of a height.
pub(crate) fn input(event: &Event) -> Option<Fed<Ctx>> {
    Some(match event {
        Event::Height { .. } => return None,
        Event::Vote(signed) => Fed::Vote(Ctx::vote(signed)),
        Event::Proposal(signed) => Fed::Proposal(Ctx::proposal(signed)),
        Event::Polka { votes } => Fed::PolkaCertificate(polka(votes)?),
        Event::Timeout { round, step, .. } => {
            let kind = match step {
                Step::Propose => TimeoutKind::Propose,
                Step::Prevote => TimeoutKind::Prevote,
                Step::Precommit => TimeoutKind::Precommit,
            };
            Fed::TimeoutElapsed(Timeout::new(Round::new(*round), kind))
        }
        Event::Value { height, round, proposer, block, body, valid, .. } => {
            let value = Value { block: *block, body: *body };
            executed(*height, *round, *proposer, value, *valid)
        }
    })
}

/// The executor's word on a block, for the core.
pub(crate) fn executed(height: u64, round: u32, proposer: talkoo_base::Address, value: Value, valid: bool) -> Fed<Ctx> {
    let proposed = ProposedValue {
        height: Height(height),
        round: Round::new(round),
        valid_round: Round::Nil,
        proposer: Address(proposer),
        value,
        validity: Validity::from_bool(valid),
    };
    Fed::ProposedValue(proposed, ValueOrigin::Consensus)
}

/// The height of an event.
pub(crate) fn height(event: &Event) -> u64 {
    match event {
        Event::Height { height, .. } | Event::Timeout { height, .. } | Event::Value { height, .. } => *height,
        Event::Vote(signed) => signed.vote.height,
        Event::Proposal(signed) => signed.proposal.height,
        Event::Polka { votes } => votes.first().map_or(0, |v| v.vote.height),
    }
}

/// Prevotes as a certificate of the core.
pub(crate) fn polka(votes: &[SignedVote]) -> Option<PolkaCertificate<Ctx>> {
    let first = votes.first()?.vote;
    let votes = votes.iter().map(Ctx::vote).collect();
    Some(PolkaCertificate::new(Height(first.height), Round::new(first.round), first.block, votes))
}

/// Votes as a certificate of the core.
pub(crate) fn round(skip: bool, votes: &[SignedVote]) -> Option<RoundCertificate<Ctx>> {
    let first = votes.first()?.vote;
    let kind = if skip { RoundCertificateType::Skip } else { RoundCertificateType::Precommit };
    let votes = votes.iter().map(Ctx::vote).collect();
    Some(RoundCertificate::new_from_votes(Height(first.height), Round::new(first.round), kind, votes))
}

/// The votes of a certificate of the core.
pub(crate) fn polka_votes(polka: &PolkaCertificate<Ctx>) -> Vec<SignedVote> {
    polka.votes(&Ctx).map(|v| Ctx::signed_vote(&v)).collect()
}

/// The votes of a certificate of the core.
pub(crate) fn round_votes(round: &RoundCertificate<Ctx>) -> Vec<SignedVote> {
    round.votes(&Ctx).map(|v| Ctx::signed_vote(&v)).collect()
}

/// What keeps the others going, as a message.
pub(crate) fn liveness(message: LivenessMsg<Ctx>) -> Message {
    match message {
        LivenessMsg::Vote(vote) => Message::Vote(Ctx::signed_vote(&vote)),
        LivenessMsg::PolkaCertificate(polka) => Message::Polka { votes: polka_votes(&polka) },
        LivenessMsg::SkipRoundCertificate(round) => {
            let skip = round.cert_type == RoundCertificateType::Skip;
            Message::Round { skip, votes: round_votes(&round) }
        }
    }
}

/// Height, round and block of a decision.
pub(crate) fn place(certificate: &CommitCertificate<Ctx>) -> (u64, u32, Digest) {
    (certificate.height.0, certificate.round.as_u32().unwrap_or_default(), certificate.value_id)
}

/// A decision as a record.
pub(crate) fn record(certificate: &CommitCertificate<Ctx>) -> Certificate {
    let (height, round, block) = place(certificate);
    let signatures = certificate.commit_signatures.iter().map(|s| s.signature).collect();
    Certificate { height, round, block, signatures }
}
