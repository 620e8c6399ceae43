//! `talkoo demo`: strangers' machines answer a batch, a liar is caught, a dead node is survived.
//!
//! Five real node processes on loopback, each with its own folder and keys. This process only
//! starts, watches and kills them; what it prints of verdicts comes from the client node's events.
//! Who lies and who dies is drawn from a seed that the client node does not know. Lying lives in
//! [`liar`], reachable only through the hidden command `demo-node`.

mod balance;
mod child;
mod liar;
mod prompts;
mod reference;
mod story;
mod table;

pub(crate) use liar::Lie;
pub(crate) use reference::run as reference;

use crate::cli::{DemoArgs, DemoNodeArgs};
use crate::commands::{Show, config_of, say, serve};
use anyhow::{Context, Result, bail, ensure};
use child::{Child, spawn};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use story::Story;
use talkoo_base::sha256;

/// Nodes of the demo, the client included.
const NODES: usize = 5;
/// Name of the catalogue's model.
const MODEL: &str = "smollm2-135m-instruct";
/// Exit code if a false answer was accepted.
const FALSE_ANSWER: u8 = 6;

/// Who plays which part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    pub(crate) liar: Option<usize>,
    pub(crate) victim: usize,
}

impl Cast {
    /// Draws liar and victim among the workers 1 to 4.
    fn draw(seed: u64, lie: Lie) -> Self {
        let workers = NODES as u64 - 1;
        let draw = sha256(&[b"talkoo demo", &seed.to_be_bytes()]).first_u64();
        let liar = draw % workers;
        let victim = (liar + 1 + (draw >> 32) % (workers - 1)) % workers;
        let number = |n: u64| usize::try_from(n + 1).expect("at most 4");
        Self { liar: (lie != Lie::None).then(|| number(liar)), victim: number(victim) }
    }
}

/// A node of the demo that may lie.
pub(crate) fn node(args: DemoNodeArgs, data_dir: PathBuf) -> Result<()> {
    let rim = liar::rim(args.lie, args.confession);
    serve(config_of(args.up, data_dir)?, rim, &Show::for_programs())
}

/// Plays the demo. Exit code 0 only if everything it promises held.
pub(crate) fn run(args: &DemoArgs, show: &Show) -> Result<ExitCode> {
    let start = Instant::now();
    let folder = Folder::new(args.keep.as_deref())?;
    let seed = args.seed.map_or_else(random, Ok)?;
    let cast = Cast::draw(seed, args.liar);
    let file = prompts::first(args.prompts);
    let batch = folder.path().join("batch.jsonl");
    std::fs::write(&batch, &file)?;
    say(&format!("seed {seed} — five nodes on this machine, each with its own folder and keys"));
    let stage = Stage { folder: &folder, cast, lie: args.liar };
    let mut nodes = stage.start()?;
    let ready = start.elapsed();
    let mut story = Story::new(cast, &nodes);
    let job = story.play(&mut nodes, &file, if args.no_audits { "none" } else { "drawn" })?;
    let client = nodes[0].client()?;
    let output = client.get(&format!("/jobs/{job}/output"))?["output"].as_str().unwrap_or_default().to_owned();
    let status = client.get(&format!("/jobs/{job}"))?;
    let accounts = client.get("/accounts")?;
    let results = folder.path().join("results.jsonl");
    std::fs::write(&results, &output)?;
    // While the window runs, answers and receipts are checked.
    let revive = stage.worker(cast.victim, &nodes[0])?;
    let claimed = balance::claim(&mut nodes, cast, &revive)?;
    let equal = is_what_one_honest_node_says(&folder, &nodes[0], &batch, &output)?;
    let receipts = check_receipts(&nodes[0], &job, &status)?;
    let rows = table::rows(&story, &nodes, &status, &accounts);
    let sheet = balance::pay_out(&nodes, cast, claimed, story.is_judged())?;
    let proved = balance::proved(&nodes[0], &job)?;
    nodes.iter_mut().rev().for_each(Child::stop);
    let delivered = liar::confessed(&folder.path().join("confession"));
    say(&format!("ready in {:.1} s, all in {:.1} s", ready.as_secs_f64(), start.elapsed().as_secs_f64()));
    if show.json() {
        let story = story.json();
        let (equal, sheet) = (json!(equal), sheet.json());
        show.value(
            &json!({"seed": seed, "rows": rows, "equal": equal, "receipts": receipts, "story": story, "sheet": sheet}),
        );
    } else {
        table::print(&rows);
        sheet.tell();
    }
    let lost = sheet.lost.saturating_to();
    let proofs = Proofs { equal, receipts, delivered, sums: sheet.sums(), proved, lost };
    judge(args, &story, proofs, &folder)
}

/// What was looked at besides the story.
struct Proofs {
    equal: bool,
    receipts: bool,
    delivered: usize,
    sums: bool,
    proved: bool,
    /// What the liar lost.
    lost: u128,
}

/// Whether everything held, as an exit code.
fn judge(args: &DemoArgs, story: &Story, proofs: Proofs, folder: &Folder) -> Result<ExitCode> {
    let Proofs { equal, receipts, delivered, sums, proved, lost } = proofs;
    let lies = args.liar != Lie::None;
    let mut faults: Vec<String> = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    must(story.lost > 0, "no lease was lost, so nothing was survived");
    must(!lies || delivered > 0, "no lie was delivered, so nothing was caught");
    must(story.wrongly_accused == 0, "an honest node was accused");
    must(receipts, "a receipt does not hold");
    must(proved, "no receipt is proved to be paid");
    must(sums, "the balance sheet is not all the money there is");
    if !args.no_audits {
        must(!lies || story.liar_convicted, "the liar was not caught");
        must(!args.liar.can_be_judged() || story.is_judged(), "the liar was not found guilty on chain");
        must(!story.is_judged() || lost > 0, "the liar lost nothing of its pay");
    }
    if !equal {
        say("a false answer was accepted: the results differ from those of one honest node");
    }
    if let Some(kept) = folder.kept() {
        say(&format!("everything is kept in {}", kept.display()));
    }
    for fault in &faults {
        say(&format!("FAILED: {fault}"));
    }
    if !equal {
        return Ok(ExitCode::from(FALSE_ANSWER));
    }
    if !faults.is_empty() {
        return Ok(ExitCode::from(1));
    }
    say("every answer is byte for byte what one honest node says");
    Ok(ExitCode::SUCCESS)
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    // Short enough to type again.
    Ok(u64::from_be_bytes(bytes) % 1_000_000)
}

/// What the nodes are started from.
struct Stage<'a> {
    folder: &'a Folder,
    cast: Cast,
    lie: Lie,
}

impl Stage<'_> {
    fn dir(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("node{number}"))
    }

    fn flags() -> Vec<String> {
        let network = format!("demo-{}", std::process::id());
        ["--network", &network, "--api", "127.0.0.1:0", "--threads", "1", "--pull", MODEL].map(str::to_owned).to_vec()
    }

    /// What a worker is started with; the liar's lie is part of it.
    fn worker(&self, number: usize, client: &Child) -> Result<Vec<String>> {
        let mut args: Vec<String> = Vec::new();
        if self.cast.liar == Some(number) {
            let confession = self.folder.path().join("confession");
            args.extend(["demo-node".into(), "--lie".into(), self.lie.name(), "--confession".into()]);
            args.push(confession.to_string_lossy().into_owned());
        } else {
            args.push("up".into());
        }
        let bootstrap = client.listen.first().context("the client listens nowhere")?;
        let genesis = client.dir.join("chain/genesis.json").to_string_lossy().into_owned();
        args.extend(Self::flags());
        // Every node follows the chain by itself: it executes each block, and believes no server.
        args.extend(["--ledger", "own", "--ledger-rpc", "127.0.0.1:0", "--genesis", &genesis].map(str::to_owned));
        args.extend(["--sources", "peers", "--provide", "--bootstrap", bootstrap].map(str::to_owned));
        Ok(args)
    }

    fn start(&self) -> Result<Vec<Child>> {
        let mut args = vec!["up".to_owned()];
        args.extend(Self::flags());
        let (window, clock) = (balance::WINDOW_S.to_string(), balance::ANSWER_S.to_string());
        args.extend(["--ledger", "own", "--ledger-rpc", "127.0.0.1:0"].map(str::to_owned));
        args.extend(["--challenge-window", &window, "--dispute-clock", &clock].map(str::to_owned));
        let client = spawn(0, &self.dir(0), &args)?;
        say(&format!("node 0 ({}) is the client; it gets the model, and its ledger begins", client.short()));
        client.wait_for_model("here")?;
        let mut nodes = vec![client];
        for number in 1..NODES {
            let args = self.worker(number, &nodes[0])?;
            nodes.push(spawn(number, &self.dir(number), &args)?);
        }
        for node in &nodes[1..] {
            node.wait_for_model("from peers")?;
        }
        nodes[0].wait_for_offers(NODES - 1)?;
        Ok(nodes)
    }
}

/// Runs the batch on one engine in a process that never touches the network, and compares.
fn is_what_one_honest_node_says(folder: &Folder, client: &Child, batch: &Path, output: &str) -> Result<bool> {
    let (model, to) = (client.model_file()?, folder.path().join("reference.jsonl"));
    let status = Command::new(std::env::current_exe()?)
        .args(["demo-reference", "--name", MODEL, "--model"])
        .arg(model)
        .arg("--file")
        .arg(batch)
        .arg("--to")
        .arg(&to)
        .stdin(Stdio::null())
        .status()
        .context("cannot start the reference run")?;
    ensure!(status.success(), "the reference run failed");
    Ok(std::fs::read_to_string(&to)? == output)
}

/// Lets fresh processes verify every receipt, and compute two answers again with the scalar definition.
fn check_receipts(client: &Child, job: &str, status: &serde_json::Value) -> Result<bool> {
    let folder = client.dir.join("receipts").join(job);
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|e| e.path()).collect(),
        Err(why) => bail!("no receipts in {}: {why}", folder.display()),
    };
    files.sort();
    let mut whole = files.len() as u64 >= status["done"].as_u64().unwrap_or(u64::MAX);
    let shortest = shortest_two(&files)?;
    let model = client.model_file()?;
    for (args, files) in [(&[][..], files.as_slice()), (&["--scalar"][..], shortest.as_slice())] {
        let status = Command::new(std::env::current_exe()?)
            .args(["receipt", "verify", "--model"])
            .arg(&model)
            .args(args)
            .args(files)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("cannot start the receipts' check")?;
        whole &= status.success();
    }
    say("two of them were computed again with the scalar definition");
    Ok(whole)
}

/// The two receipts that are cheapest to compute again.
fn shortest_two(files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut sized = Vec::new();
    for file in files {
        let kept = crate::commands::read_receipt(file)?;
        let tokens = kept.disclosure.as_ref().map_or(usize::MAX, |d| d.prompt.len() + d.output.len());
        if crate::commands::check_receipt(&kept).is_ok() {
            sized.push((tokens, file.clone()));
        }
    }
    sized.sort();
    Ok(sized.into_iter().take(2).map(|(_, file)| file).collect())
}

/// The demo's folder; removed at the end unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self> {
        let path = keep.map_or_else(
            || std::env::temp_dir().join(format!("talkoo-demo-{}", std::process::id())),
            Path::to_path_buf,
        );
        ensure!(!path.join("node0").exists(), "{} holds an earlier demo; name another folder", path.display());
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path: std::fs::canonicalize(path)?, keep: keep.is_some() })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn kept(&self) -> Option<&Path> {
        self.keep.then_some(&self.path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            std::fs::remove_dir_all(&self.path).ok();
        }
    }
}
