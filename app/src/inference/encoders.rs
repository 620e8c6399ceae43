//! Vectors: the encoders of this machine, loaded when they are first asked. What is bought is only read here: `vectors.rs`.

use crate::models::{Shelf, catalog, encoder, in_cache};
use anyhow::ensure;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_base::{Digest, Refusal, RefusalCode};
use talkoo_engine::{Embedder, Encoder};
use talkoo_inference::{Embedded, Inputs, check_dimensions};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// An encoder in memory; it serves one request at a time, with all cores.
type Loaded = Arc<Mutex<(Arc<Encoder>, Embedder)>>;

/// How weights are kept, whatever the file has.
pub(super) const QUANTIZATION: &str = "int8";
/// Texts between two looks at whether anybody still waits.
const TEXTS_AT_ONCE: usize = 32;

pub(super) struct Encoders {
    dir: PathBuf,
    /// By the CID of the file.
    all: Arc<Mutex<BTreeMap<String, Loaded>>>,
    /// Whose turn it is: who waits holds no thread, and who goes away waits no more.
    turn: Arc<Semaphore>,
}

/// Which encoder it is.
#[derive(Clone)]
pub(super) struct Title {
    pub(super) name: String,
    /// Of its file.
    cid: String,
}

impl Title {
    /// Which program made vectors, for their facts.
    pub(super) fn model(&self, root: &Digest) -> Value {
        json!({"name": self.name, "cid": self.cid, "root": root.to_string(), "quantization": QUANTIZATION})
    }
}

/// Texts as an encoder reads them.
pub(super) struct Read {
    pub(super) title: Title,
    pub(super) root: Digest,
    /// Numbers of a vector.
    pub(super) dimensions: usize,
    /// The token ids of each text, class token and separator included.
    pub(super) texts: Vec<Vec<u32>>,
}

impl Encoders {
    /// Those of a node's data folder, and of the user's cache.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, all: Arc::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    pub(super) async fn embed(
        &self,
        model: String,
        inputs: Inputs,
        dimensions: Option<usize>,
    ) -> Result<Embedded, Refusal> {
        let gone = CancellationToken::new();
        let _waits = gone.clone().drop_guard();
        let embed = move |title: &Title, encoder: &Encoder, embedder: &mut Embedder| {
            check_dimensions(dimensions, encoder.dimensions())?;
            embed(title, encoder, embedder, &inputs, &gone)
        };
        self.with(model, embed).await
    }

    /// Only reads the texts.
    pub(super) async fn read(&self, model: String, inputs: Inputs) -> Result<Read, Refusal> {
        let read = move |title: &Title, encoder: &Encoder, _: &mut Embedder| {
            let (root, dimensions) = (encoder.root(), encoder.dimensions());
            Ok(Read { title: title.clone(), root, dimensions, texts: tokens(encoder, &inputs)? })
        };
        self.with(model, read).await
    }

    /// Does something with an encoder, in turn.
    async fn with<T: Send + 'static>(
        &self,
        model: String,
        work: impl FnOnce(&Title, &Encoder, &mut Embedder) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.turn.clone().acquire_owned().await.expect("it is never closed");
        let (all, dir) = (self.all.clone(), self.dir.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let (title, loaded) = load(&all, &dir, &model)?;
            let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
            let (encoder, embedder) = &mut *loaded;
            work(&title, encoder, embedder)
        });
        done.await.unwrap_or_else(|why| Err(Refusal::new(RefusalCode::RunFailed, why.to_string(), "please report it")))
    }
}

/// An encoder by name: of the shelf, or of the catalogue and then in the cache.
fn load(all: &Mutex<BTreeMap<String, Loaded>>, dir: &Path, name: &str) -> Result<(Title, Loaded), Refusal> {
    let shelf = Shelf::open(dir)
        .map_err(|why| Refusal::new(RefusalCode::Other, format!("{why:#}"), "check the data folder"))?;
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(held) = shelf.find_encoder(name) {
        return loaded(&mut all, Title { name: held.name.clone(), cid: held.cid.clone() }, || {
            let encoder = Encoder::load(&shelf.path(held))?;
            ensure!(encoder.root() == held.root(), "it is not the encoder it was any more");
            Ok(encoder)
        });
    }
    let entry = catalog::find_encoder(name)
        .map_err(|no| Refusal { message: format!("the `model` {name:?} makes no embeddings: {}", no.message), ..no })?;
    if in_cache(entry).is_none() {
        let hint = format!("talkoo pull {}", entry.name);
        return Err(Refusal::new(RefusalCode::UnknownModel, format!("the `model` {name:?} is not here"), hint));
    }
    let title = Title { name: entry.name.clone(), cid: entry.cid().to_string() };
    loaded(&mut all, title, || encoder::open(&entry.name))
}

fn loaded(
    all: &mut BTreeMap<String, Loaded>,
    title: Title,
    open: impl FnOnce() -> anyhow::Result<Encoder>,
) -> Result<(Title, Loaded), Refusal> {
    if let Some(loaded) = all.get(&title.cid) {
        return Ok((title, loaded.clone()));
    }
    let failed =
        |why: anyhow::Error| Refusal::new(RefusalCode::RunFailed, format!("{why:#}"), "remove it from the cache");
    let encoder = Arc::new(open().map_err(failed)?);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let loaded = Arc::new(Mutex::new((encoder.clone(), Embedder::new(encoder, cores))));
    all.insert(title.cid.clone(), loaded.clone());
    Ok((title, loaded))
}

/// The token ids of texts.
fn tokens(encoder: &Encoder, inputs: &Inputs) -> Result<Vec<Vec<u32>>, Refusal> {
    match inputs {
        Inputs::Texts(texts) => texts.iter().map(|text| whole(encoder, text)).collect(),
        Inputs::Tokens(lists) => lists.iter().map(|ids| framed(encoder, ids)).collect(),
    }
}

fn embed(
    title: &Title,
    encoder: &Encoder,
    embedder: &mut Embedder,
    inputs: &Inputs,
    gone: &CancellationToken,
) -> Result<Embedded, Refusal> {
    let tokens = tokens(encoder, inputs)?;
    let failed = |e: talkoo_engine::RunError| Refusal::new(RefusalCode::RunFailed, e.to_string(), "");
    let mut embedded = Vec::with_capacity(tokens.len());
    for some in tokens.chunks(TEXTS_AT_ONCE) {
        if gone.is_cancelled() {
            return Err(Refusal::new(RefusalCode::Cancelled, "nobody waits for it any more", ""));
        }
        embedded.extend(embedder.embed(some, &Digest::ZERO).map_err(failed)?);
    }
    let digests: Vec<String> = embedded.iter().map(|one| one.digest.to_string()).collect();
    Ok(Embedded {
        vectors: embedded.iter().map(|one| one.vector.iter().map(|x| real(*x)).collect()).collect(),
        tokens: tokens.iter().map(Vec::len).sum::<usize>() as u32,
        facts: json!({
            "model": title.model(&encoder.root()),
            "tier": "exact",
            "price": "0",
            "digests": digests,
        }),
    })
}

/// A number of a vector, which has it in Q30.
pub(crate) fn real(x: i32) -> f32 {
    (f64::from(x) / f64::from(1 << 30)) as f32
}

fn whole(encoder: &Encoder, text: &str) -> Result<Vec<u32>, Refusal> {
    let encoded = encoder.encode(text);
    fits(encoder, encoded.whole)?;
    Ok(encoded.tokens)
}

fn framed(encoder: &Encoder, ids: &[u32]) -> Result<Vec<u32>, Refusal> {
    let no = || {
        let message = "`input` has token ids that the model does not have";
        let hint = "send texts; with LangChain: check_embedding_ctx_length=False";
        Refusal::new(RefusalCode::Malformed, message, hint)
    };
    let framed = encoder.framed(ids).ok_or_else(no)?;
    fits(encoder, framed.len())?;
    Ok(framed)
}

/// Refuses what would be cut off, as OpenAI does.
fn fits(encoder: &Encoder, tokens: usize) -> Result<(), Refusal> {
    if tokens <= encoder.context_max() {
        return Ok(());
    }
    let no = Refusal::new(RefusalCode::ContextExceeded, "a text of `input` is longer than the model reads", "split it");
    Err(no.with(tokens, encoder.context_max()))
}
