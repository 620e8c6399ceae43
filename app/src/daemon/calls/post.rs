//! The call that posts a batch: what it asks for is checked on the loop, its lines are read and
//! tokenised away from it.

use super::{Answer, Daemon, bad, optional, required, wishes, yes_or_no};
use crate::batch::{self, BadLine};
use crate::daemon::Event;
use crate::daemon::config::{NODES, NODES_DEFAULT, PRICE_MAX_DEFAULT, price_of};
use crate::models::{catalog, foreign};
use serde_json::{Value, json};
use std::path::PathBuf;
use talkoo_base::{AuditPolicy, Digest, JobId, Kind, Preferences, Price, Refusal, RefusalCode, Tier, float_program};
use talkoo_engine::{KvFormat, Vocabulary};
use talkoo_job::{JobSpec, StepSpec};
use talkoo_node::Input;
use tokio::sync::oneshot;

/// Longest context that a job may ask of engines that we do not know; each says its own.
const FOREIGN_CONTEXT_MAX: u32 = 131_072;

/// What to do with a batch: only say what it would take and cost, or post it, under an id that follows from the request if
/// that may come again.
type How = Option<Option<Digest>>;

/// A batch that was read and tokenised.
pub(crate) struct Posted {
    spec: Result<Box<JobSpec>, Refusal>,
    bad: Vec<BadLine>,
    reply: oneshot::Sender<Answer>,
    how: How,
}

/// What a job is posted under.
#[derive(Debug, PartialEq)]
pub(in crate::daemon) struct Terms {
    audit: AuditPolicy,
    price_max: Price,
    nodes_max: u32,
    /// Whether our own node may work; if not said, whether it provides when the job is posted.
    own: Option<bool>,
    strict: bool,
    tier: Tier,
    kv: KvFormat,
    prefer: Preferences,
}

impl Terms {
    pub(in crate::daemon) fn read(args: &Value) -> Result<Self, Refusal> {
        let tier = match optional(args, "tier", |v| v.as_str().ok_or("a text"))? {
            None | Some("exact") => Tier::Exact,
            Some("float") => Tier::Float,
            Some(other) => return Err(bad(format!("tier `{other}` is unknown"), "use exact or float")),
        };
        let audit = match optional(args, "verify", |v| v.as_str().ok_or("a text"))? {
            // Nobody can re-run what has no one answer.
            _ if tier == Tier::Float => AuditPolicy::None,
            None | Some("drawn") => AuditPolicy::Drawn,
            Some("own") => AuditPolicy::Own,
            Some("none") => AuditPolicy::None,
            Some(other) => return Err(bad(format!("verify `{other}` is unknown"), "use drawn, own or none")),
        };
        let kv =
            match optional(args, "kv", |v| v.as_str().ok_or("a text"))?.map(|name| (name, KvFormat::from_name(name))) {
                None => KvFormat::default(),
                Some((_, Some(KvFormat::Int16))) if tier == Tier::Float => {
                    return Err(bad("a float engine keeps keys and values as it likes", "leave `kv` out"));
                }
                Some((_, Some(kv))) => kv,
                Some((name, None)) => return Err(bad(format!("kv `{name}` is unknown"), "use int8 or int16")),
            };
        let (prefer, ceiling) = wishes::read(&args["provider"])?;
        let price_max = optional(args, "max_price", |v| v.as_f64().ok_or("a number"))?.map(price_of).transpose()?;
        let workers = |n: &Value| n.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| NODES.contains(n));
        Ok(Self {
            audit,
            price_max: price_max.or(ceiling).unwrap_or(PRICE_MAX_DEFAULT),
            nodes_max: optional(args, "nodes", |n| workers(n).ok_or("a whole number from 1 to 4096"))?
                .unwrap_or(NODES_DEFAULT),
            own: optional(args, "own", yes_or_no)?,
            strict: optional(args, "strict", yes_or_no)?.unwrap_or(false),
            tier,
            kv,
            prefer,
        })
    }
}

impl Terms {
    /// A job under them that is nothing yet; of a node that provides, or does not.
    pub(in crate::daemon) fn spec(self, providing: bool) -> JobSpec {
        JobSpec {
            id: JobId(Digest::ZERO),
            name: String::new(),
            program: Digest::ZERO,
            tier: self.tier,
            kind: Kind::Generate,
            context: 0,
            steps: Vec::new(),
            copies: true,
            price_max: self.price_max,
            nodes_max: self.nodes_max,
            own: self.own.unwrap_or(providing),
            audit: self.audit,
            prefer: self.prefer,
        }
    }
}

impl Daemon {
    /// Reads, tokenises and posts a batch; the slow part in a task.
    pub(super) fn post(&mut self, args: &Value, how: How, reply: oneshot::Sender<Answer>) {
        match self.prepare(args, how.flatten()) {
            Ok(prepare) => {
                let inbox = self.inbox.clone();
                self.tasks.spawn(async move {
                    let done = tokio::task::spawn_blocking(move || prepare.run()).await;
                    let (spec, bad) = done.unwrap_or_else(|_| {
                        let no = Refusal::new(RefusalCode::Other, "reading the batch panicked", "please report it");
                        (Err(no), Vec::new())
                    });
                    inbox.send(Event::Posted(Posted { spec, bad, reply, how })).await.ok();
                });
            }
            Err(no) => drop(reply.send(Err(no))),
        }
    }

    fn prepare(&self, args: &Value, once: Option<Digest>) -> Result<Prepare, Refusal> {
        let file = required(args, "file")?.to_owned();
        let model = optional(args, "model", |v| v.as_str().ok_or("a name"))?.map(str::to_owned);
        let terms = Terms::read(args)?;
        let (asks, bad) = batch::parse(&file);
        let Some(name) = model.clone().or_else(|| asks.first().map(|a| a.model.clone())) else {
            let first = bad.first().map_or_else(|| "the file is empty".into(), |b| b.refusal.to_string());
            return Err(self::bad(format!("no line can be run: {first}"), "see the format in docs/API.md"));
        };
        let source = match terms.tier {
            Tier::Float => self.foreign(args, &name)?,
            Tier::Exact | Tier::Quorum if args["vocabulary"].is_string() => {
                return Err(self::bad("`vocabulary` is for the float tier", "add the tier: `--tier float`"));
            }
            Tier::Exact | Tier::Quorum => self.held(&name, terms.kv)?,
        };
        let mut id = once.unwrap_or(Digest::ZERO);
        if once.is_none() {
            let none = |e: getrandom::Error| Refusal::new(RefusalCode::Other, e.to_string(), "no random bytes");
            getrandom::fill(&mut id.0).map_err(none)?;
        }
        Ok(Prepare {
            bad,
            model: source.name.clone(),
            names: model.is_none().then(|| [source.name.clone(), name]),
            context: source.context,
            path: source.path,
            data_dir: self.config.data_dir.clone(),
            strict: terms.strict,
            spec: JobSpec { id: JobId(id), name: source.name, program: source.program, ..terms.spec(self.providing) },
            asks,
        })
    }

    /// A model of the shelf.
    fn held(&self, name: &str, kv: KvFormat) -> Result<Source, Refusal> {
        let Some(held) = self.shelf.find(name) else {
            return Err(not_here(name, &self.shelf.all().iter().map(|h| h.name.as_str()).collect::<Vec<_>>()));
        };
        let (name, program) = (held.name.clone(), held.root_with(kv)?);
        Ok(Source { name, program, context: held.context, path: self.shelf.path(held) })
    }

    /// A model that others run, with the tokenizer that is here. Its program is known when the tokenizer was read.
    fn foreign(&self, args: &Value, name: &str) -> Result<Source, Refusal> {
        let vocabulary = required(args, "vocabulary")?;
        let held = self.shelf.find(vocabulary).map(|held| self.shelf.path(held));
        let path = held.unwrap_or_else(|| PathBuf::from(vocabulary));
        Ok(Source { name: name.to_owned(), program: Digest::ZERO, context: FOREIGN_CONTEXT_MAX, path })
    }

    pub(in crate::daemon) fn posted(&mut self, posted: Posted) {
        let Posted { spec, bad, reply, how } = posted;
        let bad: Vec<Value> = bad.iter().map(|b| {
            json!({"line": b.line, "custom_id": b.custom_id, "code": b.refusal.code.as_str(), "message": b.refusal.to_string()})
        }).collect();
        let answer = spec.map(|spec| {
            if how.is_none() {
                return self.quote(&spec, &bad);
            }
            let value = json!({"job": spec.id.to_string(), "steps": spec.steps.len(), "model": spec.name, "bad": bad});
            if !self.node.jobs().iter().any(|job| job.spec.id == spec.id) {
                self.pending.push(Input::Post(spec));
            }
            value
        });
        // Said when the job stands in the journal.
        self.replies.push((reply, answer));
    }
}

/// Why a model cannot run a job, and which could.
pub(super) fn not_here(name: &str, here: &[&str]) -> Refusal {
    let hint = match catalog::find(name) {
        Ok(_) => format!("talkoo pull {name}"),
        Err(_) if here.is_empty() => {
            let known: Vec<&str> = catalog::all().iter().map(|e| e.name.as_str()).collect();
            format!(
                "nor is it in the catalogue, which has {}; pull one, and run all lines with it: `--model NAME`",
                known.join(", ")
            )
        }
        Err(_) => format!("here are {} (`talkoo ls`); run all lines with one: `--model NAME`", here.join(", ")),
    };
    Refusal::new(RefusalCode::UnknownModel, format!("the model `{name}` is not here"), hint)
}

/// Where a job's model, or at least its tokenizer, is.
struct Source {
    name: String,
    program: Digest,
    context: u32,
    path: PathBuf,
}

/// A batch on its way to a job, away from the loop.
struct Prepare {
    asks: Vec<batch::Ask>,
    bad: Vec<BadLine>,
    spec: JobSpec,
    model: String,
    /// What a line may call the model; anything, if the caller named it.
    names: Option<[String; 2]>,
    context: u32,
    path: PathBuf,
    data_dir: PathBuf,
    strict: bool,
}

impl Prepare {
    fn run(mut self) -> (Result<Box<JobSpec>, Refusal>, Vec<BadLine>) {
        let vocabulary = match Vocabulary::open(&self.path) {
            Ok(vocabulary) => vocabulary,
            Err(e) => {
                let hint = match self.spec.tier {
                    Tier::Float => "give a GGUF file of the model; its header is enough",
                    Tier::Exact | Tier::Quorum => "pull the model again",
                };
                return (Err(Refusal::new(RefusalCode::Other, e.to_string(), hint)), self.bad);
            }
        };
        if self.spec.tier == Tier::Float {
            self.spec.program = float_program(&vocabulary.id(), &self.spec.name);
            if let Err(why) = foreign::remember(&self.data_dir, &self.spec.program, &self.path) {
                let no = Refusal::new(RefusalCode::Other, format!("{why:#}"), "check the data folder");
                return (Err(no), self.bad);
            }
        }
        for ask in std::mem::take(&mut self.asks) {
            let (line, custom_id) = (ask.line, ask.custom_id.clone());
            match self.steps(&vocabulary, ask) {
                Ok(steps) => self.spec.steps.extend(steps),
                Err(refusal) => self.bad.push(BadLine { line, custom_id: Some(custom_id), refusal }),
            }
        }
        self.bad.sort_by_key(|b| b.line);
        if self.spec.steps.is_empty() || self.strict && !self.bad.is_empty() {
            let first = self.bad.first().map(|b| format!("line {}: {}", b.line, b.refusal)).unwrap_or_default();
            let no = bad(
                format!("{} of the lines cannot be run; {first}", self.bad.len()),
                if self.strict { "mend them, or run without --strict" } else { "mend them" },
            );
            return (Err(no), self.bad);
        }
        (Ok(Box::new(self.spec)), self.bad)
    }

    /// The steps of a line: one for each answer.
    fn steps(&mut self, vocabulary: &Vocabulary, ask: batch::Ask) -> Result<Vec<StepSpec>, Refusal> {
        if !ask.model.is_empty() && self.names.as_ref().is_some_and(|names| !names.contains(&ask.model)) {
            let message = format!("the line asks for `{}`, the job runs `{}`", ask.model, self.model);
            return Err(bad(message, "one model for each file, or one for all lines (`--model`)"));
        }
        if self.spec.tier == Tier::Float {
            ask.params.check_float()?;
        }
        let prompt = batch::tokenize(vocabulary, self.context, &ask)?;
        let need = u32::try_from(prompt.len()).unwrap_or(u32::MAX).saturating_add(ask.params.max_tokens);
        self.spec.context = self.spec.context.max(need);
        let step = |choice| StepSpec {
            custom_id: ask.custom_id.clone(),
            prompt: prompt.clone(),
            params: ask.params.to_bytes(),
            seed: batch::seed_of(ask.seed, &self.spec.id, &ask.custom_id, choice),
        };
        Ok((0..ask.choices).map(step).collect())
    }
}
