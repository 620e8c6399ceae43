//! The buyer's side: find, pay, ask for the key, fetch what is sealed, read.

use super::chain::{State, Version, digest};
use super::files::Bought;
use super::hand::handed_json;
use super::manifest::{Kind, Manifest};
use super::object;
use super::owner::{grant_json, told};
use super::pay::{Choice, choose};
use super::talk::Said;
use super::wrap::Purpose;
use super::{Answer, Desks, Lost, REFUSED_WAIT, SEALED, Told, broken, lock, no};
use serde_json::{Value, json};
use std::path::Path;
use talkoo_base::{Digest, NodeId, RefusalCode, sha256};
use talkoo_disk::{Plain, PlainError};
use talkoo_net::{FetchOptions, FetchProgress};
use talkoo_store::seal::stream::{ContentKey, StreamError};
use tokio_util::sync::CancellationToken;

impl Desks {
    /// A version: its manifest, and its offers.
    pub(crate) fn show(&self, id: &str) -> Answer<Value> {
        let version = self.find(id)?;
        let (cid, manifest) = self.manifest(&version)?;
        let offers = self.desk.offers(version.id)?.into_iter().map(|offer| {
            let terms = offer.terms;
            json!({
                "offer": offer.id,
                "price": terms.price.to_string(),
                "access_s": terms.accessS.to::<u64>(),
                "deliver_s": terms.deliverS.to::<u64>(),
                "uses_most": terms.usesMost,
                "open": terms.isOpen,
            })
        });
        let state = ["none", "published", "deprecated", "revoked"][usize::from(version.of.state.min(3))];
        let own = self.by_version(&digest(version.id));
        Ok(json!({
            "kept": own.as_ref().map(handed_json),
            "asset": version.of.asset.to_string(),
            "version": digest(version.id).to_string(),
            "state": state,
            "manifest": cid.to_string(),
            "says": told(&manifest),
            "offers": offers.collect::<Vec<_>>(),
        }))
    }

    /// Ours, and what we bought.
    pub(crate) fn list(&self) -> Answer<Value> {
        let said = lock(&self.said).clone();
        let rows = self.bought.all().into_iter().map(|bought| {
            json!({
                "version": bought.version.to_string(),
                "grant": bought.grant,
                "manifest": bought.manifest.to_string(),
                "key": bought.wrap.is_some(),
                "here": bought.is_here,
                "over": bought.over,
                "said": said.get(&bought.name()).map(|(said, _)| said),
                "waits": self.waits(&bought),
            })
        });
        Ok(json!({"own": self.own_rows(), "bought": rows.collect::<Vec<_>>()}))
    }

    /// Buys access, for no more than `most` micro-units: the price is on hold until the owner delivers.
    pub(crate) fn buy(&self, id: &str, choice: Choice, most: Option<u128>) -> Answer<Value> {
        let version = self.find(id)?;
        let (cid, _) = self.manifest(&version)?;
        let _one = lock(&self.buying);
        for bought in
            self.bought.all().into_iter().filter(|b| b.grant > 0 && b.over.is_none() && b.version == digest(version.id))
        {
            let grant = self.desk.grant(bought.grant)?;
            if grant.state == State::Paid || self.desk.good(&grant).is_ok() {
                let hint = "talkoo data get; or wait until it is over";
                return Err(no(RefusalCode::AlreadyUsed, format!("grant {} for it is still good", grant.id), hint));
            }
        }
        let offer = choose(self.desk.offers(version.id)?, choice, most)?;
        let grant = self.desk.buy(&offer)?;
        self.remember(digest(version.id), grant, cid)?;
        self.audit.note(
            "paid",
            json!({"grant": grant, "version": version.id.to_string(), "price": offer.terms.price.to_string()}),
        );
        // The thread may be busy: it looks anyway.
        self.to.try_send(Told::Look).ok();
        Ok(json!({"grant": grant, "version": digest(version.id).to_string(), "price": offer.terms.price.to_string()}))
    }

    fn remember(&self, version: Digest, grant: u64, manifest: talkoo_base::Cid) -> Answer<()> {
        let bought = Bought { version, grant, manifest, wrap: None, is_here: false, over: None, shares: Vec::new() };
        if let Some(there) = self.bought.get(&bought.name()) {
            // Asked for again.
            lock(&self.said).remove(&there.name());
            return if there.over.is_some() && grant == 0 {
                self.bought.put(&there.name(), &bought).map_err(broken)
            } else {
                Ok(())
            };
        }
        // What is said of it stays, though its owner may be away and we killed.
        self.blocks.pin(&format!("data/{manifest}"), &manifest).map_err(broken)?;
        self.blocks.flush().map_err(broken)?;
        self.bought.put(&bought.name(), &bought).map_err(broken)
    }

    /// Finds what was paid and not remembered, for the node was killed between the two.
    pub(super) fn find_purchases(&self) -> Answer<()> {
        let known: Vec<u64> = self.bought.all().iter().map(|bought| bought.grant).collect();
        for id in self.desk.bought(None)?.into_iter().filter(|id| !known.contains(id)) {
            let grant = self.desk.grant(id)?;
            if matches!(grant.state, State::Paid | State::Granted) {
                let version = self.desk.version(grant.version)?;
                let manifest = super::manifest::cid_of_digest(&version.of.manifest.0);
                self.remember(digest(grant.version), id, manifest)?;
            }
        }
        Ok(())
    }

    /// The manifest of something bought.
    pub(super) fn manifest_of_bought(&self, bought: &Bought) -> Answer<Manifest> {
        let version = self.desk.version(bought.version.0.into())?;
        Ok(self.manifest(&version)?.1)
    }

    /// Asks the owner's nodes for the key, then its keepers; takes the price back if they let the time pass.
    pub(super) fn ask_again(&self, bought: &Bought) -> Answer<()> {
        let manifest = self.manifest_of_bought(bought)?;
        if bought.grant > 0 {
            let grant = self.desk.grant(bought.grant)?;
            let over = match grant.state {
                State::Paid if self.desk.time()? > grant.end => {
                    let back = self.desk.refund(bought.grant)?;
                    self.audit.note("refunded", json!({"grant": bought.grant, "came": back.to_string()}));
                    Some("it was not delivered in time: the price came back")
                }
                State::Refunded => Some("it was not delivered in time: the price came back"),
                State::Revoked => Some("the owner revoked it"),
                State::Granted if self.desk.time()? >= grant.end => Some("its time was over before the key came"),
                State::Paid | State::Granted | State::None => None,
            };
            if let Some(why) = over {
                return self.end_of(bought, why);
            }
            self.ask_keepers(bought, &manifest, grant.state)?;
        }
        if lock(&self.said).get(&bought.name()).is_some_and(|(_, at)| at.elapsed() < REFUSED_WAIT) {
            return Ok(());
        }
        let ask = Said::Ask { version: bought.version, grant: bought.grant, delegation: (&self.delegation).into() };
        manifest.nodes.iter().for_each(|node| self.post(*node, &ask));
        Ok(())
    }

    pub(super) fn end_of(&self, bought: &Bought, why: &str) -> Answer<()> {
        lock(&self.gatherings).remove(&bought.name());
        self.change(&self.bought, &bought.name(), |bought| bought.over = Some(why.to_owned()))?;
        self.tell("data.over", json!({"grant": bought.grant, "version": bought.version.to_string(), "why": why}));
        Ok(())
    }

    /// Takes a wrapped key, if it is what the chain says and opens.
    pub(super) fn delivered(&self, from: NodeId, version: Digest, grant: u64, wrap: &[u8]) -> Answer<()> {
        let name = format!("{version}-{grant}");
        let Some(bought) = self.bought.get(&name).filter(|bought| bought.wrap.is_none()) else { return Ok(()) };
        let lie = |why: &str| {
            let about = json!({"node": from.to_string(), "version": version.to_string(), "grant": grant, "why": why});
            self.audit.note("bad key", about);
            Err(no(
                RefusalCode::Denied,
                format!("a key that node {from} sent is refused: {why}"),
                "its owner is asked again",
            ))
        };
        if !self.manifest_of_bought(&bought)?.nodes.contains(&from) {
            return lie("it is no node of the owner's");
        }
        if grant > 0 {
            let there = self.desk.grant(grant)?;
            if there.state != State::Granted || there.sealed_key.0 != sha256(&[wrap]).0 {
                return lie("the chain has another one");
            }
        }
        if open_key(self, version, grant, wrap).is_err() {
            return lie("it does not open");
        }
        self.change(&self.bought, &name, |bought| bought.wrap = Some(wrap.to_vec().into()))?;
        self.audit
            .note("key received", json!({"version": version.to_string(), "grant": grant, "node": from.to_string()}));
        self.tell("data.delivered", json!({"grant": grant, "version": version.to_string()}));
        self.to.try_send(Told::Look).ok();
        Ok(())
    }

    /// Fetches what a key is here for. Who did not release it may have the blocks, too, or be back: all are asked to grant them.
    pub(super) fn fetch_bought(&self, bought: &Bought) -> Answer<()> {
        let manifest = self.manifest_of_bought(bought)?;
        let Bought { version, grant, .. } = *bought;
        for node in manifest.keepers.iter().filter(|_| grant > 0).flat_map(|_| manifest.all_nodes()) {
            self.post(node, &Said::Ask { version, grant, delegation: (&self.delegation).into() });
        }
        self.fetch_sealed(bought.name(), format!("data/{}", manifest.sealed), &manifest);
        Ok(())
    }

    /// Fetches the sealed blocks of something bought or kept and pins them: private here, for they were granted to us and to
    /// nobody else. A keeper's room counts on the length that the manifest tells.
    pub(super) fn fetch_sealed(&self, name: String, pin: String, manifest: &Manifest) {
        let (root, told_bytes) = (manifest.sealed, manifest.sealed_bytes);
        let (net, blocks, to) = (self.net.clone(), self.blocks.clone(), self.to.clone());
        let nodes = manifest.all_nodes().filter(|node| *node != self.node.node_id());
        let from = nodes.filter_map(|node| talkoo_net::peer_id_of(&node)).collect();
        let hold = self.blocks.hold();
        self.runtime.spawn(async move {
            let options = FetchOptions { from, visibility: SEALED, ..FetchOptions::default() };
            let over = CancellationToken::new();
            // Inner nodes of the DAG are far less than a sixteenth.
            let bytes_max = told_bytes.saturating_add(told_bytes / 16).saturating_add(1 << 20);
            let watch = |progress: FetchProgress| {
                if progress.bytes > bytes_max {
                    over.cancel();
                }
            };
            let how = tokio::select! {
                how = net.fetch(root, options, watch) => match how {
                    Ok(fetched) if fetched.bytes > bytes_max => Err(Lost::TooLarge),
                    how => how.map(drop).map_err(|why| Lost::Now(why.to_string())),
                },
                () = over.cancelled() => Err(Lost::TooLarge),
            };
            let told = tokio::task::spawn_blocking(move || {
                let how = how.and_then(|()| blocks.pin(&pin, &root).map_err(|why| Lost::Now(why.to_string())));
                drop(hold);
                // The thread may have ended.
                to.send(Told::Fetched(name, how)).ok();
            });
            told.await.ok();
        });
    }

    /// What is sealed is here: does the key open it?
    pub(super) fn fetched_bought(&self, bought: &Bought) -> Answer<()> {
        let manifest = self.manifest_of_bought(bought)?;
        let wrap = bought.wrap.as_ref().ok_or_else(|| broken("there is no key"))?;
        let key = open_key(self, bought.version, bought.grant, wrap)?;
        let about = json!({"grant": bought.grant, "version": bought.version.to_string()});
        match Plain::open(self.blocks.clone(), manifest.sealed, &key) {
            Err(PlainError::Stream(StreamError::WrongKey)) => {
                self.audit.note("bad key", about);
                return self.end_of(bought, "the key that was delivered is not this object's");
            }
            opened => drop(opened.map_err(broken)?),
        }
        self.change(&self.bought, &bought.name(), |bought| bought.is_here = true)?;
        self.tell("data.here", about);
        Ok(())
    }

    /// What we have of a version, by its name or by the number of its grant (`#7`).
    pub(super) fn held(&self, id: &str) -> Answer<Bought> {
        let wanted = match id.strip_prefix('#').map(str::parse::<u64>) {
            Some(grant) => (None, grant.ok()),
            None => (Some(self.find(id)?), None),
        };
        let is = |bought: &Bought| match &wanted {
            (Some(version), _) => bought.version == digest(version.id) && bought.over.is_none(),
            (None, grant) => Some(bought.grant) == *grant,
        };
        if let Some(bought) = self.bought.all().into_iter().filter(is).max_by_key(|bought| bought.grant) {
            return Ok(bought);
        }
        let none = || no(RefusalCode::UnknownId, format!("{id} was not bought here"), "talkoo data buy");
        let version: Version = wanted.0.ok_or_else(none)?;
        // It may have been given: its owner knows.
        let (cid, _) = self.manifest(&version)?;
        self.remember(digest(version.id), 0, cid)?;
        self.to.try_send(Told::Look).ok();
        let hint = "if its owner gave it to this node, ask again in a moment; else talkoo data buy";
        Err(no(RefusalCode::Busy, format!("{id} was not bought here; its owner is asked whether it was given"), hint))
    }

    /// Writes the plaintext to a path, and counts the use.
    pub(crate) fn get(&self, id: &str, to: &Path) -> Answer<Value> {
        let bought = self.held(id)?;
        let read = self.read(&bought, to);
        let about = json!({"version": bought.version.to_string(), "grant": bought.grant});
        match &read {
            Ok(_) => self.audit.note("read", about),
            Err(why) => self.audit.note("read refused", json!({"what": about, "why": why.message})),
        }
        read
    }

    /// Opens something bought, and counts it as a use.
    pub(super) fn opened(&self, bought: &Bought) -> Answer<(Plain, Kind)> {
        if let Some(why) = &bought.over {
            return Err(no(RefusalCode::Denied, why.clone(), "talkoo data buy"));
        }
        let wait = |why: &str| no(RefusalCode::Busy, why, "talkoo data ls says how it stands");
        let grant = (bought.grant > 0).then(|| self.desk.grant(bought.grant)).transpose()?;
        grant.iter().try_for_each(|grant| self.desk.good(grant))?;
        let wrap = bought.wrap.as_ref().ok_or_else(|| wait("the owner has not delivered the key yet"))?;
        if !bought.is_here {
            return Err(wait("what is sealed is still being fetched"));
        }
        let manifest = self.manifest_of_bought(bought)?;
        let key = open_key(self, bought.version, bought.grant, wrap)?;
        let plain = Plain::open(self.blocks.clone(), manifest.sealed, &key).map_err(broken)?;
        if grant.is_some_and(|grant| grant.uses_most > 0) {
            self.desk.use_once(bought.grant)?;
        }
        Ok((plain, manifest.kind))
    }

    fn read(&self, bought: &Bought, to: &Path) -> Answer<Value> {
        if std::fs::symlink_metadata(to).is_ok() {
            let why = format!("{} is there already", to.display());
            return Err(no(RefusalCode::InUse, why, "name another place with --to"));
        }
        let (plain, kind) = self.opened(bought)?;
        let bytes = object::export(plain, kind, to).map_err(|why| crate::commands::refusal_of(&why))?;
        let now = (bought.grant > 0).then(|| self.desk.grant(bought.grant)).transpose()?;
        Ok(json!({"path": to.display().to_string(), "bytes": bytes, "grant": now.as_ref().map(grant_json)}))
    }
}

/// The content key in a wrap for our node.
fn open_key(desks: &Desks, version: Digest, grant: u64, wrap: &[u8]) -> Answer<ContentKey> {
    let purpose = Purpose { version: version.0.into(), grant, part: 0 };
    let key = purpose.unwrap(&desks.node, wrap).map_err(broken)?;
    let key = <[u8; 32]>::try_from(&key[..]).map_err(|_| broken("the key has another length"))?;
    Ok(ContentKey::new(key))
}
