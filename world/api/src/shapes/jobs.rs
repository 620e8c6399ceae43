//! Jobs: what is asked, what it would cost, how it goes on, what came of it.

use super::{Reason, ReasonCount};
use utoipa::ToSchema;

/// A batch. `null` counts as left out.
#[derive(ToSchema)]
pub struct JobAsk {
    /// The text of a JSONL of OpenAI batch lines (docs/API.md, "Batch lines").
    #[schema(
        example = "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"smollm2\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}}"
    )]
    pub file: String,
    /// Model for all lines, whatever they name; left out, the first line's.
    pub model: Option<String>,
    /// Nodes that may work at once.
    #[schema(minimum = 1, maximum = 4096)]
    pub nodes: Option<u32>,
    /// Tokens of money for a million output tokens; input costs a quarter.
    #[schema(minimum = 0, maximum = 18446744073709.0)]
    pub max_price: Option<f64>,
    /// Who may re-run, and so read, a step.
    pub verify: Option<Verify>,
    /// Whether one bad line refuses all.
    pub strict: Option<bool>,
    /// Whether this node itself may work; left out, whether it provides at this moment.
    pub own: Option<bool>,
    /// Whether there is one honest answer.
    pub tier: Option<Tier>,
    /// Of the float tier: path of a GGUF file with the model's tokenizer, or name of a model that is here.
    pub vocabulary: Option<String>,
    /// How the model keeps keys and values.
    pub kv: Option<KvFormat>,
    /// Which workers are wanted.
    pub provider: Option<ProviderWishes>,
}

/// Who may re-run, and so read, a step.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Verify {
    /// Any node.
    Drawn,
    /// Only this node's engine.
    Own,
    /// Nobody.
    None,
}

/// Whether there is one honest answer.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Tier {
    /// It can be recomputed bit for bit.
    Exact,
    /// Nobody can recompute it.
    Float,
}

/// How a model keeps keys and values.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum KvFormat {
    /// In 8 bits.
    Int8,
    /// In 16 bits: another program.
    Int16,
}

/// Which workers are wanted, in OpenRouter's words. What is not listed is refused with the reason.
#[derive(ToSchema)]
pub struct ProviderWishes {
    /// By what they are ranked; left out, measured speed.
    pub sort: Option<SortBy>,
    /// Addresses of nodes or owners that come first, in this order.
    #[schema(max_items = 256)]
    pub order: Option<Vec<String>>,
    /// Nobody but these.
    #[schema(max_items = 256)]
    pub only: Option<Vec<String>>,
    /// None of these.
    #[schema(max_items = 256)]
    pub ignore: Option<Vec<String>>,
    /// False: nobody but `order`.
    pub allow_fallbacks: Option<bool>,
    /// Always so.
    pub require_parameters: Option<bool>,
    /// Highest prices.
    pub max_price: Option<MaxPriceAsk>,
}

/// How workers are ranked.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum SortBy {
    /// The cheapest first.
    Price,
    /// The fastest first.
    Throughput,
    /// The soonest first.
    Latency,
}

/// Tokens of money for a million tokens.
#[derive(ToSchema)]
pub struct MaxPriceAsk {
    /// Of input.
    #[schema(minimum = 0, maximum = 18446744073709.0)]
    pub prompt: Option<f64>,
    /// Of output.
    #[schema(minimum = 0, maximum = 18446744073709.0)]
    pub completion: Option<f64>,
}

/// A job that was posted.
#[derive(ToSchema)]
pub struct Posted {
    /// Its id: 64 hexadecimal digits.
    pub job: String,
    /// Its steps: one for each answer.
    pub steps: u64,
    /// The model that runs it.
    pub model: String,
    /// Lines that cannot be run.
    pub bad: Vec<BadLine>,
}

/// A line that cannot be run.
#[derive(ToSchema)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// Its id, if it can be read.
    pub custom_id: Option<String>,
    /// Word for programs.
    pub code: String,
    /// Why.
    pub message: String,
}

/// What a job would take and cost.
#[derive(ToSchema)]
pub struct Quote {
    /// Its steps.
    pub steps: u64,
    /// The model.
    pub model: String,
    /// Tokens of all prompts.
    pub input_tokens: u64,
    /// Tokens of all answers, at most.
    pub output_tokens_max: u64,
    /// Who would work.
    pub workers: Vec<QuoteWorker>,
    /// Milliseconds, every step at half of its `max_tokens`; none without workers.
    pub p50_ms: Option<u64>,
    /// Milliseconds, every step at all of it and without the fastest worker.
    pub p95_ms: Option<u64>,
    /// At the dearest of these workers' prices, in tokens of money.
    pub cost: String,
    /// At the job's highest price, in tokens of money.
    pub cost_max: String,
    /// Lines that cannot be run.
    pub bad: Vec<BadLine>,
    /// Why other nodes would not work.
    pub refused: Vec<ReasonCount>,
    /// The same in one line.
    pub summary: String,
}

/// A node that would work.
#[derive(ToSchema)]
pub struct QuoteWorker {
    /// Its id.
    pub node: String,
    /// Steps that it takes at once.
    pub slots: u64,
    /// Tokens a second.
    pub decode_tps: u64,
}

/// Jobs of this node.
#[derive(ToSchema)]
pub struct Jobs {
    /// One for each.
    pub jobs: Vec<JobSummary>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// A job in short.
#[derive(ToSchema)]
pub struct JobSummary {
    /// Its id: 64 hexadecimal digits.
    pub job: String,
    /// The model.
    pub model: String,
    /// `exact` or `float`.
    pub tier: String,
    /// How it stands.
    pub status: JobStatus,
    /// Its steps.
    pub steps: u64,
    /// Steps that nobody works on.
    pub waiting: u64,
    /// Steps under way.
    pub running: u64,
    /// Steps that are re-run.
    pub checking: u64,
    /// Steps with an answer.
    pub done: u64,
    /// Steps without one for good.
    pub failed: u64,
}

/// How a job stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum JobStatus {
    /// It goes on.
    Open,
    /// Every step is done or failed.
    Finished,
    /// Its owner ended it.
    Cancelled,
}

/// A job, step by step.
#[derive(ToSchema)]
pub struct Job {
    /// Its id: 64 hexadecimal digits.
    pub job: String,
    /// The model.
    pub model: String,
    /// `exact` or `float`.
    pub tier: String,
    /// How it stands.
    pub status: JobStatus,
    /// Its steps.
    pub steps: u64,
    /// Steps that nobody works on.
    pub waiting: u64,
    /// Steps under way.
    pub running: u64,
    /// Steps that are re-run.
    pub checking: u64,
    /// Steps with an answer.
    pub done: u64,
    /// Steps without one for good.
    pub failed: u64,
    /// One for each step.
    pub rows: Vec<StepRow>,
}

/// A step.
#[derive(ToSchema)]
pub struct StepRow {
    /// Its number, from 0.
    pub step: u64,
    /// Id of its line.
    pub custom_id: String,
    /// `waiting`, `running`, `checking`, `done` or `failed`.
    pub status: String,
    /// Who answered.
    pub node: Option<String>,
    /// Tokens of the answer.
    pub units: Option<u64>,
    /// Whether it was re-run.
    pub audited: Option<bool>,
    /// Whether nobody checked it and its worker lied elsewhere.
    pub doubtful: bool,
    /// Why there is no answer.
    pub error: Option<String>,
    /// Who works on it now.
    pub running_on: Vec<String>,
}

/// Who works for a job, and the reason against every other node.
#[derive(ToSchema)]
pub struct Explanation {
    /// The job.
    pub job: String,
    /// This node.
    pub node: String,
    /// Whether this node may work for it.
    pub own: bool,
    /// Connected nodes.
    pub peers: u64,
    /// Why nobody works, besides what other nodes say.
    pub reasons: Vec<Reason>,
    /// Who works.
    pub working: Vec<JobWorker>,
    /// Who does not, each with its reason.
    pub refused: Vec<Reason>,
    /// The same in one line.
    pub summary: String,
}

/// A node that works for a job.
#[derive(ToSchema)]
pub struct JobWorker {
    /// Its id.
    pub node: String,
    /// Steps that it takes at once.
    pub slots: u64,
    /// Tokens a second, once measured.
    pub decode_tps: Option<u64>,
}

/// What came of a job.
#[derive(ToSchema)]
pub struct JobOutput {
    /// The job.
    pub job: String,
    /// The results as JSONL, in the order of the input.
    pub output: String,
}

/// A job ends.
#[derive(ToSchema)]
pub struct CancelledJob {
    /// The job.
    pub job: String,
    /// Always true.
    pub cancelled: bool,
}

/// A job's prompts and answers are gone.
#[derive(ToSchema)]
pub struct ForgottenJob {
    /// The job.
    pub job: String,
    /// Always true.
    pub forgotten: bool,
}

/// What was signed for which worker.
#[derive(ToSchema)]
pub struct Accounts {
    /// One for each worker.
    pub accounts: Vec<Account>,
    /// Whether payments reach a ledger.
    pub settled_on_chain: bool,
}

/// A worker's account, in tokens of money as decimal numbers.
#[derive(ToSchema)]
pub struct Account {
    /// The worker.
    pub node: String,
    /// Signed for it.
    pub signed: String,
    /// Still meant to be paid.
    pub owed: String,
    /// Deserved by answers that were not refuted.
    pub deserved: String,
    /// Signed for what was refuted.
    pub contested: String,
    /// Audits that it passed.
    pub clean_audits: u64,
    /// Whether an answer of it was refuted.
    pub refuted: bool,
    /// Why it is called a liar.
    pub why: Option<String>,
}
