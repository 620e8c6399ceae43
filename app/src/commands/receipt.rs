//! `receipt`: what a client kept, checked without any network.

use super::again::{Engines, find_model};
use super::failure::FALSE;
use super::{Failure, Show, day_of, say};
use crate::cli::ReceiptCommand;
use crate::client::Client;
use crate::erase::Retention;
use crate::inference::real;
use crate::models::foreign;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use talkoo_base::wire::DecodeError;
use talkoo_base::{Kind, RefusalCode, Tier};
use talkoo_engine::Vocabulary;
use talkoo_proof::kept::{Facts, VerifyError};
use talkoo_proof::{Kept, Part, verify_kept, verify_part};

/// What a receipt of the float tier is worth.
const NOT_CHECKED: &str = "float tier: not checked by recomputation";

/// That it can be computed again.
const RERUNNABLE: &str = "re-runnable";

/// Reads a receipt file.
pub(crate) fn read(path: &Path) -> Result<Kept> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Kept::from_bytes(&bytes).map_err(|why| no_receipt(path, &why))?)
}

/// Why a file is no receipt; what the decoder says is a detail.
fn no_receipt(path: &Path, why: &DecodeError) -> Failure {
    let path = path.display();
    match why {
        DecodeError::UnsupportedVersion(_) => {
            let message = format!("{path} was written by another version of talkoo ({why})");
            Failure::new(RefusalCode::UnsupportedVersion, message, "check it with the version that wrote it")
        }
        _ => {
            let hint = "give a file of `<data-dir>/receipts`, or copy it again";
            Failure::new(RefusalCode::Malformed, format!("{path} is no receipt, or it is damaged ({why})"), hint)
        }
    }
}

/// Says of a receipt until when its answer can be computed again from what a node keeps.
pub(crate) fn until(row: &mut Value, until: Option<u64>) {
    let until = until.filter(|_| row["tier"] == "exact" && row["disclosed"] == true);
    row["rerunnable_until"] = json!(until);
    if let Some(until) = until.filter(|_| row["badge"] == RERUNNABLE) {
        row["badge"] = json!(format!("{RERUNNABLE} until {}", day_of(until)));
    }
}

/// The receipts that the node of a folder keeps, and for how long; it touches no others.
struct Keeping {
    folder: PathBuf,
    retention: Retention,
}

impl Keeping {
    /// None if no node runs there, for then nothing is erased.
    fn of(data_dir: &Path) -> Option<Self> {
        let folder = data_dir.join("receipts").canonicalize().ok()?;
        let said = Client::of(data_dir).ok()?.get("/settings").ok()?;
        let days = |key: &str| said["retention"][key].as_u64().and_then(|days| u32::try_from(days).ok());
        Some(Self { folder, retention: Retention { receipts: days("receipts_days"), prompts: days("prompts_days") } })
    }

    fn until(&self, file: &Path) -> Option<u64> {
        let is_there = file.canonicalize().is_ok_and(|file| file.starts_with(&self.folder));
        let written = std::fs::metadata(file).ok().filter(|_| is_there)?.mtime();
        self.retention.until(u64::try_from(written).ok()?)
    }
}

pub(super) fn run(command: ReceiptCommand, data_dir: &Path, show: &Show) -> Result<ExitCode> {
    match command {
        ReceiptCommand::Show { files } => {
            let keeping = Keeping::of(data_dir);
            let row = |file: &PathBuf| {
                let mut row = describe(file, &read(file)?, None);
                until(&mut row, keeping.as_ref().and_then(|keeping| keeping.until(file)));
                Ok(row)
            };
            let rows = files.iter().map(row).collect::<Result<Vec<Value>>>()?;
            show.value(&json!({"receipts": rows}));
            Ok(ExitCode::SUCCESS)
        }
        ReceiptCommand::Verify { files, rerun, scalar, model } => {
            verify(&files, rerun || scalar, scalar, model.as_deref(), data_dir, show)
        }
        ReceiptCommand::Strip { file, to } => {
            // Also by another name or a hard link.
            let inode = |path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
            let same = inode(&file).is_some_and(|id| inode(&to) == Some(id));
            let hint = "name another file: the disclosure would be gone for good";
            ensure!(!same, Failure::new(RefusalCode::Malformed, "the stripped copy would replace the receipt", hint));
            std::fs::write(&to, read(&file)?.stripped().to_bytes())
                .with_context(|| format!("cannot write {}", to.display()))?;
            show.value(&json!({"written": to}));
            Ok(ExitCode::SUCCESS)
        }
        ReceiptCommand::Disclose { file } => disclose(&file, data_dir, show),
    }
}

fn verify(
    files: &[PathBuf],
    rerun: bool,
    scalar: bool,
    model: Option<&Path>,
    data_dir: &Path,
    show: &Show,
) -> Result<ExitCode> {
    let (mut rows, mut wrong, mut engines, keeping) =
        (Vec::new(), 0, Engines::new(model, data_dir), Keeping::of(data_dir));
    for file in files {
        let kept = read(file);
        let checked = kept.as_ref().map_err(|e| format!("{e:#}")).and_then(|k| signed(k).map_err(|e| e.to_string()));
        let is_float = checked.as_ref().is_ok_and(|facts| facts.tier == Tier::Float);
        ensure!(!(rerun && is_float), no_rerun(file));
        let checked = checked.and_then(|facts| match &facts.rerun {
            // Whoever computes the answer again needs nobody's word, nor the client's accusation.
            Some(run) if rerun => {
                let answer = engines.again(run, facts.program, scalar);
                let against = if facts.stands() { "" } else { "; the accusation against its worker is true" };
                answer.map_err(|e| format!("{e:#}{against}")).map(|()| facts)
            }
            None if rerun => Err("it discloses no prompt, so the answer cannot be computed again".into()),
            _ => stands(&facts).map_err(|e| e.to_string()).map(|()| facts),
        });
        match (&checked, &kept) {
            (Ok(facts), Ok(kept)) => {
                let mut row = describe(file, kept, Some((facts, rerun)));
                until(&mut row, keeping.as_ref().and_then(|keeping| keeping.until(file)));
                rows.push(row);
            }
            (Err(why), _) => {
                wrong += 1;
                rows.push(json!({"file": file, "holds": false, "why": why}));
            }
            (Ok(_), Err(_)) => unreachable!("an unread receipt is not checked"),
        }
    }
    if show.json() {
        show.value(&json!({"receipts": rows, "false": wrong}));
    } else {
        for row in rows.iter().filter(|r| r["holds"] == json!(false) || files.len() <= 8) {
            show.value(row);
            super::print("");
        }
        say(&format!("{} of {} receipts hold", files.len() - wrong, files.len()));
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(FALSE) })
}

/// What a receipt says, and whether it holds, without a model.
pub(crate) fn check_one(file: &Path) -> Value {
    let refuted = |why: anyhow::Error| json!({"holds": false, "why": format!("{why:#}"), "checks": []});
    let kept = match read(file) {
        Ok(kept) => kept,
        Err(why) => return refuted(why),
    };
    let checked = check(&kept);
    let mut value =
        checked.as_ref().map_or_else(|_| describe(file, &kept, None), |f| describe(file, &kept, Some((f, false))));
    if let Err(why) = checked {
        value["holds"] = json!(false);
        value["why"] = json!(format!("{why:#}"));
    }
    value["checks"] = Part::ALL.iter().map(|part| checked_part(&kept, *part)).chain([checked_end(&kept)]).collect();
    value
}

/// One part of a receipt, for people.
fn checked_part(kept: &Kept, part: Part) -> Value {
    let (check, what) = match part {
        Part::Order => ("order", "the client signed the order, and the channel that pays is its own"),
        Part::Chunks => {
            ("chunks", "for every chunk the worker signed a receipt and the client a voucher, and they add up")
        }
        Part::End => ("end", "the last receipt ends the answer, which is no longer than was ordered"),
        Part::Disclosure => ("disclosure", "prompt and answer are those that were signed"),
        Part::Reruns => ("reruns", "whoever ran it again was drawn, signed, and is somebody else"),
    };
    let none = match part {
        Part::Disclosure => kept.disclosure.is_none().then_some("it is stripped: nothing is disclosed"),
        Part::Reruns => (kept.reruns.is_empty() && kept.lies.is_empty()).then_some("nobody else ran it again"),
        Part::Order | Part::Chunks | Part::End => None,
    };
    let found = verify_part(kept, part);
    let holds = none.is_none().then_some(found.is_ok());
    json!({"check": check, "what": what, "holds": holds, "why": none.map(str::to_owned).or(found.err().map(|e| e.to_string()))})
}

/// Whether the record speaks for its worker, if its parts hold.
fn checked_end(kept: &Kept) -> Value {
    let found = signed(kept).and_then(|facts| stands(&facts));
    let why = found.as_ref().err().map(|why| format!("{why:#}"));
    json!({"check": "stands", "what": "nobody who ran it again found another answer", "holds": found.is_ok(), "why": why})
}

fn no_rerun(file: &Path) -> Failure {
    let message = format!("{} is of the {NOT_CHECKED}", file.display());
    Failure::new(RefusalCode::UnsupportedParameter, message, "leave --rerun out: signatures, roots and sums still hold")
}

/// Everything that needs no model; evidence against a worker does not hold as a receipt.
pub(crate) fn check(kept: &Kept) -> Result<Facts> {
    let facts = signed(kept)?;
    stands(&facts)?;
    Ok(facts)
}

/// Signatures, roots and sums, whoever the record is for.
fn signed(kept: &Kept) -> Result<Facts> {
    verify_kept(kept).map_err(|why| match why {
        VerifyError::Record(why) => anyhow!("a record in it breaks the format ({why})"),
        why => why.into(),
    })
}

fn stands(facts: &Facts) -> Result<()> {
    let own = if facts.own_rerun == Some(false) { ", and so says its client's own engine" } else { "" };
    ensure!(
        facts.stands(),
        "it is evidence against its worker: {} re-runs found another answer{own}; --rerun tells who is right",
        facts.refuted
    );
    Ok(())
}

fn describe(file: &Path, kept: &Kept, facts: Option<(&Facts, bool)>) -> Value {
    let last = kept.links.last().map(|l| &l.receipt.body);
    let mut value = json!({
        "file": file,
        "model_root": kept.request.body.program.to_string(),
        "tier": last.map(|r| r.tier.name()),
        "kind": if kept.request.body.kind == Kind::Embed { "embed" } else { "generate" },
        "worker": kept.request.body.worker.to_string(),
        "units": last.map(|r| r.units),
        "finish": last.and_then(|r| r.finish.openai()),
        "chunks": kept.digests.len(),
        "trace_root": last.map(|r| r.trace_root.to_string()),
        "receipt": last.map(|r| r.id().to_string()),
        "disclosed": kept.disclosure.is_some(),
        // For finding one's way; nobody signed it.
        "unsigned": {"network": kept.network, "step": kept.step},
    });
    if let Some((facts, rerun)) = facts {
        value["holds"] = json!(true);
        value["accused_verifiers"] = json!(facts.lies);
        value["client"] = json!(facts.client.to_string());
        value["voucher"] = json!(facts.paid.to_string());
        value["badge"] = json!(match (rerun, facts.matched) {
            _ if facts.tier == Tier::Float => NOT_CHECKED.to_owned(),
            (true, _) if !facts.stands() => "re-run here: matched; its client's accusation is false".to_owned(),
            (true, _) => "re-run here: matched".to_owned(),
            (false, 0) if kept.disclosure.is_none() => "stripped: the answer is not disclosed".to_owned(),
            (false, 0) => RERUNNABLE.to_owned(),
            (false, n) => format!("re-run matched ({n})"),
        });
    }
    value
}

fn disclose(file: &Path, data_dir: &Path, show: &Show) -> Result<ExitCode> {
    let kept = read(file)?;
    check(&kept)?;
    let Some(open) = &kept.disclosure else {
        let message = format!("{} discloses nothing: it was stripped", file.display());
        return Err(Failure::new(RefusalCode::Other, message, "ask for the whole receipt").into());
    };
    let program = kept.request.body.program;
    if kept.request.body.kind == Kind::Embed {
        let vector: Vec<f32> = open.output.iter().map(|word| real(word.cast_signed())).collect();
        show.value(&json!({"prompt_tokens": open.prompt, "vector": vector}));
        return Ok(ExitCode::SUCCESS);
    }
    let is_float = kept.links.iter().any(|link| link.receipt.body.tier == Tier::Float);
    let vocabulary = match is_float {
        true => foreign::vocabulary(data_dir, &program).map_err(Failure::from)?,
        false => Vocabulary::open(&find_model(program, data_dir)?)?,
    };
    show.value(&json!({
        "prompt": vocabulary.decode(&open.prompt),
        "answer": vocabulary.decode(&open.output),
        "prompt_tokens": open.prompt,
        "answer_tokens": open.output,
    }));
    Ok(ExitCode::SUCCESS)
}
