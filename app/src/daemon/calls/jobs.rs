//! Calls about jobs: how they stand, who works for them, what came of them.

use super::{Answer, Daemon, page, required};
use crate::batch::{Choice, Line};
use crate::models::foreign;
use serde_json::{Value, json};
use talkoo_base::{Amount, GenerateParams, NodeId, Refusal, RefusalCode, Tier};
use talkoo_engine::Vocabulary;
use talkoo_job::{Job, JobStatus, Step, StepStatus};
use talkoo_market::{Market, Standing};
use talkoo_node::Input;

/// Jobs of a page, if nobody says how many.
const USUAL: usize = 200;

impl Daemon {
    pub(super) fn jobs(&self, args: &Value) -> Answer {
        let mut all: Vec<&Job> = self.node.jobs().iter().collect();
        all.reverse();
        let (rows, next) = page::page(args, USUAL, all.iter(), |job| job.spec.id.to_string())?;
        Ok(json!({"jobs": rows.into_iter().map(|job| summary(job)).collect::<Vec<_>>(), "next_cursor": next}))
    }

    pub(in crate::daemon) fn job(&self, args: &Value) -> Result<&Job, Refusal> {
        let id = required(args, "id")?;
        let found: Vec<&Job> =
            self.node.jobs().iter().filter(|j| j.spec.id.to_string().starts_with(id)).take(2).collect();
        match found[..] {
            [job] => Ok(job),
            [] => Err(Refusal::new(RefusalCode::UnknownId, format!("no job begins with {id}"), "see `talkoo job ls`")),
            _ => Err(Refusal::new(RefusalCode::UnknownId, format!("several jobs begin with {id}"), "give more digits")),
        }
    }

    pub(super) fn explain(&self, args: &Value) -> Answer {
        let job = self.job(args)?;
        let market = self.node.market();
        let working: Vec<Value> = job.workers.iter().map(|(node, worker)| {
            json!({"node": node.to_string(), "slots": worker.slots, "decode_tps": worker.decode_mtps.map(|m| m / 1000)})
        }).collect();
        let why = market.explain(&job.spec.id);
        let refused: Vec<Value> = why
            .iter()
            .map(|(node, why)| {
                let mut value = talkoo_api::refusal_json(why)["error"].take();
                value["node"] = json!(node.to_string());
                value
            })
            .collect();
        Ok(json!({
            "job": job.spec.id.to_string(),
            "node": self.node.id().to_string(),
            "own": job.spec.own,
            "peers": self.net.peers().len(),
            "reasons": self.reasons(job),
            "working": working,
            "refused": refused,
            "summary": talkoo_market::line(&talkoo_market::summarise(why.iter().map(|(_, why)| why))),
        }))
    }

    /// Why nobody works for a job, besides what other nodes say.
    fn reasons(&self, job: &Job) -> Vec<Value> {
        let reason = |code: RefusalCode, message: &str, hint: &str| json!({"code": code.as_str(), "message": message, "hint": hint});
        match job.status {
            JobStatus::Open if !job.workers.is_empty() => return Vec::new(),
            JobStatus::Open => {}
            JobStatus::Finished => {
                return vec![reason(RefusalCode::Over, "the job is finished", "talkoo job output ID")];
            }
            JobStatus::Cancelled => return vec![reason(RefusalCode::Cancelled, "the job was cancelled", "")],
        }
        let mut all = Vec::new();
        if self.net.peers().is_empty() {
            all.push(reason(RefusalCode::Disconnected, "no peer is connected", "talkoo join CODE"));
        }
        if !job.spec.own {
            let message = "this node offered no compute when the job was posted, so it does not work for it";
            let hint = "cancel the job, `talkoo provide start`, and run the batch again";
            all.push(reason(RefusalCode::NotProviding, message, hint));
        } else if self.node.market().offered().is_none() {
            let hint = "`talkoo provide start`, or see `talkoo provide why`";
            all.push(reason(RefusalCode::NotProviding, "this node offers no compute now", hint));
        }
        all
    }

    pub(super) fn cancel(&mut self, args: &Value) -> Answer {
        let job = self.job(args)?;
        let id = job.spec.id;
        if job.status != JobStatus::Open {
            let how = if job.status == JobStatus::Finished { "finished" } else { "cancelled" };
            let hint = format!("talkoo job show {id}");
            return Err(Refusal::new(RefusalCode::Over, format!("the job is {how} already"), hint));
        }
        self.pending.push(Input::Cancel(id));
        Ok(json!({"job": id.to_string(), "cancelled": true}))
    }

    pub(super) fn forget(&mut self, args: &Value) -> Answer {
        let job = self.job(args)?;
        let id = job.spec.id;
        if job.status == JobStatus::Open {
            let no = Refusal::new(RefusalCode::InUse, "the job is not over", format!("talkoo job cancel {id}"));
            return Err(no);
        }
        self.pending.push(Input::Forget(id));
        Ok(json!({"job": id.to_string(), "forgotten": true}))
    }

    pub(super) fn accounts(&self) -> Value {
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
                    "clean_audits": account.trust.clean,
                    "refuted": account.refuted,
                    "why": match self.node.market().peer(node).map(|p| &p.standing) {
                        Some(Standing::Convicted(why)) => Some(why.clone()),
                        _ => None,
                    },
                })
            })
            .collect();
        json!({"accounts": accounts, "settled_on_chain": self.money.url.is_some()})
    }

    pub(super) fn output(&self, args: &Value) -> Answer {
        let job = self.job(args)?;
        if job.status == JobStatus::Open {
            let hint = format!("follow it with `talkoo job show {} --follow`", job.spec.id);
            let no = Refusal::new(RefusalCode::Busy, "the job is not finished", hint);
            return Err(no.with(job.steps().len(), job.steps().iter().filter(|s| s.done().is_some()).count()));
        }
        let vocabulary = self.vocabulary(job)?;
        let cancelled = Refusal::new(RefusalCode::Cancelled, "the job was cancelled before this step was done", "");
        let mut lines = String::new();
        let mut steps = job.steps().iter();
        // The answers to one line are neighbours, and no two lines have the same id.
        for specs in job.spec.steps.chunk_by(|a, b| a.custom_id == b.custom_id) {
            let answers = steps.by_ref().take(specs.len()).map(|step| answer(step, &cancelled));
            let answers: Result<Vec<Choice<'_>>, &Refusal> = answers.collect();
            let line = Line {
                vocabulary: &vocabulary,
                model: &job.spec.name,
                tier: job.spec.tier,
                custom_id: &specs[0].custom_id,
                prompt_tokens: specs[0].prompt.len(),
                params: &GenerateParams::from_bytes(&specs[0].params).unwrap_or_default(),
            };
            lines.push_str(&line.result(answers.as_deref().map_err(|no| *no)));
            lines.push('\n');
        }
        Ok(json!({"job": job.spec.id.to_string(), "output": lines}))
    }
}

impl Daemon {
    /// The tokenizer of a job's model.
    fn vocabulary(&self, job: &Job) -> Result<Vocabulary, Refusal> {
        let spec = &job.spec;
        if spec.tier == Tier::Float {
            return foreign::vocabulary_of(&self.config.data_dir, &spec.program, &spec.name);
        }
        let Some(held) = self.shelf.find(&spec.name) else {
            let hint = format!("talkoo pull {}", spec.name);
            return Err(Refusal::new(RefusalCode::UnknownModel, "the tokenizer of the job's model is gone", hint));
        };
        Vocabulary::open(&self.shelf.path(held))
            .map_err(|e| Refusal::new(RefusalCode::Other, e.to_string(), "pull the model again"))
    }
}

fn answer<'a>(step: &'a Step, cancelled: &'a Refusal) -> Result<Choice<'a>, &'a Refusal> {
    match step.done() {
        Some(done) => Ok(Choice { tokens: &done.tokens, logprobs: &done.logprobs, finish: done.finish }),
        None => Err(step.failed().unwrap_or(cancelled)),
    }
}

pub(super) fn summary(job: &Job) -> Value {
    let count = |status: StepStatus| job.steps().iter().filter(|s| s.status() == status).count();
    json!({
        "job": job.spec.id.to_string(),
        "model": job.spec.name,
        "tier": job.spec.tier.name(),
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

pub(super) fn detail(job: &Job, market: &Market) -> Value {
    let mut value = summary(job);
    let lied = |id: &NodeId| market.peer(id).is_some_and(|p| matches!(p.standing, Standing::Convicted(_)));
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
                // Nobody checked it, and its worker lied elsewhere: run it again if it matters.
                "doubtful": step.done().is_some_and(|d| !d.audited && lied(&d.node)),
                "error": step.failed().map(ToString::to_string),
                "running_on": step.leases().map(|l| node(&l.node)).collect::<Vec<_>>(),
            })
        })
        .collect();
    value
}
