//! `batch`: a file of prompts on the network.

use super::follow::{Followed, follow};
use super::target::Target;
use super::{Failure, Show, failure, print, say};
use crate::cli::BatchArgs;
use crate::client::Client;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use talkoo_base::RefusalCode;

/// How long a second Ctrl-C counts as one that cancels.
const AGAIN: Duration = Duration::from_secs(2);

pub(super) fn run(args: &BatchArgs, output: Option<&Path>, data_dir: &Path, show: &Show) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let target = output.map(Target::check).transpose()?;
    let client = Client::of(data_dir)?;
    let events = client.events()?;
    // The node opens it: from another folder, perhaps.
    let vocabulary = args.vocabulary.as_ref().map(|path| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()));
    let order = json!({
        "file": text,
        "tier": args.tier,
        "vocabulary": vocabulary,
        "model": args.model,
        "kv": args.kv.format.name(),
        "nodes": args.nodes,
        "max_price": args.max_price,
        "verify": args.verify,
        "strict": args.strict,
        "provider": args.wishes.to_json(),
    });
    if args.dry_run {
        quote(&client.post("/quotes", &order)?, show);
        return Ok(ExitCode::SUCCESS);
    }
    let posted = client.post("/jobs", &order)?;
    let job = posted["job"].as_str().context("the node named no job")?.to_owned();
    let bad = posted["bad"].as_array().cloned().unwrap_or_default();
    for line in &bad {
        let id = line["custom_id"].as_str().unwrap_or("?");
        say(&format!("line {} ({id}): {}", line["line"], line["message"].as_str().unwrap_or("")));
    }
    say(&format!("job {job}: {} steps", posted["steps"]));
    detach_on_interrupt(data_dir, &job, show)?;
    let steps = posted["steps"].as_u64().unwrap_or(0);
    follow(&client, events, &Followed { job: &job, steps, over: 0 }, show)?;
    let done = client.get(&format!("/jobs/{job}/output"))?;
    let text = done["output"].as_str().unwrap_or_default();
    match &target {
        Some(target) => target.write(text).map_err(|why| {
            let hint = format!("the job keeps its results: `talkoo job output {job} -o FILE`");
            Failure::new(RefusalCode::Other, format!("{why:#}"), hint)
        })?,
        None if !show.json() => print(text.trim_end()),
        None => {}
    }
    let mut status = client.get(&format!("/jobs/{job}"))?;
    let whole = status["failed"] == json!(0) && bad.is_empty() && status["status"] == json!("finished");
    if show.json() {
        status["bad"] = json!(bad);
        show.value(&status);
    } else {
        say(&format!("{} done, {} failed, {} lines not run", status["done"], status["failed"], bad.len()));
        if status["tier"] == json!("float") {
            say("float tier: nobody has checked these answers, and nobody can");
        }
        say(&format!("receipts: {}", data_dir.join("receipts").join(&job).display()));
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// What a batch would take.
fn quote(quote: &Value, show: &Show) {
    if show.json() {
        return show.value(quote);
    }
    let seconds =
        |key: &str| quote[key].as_u64().map_or("?".into(), |ms| format!("{}.{:03} s", ms / 1_000, ms % 1_000));
    let cost = |key: &str| quote[key].as_str().unwrap_or("?").to_owned();
    print(&format!(
        "{} steps, {} tokens in, at most {} out",
        quote["steps"], quote["input_tokens"], quote["output_tokens_max"]
    ));
    match quote["workers"].as_array().map_or(0, Vec::len) {
        0 => print("nobody would work for it now"),
        count => {
            let (likely, late) = (seconds("p50_ms"), seconds("p95_ms"));
            let (cost, most) = (cost("cost"), cost("cost_max"));
            print(&format!("{count} workers; likely {likely}, late {late}; {cost} at their prices, at most {most}"));
        }
    }
    print(&format!("not among them: {}", quote["summary"].as_str().unwrap_or("?")));
    say("nothing was ordered, and nothing is held for it; re-runs by others come on top");
}

/// The first Ctrl-C detaches and says how to come back; a second one within two seconds cancels.
fn detach_on_interrupt(data_dir: &Path, job: &str, show: &Show) -> Result<()> {
    let (job, data_dir, show) = (job.to_owned(), data_dir.to_owned(), show.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("interrupt".into()).spawn(move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            let talk = |line: &str| say(&show.hint(line));
            talk(&format!("\nthe job goes on; follow it with: talkoo job show {job} --follow"));
            talk(&format!("its results: talkoo job output {job} -o OUT — Ctrl-C again within 2 s cancels it"));
            if tokio::time::timeout(AGAIN, tokio::signal::ctrl_c()).await.is_ok() {
                let cancel = Client::of(&data_dir).and_then(|c| c.delete(&format!("/jobs/{job}")));
                match cancel {
                    Ok(_) => say("cancelled"),
                    Err(why) => drop(failure::report(&why, &show)),
                }
            }
            std::process::exit(130);
        });
    })?;
    Ok(())
}
