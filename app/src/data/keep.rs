//! A keeper's side: takes a share and the sealed blocks, and releases them to whom the chain says that it paid.

use super::chain::State;
use super::files::{Given, Kept, Room};
use super::manifest::{Keepers, Manifest, cid_of_digest};
use super::talk::Said;
use super::wrap::Purpose;
use super::{Answer, Desks, KEPT_MAX, KEPT_OF_OWNER_MAX, broken, lock, no};
use serde_json::{Value, json};
use talkoo_base::wire::Sealed;
use talkoo_base::{Address, Delegation, Digest, NodeId, Refusal, RefusalCode};
use talkoo_disk::blocks::Sync;
use talkoo_store::seal::shares::Secret;
use talkoo_store::{Block, Visibility};

/// Name of the record of [`Room`].
const ROOM: &str = "keep";

const TOO_LARGE: &str = "the sealed object is larger than its manifest says";

fn denied(why: &str) -> Refusal {
    no(RefusalCode::Denied, why, "see docs/DATA.md")
}

impl Desks {
    /// Says how much this node keeps for others, and changes it.
    pub(crate) fn keep_room(&self, bytes: Option<u64>) -> Answer<Value> {
        if let Some(bytes) = bytes {
            self.room.put(ROOM, &Room { bytes }).map_err(broken)?;
        }
        let (kept, said) = (self.kept.all(), lock(&self.said).clone());
        let row = |kept: &Kept| {
            json!({
                "version": kept.version.to_string(),
                "owner": kept.of.to_string(),
                "sealed": kept.sealed.to_string(),
                "sealed_bytes": kept.sealed_bytes,
                "here": kept.is_here,
                "said": said.get(&kept.version.to_string()).map(|(said, _)| said),
            })
        };
        let room = self.room.get(ROOM);
        Ok(json!({"space_bytes": room.map(|room| room.bytes), "kept": kept.iter().map(row).collect::<Vec<_>>()}))
    }

    /// Forgets a share, and lets its blocks go.
    pub(crate) fn let_go(&self, version: &str) -> Answer<Value> {
        let name = version.trim_start_matches("0x");
        let unknown = || no(RefusalCode::UnknownId, format!("no share of {version} is kept here"), "talkoo data keep");
        Digest::from_hex(name).and_then(|_| self.kept.get(name)).ok_or_else(unknown)?;
        self.kept.remove(name).map_err(broken)?;
        lock(&self.wanted).remove(name);
        self.blocks.unpin(&pin_of(name)).map_err(broken)?;
        self.audit.note("let go", json!({"version": name}));
        Ok(json!({"version": name}))
    }

    /// Takes a share, if the chain says that its owner chose this node.
    pub(super) fn keep(&self, from: NodeId, version: Digest, part: u8, wrap: &[u8], manifest: Vec<u8>) -> Answer<Said> {
        let name = version.to_string();
        let there = self.desk.version(version.0.into())?;
        if there.of.state != 1 {
            return Err(denied("this version is not published, or not any more"));
        }
        let block = Block::verified(cid_of_digest(&there.of.manifest.0), manifest.into());
        let block = block.map_err(|_| denied("the manifest is not the chain's"))?;
        let manifest = Manifest::read(&block).map_err(|why| denied(&format!("its manifest is bad: {why}")))?;
        let keepers = manifest.keepers.as_ref().filter(|keepers| keepers.part_of(&self.node.node_id()) == Some(part));
        let keepers = keepers.ok_or_else(|| denied("the manifest does not give this share to this node"))?;
        if manifest.sealed.hash().digest() != there.of.cid.0 || !manifest.nodes.contains(&from) {
            return Err(denied("the manifest is of another object, or of other nodes"));
        }
        let share = open_share(self, Purpose { version: there.id, grant: 0, part }, wrap, keepers)
            .ok_or_else(|| denied("the share does not open, or does not fit its commitment"))?;
        let old = self.kept.get(&name);
        if old.is_none() {
            self.has_room(Address(there.owner.into()), &manifest)?;
        }
        if old.as_ref().is_some_and(|old| old.is_too_large) {
            return Err(denied(TOO_LARGE));
        }
        let is_here = old.as_ref().is_some_and(|old| old.is_here);
        if old.is_none_or(|old| self.share_of(&old).is_none_or(|old| old != share)) {
            self.blocks.put(std::slice::from_ref(&block), Visibility::Public, Sync::Now).map_err(broken)?;
            self.blocks.pin(&format!("data/{}", block.cid()), block.cid()).map_err(broken)?;
            let kept = Kept {
                version,
                of: Address(there.owner.into()),
                sealed: manifest.sealed,
                sealed_bytes: keepers.with_data.then_some(manifest.sealed_bytes),
                is_here,
                is_too_large: false,
                share: self.keyring.seal(&version.0, &share),
            };
            self.kept.put(&name, &kept).map_err(broken)?;
            self.audit.note("keeps", json!({"version": name, "part": part, "node": from.to_string()}));
            let (net, cid) = (self.net.clone(), *block.cid());
            self.runtime.spawn(async move { net.provide(cid).await });
        }
        if keepers.with_data && !is_here {
            lock(&self.wanted).insert(name);
        }
        Ok(Said::Kept { version, has_data: is_here })
    }

    fn has_room(&self, owner: Address, manifest: &Manifest) -> Answer<()> {
        let hint = "its operator says how much: talkoo data keep SIZE";
        let full = |why: &str| no(RefusalCode::NotProviding, why, hint);
        let room = self.room.get(ROOM).ok_or_else(|| full("this node keeps nothing for others"))?;
        let kept = self.kept.all();
        if kept.len() >= KEPT_MAX || kept.iter().filter(|kept| kept.of == owner).count() >= KEPT_OF_OWNER_MAX {
            return Err(full("this node keeps as many shares as it may, in all or of one owner"));
        }
        let with_data = manifest.keepers.as_ref().is_some_and(|keepers| keepers.with_data);
        let need = if with_data { manifest.sealed_bytes } else { 0 };
        let used = kept.iter().filter_map(|kept| kept.sealed_bytes).fold(0, u64::saturating_add);
        let left = room.bytes.saturating_sub(used);
        if need > left {
            return Err(full("this node has no room for the sealed blocks").with(need, left));
        }
        Ok(())
    }

    /// What was to be fetched is larger than its manifest says: nobody wants it.
    pub(super) fn too_large(&self, name: &str) -> Answer<()> {
        if let Some(bought) = self.bought.get(name) {
            return self.end_of(&bought, TOO_LARGE);
        }
        lock(&self.wanted).remove(name);
        self.audit.note("too large", json!({"version": name}));
        self.change(&self.kept, name, |kept| kept.is_too_large = true)
    }

    fn share_of(&self, kept: &Kept) -> Option<Secret> {
        self.keyring.open(&kept.version.0, &kept.share)
    }

    /// The sealed blocks came: the other keepers may have them from us.
    pub(super) fn kept_data(&self, name: &str) -> Answer<()> {
        let Some(kept) = self.kept.get(name) else {
            // Let go meanwhile.
            return self.blocks.unpin(&pin_of(name)).map(drop).map_err(broken);
        };
        let (_, manifest) = self.manifest(&self.desk.version(kept.version.0.into())?)?;
        for keeper in manifest.keepers.iter().flat_map(|keepers| &keepers.of) {
            if keeper.node != self.node.node_id() {
                self.blocks.grant(&kept.sealed, &keeper.node, None).map_err(broken)?;
            }
        }
        self.change(&self.kept, name, |kept| kept.is_here = true)?;
        lock(&self.wanted).remove(name);
        self.audit.note("keeps blocks", json!({"version": name}));
        self.tell("data.kept", json!({"version": name}));
        // The owner asks again, too.
        manifest.nodes.iter().for_each(|node| self.post(*node, &Said::Kept { version: kept.version, has_data: true }));
        Ok(())
    }

    /// Looks for the sealed blocks of a share that is kept.
    pub(super) fn fetch_kept(&self, name: &str) -> Answer<()> {
        let Some(kept) = self.kept.get(name) else { return Ok(()) };
        let (_, manifest) = self.manifest(&self.desk.version(kept.version.0.into())?)?;
        self.fetch_sealed(name.to_owned(), pin_of(name), &manifest);
        Ok(())
    }

    /// Answers a buyer: ready, or a share.
    pub(super) fn asked_as_keeper(
        &self,
        to: NodeId,
        version: Digest,
        grant: u64,
        asks: &Sealed<Delegation>,
    ) -> Answer<Vec<Said>> {
        let (there, kept, keepers) = self.sale(to, version, grant, asks)?;
        if there.state == State::Paid {
            return Ok(vec![Said::Ready { version, grant }]);
        }
        if let Err(why) = self.desk.good(&there) {
            if there.state == State::Revoked {
                self.blocks.revoke(&kept.sealed, &to).map_err(broken)?;
            }
            return Err(why);
        }
        let part = keepers.part_of(&self.node.node_id()).ok_or_else(|| denied("this node has no share of it"))?;
        let purpose = Purpose { version: there.version, grant, part };
        let share = || self.share_of(&kept).ok_or_else(|| denied("the share does not open with this node's key"));
        let given = self.given_once(&grant.to_string(), to, || {
            Ok(Given { node: to, wrap: purpose.wrap(&to, &share()?[..]).map_err(broken)?.into() })
        })?;
        self.let_fetch(kept.is_here.then_some(&kept.sealed), to, purpose, Some(there.end))?;
        Ok(vec![Said::Share { version, grant, part, wrap: given.wrap }])
    }

    /// Delivers on the chain, if nobody did yet, and answers with the share.
    pub(super) fn told_to_deliver(
        &self,
        from: NodeId,
        version: Digest,
        grant: u64,
        asks: &Sealed<Delegation>,
    ) -> Answer<Vec<Said>> {
        let (there, _, keepers) = self.sale(from, version, grant, asks)?;
        if there.state == State::Paid {
            let done = self.desk.deliver(grant, keepers.promise().0.into());
            // Another may have been faster.
            if self.desk.grant(grant)?.state == State::Paid {
                done?;
            }
            self.audit
                .note("delivered", json!({"grant": grant, "version": version.to_string(), "node": from.to_string()}));
        }
        self.asked_as_keeper(from, version, grant, asks)
    }

    /// A grant of this node's owner, for a share of ours; if it is paid only, then in time and with all that it takes.
    fn sale(
        &self,
        node: NodeId,
        version: Digest,
        grant: u64,
        asks: &Sealed<Delegation>,
    ) -> Answer<(super::chain::Grant, Kept, Keepers)> {
        let none = || denied("this node keeps no share of that version");
        let kept = self.kept.get(&version.to_string()).ok_or_else(none)?;
        if grant == 0 {
            return Err(denied("only its owner gives it away"));
        }
        let there = self.grant_of(node, version, grant, asks)?;
        let (_, manifest) = self.manifest(&self.desk.version(there.version)?)?;
        let keepers = manifest.keepers.ok_or_else(none)?;
        if there.state == State::Paid && self.desk.time()? > there.end {
            return Err(denied("it is too late to deliver: the price goes back"));
        }
        if there.state == State::Paid && keepers.with_data && !kept.is_here {
            return Err(denied("the sealed blocks are not here yet"));
        }
        Ok((there, kept, keepers))
    }
}

fn pin_of(version: &str) -> String {
    format!("kept/{version}")
}

/// A share in a wrap for our node, if it is the one that its commitment says.
pub(super) fn open_share(desks: &Desks, purpose: Purpose, wrap: &[u8], keepers: &Keepers) -> Option<Secret> {
    let share = purpose.unwrap(&desks.node, wrap).ok()?;
    let share = <[u8; 32]>::try_from(&share[..]).ok().map(Secret::new)?;
    keepers.fits(purpose.part, &share).then_some(share)
}
