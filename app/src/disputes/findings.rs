//! What convicts, as the contract takes it.

use super::abi::{chunk, roots, tensor, words32};
use alloy_primitives::Address;
use talkoo_base::Digest;
use talkoo_exact::steps::{Tensor, Witness};
use talkoo_ledger::bindings as abi;
use talkoo_ledger::bindings::{Claim, Input, Weights};
use talkoo_proof::dispute::{Case, ChunkOpening, Element, Finding, InChunk, Leaf, TokenProof, Torn};

/// A finding in the form of the entry that takes it.
pub(super) enum Charge {
    Element(Box<abi::Finding>),
    State(Box<abi::StateFinding>),
    Output(abi::OutputFinding),
    Missing(abi::MissingFinding),
}

impl Charge {
    /// What a finding about a case charges the worker with, in the interest of `beneficiary`; the manifest is that of the
    /// model, shown to be its.
    pub(super) fn of(finding: &Finding, case: &Case, manifest: &Tensor, beneficiary: Address) -> Self {
        match finding {
            Finding::Element(element) => Self::Element(Box::new(of_element(element, case, beneficiary))),
            Finding::State(torn) => Self::State(Box::new(of_state(torn, manifest, beneficiary))),
            Finding::Output { chunk: opening, token, told, siblings } => Self::Output(abi::OutputFinding {
                chunk: chunk(opening),
                place: (*token).into(),
                token: *told,
                salt: case.trace_salt.0.into(),
                siblings: words32(siblings),
                beneficiary,
            }),
            Finding::Missing { roots: said, vector } => {
                let index = said.0.vectors.iter().position(|v| v == vector).unwrap_or_default();
                let index = u32::try_from(index).expect("at most 96 vectors");
                let (roots, manifest) = (roots(said), tensor(manifest));
                Self::Missing(abi::MissingFinding { roots, index, manifest, beneficiary })
            }
        }
    }
}

fn leaf_of(leaf: &Leaf) -> abi::Opening {
    let (elements, siblings) = (leaf.elements.clone().into(), words32(&leaf.siblings));
    abi::Opening { input: 0, leaf: leaf.leaf, elements, siblings }
}

fn optional_leaf(leaf: Option<&Leaf>) -> abi::Opening {
    leaf_of(leaf.unwrap_or(&Leaf::default()))
}

fn of_state(torn: &Torn, manifest: &Tensor, beneficiary: Address) -> abi::StateFinding {
    abi::StateFinding {
        chunk: chunk(&torn.in_chunk.chunk),
        state: torn.bytes.clone().into(),
        siblings: words32(&torn.in_chunk.siblings),
        roots: roots(&torn.roots),
        vector: torn.name.number(),
        index: torn.index,
        leaf: leaf_of(&torn.leaf),
        manifest: tensor(manifest),
        beneficiary,
    }
}

fn of_element(element: &Element, case: &Case, beneficiary: Address) -> abi::Finding {
    let (claim, witness) = claimed(element, case);
    let nowhere = InChunk::default();
    let in_chunk = element.in_chunk.as_ref().unwrap_or(&nowhere);
    let (token_chunk, salt, siblings) = match &element.shown {
        TokenProof::Unread => (ChunkOpening::default(), Digest::ZERO, &[][..]),
        TokenProof::Prompt(salt, siblings) => (ChunkOpening::default(), *salt, &siblings[..]),
        TokenProof::Output(opening) => (opening.clone(), Digest::ZERO, &[][..]),
    };
    abi::Finding {
        claim,
        witness,
        roots: element.roots.iter().map(roots).collect(),
        leaf: optional_leaf(element.leaf.as_ref()),
        before: optional_leaf(element.before.as_ref()),
        chunk: chunk(&in_chunk.chunk),
        stateSiblings: words32(&in_chunk.siblings),
        tokenChunk: chunk(&token_chunk),
        promptSalt: salt.0.into(),
        tokenSiblings: words32(siblings),
        beneficiary,
    }
}

/// The claim and its witness, as the referee takes them.
pub(super) fn claimed(element: &Element, case: &Case) -> (Claim, abi::Witness) {
    let mut inputs: Vec<(u64, Digest)> = element.witness.openings.iter().map(|o| (o.name.number(), o.root)).collect();
    inputs.dedup();
    let draw = &element.draw;
    let claim = Claim {
        modelRoot: case.request.body.program.0.into(),
        state: element.state.0.into(),
        layer: element.layer,
        position: element.position,
        token: element.token,
        temperature: draw.temperature,
        seed: draw.seed,
        output: draw.index,
        topK: draw.top_k,
        topP: draw.top_p,
        minP: draw.min_p,
        ends: draw.ends,
        vector: element.name.number(),
        index: element.index,
        previous: element.previous,
        claimed: element.claimed,
        inputs: inputs.iter().map(|(vector, root)| Input { vector: *vector, root: root.0.into() }).collect(),
    };
    (claim, witness(&element.witness, &inputs))
}

fn witness(shown: &Witness, inputs: &[(u64, Digest)]) -> abi::Witness {
    let openings = shown.openings.iter().map(|o| abi::Opening {
        input: inputs.iter().position(|(vector, _)| *vector == o.name.number()).expect("an input of its own") as u32,
        leaf: o.leaf,
        elements: o.elements.clone().into(),
        siblings: words32(&o.siblings),
    });
    abi::Witness {
        openings: openings.collect(),
        manifest: tensor(&shown.manifest),
        gains: tensor(&shown.gains),
        weights: Weights {
            shape: shown.weights.shape,
            tiles: shown.weights.tiles.0.into(),
            siblings: words32(&shown.weights.siblings),
            tile: shown.weights.tile.clone().into(),
            tileSiblings: words32(&shown.weights.tile_siblings),
        },
        state: shown.state.clone().into(),
    }
}
