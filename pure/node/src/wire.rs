//! Messages between nodes and events in the journal, as bytes.
//!
//! Canonical DAG-CBOR on `/talkoo/<network>/work/1`, one message a frame. Decoding recovers every
//! signature, so that a machine only compares signers.

use serde::{Deserialize, Serialize};
use talkoo_base::wire::{Check, DecodeError, Sealed, decode_shape, encode};
use talkoo_base::{
    Card, ChannelConfig, Delegation, Digest, KeyError, LeaseId, Logprobs, Network, Price, Receipt, Refusal,
    RefusalCode, Request, Signed, Voucher,
};
use talkoo_market as market;
use talkoo_proof as proof;
use thiserror::Error;

/// A durable change of any machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Of the jobs.
    Job(talkoo_job::Event),
    /// Of the market.
    Market(market::Event),
    /// Of receipts and payments.
    Proof(proof::Event),
}

impl Event {
    /// The journal's bytes: version 1, then DAG-CBOR.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(serde_ipld_dagcbor::to_vec(self).expect("events hold no floats and only string keys"));
        bytes
    }

    /// Reads the journal's bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are of another version, damaged, or not the one spelling of their event.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.split_first() {
            Some((1, rest)) => {
                let malformed = |e: serde_ipld_dagcbor::DecodeError<_>| DecodeError::Malformed(e.to_string());
                let event: Self = serde_ipld_dagcbor::from_slice(rest).map_err(malformed)?;
                if event.to_bytes() == bytes { Ok(event) } else { Err(DecodeError::NotCanonical) }
            }
            Some((version, _)) => Err(DecodeError::UnsupportedVersion((*version).into())),
            None => Err(DecodeError::Malformed("empty event".into())),
        }
    }
}

/// A worker's card with the delegation that makes it its owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What it offers.
    pub card: Signed<Card>,
    /// Who owns it.
    pub delegation: Signed<Delegation>,
}

/// What nodes say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Here I am, this is my offer.
    Hello(Box<Hello>),
    /// Whose offers have you heard of?
    Cards,
    /// Here is another node's offer, in case you have not heard of it.
    Heard(Box<Hello>),
    /// About slots.
    Market(market::Message),
    /// About leases.
    Proof(proof::Message),
}

/// Why bytes are not a message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// The bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A signature in it.
    #[error(transparent)]
    Signature(#[from] KeyError),
}

#[derive(Serialize, Deserialize)]
struct WireRefusal {
    code: String,
    message: String,
    need: Option<String>,
    have: Option<String>,
    hint: String,
}

#[derive(Serialize, Deserialize)]
enum Wire {
    Hello { card: Sealed<Card>, delegation: Sealed<Delegation> },
    Heard { card: Sealed<Card>, delegation: Sealed<Delegation> },
    Cards {},
    Reserve { program: Digest, price: Price, context: u32 },
    Reserved { program: Digest, slots: u32 },
    Refused { program: Digest, refusal: WireRefusal },
    Release {},
    Lease(Box<WireOrder>),
    Chunk(Box<WireChunk>),
    Pay { lease: LeaseId, index: u32, voucher: Sealed<Voucher> },
    Close { lease: LeaseId, refusal: WireRefusal },
    Commit { lease: LeaseId, commit: Digest },
    Reveal { lease: LeaseId },
    Owed { voucher: Sealed<Voucher> },
    Warning { lease: LeaseId, refusal: WireRefusal },
    Answer { lease: LeaseId, receipt: Sealed<Receipt>, salt: Digest },
}

#[derive(Serialize, Deserialize)]
struct WireOrder {
    request: Sealed<Request>,
    channel: ChannelConfig,
    prompt_salt: Digest,
    trace_salt: Digest,
    prompt: Vec<u32>,
    rerun: Option<Vec<u32>>,
}

#[derive(Serialize, Deserialize)]
struct WireChunk {
    lease: LeaseId,
    index: u32,
    tokens: Vec<u32>,
    digest: Digest,
    receipt: Sealed<Receipt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    logprobs: Option<WireLogprobs>,
}

#[derive(Serialize, Deserialize)]
struct WireLogprobs {
    inner: Digest,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

/// Longest text of a peer's refusal that we keep, in characters.
const REFUSAL_CHARS_MAX: usize = 300;

fn write_refusal(refusal: Refusal) -> WireRefusal {
    let Refusal { code, message, need, have, hint } = refusal;
    WireRefusal { code: code.as_str().into(), message, need, have, hint }
}

fn read_refusal(wire: WireRefusal) -> Refusal {
    let cut = |text: String| text.chars().filter(|c| !c.is_control()).take(REFUSAL_CHARS_MAX).collect::<String>();
    Refusal {
        code: RefusalCode::parse(&wire.code),
        message: cut(wire.message),
        need: wire.need.map(cut),
        have: wire.have.map(cut),
        hint: cut(wire.hint),
    }
}

impl Message {
    /// Canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        use market::Message as M;
        use proof::Message as P;
        encode(&match self.clone() {
            Self::Hello(hello) => Wire::Hello { card: (&hello.card).into(), delegation: (&hello.delegation).into() },
            Self::Heard(hello) => Wire::Heard { card: (&hello.card).into(), delegation: (&hello.delegation).into() },
            Self::Cards => Wire::Cards {},
            Self::Market(M::Reserve { program, price, context }) => Wire::Reserve { program, price, context },
            Self::Market(M::Reserved { program, slots }) => Wire::Reserved { program, slots },
            Self::Market(M::Refused { program, refusal }) => Wire::Refused { program, refusal: write_refusal(refusal) },
            Self::Market(M::Release) => Wire::Release {},
            Self::Proof(P::Lease(order)) => Wire::Lease(Box::new(WireOrder {
                request: (&order.request).into(),
                channel: order.channel,
                prompt_salt: order.prompt_salt,
                trace_salt: order.trace_salt,
                prompt: order.prompt,
                rerun: order.rerun,
            })),
            Self::Proof(P::Chunk(chunk)) => Wire::Chunk(Box::new(WireChunk {
                lease: chunk.lease,
                index: chunk.index,
                receipt: (&chunk.receipt).into(),
                tokens: chunk.tokens,
                digest: chunk.digest,
                logprobs: chunk.logprobs.map(|Logprobs { inner, bytes }| WireLogprobs { inner, bytes }),
            })),
            Self::Proof(P::Pay { lease, index, voucher }) => Wire::Pay { lease, index, voucher: (&voucher).into() },
            Self::Proof(P::Close { lease, refusal }) => Wire::Close { lease, refusal: write_refusal(refusal) },
            Self::Proof(P::Warning { lease, refusal }) => Wire::Warning { lease, refusal: write_refusal(refusal) },
            Self::Proof(P::Commit { lease, commit }) => Wire::Commit { lease, commit },
            Self::Proof(P::Reveal { lease }) => Wire::Reveal { lease },
            Self::Proof(P::Owed { voucher }) => Wire::Owed { voucher: (&voucher).into() },
            Self::Proof(P::Answer(answer)) => {
                Wire::Answer { lease: answer.lease, receipt: (&answer.receipt).into(), salt: answer.salt }
            }
        })
    }

    /// Reads canonical bytes and recovers every signature.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn from_bytes(bytes: &[u8], network: &Network) -> Result<Self, MessageError> {
        use market::Message as M;
        use proof::Message as P;
        Ok(match decode_shape::<Wire>(bytes)? {
            Wire::Hello { card, delegation } => {
                card.check()?;
                let (card, delegation) = (card.open(network)?, delegation.open(network)?);
                Self::Hello(Box::new(Hello { card, delegation }))
            }
            Wire::Cards {} => Self::Cards,
            Wire::Heard { card, delegation } => {
                card.check()?;
                let (card, delegation) = (card.open(network)?, delegation.open(network)?);
                Self::Heard(Box::new(Hello { card, delegation }))
            }
            Wire::Reserve { program, price, context } => Self::Market(M::Reserve { program, price, context }),
            Wire::Reserved { program, slots } => Self::Market(M::Reserved { program, slots }),
            Wire::Refused { program, refusal } => Self::Market(M::Refused { program, refusal: read_refusal(refusal) }),
            Wire::Release {} => Self::Market(M::Release),
            Wire::Lease(order) => Self::Proof(P::Lease(Box::new(order.open(network)?))),
            Wire::Chunk(chunk) => {
                chunk.receipt.check()?;
                let WireChunk { lease, index, tokens, digest, receipt, logprobs } = *chunk;
                let receipt = receipt.open(network)?;
                let logprobs = logprobs.map(|WireLogprobs { inner, bytes }| Logprobs { inner, bytes });
                Self::Proof(P::Chunk(Box::new(proof::Chunk { lease, index, tokens, digest, logprobs, receipt })))
            }
            Wire::Pay { lease, index, voucher } => {
                Self::Proof(P::Pay { lease, index, voucher: voucher.open(network)? })
            }
            Wire::Close { lease, refusal } => Self::Proof(P::Close { lease, refusal: read_refusal(refusal) }),
            Wire::Warning { lease, refusal } => Self::Proof(P::Warning { lease, refusal: read_refusal(refusal) }),
            Wire::Commit { lease, commit } => Self::Proof(P::Commit { lease, commit }),
            Wire::Reveal { lease } => Self::Proof(P::Reveal { lease }),
            Wire::Owed { voucher } => Self::Proof(P::Owed { voucher: voucher.open(network)? }),
            Wire::Answer { lease, receipt, salt } => {
                receipt.check()?;
                let receipt = receipt.open(network)?;
                Self::Proof(P::Answer(Box::new(proof::Answer { lease, receipt, salt })))
            }
        })
    }
}

impl WireOrder {
    fn open(self, network: &Network) -> Result<proof::Order, MessageError> {
        self.request.check()?;
        self.channel.check()?;
        let Self { request, channel, prompt_salt, trace_salt, prompt, rerun } = self;
        Ok(proof::Order { request: request.open(network)?, channel, prompt_salt, trace_salt, prompt, rerun })
    }
}
