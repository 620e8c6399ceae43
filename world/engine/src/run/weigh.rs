//! How likely an output is that another engine made in floating point: not equal bits, but the same model.

use super::{Task, check_tokens};
use crate::engine::Engine;
use crate::error::RunError;
use talkoo_base::Likeness;
use talkoo_exact::sample::Sampler;

/// Below this a probability is as good as none.
const LEAST: f64 = 1e-9;

impl Engine {
    /// Weighs an answer of a foreign engine: one prefill over prompt and output.
    ///
    /// # Errors
    /// If the tokens do not fit this model.
    pub fn weigh(&mut self, task: &Task, output: &[u32]) -> Result<Likeness, RunError> {
        let mut likeness = Likeness::default();
        if output.is_empty() {
            return Ok(likeness);
        }
        check_tokens(self.model(), output)?;
        let fed = [&task.prompt[..], &output[..output.len() - 1]].concat();
        let mut sampler = Sampler::new(&task.params, task.seed, &task.prompt);
        let first = task.prompt.len() - 1;
        self.score(&fed, &mut |position, logits| {
            if let Some(token) = position.checked_sub(first).map(|i| output[i]) {
                note(&mut likeness, &sampler, logits, token);
                sampler.push(token);
            }
        })?;
        Ok(likeness)
    }
}

/// Adds what one token says.
fn note(likeness: &mut Likeness, sampler: &Sampler, logits: &[i64], token: u32) {
    likeness.tokens += 1;
    let likely = sampler.distribution(logits);
    if likely.len() == 1 {
        likeness.matched += u64::from(likely[0].0 == token);
        likeness.gap_q16 += sampler.gap(logits, token).min(Likeness::GAP_MAX_Q16);
        return;
    }
    likeness.drawn += 1;
    let total: f64 = likely.iter().map(|(_, weight)| *weight as f64).sum();
    let log = |weight: u64| (weight as f64 / total).max(LEAST).ln();
    let Some((_, weight)) = likely.iter().find(|(id, _)| *id == token) else {
        likeness.outside += 1;
        return;
    };
    let (mut mean, mut square) = (0.0, 0.0);
    for (_, weight) in &likely {
        let (p, log) = (*weight as f64 / total, log(*weight));
        (mean, square) = (mean + p * log, square + p * log * log);
    }
    // What this token's log probability is above its expectation, and how much that varies.
    likeness.excess_milli += ((log(*weight) - mean) * 1e3) as i64;
    likeness.variance_milli += ((square - mean * mean) * 1e3) as u64;
}
