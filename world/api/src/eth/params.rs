//! The arguments of requests, read into types: hexadecimal, blocks, calls, overrides, filters of logs.

use super::RpcError;
use crate::limits::{ADDRESSES_MAX, PERCENTILES_MAX, SLOTS_MAX, TOPICS_MAX};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::str::FromStr;
use talkoo_ledger::{Call, Override};

/// A type that an argument can be read into.
pub trait Param: Sized {
    /// Reads it; `None` if the argument is missing or null.
    ///
    /// # Errors
    /// A line that says what was expected.
    fn read(value: Option<&Value>) -> Result<Self, String>;
}

/// Several arguments.
pub trait Params: Sized {
    /// Reads all of them.
    ///
    /// # Errors
    /// -32602, naming the argument.
    fn read(list: &[Value]) -> Result<Self, RpcError>;
}

fn nth<T: Param>(list: &[Value], n: usize) -> Result<T, RpcError> {
    let value = list.get(n).filter(|value| !value.is_null());
    T::read(value).map_err(|why| match value {
        None => RpcError::params(format!("missing value for required argument {n}: {why}")),
        Some(_) => RpcError::params(format!("invalid argument {n}: {why}")),
    })
}

fn at_most(list: &[Value], most: usize) -> Result<(), RpcError> {
    match list.len() > most {
        true => Err(RpcError::params(format!("too many arguments, want at most {most}"))),
        false => Ok(()),
    }
}

macro_rules! tuples {
    ($($most:literal: $($name:ident $n:literal),*;)*) => {
        $(impl<$($name: Param),*> Params for ($($name,)*) {
            fn read(list: &[Value]) -> Result<Self, RpcError> {
                at_most(list, $most)?;
                Ok(($(nth::<$name>(list, $n)?,)*))
            }
        })*
    };
}

impl Params for () {
    fn read(list: &[Value]) -> Result<Self, RpcError> {
        at_most(list, 0)
    }
}

tuples! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
}

impl<T: Param> Param for Option<T> {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        value.map(|value| T::read(Some(value))).transpose()
    }
}

/// A string that begins with 0x.
fn digits(value: Option<&Value>, what: &str) -> Result<String, String> {
    let text = value.and_then(Value::as_str).ok_or_else(|| format!("{what} is expected, as a hex string"))?;
    let digits = text.strip_prefix("0x").ok_or_else(|| "hex string without 0x prefix".to_owned())?;
    Ok(digits.to_owned())
}

impl Param for Bytes {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        hex::decode(digits(value, "data")?).map(Self::from).map_err(|e| e.to_string())
    }
}

fn fixed<const N: usize>(value: Option<&Value>, what: &str) -> Result<[u8; N], String> {
    let digits = digits(value, what)?;
    let mut bytes = [0; N];
    hex::decode_to_slice(&digits, &mut bytes).map_err(|_| format!("{what} has {} hex digits", 2 * N))?;
    Ok(bytes)
}

impl Param for Address {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        fixed(value, "an address").map(Self::new)
    }
}

impl Param for B256 {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        fixed(value, "a hash").map(Self::new)
    }
}

impl Param for U256 {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        if let Some(number) = value.and_then(Value::as_u64) {
            return Ok(Self::from(number));
        }
        let digits = digits(value, "a quantity")?;
        match digits.len() {
            0 => Err("hex string \"0x\" is no quantity".into()),
            1..=64 if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Self::from_str_radix(&digits, 16).map_err(|e| e.to_string())
            }
            1..=64 => Err("invalid hex string".into()),
            _ => Err("hex number > 256 bits".into()),
        }
    }
}

macro_rules! quantities {
    ($($kind:ty),*) => {
        $(impl Param for $kind {
            fn read(value: Option<&Value>) -> Result<Self, String> {
                U256::read(value)?.try_into().map_err(|_| format!("hex number > {} bits", <$kind>::BITS))
            }
        })*
    };
}
quantities!(u8, u64, u128);

impl Param for bool {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        value.and_then(Value::as_bool).ok_or_else(|| "a boolean is expected".into())
    }
}

impl Param for String {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        value.and_then(Value::as_str).map(Self::from).ok_or_else(|| "a string is expected".into())
    }
}

fn list<T: Param>(value: Option<&Value>, most: usize) -> Result<Vec<T>, String> {
    let list = value.and_then(Value::as_array).ok_or("a list is expected")?;
    match list.len() > most {
        true => Err(format!("a list of {} entries, at most {most}", list.len())),
        false => list.iter().map(|entry| T::read(Some(entry))).collect(),
    }
}

/// Slots of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots(pub Vec<U256>);

impl Param for Slots {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        list(value, SLOTS_MAX).map(Self)
    }
}

/// Which tips `eth_feeHistory` tells: percentiles, growing.
#[derive(Clone, Debug, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl Param for Percentiles {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        let list = value.and_then(Value::as_array).filter(|list| list.len() <= PERCENTILES_MAX);
        let list = list.ok_or_else(|| format!("a list of at most {PERCENTILES_MAX} numbers is expected"))?;
        let list: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
        let list = list.filter(|list| list.iter().all(|p| (0.0..=100.0).contains(p)) && list.is_sorted());
        list.map(Self).ok_or_else(|| "invalid reward percentile: they grow from 0 to 100".into())
    }
}

/// A block by tag, number or hash (also EIP-1898). Every block here is final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockId {
    /// `latest`, `safe` and `finalized`.
    #[default]
    Latest,
    /// `pending`: the last block and, for nonces, what waits.
    Pending,
    /// A height; `earliest` is 0.
    Number(u64),
    /// A name.
    Hash(B256),
}

impl Param for BlockId {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            None => Ok(Self::Latest),
            Some(Value::Object(fields)) => match (given(fields, "blockHash"), given(fields, "blockNumber")) {
                (Some(hash), None) => B256::read(Some(hash)).map(Self::Hash),
                (None, number @ Some(Value::String(_))) => Self::read(number),
                _ => Err("a block is named by blockHash or blockNumber".into()),
            },
            Some(Value::String(tag)) => match tag.as_str() {
                "latest" | "safe" | "finalized" => Ok(Self::Latest),
                "pending" => Ok(Self::Pending),
                "earliest" => Ok(Self::Number(0)),
                hash if hash.len() == 66 => B256::read(value).map(Self::Hash),
                _ => u64::read(value).map(Self::Number),
            },
            Some(_) => Err("a block is expected: a number in hex, a tag, or an object with blockHash".into()),
        }
    }
}

/// A field that is there and not null.
pub(super) fn given<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

pub(super) fn object<'a>(value: Option<&'a Value>, what: &str) -> Result<&'a Map<String, Value>, String> {
    value.and_then(Value::as_object).ok_or_else(|| format!("{what} is expected, as an object"))
}

pub(super) fn field<T: Param>(fields: &Map<String, Value>, name: &str) -> Result<T, String> {
    T::read(given(fields, name)).map_err(|why| format!("{name}: {why}"))
}

/// A call, as `eth_call` and `eth_estimateGas` take it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// What the EVM gets.
    pub call: Call,
    /// The chain it is meant for, if it says so.
    pub chain_id: Option<u64>,
}

impl Param for CallRequest {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        let fields = object(value, "a call")?;
        let (data, input): (Option<Bytes>, Option<Bytes>) = (field(fields, "data")?, field(fields, "input")?);
        if data.is_some() && input.is_some() && data != input {
            return Err("both \"data\" and \"input\" are set and not equal: use \"input\"".into());
        }
        let price: Option<u128> = field(fields, "gasPrice")?;
        let fee: Option<u128> = field(fields, "maxFeePerGas")?;
        let tip: Option<u128> = field(fields, "maxPriorityFeePerGas")?;
        if price.is_some() && (fee.is_some() || tip.is_some()) {
            return Err("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified".into());
        }
        if let (Some(fee), Some(tip)) = (fee, tip)
            && tip > fee
        {
            return Err(format!("maxFeePerGas ({fee}) < maxPriorityFeePerGas ({tip})"));
        }
        let call = Call {
            from: field::<Option<_>>(fields, "from")?.unwrap_or_default(),
            to: field(fields, "to")?,
            value: field::<Option<_>>(fields, "value")?.unwrap_or_default(),
            data: input.or(data).unwrap_or_default(),
            gas: field(fields, "gas")?,
            gas_price: price.or(fee).unwrap_or_default(),
            access_list: given(fields, "accessList").map_or(Ok(AccessList::default()), access_list)?,
            authorizations: match given(fields, "authorizationList") {
                Some(given) => list::<Signed>(Some(given), ADDRESSES_MAX)?.into_iter().map(|signed| signed.0).collect(),
                None => Vec::new(),
            },
        };
        Ok(Self { call, chain_id: field(fields, "chainId")? })
    }
}

fn access_list(value: &Value) -> Result<AccessList, String> {
    let items = value.as_array().filter(|list| list.len() <= ADDRESSES_MAX).ok_or("accessList: a list is expected")?;
    let item = |item: &Value| {
        let fields = object(Some(item), "an entry of the access list")?;
        let storage_keys = list(given(fields, "storageKeys"), SLOTS_MAX)?;
        Ok(AccessListItem { address: field(fields, "address")?, storage_keys })
    };
    items.iter().map(item).collect::<Result<Vec<_>, String>>().map(AccessList)
}

/// A signed authorization (EIP-7702).
struct Signed(SignedAuthorization);

impl Param for Signed {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        let fields = object(value, "an authorization")?;
        let (chain_id, address, nonce) =
            (field(fields, "chainId")?, field(fields, "address")?, field(fields, "nonce")?);
        let (parity, r, s) = (field(fields, "yParity")?, field(fields, "r")?, field(fields, "s")?);
        Ok(Self(SignedAuthorization::new_unchecked(Authorization { chain_id, address, nonce }, parity, r, s)))
    }
}

/// What a call pretends of accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(pub BTreeMap<Address, Override>);

impl Param for Overrides {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        let Some(value) = value else { return Ok(Self::default()) };
        let accounts = object(Some(value), "a set of state overrides")?;
        if accounts.len() > ADDRESSES_MAX {
            return Err(format!("overrides of {} accounts, at most {ADDRESSES_MAX}", accounts.len()));
        }
        let one = |(address, fields): (&String, &Value)| {
            let address = Address::from_str(address).map_err(|_| format!("`{address}` is no address"))?;
            let fields = object(Some(fields), "an override")?;
            let (all, some) = (given(fields, "state"), given(fields, "stateDiff"));
            if all.is_some() && some.is_some() {
                return Err(format!("account {address} has both `state` and `stateDiff`"));
            }
            let slots = match all.or(some) {
                Some(slots) => object(Some(slots), "state")?.iter().map(slot).collect::<Result<_, _>>()?,
                None => BTreeMap::new(),
            };
            let (balance, nonce) = (field(fields, "balance")?, field(fields, "nonce")?);
            let is_all = all.is_some();
            Ok((address, Override { balance, nonce, code: field(fields, "code")?, slots, is_all }))
        };
        accounts.iter().map(one).collect::<Result<_, _>>().map(Self)
    }
}

fn slot((key, value): (&String, &Value)) -> Result<(U256, U256), String> {
    Ok((U256::read(Some(&Value::String(key.clone())))?, U256::read(Some(value))?))
}

/// Which logs are asked for. An empty list of alternatives means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// First block.
    pub from: Option<BlockId>,
    /// Last block.
    pub to: Option<BlockId>,
    /// The only block.
    pub hash: Option<B256>,
    /// Who logged.
    pub addresses: Vec<Address>,
    /// For each place, what the topic may be.
    pub topics: Vec<Vec<B256>>,
}

impl Param for Criteria {
    fn read(value: Option<&Value>) -> Result<Self, String> {
        let fields = object(value, "a filter")?;
        let (from, to, hash) = (field(fields, "fromBlock")?, field(fields, "toBlock")?, field(fields, "blockHash")?);
        let hash: Option<B256> = hash;
        if hash.is_some() && (given(fields, "fromBlock").is_some() || given(fields, "toBlock").is_some()) {
            return Err("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other".into());
        }
        let addresses = given(fields, "address").map_or(Ok(Vec::new()), |value| alternatives(value, ADDRESSES_MAX))?;
        let topics = match given(fields, "topics").map(|topics| topics.as_array().ok_or("topics: a list is expected")) {
            None => Vec::new(),
            Some(topics) => topics?.iter().map(|topic| alternatives(topic, TOPICS_MAX)).collect::<Result<_, _>>()?,
        };
        match topics.len() > 4 {
            true => Err("exceed max topics: a log has at most four".into()),
            false => Ok(Self { from, to, hash, addresses, topics }),
        }
    }
}

/// One, several, or (null) any.
fn alternatives<T: Param>(value: &Value, most: usize) -> Result<Vec<T>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        // Null among the alternatives means any.
        Value::Array(all) if all.iter().any(Value::is_null) => Ok(Vec::new()),
        Value::Array(_) => list(Some(value), most),
        one => T::read(Some(one)).map(|one| vec![one]),
    }
}
