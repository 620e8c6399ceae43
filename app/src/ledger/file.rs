//! The files of the chain: what a network began with, and the disk as the ledger reads it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use talkoo_base::wire::VALIDATORS_MAX;
use talkoo_base::{Address, Network, Validator};
use talkoo_disk::Snapshot;
use talkoo_ledger::contracts::Beginning;
use talkoo_ledger::{KvError, KvRead};

/// Highest power of one validator: all together stay countable.
const POWER_MAX: u64 = 1 << 50;
/// Longest challenge window: a bond takes 32 days to leave, and reservations last up to 30.
pub(crate) const WINDOW_S_MAX: u64 = 24 * 3_600;

/// The disk at one moment, as the ledger reads it.
pub(crate) struct Disk(pub(crate) Snapshot);

impl KvRead for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(key).map_err(|error| KvError::Io(error.to_string()))
    }
}

/// `genesis.json`: whoever has the same file has the same first block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GenesisFile(Beginning);

impl GenesisFile {
    pub(crate) fn beginning(&self) -> &Beginning {
        &self.0
    }

    /// Reads the file, or writes what `new` begins with.
    pub(crate) fn open(path: &Path, new: impl FnOnce() -> Beginning) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).with_context(|| format!("{} is no genesis", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let file = Self::checked(new())?;
                std::fs::write(path, file.to_json() + "\n")
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok(file)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The file of a chain: the one that is there; else the given one, which is copied; else a new one.
    pub(crate) fn take(path: &Path, given: Option<&Path>, new: impl FnOnce() -> Beginning) -> Result<Self> {
        let Some(given) = given else { return Self::open(path, new) };
        let text = std::fs::read_to_string(given).with_context(|| format!("cannot read {}", given.display()))?;
        let file = Self::parse(&text).with_context(|| format!("{} is no genesis", given.display()))?;
        let there = Self::open(path, || file.0.clone())?;
        ensure!(there == file, "this node is on the chain of {}, not on that of {}", path.display(), given.display());
        Ok(there)
    }

    pub(crate) fn to_json(&self) -> String {
        let Beginning { chain_id, timestamp, validators, founder, window_s } = &self.0;
        let validators: Vec<Value> =
            validators.iter().map(|v| json!({"address": v.address.to_string(), "power": v.power})).collect();
        let file = json!({
            "chainId": chain_id,
            "timestamp": timestamp,
            "validators": validators,
            "founder": founder.to_string(),
            "windowS": window_s,
        });
        serde_json::to_string_pretty(&file).expect("JSON of strings and numbers")
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let file: Value = serde_json::from_str(text)?;
        let number = |value: &Value, name: &str| value[name].as_u64().with_context(|| format!("`{name}` is no number"));
        let address = |value: &Value| -> Result<Address> {
            let text = value.as_str().context("an address is a string")?;
            let mut bytes = [0; 20];
            hex::decode_to_slice(text.trim_start_matches("0x"), &mut bytes)
                .with_context(|| format!("`{text}` is no address"))?;
            Ok(Address(bytes))
        };
        let validators = file["validators"].as_array().context("`validators` is no list")?;
        let validators = validators
            .iter()
            .map(|v| Ok(Validator { address: address(&v["address"])?, power: number(v, "power")? }))
            .collect::<Result<Vec<_>>>()?;
        Self::checked(Beginning {
            chain_id: number(&file, "chainId")?,
            timestamp: number(&file, "timestamp")?,
            validators,
            founder: address(&file["founder"])?.0.into(),
            window_s: number(&file, "windowS")?,
        })
    }

    /// Refuses what no chain can begin with.
    pub(crate) fn checked(beginning: Beginning) -> Result<Self> {
        let Beginning { chain_id, timestamp, validators, window_s, .. } = &beginning;
        ensure!(
            *chain_id == Network::LOCAL_CHAIN_ID,
            "chain id {chain_id}: this version signs for {}",
            Network::LOCAL_CHAIN_ID
        );
        ensure!((1..=VALIDATORS_MAX).contains(&validators.len()), "a chain has 1 to {VALIDATORS_MAX} validators");
        let addresses: BTreeSet<_> = validators.iter().map(|validator| validator.address).collect();
        ensure!(addresses.len() == validators.len(), "a validator is named twice");
        ensure!(!addresses.contains(&Address::default()), "the zero address is nobody's");
        let powers = validators.iter().all(|validator| (1..=POWER_MAX).contains(&validator.power));
        ensure!(powers, "a validator's power is 1 to {POWER_MAX}");
        ensure!(*window_s <= WINDOW_S_MAX, "a challenge window has at most {WINDOW_S_MAX} s");
        ensure!(*timestamp < 1 << 40, "the chain would begin after the sun has gone");
        Ok(Self(beginning))
    }
}
