//! What convicts, put together at a search's end.

use super::bench::Bench;
use super::challenger::{Challenger, Move, Unfit};
use super::defender::{opening, states_tree};
use super::{ChunkOpening, Element, Finding, InChunk, Leaf, Rerun, TokenProof, Torn};
use crate::commit::{OUTPUT, PROMPT, token_leaf};
use talkoo_base::{Digest, Refusal, merkle, sha256};
use talkoo_exact::limits::BLOCK;
use talkoo_exact::steps::{Name, Place, Stage};

fn bytes(elements: &[i128]) -> Vec<u8> {
    elements.iter().flat_map(|element| element.to_be_bytes()).collect()
}

/// Siblings of one token's leaf.
fn token_path(tag: &str, salt: &Digest, tokens: &[u32], at: usize) -> Vec<Digest> {
    let leaves: Vec<Digest> = tokens.iter().map(|token| token_leaf(tag, salt, *token)).collect();
    merkle::open(&leaves, at).expect("a token that is there").siblings
}

impl Challenger {
    fn bench(&mut self) -> &mut Bench {
        self.bench.as_mut().expect("a search that ends has one")
    }

    /// The element that differs, though all that it follows from is ours.
    pub(super) fn element(&mut self, run: &mut dyn Rerun, name: Name, index: usize) -> Result<Move, Refusal> {
        let is_draw = name.place == Place::Sampler && name.stage == Stage::Out;
        let witness = self.bench().witness(name, index, run.tree());
        let (number, leaf) = self.leaf.clone();
        let (claimed, mut previous, mut before) = match leaf.get(index % BLOCK) {
            Some(claimed) if !is_draw => (*claimed, index.checked_sub(1).map_or(0, |_| 0), None),
            _ => (1, 0, None),
        };
        let theirs = self.tree.clone().filter(|_| !is_draw);
        if index > 0 && !is_draw {
            let own = self.bench().vector(name);
            previous = own[index - 1];
            before = theirs.as_ref().filter(|_| index.is_multiple_of(BLOCK)).map(|tree| Leaf {
                leaf: number as u32 - 1,
                elements: bytes(own.chunks(BLOCK).nth(number - 1).expect("a leaf before")),
                siblings: tree.siblings(0, number as u64 - 1),
            });
        }
        let opened = theirs.map(|tree| Leaf {
            leaf: number as u32,
            elements: bytes(&leaf),
            siblings: tree.siblings(0, number as u64),
        });
        let bench = self.bench.as_ref().expect("made before");
        let read = bench.read_from(name, index, &witness);
        let (position, layer, token, draw) = (bench.position, bench.layer, bench.token(), bench.draw());
        Ok(Move::Convict(Finding::Element(Box::new(Element {
            position: position as u32,
            layer: layer as u32,
            token,
            state: read.map_or(Digest::ZERO, |_| sha256(&[&witness.state])),
            draw,
            name,
            index: index as u32,
            claimed,
            previous,
            witness,
            roots: self.said.clone(),
            leaf: opened,
            before,
            in_chunk: read.map(|(position, layer)| self.in_chunk(position, layer)),
            shown: self.shown(name, position, layer),
        }))))
    }

    /// Where a state before the one that differs is.
    fn in_chunk(&self, position: usize, layer: usize) -> InChunk {
        let shape = self.shape.expect("set when the search begins");
        let (chunk, state) = shape.find(position, layer);
        let own = &self.states[shape.states(chunk)];
        match &self.chunk {
            Some((opened, theirs)) if opened.index as usize == chunk => {
                InChunk { chunk: opened.clone(), siblings: theirs.siblings(0, state as u64) }
            }
            _ => InChunk { chunk: self.own_chunk(chunk), siblings: states_tree(own).siblings(0, state as u64) },
        }
    }

    fn own_chunk(&self, chunk: usize) -> ChunkOpening {
        let shape = self.shape.expect("set when the search begins");
        let siblings = self.trace.as_ref().expect("set when the search begins").siblings(0, chunk as u64);
        opening(&self.case, &shape, chunk, &self.states[shape.states(chunk)], siblings)
    }

    /// What shows the token that an element depends on.
    fn shown(&self, name: Name, position: usize, layer: usize) -> TokenProof {
        let (case, prompt) = (&self.case, self.case.prompt.len());
        let index = match (name.place, name.stage) {
            (Place::Residual, _) if layer == 0 && position < prompt => {
                let siblings = token_path(PROMPT, &case.prompt_salt, &case.prompt, position);
                return TokenProof::Prompt(case.prompt_salt, siblings);
            }
            (Place::Residual, _) if layer == 0 => position - prompt,
            (Place::Sampler, Stage::Out) => position + 1 - prompt,
            _ => return TokenProof::Unread,
        };
        let chunk = index / talkoo_base::CHUNK_TOKENS as usize;
        let disputed = self.chunk.as_ref().filter(|(opened, _)| opened.index as usize == chunk);
        TokenProof::Output(disputed.map_or_else(|| self.own_chunk(chunk), |(opened, _)| opened.clone()))
    }

    /// A state that is not what its vectors say: they are ours, and the state is not.
    pub(super) fn torn(&mut self, state: u64, theirs: Vec<u8>, siblings: Vec<Digest>) -> Result<Move, Unfit> {
        let ours = self.bench().state().ok_or(Unfit("our own run has no such state"))?;
        let wrong = ours.iter().zip(&theirs).position(|(a, b)| a != b).unwrap_or(ours.len().min(theirs.len()));
        if ours == theirs {
            return Err(Unfit("it shows what we have, under another digest"));
        }
        let (name, index) = self.bench().element_at(wrong.min(ours.len() - 1));
        let (vector, tree) = (self.bench().vector(name), self.bench().tree(name));
        let number = index / BLOCK;
        let told = |said: &&(talkoo_base::wire::VectorRoots, _)| said.0.root(name.number()).is_some();
        let roots = self.said.iter().find(told).cloned().ok_or(Unfit("the vector was not told"))?;
        let (opened, _) = self.chunk.as_ref().expect("a chunk was shown");
        Ok(Move::Convict(Finding::State(Box::new(Torn {
            in_chunk: InChunk { chunk: opened.clone(), siblings },
            state,
            bytes: theirs,
            name,
            index: index as u32,
            roots,
            leaf: Leaf {
                leaf: number as u32,
                elements: bytes(vector.chunks(BLOCK).nth(number).expect("an element of it")),
                siblings: tree.siblings(0, number as u64),
            },
        }))))
    }

    /// The chunk commits to another token than the worker told.
    pub(super) fn other_token(&self, chunk: ChunkOpening, token: usize) -> Move {
        let (case, told) = (&self.case, self.case.output[token]);
        let siblings = token_path(OUTPUT, &case.trace_salt, &case.output, token);
        Move::Convict(Finding::Output { chunk, token: token as u32, told, siblings })
    }
}
