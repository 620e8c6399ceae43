//! `run`: one prompt on this machine, no network.

use super::{Failure, Show, say};
use crate::answer::{Answer, text_of};
use crate::batch::shown_logprobs;
use crate::cli::RunArgs;
use crate::models::image::Opened;
use crate::models::{self, Shelf, catalog};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::{IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;
use talkoo_base::{Digest, GenerateParams, RefusalCode};
use talkoo_engine::{ChatMessage, Engine, KvFormat, Task};

/// Finds the model's file: given, on the node's shelf, or in the cache, fetched if need be.
pub(crate) fn model_file(name: &str, data_dir: &Path) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.extension().is_some_and(|e| e == "gguf") {
        let hint = "give the path of a GGUF file, or a name of the catalogue";
        let no = || Failure::new(RefusalCode::UnknownModel, format!("there is no file {name}"), hint);
        ensure!(path.exists(), no());
        return Ok(path.to_owned());
    }
    if let Ok(shelf) = Shelf::open(data_dir)
        && let Some(held) = shelf.find(name)
    {
        return Ok(shelf.path(held));
    }
    let entry = catalog::find(name).map_err(Failure::from)?;
    let bar = super::bar(entry.bytes, "fetching");
    let path = models::into_cache(entry, &mut |from, done, _| {
        bar.set_message(from.to_owned());
        bar.set_position(done);
    });
    bar.finish_and_clear();
    path
}

/// The root that a model of this name has to have; `None` for a file.
fn root_of(name: &str, data_dir: &Path) -> Option<Digest> {
    if Path::new(name).extension().is_some_and(|e| e == "gguf") {
        return None;
    }
    let held = Shelf::open(data_dir).ok().and_then(|shelf| shelf.find(name).map(models::Held::root));
    held.or_else(|| catalog::find(name).ok().map(catalog::Entry::root))
}

/// The model of this name, or in this file; checked against its name.
pub(crate) fn load(name: &str, data_dir: &Path, kv: KvFormat) -> Result<Opened> {
    let root = root_of(name, data_dir);
    // What is in the cache is not read twice: a damaged file has another root, and is fetched again.
    if let Some(file) = catalog::find(name).ok().and_then(models::in_cache)
        && let Ok(model) = Opened::open(&file, data_dir, kv)
        && root == Some(model.root_with(KvFormat::default()))
    {
        return Ok(model);
    }
    let file = model_file(name, data_dir)?;
    let model = Opened::open(&file, data_dir, kv)?;
    if let Some(root) = root {
        let damaged = format!("{} is not the model it was any more", file.display());
        let hint = "remove it and pull it again";
        ensure!(model.root_with(KvFormat::default()) == root, Failure::new(RefusalCode::SelfTestFailed, damaged, hint));
    }
    Ok(model)
}

pub(crate) fn run(args: &RunArgs, data_dir: &Path, show: &Show) -> Result<()> {
    let hint = "add `-o json`";
    let no = || Failure::new(RefusalCode::Malformed, "log probabilities are told as JSON only", hint);
    ensure!(args.logprobs.is_none() || show.json(), no());
    let mut prompt = args.prompt.join(" ");
    if prompt.is_empty() {
        if std::io::stdin().is_terminal() && !show.json() {
            return super::chat::run(args, &*load(&args.model, data_dir, args.kv.format)?);
        }
        std::io::stdin().read_to_string(&mut prompt).context("cannot read the prompt from stdin")?;
    }
    let hint = format!("give one: `talkoo run {} \"…\"`", args.model);
    ensure!(!prompt.trim().is_empty(), Failure::new(RefusalCode::Malformed, "the prompt is empty", hint));
    let model = load(&args.model, data_dir, args.kv.format)?;
    let vocabulary = model.vocabulary().clone();
    let text = vocabulary.render_chat(&[ChatMessage::text("user", prompt)])?;
    let task = Task {
        prompt: vocabulary.encode_prompt(&text),
        params: GenerateParams { top_logprobs: args.logprobs, ..args.sampling.params() },
        seed: args.sampling.seed,
        trace_id: Digest::ZERO,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut engine = Engine::new(model.clone(), args.threads.unwrap_or(cores));
    let stop = &task.params.stop;
    let (mut answer, mut stdout, start) = (Answer::new(&vocabulary, stop), std::io::stdout(), Instant::now());
    let mut broken = None;
    let mut on_token = |token: u32| {
        if !show.json() {
            let piece = answer.push(token);
            broken = broken.take().or(stdout.write_all(piece.as_bytes()).and_then(|()| stdout.flush()).err());
        }
    };
    let outcome = engine.generate(&task, &mut on_token, &mut |_| ControlFlow::Continue(()))?;
    let rate = outcome.tokens.len() as f64 / start.elapsed().as_secs_f64();
    if show.json() {
        show.value(&json!({
            "text": text_of(&vocabulary, &outcome.tokens, stop),
            "finish": outcome.finish.openai(),
            "tokens": outcome.tokens.len(),
            "logprobs": shown_logprobs(&vocabulary, &outcome.tokens, &outcome.logprobs),
            "tokens_per_second": (rate * 10.0).round() / 10.0,
            "model_root": model.root().to_string(),
            "trace_root": outcome.trace_root.to_string(),
        }));
        return Ok(());
    }
    stdout.write_all(answer.finish().as_bytes()).ok();
    writeln!(stdout).ok();
    if let Some(why) = broken {
        return Err(why).context("stdout was closed");
    }
    let cut = if outcome.finish.openai() == Some("length") { ", cut at --max-tokens" } else { "" };
    say(&format!("{} tokens, {rate:.1} tokens/s{cut}", outcome.tokens.len()));
    Ok(())
}
