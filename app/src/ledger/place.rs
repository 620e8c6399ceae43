//! Which ledger: its URL, its chain, and where that chain has our contracts.

use super::rpc::{Rpc, RpcError};
use alloy_primitives::{Address, U256};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use talkoo_base::Network;
use talkoo_ledger::Deployment;
use talkoo_ledger::bindings::IParameters;

/// Where a ledger is: `URL` of a chain of ours, or `URL#ADDRESS` of any other, whose `Parameters` contract at that
/// address lists our contracts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) rpc: String,
    pub(crate) list: Option<Address>,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !(text.starts_with("http://") || text.starts_with("https://")) {
            return Err("a URL as http://127.0.0.1:8545; `#ADDRESS` behind it on a chain that is not ours".into());
        }
        let (rpc, list) = text.split_once('#').map_or((text, None), |(rpc, list)| (rpc, Some(list)));
        let list = list.map(|list| {
            list.parse()
                .map_err(|_| format!("`{list}` is no address: `ledger deploy` prints the URL with the right one"))
        });
        Ok(Self { rpc: rpc.to_owned(), list: list.transpose()? })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rpc)?;
        self.list.iter().try_for_each(|list| write!(f, "#{list}"))
    }
}

/// A ledger that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) url: Url,
    pub(crate) chain_id: u64,
    pub(crate) at: Deployment,
}

impl Place {
    /// A chain that began with a genesis of ours.
    pub(crate) fn ours(rpc: &str) -> Self {
        let url = Url { rpc: rpc.to_owned(), list: None };
        Self { url, chain_id: Network::LOCAL_CHAIN_ID, at: Deployment::GENESIS }
    }

    /// Asks an outside chain for its id and our contracts; of ours they are known.
    ///
    /// # Errors
    /// A ledger that gives no answer, or no list at the address.
    pub(crate) fn find(url: &Url) -> Result<Self, RpcError> {
        let Some(list) = url.list else { return Ok(Self::ours(&url.rpc)) };
        let rpc = Rpc::new(&url.rpc);
        let chain_id = rpc.number("eth_chainId", &json!([]))?.saturating_to();
        let at = Deployment::read(list, |key| rpc.call(list, &IParameters::getCall { key }))?;
        Ok(Self { url: url.clone(), chain_id, at })
    }

    /// As [`Place::find`]; what an outside chain once said is kept at `path`, so that a node starts while it is away.
    ///
    /// # Errors
    /// Those of [`Place::find`], and a file that can't be used.
    pub(crate) fn keep(url: &Url, path: &Path) -> Result<Self> {
        let Some(list) = url.list else { return Ok(Self::ours(&url.rpc)) };
        let kept = match std::fs::read_to_string(path) {
            Ok(text) => Some(parse(&text).with_context(|| format!("{} is damaged: remove it", path.display()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if let Some((chain_id, at)) = kept {
            ensure!(
                at.parameters == list,
                "this node's vouchers are for the contracts listed at {}, not {list}: give the other network a folder \
                 of its own, with --data-dir",
                at.parameters
            );
            return Ok(Self { url: url.clone(), chain_id, at });
        }
        let place = Self::find(url).context("an outside chain has to answer once, to say where our contracts are")?;
        let text = serde_json::to_string_pretty(&place.to_json()).expect("JSON of strings");
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(place)
    }

    /// Whether its gas costs what somebody paid for, and its validators are not ours.
    pub(crate) fn is_outside(&self) -> bool {
        self.url.list.is_some()
    }

    /// Its server, which signs for no other chain.
    pub(crate) fn rpc(&self) -> Rpc {
        Rpc::new(&self.url.rpc).of_chain(self.chain_id)
    }

    /// The network of that name that settles here.
    pub(crate) fn network(&self, name: &str) -> Network {
        Network { name: name.to_owned(), chain_id: self.chain_id, contracts: self.at.signed() }
    }

    /// The addresses by name.
    pub(crate) fn to_json(&self) -> Value {
        let mut contracts: serde_json::Map<String, Value> =
            self.at.entries().into_iter().map(|(name, at)| (name.to_owned(), json!(at.to_string()))).collect();
        contracts.insert("parameters".into(), json!(self.at.parameters.to_string()));
        json!({"chainId": self.chain_id, "contracts": contracts})
    }
}

fn parse(text: &str) -> Result<(u64, Deployment)> {
    let file: Value = serde_json::from_str(text)?;
    let address = |name: &str| -> Result<Address> {
        file["contracts"][name].as_str().unwrap_or_default().parse().with_context(|| format!("it has no `{name}`"))
    };
    let mut names = Deployment::GENESIS.entries().into_iter().map(|(name, _)| name);
    let at = Deployment::read(address("parameters")?, |_| {
        let name = names.next().expect("as many as are read");
        address(name).map(|at| U256::from_be_bytes(at.into_word().0))
    })?;
    Ok((file["chainId"].as_u64().context("it has no `chainId`")?, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_url_with_or_without_a_list() {
        let list = Address::repeat_byte(3);
        let with = format!("http://127.0.0.1:8545#{list}");
        let good = [("https://rpc.example/key", None), (with.as_str(), Some(list))];
        for (text, list) in good {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.list, url.to_string()), (list, text.to_owned()));
        }
        for bad in ["", "ftp://x", "http://x#", "http://x#0x12", "own"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_found_is_kept_and_no_other_network_is_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outside.json");
        // Nobody listens there: everything has to come from the file.
        let url = |n| Url { rpc: "http://127.0.0.1:1".into(), list: Some(Address::repeat_byte(n)) };
        assert!(Place::keep(&url(9), &path).is_err());
        let (at, _) = Deployment::plan(Address::repeat_byte(1), 5, talkoo_ledger::Existing::default(), 60);
        let at = Deployment { parameters: Address::repeat_byte(9), ..at };
        let place = Place { url: url(9), chain_id: 31_337, at };
        std::fs::write(&path, place.to_json().to_string()).unwrap();
        assert_eq!(Place::keep(&url(9), &path).unwrap(), place);
        assert!(Place::keep(&url(8), &path).unwrap_err().to_string().contains("--data-dir"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Place::keep(&url(9), &path).unwrap_err().to_string().contains("damaged"));
    }
}
