//! The vectors of one position and layer in our own run, and what a dispute asks about them.

use super::shape::Shape;
use super::tree::Tree;
use super::{Case, Rerun};
use std::collections::BTreeSet;
use std::mem::take;
use std::sync::Arc;
use talkoo_base::{GenerateParams, Refusal, RefusalCode};
use talkoo_exact::Model;
use talkoo_exact::steps::{
    CachedRow, Draw, ModelTree, Name, Place, Program, Stage, Steps, Vectors, Witness, vector_leaves,
};
use talkoo_exact::trace::read_state;

pub(super) const VECTOR: &str = "talkoo/vector/1";
pub(super) const STATES: &str = "talkoo/states/1";
pub(super) const TRACE: &str = "talkoo/trace/1";

/// Our own run at one position and layer.
pub(super) struct Bench {
    pub(super) position: usize,
    pub(super) layer: usize,
    pub(super) model: Arc<Model>,
    token: u32,
    before: Option<(Vec<i64>, CachedRow)>,
    earlier: Vec<(Vec<i64>, CachedRow)>,
    draw: Option<Draw>,
    /// How a token is drawn there, if one is.
    params: Option<(GenerateParams, u64, u32)>,
    vectors: Vectors,
}

fn broken(message: &str) -> Refusal {
    Refusal::new(RefusalCode::RunFailed, message, "this is a fault of this node")
}

impl Bench {
    /// Runs up to a position and layer of a case.
    pub(super) fn new(case: &Case, run: &mut dyn Rerun, position: usize, layer: usize) -> Result<Self, Refusal> {
        let model = run.model();
        let read = |bytes: &Vec<u8>| {
            read_state(bytes, &model.manifest).ok_or_else(|| broken("our own engine gives states of another shape"))
        };
        let before = match layer.checked_sub(1) {
            Some(below) => run.layer(below, position + 1)?.last().map(read).transpose()?,
            None => None,
        };
        let earlier = run.layer(layer, position)?.iter().map(read).collect::<Result<_, _>>()?;
        let request = &case.request.body;
        let params =
            GenerateParams::from_bytes(&request.params).map_err(|_| broken("the case has other parameters"))?;
        let shape = Shape::of(case, model.layers.len());
        let params = shape.draws(position, layer).then(|| {
            (params, request.seed, u32::try_from(position + 1 - case.prompt.len()).expect("a count of tokens"))
        });
        let token = case.prompt.iter().chain(&case.output).nth(position).copied();
        let token = token.ok_or_else(|| broken("the case has no such position"))?;
        Ok(Self { position, layer, model, token, before, earlier, draw: None, params, vectors: Vectors::new() })
    }

    pub(super) fn token(&self) -> u32 {
        self.token
    }

    /// Whether a token is drawn here.
    pub(super) fn draws(&self) -> bool {
        self.params.is_some()
    }

    pub(super) fn program(&self) -> Program<'_> {
        Program {
            model: &self.model,
            layer: self.layer,
            position: self.position,
            token: self.token,
            before: self.before.as_ref().map(|(residual, row)| (&residual[..], row)),
            earlier: &self.earlier,
            draw: self.draw.unwrap_or_default(),
        }
    }

    fn steps<T>(&mut self, ask: impl FnOnce(&mut Steps<'_>) -> T) -> T {
        let vectors = take(&mut self.vectors);
        let mut steps = Steps::with(self.program(), vectors);
        let (told, vectors) = (ask(&mut steps), steps.into_vectors());
        self.vectors = vectors;
        told
    }

    /// The outputs that a challenger asks for first.
    pub(super) fn outputs(&self) -> Vec<Name> {
        let end = if self.draws() { Place::Logits } else { Place::Output };
        self.program().outputs(end)
    }

    /// Whether the program here has such a vector.
    pub(super) fn has(&self, name: Name) -> bool {
        let later = if self.draws() { Place::Logprobs } else { Place::Output };
        name.place <= later && self.program().exists(name)
    }

    /// A vector; it ends with its first element out of range.
    pub(super) fn vector(&mut self, name: Name) -> std::rc::Rc<[i128]> {
        self.settle_draw(name);
        self.steps(|steps| steps.vector(name))
    }

    /// The draw's ends follow from the logits.
    fn settle_draw(&mut self, name: Name) {
        if name.place < Place::Sampler || self.draw.is_some() {
            return;
        }
        let logits = self.steps(|steps| steps.vector(Name::out(Place::Logits)));
        let logits: Vec<i64> = logits.iter().map(|logit| *logit as i64).collect();
        self.draw = self.params.as_ref().map(|(params, seed, index)| Draw::new(params, *seed, *index, &logits));
    }

    pub(super) fn draw(&self) -> Draw {
        self.draw.unwrap_or_default()
    }

    pub(super) fn tree(&mut self, name: Name) -> Tree {
        let vector = self.vector(name);
        Tree::of(VECTOR, vector_leaves(name, &vector))
    }

    /// The canonical bytes of our own state here.
    #[allow(clippy::redundant_closure_for_method_calls, reason = "the method is of one lifetime, the closure of any")]
    pub(super) fn state(&mut self) -> Option<Vec<u8>> {
        self.steps(|steps| steps.state())
    }

    /// The vectors besides outputs that an element follows from, each after those that it follows from itself.
    pub(super) fn stages(&mut self, name: Name, index: usize) -> Vec<Name> {
        self.settle_draw(name);
        let mut order = Vec::new();
        self.visit(name, &[index], &mut BTreeSet::new(), &mut order);
        order.pop();
        order
    }

    fn visit(&mut self, name: Name, indices: &[usize], seen: &mut BTreeSet<Name>, order: &mut Vec<Name>) {
        seen.insert(name);
        let reads = self.steps(|steps| steps.reads(name, indices));
        for read in reads {
            if read.stage != Stage::Out && !seen.contains(&read) {
                // All elements of a vector are made of the same ones; the first may see nothing.
                let last = self.vector(read).len() - 1;
                self.visit(read, &[0, last], seen, order);
            }
        }
        order.push(name);
    }

    pub(super) fn witness(&mut self, name: Name, index: usize, tree: &ModelTree) -> Witness {
        self.settle_draw(name);
        self.steps(|steps| steps.witness(name, index, tree))
    }

    /// Position and layer of the state that an element is read from, if one is: of the layer below, or of an earlier position.
    pub(super) fn read_from(&self, name: Name, index: usize, witness: &Witness) -> Option<(usize, usize)> {
        match name.place {
            _ if witness.state.is_empty() => None,
            Place::Residual => Some((self.position, self.layer.checked_sub(1)?)),
            _ => Some((index, self.layer)),
        }
    }

    /// The element of output or row that a byte of a state belongs to.
    pub(super) fn element_at(&self, byte: usize) -> (Name, usize) {
        let (shape, size) = (&self.model.manifest.architecture, self.model.manifest.kv.code_bytes());
        let (heads, dim, blocks) = (shape.kv_heads, shape.head_dim, shape.head_dim / 32);
        let Some(at) = byte.checked_sub(8 * shape.embedding) else {
            return (Name::out(Place::Output), byte / 8);
        };
        let each = 4 + 2 * blocks + size * dim;
        let (head, at) = (at / each, at % each);
        let index = match at.checked_sub(4) {
            None => 2 * heads * (dim + blocks) + head,
            Some(at) if at < 2 * blocks => 2 * heads * dim + head * blocks + at / 2,
            Some(at) => head * dim + (at - 2 * blocks) / size,
        };
        (self.program().output(Place::Row), index)
    }
}
