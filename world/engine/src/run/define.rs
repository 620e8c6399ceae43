//! Generation through the scalar definition: slow, and what the engine must equal.

use super::{Outcome, Task};
use crate::error::RunError;
use crate::model::Model;
use std::sync::Arc;
use talkoo_exact::sample::argmax;
use talkoo_exact::trace::{ChunkBuilder, trace_root};
use talkoo_exact::{Kv, forward, logits};

/// The output of `task`, recomputed with the scalar definition: no kernels, threads or batches.
/// About a hundred times slower than [`Engine::generate`](crate::Engine::generate); for audits.
///
/// # Errors
/// As [`Engine::generate`](crate::Engine::generate).
pub fn define_generate(model: &Arc<Model>, task: &Task) -> Result<Outcome, RunError> {
    let mut course = task.check(model)?;
    let definition = model.definition();
    let mut kv = Kv::new(&definition);
    let mut builder = ChunkBuilder::new(task.trace_id);
    let (mut tokens, mut logprobs, mut next) = (Vec::new(), Vec::new(), task.prompt.clone());
    let finish = loop {
        let mut last = None;
        for token in next.drain(..) {
            let step = forward(&definition, &mut kv, token)?;
            builder.push_states(&step.states);
            last = Some(step.residual);
        }
        let residual = last.expect("the prompt has at least one token");
        let logits = logits(&definition, &residual)?;
        let token = course.next(&logits, argmax)?;
        let told = course.logprobs(&logits, token);
        told.iter().for_each(|told| told.push_bytes(&mut logprobs));
        tokens.push(token);
        let finish = course.after(token)?;
        if builder.push_token(token, told.as_ref()) || finish.is_some() {
            builder.close();
        }
        if let Some(finish) = finish {
            break finish;
        }
        next.push(token);
    };
    let chunk_digests = builder.digests().to_vec();
    Ok(Outcome { tokens, logprobs, trace_root: trace_root(&chunk_digests), chunk_digests, finish })
}
