//! One run on a server, and the two that measure it.

use super::http::{self, Pieces};
use super::output::Output;
use super::{Backend, failed, words};
use crate::daemon::Event;
use crate::daemon::executor::{CREDIT_WAIT, Report};
use hyper::Method;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use talkoo_base::{GenerateParams, ModelOffer, Refusal, RefusalCode, Tier, Work, float_chunk};
use talkoo_proof::{Input, Run};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

/// Prompt tokens of the measurement, about.
const PREFILL_TOKENS: usize = 256;
/// How long the measurement may take, on a slow machine with a large model.
const MEASURE_WAIT: Duration = Duration::from_secs(300);
/// Output tokens of the measurement.
const DECODE_TOKENS: u32 = 32;

/// Runs `run` and tells its chunks, each for one credit; nothing is read while a chunk waits for credit.
pub(super) async fn run(
    backend: &Backend,
    run: Run,
    credit: &Semaphore,
    inbox: &mpsc::Sender<Event>,
) -> Result<(), Refusal> {
    let Run { ticket, work, trace_id, rerun, client: _ } = run;
    if rerun.is_some() {
        return Err(failed("an answer of the float tier cannot be checked by recomputation"));
    }
    work.params.check_float()?;
    let mut pieces = begin(backend, &work).await?;
    let mut output = Output::new(&backend.server.vocabulary, work.params.max_tokens);
    let mut index = 0;
    loop {
        while output.has_chunk() {
            take_credit(credit).await?;
            let (tokens, finish) = output.chunk();
            let digest = float_chunk(&trace_id, index, &tokens);
            let input = Input::Produced { ticket, index, tokens, digest, logprobs: None, finish };
            inbox.send(Event::Report(Report::Run(input))).await.ok();
            index += 1;
        }
        if output.is_over() {
            return Ok(());
        }
        output.push(pieces.next().await?)?;
    }
}

async fn take_credit(credit: &Semaphore) -> Result<(), Refusal> {
    match timeout(CREDIT_WAIT, credit.acquire()).await {
        Ok(Ok(permit)) => {
            permit.forget();
            Ok(())
        }
        Ok(Err(_)) => Err(failed("the run was stopped")),
        Err(_) => {
            let message = format!("no payment for {} s", CREDIT_WAIT.as_secs());
            Err(Refusal::new(RefusalCode::ExposureExceeded, message, "answer each chunk with a voucher"))
        }
    }
}

/// Sends the prompt: as token ids where the server takes them, which says exactly what the client meant.
async fn begin(backend: &Backend, work: &Work) -> Result<Pieces, Refusal> {
    let takes_ids = backend.takes_ids.load(Ordering::Relaxed);
    let prompt =
        if takes_ids { json!(work.prompt) } else { json!(backend.server.vocabulary.prompt_text(&work.prompt)) };
    post(backend, prompt, work).await?.pieces().await
}

async fn post(backend: &Backend, prompt: Value, work: &Work) -> Result<http::Answer, Refusal> {
    let body = words::request(&backend.server.model, prompt, work);
    http::send(&backend.server, Method::POST, "/completions", Some(&body)).await
}

/// Does the server answer, in which form does it take prompts, how fast is it?
pub(super) async fn measure(backend: &Backend) -> Result<ModelOffer, Refusal> {
    let late = |_| failed(format!("the engine did not answer some short questions in {} s", MEASURE_WAIT.as_secs()));
    timeout(MEASURE_WAIT, measured(backend)).await.map_err(late)?
}

/// Asks for one token after a long prompt, then for some.
async fn measured(backend: &Backend) -> Result<ModelOffer, Refusal> {
    let server = &backend.server;
    let context = context_of(backend).await?;
    let text = "Neighbours gather for a shared job, and the host feeds them all. ".repeat(PREFILL_TOKENS / 8);
    let mut prompt = server.vocabulary.encode_prompt(&text);
    prompt.truncate(PREFILL_TOKENS.min(context as usize / 2).max(1));
    let params = |max_tokens| GenerateParams { max_tokens, ..GenerateParams::default() };
    let program = server.program();
    let mut work =
        Work { kind: talkoo_base::Kind::Generate, program, tier: Tier::Float, prompt, params: params(1), seed: 0 };
    let probe = post(backend, json!(work.prompt), &work).await?;
    let takes_ids = probe.status().is_success();
    // To its end: some servers break one answer off for the next.
    probe.text().await?;
    backend.takes_ids.store(takes_ids, Ordering::Relaxed);
    let start = Instant::now();
    // Other words than before, or the server would know them.
    work.prompt.reverse();
    answer(backend, &work).await?;
    let prefill_mtps = milli_tps(work.prompt.len(), start.elapsed());
    work.prompt.reverse();
    work.params = params(DECODE_TOKENS);
    let start = Instant::now();
    let tokens = answer(backend, &work).await?;
    let decode_mtps = milli_tps(tokens, start.elapsed());
    Ok(ModelOffer { program, tier: Tier::Float, context, prefill_mtps, decode_mtps })
}

/// How many tokens the whole answer has.
async fn answer(backend: &Backend, work: &Work) -> Result<usize, Refusal> {
    let mut pieces = begin(backend, work).await?;
    let mut output = Output::new(&backend.server.vocabulary, work.params.max_tokens);
    while !output.is_over() {
        output.push(pieces.next().await?)?;
    }
    Ok(output.len())
}

/// The context that the owner allows, or the server's if that is shorter and told (vLLM's `max_model_len`).
async fn context_of(backend: &Backend) -> Result<u32, Refusal> {
    let server = &backend.server;
    let answer = http::send(server, Method::GET, "/models", None).await?;
    let list: Value = serde_json::from_str(&answer.text().await?).unwrap_or_default();
    let models = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = models.iter().find(|model| model["id"] == json!(server.model));
    let told = ours.and_then(|model| model["max_model_len"].as_u64()).and_then(|len| u32::try_from(len).ok());
    Ok(told.map_or(server.room.context, |told| told.min(server.room.context)))
}

/// Tokens a second, in thousandths.
fn milli_tps(tokens: usize, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(tokens as u128 * 1_000_000_000 / micros).unwrap_or(u64::MAX).max(1)
}
