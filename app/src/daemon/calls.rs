//! What each call of the API does.

use super::{Daemon, Event};
use crate::batch::{self, BadLine};
use crate::daemon::config::PRICE_MAX_DEFAULT;
use serde_json::{Value, json};
use std::time::Duration;
use talkoo_api::Call;
use talkoo_base::{Amount, AuditPolicy, Digest, JobId, NodeId, Price, Refusal, RefusalCode};
use talkoo_engine::Vocabulary;
use talkoo_job::{Job, JobSpec, JobStatus, StepSpec, StepStatus};
use talkoo_market::Standing;
use talkoo_node::Input;
use tokio::sync::oneshot;

type Answer = Result<Value, Refusal>;

/// A batch that was read and tokenised.
pub(crate) struct Posted {
    spec: Result<Box<JobSpec>, Refusal>,
    bad: Vec<BadLine>,
    reply: oneshot::Sender<Answer>,
}

fn bad(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

fn text<'a>(args: &'a Value, key: &str) -> Option<&'a str> {
    args.get(key).and_then(Value::as_str)
}

fn required<'a>(args: &'a Value, key: &str) -> Result<&'a str, Refusal> {
    text(args, key).ok_or_else(|| bad(format!("`{key}` is missing"), "see docs/API.md"))
}

impl Daemon {
    pub(super) fn call(&mut self, call: Call) {
        let Call { name, args, reply } = call;
        let answer = match name {
            "status" => Ok(self.status()),
            "stop" => {
                self.stop.cancel();
                Ok(json!({"stopping": true}))
            }
            "peers" => Ok(self.peers()),
            "dial" => return self.dial(&args, reply),
            "invite" => Ok(self.invite()),
            "models" => Ok(json!({"models": self.shelf.all()})),
            "pull" => required(&args, "name").and_then(|n| self.pull(n)).map(|started| json!({"started": started})),
            "remove" => required(&args, "name").and_then(|n| self.remove(n)).map(|()| json!({"removed": true})),
            "provide" => self.provide(&args),
            "why" => Ok(self.why()),
            "post" => return self.post(&args, reply),
            "jobs" => Ok(json!({"jobs": self.node.jobs().iter().map(summary).collect::<Vec<_>>()})),
            "job" => self.job(&args).map(detail),
            "explain" => self.explain(&args),
            "output" => self.output(&args),
            "cancel" => self.cancel(&args),
            "accounts" => Ok(self.accounts()),
            other => Err(bad(format!("`{other}` is not a call"), "update the command line or the node")),
        };
        // A caller that went away needs no answer.
        reply.send(answer).ok();
    }

    fn status(&self) -> Value {
        let usage = self.blocks.usage().ok();
        let offered = self.node.market().offered();
        let earned: u128 = self.node.proof().earnings().map(|(_, e)| e.received.0).sum();
        json!({
            "node": self.node.id().to_string(),
            "address": self.node.id().address().to_string(),
            "owner": self.operator.to_string(),
            "network": self.network.name,
            "version": env!("CARGO_PKG_VERSION"),
            "build": self.build.to_string(),
            "uptime_s": self.started.elapsed().as_secs(),
            "api": self.api_addr.to_string(),
            "data_dir": self.config.data_dir,
            "listen": self.net.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "peers": self.net.peers().len(),
            "models": self.shelf.all().len(),
            "providing": offered.is_some(),
            "slots_taken": offered.map_or(0, |(_, taken)| taken),
            "jobs_open": self.node.jobs().iter().filter(|j| j.status == JobStatus::Open).count(),
            "block_bytes": usage.map_or(0, |u| u.used_bytes),
            "earned": Amount(earned).to_string(),
            "settled_on_chain": false,
        })
    }

    fn peers(&self) -> Value {
        let book = self.node.market();
        let peers: Vec<Value> = self
            .net
            .peers()
            .iter()
            .map(|info| {
                let peer = book.peer(&info.id);
                let standing = match peer.map(|p| &p.standing) {
                    Some(Standing::Convicted(why)) => format!("liar: {why}"),
                    Some(Standing::Paused(_)) => "paused".into(),
                    Some(Standing::Good) | None => "good".into(),
                };
                json!({
                    "node": info.id.to_string(),
                    "address": info.id.address().to_string(),
                    "at": info.addr.to_string(),
                    "rtt_us": info.rtt_us,
                    "offers": peer.and_then(|p| p.card.as_ref()).map_or(0, |c| c.models.len()),
                    "decode_tps": peer.and_then(talkoo_market::Peer::decode_mtps).map(|m| m / 1000),
                    "standing": standing,
                    "refused_messages": self.refused.get(&info.id).copied().unwrap_or(0),
                    "sent_bytes": info.sent_bytes,
                    "received_bytes": info.received_bytes,
                })
            })
            .collect();
        json!({"peers": peers})
    }

    fn dial(&self, args: &Value, reply: oneshot::Sender<Answer>) {
        let addr = required(args, "addr").and_then(|a| {
            let hint = "an example: /ip4/127.0.0.1/tcp/4001/p2p/16Uiu2…";
            a.parse::<talkoo_net::Multiaddr>().map_err(|e| bad(format!("`{a}` is not a multiaddress: {e}"), hint))
        });
        let addr = match addr {
            Ok(addr) => addr,
            Err(no) => return drop(reply.send(Err(no))),
        };
        let net = self.net.clone();
        self.tasks.spawn(async move {
            let answer = net.dial(addr).await.map(|id| json!({"node": id.to_string()}));
            let answer = answer.map_err(|e| Refusal::new(RefusalCode::Disconnected, e.to_string(), ""));
            reply.send(answer).ok();
        });
    }

    /// An invite: where we are and which network this is.
    fn invite(&self) -> Value {
        let addresses: Vec<String> = self.net.addresses().iter().map(ToString::to_string).collect();
        let code = json!({"network": self.network.name, "chain": self.network.chain_id, "at": addresses});
        json!({"code": hex::encode(code.to_string()), "at": addresses, "network": self.network.name})
    }

    fn provide(&mut self, args: &Value) -> Answer {
        let Some(on) = args.get("on").and_then(Value::as_bool) else {
            return Err(bad("`on` is missing", "send true or false"));
        };
        self.providing = on;
        if on {
            for held in self.shelf.all() {
                self.executor.load(held.name.clone(), held.root());
            }
        }
        self.offer();
        Ok(self.why())
    }

    /// Why this node has work or has none.
    fn why(&self) -> Value {
        let mut reasons: Vec<Value> = Vec::new();
        let mut reason = |code: &str, message: &str, hint: &str| {
            reasons.push(json!({"code": code, "message": message, "hint": hint}));
        };
        if !self.providing {
            reason("not_providing", "this node offers no compute", "talkoo provide start");
        }
        if self.shelf.all().is_empty() {
            reason("unknown_model", "no model is here", "talkoo pull smollm2");
        } else if self.providing && self.offers.is_empty() {
            reason("busy", "the model is being loaded and measured", "wait a few seconds");
        }
        if self.net.peers().is_empty() {
            reason("disconnected", "no peer is connected", "talkoo join CODE");
        }
        let earned: u128 = self.node.proof().earnings().map(|(_, e)| e.received.0).sum();
        let offered = self.node.market().offered();
        json!({
            "providing": self.providing,
            "offers": self.offers.values().map(|o| json!({
                "program": o.program.to_string(),
                "prefill_tps": o.prefill_mtps / 1000,
                "decode_tps": o.decode_mtps / 1000,
            })).collect::<Vec<_>>(),
            "slots_taken": offered.map_or(0, |(_, taken)| taken),
            "earned": Amount(earned).to_string(),
            "reasons": reasons,
        })
    }

    fn job(&self, args: &Value) -> Result<&Job, Refusal> {
        let id = required(args, "id")?;
        let found: Vec<&Job> =
            self.node.jobs().iter().filter(|j| j.spec.id.to_string().starts_with(id)).take(2).collect();
        match found[..] {
            [job] => Ok(job),
            [] => Err(Refusal::new(RefusalCode::UnknownId, format!("no job begins with {id}"), "see `talkoo job ls`")),
            _ => Err(Refusal::new(RefusalCode::UnknownId, format!("several jobs begin with {id}"), "give more digits")),
        }
    }

    fn explain(&self, args: &Value) -> Answer {
        let job = self.job(args)?;
        let market = self.node.market();
        let working: Vec<Value> = job.workers.iter().map(|(node, worker)| {
            json!({"node": node.to_string(), "slots": worker.slots, "decode_tps": worker.decode_mtps.map(|m| m / 1000)})
        }).collect();
        let refused: Vec<Value> = market
            .explain(&job.spec.id)
            .into_iter()
            .map(|(node, why)| {
                let mut value = talkoo_api::refusal_json(&why)["error"].take();
                value["node"] = json!(node.to_string());
                value
            })
            .collect();
        Ok(json!({"job": job.spec.id.to_string(), "working": working, "refused": refused}))
    }

    fn cancel(&mut self, args: &Value) -> Answer {
        let id = self.job(args)?.spec.id;
        self.pending.push(Input::Cancel(id));
        Ok(json!({"job": id.to_string(), "cancelled": true}))
    }

    fn accounts(&self) -> Value {
        let money = |a: Amount| a.to_string();
        let accounts: Vec<Value> = self
            .node
            .proof()
            .accounts()
            .map(|(node, account)| {
                let contested =
                    if account.refuted { account.signed.saturating_sub(account.deserved) } else { Amount::ZERO };
                json!({
                    "node": node.to_string(),
                    "signed": money(account.signed),
                    "owed": money(if account.refuted { Amount::ZERO } else { account.signed }),
                    "deserved": money(account.deserved),
                    "contested": money(contested),
                    "clean_audits": account.clean,
                    "refuted": account.refuted,
                    "why": match self.node.market().peer(node).map(|p| &p.standing) {
                        Some(Standing::Convicted(why)) => Some(why.clone()),
                        _ => None,
                    },
                })
            })
            .collect();
        json!({"accounts": accounts, "settled_on_chain": false})
    }

    /// Reads, tokenises and posts a batch; the slow part in a task.
    fn post(&mut self, args: &Value, reply: oneshot::Sender<Answer>) {
        match self.prepare(args) {
            Ok(prepare) => {
                let inbox = self.inbox.clone();
                self.tasks.spawn(async move {
                    let done = tokio::task::spawn_blocking(move || prepare.run()).await;
                    let (spec, bad) = done.unwrap_or_else(|_| {
                        let no = Refusal::new(RefusalCode::Other, "reading the batch panicked", "please report it");
                        (Err(no), Vec::new())
                    });
                    inbox.send(Event::Posted(Posted { spec, bad, reply })).await.ok();
                });
            }
            Err(no) => drop(reply.send(Err(no))),
        }
    }

    fn prepare(&self, args: &Value) -> Result<Prepare, Refusal> {
        let file = required(args, "file")?.to_owned();
        let model = text(args, "model").map(str::to_owned);
        let (asks, bad) = batch::parse(&file);
        let Some(name) = model.or_else(|| asks.first().map(|a| a.model.clone())) else {
            let first = bad.first().map_or_else(|| "the file is empty".into(), |b| b.refusal.to_string());
            return Err(self::bad(format!("no line can be run: {first}"), "see the format in docs/API.md"));
        };
        let Some(held) = self.shelf.find(&name) else {
            let message = format!("the model `{name}` is not here");
            return Err(Refusal::new(RefusalCode::UnknownModel, message, format!("talkoo pull {name}")));
        };
        let audit = match text(args, "verify") {
            None | Some("drawn") => AuditPolicy::Drawn,
            Some("own") => AuditPolicy::Own,
            Some("none") => AuditPolicy::None,
            Some(other) => return Err(self::bad(format!("verify `{other}` is unknown"), "use drawn, own or none")),
        };
        let mut id = [0; 32];
        getrandom::fill(&mut id).map_err(|e| Refusal::new(RefusalCode::Other, e.to_string(), "no random bytes"))?;
        let price = args.get("max_price").and_then(Value::as_f64).map(|p| {
            // A user's price is in tokens of money for a million output tokens; input costs a quarter.
            let micro = (p * 1e6).max(0.0) as u128;
            Price { input: micro / 4, output: micro }
        });
        Ok(Prepare {
            bad,
            model: held.name.clone(),
            names: [held.name.clone(), name],
            context: held.context,
            path: self.shelf.path(held),
            spec: JobSpec {
                id: JobId(Digest(id)),
                name: held.name.clone(),
                program: held.root(),
                context: 0,
                steps: Vec::new(),
                copies: true,
                price_max: price.unwrap_or(PRICE_MAX_DEFAULT),
                nodes_max: args.get("nodes").and_then(Value::as_u64).map_or(64, |n| n.clamp(1, 4096) as u32),
                own: args.get("own").and_then(Value::as_bool).unwrap_or(self.providing),
                audit,
            },
            strict: args.get("strict").and_then(Value::as_bool).unwrap_or(false),
            asks,
        })
    }

    pub(super) fn posted(&mut self, posted: Posted) {
        let Posted { spec, bad, reply } = posted;
        let bad: Vec<Value> = bad.iter().map(|b| {
            json!({"line": b.line, "custom_id": b.custom_id, "code": b.refusal.code.as_str(), "message": b.refusal.to_string()})
        }).collect();
        let answer = spec.map(|spec| {
            let value = json!({"job": spec.id.to_string(), "steps": spec.steps.len(), "model": spec.name, "bad": bad});
            self.pending.push(Input::Post(spec));
            value
        });
        reply.send(answer).ok();
    }

    fn output(&self, args: &Value) -> Answer {
        let job = self.job(args)?;
        if job.status == JobStatus::Open {
            let no = Refusal::new(RefusalCode::Busy, "the job is not finished", "follow it with `talkoo job show`");
            return Err(no.with(job.steps().len(), job.steps().iter().filter(|s| s.done().is_some()).count()));
        }
        let Some(held) = self.shelf.find(&job.spec.name) else {
            let hint = format!("talkoo pull {}", job.spec.name);
            return Err(Refusal::new(RefusalCode::UnknownModel, "the tokenizer of the job's model is gone", hint));
        };
        let vocabulary = Vocabulary::open(&self.shelf.path(held))
            .map_err(|e| Refusal::new(RefusalCode::Other, e.to_string(), "pull the model again"))?;
        let cancelled = Refusal::new(RefusalCode::Cancelled, "the job was cancelled before this step was done", "");
        let mut lines = String::new();
        for (step, spec) in job.steps().iter().zip(&job.spec.steps) {
            let outcome = match step.done() {
                Some(done) => Ok((done.tokens.as_slice(), done.finish)),
                None => Err(step.failed().unwrap_or(&cancelled)),
            };
            let (model, id, prompt) = (&job.spec.name, &spec.custom_id, spec.prompt.len());
            lines.push_str(&batch::result_line(&vocabulary, model, id, prompt, outcome));
            lines.push('\n');
        }
        Ok(json!({"job": job.spec.id.to_string(), "output": lines}))
    }
}

/// A batch on its way to a job, away from the loop.
struct Prepare {
    asks: Vec<batch::Ask>,
    bad: Vec<BadLine>,
    spec: JobSpec,
    model: String,
    names: [String; 2],
    context: u32,
    path: std::path::PathBuf,
    strict: bool,
}

impl Prepare {
    fn run(mut self) -> (Result<Box<JobSpec>, Refusal>, Vec<BadLine>) {
        let vocabulary = match Vocabulary::open(&self.path) {
            Ok(vocabulary) => vocabulary,
            Err(e) => {
                let no = Refusal::new(RefusalCode::Other, e.to_string(), "pull the model again");
                return (Err(no), self.bad);
            }
        };
        for ask in std::mem::take(&mut self.asks) {
            let (line, custom_id) = (ask.line, ask.custom_id.clone());
            match self.step(&vocabulary, ask) {
                Ok(step) => self.spec.steps.push(step),
                Err(refusal) => self.bad.push(BadLine { line, custom_id: Some(custom_id), refusal }),
            }
        }
        self.bad.sort_by_key(|b| b.line);
        if self.spec.steps.is_empty() || self.strict && !self.bad.is_empty() {
            let first = self.bad.first().map(|b| format!("line {}: {}", b.line, b.refusal)).unwrap_or_default();
            let no = bad(
                format!("{} of the lines cannot be run; {first}", self.bad.len()),
                "mend them, or run without --strict",
            );
            return (Err(no), self.bad);
        }
        (Ok(Box::new(self.spec)), self.bad)
    }

    fn step(&mut self, vocabulary: &Vocabulary, ask: batch::Ask) -> Result<StepSpec, Refusal> {
        if !ask.model.is_empty() && !self.names.contains(&ask.model) {
            let message = format!("the line asks for `{}`, the job runs `{}`", ask.model, self.model);
            return Err(bad(message, "one model for each file"));
        }
        let prompt = batch::tokenize(vocabulary, self.context, &ask)?;
        let seed = ask.seed.unwrap_or_else(|| batch::seed_of(&self.spec.id, &ask.custom_id));
        let need = u32::try_from(prompt.len()).unwrap_or(u32::MAX).saturating_add(ask.params.max_tokens);
        self.spec.context = self.spec.context.max(need);
        Ok(StepSpec { custom_id: ask.custom_id, prompt, params: ask.params.to_bytes(), seed })
    }
}

fn summary(job: &Job) -> Value {
    let count = |status: StepStatus| job.steps().iter().filter(|s| s.status() == status).count();
    json!({
        "job": job.spec.id.to_string(),
        "model": job.spec.name,
        "status": match job.status {
            JobStatus::Open => "open",
            JobStatus::Finished => "finished",
            JobStatus::Cancelled => "cancelled",
        },
        "steps": job.steps().len(),
        "waiting": count(StepStatus::Waiting),
        "running": count(StepStatus::Running),
        "checking": count(StepStatus::Checking),
        "done": count(StepStatus::Done),
        "failed": count(StepStatus::Failed),
    })
}

fn detail(job: &Job) -> Value {
    let mut value = summary(job);
    let node = |id: &NodeId| id.to_string();
    value["rows"] = job
        .steps()
        .iter()
        .zip(&job.spec.steps)
        .enumerate()
        .map(|(index, (step, spec))| {
            json!({
                "step": index,
                "custom_id": spec.custom_id,
                "status": format!("{:?}", step.status()).to_lowercase(),
                "node": step.done().map(|d| node(&d.node)),
                "units": step.done().map(|d| d.tokens.len()),
                "audited": step.done().map(|d| d.audited),
                "error": step.failed().map(ToString::to_string),
                "running_on": step.leases().map(|l| node(&l.node)).collect::<Vec<_>>(),
            })
        })
        .collect();
    value
}

/// How long a graceful stop may take, for the command that waits for it.
pub(crate) const STOP_MS_MAX: Duration = Duration::from_secs(10);
