//! What the consensus core asks of its host: timers, signatures, the write-ahead log, messages to send.
//!
//! Nothing is signed twice differently: what was signed at this height is kept, refolded from the journal, and asserted.

use crate::context::{Address, Ctx, Height, Vote as CoreVote};
use crate::limits::{CHECKED_MAX, PROPOSE_MS, RELAY_MS, REPEAT_MS, ROUND_MORE_MS, ROUND_MS_MAX, VOTE_MS};
use crate::validators::Validators;
use crate::wire::{Event, Message, SignedProposal, SignedVote};
use crate::{Effect, Notice, journal};
use malachite::{ConsensusMsg, Effect as Asked, Input as Fed, LivenessMsg, Resumable, Resume};
use malachite::{SignedConsensusMsg, VoteExtensionError};
use malachite_types::{CertificateError, CommitCertificate, RoundCertificateType, SignedMessage, Timeout, TimeoutKind};
use std::collections::BTreeMap;
use std::convert::Infallible;
use talkoo_base::wire::Typed;
use talkoo_base::{Certificate, Digest, Millis, Mono, Network, Signature, Signer, Vote, VoteKind, keccak256, recover};

/// A block that waits for the executor's word.
pub(crate) struct Waiting {
    pub(crate) round: u32,
    pub(crate) proposer: talkoo_base::Address,
    pub(crate) bytes: Vec<u8>,
}

/// The host of one core.
pub(crate) struct Host {
    signer: Box<dyn Signer>,
    pub(crate) me: talkoo_base::Address,
    network: Network,
    pub(crate) now: Mono,
    pub(crate) timers: Vec<(Mono, Timeout)>,
    /// What was recorded of this height.
    pub(crate) log: Vec<Event>,
    /// What of it we signed: kind (0 is a proposal), round, digest.
    signed: BTreeMap<(u8, u32), Digest>,
    /// Signatures that were checked at this height: a certificate's votes were mostly seen before.
    checked: BTreeMap<(talkoo_base::Address, Digest), Signature>,
    /// When others' votes and proposals of this height were last said on; at most [`CHECKED_MAX`].
    relayed: BTreeMap<(talkoo_base::Address, Digest), Mono>,
    /// Blocks to be executed, by their two hashes.
    pub(crate) waiting: BTreeMap<(Digest, Digest), Waiting>,
    /// The bytes beside the proposal that is being fed.
    pub(crate) incoming: Option<Vec<u8>>,
    /// The core wants a block of ours for this round.
    pub(crate) wanted: Option<u32>,
    pub(crate) decided: Option<Certificate>,
}

impl Host {
    pub(crate) fn new(signer: Box<dyn Signer>, network: Network) -> Self {
        Self {
            me: signer.address(),
            signer,
            network,
            now: Mono::default(),
            timers: Vec::new(),
            log: Vec::new(),
            signed: BTreeMap::new(),
            checked: BTreeMap::new(),
            relayed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            incoming: None,
            wanted: None,
            decided: None,
        }
    }

    /// Forgets all of the height before.
    pub(crate) fn clear(&mut self) {
        self.timers.clear();
        self.log.clear();
        self.signed.clear();
        self.checked.clear();
        self.relayed.clear();
        self.waiting.clear();
        (self.incoming, self.wanted, self.decided) = (None, None, None);
    }

    /// Keeps an event of this height: from the journal, or on the way to it.
    pub(crate) fn keep(&mut self, event: Event) {
        let ours = match &event {
            Event::Vote(SignedVote { vote, validator, .. }) if *validator == self.me => {
                Some((vote.kind as u8 + 1, vote.round, vote.digest(&self.network)))
            }
            Event::Proposal(SignedProposal { proposal, proposer, .. }) if *proposer == self.me => {
                Some((0, proposal.round, proposal.digest(&self.network)))
            }
            _ => None,
        };
        if let Some((kind, round, digest)) = ours {
            self.signed.entry((kind, round)).or_insert(digest);
        }
        self.log.push(event);
    }

    /// A block that was made or found valid here.
    pub(crate) fn valid_bytes(&self, hash: Digest) -> Option<&Vec<u8>> {
        self.log.iter().find_map(|event| match event {
            Event::Value { block, valid: true, bytes, .. } if *block == hash => Some(bytes),
            _ => None,
        })
    }

    /// Carries out one wish of the core. Never refuses: the error is the macro's.
    pub(crate) fn effect(&mut self, set: &Validators, asked: Asked<Ctx>, out: &mut Vec<Effect>) -> Done {
        use Asked::*;
        Ok(match asked {
            CancelAllTimeouts(r) => {
                self.timers.clear();
                r.resume_with(())
            }
            CancelTimeout(timeout, r) => {
                self.timers.retain(|(_, t)| *t != timeout);
                r.resume_with(())
            }
            ScheduleTimeout(timeout, r) => {
                self.timers.retain(|(_, t)| *t != timeout);
                self.timers.push((self.now + wait(timeout), timeout));
                r.resume_with(())
            }
            StartRound(height, round, proposer, _, r) => {
                self.wanted = None;
                let round = round.as_u32().unwrap_or_default();
                out.push(Effect::Notice(Notice::Round { height: height.0, round, proposer: proposer.0 }));
                r.resume_with(())
            }
            PublishConsensusMsg(message, r) => {
                self.publish(&message, out);
                r.resume_with(())
            }
            PublishLivenessMsg(message, r) => {
                out.push(Effect::Broadcast(journal::liveness(message)));
                r.resume_with(())
            }
            RepublishVote(vote, r) => {
                out.push(Effect::Broadcast(Message::Vote(Ctx::signed_vote(&vote))));
                r.resume_with(())
            }
            RepublishRoundCertificate(certificate, r) => {
                out.push(Effect::Broadcast(journal::liveness(LivenessMsg::SkipRoundCertificate(certificate))));
                r.resume_with(())
            }
            GetValue(_, round, _, r) => {
                self.wanted = round.as_u32();
                r.resume_with(())
            }
            Decide(certificate, _, r) => {
                self.decided = Some(journal::record(&certificate));
                r.resume_with(())
            }
            Finalize(_, _, evidence, r) => {
                tell_evidence(evidence.votes, out);
                r.resume_with(())
            }
            SignVote(vote, r) => r.resume_with(self.sign_vote(vote)),
            SignProposal(proposal, r) => {
                let body = proposal.body();
                let signature = self.sign((0, body.round), body.digest(&self.network));
                r.resume_with(SignedMessage::new(proposal, signature))
            }
            WalAppend(height, input, r) => {
                self.append(height, input, out);
                r.resume_with(())
            }
            // A proposal that is sent again brings its block along; catching up and extensions are not the core's here.
            RestreamProposal(.., r) | CertVerifiedSyncValue(.., r) | CertRejectedSyncValue(.., r) => r.resume_with(()),
            ExtendVote(.., r) => r.resume_with(None),
            VerifyVoteExtension(.., r) => r.resume_with(Err(VoteExtensionError::InvalidVoteExtension)),
            check => self.verify(set, check),
        })
    }

    /// Checks signatures and certificates: of every kind, and every signature.
    fn verify(&mut self, set: &Validators, asked: Asked<Ctx>) -> Resume<Ctx> {
        match asked {
            Asked::VerifySignature(SignedMessage { message, signature, .. }, address, r) => {
                let digest = match message {
                    ConsensusMsg::Vote(vote) => vote.body().digest(&self.network),
                    ConsensusMsg::Proposal(proposal) => proposal.body().digest(&self.network),
                };
                r.resume_with(self.is_signed(address.0, digest, &signature))
            }
            Asked::VerifyCommitCertificate(certificate, _, _, r) => r.resume_with(self.commit(set, &certificate)),
            Asked::VerifyExtendedCommitCertificate(certificate, _, _, _, r) => {
                r.resume_with(self.commit(set, &certificate.trim_vote_extensions()))
            }
            Asked::VerifyPolkaCertificate(certificate, _, _, r) => {
                let votes = journal::polka_votes(&certificate);
                r.resume_with(self.count(set, &votes, 2))
            }
            Asked::VerifyRoundCertificate(certificate, _, _, r) => {
                let votes = journal::round_votes(&certificate);
                let thirds = match certificate.cert_type {
                    RoundCertificateType::Precommit => 2,
                    RoundCertificateType::Skip => 1,
                };
                let stray = votes.iter().find(|v| thirds == 2 && v.vote.kind == VoteKind::Prevote);
                let wrong = stray.map(|v| CertificateError::InvalidVoteType(Address(v.validator)));
                r.resume_with(wrong.map_or_else(|| self.count(set, &votes, thirds), Err))
            }
            other => unreachable!("the core asked for what is no check: {other:?}"),
        }
    }

    fn commit(&mut self, set: &Validators, certificate: &CommitCertificate<Ctx>) -> Checked {
        let (height, round, block) = journal::place(certificate);
        let vote = Vote { kind: VoteKind::Precommit, height, round, block };
        let signed = |s: &malachite_types::CommitSignature<Ctx>| SignedVote {
            vote,
            validator: s.address.0,
            signature: s.signature,
        };
        let votes: Vec<_> = certificate.commit_signatures.iter().map(signed).collect();
        self.count(set, &votes, 2)
    }

    /// Whether validators with more than so many thirds of the power made these votes, none of them twice.
    fn count(&mut self, set: &Validators, votes: &[SignedVote], thirds: u64) -> Checked {
        let mut power = 0;
        for (i, signed) in votes.iter().enumerate() {
            let address = Address(signed.validator);
            let Some(voter) = set.get(signed.validator) else {
                return Err(CertificateError::UnknownValidator(address));
            };
            if votes[..i].iter().any(|earlier| earlier.validator == signed.validator) {
                return Err(CertificateError::DuplicateVote(address));
            }
            if !self.is_vote(signed) {
                return Err(CertificateError::VerificationError(None));
            }
            power += voter.power;
        }
        let (total, expected) = (set.power(), set.power() / 3 * thirds);
        if power * 3 > total * thirds {
            return Ok(());
        }
        Err(CertificateError::NotEnoughVotingPower { signed: power, total, expected })
    }

    /// Whether `address` made this signature over a vote.
    pub(crate) fn is_vote(&mut self, signed: &SignedVote) -> bool {
        self.is_signed(signed.validator, signed.vote.digest(&self.network), &signed.signature)
    }

    /// Whether its proposer made this proposal.
    pub(crate) fn is_proposal(&mut self, signed: &SignedProposal) -> bool {
        self.is_signed(signed.proposer, signed.proposal.digest(&self.network), &signed.signature)
    }

    /// Whether a vote, a proposal or a certificate, all of whose signatures hold, is to be said on.
    pub(crate) fn is_news(&mut self, message: &Message) -> bool {
        let said = match message {
            Message::Polka { votes } | Message::Round { votes, .. } => (votes.iter().all(|vote| self.is_vote(vote)))
                .then(|| (votes[0].validator, keccak256(&[&message.to_bytes()]))),
            _ => self.statement(message).map(|(author, _, digest)| (author, digest)),
        };
        let Some((author, digest)) = said else { return false };
        let is_news = match self.relayed.get(&(author, digest)) {
            Some(before) => *before + RELAY_MS <= self.now,
            None => self.relayed.len() < CHECKED_MAX,
        };
        if is_news {
            self.relayed.insert((author, digest), self.now);
        }
        is_news
    }

    /// Whether a vote or proposal of our key was signed here; none if it is another's.
    pub(crate) fn is_ours(&self, message: &Message) -> Option<bool> {
        let (author, place, digest) = self.statement(message)?;
        (author == self.me).then(|| self.signed.get(&place) == Some(&digest))
    }

    /// Who says what for which place, as in `signed`.
    fn statement(&self, message: &Message) -> Option<(talkoo_base::Address, (u8, u32), Digest)> {
        match message {
            Message::Vote(SignedVote { vote, validator, .. }) => {
                Some((*validator, (vote.kind as u8 + 1, vote.round), vote.digest(&self.network)))
            }
            Message::Proposal { proposal: SignedProposal { proposal, proposer, .. }, .. } => {
                Some((*proposer, (0, proposal.round), proposal.digest(&self.network)))
            }
            _ => None,
        }
    }

    /// Whether more than two thirds of the power stand behind a final block.
    pub(crate) fn is_final(&self, set: &Validators, certificate: &Certificate) -> bool {
        certificate.verify(&set.records(), &self.network).is_ok()
    }

    fn is_signed(&mut self, address: talkoo_base::Address, digest: Digest, signature: &Signature) -> bool {
        if self.checked.get(&(address, digest)) == Some(signature) {
            return true;
        }
        let signed = recover(&digest, signature) == Ok(address);
        if signed && self.checked.len() < CHECKED_MAX {
            self.checked.insert((address, digest), *signature);
        }
        signed
    }

    fn sign_vote(&mut self, vote: CoreVote) -> SignedMessage<Ctx, CoreVote> {
        let body = vote.body();
        let signature = self.sign((body.kind as u8 + 1, body.round), body.digest(&self.network));
        SignedMessage::new(vote, signature)
    }

    fn sign(&mut self, place: (u8, u32), digest: Digest) -> Signature {
        let before = *self.signed.entry(place).or_insert(digest);
        assert_eq!(before, digest, "a validator signs one vote of a kind and one proposal in a round");
        let signature = self.signer.sign(&digest);
        self.checked.insert((self.me, digest), signature);
        signature
    }

    /// The write-ahead log: what is in it already, because it is being replayed, is not written again.
    fn append(&mut self, height: Height, input: Fed<Ctx>, out: &mut Vec<Effect>) {
        let Some(mut event) = journal::event(height, input) else { return };
        if let Event::Value { block, body, valid, bytes, .. } = &mut event {
            let key = (*block, *body);
            if self.word(key) == Some(*valid) {
                return;
            }
            let waiting = self.waiting.remove(&key);
            *bytes = waiting.filter(|_| *valid).map(|w| w.bytes).unwrap_or_default();
        } else if self.log.contains(&event) {
            return;
        }
        self.keep(event.clone());
        let execute = match &event {
            Event::Proposal(signed) => self.execute(signed),
            _ => None,
        };
        out.push(Effect::Record(Box::new(event)));
        out.extend(execute);
    }

    /// The executor's last word on a block, by its two hashes.
    fn word(&self, key: (Digest, Digest)) -> Option<bool> {
        self.log.iter().rev().find_map(|event| match event {
            Event::Value { block, body, valid, .. } if (*block, *body) == key => Some(*valid),
            _ => None,
        })
    }

    /// Has a stranger's block executed, once: until then there is no vote for it.
    fn execute(&mut self, signed: &SignedProposal) -> Option<Effect> {
        let bytes = self.incoming.take()?;
        let SignedProposal { proposal, proposer, .. } = *signed;
        let key = (proposal.block, proposal.body);
        if self.waiting.contains_key(&key) || self.word(key).is_some() {
            return None;
        }
        let round = proposal.round;
        self.waiting.insert(key, Waiting { round, proposer, bytes: bytes.clone() });
        let builder = proposal.valid_round.is_none().then_some(proposer);
        let (height, block, body) = (proposal.height, proposal.block, proposal.body);
        Some(Effect::Validate { height, block, body, builder, bytes })
    }

    fn publish(&self, message: &SignedConsensusMsg<Ctx>, out: &mut Vec<Effect>) {
        out.extend(match message {
            SignedConsensusMsg::Vote(vote) => Some(Effect::Broadcast(Message::Vote(Ctx::signed_vote(vote)))),
            SignedConsensusMsg::Proposal(signed) => {
                let proposal = Ctx::signed_proposal(signed);
                let bytes = self.valid_bytes(proposal.proposal.block).cloned();
                bytes.map(|bytes| Effect::Broadcast(Message::Proposal { proposal, bytes }))
            }
        });
    }
}

/// How a wish of the core is answered.
type Done = Result<Resume<Ctx>, Infallible>;
/// What a check of a certificate says.
type Checked = Result<(), CertificateError<Ctx>>;

/// Says who voted twice differently in one round.
pub(crate) fn tell_evidence<I>(evidence: I, out: &mut Vec<Effect>)
where
    I: IntoIterator<Item = (Address, Vec<(malachite_types::SignedVote<Ctx>, malachite_types::SignedVote<Ctx>)>)>,
{
    let pairs = evidence.into_iter().flat_map(|(_, pairs)| pairs);
    out.extend(pairs.map(|(a, b)| Effect::Evidence(Box::new([Ctx::signed_vote(&a), Ctx::signed_vote(&b)]))));
}

/// How long the core waits for something.
fn wait(timeout: Timeout) -> Millis {
    let more = u64::from(timeout.round.as_u32().unwrap_or_default()) * ROUND_MORE_MS;
    let first = match timeout.kind {
        TimeoutKind::Propose => PROPOSE_MS,
        TimeoutKind::Prevote | TimeoutKind::Precommit => VOTE_MS,
        TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => REPEAT_MS,
    };
    (first + more).min(ROUND_MS_MAX)
}
