//! Accounts, storage and code: Ethereum's state, and revm's view of it.

use crate::kv::{KvError, KvRead, Writes};
use crate::limits::{CODES_KEPT_MAX, NODES_KEPT_DEPTH, STORAGES_KEPT_MAX};
use crate::trie::Trie;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, TrieAccount};
use revm::bytecode::Bytecode;
use revm::primitives::AddressMap;
use revm::state::{Account, AccountInfo};
use std::collections::{BTreeMap, BTreeSet};

/// The state after one block. A copy is a snapshot and cheap.
#[derive(Clone, Debug)]
pub struct State {
    accounts: Trie,
    storage: BTreeMap<Address, Trie>,
    codes: BTreeMap<B256, Bytecode>,
    /// Codes the disk has not.
    unsaved: BTreeSet<B256>,
}

/// Nodes from a root to a key.
pub(crate) type Nodes = Vec<Vec<u8>>;

impl State {
    /// The state with a known root, read from disk as it is needed.
    #[must_use]
    pub fn at(root: B256) -> Self {
        let accounts = Trie::new(b"a".to_vec(), root);
        Self { accounts, storage: BTreeMap::new(), codes: BTreeMap::new(), unsaved: BTreeSet::new() }
    }

    /// Another state with the codes of this one, of which the disk may not have all yet.
    pub(crate) fn with_codes_of(root: B256, other: &Self) -> Self {
        Self { codes: other.codes.clone(), ..Self::at(root) }
    }

    /// The state root.
    pub fn root(&mut self) -> B256 {
        self.accounts.root()
    }

    /// An account, if there is one.
    pub(crate) fn account(&mut self, kv: &dyn KvRead, address: Address) -> Result<Option<TrieAccount>, KvError> {
        let Some(mut bytes) = self.accounts.get(kv, &keccak256(address))? else { return Ok(None) };
        let record = TrieAccount::decode(&mut bytes);
        record.map(Some).map_err(|_| KvError::Damaged(format!("account {address}")))
    }

    pub(crate) fn code(&mut self, kv: &dyn KvRead, hash: B256) -> Result<Bytecode, KvError> {
        if hash == KECCAK_EMPTY {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.codes.get(&hash) {
            return Ok(code.clone());
        }
        let bytes = kv.get(&code_key(&hash))?.filter(|bytes| keccak256(bytes) == hash);
        let bytes = bytes.ok_or_else(|| KvError::Damaged(format!("code {hash}")))?;
        let code = Bytecode::new_raw_checked(bytes.into()).map_err(|e| KvError::Damaged(e.to_string()))?;
        self.codes.insert(hash, code.clone());
        Ok(code)
    }

    fn trie_of(&mut self, address: Address, root: B256) -> &mut Trie {
        let new = || {
            let mut prefix = b"s".to_vec();
            prefix.extend_from_slice(keccak256(address).as_slice());
            Trie::new(prefix, root)
        };
        self.storage.entry(address).or_insert_with(new)
    }

    pub(crate) fn slot(&mut self, kv: &dyn KvRead, address: Address, slot: U256) -> Result<U256, KvError> {
        let root = match self.storage.contains_key(&address) {
            true => EMPTY_ROOT_HASH,
            false => self.account(kv, address)?.map_or(EMPTY_ROOT_HASH, |record| record.storage_root),
        };
        let trie = self.trie_of(address, root);
        let Some(mut bytes) = trie.get(kv, &keccak256(B256::from(slot)))? else { return Ok(U256::ZERO) };
        U256::decode(&mut bytes).map_err(|_| KvError::Damaged(format!("slot {slot} of {address}")))
    }

    /// Proofs of an account and of some of its slots (EIP-1186), in that order.
    pub(crate) fn proofs(
        &mut self,
        kv: &dyn KvRead,
        address: Address,
        slots: &[U256],
    ) -> Result<(Nodes, Vec<Nodes>), KvError> {
        let account = self.accounts.proof(kv, &keccak256(address))?;
        let root = self.account(kv, address)?.map_or(EMPTY_ROOT_HASH, |record| record.storage_root);
        let trie = self.trie_of(address, root);
        let slots = slots.iter().map(|slot| trie.proof(kv, &keccak256(B256::from(*slot))));
        Ok((account, slots.collect::<Result<_, _>>()?))
    }

    /// Moves what the disk has not into `writes`, and forgets what was not used near the root.
    pub fn save(&mut self, writes: &mut Writes) {
        self.accounts.save(writes, NODES_KEPT_DEPTH);
        self.storage.values_mut().for_each(|trie| trie.save(writes, NODES_KEPT_DEPTH));
        if self.storage.len() > STORAGES_KEPT_MAX {
            self.storage.clear();
        }
        for hash in std::mem::take(&mut self.unsaved) {
            let code = self.codes.get(&hash).expect("unsaved codes are kept");
            writes.insert(code_key(&hash), Some(code.original_bytes().to_vec()));
        }
        if self.codes.len() > CODES_KEPT_MAX {
            self.codes.clear();
        }
    }
}

fn code_key(hash: &B256) -> Vec<u8> {
    [b"c".as_slice(), hash.as_slice()].concat()
}

/// What a block's transactions found of the state before it: enough to execute them again when the state is another.
#[derive(Clone, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Reads {
    accounts: Vec<AccountRead>,
    slots: Vec<SlotRead>,
}

/// An account as it was; the hash of its code is zero if it was not there.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
struct AccountRead {
    address: Address,
    nonce: u64,
    balance: U256,
    code_hash: B256,
}

#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
struct SlotRead {
    address: Address,
    slot: U256,
    value: U256,
}

/// The state while a block changes it: what was read and written, before any trie is touched.
pub(crate) struct View<'a> {
    state: &'a mut State,
    kv: &'a dyn KvRead,
    /// Hash of the parent, and how to find older ones.
    ancestors: &'a dyn Fn(u64) -> Result<B256, KvError>,
    accounts: BTreeMap<Address, Option<AccountInfo>>,
    slots: BTreeMap<(Address, U256), U256>,
    changed: BTreeSet<Address>,
    changed_slots: BTreeSet<(Address, U256)>,
    /// Accounts that pretend to have no storage but what was put.
    emptied: BTreeSet<Address>,
    reads: Reads,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        state: &'a mut State,
        kv: &'a dyn KvRead,
        ancestors: &'a dyn Fn(u64) -> Result<B256, KvError>,
    ) -> Self {
        let (accounts, slots) = (BTreeMap::new(), BTreeMap::new());
        let (changed, changed_slots) = (BTreeSet::new(), BTreeSet::new());
        let (emptied, reads) = (BTreeSet::new(), Reads::default());
        Self { state, kv, ancestors, accounts, slots, changed, changed_slots, emptied, reads }
    }

    /// Makes what was read once be found again. Whatever else is asked for has to lie on disk as it did then.
    pub(crate) fn recall(&mut self, reads: Reads) {
        for AccountRead { address, nonce, balance, code_hash } in reads.accounts {
            let info = AccountInfo { nonce, balance, code_hash, code: None, ..AccountInfo::default() };
            self.accounts.insert(address, (!code_hash.is_zero()).then_some(info));
        }
        self.slots.extend(reads.slots.into_iter().map(|read| ((read.address, read.slot), read.value)));
    }

    /// What was read so far.
    pub(crate) fn take_reads(&mut self) -> Reads {
        std::mem::take(&mut self.reads)
    }

    /// The next nonces of the accounts that changed.
    pub(crate) fn nonces(&self) -> BTreeMap<Address, u64> {
        let nonce = |address: &Address| Some((*address, self.accounts.get(address)?.as_ref()?.nonce));
        self.changed.iter().filter_map(nonce).collect()
    }

    /// Empties an account's storage without executing anything: for overrides of a call, which is not finished.
    pub(crate) fn empty_storage(&mut self, address: Address) {
        self.emptied.insert(address);
    }

    /// Sets an account without executing anything: for the genesis and for overrides of a call.
    pub(crate) fn put(&mut self, address: Address, info: AccountInfo) {
        if let Some(code) = &info.code {
            self.state.codes.insert(info.code_hash, code.clone());
        }
        self.changed.insert(address);
        self.accounts.insert(address, Some(info));
    }

    /// Gives an account code without executing anything.
    pub(crate) fn put_code(&mut self, address: Address, code: Bytes) -> Result<(), KvError> {
        let info = revm::Database::basic(self, address)?.unwrap_or_default();
        let code_hash = keccak256(&code);
        self.put(address, AccountInfo { nonce: 1, code_hash, code: Some(Bytecode::new_raw(code)), ..info });
        self.state.unsaved.insert(code_hash);
        Ok(())
    }

    /// Sets a slot without executing anything.
    pub(crate) fn put_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.changed_slots.insert((address, slot));
        self.slots.insert((address, slot), value);
    }

    /// Takes the result of a transaction in.
    pub(crate) fn commit(&mut self, changes: AddressMap<Account>) {
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            self.changed.insert(address);
            // EIP-161 and EIP-6780: what is empty, or destroyed where it was made, is not there.
            if account.is_selfdestructed() || account.is_empty() {
                self.accounts.insert(address, None);
                continue;
            }
            for (slot, value) in account.changed_storage_slots() {
                self.changed_slots.insert((address, *slot));
                self.slots.insert((address, *slot), value.present_value);
            }
            if let Some(code) = account.info.code.as_ref().filter(|code| !code.is_empty())
                && self.state.codes.insert(account.info.code_hash, code.clone()).is_none()
            {
                self.state.unsaved.insert(account.info.code_hash);
            }
            self.accounts.insert(address, Some(account.info));
        }
    }

    /// Puts everything that changed into the tries, and gives the new root.
    pub(crate) fn finish(self) -> Result<B256, KvError> {
        let Self { state, kv, accounts, slots, mut changed, changed_slots, .. } = self;
        for (address, slot) in changed_slots {
            let root = state.account(kv, address)?.map_or(EMPTY_ROOT_HASH, |record| record.storage_root);
            let value = slots[&(address, slot)];
            let value = (!value.is_zero()).then(|| alloy_rlp::encode(value));
            state.trie_of(address, root).set(kv, &keccak256(B256::from(slot)), value)?;
            changed.insert(address);
        }
        for address in changed {
            let key = keccak256(address);
            let Some(Some(info)) = accounts.get(&address) else {
                state.storage.remove(&address);
                state.accounts.set(kv, &key, None)?;
                continue;
            };
            let storage_root = match state.storage.get_mut(&address) {
                Some(trie) => trie.root(),
                None => state.account(kv, address)?.map_or(EMPTY_ROOT_HASH, |record| record.storage_root),
            };
            let AccountInfo { nonce, balance, code_hash, .. } = *info;
            let record = TrieAccount { nonce, balance, storage_root, code_hash };
            let mut bytes = Vec::with_capacity(record.length());
            record.encode(&mut bytes);
            state.accounts.set(kv, &key, Some(bytes))?;
        }
        Ok(state.root())
    }
}

impl revm::Database for View<'_> {
    type Error = KvError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, KvError> {
        if let Some(info) = self.accounts.get(&address) {
            return Ok(info.clone());
        }
        let record = self.state.account(self.kv, address)?;
        let info = record.map(|TrieAccount { nonce, balance, code_hash, .. }| AccountInfo {
            nonce,
            balance,
            code_hash,
            code: None,
            ..AccountInfo::default()
        });
        let AccountInfo { nonce, balance, code_hash, .. } = info.clone().unwrap_or_default();
        let code_hash = if info.is_some() { code_hash } else { B256::ZERO };
        self.reads.accounts.push(AccountRead { address, nonce, balance, code_hash });
        self.accounts.insert(address, info.clone());
        Ok(info)
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, KvError> {
        self.state.code(self.kv, hash)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, KvError> {
        if let Some(value) = self.slots.get(&(address, slot)) {
            return Ok(*value);
        }
        let value = match self.emptied.contains(&address) {
            true => U256::ZERO,
            false => self.state.slot(self.kv, address, slot)?,
        };
        self.reads.slots.push(SlotRead { address, slot, value });
        self.slots.insert((address, slot), value);
        Ok(value)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, KvError> {
        (self.ancestors)(number)
    }
}
