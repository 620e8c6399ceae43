//! The worker's side: shows what its receipt commits to. It remembers nothing but what it has computed.

use super::bench::{Bench, STATES, TRACE};
use super::tree::Tree;
use super::{Answer, Case, ChunkOpening, DOWN_MAX, LEAVES_LEVEL, Question, Rerun, Shape};
use std::sync::Arc;
use talkoo_base::limits::VECTOR_ROOTS_MAX;
use talkoo_base::wire::{Typed, VectorRoots};
use talkoo_base::{Digest, Network, Refusal, RefusalCode, Signer, merkle};
use talkoo_exact::limits::BLOCK;
use talkoo_exact::steps::Name;
use talkoo_exact::trace::states_root;

/// Answers questions about one lease.
pub struct Defender {
    case: Case,
    network: Network,
    key: Arc<dyn Signer>,
    states: Vec<Digest>,
    bench: Option<Bench>,
}

fn refuse(message: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, "questions are of a dispute's case and its program")
}

/// The tree over state digests.
pub(super) fn states_tree(states: &[Digest]) -> Tree {
    Tree::of(STATES, states.iter().map(|digest| merkle::leaf(STATES, &digest.0)).collect())
}

/// The tree over chunk digests.
pub(super) fn trace_tree(digests: &[Digest]) -> Tree {
    Tree::of(TRACE, digests.iter().map(|digest| merkle::leaf(TRACE, &digest.0)).collect())
}

/// The opening of a chunk with these states.
pub(super) fn opening(
    case: &Case,
    shape: &Shape,
    chunk: usize,
    states: &[Digest],
    siblings: Vec<Digest>,
) -> ChunkOpening {
    ChunkOpening {
        index: u32::try_from(chunk).expect("a chunk of the trace"),
        tokens: case.output[shape.tokens(chunk)].to_vec(),
        states_root: states_root(states),
        logprobs: case.logprobs.get(chunk).cloned().unwrap_or_default(),
        siblings,
    }
}

impl Defender {
    /// For a lease that we sold.
    #[must_use]
    pub fn new(case: Case, network: Network, key: Arc<dyn Signer>) -> Self {
        Self { case, network, key, states: Vec::new(), bench: None }
    }

    /// What a question asks for.
    ///
    /// # Errors
    /// If the question is none about this case, or the engine can't.
    pub fn answer(&mut self, run: &mut dyn Rerun, question: &Question) -> Result<Answer, Refusal> {
        if self.states.is_empty() {
            self.states = run.states()?;
        }
        let shape = Shape::of(&self.case, run.model().layers.len());
        match question {
            Question::Chunk { chunk, down } => {
                let (chunk, states) = self.chunk(&shape, *chunk)?;
                let tree = states_tree(states);
                let nodes = Some(*down).filter(|d| *d <= DOWN_MAX).and_then(|d| tree.below(tree.top(), 0, d));
                let nodes = nodes.ok_or_else(|| refuse("the chunk has no such nodes"))?.to_vec();
                let siblings = trace_tree(&self.case.digests).siblings(0, chunk as u64);
                Ok(Answer::Chunk { opening: opening(&self.case, &shape, chunk, states, siblings), nodes })
            }
            Question::States { chunk, level, index, down } => {
                let (_, states) = self.chunk(&shape, *chunk)?;
                window(&states_tree(states), *level, *index, *down)
            }
            Question::State { chunk, state } => {
                let (chunk, states) = self.chunk(&shape, *chunk)?;
                let at = usize::try_from(*state).ok().filter(|s| *s < states.len());
                let at = at.ok_or_else(|| refuse("the chunk has no such state"))?;
                let siblings = states_tree(states).siblings(0, *state);
                let (position, layer) = shape.place(chunk, at);
                let bytes = run.layer(layer, position + 1)?.pop().ok_or_else(|| refuse("there is no such state"))?;
                Ok(Answer::Bytes { bytes, siblings })
            }
            Question::Roots { position, layer, vectors } => {
                if vectors.len() > VECTOR_ROOTS_MAX {
                    return Err(refuse("too many vectors"));
                }
                let roots = {
                    let bench = self.bench(run, &shape, *position, *layer)?;
                    vectors.iter().map(|vector| root(bench, *vector)).collect()
                };
                let receipt = self.case.receipt.body.digest(&self.network);
                let (position, layer, vectors) = (*position, *layer, vectors.clone());
                let roots = VectorRoots { receipt, position, layer, vectors, roots };
                let signature = self.key.sign(&roots.digest(&self.network));
                Ok(Answer::Roots { roots, signature })
            }
            Question::Vector { position, layer, vector, root: _, level, index, down } => {
                let bench = self.bench(run, &shape, *position, *layer)?;
                let name = Name::from_number(*vector).filter(|name| bench.has(*name));
                let name = name.ok_or_else(|| refuse("the program has no such vector"))?;
                let tree = bench.tree(name);
                if *level > LEAVES_LEVEL || *down > 0 {
                    return window(&tree, *level, *index, *down);
                }
                let leaves = tree.below(*level, *index, *level).ok_or_else(|| refuse("the vector has no such leaf"))?;
                let first = usize::try_from(*index << *level).expect("a leaf of the vector");
                let elements = bench.vector(name);
                let leaves = elements.chunks(BLOCK).skip(first).take(leaves.len()).flatten();
                let bytes = leaves.flat_map(|element| element.to_be_bytes()).collect();
                Ok(Answer::Bytes { bytes, siblings: tree.siblings(*level, *index) })
            }
        }
    }

    fn chunk(&self, shape: &Shape, chunk: u32) -> Result<(usize, &[Digest]), Refusal> {
        let chunk = usize::try_from(chunk).ok().filter(|c| *c < shape.chunks());
        let chunk = chunk.ok_or_else(|| refuse("the trace has no such chunk"))?;
        let states = self.states.get(shape.states(chunk));
        states.map(|states| (chunk, states)).ok_or_else(|| refuse("our engine's run is shorter than the trace"))
    }

    fn bench(&mut self, run: &mut dyn Rerun, shape: &Shape, position: u32, layer: u32) -> Result<&mut Bench, Refusal> {
        let (position, layer) = (position as usize, layer as usize);
        if position >= shape.positions() || layer >= shape.layers {
            return Err(refuse("the trace has no such position or layer"));
        }
        let same = |bench: &Bench| (bench.position, bench.layer) == (position, layer);
        let bench = match self.bench.take().filter(same) {
            Some(bench) => bench,
            None => Bench::new(&self.case, run, position, layer)?,
        };
        Ok(self.bench.insert(bench))
    }
}

/// The root of a vector; zero if the program has none of this number.
fn root(bench: &mut Bench, vector: u64) -> Digest {
    let name = Name::from_number(vector).filter(|name| bench.has(*name));
    name.map_or(Digest::ZERO, |name| bench.tree(name).root())
}

fn window(tree: &Tree, level: u8, index: u64, down: u8) -> Result<Answer, Refusal> {
    let nodes = Some(down).filter(|down| *down <= DOWN_MAX).and_then(|down| tree.below(level, index, down));
    let nodes = nodes.ok_or_else(|| refuse("the tree has no such nodes"))?.to_vec();
    Ok(Answer::Nodes { nodes, siblings: tree.siblings(level, index) })
}
