//! Calls about receipts: files of this node's own, read and checked on a thread of their own.

use super::{Answer, Daemon, bad, page, required};
use crate::commands::{check_one_receipt, read_receipt, receipt_until};
use crate::erase::Retention;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_proof::Kept;
use tokio::sync::oneshot;

/// Receipts of a page, if nobody says how many.
const USUAL: usize = 50;

/// Where a receipt stands in the list: by its time in nanoseconds since 1970, then by its id.
type Key = (u64, String);

impl Daemon {
    pub(super) fn about_receipts(&self, name: &'static str, args: Value, reply: oneshot::Sender<Answer>) {
        let (dir, retention) = (self.config.data_dir.clone(), self.config.retention);
        self.tasks.spawn_blocking(move || {
            let answer = match name {
                "receipts" => list(&dir, &args, &retention),
                "receipt_show" => required(&args, "job")
                    .and_then(|job| Ok(format!("{job}/{}", required(&args, "lease")?)))
                    .and_then(|id| show(&dir, &id, &retention)),
                "receipt_verify" => required(&args, "receipt").and_then(|id| show(&dir, id, &retention)),
                other => Err(bad(format!("`{other}` is not a call"), "update the command line or the node")),
            };
            // Who asked may have gone.
            reply.send(answer).ok();
        });
    }
}

/// The file of a receipt by what an answer calls it, JOB/STEP-LEASE: never a path of the caller's.
fn file_of(dir: &Path, id: &str) -> Result<PathBuf, Refusal> {
    let unknown =
        || Refusal::new(RefusalCode::UnknownId, format!("there is no receipt {id:?}"), "an answer names its own");
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let (job, lease) = id.split_once('/').filter(|(job, lease)| is_part(job) && is_part(lease)).ok_or_else(unknown)?;
    let path = dir.join("receipts").join(job).join(format!("{lease}.receipt"));
    if path.is_file() { Ok(path) } else { Err(unknown()) }
}

fn show(dir: &Path, id: &str, retention: &Retention) -> Answer {
    let path = file_of(dir, id)?;
    let mut value = check_one_receipt(&path);
    receipt_until(&mut value, retention.until(written(&path) / 1_000_000_000));
    value["id"] = json!(id);
    value["job"] = json!(id.split('/').next());
    value["file"] = json!(format!("receipts/{id}.receipt"));
    value["time"] = json!(written(&path) / 1_000_000_000);
    Ok(value)
}

/// When a file was written, in nanoseconds since 1970.
fn written(path: &Path) -> u64 {
    let at = std::fs::metadata(path).and_then(|about| about.modified()).ok();
    at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos() as u64)
}

fn list(dir: &Path, args: &Value, retention: &Retention) -> Answer {
    let most = page::limit(args, USUAL)?;
    let before = page::cursor(args).map(|cursor| read_key(cursor).ok_or_else(|| page::odd(cursor))).transpose()?;
    let mut keys = newest(&dir.join("receipts"), before.as_ref(), most + 1);
    let next = (keys.len() > most).then(|| keys.remove(most)).and_then(|_| keys.last().map(write_key));
    let rows: Vec<Value> = keys.iter().map(|key| row(dir, key, retention)).collect();
    Ok(json!({"receipts": rows, "next_cursor": next}))
}

fn write_key((time, id): &Key) -> String {
    format!("{time:x}.{id}")
}

fn read_key(cursor: &str) -> Option<Key> {
    let (time, id) = cursor.split_once('.')?;
    Some((u64::from_str_radix(time, 16).ok()?, id.to_owned()))
}

/// The newest receipts before a key. All names are looked at, no more than `most` are kept in memory.
fn newest(folder: &Path, before: Option<&Key>, most: usize) -> Vec<Key> {
    let mut found = BinaryHeap::new();
    for job in names(folder) {
        for file in names(&folder.join(&job)) {
            let Some(lease) = file.strip_suffix(".receipt") else { continue };
            let key = (written(&folder.join(&job).join(&file)), format!("{job}/{lease}"));
            if before.is_none_or(|before| key < *before) {
                found.push(Reverse(key));
            }
            if found.len() > most {
                found.pop();
            }
        }
    }
    found.into_sorted_vec().into_iter().map(|Reverse(key)| key).collect()
}

/// Names in a folder; none of a folder that is not there.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn row(dir: &Path, (time, id): &Key, retention: &Retention) -> Value {
    let file = format!("receipts/{id}.receipt");
    let job = id.split('/').next();
    let facts = match read_receipt(&dir.join(&file)) {
        Ok(kept) => facts(&kept),
        Err(why) => json!({
            "step": 0, "worker": "", "units": 0, "price_input": "", "price_output": "", "amount": "", "tier": "",
            "model_root": "", "audited": false, "disclosed": false, "error": format!("{why:#}"),
        }),
    };
    let mut row = json!({"id": id, "file": file, "job": job, "time": time / 1_000_000_000});
    row.as_object_mut().into_iter().for_each(|row| row.extend(facts.as_object().cloned().unwrap_or_default()));
    receipt_until(&mut row, retention.until(time / 1_000_000_000));
    row
}

fn facts(kept: &Kept) -> Value {
    let request = &kept.request.body;
    let last = kept.links.last().map(|link| &link.receipt.body);
    let units = last.map_or(0, |last| last.units);
    json!({
        "step": kept.step,
        "worker": request.worker.to_string(),
        "units": units,
        "price_input": talkoo_base::Amount(request.price.input).to_string(),
        "price_output": talkoo_base::Amount(request.price.output).to_string(),
        "amount": request.price.owed(request.limits.input_units, units).to_string(),
        "tier": last.map_or("", |last| last.tier.name()),
        "model_root": request.program.to_string(),
        "audited": kept.own_rerun == Some(true) || !kept.reruns.is_empty(),
        "disclosed": kept.disclosure.is_some(),
        "error": null,
    })
}

#[cfg(test)]
mod tests {
    use super::{file_of, newest, read_key, write_key};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_newest_come_first_and_pages_go_on_behind_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("receipts");
        assert_eq!(newest(&folder, None, 9), []);
        for (second, name) in [(1, "a/1-x"), (3, "b/1-x"), (2, "a/2-x"), (2, "b/2-x")] {
            let path = folder.join(format!("{name}.receipt"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        }
        std::fs::write(folder.join("a/3-x.part"), "x").unwrap();
        let ids = |keys: &[super::Key]| keys.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>();
        let first = newest(&folder, None, 2);
        assert_eq!(ids(&first), ["b/1-x", "b/2-x"]);
        let rest = newest(&folder, read_key(&write_key(&first[1])).as_ref(), 9);
        assert_eq!(ids(&rest), ["a/2-x", "a/1-x"]);
        for odd in ["../a", "a", "a/../b", "/etc/passwd", ""] {
            assert!(file_of(dir.path(), odd).is_err(), "{odd}");
        }
        assert!(file_of(dir.path(), "a/1-x").is_ok());
    }
}
