//! The buyer and the keepers: who is ready while the owner is silent, who delivers, and the shares that come.

use super::chain::State;
use super::files::{Bought, Part};
use super::keep::open_share;
use super::manifest::{Keepers, Manifest};
use super::talk::Said;
use super::wrap::Purpose;
use super::{Answer, DELIVER_WAIT, Desks, READY_WAIT, REFUSED_WAIT, SILENT, Told, broken, lock, no};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use talkoo_base::{Digest, NodeId, RefusalCode};
use talkoo_store::seal::shares::{self, Secret};

/// How far a purchase is with the keepers. Gone with the process: they are asked again then.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Since when the owner is asked.
    since: Instant,
    /// Who would deliver, and when it said so.
    ready: BTreeMap<NodeId, Instant>,
    refused: BTreeMap<NodeId, (String, Instant)>,
    /// Whose share does not fit: asked no more.
    liars: BTreeSet<NodeId>,
    /// When somebody was told to deliver, and how often.
    told: Option<Instant>,
    turn: usize,
}

impl Gathering {
    fn new() -> Self {
        let (ready, refused, liars) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { since: Instant::now(), ready, refused, liars, told: None, turn: 0 }
    }

    /// Who is asked now: all without a good answer.
    fn to_ask(&self, keepers: &Keepers, bought: &Bought, state: State) -> Vec<NodeId> {
        let has = |part: u8| bought.shares.iter().any(|share| share.part == part);
        let is_due = |part: u8, node: &NodeId| {
            let is_done = if state == State::Paid { self.ready.contains_key(node) } else { has(part) };
            let said_no = self.refused.get(node).is_some_and(|(_, at)| at.elapsed() < REFUSED_WAIT);
            !is_done && !said_no && !self.liars.contains(node)
        };
        let due = (1..).zip(&keepers.of).filter(|(part, keeper)| is_due(*part, &keeper.node));
        due.map(|(_, keeper)| keeper.node).collect()
    }

    /// Who is to deliver, if enough are ready: each in turn, for one may have gone since.
    fn next_deliverer(&mut self, keepers: &Keepers, wait: Duration) -> Option<NodeId> {
        self.ready.retain(|_, at| at.elapsed() < READY_WAIT);
        if self.ready.len() < usize::from(keepers.k) || self.told.is_some_and(|at| at.elapsed() < wait) {
            return None;
        }
        let node = self.ready.keys().nth(self.turn % self.ready.len()).copied();
        (self.told, self.turn) = (Some(Instant::now()), self.turn + 1);
        node
    }
}

impl Desks {
    /// What our chain takes, or another.
    fn patience(&self, [ours, outside]: [Duration; 2]) -> Duration {
        if self.desk.is_outside() { outside } else { ours }
    }

    /// Asks the keepers, if there are any and the owner was silent for long enough.
    pub(super) fn ask_keepers(&self, bought: &Bought, manifest: &Manifest, state: State) -> Answer<()> {
        let Some(keepers) = manifest.keepers.as_ref().filter(|_| bought.grant > 0) else { return Ok(()) };
        if bought.shares.len() >= usize::from(keepers.k) {
            // Killed before they were put together.
            return self.put_together(bought, keepers);
        }
        let (ask, deliver) = {
            let mut gatherings = lock(&self.gatherings);
            let gathering = gatherings.entry(bought.name()).or_insert_with(Gathering::new);
            if gathering.since.elapsed() < self.patience(SILENT) {
                return Ok(());
            }
            let deliver = if state == State::Paid {
                gathering.next_deliverer(keepers, self.patience(DELIVER_WAIT))
            } else {
                None
            };
            (gathering.to_ask(keepers, bought, state), deliver)
        };
        let Bought { version, grant, .. } = *bought;
        let delegation = || (&self.delegation).into();
        ask.iter().for_each(|node| self.post(*node, &Said::Ask { version, grant, delegation: delegation() }));
        deliver.iter().for_each(|node| self.post(*node, &Said::Deliver { version, grant, delegation: delegation() }));
        Ok(())
    }

    /// A purchase that waits for its key, and how it stands with the keepers, if they were asked.
    fn waiting(&self, version: Digest, grant: u64) -> Answer<Option<(Bought, Keepers)>> {
        let bought = self.bought.get(&format!("{version}-{grant}"));
        let Some(bought) = bought.filter(|bought| bought.wrap.is_none() && bought.over.is_none()) else {
            return Ok(None);
        };
        let manifest = self.manifest_of_bought(&bought)?;
        Ok(manifest.keepers.map(|keepers| (bought, keepers)))
    }

    /// A keeper would deliver.
    pub(super) fn ready(&self, from: NodeId, version: Digest, grant: u64) -> Answer<()> {
        let Some((bought, keepers)) = self.waiting(version, grant)? else { return Ok(()) };
        if keepers.part_of(&from).is_none() {
            return Ok(());
        }
        let deliver = lock(&self.gatherings).get_mut(&bought.name()).and_then(|gathering| {
            gathering.ready.insert(from, Instant::now());
            gathering.refused.remove(&from);
            gathering.next_deliverer(&keepers, self.patience(DELIVER_WAIT))
        });
        if let Some(node) = deliver {
            self.post(node, &Said::Deliver { version, grant, delegation: (&self.delegation).into() });
        }
        Ok(())
    }

    pub(super) fn keeper_refused(&self, bought: &Bought, manifest: &Manifest, from: NodeId, why: String) {
        if manifest.keepers.as_ref().is_some_and(|keepers| keepers.part_of(&from).is_some())
            && let Some(gathering) = lock(&self.gatherings).get_mut(&bought.name())
        {
            gathering.ready.remove(&from);
            gathering.refused.insert(from, (why, Instant::now()));
        }
    }

    /// Takes a share, if it fits its commitment; with enough of them the key is here.
    pub(super) fn shared(&self, from: NodeId, version: Digest, grant: u64, part: u8, wrap: &[u8]) -> Answer<()> {
        let Some((bought, keepers)) = self.waiting(version, grant)? else { return Ok(()) };
        // The owner has all of them.
        let may = keepers.part_of(&from) == Some(part) || self.manifest_of_bought(&bought)?.nodes.contains(&from);
        if !may || bought.shares.iter().any(|share| share.part == part) {
            return Ok(());
        }
        let purpose = Purpose { version: version.0.into(), grant, part };
        let about = json!({"node": from.to_string(), "version": version.to_string(), "grant": grant, "part": part});
        if open_share(self, purpose, wrap, &keepers).is_none() {
            let mut gatherings = lock(&self.gatherings);
            if gatherings.entry(bought.name()).or_insert_with(Gathering::new).liars.insert(from) {
                self.audit.note("bad share", about);
            }
            let why = format!("a share that node {from} sent is refused: it does not fit its commitment");
            return Err(no(RefusalCode::Denied, why, "other keepers are asked"));
        }
        self.change(&self.bought, &bought.name(), |bought| {
            bought.shares.push(Part { part, wrap: wrap.to_vec().into() });
        })?;
        self.audit.note("share received", about);
        match self.bought.get(&bought.name()) {
            Some(bought) if bought.shares.len() >= usize::from(keepers.k) => self.put_together(&bought, &keepers),
            _ => Ok(()),
        }
    }

    /// Makes the key of enough shares, and wraps it for this node as an owner would.
    fn put_together(&self, bought: &Bought, keepers: &Keepers) -> Answer<()> {
        let purpose = Purpose { version: bought.version.0.into(), grant: bought.grant, part: 0 };
        let open = |share: &Part| -> Option<(u8, Secret)> {
            let purpose = Purpose { part: share.part, ..purpose };
            Some((share.part, open_share(self, purpose, &share.wrap, keepers)?))
        };
        let parts: Option<Vec<_>> = bought.shares.iter().take(usize::from(keepers.k)).map(open).collect();
        let parts = parts.ok_or_else(|| broken("a share that was kept does not open any more"))?;
        let key = shares::combine(&parts).map_err(broken)?;
        let wrap = purpose.wrap(&self.node.node_id(), &key[..]).map_err(broken)?;
        self.change(&self.bought, &bought.name(), |bought| bought.wrap = Some(wrap.into()))?;
        lock(&self.gatherings).remove(&bought.name());
        let parts: Vec<u8> = parts.iter().map(|(part, _)| *part).collect();
        let (version, grant) = (bought.version.to_string(), bought.grant);
        self.audit.note("key received", json!({"version": version, "grant": grant, "parts": parts}));
        self.tell("data.delivered", json!({"grant": grant, "version": version}));
        self.to.try_send(Told::Look).ok();
        Ok(())
    }

    /// What a purchase waits for, for people.
    pub(super) fn waits_for(&self, bought: &Bought) -> Option<String> {
        let gatherings = lock(&self.gatherings);
        let gathering =
            gatherings.get(&bought.name()).filter(|gathering| gathering.since.elapsed() >= self.patience(SILENT))?;
        let mut text = format!(
            "the owner is silent; keepers ready: {}, shares here: {}, wrong shares: {}",
            gathering.ready.len(),
            bought.shares.len(),
            gathering.liars.len()
        );
        for (node, (why, _)) in &gathering.refused {
            text.push_str(&format!("; {}: {why}", &node.to_string()[..8]));
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::{keepers, manifest};
    use super::*;

    #[test]
    fn keepers_are_asked_until_enough_are_ready_and_told_in_turn() {
        let keepers = keepers(2, 3);
        let [one, two, three] = [0, 1, 2].map(|at| keepers.of[at].node);
        let wrap = serde_bytes::ByteBuf::new();
        let mut bought = Bought {
            version: Digest([1; 32]),
            grant: 7,
            manifest: *manifest().block().cid(),
            wrap: None,
            is_here: false,
            over: None,
            shares: Vec::new(),
        };
        let mut gathering = Gathering::new();
        assert_eq!(gathering.to_ask(&keepers, &bought, State::Paid), [one, two, three]);
        gathering.ready.insert(one, Instant::now());
        assert_eq!(gathering.next_deliverer(&keepers, DELIVER_WAIT[0]), None, "one of two");
        gathering.ready.insert(two, Instant::now());
        gathering.refused.insert(three, ("no room".into(), Instant::now()));
        assert!(gathering.to_ask(&keepers, &bought, State::Paid).is_empty());
        let first = gathering.next_deliverer(&keepers, DELIVER_WAIT[0]).unwrap();
        assert_eq!(gathering.next_deliverer(&keepers, DELIVER_WAIT[0]), None, "it has its time");
        gathering.told = None;
        assert_ne!(gathering.next_deliverer(&keepers, DELIVER_WAIT[0]).unwrap(), first, "then it is the other's turn");
        // Delivered: shares are wanted of all who have said nothing against it.
        assert_eq!(gathering.to_ask(&keepers, &bought, State::Granted), [one, two]);
        bought.shares.push(Part { part: 1, wrap });
        gathering.liars.insert(two);
        gathering.refused.clear();
        assert_eq!(gathering.to_ask(&keepers, &bought, State::Granted), [three]);
    }
}
