//! Our own run of a disputed lease, on the real engine: its own threads and cache over the model that serves others, too.

use std::sync::Arc;
use talkoo_base::{Digest, GenerateParams, Refusal, RefusalCode};
use talkoo_engine::{Engine, Model, Task};
use talkoo_exact::steps::ModelTree;
use talkoo_proof::dispute::{Case, Rerun};

/// Threads of such an engine: nobody's answer is late for a dispute.
const THREADS: usize = 1;

/// A case and what runs it.
pub(super) struct EngineRun {
    engine: Engine,
    exact: Arc<talkoo_exact::Model>,
    tree: ModelTree,
    task: Task,
    output: Vec<u32>,
    /// Prompt and output but for the last token, which nothing is computed from.
    tokens: Vec<u32>,
}

fn failed(why: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::RunFailed, format!("our engine can't run the case: {why}"), "")
}

impl EngineRun {
    /// Takes the model apart, which needs about twice its file in memory, until this is dropped.
    pub(super) fn new(model: Arc<Model>, case: &Case) -> Result<Self, Refusal> {
        let request = &case.request.body;
        let params = GenerateParams::from_bytes(&request.params).map_err(|why| failed(&why))?;
        let trace_id = request.inputs.get(1).copied().unwrap_or_default();
        let exact = Arc::new(model.definition());
        let mut tokens = [case.prompt.as_slice(), &case.output].concat();
        tokens.pop();
        Ok(Self {
            tree: ModelTree::of(&exact),
            exact,
            engine: Engine::new(model, THREADS),
            task: Task { prompt: case.prompt.clone(), params, seed: request.seed, trace_id },
            output: case.output.clone(),
            tokens,
        })
    }
}

impl Rerun for EngineRun {
    fn model(&self) -> Arc<talkoo_exact::Model> {
        self.exact.clone()
    }

    fn tree(&self) -> &ModelTree {
        &self.tree
    }

    fn states(&mut self) -> Result<Vec<Digest>, Refusal> {
        self.engine.states(&self.tokens).map_err(|why| failed(&why))
    }

    fn layer(&mut self, layer: usize, positions: usize) -> Result<Vec<Vec<u8>>, Refusal> {
        let tokens = self.tokens.get(..positions).ok_or_else(|| failed(&"it has fewer positions"))?;
        self.engine.layer(tokens, layer).map_err(|why| failed(&why))
    }

    fn diverged(&mut self) -> Result<Option<u64>, Refusal> {
        let verified = self.engine.verify(&self.task, &self.output).map_err(|why| failed(&why))?;
        Ok(verified.diverged.map(u64::from))
    }
}
