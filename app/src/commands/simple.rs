//! Commands that are one call of the API.

use super::failure::refusal_of;
use super::follow::{Followed, follow};
use super::{Failure, Show, bar, print, say};
use crate::cli::{JobCommand, ProvideCommand};
use crate::client::Client;
use crate::daemon::STOP_MS_MAX;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use talkoo_base::RefusalCode;

pub(super) fn get(data_dir: &Path, path: &str, show: &Show) -> Result<()> {
    show.value(&Client::of(data_dir)?.get(path)?);
    Ok(())
}

pub(super) fn down(data_dir: &Path, show: &Show) -> Result<()> {
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

pub(super) fn invite(data_dir: &Path, show: &Show) -> Result<()> {
    let value = Client::of(data_dir)?.get("/invite")?;
    if show.json() {
        show.value(&value);
    } else {
        print(value["code"].as_str().unwrap_or_default());
        say("others join with: talkoo join CODE (their node must be up with the same --network)");
    }
    Ok(())
}

/// The network and the addresses that an invite names.
fn read_invite(code: &str) -> Result<(String, Vec<String>), Failure> {
    let hint = "copy all of the code that `invite` printed there";
    let no = |message: &str| Failure::new(RefusalCode::Malformed, message, hint);
    let bytes = hex::decode(code).map_err(|_| no("the code is neither an invite nor a multiaddress"))?;
    let invite: Value = serde_json::from_slice(&bytes).map_err(|e| no(&format!("the invite is damaged ({e})")))?;
    let network = invite["network"].as_str().ok_or_else(|| no("the invite names no network"))?;
    let at = invite["at"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok((network.to_owned(), at))
}

pub(super) fn join(data_dir: &Path, code: &str, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let addresses: Vec<String> = if code.starts_with('/') {
        vec![code.to_owned()]
    } else {
        let (network, addresses) = read_invite(code)?;
        let ours = client.get("/status")?["network"].as_str().unwrap_or_default().to_owned();
        if network != ours {
            let message = format!("the invite is for network {network}, this node is on {ours}");
            let hint = format!("start this node with `--network {network}`");
            return Err(Failure::new(RefusalCode::Disconnected, message, hint).into());
        }
        addresses
    };
    let mut failures = Vec::new();
    for addr in &addresses {
        match client.post("/peers", &json!({"addr": addr})) {
            Ok(value) => {
                show.value(&json!({"joined": value["node"], "at": addr}));
                return Ok(());
            }
            Err(why) if addresses.len() == 1 => return Err(why),
            Err(why) => failures.push(refusal_of(&why).message),
        }
    }
    let message = format!("none of the invite's addresses answers: {}", failures.join("; "));
    let hint = "check that the node that made it is up and lets others reach it (`--listen`), and ask for a new one";
    Err(Failure::new(RefusalCode::Disconnected, message, hint).into())
}

pub(super) fn pull(data_dir: &Path, model: &str, show: &Show) -> Result<()> {
    // A file is named as the user sees it, the node may stand elsewhere.
    let model = match Path::new(model).extension() {
        Some(e) if e == "gguf" => std::fs::canonicalize(model)
            .map_err(|_| {
                let hint = "give the path of a GGUF file, or a name of the catalogue";
                Failure::new(RefusalCode::UnknownModel, format!("there is no file {model}"), hint)
            })?
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
                let message = event["message"].as_str().unwrap_or("the pull failed");
                return Err(Failure::new(RefusalCode::Other, message, "").into());
            }
            _ => {}
        }
    }
    let hint = "start it with `talkoo up` and pull again: what is here is kept";
    Err(Failure::new(RefusalCode::Stopping, "the node stopped", hint).into())
}

pub(super) fn remove(data_dir: &Path, model: &str, show: &Show) -> Result<()> {
    show.value(&Client::of(data_dir)?.delete(&format!("/models/{model}"))?);
    Ok(())
}

pub(super) fn provide(data_dir: &Path, command: ProvideCommand, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let value = match command {
        ProvideCommand::Start => client.post("/provide", &json!({"on": true}))?,
        ProvideCommand::Stop => client.post("/provide", &json!({"on": false}))?,
        ProvideCommand::Why => client.get("/provide")?,
    };
    show.value(&value);
    Ok(())
}

pub(super) fn job(data_dir: &Path, command: JobCommand, file: Option<&Path>, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let value = match command {
        JobCommand::Ls => client.get("/jobs")?,
        JobCommand::Show { id, follow: false } => client.get(&format!("/jobs/{id}"))?,
        JobCommand::Show { id, follow: true } => watch(&client, &id, show)?,
        JobCommand::Explain { id } => client.get(&format!("/jobs/{id}/explain"))?,
        JobCommand::Cancel { id } => client.delete(&format!("/jobs/{id}"))?,
        JobCommand::Rm { id } => client.post(&format!("/jobs/{id}/forget"), &json!({}))?,
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

/// Follows a job until it is closed; answers how it stands then.
fn watch(client: &Client, id: &str, show: &Show) -> Result<Value> {
    let events = client.events()?;
    let value = client.get(&format!("/jobs/{id}"))?;
    if value["status"] != json!("open") {
        return Ok(value);
    }
    let job = value["job"].as_str().context("the node named no job")?;
    let count = |key: &str| value[key].as_u64().unwrap_or(0);
    let what = Followed { job, steps: count("steps"), over: count("done") + count("failed") };
    follow(client, events, &what, show)?;
    client.get(&format!("/jobs/{job}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_invite_is_told_in_our_words() {
        let whole = hex::encode(r#"{"network":"n","at":["/ip4/127.0.0.1/tcp/1"]}"#);
        assert_eq!(read_invite(&whole).unwrap(), ("n".into(), vec!["/ip4/127.0.0.1/tcp/1".into()]));
        let cases = [("zz", "neither"), (&whole[..20], "is damaged ("), ("7b7d", "no network")];
        for (code, text) in cases {
            let no = read_invite(code).unwrap_err().to_string();
            assert!(no.contains(text) && no.ends_with("printed there"), "{code}: {no}");
        }
    }
}
