//! The files of the chain: what a network began with, and the disk as the ledger reads it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use talkoo_base::wire::VALIDATORS_MAX;
use talkoo_base::{Address, Network, Validator};
use talkoo_disk::Snapshot;
use talkoo_ledger::contracts::{Beginning, Staker, TOKEN_SUPPLY, VALIDATOR_BOND_MIN};
use talkoo_ledger::{KvError, KvRead};

/// Power of all first validators: each unit takes a bond.
const POWER_MAX: u64 = (TOKEN_SUPPLY / VALIDATOR_BOND_MIN) as u64;
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
        let Beginning { chain_id, timestamp, stakers, founder, window_s, answer_s, epoch_s, beacon_s } = &self.0;
        let one = |Staker { validator: Validator { address, power }, operator }: &Staker| json!({"address": address.to_string(), "power": power, "operator": operator.to_string()});
        let validators: Vec<Value> = stakers.iter().map(one).collect();
        let file = json!({
            "chainId": chain_id,
            "timestamp": timestamp,
            "validators": validators,
            "founder": founder.to_string(),
            "windowS": window_s,
            "answerS": answer_s,
            "epochS": epoch_s,
            "beaconS": beacon_s,
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
        let staker = |v: &Value| -> Result<Staker> {
            let operator = address(&v["operator"])?;
            Ok(Staker { operator, ..Staker::own(address(&v["address"])?, number(v, "power")?) })
        };
        let validators = file["validators"].as_array().context("`validators` is no list")?;
        Self::checked(Beginning {
            chain_id: number(&file, "chainId")?,
            timestamp: number(&file, "timestamp")?,
            stakers: validators.iter().map(staker).collect::<Result<_>>()?,
            founder: address(&file["founder"])?.0.into(),
            window_s: number(&file, "windowS")?,
            answer_s: number(&file, "answerS")?,
            epoch_s: number(&file, "epochS")?,
            beacon_s: number(&file, "beaconS")?,
        })
    }

    /// Refuses what no chain can begin with.
    pub(crate) fn checked(beginning: Beginning) -> Result<Self> {
        let Beginning { chain_id, timestamp, stakers, window_s, answer_s, epoch_s, beacon_s, .. } = &beginning;
        ensure!(
            *chain_id == Network::LOCAL_CHAIN_ID,
            "chain id {chain_id}: this version signs for {}",
            Network::LOCAL_CHAIN_ID
        );
        ensure!((1..=VALIDATORS_MAX).contains(&stakers.len()), "a chain has 1 to {VALIDATORS_MAX} validators");
        let addresses: BTreeSet<_> = stakers.iter().map(|staker| staker.validator.address).collect();
        ensure!(addresses.len() == stakers.len(), "a validator is named twice");
        let operators: BTreeSet<_> = stakers.iter().map(|staker| staker.operator).collect();
        ensure!(operators.len() == stakers.len(), "an operator has two validators: a bond votes with one key");
        ensure!(addresses.union(&operators).all(|a| *a != Address::default()), "the zero address is nobody's");
        ensure!(stakers.iter().all(|staker| staker.validator.power > 0), "a validator has no power");
        let power = stakers.iter().fold(0u64, |sum, staker| sum.saturating_add(staker.validator.power));
        ensure!(power <= POWER_MAX, "the validators have a power of {power}: the token is enough for {POWER_MAX}");
        ensure!((1..1 << 40).contains(epoch_s), "an epoch has at least one second");
        ensure!((1..=WINDOW_S_MAX).contains(beacon_s), "half a round of the beacon has 1 to {WINDOW_S_MAX} s");
        ensure!(*window_s <= WINDOW_S_MAX, "a challenge window has at most {WINDOW_S_MAX} s");
        ensure!((1..=WINDOW_S_MAX).contains(answer_s), "a move of a dispute has 1 to {WINDOW_S_MAX} s");
        ensure!(*timestamp < 1 << 40, "the chain would begin after the sun has gone");
        Ok(Self(beginning))
    }
}
