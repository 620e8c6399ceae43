//! The honest reference: the same batch on one engine, in a process without any network.

use crate::batch;
use crate::cli::DemoReferenceArgs;
use anyhow::{Context, Result, ensure};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::Digest;
use talkoo_engine::{Engine, Model, Task};

/// Runs it and writes the results.
pub(crate) fn run(args: &DemoReferenceArgs) -> Result<()> {
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let (asks, bad) = batch::parse(&text);
    ensure!(bad.is_empty(), "{} lines cannot be run", bad.len());
    let model = Arc::new(Model::load(&args.model)?);
    let vocabulary = model.vocabulary().clone();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut engine = Engine::new(model.clone(), args.threads.unwrap_or(cores));
    let (mut lines, mut tokens, start) = (String::new(), 0, Instant::now());
    for ask in asks {
        let prompt = batch::tokenize(&vocabulary, model.context_max(), &ask).map_err(|no| anyhow::anyhow!("{no}"))?;
        let seed = ask.seed.context("a reference needs a seed on every line")?;
        let task = Task { prompt, params: ask.params, seed, trace_id: Digest::ZERO };
        let outcome = engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(()))?;
        tokens += outcome.tokens.len();
        let result = Ok((outcome.tokens.as_slice(), outcome.finish));
        lines.push_str(&batch::result_line(&vocabulary, &args.name, &ask.custom_id, task.prompt.len(), result));
        lines.push('\n');
    }
    let seconds = start.elapsed().as_secs_f64();
    tracing::info!(tokens, seconds, tokens_per_second = tokens as f64 / seconds, "reference done");
    std::fs::write(&args.to, lines).with_context(|| format!("cannot write {}", args.to.display()))
}
