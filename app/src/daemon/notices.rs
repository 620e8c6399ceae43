//! What people who watch see: every notice of the node as one JSON object.

use super::Daemon;
use serde_json::{Value, json};
use talkoo_base::Attempt;
use talkoo_job::Notice as Job;
use talkoo_node::Notice;
use talkoo_proof::Notice as Proof;

impl Daemon {
    /// Passes a notice on to all whom it concerns.
    pub(super) fn notice(&mut self, notice: &Notice) {
        if let Some(event) = json_of(notice) {
            self.tell(&event);
        }
        self.timeline.note(notice, super::timeline::now_ms());
        self.heard(notice);
        match notice {
            Notice::Job(Job::Closed { job, .. }) => self.note_over(job),
            Notice::Proof(Proof::Warned { client, refusal }) => self.doubt(client, refusal),
            Notice::Proof(Proof::Faulty { refusal }) => self.give_up(refusal),
            _ => {}
        }
    }
}

fn lease(kind: &str, attempt: &Attempt, rest: Value) -> Value {
    let mut value =
        json!({"type": kind, "job": attempt.job.to_string(), "step": attempt.step, "lease": attempt.number});
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, rest) {
        fields.extend(more);
    }
    value
}

/// The JSON of a notice that is for all who watch.
fn json_of(notice: &Notice) -> Option<Value> {
    match notice {
        Notice::Job(notice) => Some(job(notice)),
        Notice::Proof(notice) => proof(notice),
    }
}

fn job(notice: &Job) -> Value {
    match notice {
        Job::Started { attempt, node, copy } => {
            lease("lease.started", attempt, json!({"node": node.to_string(), "copy": copy}))
        }
        Job::Progress { attempt, node, units } => {
            lease("lease.progress", attempt, json!({"node": node.to_string(), "units": units}))
        }
        Job::LeaseLost { attempt, node, units, refusal } => {
            let rest = json!({
                "node": node.to_string(),
                "units": units,
                "code": refusal.code.as_str(),
                "message": refusal.message,
            });
            lease("lease.lost", attempt, rest)
        }
        Job::StepDone { attempt, node, units, audited } => {
            lease("step.done", attempt, json!({"node": node.to_string(), "units": units, "audited": audited}))
        }
        Job::StepRevoked { job, step } => json!({"type": "step.revoked", "job": job.to_string(), "step": step}),
        Job::StepFailed { job, step, refusal } => json!({
            "type": "step.failed",
            "job": job.to_string(),
            "step": step,
            "code": refusal.code.as_str(),
            "message": refusal.to_string(),
        }),
        Job::Closed { job, cancelled } => {
            json!({"type": "job.closed", "job": job.to_string(), "cancelled": cancelled})
        }
    }
}

fn proof(notice: &Proof) -> Option<Value> {
    Some(match notice {
        // What was answered is told to who asked, not to all who watch.
        Proof::Chunk { .. } => return None,
        Proof::AuditStarted { attempt, worker, verifier } => {
            let verifier = verifier.map(|v| v.to_string());
            lease("audit.started", attempt, json!({"node": worker.to_string(), "verifier": verifier}))
        }
        Proof::AuditEnded { attempt, worker, verifier, equal } => {
            let verifier = verifier.map(|v| v.to_string());
            lease("audit.ended", attempt, json!({"node": worker.to_string(), "verifier": verifier, "equal": equal}))
        }
        Proof::Convicted { node, refusal } => {
            json!({"type": "node.convicted", "node": node.to_string(), "message": refusal.message})
        }
        Proof::Quarantined { build, refusal } => {
            json!({"type": "build.quarantined", "build": build.to_string(), "message": refusal.message})
        }
        Proof::Warned { client, refusal } => {
            let (message, hint) = (&refusal.message, &refusal.hint);
            json!({"type": "node.warned", "client": client.to_string(), "message": message, "hint": hint})
        }
        Proof::Faulty { refusal } => json!({"type": "node.faulty", "message": refusal.to_string()}),
        Proof::Sold { client, units, audit } => {
            json!({"type": "lease.sold", "client": client.to_string(), "units": units, "audit": audit})
        }
    })
}
