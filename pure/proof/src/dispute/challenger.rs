//! The challenger's side: asks, compares with its own run, and ends with what convicts.

use super::bench::Bench;
use super::defender::{opening, states_tree, trace_tree};
use super::tree::Tree;
use super::{Answer, Case, ChunkOpening, DOWN_MAX, Finding, LEAVES_LEVEL, Question, Rerun, Shape};
use talkoo_base::wire::VectorRoots;
use talkoo_base::{Digest, Network, Refusal, Signature};
use talkoo_exact::steps::Name;
use talkoo_exact::trace::{chunk_digest, trace_root};
use thiserror::Error;

/// What a challenger does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// It asks.
    Ask(Question),
    /// It convicts.
    Convict(Finding),
    /// There is nothing to convict the worker of, and why.
    Nothing(String),
}

/// An answer that is none to what was asked: as good as silence.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the answer is none to what was asked: {0}")]
pub struct Unfit(pub &'static str);

/// What shows that a question may be asked, for those who have not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// Root of the tree that it asks about; zero if none.
    pub root: Digest,
    /// Leaves of that tree.
    pub count: u64,
    /// Shows the root of a chunk's states.
    pub chunk: Option<ChunkOpening>,
    /// Shows the root of a vector.
    pub roots: Option<(VectorRoots, Signature)>,
}

/// Where the search stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// What is this chunk?
    Chunk(usize),
    /// A node of its states' tree that differs.
    States { chunk: usize, level: u8, index: u64 },
    /// The outputs of one position and layer; `token` if only the draw there is false.
    Outputs { token: Option<u32> },
    /// What the state there is of.
    State { chunk: usize, state: usize },
    /// A node of a vector's tree that differs.
    Vector { name: Name, level: u8, index: u64 },
    /// What an element follows from besides outputs.
    Stages { name: Name, element: usize },
}

/// One search.
pub struct Challenger {
    pub(super) case: Case,
    pub(super) network: Network,
    pub(super) shape: Option<Shape>,
    pub(super) states: Vec<Digest>,
    pub(super) search: Option<Search>,
    pub(super) end: Option<Move>,
    asked: Option<Question>,
    /// The trace's tree as the worker has it, as far as it was told.
    pub(super) trace: Option<Tree>,
    /// The disputed chunk, and its states' tree as the worker has it.
    pub(super) chunk: Option<(ChunkOpening, Tree)>,
    pub(super) bench: Option<Bench>,
    /// The worker's statements.
    pub(super) said: Vec<(VectorRoots, Signature)>,
    /// The vector that is searched, as the worker has it.
    pub(super) tree: Option<Tree>,
    /// The leaf that differs, as the worker has it, and its number.
    pub(super) leaf: (usize, Vec<i128>),
}

/// Levels that one question goes down, so that as few as possible lead `levels` down in equal steps.
fn step(levels: u8) -> u8 {
    levels.div_ceil(levels.div_ceil(DOWN_MAX).max(1))
}

/// The first node that is not ours.
pub(super) fn differing(ours: &[Digest], theirs: &[Digest]) -> Result<u64, Unfit> {
    let at = ours.iter().zip(theirs).position(|(a, b)| a != b);
    at.map(|at| at as u64).ok_or(Unfit("it shows what we have, under another root"))
}

impl Challenger {
    /// Against the worker of a case.
    #[must_use]
    pub fn new(case: Case, network: Network) -> Self {
        Self {
            case,
            network,
            shape: None,
            states: Vec::new(),
            search: None,
            end: None,
            asked: None,
            trace: None,
            chunk: None,
            bench: None,
            said: Vec::new(),
            tree: None,
            leaf: (0, Vec::new()),
        }
    }

    /// What to do next; asked again, the same.
    ///
    /// # Errors
    /// If our engine can't run the case.
    pub fn next(&mut self, run: &mut dyn Rerun) -> Result<Move, Refusal> {
        if let Some(end) = &self.end {
            return Ok(end.clone());
        }
        if self.search.is_none()
            && let Some(end) = self.begin(run)?
        {
            return Ok(self.end.insert(end).clone());
        }
        let question = self.question(run)?;
        if let Some(end) = &self.end {
            return Ok(end.clone());
        }
        self.asked = Some(question.clone());
        Ok(Move::Ask(question))
    }

    /// Finds the first chunk that is not ours or, if all are, the token that is not drawn.
    fn begin(&mut self, run: &mut dyn Rerun) -> Result<Option<Move>, Refusal> {
        let shape = Shape::of(&self.case, run.model().layers.len());
        (self.shape, self.states) = (Some(shape), run.states()?);
        let own: Vec<Digest> = (0..shape.chunks()).map(|chunk| self.own_digest(chunk)).collect();
        if own.is_empty() {
            return Ok(Some(Move::Nothing("it says nothing of any token".into())));
        }
        let told = if self.case.digests.is_empty() { &own } else { &self.case.digests };
        let first = match trace_root(told) == self.case.receipt.body.trace_root {
            true => (0..shape.chunks()).find(|chunk| told.get(*chunk) != Some(&own[*chunk])),
            // Verifiers tell no digests: the way of the first chunk to the root shows which is the next.
            false => Some(0),
        };
        self.trace = Some(trace_tree(told));
        self.search = first.map(Search::Chunk);
        if self.search.is_some() {
            return Ok(None);
        }
        let Some(token) = run.diverged()?.filter(|token| *token < shape.units as u64) else {
            return Ok(Some(Move::Nothing("its trace is ours, and its tokens are drawn as they should be".into())));
        };
        let (at, layer) = (shape.prompt - 1 + token as usize, shape.layers - 1);
        self.bench = Some(Bench::new(&self.case, run, at, layer)?);
        self.search = Some(Search::Outputs { token: Some(self.case.output[token as usize]) });
        Ok(None)
    }

    /// The digest of a chunk in our own run.
    pub(super) fn own_digest(&self, chunk: usize) -> Digest {
        let shape = self.shape.expect("set when the search begins");
        let states = self.states.get(shape.states(chunk)).unwrap_or_default();
        digest_of(&self.case, &opening(&self.case, &shape, chunk, states, Vec::new()))
    }

    fn question(&mut self, run: &mut dyn Rerun) -> Result<Question, Refusal> {
        let shape = self.shape.expect("set when the search begins");
        let search = self.search.expect("set when the search begins");
        if let Search::Outputs { .. } = search
            && self.bench.is_none()
        {
            let Some(Search::States { chunk, index, .. }) = self.place_of_state() else { unreachable!("a state") };
            let (position, layer) = shape.place(chunk, index as usize);
            self.bench = Some(Bench::new(&self.case, run, position, layer)?);
        }
        let place = self.bench.as_ref().map_or((0, 0), |bench| (bench.position as u32, bench.layer as u32));
        let (position, layer) = place;
        Ok(match search {
            Search::Chunk(chunk) => {
                let top = states_tree(&self.states[shape.states(chunk)]).top();
                Question::Chunk { chunk: chunk as u32, down: step(top) }
            }
            Search::States { chunk, level, index } => {
                Question::States { chunk: chunk as u32, level, index, down: step(level) }
            }
            Search::State { chunk, state } => Question::State { chunk: chunk as u32, state: state as u64 },
            Search::Outputs { .. } => {
                let names = self.bench.as_ref().expect("made above").outputs();
                Question::Roots { position, layer, vectors: names.into_iter().map(Name::number).collect() }
            }
            Search::Stages { name, element } => {
                let names = self.bench.as_mut().expect("a vector is of a bench").stages(name, element);
                if names.is_empty() {
                    self.end = Some(self.element(run, name, element)?);
                }
                Question::Roots { position, layer, vectors: names.into_iter().map(Name::number).collect() }
            }
            Search::Vector { name, level, index } => {
                let root = self.root(name).expect("a vector that differs was told");
                let down = if level <= LEAVES_LEVEL { 0 } else { step(level - LEAVES_LEVEL) };
                Question::Vector { position, layer, vector: name.number(), root, level, index, down }
            }
        })
    }

    /// The leaf of the states' tree that the search went down to.
    pub(super) fn place_of_state(&self) -> Option<Search> {
        let (opening, theirs) = self.chunk.as_ref()?;
        let chunk = opening.index as usize;
        let ours = states_tree(&self.states[self.shape?.states(chunk)]);
        let index = differing(ours.below(ours.top(), 0, ours.top())?, theirs.below(theirs.top(), 0, theirs.top())?);
        Some(Search::States { chunk, level: 0, index: index.ok()? })
    }

    /// What the worker says a vector's root is.
    pub(super) fn root(&self, name: Name) -> Option<Digest> {
        self.said.iter().find_map(|(roots, _)| roots.root(name.number()))
    }

    /// Takes the answer to what was asked last.
    ///
    /// # Errors
    /// If it is none: nothing is learnt then, and the question stands.
    pub fn hear(&mut self, run: &mut dyn Rerun, answer: Answer) -> Result<(), Unfit> {
        let Some(question) = self.asked.clone() else { return Err(Unfit("nothing was asked")) };
        match (question, answer) {
            (Question::Chunk { chunk, down }, Answer::Chunk { opening, nodes }) => {
                self.heard_chunk(chunk, down, opening, &nodes)
            }
            (Question::States { level, index, down, .. }, Answer::Nodes { nodes, siblings }) => {
                self.heard_states(level, index, down, &nodes, &siblings)
            }
            (Question::State { state, .. }, Answer::Bytes { bytes, siblings }) => {
                self.heard_state(state, bytes, &siblings)
            }
            (Question::Roots { vectors, .. }, Answer::Roots { roots, signature }) => {
                self.heard_roots(run, &vectors, roots, signature)
            }
            (Question::Vector { level, index, down, .. }, Answer::Nodes { nodes, siblings }) if down > 0 => {
                self.heard_vector(level, index, down, &nodes, &siblings)
            }
            (Question::Vector { level, index, down: 0, .. }, Answer::Bytes { bytes, siblings }) => {
                self.heard_leaves(run, level, index, &bytes, &siblings)
            }
            _ => Err(Unfit("it is of another kind")),
        }
    }

    /// What shows that a question may be asked.
    #[must_use]
    pub fn support(&self, question: &Question) -> Support {
        let shape = self.shape.expect("a question was asked");
        let mut support = Support { root: Digest::ZERO, count: 0, chunk: None, roots: None };
        match question {
            Question::Chunk { chunk, .. } | Question::States { chunk, .. } | Question::State { chunk, .. } => {
                support.count = shape.states(*chunk as usize).len() as u64;
                support.chunk = self.chunk.as_ref().map(|(opened, _)| opened.clone());
                support.root = support.chunk.as_ref().map_or(Digest::ZERO, |opened| opened.states_root);
            }
            Question::Vector { vector, root, .. } => {
                support.count = self.tree.as_ref().map_or(0, Tree::count) as u64;
                support.root = *root;
                support.roots = self.said.iter().find(|(roots, _)| roots.root(*vector) == Some(*root)).cloned();
            }
            Question::Roots { .. } => {}
        }
        support
    }
}

/// What a chunk opening hashes to.
pub(super) fn digest_of(case: &Case, opened: &ChunkOpening) -> Digest {
    let trace_id = case.request.body.inputs.get(1).copied().unwrap_or_default();
    let inner = chunk_digest(&trace_id, opened.index, &opened.tokens, &opened.states_root);
    let bytes = opened.logprobs.clone();
    if bytes.is_empty() { inner } else { talkoo_base::Logprobs { inner, bytes }.digest() }
}
