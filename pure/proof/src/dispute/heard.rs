//! What a challenger makes of answers: it checks that they are what was asked, and where they differ from its own run.

use super::bench::{STATES, TRACE};
use super::challenger::{Challenger, Move, Search, Unfit, differing, digest_of};
use super::defender::{states_tree, trace_tree};
use super::tree::leads;
use super::{ChunkOpening, Finding, Rerun};
use talkoo_base::limits::TOP_LOGPROBS_MAX;
use talkoo_base::wire::{Typed, VectorRoots};
use talkoo_base::{Digest, Signature, merkle, recover, sha256};
use talkoo_exact::limits::BLOCK;
use talkoo_exact::steps::{Name, Place, Stage, vector_leaves};
use talkoo_exact::trace::states_root;

/// Bytes of a token's log probabilities, and of a state: the judge takes no more.
const LOGPROBS_MAX: usize = 8 + 8 * TOP_LOGPROBS_MAX as usize;
const STATE_MAX: usize = 100_000;

impl Challenger {
    pub(super) fn heard_chunk(
        &mut self,
        chunk: u32,
        down: u8,
        opened: ChunkOpening,
        nodes: &[Digest],
    ) -> Result<(), Unfit> {
        let (shape, at) = (self.shape.expect("asked"), chunk as usize);
        let own = &self.states[shape.states(at)];
        let (digest, chunks) = (digest_of(&self.case, &opened), shape.chunks() as u64);
        let (leaf, root) = (merkle::leaf(TRACE, &digest.0), self.case.receipt.body.trace_root);
        let is_it = opened.index == chunk && opened.tokens.len() == shape.tokens(at).len();
        if opened.logprobs.len() > opened.tokens.len() * LOGPROBS_MAX {
            return Err(Unfit("its log probabilities are longer than any"));
        }
        if !is_it || !leads(TRACE, &root, chunks, (0, chunk.into(), 0), &[leaf], &opened.siblings) {
            return Err(Unfit("it is not what the receipt commits to"));
        }
        let trace = self.trace.as_mut().expect("set when the search begins");
        trace.believe(0, chunk.into(), 0, &[leaf], &opened.siblings);
        if digest == self.own_digest(at) {
            let digests: Vec<Digest> = (0..shape.chunks()).map(|chunk| self.own_digest(chunk)).collect();
            let trace = self.trace.as_ref().expect("set when the search begins");
            let next = trace.differs_behind(&trace_tree(&digests), chunk.into());
            let next = next.ok_or(Unfit("it shows what we have, under another root"))?;
            self.search = Some(Search::Chunk(next as usize));
            return Ok(());
        }
        let ours = states_tree(own);
        if !leads(STATES, &opened.states_root, ours.count() as u64, (ours.top(), 0, down), nodes, &[]) {
            return Err(Unfit("the nodes are not those of its states"));
        }
        let told = &self.case.output[shape.tokens(at)];
        if let Some(wrong) = opened.tokens.iter().zip(told).position(|(a, b)| a != b) {
            self.end = Some(self.other_token(opened, shape.tokens(at).start + wrong));
            return Ok(());
        }
        if opened.states_root == states_root(own) {
            let why = "only its log probabilities are not ours, and those no contract judges";
            self.end = Some(Move::Nothing(why.into()));
            return Ok(());
        }
        let mut theirs = ours.clone();
        theirs.believe(ours.top(), 0, down, nodes, &[]);
        let index = differing(ours.below(ours.top(), 0, down).expect("asked"), nodes)?;
        self.chunk = Some((opened, theirs));
        self.found_state(at, ours.top() - down, index);
        Ok(())
    }

    fn found_state(&mut self, chunk: usize, level: u8, index: u64) {
        let next = Search::States { chunk, level, index };
        self.search = Some(if level == 0 { Search::Outputs { token: None } } else { next });
    }

    pub(super) fn heard_states(
        &mut self,
        level: u8,
        index: u64,
        down: u8,
        nodes: &[Digest],
        siblings: &[Digest],
    ) -> Result<(), Unfit> {
        let shape = self.shape.expect("asked");
        let (opened, theirs) = self.chunk.as_mut().expect("a chunk was shown");
        let chunk = opened.index as usize;
        theirs.take(&opened.states_root, (level, index, down), nodes, siblings)?;
        let ours = states_tree(&self.states[shape.states(chunk)]);
        let at = differing(ours.below(level, index, down).expect("asked"), nodes)?;
        self.found_state(chunk, level - down, (index << down) + at);
        Ok(())
    }

    pub(super) fn heard_state(&mut self, state: u64, bytes: Vec<u8>, siblings: &[Digest]) -> Result<(), Unfit> {
        if bytes.len() > STATE_MAX {
            return Err(Unfit("it is longer than any state"));
        }
        let (opened, theirs) = self.chunk.as_mut().expect("a chunk was shown");
        let leaf = merkle::leaf(STATES, &sha256(&[&bytes]).0);
        theirs.take(&opened.states_root, (0, state, 0), &[leaf], siblings)?;
        self.end = Some(self.torn(state, bytes, siblings.to_vec())?);
        Ok(())
    }

    pub(super) fn heard_roots(
        &mut self,
        run: &mut dyn Rerun,
        vectors: &[u64],
        roots: VectorRoots,
        signature: Signature,
    ) -> Result<(), Unfit> {
        let bench = self.bench.as_mut().expect("asked");
        let about = (self.case.receipt.body.digest(&self.network), bench.position as u32, bench.layer as u32);
        let whole = roots.vectors == vectors && roots.roots.len() == vectors.len();
        if (roots.receipt, roots.position, roots.layer) != about || !whole {
            return Err(Unfit("the roots are of something else"));
        }
        if recover(&roots.digest(&self.network), &signature) != Ok(self.case.request.body.worker) {
            return Err(Unfit("the roots are not signed by the worker"));
        }
        let names = vectors.iter().filter_map(|vector| Name::from_number(*vector));
        let mut told = names.zip(roots.roots.clone());
        let wrong = told.find_map(|(name, root)| {
            let tree = bench.tree(name);
            (tree.root() != root).then_some((name, root, tree))
        });
        self.said.push((roots, signature));
        match (wrong, self.search) {
            (Some((name, Digest::ZERO, _)), _) => {
                let roots = self.said[self.said.len() - 1].clone();
                self.end = Some(Move::Convict(Finding::Missing { roots, vector: name.number() }));
            }
            (Some((name, _, tree)), _) => {
                self.search = Some(Search::Vector { name, level: tree.top(), index: 0 });
                self.tree = Some(tree);
            }
            (None, Some(Search::Outputs { token: Some(token) })) => {
                let name = Name::of(Place::Sampler, Stage::Out, token);
                self.search = Some(Search::Stages { name, element: 0 });
            }
            (None, Some(Search::Outputs { token: None })) => {
                let Some(Search::States { chunk, index, .. }) = self.place_of_state() else {
                    return Err(Unfit("no state differs"));
                };
                self.search = Some(Search::State { chunk, state: index as usize });
            }
            (None, Some(Search::Stages { name, element })) => self.end = self.element(run, name, element).ok(),
            (None, _) => return Err(Unfit("no roots were asked for")),
        }
        Ok(())
    }

    pub(super) fn heard_vector(
        &mut self,
        level: u8,
        index: u64,
        down: u8,
        nodes: &[Digest],
        siblings: &[Digest],
    ) -> Result<(), Unfit> {
        let Some(Search::Vector { name, .. }) = self.search else { return Err(Unfit("no vector was asked for")) };
        let root = self.root(name).expect("it was told");
        let theirs = self.tree.as_mut().expect("a search has one");
        theirs.take(&root, (level, index, down), nodes, siblings)?;
        let ours = self.bench.as_mut().expect("asked").tree(name);
        let at = differing(ours.below(level, index, down).expect("asked"), nodes)?;
        self.search = Some(Search::Vector { name, level: level - down, index: (index << down) + at });
        Ok(())
    }

    pub(super) fn heard_leaves(
        &mut self,
        run: &mut dyn Rerun,
        level: u8,
        index: u64,
        bytes: &[u8],
        siblings: &[Digest],
    ) -> Result<(), Unfit> {
        let Some(Search::Vector { name, .. }) = self.search else { return Err(Unfit("no vector was asked for")) };
        let root = self.root(name).expect("it was told");
        let own = self.bench.as_mut().expect("asked").vector(name);
        let theirs = self.tree.as_mut().expect("a search has one");
        let first = (index << level) as usize;
        let leaves = theirs.below(level, index, level).expect("asked").len();
        let own = own.get(first * BLOCK..own.len().min((first + leaves) * BLOCK)).unwrap_or_default();
        if bytes.len() != 16 * own.len() {
            return Err(Unfit("the leaves have another length"));
        }
        let number = |bytes: &[u8]| i128::from_be_bytes(bytes.try_into().expect("sixteen bytes"));
        let elements: Vec<i128> = bytes.chunks_exact(16).map(number).collect();
        let nodes = vector_leaves(name, &elements);
        theirs.take(&root, (level, index, level), &nodes, siblings)?;
        let wrong = elements.iter().zip(own).position(|(a, b)| a != b);
        let wrong = wrong.ok_or(Unfit("it shows what we have, under another root"))?;
        let leaf = wrong / BLOCK;
        let chunk = elements.chunks(BLOCK).nth(leaf).expect("it has the element").to_vec();
        self.leaf = (first + leaf, chunk);
        let element = first * BLOCK + wrong;
        if name.stage == Stage::Out {
            self.search = Some(Search::Stages { name, element });
        } else {
            self.end = self.element(run, name, element).ok();
        }
        Ok(())
    }
}
