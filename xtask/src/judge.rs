//! Outside judges: programs that others wrote, against a real node. Each can be skipped, with a
//! printed reason, never silently.

mod list;
mod mcp;
pub(crate) mod record;

use crate::bench::peer::Peer;
use crate::{cargo, command, target};
use anyhow::{Context, Result, bail, ensure};
use list::JUDGES;
use std::process::Command;

/// The judges of each time, in a process of its own that is told which program to judge.
pub(crate) fn quick(program: &str) -> Result<()> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let status = command(&this.to_string_lossy()).args(["judge", "--quick"]).env("TALKOO_PROGRAM", program).status()?;
    ensure!(status.success(), "a judge said no");
    Ok(())
}

fn lies() -> Outcome {
    let ended = |node: String| match crate::ci::lies(&node) {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed(format!("{why:#}")),
    };
    talkoo().map_or_else(|why| why, ended)
}

enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Runs all judges, those named, or with `--quick` those of CI; `--list` only names them, `--record` keeps what they said for the
/// README.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    if args.contains(&"--record") && args.contains(&"--list") {
        return record::write();
    }
    let mut failed = 0;
    for judge in JUDGES {
        if args.contains(&"--list") {
            println!("{:12} {}", judge.name, judge.what);
            continue;
        }
        let named = args.iter().any(|a| !a.starts_with("--"));
        if args.contains(&"--quick") && !judge.quick || named && !args.contains(&judge.name) {
            continue;
        }
        let outcome = (judge.run)();
        if args.contains(&"--record") {
            record::keep(judge.name, &outcome)?;
        }
        match outcome {
            Outcome::Passed => println!("judge {}: passed — {}", judge.name, judge.what),
            Outcome::Skipped(why) => println!("judge {}: SKIPPED, {why}", judge.name),
            Outcome::Failed(why) => {
                failed += 1;
                println!("judge {}: FAILED, {why}", judge.name);
            }
        }
    }
    if failed > 0 {
        bail!("{failed} judges said no");
    }
    Ok(())
}

fn vocabularies() -> Outcome {
    let peer = match Peer::prepare() {
        Ok(peer) => peer,
        Err(why) => return Outcome::Skipped(format!("llama.cpp is not here: {why:#}")),
    };
    let tree = peer.dir.join("headers");
    let tree_name = tree.to_string_lossy();
    let checkout = ["git", "-C", &tree_name, "checkout", "--quiet", "HEAD", "--", "models"];
    script("python3", &checkout, &["xtask/judges/vocabularies.py", &tree.join("models").to_string_lossy()])
}

fn script(program: &str, setup: &[&str], args: &[&str]) -> Outcome {
    let (setup_program, setup_args) = setup.split_first().map_or(("true", &[][..]), |(p, a)| (*p, a));
    match Command::new(setup_program).args(setup_args).output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => return Outcome::Skipped(format!("set-up failed: {}", last_line(&done.stderr))),
        Err(why) => return Outcome::Skipped(format!("{setup_program} is not here: {why}")),
    }
    match command(program).args(args).output() {
        Ok(done) if done.status.success() => Outcome::Passed,
        Ok(done) => Outcome::Failed(format!("{}{}", last_line(&done.stdout), last_line(&done.stderr))),
        Err(why) => Outcome::Skipped(format!("{program} is not here: {why}")),
    }
}

/// The node to be judged, as it is released, or the program that `TALKOO_PROGRAM` names.
fn talkoo() -> Result<String, Outcome> {
    if let Ok(program) = std::env::var("TALKOO_PROGRAM") {
        return Ok(program);
    }
    match cargo(&["build", "--quiet", "--release", "-p", "talkoo"]) {
        Ok(()) => Ok(format!("{}/release/talkoo", target())),
        Err(why) => Err(Outcome::Failed(format!("{why:#}"))),
    }
}

/// A script whose words are the point, so they are shown; 77 says that it cannot be run here, its words say why.
fn python(args: &[&str]) -> Outcome {
    shown("python3", args)
}

fn shown(program: &str, args: &[&str]) -> Outcome {
    match command(program).args(args).status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) if status.code() == Some(77) => Outcome::Skipped("see above".into()),
        Ok(status) => Outcome::Failed(format!("{program} ended with {status}")),
        Err(why) => Outcome::Skipped(format!("{program} is not here: {why}")),
    }
}

fn last_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default().to_owned()
}

fn eip712() -> Outcome {
    let npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", "target/judge", "ethers@6.17.0"];
    script("node", &npm, &["xtask/judges/eip712.mjs", "target/judge"])
}

fn x402() -> Outcome {
    let npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", "target/judge"];
    let packages = ["viem@2.57.20", "@x402/evm@2.27.0", "@foundry-rs/anvil-linux-amd64@1.7.1"];
    script("node", &[&npm[..], &packages].concat(), &["xtask/judges/x402.mjs", "target/judge"])
}

fn x402pay() -> Outcome {
    let node = match talkoo() {
        Ok(node) => node,
        Err(why) => return why,
    };
    let npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", "target/judge/x402pay"];
    let packages = ["viem@2.57.20", "@x402/fetch@2.27.0", "@x402/evm@2.27.0", "@foundry-rs/anvil-linux-amd64@1.7.1"];
    if let Outcome::Skipped(why) = script("true", &[&npm[..], &packages].concat(), &[]) {
        return Outcome::Skipped(why);
    }
    let folder = "target/judge/x402pay/py";
    let pip =
        format!("python3 -m venv {folder} && {folder}/bin/pip install --quiet 'x402[evm,requests]==2.25.0' >/dev/null");
    let python = match script("true", &["sh", "-c", &pip], &[]) {
        Outcome::Skipped(_) => "-".to_owned(),
        _ => format!("{folder}/bin/python"),
    };
    shown("node", &["xtask/judges/x402pay.mjs", &node, "target/judge/x402pay", &python])
}

fn ethereum() -> Outcome {
    let node = match talkoo() {
        Ok(node) => node,
        Err(why) => return why,
    };
    let folder = "xtask/judges/ethereum";
    let npm = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", folder];
    // Their packages do not agree on versions.
    let [web3, eels] = ["web3==8.0.0", "ethereum-execution==2.20.0"].map(|package| {
        let folder = format!("target/judge/{}", package.split('=').next().unwrap_or_default());
        (
            format!("python3 -m venv {folder} && {folder}/bin/pip install --quiet {package}"),
            format!("{folder}/bin/python"),
        )
    });
    for setup in [&["sh", "-c", &web3.0][..], &["sh", "-c", &eels.0], &npm] {
        if let Outcome::Skipped(why) = script("true", setup, &[]) {
            return Outcome::Skipped(why);
        }
    }
    let judge = format!("{folder}/judge.mjs");
    // Its tables are the point, so they are shown.
    match Command::new("node").args([judge, node, web3.1, eels.1]).status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("node ended with {status}")),
        Err(why) => Outcome::Skipped(format!("node is not here: {why}")),
    }
}

/// Runs a script with the path of our program.
fn processes(script: &str) -> Outcome {
    match talkoo() {
        Ok(node) => python(&[&format!("xtask/judges/{script}"), &node]),
        Err(why) => why,
    }
}

fn outside() -> Outcome {
    let node = match talkoo() {
        Ok(node) => node,
        Err(why) => return why,
    };
    let npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", "target/judge"];
    let setup = [&npm[..], &["@foundry-rs/anvil-linux-amd64@1.7.1"]].concat();
    let anvil = "target/judge/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
    script("python3", &setup, &["xtask/judges/outside.py", &node, anvil])
}

fn ipfs(kind: &str) -> Outcome {
    match crate::bench::bitswap::prepare() {
        Ok(arguments) => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            script("python3", &[], &[&["xtask/judges/ipfs/judge.py", kind], &arguments[..]].concat())
        }
        Err(why) => Outcome::Skipped(format!("set-up failed: {why:#}")),
    }
}

fn kubo_dht() -> Outcome {
    let node = match talkoo() {
        Ok(node) => node,
        Err(why) => return why,
    };
    match crate::bench::bitswap::prepare() {
        Ok(peers) => script("python3", &[], &["xtask/judges/ipfs/dht.py", &node, &peers[1]]),
        Err(why) => Outcome::Skipped(format!("set-up failed: {why:#}")),
    }
}

/// The protocols of inference.
fn inference(which: &str) -> Outcome {
    installs("xtask/judges/inference/judge.py", which)
}

fn dashboard() -> Outcome {
    let node = match talkoo() {
        Ok(node) => node,
        Err(why) => return why,
    };
    let folder = "target/judge/dashboard";
    let npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder];
    let tools = ["playwright-core@1.65.1", "axe-core@4.14.1", "typescript@5.9.3"];
    // Their types, of the versions that `web/vendor/vendor.lock` names.
    let vendored = ["preact@11.2.0", "htm@3.1.1", "@preact/signals@2.11.4"];
    if let Outcome::Skipped(why) = script("true", &[&npm[..], &tools, &vendored].concat(), &[]) {
        return Outcome::Skipped(why);
    }
    match shown(&format!("{folder}/node_modules/.bin/tsc"), &["-p", "web/tsconfig.json"]) {
        Outcome::Passed => {}
        no => return no,
    }
    shown("node", &["xtask/judges/dashboard.mjs", &node, folder, &format!("{folder}/pictures")])
}

fn gateway(which: &str) -> Outcome {
    installs("xtask/judges/gateway/judge.py", which)
}

/// A script with several judges, which installs what each needs.
fn installs(script: &str, which: &str) -> Outcome {
    match talkoo() {
        Ok(node) => python(&[script, which, &node, &format!("target/judge/{which}")]),
        Err(why) => why,
    }
}

fn cids() -> Outcome {
    if let Err(why) = cargo(&["build", "--quiet", "--release", "-p", "talkoo-disk", "--example", "roots"]) {
        return Outcome::Failed(format!("{why:#}"));
    }
    let npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", "target/judge/cids"];
    let packages =
        ["ipfs-unixfs-importer@17.1.1", "ipfs-unixfs-exporter@16.2.2", "blockstore-core@7.0.1", "@ipld/car@5.4.7"];
    let ours = format!("{}/release/examples/roots", target());
    script("node", &[&npm[..], &packages].concat(), &["xtask/judges/cids.mjs", "target/judge/cids", &ours])
}

/// A judge that needs the `tokenizers` package and reads GGUF.
fn tokens(judge: &str) -> Outcome {
    let packages = ["tokenizers==0.22.1", "gguf==0.17.1"];
    let pip = ["python3", "-m", "pip", "install", "--quiet", "--target", "target/judge/py"];
    script("python3", &[&pip[..], &packages].concat(), &[judge, "target/judge/py"])
}

fn families() -> Outcome {
    let peer = match Peer::prepare() {
        Ok(peer) => peer,
        Err(why) => return Outcome::Skipped(format!("llama.cpp is not here: {why:#}")),
    };
    let pip = ["python3", "-m", "pip", "install", "--quiet", "--target", "target/judge/py", "gguf==0.17.1"];
    let (program, folder) = (peer.program.to_string_lossy(), peer.dir.join("families"));
    script("python3", &pip, &["xtask/judges/families.py", "target/judge/py", &program, &folder.to_string_lossy()])
}
