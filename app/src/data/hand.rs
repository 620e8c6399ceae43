//! The owner and its keepers: shares of a key are handed out, again and again until all are kept.

use super::files::{Hand, Handed, Own};
use super::manifest::{Keeper, Keepers, Manifest, commitment};
use super::owner::Said as Terms;
use super::talk::Said;
use super::wrap::Purpose;
use super::{Answer, Desks, HAND_AGAIN, HAND_WAIT, Told, broken, lock, no};
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use std::time::Instant;
use talkoo_base::{Digest, NodeId, RefusalCode};
use talkoo_store::seal::shares::{self, Secret};

impl Desks {
    /// The keepers that an owner names, with the commitments of their shares.
    pub(super) fn keepers_of(&self, own: &Own, said: &Terms) -> Answer<Option<Keepers>> {
        let Some(k) = said.keepers else { return Ok(None) };
        let bad =
            |why: String| no(RefusalCode::Malformed, why, "--keepers K --keeper NODE, and a --keeper for each other");
        if said.keeper_nodes.contains(&self.node.node_id()) {
            return Err(bad("this node is its owner's, and cannot be a keeper".into()));
        }
        let shares = self.shares(own, k, &said.keeper_nodes).map_err(|why| bad(why.message))?;
        let keeper = |(part, (node, share)): (u8, (&NodeId, &Secret))| Keeper {
            node: *node,
            commitment: commitment(part, share),
        };
        let of = (1..).zip(said.keeper_nodes.iter().zip(&shares)).map(keeper).collect();
        Ok(Some(Keepers { k, with_data: said.with_data, of }))
    }

    /// The shares of the key of data of ours: always the same for the same keepers.
    pub(super) fn shares(&self, own: &Own, k: u8, nodes: &[NodeId]) -> Answer<Vec<Secret>> {
        let key = self.keyring.key(own).ok_or_else(lost)?;
        let n = u8::try_from(nodes.len()).unwrap_or(u8::MAX);
        let draw = |part| self.keyring.draw(&own.sealed, k, nodes, part);
        shares::split(&Secret::new(*key.expose()), k, n, draw).map_err(broken)
    }

    /// Lets the thread hand out what is missing, and waits a little; what the keepers have.
    pub(super) fn hand_and_wait(&self, own: &Own) -> Answer<Value> {
        let name = own.sealed.to_string();
        if own.keepers.as_ref().is_some_and(|handed| !handed.are_done()) {
            lock(&self.handing).insert(name.clone(), Instant::now());
            // The thread may be busy: it looks anyway.
            self.to.try_send(Told::Look).ok();
        }
        let waits = |handing: &mut std::collections::BTreeMap<_, _>| handing.contains_key(&name);
        drop(self.handed.wait_timeout_while(lock(&self.handing), HAND_WAIT, waits));
        Ok(handed_json(self.own.get(&name).as_ref().unwrap_or(own)))
    }

    /// Hands out what is due.
    pub(super) fn hand_out(&self) -> Answer<()> {
        let mut due = Vec::new();
        for (name, at) in lock(&self.handing).iter_mut().filter(|(_, at)| Instant::now() >= **at) {
            *at = Instant::now() + HAND_AGAIN;
            due.push(name.clone());
        }
        let mut done = Ok(());
        for own in due.iter().filter_map(|name| self.own.get(name)) {
            done = done.and(self.hand_out_one(&own));
        }
        done
    }

    fn hand_out_one(&self, own: &Own) -> Answer<()> {
        let (Some(published), Some(handed)) = (own.published, &own.keepers) else { return Ok(()) };
        let gone = || broken(format!("manifest {} is not in the store", published.manifest));
        let manifest = self.blocks.get(&published.manifest).map_err(broken)?.ok_or_else(gone)?;
        let nodes: Vec<NodeId> = handed.to.iter().map(|hand| hand.node).collect();
        let shares = self.shares(own, handed.k, &nodes)?;
        let may_fetch = self.blocks.grants(&own.sealed).map_err(broken)?;
        for (part, (hand, share)) in
            (1..).zip(handed.to.iter().zip(&shares)).filter(|(_, (hand, _))| !handed.is_done(hand))
        {
            if handed.with_data && !may_fetch.contains(&(hand.node, None)) {
                self.blocks.grant(&own.sealed, &hand.node, None).map_err(broken)?;
            }
            let purpose = Purpose { version: published.version.0.into(), grant: 0, part };
            let wrap = ByteBuf::from(purpose.wrap(&hand.node, &share[..]).map_err(broken)?);
            let manifest = ByteBuf::from(manifest.bytes().to_vec());
            self.post(hand.node, &Said::Keep { version: published.version, part, wrap, manifest });
        }
        Ok(())
    }

    /// A keeper of ours has its share, and maybe the blocks, or says why not.
    pub(super) fn kept_by(&self, from: NodeId, version: Digest, answer: Result<bool, String>) -> Answer<()> {
        let Some(own) = self.by_version(&version) else { return Ok(()) };
        let Some(mut handed) = own.keepers.clone() else { return Ok(()) };
        let Some(hand) = handed.to.iter_mut().find(|hand| hand.node == from) else { return Ok(()) };
        let before = hand.clone();
        match answer {
            Ok(has_data) => (hand.has_share, hand.has_data, hand.said) = (true, has_data, None),
            Err(why) => hand.said = Some(why),
        }
        if *hand == before {
            return Ok(());
        }
        let about = json!({"version": version.to_string(), "keeper": hand_json(hand)});
        let (name, are_done) = (own.sealed.to_string(), handed.are_done());
        self.change(&self.own, &name, |own| own.keepers = Some(handed))?;
        self.audit.note("keeper", about.clone());
        self.tell("data.keeper", about);
        if are_done {
            lock(&self.handing).remove(&name);
            self.handed.notify_all();
        }
        Ok(())
    }

    /// For a grant that keepers delivered: as many shares as are enough, for their owner is here.
    pub(super) fn own_shares(&self, own: &Own, to: NodeId, purpose: Purpose, keepers: &Keepers) -> Answer<Vec<Said>> {
        let nodes: Vec<NodeId> = keepers.of.iter().map(|keeper| keeper.node).collect();
        let shares = self.shares(own, keepers.k, &nodes)?;
        let wrapped = (1..=keepers.k).zip(&shares).map(|(part, share)| {
            let wrap = Purpose { part, ..purpose }.wrap(&to, &share[..]).map_err(broken)?.into();
            Ok(Said::Share { version: Digest(purpose.version.0), grant: purpose.grant, part, wrap })
        });
        wrapped.collect()
    }
}

/// What is to be handed out, as the manifest says.
pub(super) fn to_hand(manifest: &Manifest) -> Option<Handed> {
    let keepers = manifest.keepers.as_ref()?;
    let hand = |keeper: &Keeper| Hand { node: keeper.node, has_share: false, has_data: false, said: None };
    Some(Handed { k: keepers.k, with_data: keepers.with_data, to: keepers.of.iter().map(hand).collect() })
}

pub(super) fn lost() -> talkoo_base::Refusal {
    no(RefusalCode::Other, "the content key does not open with this node's key", "restore the key of this node")
}

fn hand_json(hand: &Hand) -> Value {
    json!({"node": hand.node.to_string(), "share": hand.has_share, "data": hand.has_data, "said": hand.said})
}

/// What the keepers of data of ours have, as people see it.
pub(super) fn handed_json(own: &Own) -> Value {
    let Some(handed) = &own.keepers else { return Value::Null };
    let done = handed.to.iter().filter(|hand| handed.is_done(hand)).count();
    let keepers = handed.to.iter().map(hand_json).collect::<Vec<_>>();
    json!({"enough": handed.k, "done": done, "with_data": handed.with_data, "keepers": keepers})
}
