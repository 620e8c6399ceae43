//! `ledger verify`: that a receipt was paid, from the chain's headers alone. The server is not trusted: what it says is
//! checked against the validators of the genesis, and those to whom they handed over.

use super::failure::FALSE;
use super::{Show, read_receipt};
use crate::ledger::{GenesisFile, Rpc};
use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::Decodable;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use talkoo_base::{Address, Certificate, Digest, Network, Signature, Validator};
use talkoo_ledger::light::{CHANNELS_AT, Handover, Trusted, channel_of, channel_slot, check_slot, storage_root};
use talkoo_ledger::{Header, hash};
use talkoo_proof::{Kept, verify_kept};

/// Blocks may come while we ask: then everything is asked again.
const TRIES: usize = 8;

/// Proves that receipts were paid; exit code 6 if one was not.
pub(super) fn run(files: &[PathBuf], genesis: &Path, rpc: &Rpc, show: &Show) -> Result<ExitCode> {
    let text = std::fs::read_to_string(genesis)
        .with_context(|| format!("cannot read {}; give the network's genesis with --genesis", genesis.display()))?;
    let genesis = GenesisFile::parse(&text).with_context(|| format!("{} is no genesis", genesis.display()))?;
    let (mut rows, mut all) = (Vec::new(), true);
    let mut trusted = Trusted::new(genesis.beginning().validators());
    for file in files {
        let kept = read_receipt(file)?;
        let facts = verify_kept(&kept).with_context(|| format!("{} does not hold by itself", file.display()))?;
        let network = kept.network();
        ensure!(
            kept.chain_id == genesis.beginning().chain_id,
            "{} is of chain {}, the genesis of {}",
            file.display(),
            kept.chain_id,
            genesis.beginning().chain_id
        );
        let (block, claimed) = claimed(rpc, &mut trusted, &network, &kept)?;
        let paid = claimed >= facts.paid.0;
        all &= paid;
        rows.push(json!({
            "file": file,
            "promised": facts.paid.0.to_string(),
            "claimed": claimed.to_string(),
            "paid": paid,
            "block": block.to_string(),
        }));
    }
    show.value(&json!({"receipts": rows}));
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(FALSE) })
}

/// What was claimed in all on a receipt's channel, and the block that proves it.
fn claimed(rpc: &Rpc, trusted: &mut Trusted, network: &Network, kept: &Kept) -> Result<(u64, u128)> {
    let channel = kept.channel.id(network);
    let asked = ask(rpc, &[channel])?;
    let block = head(&asked)?.number;
    loop {
        let before = trusted.since();
        for handover in handovers(rpc, before)?.iter().map(self::handover) {
            let handover = handover?;
            if handover.header.number >= block {
                break;
            }
            follow(trusted, handover, network)?;
        }
        if trusted.since() == before {
            break;
        }
    }
    let root = channels_root(&asked, trusted, network)?;
    Ok((block, claimed_of(&asked["slots"][0], &channel, root)?))
}

/// What a server says of channels in its last block: `{parent, header, certificate, account, slots}`, one of `slots` for
/// each channel.
pub(crate) fn ask(rpc: &Rpc, channels: &[Digest]) -> Result<Value> {
    let slots: Vec<String> = channels.iter().map(|channel| channel_slot(channel).to_string()).collect();
    for _ in 0..TRIES {
        let number = rpc.ask("eth_blockNumber", &json!([]))?;
        let proof = rpc.ask("eth_getProof", &json!([CHANNELS_AT.to_string(), slots, number]));
        let Ok(proof) = proof else { continue };
        let before = number.as_str().and_then(|text| text.parse::<U256>().ok()).unwrap_or_default();
        let before = format!("{:#x}", before.saturating_sub(U256::from(1)));
        return Ok(json!({
            "parent": rpc.ask("debug_getRawHeader", &json!([before]))?,
            "header": rpc.ask("debug_getRawHeader", &json!([number]))?,
            "certificate": rpc.ask("talkoo_getCertificate", &json!([number]))?,
            "account": proof["accountProof"],
            "slots": proof["storageProof"],
        }));
    }
    bail!("blocks come faster than they can be asked about; try again")
}

/// A page of the changes of validators after a block, the oldest first.
pub(crate) fn handovers(rpc: &Rpc, since: u64) -> Result<Vec<Value>> {
    match rpc.ask("talkoo_getHandovers", &json!([format!("{since:#x}")]))? {
        Value::Array(page) => Ok(page),
        _ => bail!("the server's changes of validators are no list"),
    }
}

/// Follows a change of validators.
pub(crate) fn follow(trusted: &mut Trusted, handover: Handover, network: &Network) -> Result<()> {
    let number = handover.header.number;
    let proved = trusted.hand_over(handover, network);
    proved.with_context(|| format!("the change of validators at block {number} is not proved"))
}

/// The header of what [`ask`] was told.
pub(crate) fn head(asked: &Value) -> Result<Header> {
    header(&asked["header"])
}

/// The storage root of the contract that holds the channels, in a final block.
pub(crate) fn channels_root(asked: &Value, trusted: &Trusted, network: &Network) -> Result<B256> {
    let (parent, header) = (header(&asked["parent"])?, head(asked)?);
    trusted
        .check_final(&parent, &header, &certificate(&asked["certificate"])?, network)
        .with_context(|| format!("block {} ({}) is not final", header.number, hash(&header)))?;
    Ok(storage_root(header.state_root, CHANNELS_AT, &nodes(&asked["account"])?)?)
}

/// What was claimed in all on a channel, from one of `slots`.
pub(crate) fn claimed_of(slot: &Value, channel: &Digest, root: B256) -> Result<u128> {
    let word: U256 = slot["value"].as_str().unwrap_or_default().parse().context("a slot's value is a number")?;
    check_slot(root, channel_slot(channel), word, &nodes(&slot["proof"])?)?;
    Ok(channel_of(word).1)
}

/// A change of validators as a server tells it.
pub(crate) fn handover(value: &Value) -> Result<Handover> {
    let validator = |value: &Value| -> Result<Validator> {
        let address = bytes(&value["address"])?.as_ref().try_into().context("an address has 20 bytes")?;
        let power: U256 = value["power"].as_str().unwrap_or_default().parse().context("a power is a number")?;
        Ok(Validator { address: Address(address), power: power.saturating_to() })
    };
    let validators = value["validators"].as_array().context("a change of validators names nobody")?;
    Ok(Handover {
        parent: header(&value["parent"])?,
        header: header(&value["header"])?,
        certificate: certificate(&value["certificate"])?,
        validators: validators.iter().map(validator).collect::<Result<_>>()?,
    })
}

fn header(value: &Value) -> Result<Header> {
    Header::decode(&mut bytes(value)?.as_ref()).context("the server's header is none")
}

fn bytes(value: &Value) -> Result<Bytes> {
    value.as_str().unwrap_or_default().parse().context("the server's answer is no hexadecimal")
}

fn nodes(value: &Value) -> Result<Vec<Bytes>> {
    value.as_array().context("the server's proof has no nodes")?.iter().map(bytes).collect()
}

fn certificate(value: &Value) -> Result<Certificate> {
    ensure!(!value.is_null(), "the first block has no certificate, and pays nobody");
    let number = |name: &str| -> Result<u64> {
        let number: U256 = value[name].as_str().unwrap_or_default().parse().context("the certificate is damaged")?;
        Ok(number.saturating_to())
    };
    let signature = |value: &Value| -> Result<Signature> {
        let bytes: [u8; 65] = bytes(value)?.as_ref().try_into().context("a signature has 65 bytes")?;
        Ok(Signature(bytes))
    };
    let block: B256 = value["block"].as_str().unwrap_or_default().parse().context("the certificate is damaged")?;
    let signatures = value["signatures"].as_array().context("the certificate has no signatures")?;
    Ok(Certificate {
        height: number("height")?,
        round: u32::try_from(number("round")?)?,
        block: Digest(block.0),
        signatures: signatures.iter().map(signature).collect::<Result<_>>()?,
    })
}
