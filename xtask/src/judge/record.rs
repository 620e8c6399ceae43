//! What judges said last, and the README's table of it.

use super::Outcome;
use super::list::JUDGES;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::process::Command;

/// What they said, by name: `{result, why?, date, commit}`.
const KEPT: &str = "docs/judges.json";
const README: &str = "README.md";
const BEGIN: &str = "<!-- judges: `cargo xtask judge --record` writes what is between -->\n";
const END: &str = "<!-- judges end -->";

/// Keeps what a judge said, and writes the table anew.
pub(super) fn keep(name: &str, outcome: &Outcome) -> Result<()> {
    let mut said = said()?;
    let (result, why) = match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Skipped(why) => ("skipped", Some(why)),
        Outcome::Failed(why) => ("FAILED", Some(why)),
    };
    let (date, commit) = (line_of("date", &["-u", "+%F"])?, line_of("git", &["rev-parse", "--short=10", "HEAD"])?);
    said.insert(name.to_owned(), json!({"result": result, "why": why, "date": date, "commit": commit}));
    said.retain(|name, _| JUDGES.iter().any(|judge| judge.name == name));
    std::fs::write(KEPT, serde_json::to_string_pretty(&Value::Object(said))? + "\n")?;
    let readme = std::fs::read_to_string(README)?;
    std::fs::write(README, with_table(&readme, &table()?)?)?;
    Ok(())
}

/// Says what is wrong with the README's table.
pub(crate) fn check(broken: &mut Vec<String>) -> Result<()> {
    let readme = std::fs::read_to_string(README)?;
    if with_table(&readme, &table()?)? != readme {
        broken.push(format!(
            "{README}: the table of judges is not {KEPT}'s; `cargo xtask judge --record --list` writes it"
        ));
    }
    Ok(())
}

/// Writes the table of what was said before.
pub(super) fn write() -> Result<()> {
    let readme = std::fs::read_to_string(README)?;
    Ok(std::fs::write(README, with_table(&readme, &table()?)?)?)
}

fn said() -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(KEPT).with_context(|| format!("cannot read {KEPT}"))?;
    serde_json::from_str(&text).with_context(|| format!("{KEPT} is damaged"))
}

fn line_of(program: &str, args: &[&str]) -> Result<String> {
    let done = Command::new(program).args(args).output().with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}

fn table() -> Result<String> {
    let said = said()?;
    let mut text = "| judge | what it finds | last |\n|---|---|---|\n".to_owned();
    for judge in JUDGES {
        let of = |key: &str| said.get(judge.name).and_then(|said| said[key].as_str()).unwrap_or_default();
        let last = match of("result") {
            "" => "not recorded".to_owned(),
            "skipped" => format!("skipped {}: {}", of("date"), of("why")),
            result => format!("{result} {}", of("date")),
        };
        text.push_str(&format!("| `{}` | {} | {} |\n", judge.name, judge.what, last.replace('|', "/")));
    }
    Ok(text)
}

fn with_table(readme: &str, table: &str) -> Result<String> {
    let missing = || format!("{README} has no place for the table of judges");
    let (before, rest) = readme.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}
