//! `audit`: a bundle for those who check this node's books.

use super::failure::FALSE;
use super::keys::raw_key;
use super::{Books, Failure, Show, say};
use crate::audit::{self, Choice, Maker, Root};
use crate::cli::{AuditCommand, AuditExportArgs};
use crate::client::Client;
use crate::erase::receipts;
use crate::ledger::Rpc;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use talkoo_base::{Digest, RefusalCode};
use talkoo_disk::OwnerFiles;

/// Items that are shown one by one; of more, only those that do not hold.
const SHOWN_MAX: usize = 16;

pub(super) fn run(data_dir: &Path, command: &AuditCommand, show: &Show) -> Result<ExitCode> {
    match command {
        AuditCommand::Export(args) => export(data_dir, args, show),
        AuditCommand::Verify { file, genesis } => verify(file, genesis.as_deref(), show),
    }
}

fn export(data_dir: &Path, args: &AuditExportArgs, show: &Show) -> Result<ExitCode> {
    let key = raw_key(&data_dir.join("key")).ok_or_else(|| {
        let message = format!("{} is no node's folder: it has no key", data_dir.display());
        Failure::new(RefusalCode::Other, message, "name the node's folder with --data-dir")
    })?;
    let jobs = args.job.iter().map(|id| job(data_dir, id)).collect::<Result<_>>()?;
    let days = [args.from.clone(), args.to.clone()];
    let choice = Choice { times: times(&days)?, days, jobs, disclosed: args.disclose };
    let owner = OwnerFiles::of(data_dir).look().ok().flatten().map(|owner| owner.address().to_string());
    let maker = Maker { data_dir, key: &key, owner, chain: chain(data_dir) };
    // Written aside: a file with this name is whole.
    let mut aside = args.file.clone().into_os_string();
    aside.push(".part");
    let written = File::create(&aside).context("it cannot be made").and_then(|mut file| {
        let value = audit::export(&maker, &choice, &mut file)?;
        file.sync_all()?;
        fs::rename(&aside, &args.file)?;
        Ok(value)
    });
    if written.is_err() {
        fs::remove_file(&aside).ok();
    }
    let mut value = written.with_context(|| format!("cannot write {}", args.file.display()))?;
    value["file"] = json!(args.file);
    value["bytes"] = json!(fs::metadata(&args.file)?.len());
    show.value(&value);
    Ok(ExitCode::SUCCESS)
}

/// A job by the beginning of its id, of those that have receipts here; a whole id is taken as it is.
fn job(data_dir: &Path, id: &str) -> Result<Digest> {
    let none = || {
        let message = format!("there are no receipts of a job that begins with {id}");
        Failure::new(RefusalCode::UnknownId, message, "see `talkoo job ls`, and `<data-dir>/receipts`")
    };
    let whole = receipts::whole_id(data_dir, id).map_err(Failure::from)?;
    Ok(Digest::from_hex(&whole).ok_or_else(none)?)
}

/// The chain of the node that runs here, or why it can't prove anything.
fn chain(data_dir: &Path) -> Result<Rpc, String> {
    let books = Client::of(data_dir).and_then(|client| Books::of(&client)).map_err(|why| format!("{why:#}"))?;
    match books.place.is_outside() {
        true => Err("the headers of an outside chain have no certificates that this program can check".into()),
        false => Ok(books.rpc),
    }
}

/// When a day in UTC begins, in seconds since 1970; one before that counts as its beginning.
pub(crate) fn day_begins(text: &str) -> Result<u64, jiff::Error> {
    let day = text.parse::<jiff::civil::Date>()?.to_zoned(jiff::tz::TimeZone::UTC)?;
    Ok(u64::try_from(day.timestamp().as_second()).unwrap_or(0))
}

/// The day in UTC of a time in seconds since 1970, as 2026-01-31.
pub(crate) fn day_of(second: u64) -> String {
    let at = i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    at.unwrap_or(jiff::Timestamp::MAX).to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// The seconds of a span of days, both included.
fn times([from, to]: &[Option<String>; 2]) -> Result<Range<u64>> {
    let day = |text: &String, more: u64| -> Result<u64> {
        let no = |why: jiff::Error| Failure::usage(format!("{text} is no day ({why})"), "write it as 2026-01-31");
        Ok(day_begins(text).map_err(no)? + more)
    };
    let from = from.as_ref().map_or(Ok(0), |text| day(text, 0))?;
    let to = to.as_ref().map_or(Ok(u64::MAX), |text| day(text, 86_400))?;
    ensure!(from < to, Failure::usage("the last day is before the first", "change --from and --to"));
    Ok(from..to)
}

fn verify(path: &Path, genesis: Option<&str>, show: &Show) -> Result<ExitCode> {
    let root = genesis.map(Root::parse).transpose()?;
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let verdict = audit::verify(file, root).map_err(|why| {
        let hint = "ask the one who made it for another copy";
        Failure::unproved(format!("{} does not hold: {why}", path.display()), hint)
    })?;
    let (mut value, wrong) = (verdict.value, verdict.wrong);
    let items = value["items"].as_array().map_or(0, Vec::len);
    if !show.json() && items > SHOWN_MAX {
        let bad = |item: &&Value| item["holds"] == json!(false);
        value["items"] = value["items"].as_array().into_iter().flatten().filter(bad).cloned().collect();
    }
    show.value(&value);
    say(&format!("{} of {items} items hold", items - wrong));
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(FALSE) })
}
