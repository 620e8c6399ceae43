//! HTTP of inference: the protocols that programs already speak, OpenAI's, Anthropic's and Ollama's, on the API's port.
//!
//! ```text
//! body ─► fields, messages, tools ─► Order ─► Desk (the node) ─► pieces ─► tools found ─► the protocol's own answer
//! ```
//! This crate knows words, not models: the [`Desk`] renders a prompt, chooses who runs it and tells text as it comes.
//! A field that changes the answer and can't be honoured is refused by name, in the shape of its protocol; a client that
//! goes away drops its [`Answering`], which ends the work.

mod anthropic;
mod batches;
mod chat;
mod collect;
mod completions;
mod embeddings;
mod erase;
mod error;
mod fields;
mod files;
mod hooks;
mod kept;
mod keys;
mod limits;
mod message;
mod meters;
mod models;
mod ollama;
mod responses;
mod spans;
mod sse;
mod tally;
#[cfg(test)]
mod tests;
mod tools;
mod x402;

pub use embeddings::check_dimensions;
pub use erase::{Found, Keepsakes, Tally, Which};
pub use fields::{Fields, JSON_OBJECT, q16, signed_q16};
pub use hooks::{Hook, Hooks};
pub use kept::OpenError;
pub use keys::{
    AUDIT_LINES_MAX, Admitted, Approval, Asset, Decision, Key, Keys, Paid, Payment, Policy, Scope, Standing, Who,
    in_time,
};
pub use message::{Chat, Message, ToolCall};
pub use meters::{FIRST_SECONDS, Meters, SECONDS};
pub use models::a_token;
pub use spans::{Parent, Span};
pub use tools::{Choose, Tools, in_words};
pub use x402::{Authorization, Look, Selling, Terms, Till, Unsettled};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use futures::future::BoxFuture;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use talkoo_base::{Finish, GenerateParams, Refusal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a client wants to have continued.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// A conversation, for the model's own template, and the tools that it may call.
    Chat(Vec<Message>, Tools),
    /// A text as it is.
    Text(String),
    /// Token ids as they are.
    Tokens(Vec<u32>),
}

/// A wish for an answer.
#[derive(Clone, Debug)]
pub struct Order {
    /// Name of the model.
    pub model: String,
    /// What to continue.
    pub prompt: Prompt,
    /// How to generate. `max_tokens` above what the context leaves is what the context leaves.
    pub params: GenerateParams,
    /// Of the first answer; the next ones count from it.
    pub seed: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// Where it may run, and for what price.
    pub wishes: Wishes,
    /// Who pays.
    pub who: Who,
}

/// What a client says of the market.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// OpenRouter's `provider` object; null if there is none.
    pub provider: Value,
    /// OpenAI's `service_tier`.
    pub tier: ServiceTier,
}

/// OpenAI's `service_tier`, as the market has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceTier {
    /// Here, if the model is here, else the market's balance of price and speed.
    #[default]
    Default,
    /// The market's cheapest.
    Flex,
    /// The market's quickest to answer.
    Priority,
}

impl ServiceTier {
    /// The word of OpenAI's that says what was given.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }
}

/// An answer on its way. Dropping it ends the work.
#[derive(Debug)]
pub struct Answering {
    /// Name of the model that answers.
    pub model: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// What comes; it ends after the last [`Piece::End`], or with [`Piece::Failed`].
    pub pieces: mpsc::Receiver<Piece>,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text that will not change any more.
    Text {
        /// Which of the answers, from 0.
        choice: u32,
        /// What comes next; may be empty.
        text: String,
        /// OpenAI's entries of its tokens' log probabilities, if they were asked for.
        logprobs: Vec<Value>,
    },
    /// An answer is whole.
    End {
        /// Which.
        choice: u32,
        /// Why it ended.
        finish: Finish,
        /// The stop string that ended it, if one did.
        stop: Option<String>,
        /// Tokens that it has.
        tokens: u32,
        /// Who answered: model, tier, nodes, price, receipt.
        facts: Value,
    },
    /// Nothing more comes.
    Failed(Refusal),
}

/// How large an order is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Name of the model that would answer.
    pub model: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens that each answer may have at most.
    pub max_tokens: u32,
}

/// A model that can be asked.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Other names that it is found by.
    pub aliases: Vec<String>,
    /// Whether it makes vectors, not text.
    pub is_encoder: bool,
    /// When it came here, in seconds since 1970.
    pub created: u64,
    /// Longest context, in tokens.
    pub context: u32,
    /// CID of its file.
    pub cid: String,
    /// Root of the program.
    pub root: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// How its weights are kept: `Q4_1`.
    pub quantization: String,
    /// Who runs it, in OpenRouter's words (`GET /v1/models/{id}/endpoints`).
    pub endpoints: Vec<Value>,
}

impl Model {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// Vectors of some texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One for each text.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that were read.
    pub tokens: u32,
    /// Model and digests.
    pub facts: Value,
}

/// What to make vectors of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Texts.
    Texts(Vec<String>),
    /// Token ids, without class token and separator.
    Tokens(Vec<Vec<u32>>),
}

/// A wish for vectors.
#[derive(Clone, Debug)]
pub struct EmbedOrder {
    /// Name of the model.
    pub model: String,
    /// What to make vectors of.
    pub inputs: Inputs,
    /// How many of a vector's first numbers are wanted, if not all; the desk makes all, but none where there are fewer:
    /// [`check_dimensions`].
    pub dimensions: Option<usize>,
    /// Where it may run, and for what price.
    pub wishes: Wishes,
    /// Who pays.
    pub who: Who,
}

/// Who answers: the node.
pub trait Desk: Send + Sync + 'static {
    /// All models that can be asked now.
    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, Refusal>>;
    /// Begins an answer.
    fn generate(&self, order: Order) -> BoxFuture<'_, Result<Answering, Refusal>>;
    /// Checks an order as [`Desk::generate`] would, and measures it.
    fn measure(&self, order: Order) -> BoxFuture<'_, Result<Measured, Refusal>>;
    /// Tokens of a prompt.
    fn count(&self, model: String, prompt: Prompt) -> BoxFuture<'_, Result<u32, Refusal>>;
    /// Makes vectors.
    fn embed(&self, order: EmbedOrder) -> BoxFuture<'_, Result<Embedded, Refusal>>;
}

/// What the routes share.
#[derive(Clone)]
struct Shared {
    desk: Arc<dyn Desk>,
    keys: Arc<Keys>,
    meters: Meters,
    kept: Arc<responses::Kept>,
    files: Arc<files::Files>,
    batches: Arc<batches::Batches>,
    hooks: Arc<Hooks>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// For who has no key, if answers are sold.
    sales: Option<Arc<x402::Sales>>,
}

/// What the routes are put up with.
pub struct Attach {
    /// Who answers.
    pub desk: Arc<dyn Desk>,
    /// Who may ask.
    pub keys: Arc<Keys>,
    /// Who wants to be told.
    pub hooks: Arc<Hooks>,
    /// What counts it all.
    pub meters: Meters,
    /// Where responses, files and batches are kept.
    pub folder: PathBuf,
    /// For answers that nobody waits for.
    pub tasks: TaskTracker,
    /// Ends those.
    pub stop: CancellationToken,
    /// Sells answers to who has no key (x402).
    pub selling: Option<Selling>,
}

/// The routes.
pub struct Faces {
    /// For the API's port.
    pub guarded: Router,
    /// For this process: whoever calls them says [`Who`] asks, as an extension of the request, and has let him in.
    pub within: Router,
    /// What is kept of clients, for its end.
    pub keepsakes: Keepsakes,
}

/// Puts up the routes; batches that were not over go on.
///
/// # Errors
/// If the folder can't be made or read.
pub fn router(attach: Attach) -> std::io::Result<Faces> {
    let Attach { desk, keys, hooks, meters, folder, tasks, stop, selling } = attach;
    let (kept, lost) = responses::Kept::open(folder.join("responses"), stop.clone())?;
    lost.iter().for_each(|id| hooks.tell("response.failed", id));
    let kept = Arc::new(kept);
    let files = Arc::new(files::Files::open(folder.join("files"))?);
    let batches = Arc::new(batches::Batches::open(folder.join("batches"))?);
    let sales = selling.map(|selling| x402::Sales::open(selling, folder.join("x402"))).transpose()?.map(Arc::new);
    let shared = Shared { desk, keys, meters, kept, files, batches, hooks, tasks, stop, sales };
    shared.tasks.spawn(shared.hooks.clone().go(shared.stop.clone()));
    batches::resume(&shared);
    if let Some(sales) = shared.sales.clone() {
        // A chain that is away for now, or a token that can't be used: whoever starts the node shall hear of it.
        shared.tasks.spawn(async move { sales.try_out().await });
    }
    let (within, keepsakes) = (routes(&shared), Keepsakes::of(&shared));
    let guarded = within.clone().layer(from_fn_with_state(shared, keys::guard));
    Ok(Faces { guarded, within, keepsakes })
}

/// What a line of a batch may ask.
fn inner(shared: Shared) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/responses", post(responses::create))
        .layer(from_fn_with_state(shared.meters.clone(), spans::watch))
        .with_state(shared)
}

fn routes(shared: &Shared) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/responses", post(responses::create))
        .route("/v1/responses/compact", post(responses::compact::create))
        .route("/v1/responses/{id}", get(responses::one).delete(responses::remove))
        .route("/v1/responses/{id}/cancel", post(responses::cancel))
        .route("/v1/responses/{id}/input_items", get(responses::input_items))
        .route("/v1/files", get(files::list).post(files::create).layer(DefaultBodyLimit::max(limits::UPLOAD_BYTES_MAX)))
        .route("/v1/files/{id}", get(files::one).delete(files::remove))
        .route("/v1/files/{id}/content", get(files::content))
        .route("/v1/batches", get(batches::list).post(batches::create))
        .route("/v1/batches/{id}", get(batches::one))
        .route("/v1/batches/{id}/cancel", post(batches::cancel))
        .route("/v1/messages", post(anthropic::create))
        .route("/v1/messages/count_tokens", post(anthropic::count))
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::complete))
        .route("/api/embed", post(ollama::embed))
        .route("/api/tags", get(ollama::tags))
        .route("/api/ps", get(ollama::tags))
        .route("/api/show", post(ollama::show))
        .route("/api/version", get(ollama::version))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/v1/{*rest}", axum::routing::any(error::no_route))
        .method_not_allowed_fallback(error::no_method)
        .layer(from_fn_with_state(shared.meters.clone(), spans::watch))
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES_MAX))
        .with_state(shared.clone())
}
