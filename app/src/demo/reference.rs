//! The honest reference: the same batch on one engine, in a process without any network.

use crate::batch::{self, Choice, Line};
use crate::cli::DemoReferenceArgs;
use anyhow::{Context, Result, ensure};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::{Digest, JobId, Tier};
use talkoo_engine::{Engine, Model, Outcome, Task};

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
        let mut outcomes = Vec::new();
        for choice in 0..ask.choices {
            let seed = batch::seed_of(Some(seed), &JobId(Digest::ZERO), &ask.custom_id, choice);
            let task = Task { prompt: prompt.clone(), params: ask.params.clone(), seed, trace_id: Digest::ZERO };
            outcomes.push(engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(()))?);
        }
        fn choice(outcome: &Outcome) -> Choice<'_> {
            Choice { tokens: &outcome.tokens, logprobs: &outcome.logprobs, finish: outcome.finish }
        }
        let choices: Vec<Choice<'_>> = outcomes.iter().map(choice).collect();
        tokens += outcomes.iter().map(|o| o.tokens.len()).sum::<usize>();
        let (model, custom_id, prompt_tokens) = (args.name.as_str(), ask.custom_id.as_str(), prompt.len());
        let tier = Tier::Exact;
        let line = Line { vocabulary: &vocabulary, model, tier, custom_id, prompt_tokens, params: &ask.params };
        lines.push_str(&line.result(Ok(&choices)));
        lines.push('\n');
    }
    let seconds = start.elapsed().as_secs_f64();
    tracing::info!(tokens, seconds, tokens_per_second = tokens as f64 / seconds, "reference done");
    std::fs::write(&args.to, lines).with_context(|| format!("cannot write {}", args.to.display()))
}
