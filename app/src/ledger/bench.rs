//! How fast the ledger is on this machine: signed transactions in, blocks on disk out, on one thread.
//!
//! Everything a validator alone does is in the time: decoding, the sender's signature, execution, roots, receipts, and one
//! durable write for each block of a thousand.

use super::driver::STATE_EVERY;
use super::file::Disk;
use super::rpc::signed;
use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_sol_types::SolCall;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use talkoo_base::wire::{Sealed, Typed};
use talkoo_base::{Amount, ChannelConfig, Digest, Network, SecretKey, Signed, Signer, Voucher};
use talkoo_disk::Ledger as Store;
use talkoo_ledger::bindings::{self, CreditAndGas, IFaucet, ISettlement, IToken, VoucherClaim, authorization};
use talkoo_ledger::contracts::{
    ANSWER_S, BEACON_S, Beginning, CREDIT_AT, EPOCH_S, ERC3009_COLLECTOR_AT, FAUCET_AT, SETTLEMENT_AT, Staker,
    TOKEN_AT, WINDOW_S,
};
use talkoo_ledger::{Call, Head, Reader, Seal, SignedBy, State, Writes, decode_transaction, propose, store};

/// Accounts that send.
const SENDERS: u64 = 1_000;
/// Transactions in a block.
const BLOCK: usize = 1_000;

struct Bench {
    store: Store,
    head: Head,
    keys: Vec<SecretKey>,
    nonces: Vec<u64>,
    network: Network,
}

fn key(n: u64) -> SecretKey {
    SecretKey::from_bytes(&talkoo_base::sha256(&[b"ledger bench", &n.to_be_bytes()]).0).expect("a hash is a key")
}

fn address(key: &SecretKey) -> Address {
    key.address().0.into()
}

/// Measures `count` transfers and as many claims, with `accounts` other accounts in the state.
pub(crate) fn run(count: usize, accounts: u64) -> Result<Value> {
    let dir = tempdir()?;
    let mut bench = Bench::new(&dir.0, accounts)?;
    bench.prepare()?;
    let transfers = bench.transfers(count);
    let transfers = bench.measure(&transfers)?;
    bench.open_channels()?;
    let claims = bench.claims(count);
    let claims = bench.measure(&claims)?;
    bench.save()?;
    let restart_ms = restart(&dir.0)?;
    let vouchers = vouchers(count);
    Ok(json!({
        "accounts": accounts,
        "block": BLOCK,
        "transfers": transfers,
        "claims": claims,
        "restart_ms": restart_ms,
        "vouchers": vouchers,
    }))
}

/// Milliseconds until a killed node reads its state again: the file is copied as a kill would leave it.
fn restart(dir: &std::path::Path) -> Result<u64> {
    let left = dir.join("killed.redb");
    std::fs::copy(dir.join("ledger.redb"), &left)?;
    let start = Instant::now();
    let store = Store::open(&left)?;
    let disk = Disk(store.snapshot()?);
    let block = store::block(&disk, store::saved(&disk)?)?.context("the last block is not there")?;
    let state = State::at(block.header.state_root);
    let hash = talkoo_ledger::hash(&block.header);
    let mut head =
        Head { header: Arc::new(block.header), hash, chain_id: Network::LOCAL_CHAIN_ID, epoch_s: EPOCH_S, state };
    let mut reader = Reader { head: &mut head, kv: &disk, ancestors: &|_| Ok(B256::ZERO), timestamp: 0 };
    ensure!(reader.account(address(&key(0)))?.nonce > 0, "the state is not there");
    Ok(u64::try_from(start.elapsed().as_millis())?)
}

/// How many vouchers one thread makes and checks in a second.
fn vouchers(count: usize) -> Value {
    let (network, key) = (Network::local("bench"), key(0));
    let start = Instant::now();
    let made: Vec<Sealed<Voucher>> = (0..count as u128)
        .map(|n| {
            let voucher = Voucher { channel: Digest::ZERO, max_claimable: Amount(n) };
            Sealed::from(&Signed::new(voucher, &network, &key))
        })
        .collect();
    let between = Instant::now();
    let good = made.iter().filter(|voucher| voucher.signer(&network) == Ok(key.address())).count();
    let per_s = |time: Duration| (good as f64 / time.as_secs_f64()).round();
    json!({"made_per_s": per_s(between - start), "checked_per_s": per_s(between.elapsed())})
}

/// A folder that goes away.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn tempdir() -> Result<Folder> {
    let path = std::env::temp_dir().join(format!("talkoo-ledger-bench-{}", std::process::id()));
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(Folder(path))
}

impl Bench {
    fn new(dir: &std::path::Path, accounts: u64) -> Result<Self> {
        let keys: Vec<SecretKey> = (0..SENDERS).map(key).collect();
        let founder = keys[0].address();
        let beginning = Beginning {
            chain_id: Network::LOCAL_CHAIN_ID,
            timestamp: 1,
            stakers: vec![Staker::own(founder, 1)],
            founder: founder.0.into(),
            window_s: WINDOW_S,
            answer_s: ANSWER_S,
            epoch_s: EPOCH_S,
            beacon_s: BEACON_S,
        };
        let mut genesis = beginning.genesis();
        let rich = U256::from(10u128.pow(21));
        genesis.balances.extend(keys[1..].iter().map(|key| (address(key), rich)));
        genesis.balances.extend((0..accounts).map(|n| (stranger(n), U256::from(1))));
        let (head, _, mut writes) = genesis.build()?;
        let store = Store::open(&dir.join("ledger.redb"))?;
        store::state_saved(&mut writes, 0);
        store.write(&writes)?;
        let nonces = vec![0; keys.len()];
        Ok(Self { store, head, keys, nonces, network: Network::local("bench") })
    }

    /// Writes the state as it is.
    fn save(&mut self) -> Result<()> {
        let mut writes = Writes::new();
        self.head.state.save(&mut writes);
        store::state_saved(&mut writes, self.head.header.number);
        Ok(self.store.write(&writes)?)
    }

    fn sign(&mut self, who: usize, to: Address, input: Vec<u8>) -> Vec<u8> {
        let transaction = TxEip1559 {
            chain_id: self.head.chain_id,
            nonce: self.nonces[who],
            gas_limit: 400_000,
            max_fee_per_gas: 1_000_000_000,
            to: TxKind::Call(to),
            input: input.into(),
            ..TxEip1559::default()
        };
        self.nonces[who] += 1;
        signed(transaction, &self.keys[who])
    }

    /// Puts transactions into blocks; the time, and gas for each.
    fn measure(&mut self, transactions: &[Vec<u8>]) -> Result<Value> {
        let (mut parts, mut gas, all) = ([Duration::ZERO; 3], 0, Instant::now());
        let mut slowest = Duration::ZERO;
        for block in transactions.chunks(BLOCK) {
            let start = Instant::now();
            let signed: Vec<SignedBy> =
                block.iter().map(|bytes| decode_transaction(bytes, self.head.chain_id)).collect::<Result<_, _>>()?;
            let recovered = Instant::now();
            let disk = Disk(self.store.snapshot()?);
            let timestamp = self.head.header.timestamp + 1;
            let seal = Seal { timestamp, beneficiary: Address::ZERO };
            let (executed, refused) = propose(&self.head, &disk, &|_| Ok(B256::ZERO), seal, signed)?;
            ensure!(refused.is_empty(), "a transaction was refused: {:?}", refused[0].1);
            ensure!(executed.block.body.transactions.len() == block.len(), "a block is too small for its transactions");
            ensure!(executed.receipts.iter().all(talkoo_ledger::Receipt::status), "a transaction failed");
            let done = Instant::now();
            gas += executed.head.header.gas_used;
            let mut writes = store::record(&executed, vec![0; 80]);
            self.head = executed.head;
            if self.head.header.number.is_multiple_of(STATE_EVERY) {
                self.head.state.save(&mut writes);
                store::state_saved(&mut writes, self.head.header.number);
            }
            self.store.write(&writes)?;
            let end = Instant::now();
            let times = [recovered - start, done - recovered, end - done];
            parts.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
            slowest = slowest.max(end - start);
        }
        let (seconds, count) = (all.elapsed().as_secs_f64(), transactions.len() as f64);
        let micros = |part: Duration| (part.as_secs_f64() * 1e7 / count).round() / 10.0;
        Ok(json!({
            "count": transactions.len(),
            "per_second": (count / seconds).round(),
            "micros": {"decode_and_recover": micros(parts[0]), "execute_and_roots": micros(parts[1]), "write": micros(parts[2])},
            "slowest_block_ms": (slowest.as_secs_f64() * 1e4).round() / 10.0,
            "gas_each": gas as f64 / count,
        }))
    }

    /// Everybody gets something to send.
    fn prepare(&mut self) -> Result<()> {
        let mut gifts = Vec::new();
        for n in 1..self.keys.len() {
            let to = address(&self.keys[n]);
            let call = IToken::transferCall { to, value: U256::from(1_000_000_000u64) };
            gifts.push(self.sign(0, TOKEN_AT, call.abi_encode()));
        }
        self.measure(&gifts).map(drop)
    }

    fn transfers(&mut self, count: usize) -> Vec<Vec<u8>> {
        let one = |n: usize| {
            let (who, next) = (n % self.keys.len(), (n * 7 + 13 + n / self.keys.len()) % self.keys.len());
            let call = IToken::transferCall { to: address(&self.keys[next]), value: U256::from(1) };
            self.sign(who, TOKEN_AT, call.abi_encode())
        };
        (0..count).map(one).collect()
    }

    /// The channel on which one sender pays the next.
    fn channel(&self, n: usize) -> ChannelConfig {
        let (payer, receiver) = (self.keys[n].address(), self.keys[(n + 1) % self.keys.len()].address());
        ChannelConfig {
            payer,
            payer_authorizer: payer,
            receiver,
            receiver_authorizer: receiver,
            token: self.network.contracts.token,
            withdraw_delay: 86_400,
            salt: Digest::ZERO,
        }
    }

    fn open_channels(&mut self) -> Result<()> {
        let separator = {
            let disk = Disk(self.store.snapshot()?);
            let data = IToken::DOMAIN_SEPARATORCall {}.abi_encode().into();
            let call = Call { to: Some(CREDIT_AT), data, ..Call::default() };
            let ancestors = |_| Ok(B256::ZERO);
            let mut head = self.head.clone();
            let outcome = Reader { head: &mut head, kv: &disk, ancestors: &ancestors, timestamp: 0 }
                .call(&call, &std::collections::BTreeMap::new())?;
            IToken::DOMAIN_SEPARATORCall::abi_decode_returns(&outcome.output)?
        };
        let (mut gifts, mut deposits) = (Vec::new(), Vec::new());
        for n in 0..self.keys.len() {
            let (account, amount) = (address(&self.keys[n]), CreditAndGas { credit: 50_000_000, gas: 0 });
            let invite = U256::from(n / 100).into();
            gifts.push(self.sign(0, FAUCET_AT, IFaucet::grantCall { account, invite, amount }.abi_encode()));
        }
        for n in 0..self.keys.len() {
            let config = self.channel(n);
            let (amount, until) = (50_000_000, u64::from(u32::MAX));
            let nonce = authorization::nonce(config.id(&self.network).0.into(), U256::ZERO);
            let payer = address(&self.keys[n]);
            let digest = authorization::digest(separator, payer, ERC3009_COLLECTOR_AT, amount, until, nonce);
            let signature = self.keys[n].sign(&Digest(digest.0));
            let data = authorization::payload(until, U256::ZERO, signature.0);
            let config = bindings::ChannelConfig::from(&config);
            let call = ISettlement::depositCall { config, amount, collector: ERC3009_COLLECTOR_AT, data };
            deposits.push(self.sign(n, SETTLEMENT_AT, call.abi_encode()));
        }
        self.few(&gifts)?;
        self.few(&deposits)
    }

    /// Transactions of more gas: fewer in a block.
    fn few(&mut self, transactions: &[Vec<u8>]) -> Result<()> {
        transactions.chunks(BLOCK / 4).try_for_each(|some| self.measure(some).map(drop))
    }

    fn claims(&mut self, count: usize) -> Vec<Vec<u8>> {
        let one = |n: usize| {
            let (who, total) = (n % self.keys.len(), (n / self.keys.len() + 1) as u128);
            let config = self.channel(who);
            let voucher = Voucher { channel: config.id(&self.network), max_claimable: Amount(total) };
            let signature = self.keys[who].sign(&voucher.digest(&self.network)).0.to_vec().into();
            let voucher = bindings::Voucher { channel: (&config).into(), maxClaimableAmount: total };
            let row = VoucherClaim { voucher, signature, totalClaimed: total };
            let call = ISettlement::claimCall { voucherClaims: vec![row] };
            self.sign((who + 1) % self.keys.len(), SETTLEMENT_AT, call.abi_encode())
        };
        (0..count).map(one).collect()
    }
}

fn stranger(n: u64) -> Address {
    Address::from_slice(&talkoo_base::sha256(&[b"stranger", &n.to_be_bytes()]).0[..20])
}
