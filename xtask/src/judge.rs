//! Outside judges: programs that others wrote, against a real node. Each can be skipped, with a
//! printed reason, never silently.

mod mcp;

use crate::bench::peer::Peer;
use crate::cargo;
use anyhow::{Result, bail};
use std::process::Command;

struct Judge {
    name: &'static str,
    what: &'static str,
    /// Whether CI runs it each time.
    quick: bool,
    run: fn() -> Outcome,
}

enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

const NATIVE: &str = "xtask/judges/native.py";
const JUDGES: &[Judge] = &[
    Judge { name: "openapi", what: "the native API", quick: false, run: || installs(NATIVE, "openapi") },
    Judge {
        name: "eip712",
        what: "ethers 6.17 recomputes our digests and recovers our signatures",
        quick: true,
        run: eip712,
    },
    Judge {
        name: "x402",
        what: "the client and the facilitator of @x402/evm 2.27 pay a worker through our contracts, on anvil 1.7",
        quick: true,
        run: x402,
    },
    Judge {
        name: "ethereum",
        what: "viem, ethers, web3.py, cast get the same from a node and from anvil; x402 pays there; @ethereumjs/vm and Ethereum's specification get its roots",
        quick: false,
        run: ethereum,
    },
    Judge {
        name: "outside",
        what: "deploy, order, pay, claim and take back on anvil 1.7 instead of a chain of ours, to the last unit",
        quick: true,
        run: outside,
    },
    Judge {
        name: "validators",
        what: "four validators and a follower as processes: kill -9, partition, full disk, one joins by stake, one votes twice",
        quick: false,
        run: || processes("validators.py"),
    },
    Judge {
        name: "deals",
        what: "a client and four providers as processes: one killed for ever, one without its blocks, a replica mended, the object back, money to the last unit",
        quick: true,
        run: || processes("deals.py"),
    },
    Judge {
        name: "data",
        what: "sealed data sold from node to node as processes: paid, delivered, read, used up, revoked, refunded, inherited, kill -9 of either side",
        quick: false,
        run: || processes("data.py"),
    },
    Judge {
        name: "keepers",
        what: "data sold while its owner is dead, as processes: two of three keepers, one killed, one lying; refunds and income to the last unit",
        quick: false,
        run: || processes("keepers.py"),
    },
    Judge {
        name: "cids",
        what: "ipfs-unixfs-importer 17.1 gives our CIDs of files, folders and symlinks by both profiles of IPIP-499; @ipld/car and ipfs-unixfs-exporter read our CARs",
        quick: false,
        run: cids,
    },
    Judge {
        name: "kubo-rpc",
        what: "kubo-rpc-client 7.1 adds, reads, pins, imports and exports at a node's /api/v0, and gets js's CIDs",
        quick: false,
        run: || gateway("kubo-rpc"),
    },
    Judge {
        name: "verified-fetch",
        what: "@helia/verified-fetch 8.0 and @ipld/car check every block that a node's gateway gives",
        quick: false,
        run: || gateway("verified-fetch"),
    },
    Judge {
        name: "hub",
        what: "huggingface_hub 1.33 and datasets treat a node as a hub: upload, download, resume, revisions",
        quick: false,
        run: || gateway("hub"),
    },
    Judge {
        name: "pins",
        what: "schemathesis 4.32 finds no fault in a node's Pinning Service API",
        quick: false,
        run: || gateway("pins"),
    },
    Judge {
        name: "comply",
        what: "llm-comply 0.5 (chat, Open Responses, Anthropic) and compatcanary 0.2 find a node's inference API as it has to be",
        quick: false,
        run: || inference("comply"),
    },
    Judge {
        name: "clients",
        what: "openai 2 and 3, anthropic, ollama, litellm, instructor, LangChain, LlamaIndex, openai-agents, openai-node, the AI SDK and our own client work with a node",
        quick: false,
        run: || inference("clients"),
    },
    Judge {
        name: "market",
        what: "answers bought through /v1 on a network: the text of at home though the worker is killed in the middle, paid, within a key's budget",
        quick: false,
        run: || processes("inference/market.py"),
    },
    Judge { name: "mcp", what: "MCP's own suite and Python client, on a node", quick: false, run: mcp::run },
    Judge { name: "newcomers", what: "five who know only the README", quick: false, run: || processes("newcomers.py") },
    Judge {
        name: "dashboard",
        what: "Chromium shows every page of the dashboard, light and dark; axe-core 4.14, the console, the keyboard and 300 kB hold, a chat is answered here and bought",
        quick: false,
        run: dashboard,
    },
    Judge {
        name: "nat",
        what: "nodes behind routers of two kinds meet by a relay, punch holes, and say why if they cannot (network namespaces)",
        quick: false,
        run: || processes("netlab/judge.py"),
    },
    Judge {
        name: "vectors",
        what: "a second implementation of docs/EXACT.md, in Python, gives all of docs/vectors.jsonl",
        quick: true,
        run: || script("python3", &[], &["xtask/judges/vectors.py"]),
    },
    Judge {
        name: "kubo",
        what: "kubo 0.22 exchanges files and a sharded directory with us, both ways, and again after coming back empty",
        quick: false,
        run: || ipfs("kubo"),
    },
    Judge {
        name: "kubo-dht",
        what: "kubo 0.22 as the DHT: nodes that know only it find one another's files, and its own",
        quick: false,
        run: kubo_dht,
    },
    Judge { name: "helia", what: "Helia 7.1.15 does the same", quick: false, run: || ipfs("helia") },
    Judge {
        name: "tokenizer",
        what: "the `tokenizers` package gives our token ids on 10,000 lines",
        quick: false,
        run: || tokens("xtask/judges/tokenizer.py"),
    },
    Judge {
        name: "wordpiece",
        what: "the `tokenizers` package gives our token ids of all-MiniLM-L6-v2 on 10,000 lines",
        quick: false,
        run: || tokens("xtask/judges/wordpiece.py"),
    },
    Judge {
        name: "families",
        what: "llama.cpp gives our logits, up to rounding, on a made-up model of every family",
        quick: false,
        run: families,
    },
    Judge {
        name: "vocabularies",
        what: "llama.cpp's own test texts give its token ids, with byte-level BPE and SentencePiece",
        quick: false,
        run: vocabularies,
    },
];

/// Runs all judges, those named, or with `--quick` those of CI; `--list` only names them.
pub(crate) fn run(args: &[&str]) -> Result<()> {
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
        match (judge.run)() {
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
    match Command::new(program).args(args).output() {
        Ok(done) if done.status.success() => Outcome::Passed,
        Ok(done) => Outcome::Failed(format!("{}{}", last_line(&done.stdout), last_line(&done.stderr))),
        Err(why) => Outcome::Skipped(format!("{program} is not here: {why}")),
    }
}

/// The node to be judged, as it is released.
fn talkoo() -> Result<String, Outcome> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    match cargo(&["build", "--quiet", "--release", "-p", "talkoo"]) {
        Ok(()) => Ok(format!("{target}/release/talkoo")),
        Err(why) => Err(Outcome::Failed(format!("{why:#}"))),
    }
}

/// A script whose words are the point, so they are shown; 77 says that it cannot be run here, its words say why.
fn python(args: &[&str]) -> Outcome {
    shown("python3", args)
}

fn shown(program: &str, args: &[&str]) -> Outcome {
    match Command::new(program).args(args).status() {
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
    let setup = [&npm[..], &["playwright-core@1.65.1", "axe-core@4.14.1"]].concat();
    if let Outcome::Skipped(why) = script("true", &setup, &[]) {
        return Outcome::Skipped(why);
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
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    if let Err(why) = cargo(&["build", "--quiet", "--release", "-p", "talkoo-disk", "--example", "roots"]) {
        return Outcome::Failed(format!("{why:#}"));
    }
    let npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", "target/judge/cids"];
    let packages =
        ["ipfs-unixfs-importer@17.1.1", "ipfs-unixfs-exporter@16.2.2", "blockstore-core@7.0.1", "@ipld/car@5.4.7"];
    let ours = format!("{target}/release/examples/roots");
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
