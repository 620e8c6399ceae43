//! The work on a batch.

use super::state::{Batch, Batches, Counts, Usage};
use crate::collect::{fresh, unix};
use crate::error::{Fault, has_too_many_values};
use crate::keys::Who;
use crate::limits::{BATCH_LINES_MAX, BATCH_WIDTH, VALUES_MAX};
use crate::{Shared, inner};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use talkoo_base::{Refusal, RefusalCode};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Bytes of an answer of one line.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How often the counts are written while the work goes on.
const TELL: Duration = Duration::from_secs(1);

/// Begins the work on a batch, or goes on with it.
pub(super) fn begin(shared: &Shared, batch: Batch) {
    let stop = shared.batches.begin(&batch.id, &shared.stop);
    let shared = shared.clone();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let id = batch.id.clone();
        let _turn = tokio::select! {
            turn = shared.batches.turns.acquire() => turn.ok(),
            // What is cancelled is told so at once.
            () = stop.cancelled() => None,
        };
        if shared.stop.is_cancelled() {
            return;
        }
        if let Err(why) = work(&shared, batch, stop).await {
            tracing::warn!(id, %why, "a batch can't go on; it will after the next start");
        }
        shared.batches.end(&id);
    });
}

/// Goes on with all that were not over when the node ended.
pub(crate) fn resume(shared: &Shared) {
    shared.batches.all(&Who::Owner).into_iter().filter(|batch| !batch.is_over()).for_each(|batch| begin(shared, batch));
}

/// One request of a batch.
struct Line {
    custom_id: String,
    body: Value,
}

async fn work(shared: &Shared, mut batch: Batch, stop: CancellationToken) -> Result<(), Refusal> {
    let who = who_of(&batch.who);
    if batch.status == "validating" {
        let (path, endpoint) = (shared.files.content(&batch.input_file_id)?, batch.endpoint.clone());
        let checked = blocking(move || check(&path, &endpoint)).await?;
        match checked {
            Ok(total) => {
                batch.counts.total = total;
                batch.enter("in_progress");
            }
            Err(errors) => {
                batch.errors = errors;
                batch.enter("failed");
                tell(shared, &batch);
            }
        }
        shared.batches.keep(&batch)?;
    }
    // What was cancelled as the node ended is not gone on with.
    if batch.status == "cancelling" {
        stop.cancel();
        batch.status = "in_progress".into();
    }
    if batch.status == "in_progress" {
        go(shared, &mut batch, &who, &stop).await?;
        // The node is stopping: the next start goes on.
        if shared.stop.is_cancelled() {
            return Ok(());
        }
        if stop.is_cancelled() {
            batch.enter("cancelling");
        }
        batch.enter("finalizing");
        shared.batches.keep(&batch)?;
    }
    if batch.status == "finalizing" {
        finish(shared, &mut batch)?;
        let end = match () {
            () if !batch.errors.is_empty() => "failed",
            () if batch.times.contains_key("cancelling") => "cancelled",
            () if batch.counts.completed + batch.counts.failed < batch.counts.total => "expired",
            () => "completed",
        };
        batch.enter(end);
        tell(shared, &batch);
        shared.batches.keep(&batch)?;
    }
    Ok(())
}

/// Notes who has to be told of a batch's end, before the end is kept: a kill between the two tells twice, not never.
fn tell(shared: &Shared, batch: &Batch) {
    shared.hooks.tell(&format!("batch.{}", batch.status), &batch.id);
}

fn who_of(name: &str) -> Who {
    match name {
        "owner" => Who::Owner,
        "anybody" => Who::Anybody,
        id => Who::Key(id.to_owned()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let broken = |why: tokio::task::JoinError| Refusal::new(RefusalCode::Other, why.to_string(), "please report it");
    tokio::task::spawn_blocking(work).await.map_err(broken)
}

/// What is wrong with a line, in OpenAI's words.
fn error(line: u64, code: &str, message: String) -> Value {
    json!({"code": code, "line": line, "message": message, "param": null})
}

/// Number of lines, or what is wrong with them.
fn check(path: &Path, endpoint: &str) -> Result<u64, Vec<Value>> {
    let file = std::fs::File::open(path).map_err(|why| vec![error(0, "file_unreadable", why.to_string())])?;
    let (mut errors, mut seen, mut count) = (Vec::new(), BTreeSet::new(), 0);
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|why| vec![error(number, "invalid_json_line", why.to_string())])?;
        if line.trim().is_empty() {
            continue;
        }
        count += 1;
        match line_of(&line, endpoint) {
            Ok(line) if !seen.insert(line.custom_id.clone()) => {
                errors.push(error(number, "duplicate_custom_id", format!("{:?} was used before", line.custom_id)));
            }
            Ok(_) => {}
            Err(why) => errors.push(error(number, "invalid_request", why)),
        }
        if errors.len() >= 100 {
            break;
        }
    }
    if count == 0 && errors.is_empty() {
        errors.push(error(0, "empty_file", "the file has no lines".into()));
    }
    if count > BATCH_LINES_MAX {
        errors.push(error(0, "too_many_lines", format!("the file has more than {BATCH_LINES_MAX} lines")));
    }
    if errors.is_empty() { Ok(count) } else { Err(errors) }
}

fn line_of(line: &str, endpoint: &str) -> Result<Line, String> {
    if has_too_many_values(line.as_bytes()) {
        return Err(format!("it has more than {VALUES_MAX} values"));
    }
    let value: Value = serde_json::from_str(line).map_err(|why| format!("not JSON: {why}"))?;
    let custom_id = value["custom_id"].as_str().filter(|id| (1..=512).contains(&id.len()));
    let custom_id = custom_id.ok_or("its custom_id has not 1 to 512 bytes")?.to_owned();
    if value["method"] != "POST" {
        return Err("its method is not POST".into());
    }
    if value["url"] != endpoint {
        return Err(format!("its url is not {endpoint}, which the batch asks"));
    }
    match &value["body"] {
        body @ Value::Object(_) if body["stream"] != true => Ok(Line { custom_id, body: body.clone() }),
        Value::Object(_) => Err("its body asks for a stream".into()),
        _ => Err("its body is not an object".into()),
    }
}

/// Results are in two files: those that answer, and those that say why there is no answer.
struct Results {
    batches: Arc<Batches>,
    id: String,
}

impl Results {
    /// The custom ids that have a result. What a kill cut off is cut away.
    fn read(&self) -> Result<BTreeSet<String>, Refusal> {
        let mut done = BTreeSet::new();
        for extension in ["out", "err"] {
            let path = self.batches.path(&self.id, extension)?;
            let text = std::fs::read(&path).unwrap_or_default();
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if whole < text.len() {
                std::fs::write(&path, &text[..whole]).map_err(|why| crate::files::unkept(&why))?;
            }
            for line in text[..whole].split(|byte| *byte == b'\n') {
                let id =
                    serde_json::from_slice::<Value>(line).ok().and_then(|v| v["custom_id"].as_str().map(str::to_owned));
                done.extend(id);
            }
        }
        Ok(done)
    }

    /// How many of each there are.
    fn counts(&self) -> Result<Counts, Refusal> {
        let lines = |extension| {
            let text = std::fs::read(self.batches.path(&self.id, extension)?).unwrap_or_default();
            Ok::<_, Refusal>(text.iter().filter(|byte| **byte == b'\n').count() as u64)
        };
        Ok(Counts { total: 0, completed: lines("out")?, failed: lines("err")? })
    }

    fn add(&self, extension: &str, line: &Value) -> Result<(), Refusal> {
        let path = self.batches.path(&self.id, extension)?;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .map_err(|why| crate::files::unkept(&why))
    }
}

/// Answers the lines that have no result yet, some side by side.
async fn go(shared: &Shared, batch: &mut Batch, who: &Who, stop: &CancellationToken) -> Result<(), Refusal> {
    let results = Results { batches: shared.batches.clone(), id: batch.id.clone() };
    let done = results.read()?;
    batch.counts = Counts { total: batch.counts.total, ..results.counts()? };
    let (path, endpoint) = (shared.files.content(&batch.input_file_id)?, batch.endpoint.clone());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        // It was removed: there is nothing more to ask, now and at every start.
        Err(why) => {
            batch.errors = vec![error(0, "file_unreadable", why.to_string())];
            return Ok(());
        }
    };
    let lines = BufReader::new(file).lines().map_while(Result::ok).filter(|line| !line.trim().is_empty());
    let lines =
        lines.filter_map(|line| line_of(&line, &batch.endpoint).ok()).filter(|line| !done.contains(&line.custom_id));
    let router = inner(shared.clone());
    let asked = stream::iter(lines).map(|line| answer(shared, router.clone(), endpoint.clone(), who.clone(), line));
    let mut answers = asked.buffer_unordered(BATCH_WIDTH);
    let left = Duration::from_secs(batch.expires_at.saturating_sub(unix()));
    let end = tokio::time::sleep(left);
    tokio::pin!(end);
    let mut told = Instant::now();
    loop {
        // In this order: what is over asks nothing more.
        let (custom_id, status, body) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = &mut end => break,
            next = answers.next() => match next {
                Some(next) => next,
                None => break,
            },
        };
        let is_good = status == 200;
        let response = json!({"status_code": status, "request_id": fresh("req_"), "body": body});
        let line = json!({"id": fresh("batch_req_"), "custom_id": custom_id, "response": response, "error": null});
        results.add(if is_good { "out" } else { "err" }, &line)?;
        *if is_good { &mut batch.counts.completed } else { &mut batch.counts.failed } += 1;
        if told.elapsed() >= TELL {
            shared.batches.keep(batch)?;
            told = Instant::now();
        }
    }
    drop(answers);
    Ok(())
}

/// Asks one line as if it had come by itself.
async fn answer(shared: &Shared, router: Router, endpoint: String, who: Who, line: Line) -> (String, u16, Value) {
    if !shared.keys.may(&who) {
        let no = Refusal::new(RefusalCode::BadSignature, "the key that asked was revoked, or has expired", "");
        return (line.custom_id, 401, Fault::from(no).body());
    }
    let mut request =
        Request::builder().method("POST").uri(endpoint).body(Body::from(line.body.to_string())).expect("it is one");
    request.extensions_mut().insert(who);
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.unwrap_or_default();
    (line.custom_id, status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// Counts, and makes files of the results.
fn finish(shared: &Shared, batch: &mut Batch) -> Result<(), Refusal> {
    batch.usage = Usage::default();
    for extension in ["out", "err"] {
        let path = shared.batches.path(&batch.id, extension)?;
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut count = 0;
        for line in lines {
            count += 1;
            let usage = &line["response"]["body"]["usage"];
            let tokens = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64()).unwrap_or(0);
            batch.usage.input += tokens(["prompt_tokens", "input_tokens"]);
            batch.usage.output += tokens(["completion_tokens", "output_tokens"]);
        }
        // A second name: what a kill cuts off here is done again.
        let name = path.with_extension(format!("{extension}.part"));
        std::fs::remove_file(&name).ok();
        std::fs::hard_link(&path, &name).map_err(|why| crate::files::unkept(&why))?;
        let kept = shared.files.adopt(&name, &format!("{}_{extension}.jsonl", batch.id), "batch_output", &batch.who)?;
        if extension == "out" {
            (batch.counts.completed, batch.output_file_id) = (count, Some(kept.id));
        } else {
            (batch.counts.failed, batch.error_file_id) = (count, Some(kept.id));
        }
    }
    shared.batches.keep(batch)?;
    for extension in ["out", "err"] {
        std::fs::remove_file(shared.batches.path(&batch.id, extension)?).ok();
    }
    Ok(())
}
