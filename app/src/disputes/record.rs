//! What is kept of a dispute of ours: enough to go on with it after a kill, and to tell people what happened.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use talkoo_base::wire::{Sealed, Typed};
use talkoo_base::{Delegation, Digest, Network, NodeId};
use talkoo_proof::dispute::{Answer, Case};
use tracing::warn;

/// Disputes whose records are kept; beyond it the oldest that is over goes.
const RECORDS_MAX: usize = 1_024;
/// Version of a record.
const VERSION: u16 = 1;

/// One dispute of ours, file `disputes/RECEIPT`: DAG-CBOR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dispute {
    version: u16,
    /// Against whom.
    pub(super) worker: NodeId,
    pub(super) case: Case,
    /// The owner's word that the worker acts for it, as the worker showed it.
    pub(super) delegation: Option<Sealed<Delegation>>,
    /// When it began, in seconds since 1970.
    pub(super) begun: u64,
    /// What the worker answered, in order: our run and these lead to the same question again.
    pub(super) heard: Vec<Answer>,
    /// Whether the worker is not asked by messages any more.
    pub(super) is_silent: bool,
    /// What happened, in words.
    pub(super) story: Vec<Line>,
    pub(super) ending: Option<Ending>,
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Who {
    We,
    Worker,
    Chain,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) who: Who,
    pub(super) text: String,
    /// The transaction, if it was one.
    pub(super) sent: Option<Sent>,
}

/// A transaction of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) hash: String,
    pub(super) block: u64,
    pub(super) gas: u64,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// The worker is guilty since then. `closed`: nothing more is to be taken.
    Guilty { since: u64, slashed: String, refunded: String, seized: String, claimed: Option<[String; 2]>, closed: bool },
    /// There is nothing to convict it of, or we can't; and why.
    Open(String),
}

impl Dispute {
    pub(super) fn new(worker: NodeId, case: Case, delegation: Option<Sealed<Delegation>>, begun: u64) -> Self {
        let (heard, story) = (Vec::new(), Vec::new());
        Self { version: VERSION, worker, case, delegation, begun, heard, is_silent: false, story, ending: None }
    }

    /// Its name: the digest of the receipt.
    pub(super) fn id(&self, network: &Network) -> Digest {
        self.case.receipt.body.digest(network)
    }

    /// The digest of the request: one lease is one fault.
    pub(super) fn lease(&self, network: &Network) -> Digest {
        self.case.request.body.digest(network)
    }

    /// Whether there is nothing more to do.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.ending, None | Some(Ending::Guilty { closed: false, .. }))
    }

    fn gas(&self) -> u64 {
        self.story.iter().filter_map(|line| line.sent.as_ref()).map(|sent| sent.gas).sum()
    }

    /// One line of a list.
    pub(super) fn summary(&self, network: &Network) -> Value {
        let state = match &self.ending {
            None => "open",
            Some(Ending::Guilty { .. }) => "guilty",
            Some(Ending::Open(_)) => "no verdict",
        };
        json!({
            "id": self.id(network).to_string(),
            "node": self.worker.to_string(),
            "job": self.case.request.body.job.to_string(),
            "begun": self.begun,
            "state": state,
            "over": self.is_over(),
            "questions": self.heard.len(),
            "transactions": self.story.iter().filter(|line| line.sent.is_some()).count(),
            "gas": self.gas(),
        })
    }

    /// All of it, in words.
    pub(super) fn detail(&self, network: &Network) -> Value {
        let line = |line: &Line| {
            let who = match line.who {
                Who::We => "we",
                Who::Worker => "worker",
                Who::Chain => "chain",
            };
            let mut value = json!({"at": line.at, "who": who, "text": line.text});
            if let Some(Sent { hash, block, gas }) = &line.sent {
                (value["transaction"], value["block"], value["gas"]) = (json!(hash), json!(block), json!(gas));
            }
            value
        };
        let mut value = self.summary(network);
        value["lease"] = json!(self.lease(network).to_string());
        value["operator"] = json!(self.case.receipt.body.operator.to_string());
        value["story"] = self.story.iter().map(line).collect();
        match &self.ending {
            None => {}
            Some(Ending::Open(why)) => value["why"] = json!(why),
            Some(Ending::Guilty { slashed, refunded, seized, claimed, .. }) => {
                (value["slashed"], value["refunded"], value["seized"]) =
                    (json!(slashed), json!(refunded), json!(seized));
                if let Some([claimed, right]) = claimed {
                    (value["claimed"], value["right"]) = (json!(claimed), json!(right));
                }
            }
        }
        value
    }
}

/// The records' folder.
#[derive(Clone, Debug)]
pub(super) struct Records {
    dir: PathBuf,
    network: Network,
}

impl Records {
    pub(super) fn open(dir: PathBuf, network: Network) -> std::io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, network })
    }

    /// Writes one, whole or not at all.
    pub(super) fn keep(&self, dispute: &Dispute) {
        if let Err(why) = self.write(dispute) {
            warn!(path = %self.dir.display(), %why, "a dispute's record could not be written");
        }
    }

    fn write(&self, dispute: &Dispute) -> std::io::Result<()> {
        let path = self.dir.join(dispute.id(&self.network).to_string());
        let part = path.with_extension("part");
        std::fs::write(&part, bytes_of(dispute)).and_then(|()| std::fs::rename(&part, &path))
    }

    /// Takes prompt and answer out of those that are over and meant, by their job and when they began; the rest tells what happened.
    /// How many had them, and the bytes of it; counts only, unless it `writes`.
    pub(super) fn forget_words(
        &self,
        is_meant: impl Fn(&str, u64) -> bool,
        writes: bool,
    ) -> std::io::Result<(u64, u64)> {
        let mut sum = (0, 0);
        for mut dispute in self.all().into_iter().filter(Dispute::is_over) {
            let before = bytes_of(&dispute).len();
            if !is_meant(&dispute.case.request.body.job.to_string(), dispute.begun) || dispute.case.prompt.is_empty() {
                continue;
            }
            let case = &mut dispute.case;
            // With the salts a guess could be tried.
            (case.prompt_salt, case.trace_salt) = (Digest([0; 32]), Digest([0; 32]));
            (case.prompt, case.output, case.logprobs) = (Vec::new(), Vec::new(), Vec::new());
            dispute.heard = Vec::new();
            sum = (sum.0 + 1, sum.1 + (before - bytes_of(&dispute).len()) as u64);
            if writes {
                self.write(&dispute)?;
            }
        }
        if writes {
            std::fs::File::open(&self.dir)?.sync_all()?;
        }
        Ok(sum)
    }

    /// Whether there is one of this receipt.
    pub(super) fn has(&self, id: &Digest) -> bool {
        self.dir.join(id.to_string()).exists()
    }

    /// All of them, the oldest first. What can't be read is said, and left.
    pub(super) fn all(&self) -> Vec<Dispute> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        let paths = entries.map(|entry| entry.path()).filter(|path| path.extension().is_none());
        let mut all: Vec<Dispute> = paths.filter_map(|path| read(&path)).collect();
        all.sort_by_key(|dispute| dispute.begun);
        all
    }

    /// Removes what is over beyond the limit, the oldest first.
    pub(super) fn shrink(&self) {
        let all = self.all();
        let beyond = all.len().saturating_sub(RECORDS_MAX);
        for dispute in all.iter().filter(|dispute| dispute.is_over()).take(beyond) {
            std::fs::remove_file(self.dir.join(dispute.id(&self.network).to_string())).ok();
        }
    }
}

fn bytes_of(dispute: &Dispute) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(dispute).expect("a record holds no floats and only string keys")
}

fn read(path: &Path) -> Option<Dispute> {
    let bytes = std::fs::read(path).ok()?;
    let dispute: Result<Dispute, _> = serde_ipld_dagcbor::from_slice(&bytes);
    let dispute = dispute.inspect_err(|why| warn!(path = %path.display(), %why, "a dispute's record can't be read"));
    dispute.ok().filter(|dispute| dispute.version == VERSION)
}
