//! What was claimed on channels, proved from a chain's beginning: asked of a node, written, and checked without one.

use crate::commands::{Failure, proved};
use crate::ledger::{GenesisFile, Rpc};
use alloy_primitives::B256;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use talkoo_base::{Digest, Network};
use talkoo_ledger::hash;
use talkoo_ledger::light::Trusted;

/// Changes of validators in a bundle: a year of one a day, many times.
const HANDOVERS_MAX: usize = 10_000;
/// Channels that one question is about.
const CHANNELS_AT_ONCE: usize = 64;
/// Channels in a bundle.
const CHANNELS_MAX: usize = 10_000;

const GENESIS: &str = "chain/0-genesis.json";

/// Where an auditor's trust begins.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// A network's genesis file.
    Genesis(GenesisFile),
    /// The hash of the first block, or of one that names other validators than the block before.
    Block(B256),
}

impl Root {
    /// A hash, or the path of a genesis file.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some(hash) = Digest::from_hex(text) {
            return Ok(Self::Block(hash.0.into()));
        }
        if text.starts_with("0x") && !Path::new(text).exists() {
            let hint = "a hash has 64 hexadecimal digits behind 0x; or name the network's genesis file";
            return Err(Failure::usage(format!("{text} is no hash of a block"), hint).into());
        }
        let file =
            std::fs::read_to_string(text).with_context(|| format!("cannot read {}", Path::new(text).display()))?;
        Ok(Self::Genesis(GenesisFile::parse(&file).with_context(|| format!("{text} is no genesis"))?))
    }
}

/// Asks a node for everything that proves what was claimed on channels: members by their names.
pub(super) fn ask(rpc: &Rpc, genesis: &GenesisFile, channels: &BTreeSet<Digest>) -> Result<BTreeMap<String, Value>> {
    ensure!(channels.len() <= CHANNELS_MAX, "there are {} channels, a bundle has {CHANNELS_MAX}", channels.len());
    let mut members = BTreeMap::from([(GENESIS.to_owned(), serde_json::from_str(&genesis.to_json())?)]);
    let (channels, mut last) = (channels.iter().copied().collect::<Vec<_>>(), 0);
    // One final block for each lot: a node proves the state of its last blocks only.
    for (lot, some) in channels.chunks(CHANNELS_AT_ONCE).enumerate() {
        let mut asked = proved::ask(rpc, some)?;
        last = proved::head(&asked)?.number.max(last);
        let slots = asked["slots"].take();
        let slots = slots.as_array().filter(|slots| slots.len() == some.len()).context("the node's proof is short")?;
        for (channel, slot) in some.iter().zip(slots) {
            members.insert(format!("chain/3-channel-{channel}.json"), json!({"lot": lot, "slot": slot}));
        }
        members.insert(format!("chain/2-block-{lot:05}.json"), asked);
    }
    let mut since = 0;
    'pages: loop {
        let page = proved::handovers(rpc, since)?;
        let before = since;
        for value in page {
            since = proved::handover(&value)?.header.number;
            if since >= last {
                break 'pages;
            }
            members.insert(format!("chain/1-handover-{since:012}.json"), value);
            ensure!(members.len() < HANDOVERS_MAX + 2 * CHANNELS_MAX, "the chain changed its validators too often");
        }
        if since == before {
            break;
        }
    }
    Ok(members)
}

/// What the members of a chain have shown so far.
#[derive(Default)]
pub(super) struct Shown {
    root: Option<Root>,
    /// Who decides after each change that is proved, the oldest first.
    trusted: Vec<Trusted>,
    /// Number and storage root of the final blocks, by lot.
    blocks: BTreeMap<u64, (u64, B256)>,
    /// What was claimed on a channel in all, and the block that proves it.
    pub(super) claimed: BTreeMap<Digest, (u128, u64)>,
    /// The first block.
    pub(super) genesis: Option<B256>,
}

impl Shown {
    pub(super) fn new(root: Option<Root>) -> Self {
        Self { root, ..Self::default() }
    }

    /// Whether an auditor's own word began it.
    pub(super) fn is_anchored(&self) -> bool {
        self.root.is_some() && !self.trusted.is_empty()
    }

    /// Takes the next member, and says what it shows.
    pub(super) fn take(&mut self, name: &str, bytes: &[u8], network: &Network) -> Result<String> {
        let text = std::str::from_utf8(bytes).context("it is no text")?;
        let value: Value = serde_json::from_str(text).context("it is no JSON")?;
        match name.strip_prefix("chain/").and_then(|name| name.split_once('-')) {
            _ if name == GENESIS => self.begin(text, network),
            Some(("1", _)) => self.hand_over(&value, network),
            Some(("2", rest)) => {
                let lot = rest.strip_prefix("block-").and_then(|rest| rest.strip_suffix(".json"));
                let lot = lot.and_then(|lot| lot.parse().ok()).context("a block has a number")?;
                let number = proved::head(&value)?.number;
                let trusted = self.trusted.iter().rfind(|trusted| trusted.since() < number);
                let trusted = trusted.context("nothing in the bundle leads to it from the block that you trust")?;
                let root = proved::channels_root(&value, trusted, network)?;
                self.blocks.insert(lot, (number, root));
                Ok(format!("block {number} is final"))
            }
            Some(("3", rest)) => {
                let channel = rest.strip_prefix("channel-").and_then(|rest| rest.strip_suffix(".json"));
                let channel = channel.and_then(Digest::from_hex).context("a channel has an id")?;
                let lot = value["lot"].as_u64().context("it names no block")?;
                let (number, root) = *self.blocks.get(&lot).context("its block is not proved")?;
                let claimed = proved::claimed_of(&value["slot"], &channel, root)?;
                self.claimed.insert(channel, (claimed, number));
                Ok(format!("claimed in all: {claimed}, in block {number}"))
            }
            _ => bail!("no bundle has such a member"),
        }
    }

    fn begin(&mut self, text: &str, network: &Network) -> Result<String> {
        let file = GenesisFile::parse(text)?;
        ensure!(file.beginning().chain_id == network.chain_id, "it is of another chain than the manifest");
        let first = hash(&file.beginning().genesis().build()?.1.header);
        self.genesis = Some(first);
        match &self.root {
            Some(Root::Genesis(yours)) => ensure!(*yours == file, "it is not the genesis that you trust"),
            // A later block, perhaps: then everything before it is passed over.
            Some(Root::Block(hash)) if *hash != first => return Ok(format!("first block {first}, passed over")),
            Some(Root::Block(_)) | None => {}
        }
        self.trusted.push(Trusted::new(file.beginning().validators()));
        Ok(format!("first block {first}"))
    }

    fn hand_over(&mut self, value: &Value, network: &Network) -> Result<String> {
        let handover = proved::handover(value)?;
        let (number, found) = (handover.header.number, hash(&handover.header));
        match (self.trusted.last(), &self.root) {
            (Some(last), _) => {
                let mut next = last.clone();
                proved::follow(&mut next, handover, network)?;
                self.trusted.push(next);
            }
            (None, Some(Root::Block(hash))) if *hash == found => {
                self.trusted.push(Trusted::at(&handover.header, handover.validators)?);
            }
            (None, _) => return Ok(format!("block {number}, before the one that you trust")),
        }
        Ok(format!("block {number} names other validators"))
    }
}
