//! Commands that are one call of the API.

use super::{Show, bar, print, say};
use crate::cli::{JobCommand, ProvideCommand};
use crate::client::Client;
use crate::daemon::STOP_MS_MAX;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

pub(super) fn get(data_dir: &Path, path: &str, show: Show) -> Result<()> {
    show.value(&Client::of(data_dir)?.get(path)?);
    Ok(())
}

pub(super) fn down(data_dir: &Path, show: Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let events = client.events();
    client.post("/stop", &json!({}))?;
    // The stream ends when the node does.
    let start = Instant::now();
    if let Ok(events) = events {
        events.take_while(|_| start.elapsed() < STOP_MS_MAX).for_each(drop);
    }
    // Its last act is to take its address away.
    while data_dir.join("api.addr").exists() && start.elapsed() < STOP_MS_MAX {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    show.value(&json!({"stopped": true}));
    Ok(())
}

pub(super) fn invite(data_dir: &Path, show: Show) -> Result<()> {
    let value = Client::of(data_dir)?.get("/invite")?;
    if show.json() {
        show.value(&value);
    } else {
        print(value["code"].as_str().unwrap_or_default());
        say("others join with: talkoo join CODE (their node must be up with the same --network)");
    }
    Ok(())
}

pub(super) fn join(data_dir: &Path, code: &str, show: Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let addresses: Vec<String> = if code.starts_with('/') {
        vec![code.to_owned()]
    } else {
        let bytes = hex::decode(code).ok().context("the code is neither an invite nor a multiaddress")?;
        let invite: Value = serde_json::from_slice(&bytes).context("the invite is damaged; copy all of it")?;
        let ours = client.get("/status")?["network"].clone();
        if invite["network"] != ours {
            bail!("the invite is for network {}, this node is on {ours}; restart it with --network", invite["network"]);
        }
        invite["at"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut failures = Vec::new();
    for addr in &addresses {
        match client.post("/peers", &json!({"addr": addr})) {
            Ok(value) => {
                show.value(&json!({"joined": value["node"], "at": addr}));
                return Ok(());
            }
            Err(why) => failures.push(format!("{addr}: {why}")),
        }
    }
    bail!("none of the invite's addresses answers: {}", failures.join("; "))
}

pub(super) fn pull(data_dir: &Path, model: &str, show: Show) -> Result<()> {
    // A file is named as the user sees it, the node may stand elsewhere.
    let model = match Path::new(model).extension() {
        Some(e) if e == "gguf" => std::fs::canonicalize(model)
            .with_context(|| format!("there is no file {model}"))?
            .to_string_lossy()
            .into_owned(),
        _ => model.to_owned(),
    };
    let client = Client::of(data_dir)?;
    let events = client.events()?;
    let started = client.post("/models", &json!({"name": model}))?;
    if started["started"] == json!(false) {
        show.value(&json!({"model": model, "already_here": true}));
        return Ok(());
    }
    let bar = bar(0, "pulling");
    for event in events {
        match event["type"].as_str() {
            Some("model.pulling") => {
                bar.set_length(event["total"].as_u64().unwrap_or(0));
                bar.set_position(event["bytes"].as_u64().unwrap_or(0));
                bar.set_message(event["from"].as_str().unwrap_or_default().to_owned());
            }
            Some("model.pulled") => {
                bar.finish_and_clear();
                show.value(&event);
                return Ok(());
            }
            Some("model.failed") => {
                bar.finish_and_clear();
                bail!("{}", event["message"].as_str().unwrap_or("the pull failed"));
            }
            _ => {}
        }
    }
    bail!("the node stopped; start it and pull again: what is here is kept")
}

pub(super) fn remove(data_dir: &Path, model: &str, show: Show) -> Result<()> {
    show.value(&Client::of(data_dir)?.delete(&format!("/models/{model}"))?);
    Ok(())
}

pub(super) fn provide(data_dir: &Path, command: ProvideCommand, show: Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let value = match command {
        ProvideCommand::Start => client.post("/provide", &json!({"on": true}))?,
        ProvideCommand::Stop => client.post("/provide", &json!({"on": false}))?,
        ProvideCommand::Why => client.get("/provide")?,
    };
    show.value(&value);
    Ok(())
}

pub(super) fn job(data_dir: &Path, command: JobCommand, file: Option<&Path>, show: Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let value = match command {
        JobCommand::Ls => client.get("/jobs")?,
        JobCommand::Show { id } => client.get(&format!("/jobs/{id}"))?,
        JobCommand::Explain { id } => client.get(&format!("/jobs/{id}/explain"))?,
        JobCommand::Cancel { id } => client.delete(&format!("/jobs/{id}"))?,
        JobCommand::Output { id } => {
            let value = client.get(&format!("/jobs/{id}/output"))?;
            let text = value["output"].as_str().unwrap_or_default();
            match file {
                Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
                None => print(text.trim_end()),
            }
            return Ok(());
        }
    };
    show.value(&value);
    Ok(())
}
