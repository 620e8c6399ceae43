//! The owner's side: seal, publish, price, give, release keys, take back.

use super::chain::{Grant, digest};
use super::files::{Own, Published};
use super::hand::{handed_json, to_hand};
use super::manifest::{Manifest, Parent, is_name, purpose_hash};
use super::object;
use super::{Answer, Desks, SEALED, broken, no, random};
use alloy_primitives::{U256, aliases::U40};
use serde_json::{Value, json};
use std::path::Path;
use talkoo_base::{Address, Cid, Digest, NodeId, RefusalCode};
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
    /// None: it is not for sale.
    pub(crate) prices: Vec<Price>,
    /// Each paid grant waits for the owner's word.
    pub(crate) on_request: bool,
    /// So many of these nodes together have the key, and sell while the owner is away.
    pub(crate) keepers: Option<u8>,
    pub(crate) keeper_nodes: Vec<NodeId>,
    /// They have the sealed blocks, too.
    pub(crate) with_data: bool,
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
            key: self.keyring.seal(&sealed.root.to_bytes(), key.expose()),
            published: None,
            gifts: Vec::new(),
            is_offering: false,
            on_request: false,
            keepers: None,
        };
        self.own.put(&name, &own).map_err(broken)?;
        self.blocks.pin(&format!("data/{name}"), &sealed.root).map_err(broken)?;
        self.blocks.set_class(&sealed.root, SEALED).map_err(broken)?;
        drop(sealed.hold);
        self.audit.note("added", json!({"sealed": name, "bytes": own.bytes}));
        Ok(shown(&own))
    }

    /// Data of ours by the root of what is sealed, its asset or its version.
    pub(super) fn mine(&self, id: &str) -> Answer<Own> {
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

    pub(super) fn by_version(&self, version: &Digest) -> Option<Own> {
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
            keepers: self.keepers_of(own, said)?,
        };
        let good = talkoo_base::wire::Check::check(&manifest);
        good.map_err(|why| no(RefusalCode::Malformed, why.to_string(), "see docs/DATA.md"))?;
        Ok(manifest)
    }

    /// Publishes: the manifest becomes public, the version is registered, and if there is a price, offered.
    pub(crate) fn publish(&self, id: &str, said: &Said) -> Answer<Value> {
        let mut own = self.mine(id)?;
        let manifest = self.manifest_of(&own, said)?;
        let on_request = own.on_request || said.on_request;
        Self::may_be_on_request(on_request, manifest.keepers.is_some())?;
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
        own.keepers = own.keepers.or_else(|| to_hand(&manifest));
        own.on_request = on_request;
        self.own.put(&own.sealed.to_string(), &own).map_err(broken)?;
        let about = json!({"asset": asset, "version": version.to_string(), "manifest": block.cid().to_string()});
        self.audit.note("published", about.clone());
        let (net, runtime, cid) = (self.net.clone(), &self.runtime, *block.cid());
        runtime.spawn(async move { net.provide(cid).await });
        let offers = self.offer_all(&own, &manifest, &said.prices)?;
        let kept = self.hand_and_wait(&own)?;
        let (offer, version) = (offers.first(), version.to_string());
        Ok(
            json!({"asset": asset, "version": version, "offer": offer, "offers": offers, "public": public, "kept": kept}),
        )
    }

    fn offer_all(&self, own: &Own, manifest: &Manifest, prices: &[Price]) -> Answer<Vec<u64>> {
        prices.iter().map(|price| self.offer(own, manifest, *price)).collect()
    }

    /// Offers a version, and lets this node deliver while the wallet is locked, and keepers while the node is away.
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
        let name = own.sealed.to_string();
        self.change(&self.own, &name, |own| own.is_offering = true)?;
        let offer = self.desk.offer(terms)?;
        self.let_all_deliver(offer, manifest)?;
        self.change(&self.own, &name, |own| own.is_offering = false)?;
        self.audit.note(
            "offered",
            json!({"offer": offer, "version": published.version.to_string(), "price": price.micro.to_string()}),
        );
        Ok(offer)
    }

    fn let_all_deliver(&self, offer: u64, manifest: &Manifest) -> Answer<()> {
        manifest.all_nodes().try_for_each(|node| self.desk.let_deliver(offer, node.address().0.into()))
    }

    /// Says for offers that a kill cut off who delivers. Wants an open wallet.
    pub(super) fn mend_offers(&self) -> Answer<()> {
        for own in self.own.all().into_iter().filter(|own| own.is_offering) {
            let Some(published) = own.published else { continue };
            let (_, manifest) = self.manifest(&self.desk.version(published.version.0.into())?)?;
            for offer in self.desk.offers(published.version.0.into())?.iter().filter(|offer| offer.terms.isOpen) {
                self.let_all_deliver(offer.id, &manifest)?;
            }
            self.change(&self.own, &own.sealed.to_string(), |own| own.is_offering = false)?;
        }
        Ok(())
    }

    /// Other terms for new buyers; the offers before are closed.
    pub(crate) fn price(&self, id: &str, prices: &[Price]) -> Answer<Value> {
        let own = self.mine(id)?;
        let version =
            own.published.ok_or_else(|| no(RefusalCode::Unfit, "it is not published", "talkoo data publish"))?;
        let (_, manifest) = self.manifest(&self.desk.version(version.version.0.into())?)?;
        for offer in self.desk.offers(version.version.0.into())?.into_iter().filter(|offer| offer.terms.isOpen) {
            self.desk.close_offer(offer.id)?;
        }
        let offers = self.offer_all(&own, &manifest, prices)?;
        Ok(json!({"offer": offers.first(), "offers": offers}))
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
        "kept": handed_json(own),
        "on_request": own.on_request,
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
        "keepers": manifest.keepers.as_ref().map(|keepers| json!({
            "enough": keepers.k,
            "with_data": keepers.with_data,
            "nodes": keepers.of.iter().map(|keeper| keeper.node.to_string()).collect::<Vec<_>>(),
        })),
    })
}

/// What a buyer can keep, said before anything is published.
fn retained(manifest: &Manifest) -> String {
    if !manifest.compute.is_empty() {
        return "no key leaves this node; a buyer keeps what the named code tells".into();
    }
    let keepers = manifest.keepers.as_ref().map_or_else(String::new, |keepers| {
        format!("; any {} of the {} keepers can read it if they agree to, without a sale", keepers.k, keepers.of.len())
    });
    format!(
        "a buyer gets the key, and can keep the plaintext for good: expiry, uses and revocation bind only honest programs, \
         and keep later versions from it{keepers}"
    )
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
