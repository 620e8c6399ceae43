//! Ways to cheat, as another rim around a node's effects. Nothing but the hidden command
//! `demo-node` reaches this module; a tidy check says so.

use crate::daemon::rim::{Honest, Rim};
use clap::ValueEnum;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use talkoo_base::generate::ONE_Q16;
use talkoo_base::{Digest, Finish, Refusal, RefusalCode};
use talkoo_engine::{KvFormat, Model};
use talkoo_node::{Effect, Input, Message};
use talkoo_proof::{self as proof, Ticket};

/// How the liar lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lie {
    /// Runs a model with other weights than it claims.
    OtherWeights,
    /// Ends its answers early.
    Truncated,
    /// Changes a token.
    TamperedToken,
    /// Hands in the answer to another prompt.
    CopiedAnswer,
    /// Samples as it likes from honest logits.
    CheatedSampler,
    /// Answers with an old receipt.
    ReplayedReceipt,
    /// Nobody lies.
    None,
}

impl Lie {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }

    /// Whether a contract can judge it: an old receipt is refused before anything is paid for it.
    pub(crate) fn can_be_judged(self) -> bool {
        !matches!(self, Self::ReplayedReceipt | Self::None)
    }
}

/// The rim of a lie.
pub(crate) fn rim(lie: Lie, confession: PathBuf) -> Box<dyn Rim> {
    if lie == Lie::None {
        return Box::new(Honest);
    }
    Box::new(Liar {
        lie,
        confession,
        cut: BTreeSet::new(),
        current: BTreeMap::new(),
        previous: Vec::new(),
        old: None,
        forged: false,
    })
}

/// How many lies have left the liar.
pub(crate) fn confessed(confession: &Path) -> usize {
    std::fs::read_to_string(confession).map_or(0, |text| text.lines().count())
}

type Answer = Vec<(Vec<u32>, Digest)>;

struct Liar {
    lie: Lie,
    confession: PathBuf,
    /// Runs whose end was already claimed.
    cut: BTreeSet<Ticket>,
    /// Chunks of the runs under way.
    current: BTreeMap<Ticket, Answer>,
    /// The last whole answer.
    previous: Answer,
    /// A chunk note of an earlier lease.
    old: Option<proof::Chunk>,
    /// Whether the engine runs a forged model.
    forged: bool,
}

impl Liar {
    /// Writes down that a lie goes out, so that the demo knows that there was something to catch.
    fn confess(&self) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.confession);
        // A confession that cannot be written makes the demo fail, which is what it is for.
        file.and_then(|mut f| writeln!(f, "{:?}", self.lie)).ok();
    }

    fn twist(&mut self, ticket: Ticket, index: u32, tokens: &mut Vec<u32>, digest: &mut Digest, finish: &mut Finish) {
        match self.lie {
            Lie::Truncated if index == 0 && tokens.len() > 1 => {
                tokens.truncate(tokens.len() / 2);
                *finish = Finish::Stop;
                self.cut.insert(ticket);
                self.confess();
            }
            Lie::TamperedToken if index == 0 => {
                tokens[0] ^= 1;
                self.confess();
            }
            Lie::CopiedAnswer => {
                let so_far = self.current.entry(ticket).or_default();
                so_far.push((tokens.clone(), *digest));
                let whole = (*finish != Finish::Running).then(|| std::mem::take(so_far));
                if let Some((other, theirs)) =
                    self.previous.get(index as usize).filter(|(t, _)| t.len() == tokens.len())
                {
                    (*tokens, *digest) = (other.clone(), *theirs);
                    self.confess();
                }
                if let Some(whole) = whole {
                    self.current.remove(&ticket);
                    self.previous = whole;
                }
            }
            Lie::OtherWeights if index == 0 && self.forged => self.confess(),
            _ => {}
        }
    }
}

impl Rim for Liar {
    fn input(&mut self, input: Input) -> Option<Input> {
        // A forged model refutes honest workers: who wants to be paid for it keeps out of audits.
        if let Input::Engine(proof::Input::Verified { ticket: ticket @ Ticket::Sale(_), .. }) = input
            && self.forged
        {
            let refusal = Refusal::new(RefusalCode::Busy, "no time for audits", "ask another node");
            return Some(Input::Engine(proof::Input::RunFailed { ticket, refusal }));
        }
        let Input::Engine(proof::Input::Produced { ticket, index, mut tokens, mut digest, logprobs, mut finish }) =
            input
        else {
            return Some(input);
        };
        if self.cut.contains(&ticket) {
            return None;
        }
        self.twist(ticket, index, &mut tokens, &mut digest, &mut finish);
        Some(Input::Engine(proof::Input::Produced { ticket, index, tokens, digest, logprobs, finish }))
    }

    fn effect(&mut self, effect: Effect) -> Effect {
        match effect {
            Effect::Run(mut run) if self.lie == Lie::CheatedSampler && run.rerun.is_none() => {
                run.work.seed ^= 1;
                run.work.params.temperature_q16 = ONE_Q16 * 3 / 2;
                self.confess();
                Effect::Run(run)
            }
            Effect::Send { to, mut message } if self.lie == Lie::ReplayedReceipt => {
                if let Message::Proof(proof::Message::Chunk(chunk)) = &mut *message {
                    match &self.old {
                        Some(old) if old.lease != chunk.lease && old.index == chunk.index => {
                            chunk.receipt = old.receipt.clone();
                            self.confess();
                        }
                        Some(_) => {}
                        None => self.old = Some((**chunk).clone()),
                    }
                }
                Effect::Send { to, message }
            }
            other => other,
        }
    }

    fn model_file(&mut self, root: Digest, kv: KvFormat, honest: &Path) -> (PathBuf, Digest) {
        // The demo's nodes offer one format.
        if self.lie != Lie::OtherWeights || kv != KvFormat::default() {
            return (honest.to_owned(), root);
        }
        match forge(honest) {
            Ok(forged) => {
                self.forged = true;
                forged
            }
            // Without a forged file it stays honest, and the demo says that no lie was delivered.
            Err(_) => (honest.to_owned(), root),
        }
    }
}

/// A copy of a model with other weights, and its root: the codes of one matrix are changed, its scales
/// are not.
fn forge(honest: &Path) -> anyhow::Result<(PathBuf, Digest)> {
    let forged = honest.with_extension("forged.gguf");
    std::fs::copy(honest, &forged)?;
    let header = talkoo_engine::Header::open(honest)?;
    let tensor = header.tensor("blk.15.ffn_down.weight")?;
    let mut file = std::fs::OpenOptions::new().write(true).open(&forged)?;
    // Q4_1: blocks of 20 bytes, 4 of them scale and minimum.
    for block in 0..1_000u64 {
        file.seek(SeekFrom::Start(tensor.offset + block * 20 + 4))?;
        file.write_all(&[0x5a; 16])?;
    }
    file.sync_all()?;
    let root = Model::load(&forged)?.root();
    Ok((forged, root))
}
