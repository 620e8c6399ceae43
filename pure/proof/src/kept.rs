//! What a client keeps of a lease: a file anyone can check offline.
//!
//! A [`Kept`] holds the signed request, every receipt with its voucher, and, as long as it is not
//! stripped, what their roots stand for. Evidence against a liar is the same record with the
//! answers of those who re-ran it.

use crate::commit::{output_root, prompt_root, trace_id, trace_root};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use talkoo_base::wire::{Check, DecodeError, Sealed, Typed, decode, encode};
use talkoo_base::{
    Address, Amount, CHUNK_TOKENS, ChannelConfig, Contracts, Digest, Finish, GenerateParams, Network, Receipt, Request,
    Tier, Voucher, Work, float_chunk,
};
use thiserror::Error;

/// A chunk's receipt and the voucher that paid it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The worker's word.
    pub receipt: Sealed<Receipt>,
    /// The client's.
    pub voucher: Sealed<Voucher>,
}

/// What the roots stand for. Leaving it out keeps prompt and answer secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosure {
    /// Salt of the prompt root.
    pub prompt_salt: Digest,
    /// Salt of trace id and output root.
    pub trace_salt: Digest,
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The output.
    pub output: Vec<u32>,
}

/// One lease, as kept by its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Version of the record: 1.
    pub version: u16,
    /// Name of the network.
    pub network: String,
    /// Chain id that every signature is bound to.
    pub chain_id: u64,
    /// The payment channels that vouchers are bound to; left out if they lie at x402's canonical address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Address>,
    /// Number of the step in its job.
    pub step: u32,
    /// The signed order.
    pub request: Sealed<Request>,
    /// The channel that pays.
    pub channel: ChannelConfig,
    /// Digests of the chunks.
    pub digests: Vec<Digest>,
    /// Receipts and vouchers, first chunk first.
    pub links: Vec<Link>,
    /// What the roots stand for, unless it is kept secret.
    pub disclosure: Option<Disclosure>,
    /// Receipts of those who re-ran it, each with the request it answers.
    pub reruns: Vec<(Sealed<Request>, Sealed<Receipt>)>,
    /// The same of verifiers whom the client's own engine refuted: evidence against them, no word
    /// about this answer.
    pub lies: Vec<(Sealed<Request>, Sealed<Receipt>)>,
    /// `Some(true)`: our own engine re-ran it and found the same; `Some(false)`: it found another answer.
    pub own_rerun: Option<bool>,
}

/// What a checked record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who ordered.
    pub client: Address,
    /// Who worked.
    pub worker: Address,
    /// Root of the model.
    pub program: Digest,
    /// How the answer can be checked.
    pub tier: Tier,
    /// Output tokens.
    pub units: u64,
    /// Why it ended.
    pub finish: Finish,
    /// The last voucher's amount.
    pub paid: Amount,
    /// Re-runs by others that found the same.
    pub matched: usize,
    /// Re-runs by others that found another answer.
    pub refuted: usize,
    /// Re-runs that the client says were lies; nobody but it says so.
    pub lies: usize,
    /// What the client says that its own engine found; nobody signed it.
    pub own_rerun: Option<bool>,
    /// What to run again, if the record discloses it.
    pub rerun: Option<Rerun>,
}

impl Facts {
    /// Whether the record is a receipt; otherwise it is evidence against its worker.
    #[must_use]
    pub fn stands(&self) -> bool {
        // What the client says of its own engine is not signed: it may only make a record worse.
        self.own_rerun != Some(false) && (self.refuted == 0 || self.matched >= self.refuted)
    }
}

/// What it takes to compute the answer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rerun {
    /// What was run.
    pub work: Work,
    /// Mixed into every chunk digest.
    pub trace_id: Digest,
    /// The answer.
    pub output: Vec<u32>,
    /// The chunk digests that an honest run has.
    pub digests: Vec<Digest>,
}

/// Why a kept record does not hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Not a record at all.
    #[error(transparent)]
    Record(#[from] DecodeError),
    /// A signature is broken.
    #[error("the signature of the {0} is not valid")]
    Signature(&'static str),
    /// Two parts contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl Check for Kept {
    fn check(&self) -> Result<(), DecodeError> {
        if self.version != talkoo_base::wire::VERSION {
            return Err(DecodeError::UnsupportedVersion(self.version));
        }
        self.request.body.check()?;
        self.channel.check()?;
        self.links.iter().try_for_each(|l| l.receipt.body.check())
    }
}

impl Kept {
    /// The file's bytes: canonical DAG-CBOR.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }

    /// The network that its signatures are bound to.
    #[must_use]
    pub fn network(&self) -> Network {
        let settlement = self.settlement.unwrap_or(Contracts::CANONICAL_SETTLEMENT);
        let contracts = Contracts { settlement, vault: self.channel.receiver, token: self.channel.token };
        Network { name: self.network.clone(), chain_id: self.chain_id, contracts }
    }

    /// The same record without prompt and answer.
    #[must_use]
    pub fn stripped(&self) -> Self {
        Self { disclosure: None, ..self.clone() }
    }
}

fn hold(rule: bool, why: &'static str) -> Result<(), VerifyError> {
    if rule { Ok(()) } else { Err(VerifyError::Contradiction(why)) }
}

/// A part of a kept record that is checked for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The signed order and the channel that pays.
    Order,
    /// Receipts and vouchers, chunk by chunk.
    Chunks,
    /// How the answer ends.
    End,
    /// Prompt and answer, as far as they are disclosed.
    Disclosure,
    /// The words of those who ran it again.
    Reruns,
}

impl Part {
    /// In the order of [`verify_kept`].
    pub const ALL: [Self; 5] = [Self::Order, Self::Chunks, Self::End, Self::Disclosure, Self::Reruns];
}

/// Checks one part of a kept record.
///
/// # Errors
/// The first thing of it that does not hold.
pub fn verify_part(kept: &Kept, part: Part) -> Result<(), VerifyError> {
    match part {
        Part::Order => check_order(kept).map(drop),
        Part::Chunks => check_chunks(kept).map(drop),
        Part::End => check_end(kept).map(drop),
        Part::Disclosure => kept.disclosure.iter().try_for_each(|open| check_disclosure(kept, open).map(drop)),
        Part::Reruns => check_reruns(kept, check_end(kept)?).map(drop),
    }
}

/// Checks everything in a kept record that needs no model: signatures, roots, sums.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify_kept(kept: &Kept) -> Result<Facts, VerifyError> {
    let request = &kept.request.body;
    let (client, _) = check_order(kept)?;
    let paid = check_chunks(kept)?;
    let last = check_end(kept)?;
    let rerun = kept.disclosure.as_ref().map(|open| check_disclosure(kept, open)).transpose()?;
    let (matched, refuted) = check_reruns(kept, last)?;
    Ok(Facts {
        client,
        worker: request.worker,
        program: request.program,
        tier: last.tier,
        units: last.units,
        finish: last.finish,
        paid,
        matched,
        refuted,
        lies: kept.lies.len(),
        own_rerun: kept.own_rerun,
        rerun,
    })
}

/// The client and the lease.
fn check_order(kept: &Kept) -> Result<(Address, Digest), VerifyError> {
    let (network, request) = (kept.network(), &kept.request.body);
    let client = kept.request.signer(&network).map_err(|_| VerifyError::Signature("request"))?;
    hold(request.channel == kept.channel.id(&network), "the request names another channel")?;
    hold(kept.channel.payer_authorizer == client, "the channel is authorised by another key than the request's")?;
    Ok((client, request.digest(&network)))
}

/// What the last voucher promises.
fn check_chunks(kept: &Kept) -> Result<Amount, VerifyError> {
    let (network, request) = (kept.network(), &kept.request.body);
    let (client, lease) = check_order(kept)?;
    hold(!kept.links.is_empty() && kept.links.len() == kept.digests.len(), "receipts and chunks differ in number")?;
    let chunk = request.kind.chunk_units(request.limits.output_units) as u64;
    let mut before = (0, Amount::ZERO);
    for (index, link) in kept.links.iter().enumerate() {
        let (receipt, voucher) = (&link.receipt.body, &link.voucher.body);
        let signer = link.receipt.signer(&network).map_err(|_| VerifyError::Signature("receipt"))?;
        let payer = link.voucher.signer(&network).map_err(|_| VerifyError::Signature("voucher"))?;
        hold(signer == request.worker && receipt.node == signer, "a receipt is not the ordered worker's")?;
        hold(payer == client, "a voucher is not the client's")?;
        hold(receipt.request == lease, "a receipt answers another request")?;
        hold(receipt.channel == request.channel && voucher.channel == request.channel, "a link is on another channel")?;
        hold(receipt.operator == kept.channel.receiver_authorizer, "a receipt names another operator")?;
        hold(receipt.tier == kept.links[0].receipt.body.tier, "receipts are of several tiers")?;
        hold(receipt.units > before.0, "units do not grow")?;
        let full = receipt.units - before.0 == chunk;
        let is_last = index + 1 == kept.links.len();
        hold(full || is_last && receipt.units - before.0 < chunk, "a chunk has not its length")?;
        hold(voucher.max_claimable >= before.1, "vouchers shrink")?;
        hold(receipt.cumulative <= voucher.max_claimable, "a voucher pays less than its receipt says")?;
        hold(receipt.trace_root == trace_root(&kept.digests[..=index]), "a trace root is not that of its chunks")?;
        before = (receipt.units, voucher.max_claimable);
    }
    Ok(before.1)
}

/// The last receipt.
fn check_end(kept: &Kept) -> Result<&Receipt, VerifyError> {
    let last = kept.links.last().ok_or(VerifyError::Contradiction("there is no receipt"))?;
    let last = &last.receipt.body;
    hold(matches!(last.finish, Finish::Stop | Finish::Length), "the last receipt does not end the output")?;
    hold(last.units <= kept.request.body.limits.output_units, "the output is longer than was ordered")?;
    Ok(last)
}

/// How many re-runs matched, and how many did not; lies are only checked.
fn check_reruns(kept: &Kept, last: &Receipt) -> Result<(usize, usize), VerifyError> {
    let mut seen = BTreeSet::new();
    let counted = count_reruns(kept, &kept.reruns, &mut seen, last)?;
    count_reruns(kept, &kept.lies, &mut seen, last)?;
    Ok(counted)
}

fn check_disclosure(kept: &Kept, open: &Disclosure) -> Result<Rerun, VerifyError> {
    let request = &kept.request.body;
    let params = GenerateParams::from_bytes(&request.params)?;
    let tier = kept.links.last().map_or(Tier::Exact, |link| link.receipt.body.tier);
    let work = Work {
        kind: request.kind,
        program: request.program,
        tier,
        prompt: open.prompt.clone(),
        params,
        seed: request.seed,
    };
    let prompt = prompt_root(&open.prompt_salt, &open.prompt);
    let trace = trace_id(&open.trace_salt, &prompt, &work);
    hold(request.inputs == [prompt, trace], "the prompt is not the one that the request signs")?;
    for link in &kept.links {
        let receipt = &link.receipt.body;
        let tokens = usize::try_from(receipt.units).ok().and_then(|n| open.output.get(..n));
        let Some(tokens) = tokens else {
            return Err(VerifyError::Contradiction("the output is shorter than a receipt says"));
        };
        hold(receipt.output_root == output_root(&open.trace_salt, tokens), "the output is not the receipted one")?;
    }
    let units = kept.links.last().map_or(0, |l| l.receipt.body.units);
    hold(units == open.output.len() as u64, "the output is longer than the last receipt says")?;
    let chunks = (0..).zip(open.output.chunks(CHUNK_TOKENS as usize)).map(|(index, c)| float_chunk(&trace, index, c));
    hold(tier != Tier::Float || chunks.eq(kept.digests.iter().copied()), "a chunk digest is not that of its tokens")?;
    Ok(Rerun { work, trace_id: trace, output: open.output.clone(), digests: kept.digests.clone() })
}

fn count_reruns(
    kept: &Kept,
    reruns: &[(Sealed<Request>, Sealed<Receipt>)],
    seen: &mut BTreeSet<Address>,
    last: &Receipt,
) -> Result<(usize, usize), VerifyError> {
    let (network, client) = (kept.network(), kept.channel.payer_authorizer);
    let (mut matched, mut refuted) = (0, 0);
    for (request, receipt) in reruns {
        let signer = receipt.signer(&network).map_err(|_| VerifyError::Signature("verifier's receipt"))?;
        let orderer = request.signer(&network).map_err(|_| VerifyError::Signature("verifier's request"))?;
        // Otherwise whoever holds the file could add words of verifiers of his own.
        hold(orderer == client, "a verifier's order is not the client's")?;
        hold(signer == request.body.worker, "a verifier's receipt is not the drawn verifier's")?;
        hold(receipt.body.request == request.body.digest(&network), "a verifier answers another request")?;
        let stranger = signer != kept.request.body.worker && seen.insert(signer);
        hold(stranger, "a verifier is the worker itself, or counted twice")?;
        let same_order = (request.body.job, request.body.program) == (kept.request.body.job, kept.request.body.program);
        hold(same_order, "a verifier's order is of another job or model")?;
        let same_run = request.body.inputs.get(..2) == Some(&kept.request.body.inputs[..]);
        hold(same_run && request.body.inputs.get(2) == Some(&last.output_root), "a verifier re-ran something else")?;
        let equal = receipt.body.trace_root == last.trace_root && receipt.body.finish == last.finish;
        *(if equal { &mut matched } else { &mut refuted }) += 1;
    }
    Ok((matched, refuted))
}
