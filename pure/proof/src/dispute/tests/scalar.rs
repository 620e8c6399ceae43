//! A run by the steps themselves: slow, and with no other definition of the program than theirs.

use super::super::*;
use talkoo_base::{GenerateParams, sha256};
use talkoo_exact::Model;
use talkoo_exact::steps::{CachedRow, Draw, Place, Program, Stage, Steps};
use talkoo_exact::trace::read_state;

type State = (Vec<i64>, CachedRow);

/// One byte of one state that is not what it should be; what comes after goes on from it.
pub(super) struct Fault {
    pub(super) position: usize,
    pub(super) layer: usize,
    pub(super) byte: usize,
    pub(super) mask: u8,
}

pub(super) struct Scalar {
    model: Arc<Model>,
    tree: ModelTree,
    /// Prompt and output.
    pub(super) tokens: Vec<u32>,
    pub(super) prompt: usize,
    pub(super) draw: Option<(GenerateParams, u64)>,
    pub(super) fault: Option<Fault>,
    /// Number of an output token that it makes up.
    pub(super) false_token: Option<usize>,
    /// By layer, by position.
    bytes: Vec<Vec<Vec<u8>>>,
    read: Vec<Vec<State>>,
}

impl Scalar {
    pub(super) fn new(model: Arc<Model>, tokens: Vec<u32>) -> Self {
        let layers = model.layers.len();
        Self {
            tree: ModelTree::of(&model),
            model,
            prompt: tokens.len(),
            tokens,
            draw: None,
            fault: None,
            false_token: None,
            bytes: vec![Vec::new(); layers],
            read: vec![Vec::new(); layers],
        }
    }

    fn program(&self, position: usize, layer: usize, draw: Draw) -> Program<'_> {
        let before = layer.checked_sub(1).map(|below| &self.read[below][position]);
        Program {
            model: &self.model,
            layer,
            position,
            token: self.tokens[position],
            before: before.map(|(residual, row)| (&residual[..], row)),
            earlier: &self.read[layer][..position],
            draw,
        }
    }

    fn advance(&mut self, positions: usize) {
        for position in self.bytes[0].len()..positions {
            for layer in 0..self.model.layers.len() {
                let mut bytes = Steps::new(self.program(position, layer, Draw::default())).state().unwrap();
                if let Some(fault) = self.fault.as_ref().filter(|f| (f.position, f.layer) == (position, layer)) {
                    let at = fault.byte % bytes.len();
                    bytes[at] ^= fault.mask;
                }
                self.read[layer].push(read_state(&bytes, &self.model.manifest).unwrap());
                self.bytes[layer].push(bytes);
            }
        }
    }

    fn drawn(&self, position: usize, params: &GenerateParams, seed: u64) -> u32 {
        let layer = self.model.layers.len() - 1;
        let logits = Steps::new(self.program(position, layer, Draw::default())).vector(Name::out(Place::Logits));
        let logits: Vec<i64> = logits.iter().map(|l| *l as i64).collect();
        if params.temperature_q16 == 0 {
            return talkoo_exact::sample::argmax(&logits);
        }
        let draw = Draw::new(params, seed, (position + 1 - self.prompt) as u32, &logits);
        let mut steps = Steps::new(self.program(position, layer, draw));
        let drawn = |token: &u32| steps.vector(Name::of(Place::Sampler, Stage::Out, *token))[0] == 1;
        (0..logits.len() as u32).find(drawn).expect("one token is drawn")
    }

    /// Makes output tokens.
    pub(super) fn generate(&mut self, units: usize, params: &GenerateParams, seed: u64) {
        for unit in 0..units {
            let position = self.tokens.len() - 1;
            self.advance(position + 1);
            let token = self.drawn(position, params, seed);
            let other = (token + 1) % self.model.manifest.architecture.vocabulary as u32;
            self.tokens.push(if self.false_token == Some(unit) { other } else { token });
        }
        self.advance(self.tokens.len() - 1);
    }

    /// What an element is, by the promised program on its own states.
    pub(super) fn element(&self, case: &Case, element: &Element) -> i128 {
        assert_eq!(case.output, self.tokens[self.prompt..]);
        let program = self.program(element.position as usize, element.layer as usize, element.draw);
        let vector = Steps::new(program).vector(element.name);
        vector[element.index as usize]
    }
}

impl Rerun for Scalar {
    fn model(&self) -> Arc<Model> {
        Arc::clone(&self.model)
    }

    fn tree(&self) -> &ModelTree {
        &self.tree
    }

    fn states(&mut self) -> Result<Vec<Digest>, Refusal> {
        self.advance(self.tokens.len() - 1);
        let layers = self.model.layers.len();
        let digest = |i: usize| sha256(&[&self.bytes[i % layers][i / layers]]);
        Ok((0..self.bytes[0].len() * layers).map(digest).collect())
    }

    fn layer(&mut self, layer: usize, positions: usize) -> Result<Vec<Vec<u8>>, Refusal> {
        self.advance(positions);
        Ok(self.bytes[layer][..positions].to_vec())
    }

    fn diverged(&mut self) -> Result<Option<u64>, Refusal> {
        let Some((params, seed)) = self.draw.clone() else { return Ok(None) };
        self.advance(self.tokens.len() - 1);
        let is_false = |i: &usize| self.drawn(self.prompt - 1 + i, &params, seed) != self.tokens[self.prompt + i];
        Ok((0..self.tokens.len() - self.prompt).find(is_false).map(|i| i as u64))
    }
}
