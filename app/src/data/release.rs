//! Who gets a key, and which code may read: decided from the chain, each time anew.

use super::chain::{Grant, State, digest};
use super::files::{Given, Own};
use super::hand::lost;
use super::manifest::Kind;
use super::talk::Said;
use super::wrap::Purpose;
use super::{Answer, Desks, broken, lock, no};
use alloy_primitives::B256;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use talkoo_base::wire::Sealed;
use talkoo_base::{Cid, Delegation, Digest, NodeId, RefusalCode, sha256};
use talkoo_disk::Plain;

impl Desks {
    /// The wrapped key for a node that asks, if the chain says that it is paid, or it is a gift; shares of it, if keepers delivered.
    pub(super) fn release(
        &self,
        to: NodeId,
        version: Digest,
        grant: u64,
        asks: &Sealed<Delegation>,
    ) -> Answer<Vec<Said>> {
        let denied = |why: &str| no(RefusalCode::Denied, why, "see docs/DATA.md");
        let own = self.by_version(&version).ok_or_else(|| denied("this node does not deliver that version"))?;
        let tell = |wrap: Vec<u8>| vec![Said::Tell { version, grant, wrap: wrap.into() }];
        if grant == 0 {
            if !own.gifts.contains(&to) {
                return Err(denied("it was not given to this node"));
            }
            return self.hand_over(&own, to, Purpose { version: version.0.into(), grant, part: 0 }, None).map(tell);
        }
        let there = self.grant_of(to, version, grant, asks)?;
        let purpose = Purpose { version: there.version, grant, part: 0 };
        let (_, manifest) = self.manifest(&self.desk.version(there.version)?)?;
        if there.state == State::Paid {
            if self.desk.time()? > there.end {
                return Err(denied("it is too late to deliver: the price goes back"));
            }
            self.has_word(&own, &there, to, asks)?;
            if !manifest.compute.is_empty() {
                self.desk.deliver(grant, B256::ZERO)?;
                self.audit.note("granted", json!({"grant": grant, "node": to.to_string(), "for": "compute"}));
                return Err(denied("only named code reads this, at the owner's: no key is delivered"));
            }
            return self.hand_over(&own, to, purpose, Some(there)).map(tell);
        }
        self.desk.good(&there)?;
        if !manifest.compute.is_empty() {
            return Err(denied("only named code reads this, at the owner's: no key is delivered"));
        }
        let given = self.given.get(&grant.to_string());
        let is_ours = given.is_some_and(|given| sha256(&[&given.wrap]).0 == there.sealed_key.0);
        match &manifest.keepers {
            Some(keepers) if !is_ours => {
                self.given_once(&grant.to_string(), to, || Ok(Given { node: to, wrap: ByteBuf::new() }))?;
                self.let_fetch(Some(&own.sealed), to, purpose, Some(there.end))?;
                self.own_shares(&own, to, purpose, keepers)
            }
            _ => self.hand_over(&own, to, purpose, Some(there)).map(tell),
        }
    }

    /// The grant for which a node asks: its owner's, and of that version.
    pub(super) fn grant_of(
        &self,
        node: NodeId,
        version: Digest,
        grant: u64,
        asks: &Sealed<Delegation>,
    ) -> Answer<Grant> {
        let denied = |why: &str| no(RefusalCode::Denied, why, "see docs/DATA.md");
        let signer = asks.signer(&self.network).map_err(|_| denied("the delegation's signature is bad"))?;
        let Delegation { owner, node: named, expiry, .. } = asks.body;
        if signer != owner || named != node.address() || expiry.0 < crate::ledger::unix() {
            return Err(denied("the delegation is not this node's"));
        }
        let there = self.desk.grant(grant)?;
        if there.grantee != alloy_primitives::Address::from(owner.0) || there.version != B256::from(version.0) {
            return Err(denied("this grant is somebody else's, or of another version"));
        }
        Ok(there)
    }

    /// Wraps the key for a node, once for each grant, and lets the node fetch what is sealed. A kill after the wrap is kept delivers
    /// the same one.
    fn hand_over(&self, own: &Own, to: NodeId, purpose: Purpose, grant: Option<Grant>) -> Answer<Vec<u8>> {
        let name = match grant {
            Some(grant) => grant.id.to_string(),
            None => format!("{}-{to}", digest(purpose.version)),
        };
        let given = self.given_once(&name, to, || {
            let key = self.keyring.key(own).ok_or_else(lost)?;
            Ok(Given { node: to, wrap: purpose.wrap(&to, key.expose()).map_err(broken)?.into() })
        })?;
        if let Some(grant) = grant.filter(|grant| grant.state == State::Paid) {
            self.desk.deliver(grant.id, sha256(&[&given.wrap]).0.into())?;
        }
        let until = grant.map(|grant| self.desk.grant(grant.id)).transpose()?.map(|grant| grant.end);
        self.let_fetch(Some(&own.sealed), to, purpose, until)?;
        Ok(given.wrap.into_vec())
    }

    /// What left for a grant: made and kept the first time, the same from then on, for one node.
    pub(super) fn given_once(&self, name: &str, to: NodeId, make: impl FnOnce() -> Answer<Given>) -> Answer<Given> {
        match self.given.get(name) {
            Some(given) if given.node != to => {
                let why = "this grant's key went to another node of its owner";
                Err(no(RefusalCode::Denied, why, "ask from that"))
            }
            Some(given) => Ok(given),
            None => {
                let given = make()?;
                self.given.put(name, &given).map_err(broken)?;
                Ok(given)
            }
        }
    }

    /// Lets a node fetch the sealed blocks, if they are here, and notes that a key or share leaves for it.
    pub(super) fn let_fetch(
        &self,
        sealed: Option<&Cid>,
        to: NodeId,
        purpose: Purpose,
        until: Option<u64>,
    ) -> Answer<()> {
        sealed.iter().try_for_each(|sealed| self.blocks.grant(sealed, &to, until)).map_err(broken)?;
        let Purpose { version, grant, part } = purpose;
        let (version, node) = (digest(version).to_string(), to.to_string());
        let about = json!({"version": version, "grant": grant, "part": part, "node": node, "until": until});
        // Who has it may ask again and again: that fills no disk.
        if lock(&self.released).insert(about.to_string()) {
            self.audit.note("key released", about.clone());
            self.tell("data.released", about);
        }
        Ok(())
    }

    /// The plaintext for code that a grant names, inside this process and nowhere else: what a sandbox calls.
    ///
    /// # Errors
    /// The grant is not active, or the version does not name the code.
    pub(crate) fn open_for(&self, grant: u64, code: &Cid) -> Answer<(Plain, Kind)> {
        let opened = self.may_open(grant, code);
        let about = json!({"grant": grant, "code": code.to_string()});
        self.audit.note(if opened.is_ok() { "opened for code" } else { "refused code" }, about);
        opened
    }

    /// Whether code may read under a grant, and how much there is.
    pub(crate) fn check(&self, grant: u64, code: &Cid) -> Answer<Value> {
        let (plain, kind) = self.open_for(grant, code)?;
        Ok(json!({"grant": grant, "bytes": plain.content_bytes(), "kind": kind.name()}))
    }

    fn may_open(&self, grant: u64, code: &Cid) -> Answer<(Plain, Kind)> {
        let there = self.desk.grant(grant)?;
        self.desk.good(&there)?;
        let unknown = || no(RefusalCode::UnknownId, "this grant is for data of another node", "ask there");
        let own = self.by_version(&digest(there.version)).ok_or_else(unknown)?;
        let (_, manifest) = self.manifest(&self.desk.version(there.version)?)?;
        if !manifest.compute.contains(code) {
            return Err(no(RefusalCode::Denied, "the offer does not name this code", "see the manifest's `compute`"));
        }
        let key = self.keyring.key(&own).ok_or_else(lost)?;
        let plain = Plain::open(self.blocks.clone(), own.sealed, &key).map_err(broken)?;
        Ok((plain, own.kind))
    }
}
