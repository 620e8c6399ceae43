//! What answers of a float engine look like to our exact one: of the same weights, and of others. The thresholds of
//! `Likeness::is_like` (pure/base/src/float.rs) are set by it.

use super::peer::{Peer, output};
use crate::cargo;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Answers of each kind, their tokens, and those of a prompt.
const ANSWERS: usize = 12;
const TOKENS: usize = 320;
const PROMPT: usize = 48;

pub(super) fn run() -> Result<()> {
    let (peer, model) = match Peer::prepare() {
        Ok(peer) => (peer, super::model()?),
        Err(why) => {
            println!("bench float: SKIPPED, {why:#}");
            return Ok(());
        }
    };
    cargo(&["build", "--release", "--quiet", "-p", "talkoo-engine", "--example", "weigh"])?;
    let program = peer.program.to_string_lossy().into_owned();
    let honest = model.to_string_lossy().into_owned();
    let text = peer.text()?.to_string_lossy().into_owned();
    let ids = peer.dir.join("float.i32le").to_string_lossy().into_owned();
    output(&program, &["tokenize", &honest, &text, &ids, &(ANSWERS * PROMPT).to_string()])?;
    let bytes = std::fs::read(&ids)?;
    let requantised = peer.dir.join("float-q4_0.gguf").to_string_lossy().into_owned();
    if !std::path::Path::new(&requantised).exists() {
        output(&program, &["quantize", &honest, &requantised, "q4_0"])?;
    }
    println!(
        "{ANSWERS} answers of {TOKENS} tokens of llama.cpp, weighed by the exact engine with the weights of {honest}"
    );
    println!("{:44} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "matched", "gap", "outside", "mean z", "least z");
    for (who, file) in [("the same weights", &honest), ("the same, in 4 bits again (Q4_0)", &requantised)] {
        for (asked, milli, drawn) in [
            ("greedy", 0, 0),
            ("temperature 1", 1_000, 1_000),
            ("temperature 0.7", 700, 700),
            ("temperature 1, drawn at 1.2", 1_000, 1_200),
        ] {
            let mut lines = String::new();
            for (n, prompt) in bytes.chunks_exact(4 * PROMPT).enumerate() {
                std::fs::write(&ids, prompt)?;
                let (tokens, milli_drawn) = (TOKENS.to_string(), drawn.to_string());
                let said = output(&program, &["sample", file, &ids, &tokens, &milli_drawn, &n.to_string()])?;
                let answer: Vec<&str> = said.split_whitespace().skip(1).collect();
                let prompt = prompt.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]).to_string());
                let prompt: Vec<String> = prompt.collect();
                writeln!(lines, "{milli} {} {}", prompt.join(","), answer.join(","))?;
            }
            tell(&format!("{who}: {asked}"), &weigh(&honest, &lines)?);
        }
    }
    Ok(())
}

/// What our engine says of each answer.
fn weigh(model: &str, lines: &str) -> Result<Vec<[f64; 7]>> {
    let target = crate::target();
    let program = format!("{target}/release/examples/weigh");
    let mut process =
        Command::new(&program).arg(model).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context(program)?;
    let mut stdin = process.stdin.take().context("a piped stdin")?;
    let lines = lines.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let said = process.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let row = |line: &str| -> Result<[f64; 7]> {
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        numbers.try_into().map_err(|_| anyhow::anyhow!("seven numbers"))
    };
    String::from_utf8(said.stdout)?.lines().map(row).collect()
}

fn tell(name: &str, rows: &[[f64; 7]]) {
    let sum = |at: usize| rows.iter().map(|row| row[at]).sum::<f64>();
    let (tokens, drawn) = (sum(0), sum(3));
    let given = tokens - drawn;
    let share = |part: f64, of: f64| if of > 0.0 { part / of } else { f64::NAN };
    let z: Vec<f64> = rows.iter().filter(|row| row[6] > 0.0).map(|row| row[5] / row[6]).collect();
    let mean = share(z.iter().sum(), z.len() as f64);
    let least = z.iter().copied().fold(f64::NAN, f64::min);
    let gap = share(rows.iter().map(|row| row[2] * (row[0] - row[3])).sum(), given);
    let (matched, outside) = (share(sum(1), given), share(sum(4), drawn));
    println!("{name:44} {matched:8.4} {gap:8.4} {outside:8.4} {mean:8.2} {least:8.2}");
}
