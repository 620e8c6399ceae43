//! Who has a root: asked of our own DHT and of that of IPFS at once, answered when both have ended.

use super::{Lookup, Task, record_key};
use crate::limits::{LOOKUPS_KEPT, LOOKUPS_MAX};
use libp2p::{PeerId, kad};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use talkoo_base::Cid;
use tokio::sync::oneshot;

/// How many searches may go on besides one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// As many as there may be: a download.
    All,
    /// Not the last ones: single blocks and questions, which strangers bring by HTTP.
    Most,
}

struct Search {
    reply: oneshot::Sender<BTreeSet<PeerId>>,
    found: BTreeSet<PeerId>,
    /// DHTs that did not end yet.
    open: usize,
}

/// The searches that go on.
#[derive(Default)]
pub(super) struct Searches {
    next: u64,
    all: BTreeMap<u64, Search>,
    /// Numbers of queries in the DHT of IPFS, which counts them by itself.
    in_ipfs: HashMap<kad::QueryId, u64>,
}

impl Task {
    /// Begins to ask; with too many searches the reply is dropped.
    pub(super) fn search(&mut self, root: &Cid, share: Share, reply: oneshot::Sender<BTreeSet<PeerId>>) {
        let max = match share {
            Share::All => LOOKUPS_MAX,
            Share::Most => LOOKUPS_MAX - LOOKUPS_KEPT,
        };
        if self.lookups.len() >= max || self.searches.all.len() >= max {
            return;
        }
        let number = self.searches.next;
        self.searches.next += 1;
        let behaviour = self.swarm.behaviour_mut();
        self.lookups.insert(behaviour.kad.get_providers(record_key(root)), Lookup::Providers(number));
        let mut open = 1;
        if let Some(ipfs) = behaviour.ipfs.as_mut() {
            self.searches.in_ipfs.insert(ipfs.get_providers(record_key(root)), number);
            open += 1;
        }
        self.searches.all.insert(number, Search { reply, found: BTreeSet::new(), open });
    }

    /// Notes who was found, and connects, for whoever searches wants something of them.
    pub(super) fn found(&mut self, number: u64, providers: impl IntoIterator<Item = PeerId>) {
        for peer in providers {
            if let Some(search) = self.searches.all.get_mut(&number) {
                search.found.insert(peer);
            }
            self.connect(peer, Vec::new());
        }
    }

    /// One DHT has said all it knows.
    pub(super) fn searched(&mut self, number: u64) {
        let Some(search) = self.searches.all.get_mut(&number) else { return };
        search.open -= 1;
        if search.open == 0
            && let Some(search) = self.searches.all.remove(&number)
        {
            // Who asked may have given up.
            search.reply.send(search.found).ok();
        }
    }

    pub(super) fn on_ipfs_lookup(&mut self, id: kad::QueryId, result: kad::QueryResult, is_last: bool) {
        let Some(number) = self.searches.in_ipfs.get(&id).copied() else { return };
        if let kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })) = result {
            self.found(number, providers);
        }
        if is_last {
            self.searches.in_ipfs.remove(&id);
            self.searched(number);
        }
    }
}
