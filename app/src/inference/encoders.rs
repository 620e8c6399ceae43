//! Vectors: the encoders of this machine, loaded when they are first asked.

use crate::models::{catalog, encoder, in_cache};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_base::{Digest, Refusal, RefusalCode};
use talkoo_engine::{Embedder, Encoder};
use talkoo_inference::{Embedded, Inputs};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// An encoder in memory; it serves one request at a time, with all cores.
type Loaded = Arc<Mutex<(Arc<Encoder>, Embedder)>>;

/// Texts between two looks at whether anybody still waits.
const TEXTS_AT_ONCE: usize = 32;

pub(super) struct Encoders {
    all: Arc<Mutex<BTreeMap<String, Loaded>>>,
    /// Whose turn it is: who waits holds no thread, and who goes away waits no more.
    turn: Arc<Semaphore>,
}

impl Default for Encoders {
    fn default() -> Self {
        Self { all: Arc::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Encoders {
    pub(super) async fn embed(&self, model: String, inputs: Inputs) -> Result<Embedded, Refusal> {
        let turn = self.turn.clone().acquire_owned().await.expect("it is never closed");
        let (all, gone) = (self.all.clone(), CancellationToken::new());
        let _waits = gone.clone().drop_guard();
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let loaded = load(&all, &model)?;
            let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
            let (encoder, embedder) = &mut *loaded;
            embed(&model, encoder, embedder, &inputs, &gone)
        });
        done.await.unwrap_or_else(|why| Err(Refusal::new(RefusalCode::RunFailed, why.to_string(), "please report it")))
    }
}

fn load(all: &Mutex<BTreeMap<String, Loaded>>, name: &str) -> Result<Loaded, Refusal> {
    let entry = catalog::find_encoder(name)
        .map_err(|no| Refusal { message: format!("the `model` {name:?} makes no embeddings: {}", no.message), ..no })?;
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = all.get(&entry.name) {
        return Ok(loaded.clone());
    }
    if in_cache(entry).is_none() {
        let hint = format!("fetch it once: talkoo embed {} \"hello\"", entry.name);
        return Err(Refusal::new(RefusalCode::UnknownModel, format!("the `model` {name:?} is not here"), hint));
    }
    let failed =
        |why: anyhow::Error| Refusal::new(RefusalCode::RunFailed, format!("{why:#}"), "remove it from the cache");
    let encoder = Arc::new(encoder::open(&entry.name).map_err(failed)?);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let loaded = Arc::new(Mutex::new((encoder.clone(), Embedder::new(encoder, cores))));
    all.insert(entry.name.clone(), loaded.clone());
    Ok(loaded)
}

fn embed(
    name: &str,
    encoder: &Encoder,
    embedder: &mut Embedder,
    inputs: &Inputs,
    gone: &CancellationToken,
) -> Result<Embedded, Refusal> {
    let tokens: Vec<Vec<u32>> = match inputs {
        Inputs::Texts(texts) => texts.iter().map(|text| whole(encoder, text)).collect::<Result<_, _>>()?,
        Inputs::Tokens(lists) => lists.iter().map(|ids| framed(encoder, ids)).collect::<Result<_, _>>()?,
    };
    let failed = |e: talkoo_engine::RunError| Refusal::new(RefusalCode::RunFailed, e.to_string(), "");
    let mut embedded = Vec::with_capacity(tokens.len());
    for some in tokens.chunks(TEXTS_AT_ONCE) {
        if gone.is_cancelled() {
            return Err(Refusal::new(RefusalCode::Cancelled, "nobody waits for it any more", ""));
        }
        embedded.extend(embedder.embed(some, &Digest::ZERO).map_err(failed)?);
    }
    let real = |x: &i32| (f64::from(*x) / f64::from(1 << 30)) as f32;
    let digests: Vec<String> = embedded.iter().map(|one| one.digest.to_string()).collect();
    Ok(Embedded {
        vectors: embedded.iter().map(|one| one.vector.iter().map(real).collect()).collect(),
        tokens: tokens.iter().map(Vec::len).sum::<usize>() as u32,
        facts: json!({
            "model": {"name": name, "root": encoder.root().to_string()},
            "tier": "exact",
            "price": "0",
            "digests": digests,
        }),
    })
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
