//! Our engine and llama.cpp on the same files, threads and tokens, in turns.

use super::peer::{Peer, RELEASE, output};
use crate::cargo;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rounds if none are asked for; each runs our engine, then llama.cpp, for every number of threads.
const ROUNDS: usize = 5;
const THREADS: [&str; 2] = ["1", "2"];
/// Rounds of what takes long.
const ROUNDS_OF_MORE: usize = 1;
/// Tokens of the text that are scored, in contexts of 512.
const SCORED: &str = "5120";
const CONTEXT: &str = "512";
/// Tokens of the greedy answers.
const ANSWER: &str = "64";
const PROMPT: &str =
    "<|im_start|>user\nWhy do neighbours help one another with the harvest?<|im_end|>\n<|im_start|>assistant\n";

/// What `compare` or `speed`, then `more`, prints: key, name, divisor, digits after the point.
const MEASURES: [(&str, &str, f64, usize); 7] = [
    ("prefill_tps", "prefill of 512 tokens, tokens/s", 1.0, 0),
    ("decode_tps", "decode of 128 tokens, tokens/s", 1.0, 0),
    ("first_token_seconds", "start to first token, s (less is better)", 1.0, 3),
    ("peak_kib", "peak memory, MiB (less is better)", 1024.0, 0),
    ("long_tps", "decode of 128 after 4,000 tokens, tokens/s", 1.0, 0),
    ("streams8_tps", "decode of 8 streams together, tokens/s", 1.0, 0),
    ("streams32_tps", "decode of 32 streams together, tokens/s", 1.0, 0),
];

/// Lines of `key value` that a program printed.
pub(super) type Lines = BTreeMap<String, String>;

/// `[--model FILE] [--rounds N]`; without a file, the usual model and what llama.cpp makes of it.
pub(super) fn run(args: &[&str]) -> Result<()> {
    let (mut file, mut rounds) = (None, ROUNDS);
    for pair in args.chunks(2) {
        match pair {
            ["--model", path] => file = Some(PathBuf::from(path)),
            ["--rounds", n] => rounds = n.parse::<usize>().context("--rounds takes a number")?.max(1),
            _ => bail!("usage: cargo xtask bench llama [--model FILE] [--rounds N]"),
        }
    }
    let peer = match Peer::prepare() {
        Ok(peer) => peer,
        Err(why) => {
            println!("bench llama: SKIPPED, {why:#}");
            return Ok(());
        }
    };
    let bench = Bench::new(peer, rounds)?;
    match file {
        Some(file) => bench.table(&file),
        None => {
            let model = super::model()?;
            bench.table(&model)?;
            // On x86-64 llama.cpp repacks Q4_0 for its fastest kernels, but neither Q4_1 nor Q8_0.
            for kind in ["q8_0", "q4_0"] {
                bench.table(&bench.quantized(&model, kind)?)?;
            }
            Ok(())
        }
    }
}

struct Bench {
    peer: Peer,
    ours: String,
    theirs: String,
    rounds: usize,
}

/// All figures of one measure, ours and theirs.
type Figures = [Vec<f64>; 2];

impl Bench {
    fn new(peer: Peer, rounds: usize) -> Result<Self> {
        cargo(&["build", "--release", "--quiet", "-p", "talkoo-engine", "--example", "bench"])?;
        let target = crate::target();
        let ours = Path::new(&target).join("release/examples/bench").to_string_lossy().into_owned();
        let theirs = peer.program.to_string_lossy().into_owned();
        Ok(Self { peer, ours, theirs, rounds })
    }

    /// A file of another format, made once by llama.cpp from the numbers in `model`.
    fn quantized(&self, model: &Path, kind: &str) -> Result<PathBuf> {
        let stem = model.file_stem().unwrap_or_default().to_string_lossy();
        let path = self.peer.dir.join(format!("{stem}-as-{kind}.gguf"));
        if !path.exists() {
            let part = path.with_extension("part");
            output(&self.theirs, &["quantize", &model.to_string_lossy(), &part.to_string_lossy(), kind])?;
            std::fs::rename(&part, &path)?;
        }
        Ok(path)
    }

    /// Runs all rounds on one file and prints the table.
    fn table(&self, model: &Path) -> Result<()> {
        let name = model.file_name().unwrap_or_default().to_string_lossy();
        let file = model.to_string_lossy();
        let image = self.peer.dir.join(format!("{name}.image"));
        let image = image.to_string_lossy();
        // The first run of each warms the page cache, and shows whether it takes the file.
        let (ours, theirs) = match (ask(&self.ours, &[&file, "compare", "1"]), self.run_theirs(&file, "speed", "1")) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (Err(why), _) => return refused(&name, "our engine", &why),
            (_, Err(why)) => return refused(&name, "llama.cpp", &why),
        };
        println!("\n{name}: llama.cpp {RELEASE} on {}, ours on {}", need(&theirs, "backend")?, need(&ours, "kernel")?);
        println!("llama.cpp says {}", need(&theirs, "system")?);
        println!(
            "our very first start takes {} s to the first token; later ones map the image that it leaves",
            need(&ours, "first_token_seconds")?
        );
        println!("medians of {} rounds, in brackets the least and the most", self.rounds);
        println!("{:54}{:>22}{:>22}{:>8}", "", "ours", "llama.cpp", "ratio");
        output(&self.ours, &[&file, "image", &image])?;
        let before = Cpu::now()?;
        let figures = self.rounds(&file, &image)?;
        let busy = Cpu::now()?.others_percent(&before);
        for ((threads, measure), [ours, theirs]) in &figures {
            let (_, what, divisor, digits) = MEASURES[*measure];
            let what = format!("{what}, {threads} thread{}", if *threads == "1" { "" } else { "s" });
            let (a, b) = (Spread::of(ours, divisor), Spread::of(theirs, divisor));
            println!("{what:54}{:>22}{:>22}{:>8.2}", a.show(digits), b.show(digits), a.median / b.median);
        }
        self.quality(&file)?;
        println!("other processes used {busy:.0} % of this machine's CPU time during the rounds");
        Ok(())
    }

    /// The figures by number of threads and measure.
    fn rounds(&self, model: &str, image: &str) -> Result<BTreeMap<(&'static str, usize), Figures>> {
        let mut figures: BTreeMap<_, Figures> = BTreeMap::new();
        for (round, threads) in (0..self.rounds).flat_map(|round| THREADS.map(|threads| (round, threads))) {
            let ours = |mode| ask(&self.ours, &[model, mode, threads, "--image", image]);
            let mut sides = [ours("compare")?, self.run_theirs(model, "speed", threads)?];
            if round < ROUNDS_OF_MORE {
                sides[0].extend(ours("more")?);
                sides[1].extend(self.run_theirs(model, "more", threads)?);
            }
            for (measure, (key, ..)) in MEASURES.iter().enumerate() {
                for (side, lines) in sides.iter().enumerate().filter(|(_, lines)| lines.contains_key(*key)) {
                    figures.entry((threads, measure)).or_default()[side].push(number(lines, key)?);
                }
            }
        }
        Ok(figures)
    }

    fn run_theirs(&self, model: &str, mode: &str, threads: &str) -> Result<Lines> {
        ask(&self.theirs, &[mode, model, threads])
    }

    /// What the numbers are worth: perplexity, and how long greedy answers stay the same.
    fn quality(&self, model: &str) -> Result<()> {
        let ids = self.ids(model, &self.peer.text()?, SCORED)?;
        let ours = ask(&self.ours, &[model, "perplexity", &ids, CONTEXT])?;
        let theirs = ask(&self.theirs, &["perplexity", model, &ids, CONTEXT, "2"])?;
        let what = format!("perplexity, {} tokens in contexts of {CONTEXT}", need(&theirs, "scored")?);
        let (a, b) = (number(&ours, "perplexity")?, number(&theirs, "perplexity")?);
        println!("{what:54}{a:>22.4}{b:>22.4}{:>8.4}", a / b);

        let prompt = self.peer.dir.join("prompt.txt");
        std::fs::write(&prompt, PROMPT)?;
        let ids = self.ids(model, &prompt, CONTEXT)?;
        let ours = ask(&self.ours, &[model, "greedy", &ids, ANSWER])?;
        let theirs = ask(&self.theirs, &["greedy", model, &ids, ANSWER, "2"])?;
        let (ours, theirs) = (need(&ours, "tokens")?, need(&theirs, "tokens")?);
        let equal = ours.split(' ').zip(theirs.split(' ')).take_while(|(a, b)| a == b).count();
        println!("greedy tokens equal: {equal} of {ANSWER}, up to the first that differs");
        Ok(())
    }

    /// A file of at most `max` token ids of `text`, by llama.cpp's tokenizer.
    fn ids(&self, model: &str, text: &Path, max: &str) -> Result<String> {
        let ids = text.with_extension("i32le").to_string_lossy().into_owned();
        output(&self.theirs, &["tokenize", model, &text.to_string_lossy(), &ids, max])?;
        Ok(ids)
    }
}

fn refused(model: &str, who: &str, why: &anyhow::Error) -> Result<()> {
    println!("\n{model}: no row, {who} refuses the file: {why:#}");
    Ok(())
}

pub(super) fn ask(program: &str, args: &[&str]) -> Result<Lines> {
    let said = output(program, args)?;
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
    Ok(said.lines().filter_map(pair).collect())
}

fn need<'a>(lines: &'a Lines, key: &str) -> Result<&'a str> {
    lines.get(key).map(String::as_str).with_context(|| format!("no line `{key}`"))
}

pub(super) fn number(lines: &Lines, key: &str) -> Result<f64> {
    need(lines, key)?.parse().with_context(|| format!("`{key}` is not a number"))
}

pub(super) struct Spread {
    least: f64,
    pub(super) median: f64,
    most: f64,
}

impl Spread {
    /// Of at least one value.
    pub(super) fn of(values: &[f64], divisor: f64) -> Self {
        let mut values: Vec<f64> = values.iter().map(|v| v / divisor).collect();
        values.sort_by(f64::total_cmp);
        Self { least: values[0], median: values[values.len() / 2], most: values[values.len() - 1] }
    }

    pub(super) fn show(&self, digits: usize) -> String {
        format!("{:.digits$} [{:.digits$}–{:.digits$}]", self.median, self.least, self.most)
    }
}

/// CPU time in ticks: of the whole machine, and of the programs that ended under us.
pub(super) struct Cpu {
    all: u64,
    busy: u64,
    ours: u64,
}

impl Cpu {
    pub(super) fn now() -> Result<Self> {
        let numbers = |text: &str| -> Vec<u64> { text.split_whitespace().filter_map(|n| n.parse().ok()).collect() };
        // user, nice, system, idle, iowait, irq, softirq, steal; see proc_stat(5).
        let machine = std::fs::read_to_string("/proc/stat")?;
        let ticks = numbers(machine.lines().next().unwrap_or_default());
        let all: u64 = ticks.iter().take(8).sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        // Behind the name: state and then fields 4 and up, of which 16 and 17 are the children's; proc_pid_stat(5).
        let own = std::fs::read_to_string("/proc/self/stat")?;
        let fields = numbers(&own.rsplit(") ").next().unwrap_or_default().replace('-', ""));
        Ok(Self { all, busy: all - idle, ours: fields.iter().skip(12).take(2).sum() })
    }

    pub(super) fn others_percent(&self, before: &Self) -> f64 {
        let others = (self.busy - before.busy).saturating_sub(self.ours - before.ours);
        100.0 * others as f64 / (self.all - before.all).max(1) as f64
    }
}
