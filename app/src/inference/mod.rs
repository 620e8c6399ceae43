//! The node as the [`Desk`] of the protocols of inference: it renders prompts, and lets this machine's engines answer, or the
//! market's workers.
//!
//! ```text
//! Order ─► prompt ─► here: engines' thread ─► tokens ─┐
//!            └─────► bought: a job of one line ─► chunks ─┴─► text ─► pieces
//! ```
//! Here, unless the order asks for the market: with `provider`, or a service tier other than the default.

mod bought;
mod encoders;
mod hearing;
mod here;
mod models;
mod prompt;
mod vectors;

pub(crate) use bought::{Asked, Bought, Posting};
pub(crate) use encoders::real;
pub(crate) use prompt::rendered;

use crate::daemon::Event;
use crate::daemon::executor::Lender;
use crate::erase::Retention;
use crate::models::{Held, Shelf};
use encoders::Encoders;
use futures::future::BoxFuture;
use models::Known;
use prompt::prompt_of;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use talkoo_base::{Digest, NodeId, Refusal, RefusalCode};
use talkoo_engine::KvFormat;
use talkoo_inference::{
    Answering, Desk, EmbedOrder, Embedded, Keys, Measured, Model, Order, Prompt, ServiceTier, Who, Wishes,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

/// Pieces between an answer and its client; who reads slower holds up nobody but himself.
const PIECES_QUEUED: usize = 64;

/// What the desk works with.
pub(crate) struct Setup {
    pub(crate) node: NodeId,
    pub(crate) dir: PathBuf,
    pub(crate) kv: KvFormat,
    pub(crate) lender: Lender,
    pub(crate) inbox: mpsc::Sender<Event>,
    pub(crate) keys: Arc<Keys>,
    /// How long prompts and receipts are kept.
    pub(crate) retention: Retention,
    pub(crate) tasks: TaskTracker,
}

/// The desk of a node.
pub(crate) struct Node {
    setup: Setup,
    known: Mutex<BTreeMap<Digest, Arc<Known>>>,
    encoders: Encoders,
    reading: Arc<Semaphore>,
    /// The same for strangers who have not paid yet: they wait for one another, and keep nobody else waiting.
    reading_unpaid: Arc<Semaphore>,
}

impl Node {
    pub(crate) fn new(setup: Setup) -> Arc<Self> {
        let (known, encoders) = (Mutex::default(), Encoders::new(setup.dir.clone()));
        let [reading, reading_unpaid] = [(); 2].map(|()| Arc::new(Semaphore::new(1)));
        Arc::new(Self { setup, known, encoders, reading, reading_unpaid })
    }

    fn shelf(&self) -> Result<Shelf, Refusal> {
        Shelf::open(&self.setup.dir)
            .map_err(|why| Refusal::new(RefusalCode::Other, format!("{why:#}"), "check the data folder"))
    }

    /// A model by name, with what was read of its file.
    fn find(&self, name: &str) -> Result<(Held, Arc<Known>), Refusal> {
        let shelf = self.shelf()?;
        // Ollama's clients put a tag behind every name.
        let bare = name.strip_suffix(":latest").unwrap_or(name);
        let Some(held) = shelf.find(name).or_else(|| shelf.find(bare)) else {
            return Err(models::not_here(name, &shelf));
        };
        Ok((held.clone(), self.known(&shelf, held)?))
    }

    fn known(&self, shelf: &Shelf, held: &Held) -> Result<Arc<Known>, Refusal> {
        let root = held.root();
        let mut all = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = all.get(&root) {
            return Ok(known.clone());
        }
        let known = Arc::new(Known::read(&shelf.path(held))?);
        all.insert(root, known.clone());
        Ok(known)
    }

    /// Does what takes a core for a while, one after another: the network and the node's loop have the others.
    async fn read<T: Send + 'static>(
        turns: &Arc<Semaphore>,
        read: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = turns.clone().acquire_owned().await.expect("it is never closed");
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read()
        });
        read.await.unwrap_or_else(|why| Err(Refusal::new(RefusalCode::RunFailed, why.to_string(), "please report it")))
    }

    /// Reads an order's prompt, and checks all that can be checked before it is answered.
    async fn ask_of(&self, order: Order) -> Result<Ask, Refusal> {
        let (held, known) = self.find(&order.model)?;
        let (context, of) = (held.context, known.clone());
        let turns = if matches!(order.who, Who::Payer(_)) { &self.reading_unpaid } else { &self.reading };
        let read = move || {
            let tokens = prompt_of(&of, context, &order.prompt)?;
            crate::batch::check(&of.vocabulary, &order.params)?;
            Ok((order, tokens))
        };
        let (order, tokens) = Self::read(turns, read).await?;
        let mut params = order.params.clone();
        params.max_tokens = params.max_tokens.min(held.context - tokens.len() as u32);
        Ok(Ask { held, known, tokens, params, order })
    }

    async fn answer(&self, order: Order) -> Result<Answering, Refusal> {
        let is_bought = is_for_market(&order.wishes);
        let ask = self.ask_of(order).await?;
        let (model, prompt_tokens) = (ask.held.name.clone(), ask.tokens.len() as u32);
        let pieces = if is_bought { self.buy(ask).await? } else { self.run_here(ask)? };
        Ok(Answering { model, prompt_tokens, pieces })
    }
}

/// Whether these wishes are the market's to grant.
fn is_for_market(wishes: &Wishes) -> bool {
    !wishes.provider.is_null() || wishes.tier != ServiceTier::Default
}

/// An order with its prompt.
struct Ask {
    held: Held,
    known: Arc<Known>,
    tokens: Vec<u32>,
    params: talkoo_base::GenerateParams,
    order: Order,
}

impl Ask {
    /// Which program answered, for the facts of an answer.
    fn model(&self, root: Digest) -> Value {
        serde_json::json!({
            "name": self.held.name,
            "cid": self.held.cid,
            "root": root.to_string(),
            "quantization": self.known.quantization,
        })
    }
}

impl Desk for Node {
    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, Refusal>> {
        Box::pin(async { self.list().await })
    }

    fn generate(&self, order: Order) -> BoxFuture<'_, Result<Answering, Refusal>> {
        Box::pin(self.answer(order))
    }

    fn measure(&self, order: Order) -> BoxFuture<'_, Result<Measured, Refusal>> {
        Box::pin(async move {
            let Ask { held, tokens, params, .. } = self.ask_of(order).await?;
            let (prompt_tokens, max_tokens) = (tokens.len() as u32, params.max_tokens);
            Ok(Measured { model: held.name, prompt_tokens, max_tokens })
        })
    }

    fn count(&self, model: String, prompt: Prompt) -> BoxFuture<'_, Result<u32, Refusal>> {
        Box::pin(async move {
            let (_, known) = self.find(&model)?;
            Self::read(&self.reading, move || Ok(prompt::tokens_of(&known.vocabulary, &prompt)?.len() as u32)).await
        })
    }

    fn embed(&self, order: EmbedOrder) -> BoxFuture<'_, Result<Embedded, Refusal>> {
        Box::pin(async move {
            if is_for_market(&order.wishes) {
                return self.buy_vectors(order).await;
            }
            let mut embedded = self.encoders.embed(order.model, order.inputs, order.dimensions).await?;
            embedded.facts["nodes"] = serde_json::json!([{"node": self.setup.node.to_string(), "here": true}]);
            Ok(embedded)
        })
    }
}
