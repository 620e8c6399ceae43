//! `audit verify`: everything in a bundle, without a node and without a network.
//!
//! A file whose frame is damaged is no bundle, and the check ends there. A member that does not hold is told beside those
//! that do.

use super::archive::Members;
use super::chain::{Root, Shown};
use super::{
    BundleError, DATA_LOG, DELEGATION, FORMAT, KEYS_LOG, LogPart, MANIFEST, MEMBERS_MAX, Manifest, Member, SIGNATURE,
    VERSION, place_of,
};
use alloy_primitives::hex;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use talkoo_base::wire::{Bundle, Typed as _};
use talkoo_base::{Address, Delegation, Digest, Network, NodeId, Signed, sha256};
use talkoo_proof::kept::Facts;
use talkoo_proof::{Kept, verify_kept};

/// What a bundle shows.
pub(crate) struct Verdict {
    /// Everything, for the reader.
    pub(crate) value: Value,
    /// Members that do not hold.
    pub(crate) wrong: usize,
}

/// Checks a bundle; `root` is where the auditor's trust in its chain begins, if he named it.
///
/// # Errors
/// [`BundleError`] if it is no whole bundle.
pub(crate) fn verify(from: impl Read, root: Option<Root>) -> Result<Verdict, BundleError> {
    let mut archive = Members(BufReader::new(from));
    let size = archive.first(MANIFEST)?;
    let mut text = Vec::new();
    archive.body(size).read_to_end(&mut text)?;
    if text.len() as u64 != size {
        return Err(BundleError::Truncated(MANIFEST.into()));
    }
    archive.pad(MANIFEST, size)?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|why| BundleError::Manifest(why.to_string()))?;
    shape(&manifest)?;
    let known: Vec<&str> = manifest.members.iter().map(|member| member.name.as_str()).collect();
    let node = signed(&mut archive, &manifest, &text)?;
    let mut audit = Audit::new(&manifest, node, root);
    for member in &manifest.members {
        let Member { name, size, sha256 } = member;
        let mut body = archive.next(name, *size, &known)?;
        let found = audit.member(name, *size, &mut body);
        let hash = body.finish(name)?;
        archive.pad(name, *size)?;
        let found = if hash.to_string() == *sha256 { found } else { Err(anyhow::anyhow!("its bytes were changed")) };
        audit.tell(name, found);
    }
    archive.finish(&known)?;
    Ok(audit.end())
}

/// What has to be true of a manifest before anything is read by it.
fn shape(manifest: &Manifest) -> Result<(), BundleError> {
    let Manifest { format, version, members, .. } = manifest;
    if format != FORMAT || *version != VERSION {
        return Err(BundleError::Format(format!("{format} {version}")));
    }
    if members.len() > MEMBERS_MAX || members.len() != manifest.count {
        return Err(BundleError::Manifest(format!("it counts {} members and names {}", manifest.count, members.len())));
    }
    for member in members {
        member.check()?;
        if member.name == MANIFEST || member.name == SIGNATURE {
            return Err(BundleError::Name(member.name.clone()));
        }
    }
    match members.windows(2).find(|pair| pair[0].name >= pair[1].name) {
        Some(pair) => Err(BundleError::Twice(pair[1].name.clone())),
        None if Network::is_name(&manifest.network) => Ok(()),
        None => Err(BundleError::Manifest("its network has no name".into())),
    }
}

/// The node whose word the manifest is.
fn signed<R: Read>(archive: &mut Members<R>, manifest: &Manifest, text: &[u8]) -> Result<Address, BundleError> {
    let size = archive.first(SIGNATURE)?;
    let mut bytes = Vec::new();
    archive.body(size).read_to_end(&mut bytes)?;
    archive.pad(SIGNATURE, size)?;
    let network = Network { chain_id: manifest.chain_id, ..Network::local(&manifest.network) };
    let signed = Signed::<Bundle>::open(&bytes, &network).map_err(|_| BundleError::Signature)?;
    let named = hex::decode(&manifest.node).ok().and_then(|bytes| NodeId::from_bytes(&bytes).ok());
    let Bundle { node, manifest: hash, .. } = signed.body;
    let is_its_word = named == Some(node) && signed.signer == node.address() && hash == sha256(&[text]);
    if is_its_word && manifest.address == node.address().to_string() {
        Ok(signed.signer)
    } else {
        Err(BundleError::Signature)
    }
}

/// A channel's largest voucher in the bundle.
type Promised = BTreeMap<Digest, u128>;

struct Audit<'a> {
    manifest: &'a Manifest,
    node: Address,
    network: Network,
    chain: Shown,
    leases: BTreeSet<Digest>,
    promised: Promised,
    units: u64,
    receipts: usize,
    has_log: bool,
    items: Vec<Value>,
    wrong: usize,
}

impl<'a> Audit<'a> {
    fn new(manifest: &'a Manifest, node: Address, root: Option<Root>) -> Self {
        let network = Network { chain_id: manifest.chain_id, ..Network::local(&manifest.network) };
        let chain = Shown::new(root);
        let (leases, promised, items) = (BTreeSet::new(), Promised::new(), Vec::new());
        Self {
            manifest,
            node,
            network,
            chain,
            leases,
            promised,
            units: 0,
            receipts: 0,
            has_log: false,
            items,
            wrong: 0,
        }
    }

    /// Looks at one member, and says what it shows.
    fn member(&mut self, name: &str, size: u64, body: &mut dyn Read) -> Result<Value> {
        let mut whole = || -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes)?;
            ensure!(bytes.len() as u64 == size, "it is shorter than its header says");
            Ok(bytes)
        };
        match name.split_once('/') {
            None if name == DATA_LOG => self.data_log(body),
            None if name == KEYS_LOG => {
                Ok(json!({"shows": "decisions about payments of keys, without a chain of hashes"}))
            }
            None if name == DELEGATION => self.delegation(&whole()?),
            Some(("chain", _)) => Ok(json!({"shows": self.chain.take(name, &whole()?, &self.network)?})),
            Some((folder @ ("receipts" | "evidence"), _)) => self.record(name, folder, &whole()?),
            _ => bail!("no bundle has such a member"),
        }
    }

    fn tell(&mut self, name: &str, found: Result<Value>) {
        let mut row = json!({"item": name, "holds": found.is_ok()});
        match found {
            Ok(Value::Object(facts)) => facts.into_iter().for_each(|(key, value)| row[key] = value),
            Ok(_) => {}
            Err(why) => {
                self.wrong += 1;
                row["why"] = json!(format!("{why:#}"));
            }
        }
        self.items.push(row);
    }

    fn data_log(&mut self, body: &mut dyn Read) -> Result<Value> {
        let LogPart { first, before, lines, head } =
            self.manifest.data_log.as_ref().context("the manifest tells nothing of it")?;
        self.has_log = true;
        let before = Digest::from_hex(before).context("the manifest has no hash of what was before it")?;
        let found = crate::data::audit::check(&mut BufReader::new(body), *first, before)?;
        if let Some(line) = found.broken {
            bail!("its chain of hashes breaks at line {line}");
        }
        ensure!(found.lines == *lines && found.head.to_string() == *head, "it ends elsewhere than the manifest says");
        Ok(json!({"lines": lines, "first": first, "head": head}))
    }

    fn delegation(&self, bytes: &[u8]) -> Result<Value> {
        let signed = Signed::<Delegation>::open(bytes, &self.network)?;
        let Delegation { owner, node, expiry, .. } = signed.body;
        ensure!(signed.signer == owner, "it is not signed by the owner that it names");
        ensure!(node == self.node, "it is for {node}, not for the node that made the bundle");
        let named = self.manifest.owner.as_deref();
        ensure!(named == Some(&owner.to_string()), "the manifest names another owner than it");
        Ok(json!({"owner": owner.to_string(), "until": expiry.0}))
    }

    fn record(&mut self, name: &str, folder: &str, bytes: &[u8]) -> Result<Value> {
        let kept = Kept::from_bytes(bytes)?;
        let facts = verify_kept(&kept)?;
        let (ours, network) = (self.manifest, kept.network());
        ensure!(facts.client == self.node, "it is a receipt of another node, {}", facts.client);
        ensure!(kept.network == ours.network && kept.chain_id == ours.chain_id, "it is of another network");
        ensure!(ours.disclosed || kept.disclosure.is_none(), "it discloses a prompt, the manifest says that none does");
        ensure!(name == place_of(folder, &kept), "its name is another receipt's");
        let root = facts.program.to_string();
        ensure!(ours.models.iter().any(|model| model.root == root), "the manifest does not name its model");
        if folder == "evidence" {
            let accused = json!(facts.refuted + facts.lies);
            return Ok(json!({"worker": facts.worker.to_string(), "model_root": root, "accusations": accused}));
        }
        ensure!(facts.stands(), "it is evidence against its worker, and no receipt");
        ensure!(self.leases.insert(kept.request.body.digest(&network)), "its lease is in the bundle twice");
        Ok(self.paid(&kept, &facts, &network))
    }

    /// What a receipt says was paid, and what its chain says.
    fn paid(&mut self, kept: &Kept, facts: &Facts, network: &Network) -> Value {
        let channel = kept.channel.id(network);
        let most = self.promised.entry(channel).or_default();
        *most = facts.paid.0.max(*most);
        self.receipts += 1;
        self.units += facts.units;
        let claimed = self.chain.claimed.get(&channel);
        json!({
            "worker": facts.worker.to_string(),
            "model_root": facts.program.to_string(),
            "tier": facts.tier.name(),
            "units": facts.units,
            "disclosed": kept.disclosure.is_some(),
            "channel": channel.to_string(),
            "promised": facts.paid.to_string(),
            "paid": claimed.map(|(claimed, _)| *claimed >= facts.paid.0),
        })
    }

    fn end(mut self) -> Verdict {
        if self.manifest.data_log.is_some() && !self.has_log {
            self.tell(DATA_LOG, Err(anyhow::anyhow!("the manifest tells of it, and it is not there")));
        }
        let mut not_shown = self.manifest.not_shown.clone();
        let channel = |(channel, promised): (&Digest, &u128)| {
            let found = self.chain.claimed.get(channel);
            if found.is_none_or(|(claimed, _)| claimed < promised) {
                let claimed = found.map_or("nothing is proved".to_owned(), |(claimed, block)| {
                    format!("{claimed} was, in block {block}")
                });
                not_shown.push(format!("that {promised} was claimed on channel {channel}: {claimed}"));
            }
            json!({"channel": channel.to_string(), "promised": promised.to_string(),
                "claimed": found.map(|(claimed, _)| claimed.to_string()), "block": found.map(|(_, block)| block)})
        };
        let payments: Vec<Value> = self.promised.iter().map(channel).collect();
        if let Some(genesis) = self.chain.genesis.filter(|_| !self.chain.is_anchored()) {
            not_shown.push(format!(
                "that {genesis} is the first block of the network's chain: name it, or its file, with --genesis"
            ));
        }
        let m = self.manifest;
        let value = json!({
            "holds": self.wrong == 0,
            "node": m.node, "address": m.address, "owner": m.owner, "network": m.network, "chain_id": m.chain_id,
            "from": m.from, "to": m.to, "jobs": m.jobs, "disclosed": m.disclosed,
            "models": m.models, "genesis": self.chain.genesis.map(|hash| hash.to_string()),
            "receipts": self.receipts, "units": self.units, "payments": payments,
            "items": self.items, "false": self.wrong, "not_shown": not_shown,
        });
        Verdict { value, wrong: self.wrong }
    }
}
