//! `POST /quotes`: what a job would take and cost, before it is posted.

use super::Daemon;
use serde_json::{Value, json};
use talkoo_base::GenerateParams;
use talkoo_job::{JobSpec, StepSpec};
use talkoo_market::{Quote, Size, Summary, line, summarise};
use talkoo_node::wanted;

/// Reasons as JSON.
pub(super) fn rows(summary: &[Summary]) -> Vec<Value> {
    let row = |row: &Summary| json!({"code": row.code.as_str(), "count": row.count, "need": row.need, "best": row.best, "hint": row.hint});
    summary.iter().map(row).collect()
}

impl Daemon {
    pub(super) fn quote(&self, spec: &JobSpec, bad: &[Value]) -> Value {
        let size = |step: &StepSpec| {
            // Our own bytes of a moment ago.
            let output = GenerateParams::from_bytes(&step.params).map_or(0, |params| u64::from(params.max_tokens));
            Size { input: step.prompt.len() as u64, output }
        };
        let sizes: Vec<Size> = spec.steps.iter().map(size).collect();
        let Quote { workers, p50_ms, p95_ms, cost, cost_max, refused } =
            self.node.market().quote(self.now(), &wanted(spec), &sizes);
        let why = summarise(refused.iter().map(|(_, why)| why));
        json!({
            "steps": spec.steps.len(),
            "model": spec.name,
            "input_tokens": sizes.iter().map(|s| s.input).sum::<u64>(),
            "output_tokens_max": sizes.iter().map(|s| s.output).sum::<u64>(),
            "workers": workers.iter().map(|(node, slots, decode)| {
                json!({"node": node.to_string(), "slots": slots, "decode_tps": decode / 1_000})
            }).collect::<Vec<_>>(),
            "p50_ms": p50_ms,
            "p95_ms": p95_ms,
            "cost": cost.to_string(),
            "cost_max": cost_max.to_string(),
            "bad": bad,
            "refused": rows(&why),
            "summary": line(&why),
        })
    }
}
