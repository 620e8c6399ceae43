//! `audit export`: a bundle of a data folder, with what a running node proves of its chain.

use super::archive::{Writer, measure};
use super::collect::{Found, Source, Wanted, data_log, keys_log};
use super::{
    BundleError, DATA_LOG, DELEGATION, FORMAT, KEYS_LOG, LogPart, MANIFEST, MEMBERS_MAX, Manifest, Member, ModelName,
    SIGNATURE, VERSION, chain,
};
use crate::ledger::{GenesisFile, Rpc};
use crate::models::Shelf;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use talkoo_base::wire::Bundle;
use talkoo_base::{Digest, Network, SecretKey, Signed, Signer as _, sha256};

/// What goes into a bundle.
#[derive(Default)]
pub(crate) struct Choice {
    /// First and last day as they were named, `2026-01-31`.
    pub(crate) days: [Option<String>; 2],
    /// The same in seconds of Unix time.
    pub(crate) times: Range<u64>,
    /// Jobs; all, if none is named.
    pub(crate) jobs: Vec<Digest>,
    /// With prompts and answers.
    pub(crate) disclosed: bool,
}

/// The node that makes it.
pub(crate) struct Maker<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) key: &'a SecretKey,
    pub(crate) owner: Option<String>,
    /// Its chain, or why that can't be asked.
    pub(crate) chain: Result<Rpc, String>,
}

/// Writes a bundle, and says what is in it.
///
/// # Errors
/// Receipts that do not hold or are of several networks, files that can't be read, a chain that gives no proof.
pub(crate) fn export(maker: &Maker<'_>, choice: &Choice, to: &mut dyn Write) -> Result<Value> {
    let mut found = Found::default();
    let wanted = Wanted { times: choice.times.clone(), jobs: &choice.jobs, disclosed: choice.disclosed };
    found.take(maker.data_dir, "receipts", &wanted)?;
    found.take(maker.data_dir, "evidence", &wanted)?;
    let address = maker.key.address();
    let (network, chain_id) = match &found.of {
        Some((network, chain_id, client)) => {
            ensure!(*client == address, "the receipts are of {client}, this folder's node is {address}");
            (network.clone(), *chain_id)
        }
        None => (network_of(maker.data_dir), Network::LOCAL_CHAIN_ID),
    };
    let receipts = found.members.len();
    let mut not_shown = limits(choice);
    let mut members = std::mem::take(&mut found.members);
    let data_log = logs(maker, choice, &mut members, &mut not_shown)?;
    payments(maker, &found, &mut members, &mut not_shown)?;
    let manifest = Manifest {
        format: FORMAT.into(),
        version: VERSION,
        node: maker.key.node_id().to_string(),
        address: address.to_string(),
        owner: maker.owner.clone(),
        network: network.clone(),
        chain_id,
        from: choice.days[0].clone(),
        to: choice.days[1].clone(),
        jobs: choice.jobs.iter().map(Digest::to_string).collect(),
        disclosed: choice.disclosed,
        models: models(maker.data_dir, &found),
        data_log,
        not_shown,
        count: members.len(),
        members: measured(&members)?,
    };
    let signed = Network { chain_id, ..Network::local(&network) };
    write(&manifest, &members, maker.key, &signed, to)?;
    Ok(json!({"receipts": receipts, "members": members.len(), "not_shown": manifest.not_shown}))
}

/// What no bundle shows.
fn limits(choice: &Choice) -> Vec<String> {
    let mut said = vec![
        "that no receipt was left out: only the node knows all of its orders".to_owned(),
        "when a receipt was made: it signs only its deadline; days are those on which this node wrote the files".to_owned(),
        "that an answer is the model's: `talkoo receipt verify --rerun` computes it, for a receipt that discloses its prompt"
            .to_owned(),
        "that a model's CID is of the file with its root: `talkoo pull` and `talkoo ls` show both".to_owned(),
    ];
    if !choice.disclosed {
        said.push("prompts and answers: they were left out; roots with salts stand for them".to_owned());
    }
    said
}

fn logs(
    maker: &Maker<'_>,
    choice: &Choice,
    members: &mut BTreeMap<String, Source>,
    not_shown: &mut Vec<String>,
) -> Result<Option<LogPart>> {
    match fs::read(maker.data_dir.join(DELEGATION)) {
        Ok(bytes) => drop(members.insert(DELEGATION.to_owned(), Source::Bytes(bytes))),
        Err(_) => not_shown.push("that the owner lets this node act: it has no delegation".to_owned()),
    }
    if !choice.jobs.is_empty() {
        not_shown.push("the logs of sealed data and of keys: only jobs were asked for".to_owned());
        return Ok(None);
    }
    if let Some(log) = keys_log(maker.data_dir) {
        members.insert(KEYS_LOG.to_owned(), log);
        not_shown.push(
            "that no line of the log of keys was left out or changed before: it has no chain of hashes".to_owned(),
        );
    }
    let Some((log, span)) = data_log(maker.data_dir, &choice.times)? else { return Ok(None) };
    members.insert(DATA_LOG.to_owned(), log);
    not_shown.push(
        "that the log of sealed data goes no further: lines missing at its end show only against a later hash"
            .to_owned(),
    );
    let (before, head) = (span.before.to_string(), span.head.to_string());
    Ok(Some(LogPart { first: span.first, before, lines: span.lines, head }))
}

/// The chain's word for what was claimed.
fn payments(
    maker: &Maker<'_>,
    found: &Found,
    members: &mut BTreeMap<String, Source>,
    not_shown: &mut Vec<String>,
) -> Result<()> {
    let rpc = match &maker.chain {
        _ if found.channels.is_empty() => return Ok(()),
        Ok(rpc) => rpc,
        Err(why) => {
            not_shown.push(format!("that vouchers were claimed: {why}"));
            return Ok(());
        }
    };
    let path = maker.data_dir.join("chain/genesis.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let proofs = chain::ask(rpc, &GenesisFile::parse(&text)?, &found.channels)?;
    members.extend(proofs.into_iter().map(|(name, value)| (name, Source::Bytes(value.to_string().into_bytes()))));
    Ok(())
}

fn network_of(data_dir: &Path) -> String {
    let kept = fs::read_to_string(data_dir.join("network.json")).unwrap_or_default();
    let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
    kept["network"].as_str().unwrap_or(crate::daemon::config::NETWORK_DEFAULT).to_owned()
}

/// Names and CIDs of the models that receipts name, as far as this node has them.
fn models(data_dir: &Path, found: &Found) -> Vec<ModelName> {
    let shelf = data_dir.join("models").exists().then(|| Shelf::open(data_dir).ok()).flatten();
    let named = |root: &Digest| {
        let held =
            shelf.iter().flat_map(Shelf::every).find(|held| held.programs().any(|(_, program)| program == *root));
        ModelName {
            root: root.to_string(),
            name: held.map(|held| held.name.clone()),
            cid: held.map(|held| held.cid.clone()),
        }
    };
    found.programs.iter().map(named).collect()
}

fn measured(members: &BTreeMap<String, Source>) -> Result<Vec<Member>> {
    ensure!(members.len() <= MEMBERS_MAX, "a bundle has {MEMBERS_MAX} members at most: name a span of days");
    let one = |(name, source): (&String, &Source)| -> Result<Member> {
        let (size, hash) = measure(&mut source.open()?)?;
        let member = Member { name: name.clone(), size, sha256: hash.to_string() };
        member.check()?;
        Ok(member)
    };
    members.iter().map(one).collect()
}

fn write(
    manifest: &Manifest,
    members: &BTreeMap<String, Source>,
    key: &SecretKey,
    network: &Network,
    to: &mut dyn Write,
) -> Result<()> {
    let text = serde_json::to_vec(manifest)?;
    let size = text.len() as u64;
    let most = super::MANIFEST_BYTES_MAX;
    ensure!(size <= most, BundleError::TooLarge { name: MANIFEST.into(), have: size, most });
    let body = Bundle { version: talkoo_base::wire::VERSION, node: key.node_id(), manifest: sha256(&[&text]) };
    let signature = Signed::new(body, network, key).to_bytes();
    let mut archive = Writer(BufWriter::new(to));
    archive.add(MANIFEST, size, &mut text.as_slice())?;
    archive.add(SIGNATURE, signature.len() as u64, &mut signature.as_slice())?;
    for Member { name, size, sha256 } in &manifest.members {
        let hash = archive.add(name, *size, &mut members[name].open()?)?;
        ensure!(hash.to_string() == *sha256, "{name} changed meanwhile; try again");
    }
    archive.finish()?.flush()?;
    Ok(())
}
