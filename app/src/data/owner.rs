//! The owner's side: seal, publish, price, give, release keys, take back.

use super::chain::{Grant, State, digest};
use super::files::{Given, Own, Published};
use super::manifest::{Kind, Manifest, Parent, is_name, purpose_hash};
use super::object::{self, Plain};
use super::wrap::Purpose;
use super::{Answer, Desks, SEALED, broken, no, random};
use alloy_primitives::{B256, U256, aliases::U40};
use serde_json::{Value, json};
use std::path::Path;
use talkoo_base::wire::Sealed;
use talkoo_base::{Address, Cid, Delegation, Digest, NodeId, RefusalCode, sha256};
use talkoo_disk::blocks::Sync;
use talkoo_ledger::bindings::Terms;
use talkoo_store::Visibility;
use talkoo_store::seal::stream::ContentKey;

/// What an owner says of data that it publishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) licence: String,
    pub(crate) purposes: Vec<String>,
    /// Version and ten-thousandths of the income.
    pub(crate) parents: Vec<(String, u16)>,
    pub(crate) preview: Option<String>,
    pub(crate) compute: Vec<Cid>,
    /// A new version of this asset.
    pub(crate) asset: Option<u64>,
    pub(crate) price: Option<Price>,
    /// Only tell what would become public.
    pub(crate) dry: bool,
}

/// What access costs, and for how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    /// Micro-units.
    pub(crate) micro: u128,
    pub(crate) access_s: u64,
    pub(crate) deliver_s: u64,
    /// Zero: any number.
    pub(crate) uses: u32,
}

impl Desks {
    /// Seals a file or folder into the store. It is private, and pinned.
    pub(crate) fn add(&self, path: &Path) -> Answer<Value> {
        let key = ContentKey::new(random()?);
        let sealed =
            object::seal(&self.blocks, &key, random()?, path).map_err(|why| crate::commands::refusal_of(&why))?;
        let name = sealed.root.to_string();
        let label = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let own = Own {
            label,
            sealed: sealed.root,
            sealed_bytes: sealed.sealed_bytes,
            bytes: sealed.bytes,
            kind: sealed.kind,
            key: self.keyring.seal(&sealed.root, &key),
            published: None,
            gifts: Vec::new(),
        };
        self.own.put(&name, &own).map_err(broken)?;
        self.blocks.pin(&format!("data/{name}"), &sealed.root).map_err(broken)?;
        self.blocks.set_class(&sealed.root, SEALED).map_err(broken)?;
        drop(sealed.hold);
        self.audit.note("added", json!({"sealed": name, "bytes": own.bytes}));
        Ok(shown(&own))
    }

    /// Data of ours by the root of what is sealed, its asset or its version.
    fn mine(&self, id: &str) -> Answer<Own> {
        let is = |own: &Own| {
            let published = own.published.as_ref();
            own.sealed.to_string() == id
                || published
                    .is_some_and(|p| p.version.to_string() == id.trim_start_matches("0x") || p.asset.to_string() == id)
        };
        // Of an asset the version that was published last.
        let own = self.own.all().into_iter().filter(is).max_by_key(|own| own.published.is_some());
        own.ok_or_else(|| no(RefusalCode::UnknownId, format!("{id} is no data of this node"), "see `talkoo data ls`"))
    }

    fn by_version(&self, version: &Digest) -> Option<Own> {
        self.own.all().into_iter().find(|own| own.published.is_some_and(|p| p.version == *version))
    }

    /// What would become public, or is.
    fn manifest_of(&self, own: &Own, said: &Said) -> Answer<Manifest> {
        let parents =
            said.parents.iter().map(|(version, bps)| Ok(Parent { version: digest(self.find(version)?.id), bps: *bps }));
        let preview = said.preview.as_ref().map(|cid| {
            cid.parse().map_err(|_| {
                no(RefusalCode::Malformed, "the preview is no CID", "talkoo store add --class public FILE")
            })
        });
        let name =
            if said.name.is_empty() { format!("data-{}", &own.sealed.to_string()[50..]) } else { said.name.clone() };
        if !is_name(&name) {
            let hint = "1 to 64 lower-case letters, digits and `-`, `_`, `.`";
            return Err(no(RefusalCode::Malformed, format!("{name} cannot be a name"), hint));
        }
        let manifest = Manifest {
            version: Manifest::VERSION,
            owner: Address(self.desk.owner.into()),
            name,
            title: said.title.clone(),
            description: said.description.clone(),
            licence: said.licence.clone(),
            purposes: said.purposes.clone(),
            sealed: own.sealed,
            sealed_bytes: own.sealed_bytes,
            kind: own.kind,
            parents: parents.collect::<Answer<_>>()?,
            preview: preview.transpose()?,
            nodes: vec![self.node.node_id()],
            compute: said.compute.clone(),
        };
        let good = talkoo_base::wire::Check::check(&manifest);
        good.map_err(|why| no(RefusalCode::Malformed, why.to_string(), "see docs/DATA.md"))?;
        Ok(manifest)
    }

    /// Publishes: the manifest becomes public, the version is registered, and if there is a price, offered.
    pub(crate) fn publish(&self, id: &str, said: &Said) -> Answer<Value> {
        let mut own = self.mine(id)?;
        let manifest = self.manifest_of(&own, said)?;
        let block = manifest.block();
        let public = json!({"manifest": told(&manifest), "cid": block.cid().to_string()});
        if said.dry {
            return Ok(json!({"public": public, "retained": retained(&manifest)}));
        }
        let Published { asset, version, .. } = match own.published {
            Some(there) if there.manifest == *block.cid() => there,
            Some(_) => {
                let hint = "another manifest is another version: add the data again, with a key of its own";
                return Err(no(RefusalCode::AlreadyUsed, "this is published already, as something else", hint));
            }
            None => {
                self.blocks.put(std::slice::from_ref(&block), Visibility::Public, Sync::Now).map_err(broken)?;
                self.blocks.pin(&format!("data/{}", block.cid()), block.cid()).map_err(broken)?;
                let asset = said.asset.map_or_else(|| self.desk.create(), Ok)?;
                let version = digest(self.desk.publish(asset, &manifest)?);
                Published { asset, version, manifest: *block.cid() }
            }
        };
        own.published = Some(Published { asset, version, manifest: *block.cid() });
        self.own.put(&own.sealed.to_string(), &own).map_err(broken)?;
        let about = json!({"asset": asset, "version": version.to_string(), "manifest": block.cid().to_string()});
        self.audit.note("published", about.clone());
        let (net, runtime, cid) = (self.net.clone(), &self.runtime, *block.cid());
        runtime.spawn(async move { net.provide(cid).await });
        let offer = said.price.map(|price| self.offer(&own, &manifest, price)).transpose()?;
        Ok(json!({"asset": asset, "version": version.to_string(), "offer": offer, "public": public}))
    }

    fn offer(&self, own: &Own, manifest: &Manifest, price: Price) -> Answer<u64> {
        let published =
            own.published.ok_or_else(|| no(RefusalCode::Unfit, "it is not published", "talkoo data publish"))?;
        let purpose = purpose_hash(manifest.purposes.first().map_or("any", String::as_str));
        let terms = Terms {
            version: published.version.0.into(),
            purpose: purpose.0.into(),
            price: price.micro,
            accessS: U40::from(price.access_s),
            deliverS: U40::from(price.deliver_s),
            usesMost: price.uses,
            isOpen: true,
        };
        let offer = self.desk.offer(terms)?;
        self.audit.note(
            "offered",
            json!({"offer": offer, "version": published.version.to_string(), "price": price.micro.to_string()}),
        );
        Ok(offer)
    }

    /// Other terms for new buyers; the offers before are closed.
    pub(crate) fn price(&self, id: &str, price: Price) -> Answer<Value> {
        let own = self.mine(id)?;
        let version =
            own.published.ok_or_else(|| no(RefusalCode::Unfit, "it is not published", "talkoo data publish"))?;
        let (_, manifest) = self.manifest(&self.desk.version(version.version.0.into())?)?;
        for offer in self.desk.offers(version.version.0.into())?.into_iter().filter(|offer| offer.terms.isOpen) {
            self.desk.close_offer(offer.id)?;
        }
        Ok(json!({"offer": self.offer(&own, &manifest, price)?}))
    }

    /// Gives a version to a node, for nothing and for good.
    pub(crate) fn give(&self, id: &str, node: NodeId) -> Answer<Value> {
        let own = self.mine(id)?;
        let hint = "talkoo data publish, without a price";
        let version = own.published.ok_or_else(|| no(RefusalCode::Unfit, "it is not published", hint))?.version;
        self.change(&self.own, &own.sealed.to_string(), |own| {
            if !own.gifts.contains(&node) {
                own.gifts.push(node);
            }
        })?;
        self.audit.note("gift", json!({"version": version.to_string(), "node": node.to_string()}));
        Ok(
            json!({"version": version.to_string(), "node": node.to_string(), "hint": "it gets it with `talkoo data get`"}),
        )
    }

    /// Grants that were paid and wait for their key, and all others of ours.
    pub(crate) fn requests(&self) -> Answer<Value> {
        let mut rows = Vec::new();
        for own in self.own.all() {
            let Some(published) = own.published else { continue };
            for offer in self.desk.offers(published.version.0.into())? {
                for id in self.desk.bought(Some(offer.id))? {
                    rows.push(grant_json(&self.desk.grant(id)?));
                }
            }
        }
        Ok(json!({"grants": rows}))
    }

    /// Ends a grant. Who has the key keeps what it has; later versions have other keys.
    pub(crate) fn revoke(&self, grant: u64) -> Answer<Value> {
        let there = self.desk.grant(grant)?;
        self.desk.revoke(grant)?;
        if let (Some(given), Some(own)) = (self.given.get(&grant.to_string()), self.by_version(&digest(there.version)))
        {
            self.blocks.revoke(&own.sealed, &given.node).map_err(broken)?;
        }
        self.audit.note("revoked", json!({"grant": grant, "version": there.version.to_string()}));
        let hint = "who has the key may have kept what it read: only later versions are closed to it";
        Ok(json!({"grant": grant, "state": "revoked", "hint": hint}))
    }

    /// Whether a grant is good now, for this account.
    fn active(&self, grant: &Grant) -> Answer<()> {
        let denied = |why: &str| Err(no(RefusalCode::Denied, why, "buy it again"));
        match grant.state {
            State::Granted if self.desk.time()? >= grant.end => denied("the grant has expired"),
            State::Granted if grant.uses_most > 0 && grant.uses >= grant.uses_most => denied("the grant is used up"),
            State::Granted => Ok(()),
            State::Paid => denied("the grant is not delivered yet"),
            State::Revoked => denied("the grant was revoked"),
            State::Refunded => denied("the grant was paid back"),
            State::None => denied("there is no such grant"),
        }
    }

    /// The wrapped key for a node that asks, if the chain says that it is paid, or it is a gift.
    pub(super) fn release(
        &self,
        to: NodeId,
        version: Digest,
        grant: u64,
        asks: &Sealed<Delegation>,
    ) -> Answer<Vec<u8>> {
        let denied = |why: &str| no(RefusalCode::Denied, why, "see docs/DATA.md");
        let own = self.by_version(&version).ok_or_else(|| denied("this node does not deliver that version"))?;
        if grant == 0 {
            if !own.gifts.contains(&to) {
                return Err(denied("it was not given to this node"));
            }
            return self.hand_over(&own, to, Purpose { version: version.0.into(), grant, part: 0 }, None);
        }
        let signer = asks.signer(&self.network).map_err(|_| denied("the delegation's signature is bad"))?;
        let Delegation { owner, node, expiry, .. } = asks.body;
        if signer != owner || node != to.address() || expiry.0 < crate::ledger::unix() {
            return Err(denied("the delegation is not this node's"));
        }
        let there = self.desk.grant(grant)?;
        if there.grantee != alloy_primitives::Address::from(owner.0) || there.version != B256::from(version.0) {
            return Err(denied("this grant is somebody else's, or of another version"));
        }
        let purpose = Purpose { version: there.version, grant, part: 0 };
        let (_, manifest) = self.manifest(&self.desk.version(there.version)?)?;
        if there.state == State::Paid {
            if self.desk.time()? > there.end {
                return Err(denied("it is too late to deliver: the price goes back"));
            }
            if !manifest.compute.is_empty() {
                self.desk.deliver(grant, B256::ZERO)?;
                self.audit.note("granted", json!({"grant": grant, "node": to.to_string(), "for": "compute"}));
                return Err(denied("only named code reads this, at the owner's: no key is delivered"));
            }
            return self.hand_over(&own, to, purpose, Some(there));
        }
        self.active(&there)?;
        if !manifest.compute.is_empty() {
            return Err(denied("only named code reads this, at the owner's: no key is delivered"));
        }
        self.hand_over(&own, to, purpose, Some(there))
    }

    /// Wraps the key for a node, once for each grant, and lets the node fetch what is sealed. A kill after the wrap is kept delivers
    /// the same one.
    fn hand_over(&self, own: &Own, to: NodeId, purpose: Purpose, grant: Option<Grant>) -> Answer<Vec<u8>> {
        let name = match grant {
            Some(grant) => grant.id.to_string(),
            None => format!("{}-{to}", digest(purpose.version)),
        };
        let given = match self.given.get(&name) {
            Some(given) if given.node != to => {
                return Err(no(
                    RefusalCode::Denied,
                    "this grant's key went to another node of its owner",
                    "ask from that",
                ));
            }
            Some(given) => given,
            None => {
                let lost =
                    || no(RefusalCode::Other, "the content key does not open with this node's key", "restore it");
                let key = self.keyring.open(own).ok_or_else(lost)?;
                let wrap = purpose.wrap(&to, key.expose()).map_err(broken)?;
                let given = Given { node: to, wrap: wrap.into() };
                self.given.put(&name, &given).map_err(broken)?;
                given
            }
        };
        if let Some(grant) = grant.filter(|grant| grant.state == State::Paid) {
            self.desk.deliver(grant.id, sha256(&[&given.wrap]).0.into())?;
        }
        let until = grant.map(|grant| self.desk.grant(grant.id)).transpose()?.map(|grant| grant.end);
        self.blocks.grant(&own.sealed, &to, until).map_err(broken)?;
        let about = json!({"version": purpose.version.to_string(), "grant": purpose.grant, "node": to.to_string(), "until": until});
        self.audit.note("key released", about.clone());
        self.tell("data.released", about);
        Ok(given.wrap.into_vec())
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
        self.active(&there)?;
        let unknown = || no(RefusalCode::UnknownId, "this grant is for data of another node", "ask there");
        let own = self.by_version(&digest(there.version)).ok_or_else(unknown)?;
        let (_, manifest) = self.manifest(&self.desk.version(there.version)?)?;
        if !manifest.compute.contains(code) {
            return Err(no(RefusalCode::Denied, "the offer does not name this code", "see the manifest's `compute`"));
        }
        let key =
            self.keyring.open(&own).ok_or_else(|| broken("the content key does not open with this node's key"))?;
        let plain = Plain::open(self.blocks.clone(), own.sealed, &key).map_err(broken)?;
        Ok((plain, own.kind))
    }

    /// What came of a version's income, and of those that were made from it.
    pub(crate) fn collect(&self, id: &str) -> Answer<Value> {
        let version = self.find(id)?;
        let came = self.desk.collect(version.id)?;
        self.audit.note("income", json!({"version": version.id.to_string(), "came": came.to_string()}));
        Ok(json!({"version": version.id.to_string(), "came": came.to_string(), "unit": "micro-units"}))
    }

    /// Our own data, one row each.
    pub(super) fn own_rows(&self) -> Vec<Value> {
        self.own.all().iter().map(shown).collect()
    }
}

/// Data of ours as people see it.
fn shown(own: &Own) -> Value {
    let published = own.published.as_ref();
    json!({
        "id": own.sealed.to_string(),
        "label": own.label,
        "bytes": own.bytes,
        "sealed_bytes": own.sealed_bytes,
        "kind": own.kind.name(),
        "asset": published.map(|p| p.asset),
        "version": published.map(|p| p.version.to_string()),
        "manifest": published.map(|p| p.manifest.to_string()),
        "given": own.gifts.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// A manifest as people see it.
pub(super) fn told(manifest: &Manifest) -> Value {
    json!({
        "owner": manifest.owner.to_string(),
        "name": manifest.name,
        "title": manifest.title,
        "description": manifest.description,
        "licence": manifest.licence,
        "purposes": manifest.purposes,
        "sealed": manifest.sealed.to_string(),
        "sealed_bytes": manifest.sealed_bytes,
        "kind": manifest.kind.name(),
        "parents": manifest.parents.iter().map(|p| json!({"version": p.version.to_string(), "bps": p.bps})).collect::<Vec<_>>(),
        "preview": manifest.preview.map(|cid| cid.to_string()),
        "nodes": manifest.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "compute": manifest.compute.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// What a buyer can keep, said before anything is published.
fn retained(manifest: &Manifest) -> &'static str {
    if manifest.compute.is_empty() {
        "a buyer gets the key, and can keep the plaintext for good: expiry, uses and revocation bind only honest programs, \
         and keep later versions from it"
    } else {
        "no key leaves this node; a buyer keeps what the named code tells"
    }
}

/// A grant as people see it.
pub(super) fn grant_json(grant: &Grant) -> Value {
    json!({
        "grant": grant.id,
        "state": format!("{:?}", grant.state).to_lowercase(),
        "grantee": grant.grantee.to_string(),
        "version": grant.version.to_string(),
        "offer": grant.offer,
        "price": U256::from(grant.price).to_string(),
        "end": grant.end,
        "uses": grant.uses,
        "uses_most": grant.uses_most,
    })
}
