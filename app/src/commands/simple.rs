//! Commands that are one call of the API.

use super::failure::refusal_of;
use super::follow::{Followed, follow};
use super::target::Target;
use super::{Failure, Show, bar, print, say};
use crate::cli::{JobCommand, ProvideCommand};
use crate::client::Client;
use crate::daemon::STOP_MS_MAX;
use crate::daemon::terms::limits_json;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use talkoo_base::{Amount, RefusalCode};

pub(super) fn get(data_dir: &Path, path: &str, show: &Show) -> Result<()> {
    show.value(&Client::of(data_dir)?.get(path)?);
    Ok(())
}

/// Only prints: what starts a browser has the token on its command line, which every user of the machine can read.
pub(super) fn open(data_dir: &Path, show: &Show) -> Result<()> {
    let url = Client::of(data_dir)?.dashboard();
    if show.json() {
        show.value(&json!({"url": url}));
    } else {
        print(&url);
    }
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

/// What is so has a tick, what is amiss its remedy.
pub(super) fn doctor(data_dir: &Path, show: &Show) -> Result<()> {
    let value = Client::of(data_dir)?.get("/doctor")?;
    if show.json() {
        show.value(&value);
        return Ok(());
    }
    for finding in value["findings"].as_array().into_iter().flatten() {
        let sign = if finding["good"] == true { "ok " } else { "!! " };
        print(&format!("{sign} {}", finding["what"].as_str().unwrap_or_default()));
        if let Some(fix) = finding["fix"].as_str() {
            print(&format!("    {fix}"));
        }
    }
    for peer in value["peers"].as_array().into_iter().flatten() {
        let text = |key: &str| peer[key].as_str().unwrap_or_default();
        let way = if peer["relayed"] == true { "relayed" } else { "direct" };
        let rtt = peer["rtt_us"].as_u64().map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", us as f64 / 1_000.0));
        print(&format!("{}  {}  {way}  {rtt}  {}", text("peer"), text("transport"), text("agent")));
    }
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

/// What an invite says.
#[derive(Debug, PartialEq, Eq)]
struct Invite {
    network: String,
    chain: Option<u64>,
    at: Vec<String>,
}

/// Reads a code.
fn read_invite(code: &str) -> Result<Invite, Failure> {
    let hint = "copy all of the code that `invite` printed there";
    let no = |message: &str| Failure::new(RefusalCode::Malformed, message, hint);
    let bytes = hex::decode(code).map_err(|_| no("the code is neither an invite nor a multiaddress"))?;
    let invite: Value = serde_json::from_slice(&bytes).map_err(|e| no(&format!("the invite is damaged ({e})")))?;
    let network = invite["network"].as_str().ok_or_else(|| no("the invite names no network"))?;
    let at: Vec<_> =
        invite["at"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if at.is_empty() {
        let hint = "the node that made it listens nowhere; give it a `--listen` address and ask for a new one";
        return Err(Failure::new(RefusalCode::Malformed, "the invite names no address", hint));
    }
    Ok(Invite { network: network.to_owned(), chain: invite["chain"].as_u64(), at })
}

/// Whether an invite leads from this node, whose status is given, to another one of its network.
fn check_invite(invite: &Invite, status: &Value) -> Result<(), Failure> {
    let (network, ours) = (&invite.network, status["network"].as_str().unwrap_or_default());
    if network != ours {
        let message = format!("the invite is for network {network}, this node is on {ours}");
        let hint = format!("start this node with `--network {network}`");
        return Err(Failure::new(RefusalCode::Disconnected, message, hint));
    }
    if let (Some(theirs), Some(ours)) = (invite.chain, status["chain"].as_u64())
        && theirs != ours
    {
        let message = format!("the invite is for another network {network}: its chain is {theirs}, here it is {ours}");
        let hint = "both nodes need a version of talkoo that knows the same chain";
        return Err(Failure::new(RefusalCode::Disconnected, message, hint));
    }
    let name = |addr: &str| addr.rsplit_once("/p2p/").map(|(_, name)| name.to_owned());
    let own = status["listen"].as_array().into_iter().flatten().filter_map(Value::as_str).find_map(name);
    if own.is_some() && invite.at.iter().all(|addr| name(addr) == own) {
        let hint = "give it to another node: there, `talkoo join CODE`";
        return Err(Failure::new(RefusalCode::Malformed, "this invite is this node's own", hint));
    }
    Ok(())
}

pub(super) fn join(data_dir: &Path, code: &str, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let addresses: Vec<String> = if code.starts_with('/') {
        vec![code.to_owned()]
    } else {
        let invite = read_invite(code)?;
        check_invite(&invite, &client.get("/status")?)?;
        invite.at
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
            Some("model.waiting") => {
                let message = event["message"].as_str().unwrap_or_default();
                bar.suspend(|| say(message));
            }
            Some("model.pulled") => {
                bar.finish_and_clear();
                show.value(&event);
                return Ok(());
            }
            Some("model.failed") => {
                bar.finish_and_clear();
                let message = event["message"].as_str().unwrap_or("the pull failed");
                let hint = event["hint"].as_str().unwrap_or_default();
                let code = RefusalCode::parse(event["code"].as_str().unwrap_or_default());
                return Err(Failure::new(code, message, hint).into());
            }
            _ => {}
        }
    }
    let hint = "start it with `talkoo up` and pull again: what is here is kept";
    Err(Failure::new(RefusalCode::Stopping, "the node stopped", hint).into())
}

pub(super) fn remove(data_dir: &Path, model: &str, show: &Show) -> Result<()> {
    if model.is_empty() {
        return Err(Failure::usage("the model's name is missing", "see `talkoo ls`").into());
    }
    show.value(&Client::of(data_dir)?.delete(&format!("/models/{}", segment(model)))?);
    Ok(())
}

/// What is being worked at.
pub(super) fn ps(data_dir: &Path, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let (jobs, status) = (client.get("/jobs")?, client.get("/status")?);
    let is_open = |job: &&Value| job["status"] == "open";
    let open: Vec<&Value> = jobs["jobs"].as_array().into_iter().flatten().filter(is_open).collect();
    show.value(&json!({"jobs": open, "runs_for_others": status["slots_taken"]}));
    Ok(())
}

/// What is known of a model: what is here, and who answers.
pub(super) fn model(data_dir: &Path, name: &str, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let endpoints = client.face(&format!("/v1/models/{}/endpoints", segment(name)))?;
    let models = client.get("/models")?;
    let id = endpoints["data"]["id"].as_str().unwrap_or(name).to_owned();
    let here = models["models"].as_array().into_iter().flatten().find(|model| model["name"] == id.as_str());
    show.value(&json!({"model": endpoints["data"], "here": here}));
    Ok(())
}

/// A text of the user's as one part of a path.
fn segment(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    text.bytes().map(|b| if is_plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub(super) fn provide(data_dir: &Path, command: ProvideCommand, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let value = match command {
        ProvideCommand::Start => client.post("/provide", &json!({"on": true}))?,
        ProvideCommand::Stop => client.post("/provide", &json!({"on": false}))?,
        ProvideCommand::Why => client.get("/provide")?,
        ProvideCommand::Earnings { days } => {
            let value = client.get(&format!("/earnings?days={days}"))?;
            if !show.json() {
                earned(&value);
                return Ok(());
            }
            value
        }
        ProvideCommand::Limits(args) => {
            let limits = args.owner.limits();
            let value = match limits.is_any() || args.none {
                true => client.post("/provide", &json!({"limits": limits_json(&limits)}))?,
                false => client.get("/provide")?,
            };
            json!({"limits": value["limits"]})
        }
        ProvideCommand::Price { price: [least, most] } => {
            let price = if least == most { vec![least] } else { vec![least, most] };
            let value = client.post("/provide", &json!({"price": price}))?;
            let tokens = |micro: &Value| micro.as_str()?.parse().ok().map(|units| Amount(units).to_string());
            let prices: Vec<_> = value["prices"].as_array().into_iter().flatten().filter_map(tokens).collect();
            json!({"price": prices.join(".."), "unit": "tokens of money for a million output tokens"})
        }
    };
    show.value(&value);
    Ok(())
}

/// Prints a line for each day.
fn earned(value: &Value) {
    let columns = ["inference", "x402", "storage", "data", "total"];
    print(&format!("{:<10}{}", "day, UTC", columns.map(|name| format!("{name:>14}")).concat()));
    let line = |row: &Value, name: &str| {
        let amounts = columns.map(|name| format!("{:>14}", row[name].as_str().unwrap_or_default()));
        print(&format!("{name:<10}{}", amounts.concat()));
    };
    let rows = value["days"].as_array().into_iter().flatten();
    rows.for_each(|row| line(row, row["date"].as_str().unwrap_or_default()));
    line(&value["sum"], "sum");
    let since = |key: &str| value["since"][key].as_i64().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let counted = [("inference", since("inference")), ("the ledger", since("ledger"))];
    let counted = counted.iter().filter_map(|(name, at)| at.map(|at| format!("{name} since {at}")));
    say(&format!("tokens of money; counted: {}", counted.collect::<Vec<_>>().join(", ")));
}

pub(super) fn job(data_dir: &Path, command: JobCommand, file: Option<&Path>, show: &Show) -> Result<()> {
    if let Some(id) = command.id()
        && id.trim().is_empty()
    {
        return Err(Failure::usage("the job's id is missing", "see `talkoo job ls`").into());
    }
    let client = Client::of(data_dir)?;
    let value = match command {
        JobCommand::Ls => all_jobs(&client)?,
        JobCommand::Show { id, follow: false } => client.get(&format!("/jobs/{}", segment(&id)))?,
        JobCommand::Show { id, follow: true } => watch(&client, &id, show)?,
        JobCommand::Explain { id } => client.get(&format!("/jobs/{}/explain", segment(&id)))?,
        JobCommand::Cancel { id } => client.delete(&format!("/jobs/{}", segment(&id)))?,
        JobCommand::Rm { id } => client.post(&format!("/jobs/{}/forget", segment(&id)), &json!({}))?,
        JobCommand::Output { id } => {
            let value = client.get(&format!("/jobs/{}/output", segment(&id)))?;
            let text = value["output"].as_str().unwrap_or_default();
            match file {
                Some(path) => Target::check(path)?.write(text)?,
                None => print(text.trim_end()),
            }
            return Ok(());
        }
    };
    show.value(&value);
    Ok(())
}

/// All jobs, page by page, as they were posted.
fn all_jobs(client: &Client) -> Result<Value> {
    let (mut jobs, mut path) = (Vec::new(), "/jobs".to_owned());
    loop {
        let mut page = client.get(&path)?;
        jobs.extend(page["jobs"].as_array_mut().map(std::mem::take).unwrap_or_default());
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/jobs?cursor={}", segment(next));
    }
    jobs.reverse();
    Ok(json!({"jobs": jobs}))
}

/// Follows a job until it is closed; answers how it stands then.
fn watch(client: &Client, id: &str, show: &Show) -> Result<Value> {
    let events = client.events()?;
    let value = client.get(&format!("/jobs/{}", segment(id)))?;
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
        let whole = hex::encode(r#"{"network":"n","chain":1,"at":["/ip4/127.0.0.1/tcp/1"]}"#);
        let want = Invite { network: "n".into(), chain: Some(1), at: vec!["/ip4/127.0.0.1/tcp/1".into()] };
        assert_eq!(read_invite(&whole).unwrap(), want);
        let cases = [("zz", "neither"), (&whole[..20], "is damaged ("), ("7b7d", "no network")];
        for (code, text) in cases {
            let no = read_invite(code).unwrap_err().to_string();
            assert!(no.contains(text) && no.ends_with("printed there"), "{code}: {no}");
        }
        let empty = hex::encode(r#"{"network":"n","chain":1,"at":[]}"#);
        assert!(read_invite(&empty).unwrap_err().to_string().contains("no address"));
    }

    #[test]
    fn an_invite_leads_to_another_node_of_the_same_network() {
        let status = json!({"network": "n", "chain": 1, "listen": ["/ip4/127.0.0.1/tcp/1/p2p/me"]});
        let invite = |network: &str, chain, at: &str| Invite { network: network.into(), chain, at: vec![at.into()] };
        let (ours, theirs) = ("/ip4/10.0.0.1/tcp/1/p2p/me", "/ip4/10.0.0.1/tcp/1/p2p/you");
        assert!(check_invite(&invite("n", Some(1), theirs), &status).is_ok());
        assert!(check_invite(&invite("n", None, "/ip4/10.0.0.1/tcp/1"), &status).is_ok());
        let cases = [
            (invite("m", Some(1), theirs), "network m"),
            (invite("n", Some(2), theirs), "its chain is 2"),
            (invite("n", Some(1), ours), "this node's own"),
        ];
        for (invite, text) in cases {
            let no = check_invite(&invite, &status).unwrap_err().to_string();
            assert!(no.contains(text), "{no}");
        }
    }

    #[test]
    fn what_a_user_types_is_one_part_of_a_path() {
        for (text, want) in [("smollm2-1", "smollm2-1"), ("a b/../c", "a%20b%2F%2E%2E%2Fc"), ("é", "%C3%A9")] {
            assert_eq!(segment(text), want);
        }
    }
}
