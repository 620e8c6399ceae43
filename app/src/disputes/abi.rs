//! A dispute's words as the contract takes them: the players of `talkoo_proof` and the bindings of `talkoo_ledger` do not
//! know each other.

use alloy_primitives::{B256, Bytes};
use talkoo_base::wire::{Sealed, VectorRoots};
use talkoo_base::{Delegation, Digest, Signature};
use talkoo_exact::steps::Tensor;
use talkoo_ledger::bindings as abi;
use talkoo_proof::dispute::{Answer, Case, ChunkOpening, Question, Support};

pub(super) fn words32(digests: &[Digest]) -> Vec<B256> {
    digests.iter().map(|digest| digest.0.into()).collect()
}

fn digests(words: &[B256]) -> Vec<Digest> {
    words.iter().map(|word| Digest(word.0)).collect()
}

fn bytes(signature: &Signature) -> Bytes {
    signature.0.to_vec().into()
}

/// What client and worker agreed on.
pub(super) fn words(case: &Case) -> abi::Words {
    abi::Words {
        request: (&case.request.body).into(),
        receipt: (&case.receipt.body).into(),
        channel: (&case.channel).into(),
    }
}

/// Who signed it; the owner's delegation goes with it if it was never granted, else the number of its grant.
pub(super) fn signatures(case: &Case, ungranted: Option<&Sealed<Delegation>>, grant: u64) -> abi::Signatures {
    let of = |to: &Delegation| abi::Delegation {
        owner: to.owner.0.into(),
        nodeKey: to.node.0.into(),
        roles: to.roles,
        expiry: to.expiry.0,
    };
    abi::Signatures {
        request: bytes(&case.request.signature),
        receipt: bytes(&case.receipt.signature),
        delegation: ungranted.map(|sealed| of(&sealed.body)).unwrap_or_default(),
        delegationSignature: ungranted.map_or_else(Bytes::new, |sealed| bytes(&sealed.signature)),
        grant,
    }
}

pub(super) fn chunk(o: &ChunkOpening) -> abi::ChunkOpening {
    abi::ChunkOpening {
        index: o.index,
        tokens: o.tokens.iter().flat_map(|token| token.to_be_bytes()).collect::<Vec<u8>>().into(),
        statesRoot: o.states_root.0.into(),
        logprobs: o.logprobs.clone().into(),
        siblings: words32(&o.siblings),
    }
}

fn chunk_of(o: &abi::ChunkOpening) -> ChunkOpening {
    let token = |four: &[u8]| u32::from_be_bytes(four.try_into().expect("four bytes"));
    ChunkOpening {
        index: o.index,
        tokens: o.tokens.chunks_exact(4).map(token).collect(),
        states_root: Digest(o.statesRoot.0),
        logprobs: o.logprobs.to_vec(),
        siblings: digests(&o.siblings),
    }
}

pub(super) fn roots((said, signature): &(VectorRoots, Signature)) -> abi::VectorRoots {
    abi::VectorRoots {
        position: said.position,
        layer: said.layer,
        vectors: said.vectors.clone(),
        roots: words32(&said.roots),
        signature: bytes(signature),
    }
}

pub(super) fn tensor(t: &Tensor) -> abi::Tensor {
    abi::Tensor { data: t.bytes.clone().into(), siblings: words32(&t.siblings) }
}

/// A question; `count` is that of the tree it is about, or of the vector's numbers.
pub(super) fn question(asked: &Question, root: &Digest, count: u64) -> abi::Question {
    let none = abi::Question {
        ask: abi::Ask::Chunk,
        chunk: 0,
        position: 0,
        layer: 0,
        vectors: Vec::new(),
        root: root.0.into(),
        count,
        level: 0,
        index: 0,
        down: 0,
    };
    match asked {
        Question::Chunk { chunk, down } => abi::Question { chunk: *chunk, down: *down, ..none },
        Question::States { chunk, level, index, down } => {
            let (chunk, level, index, down) = (*chunk, *level, *index, *down);
            abi::Question { ask: abi::Ask::States, chunk, level, index, down, ..none }
        }
        Question::State { chunk, state } => {
            abi::Question { ask: abi::Ask::State, chunk: *chunk, index: *state, ..none }
        }
        Question::Roots { position, layer, vectors } => {
            let (position, layer, vectors) = (*position, *layer, vectors.clone());
            abi::Question { ask: abi::Ask::Roots, position, layer, vectors, ..none }
        }
        Question::Vector { position, layer, vector, root: _, level, index, down } => abi::Question {
            ask: abi::Ask::Vector,
            position: *position,
            layer: *layer,
            vectors: vec![*vector],
            level: *level,
            index: *index,
            down: *down,
            ..none
        },
    }
}

/// A question as the chain tells it; `None` if there is no such one.
pub(super) fn question_of(q: &abi::Question) -> Option<Question> {
    let (chunk, level, index, down) = (q.chunk, q.level, q.index, q.down);
    let (position, layer) = (q.position, q.layer);
    Some(match q.ask {
        abi::Ask::Chunk => Question::Chunk { chunk, down },
        abi::Ask::States => Question::States { chunk, level, index, down },
        abi::Ask::State => Question::State { chunk, state: index },
        abi::Ask::Roots => Question::Roots { position, layer, vectors: q.vectors.clone() },
        abi::Ask::Vector => {
            let (vector, root) = (*q.vectors.first()?, Digest(q.root.0));
            Question::Vector { position, layer, vector, root, level, index, down }
        }
        abi::Ask::__Invalid => return None,
    })
}

/// What shows that a question may be asked.
pub(super) fn support(shown: &Support, manifest: &Tensor) -> abi::Support {
    abi::Support {
        chunk: shown.chunk.as_ref().map(chunk).unwrap_or_default(),
        roots: shown.roots.as_ref().map(roots).unwrap_or_default(),
        manifest: tensor(manifest),
    }
}

/// An answer.
pub(super) fn answer(said: &Answer) -> abi::Answer {
    let mut answer = abi::Answer::default();
    match said {
        Answer::Chunk { opening, nodes } => (answer.chunk, answer.nodes) = (chunk(opening), words32(nodes)),
        Answer::Nodes { nodes, siblings } => (answer.nodes, answer.siblings) = (words32(nodes), words32(siblings)),
        Answer::Bytes { bytes, siblings } => {
            (answer.data, answer.siblings) = (bytes.clone().into(), words32(siblings));
        }
        Answer::Roots { roots: said, signature } => answer.roots = roots(&(said.clone(), *signature)),
    }
    answer
}

/// The answer to a question about the receipt `id` as the chain tells it.
pub(super) fn answer_of(asked: &Question, id: &Digest, said: &abi::Answer) -> Option<Answer> {
    let (nodes, siblings) = (digests(&said.nodes), digests(&said.siblings));
    Some(match asked {
        Question::Chunk { .. } => Answer::Chunk { opening: chunk_of(&said.chunk), nodes },
        Question::Vector { down: 0, .. } | Question::State { .. } => {
            Answer::Bytes { bytes: said.data.to_vec(), siblings }
        }
        Question::States { .. } | Question::Vector { .. } => Answer::Nodes { nodes, siblings },
        Question::Roots { .. } => {
            let signature = Signature(said.roots.signature.as_ref().try_into().ok()?);
            let abi::VectorRoots { position, layer, vectors, roots, .. } = &said.roots;
            let (vectors, roots) = (vectors.clone(), digests(roots));
            let roots = VectorRoots { receipt: *id, position: *position, layer: *layer, vectors, roots };
            Answer::Roots { roots, signature }
        }
    })
}
