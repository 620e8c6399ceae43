//! A worker that ran a small made-up model for somebody and signed a receipt, and all that it can show of it.

use crate::bindings::{self, *};
use crate::contracts::DISPUTES_AT;
use crate::tests::contracts::ours;
use crate::tests::referee::play::question;
use crate::tests::{address, key};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolValue;
use talkoo_base::wire::{AuditPolicy, Kind, Sealed, Tier, Typed, Unit};
use talkoo_base::{
    Amount, Digest, Finish, GenerateParams, Network, Receipt as Stated, Request as Order, Signed, Signer, Unix, merkle,
    sha256,
};
use talkoo_exact::forward::{Kv, forward, logits};
use talkoo_exact::sample::sample;
use talkoo_exact::steps::{CachedRow, Draw, ModelTree, Name, Place, Program, Stage, Steps, vector_root};
use talkoo_exact::trace::{cached_row_bytes, chunk_digest, states_root, trace_root};
use talkoo_exact::{CachedHead, Model};
use talkoo_proof::dispute::Case;

/// Who pays, who signs for the payer, who owns the node, the node, who doubts.
pub(super) const PAYER: u8 = 2;
pub(super) const CLIENT: u8 = 3;
pub(super) const OPERATOR: u8 = 6;
pub(super) const NODE: u8 = 7;
pub(super) const CHALLENGER: u8 = 4;

pub(super) const PROMPT: usize = 5;
/// Three whole chunks, of which two have as many states, and one of two tokens.
pub(super) const UNITS: usize = 98;
const SALTS: [Digest; 2] = [Digest([0x51; 32]), Digest([0x52; 32])];
const CHUNK: usize = 32;

/// One number that is told otherwise than it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    /// A byte of the state of a position and layer.
    State(usize, usize, usize),
    /// A state that is a byte too long.
    Long(usize, usize),
    /// A token of trace and output, and what it is told to be.
    Token(usize, u32),
    /// A token of the output root.
    Output(usize),
    /// None, but the receipt is of the float tier.
    Float,
    /// None, but the receipt says that it diverged.
    Diverged,
    /// None, but the request is to another node.
    Stranger,
}

/// By layer and position: residual, keys and values.
type Past = Vec<Vec<(Vec<i64>, CachedRow)>>;

pub(super) struct Worker {
    pub(super) model: Model,
    tree: ModelTree,
    params: GenerateParams,
    prompt: Vec<u32>,
    pub(super) tokens: Vec<u32>,
    told: Vec<u32>,
    past: Past,
    /// By position and layer.
    pub(super) states: Vec<Vec<Vec<u8>>>,
    /// Of these.
    digests: Vec<Vec<Digest>>,
    /// What it keeps.
    pub(super) case: Option<Case>,
    pub(super) words: Words,
    pub(super) signatures: Signatures,
    pub(super) id: B256,
    pub(super) lease: B256,
}

pub(super) fn network() -> Network {
    Network::local("test")
}

fn word(digest: &Digest) -> B256 {
    digest.0.into()
}

fn words(digests: &[Digest]) -> Vec<B256> {
    digests.iter().map(word).collect()
}

fn signature(who: u8, digest: &Digest) -> Bytes {
    key(who).sign(digest).0.to_vec().into()
}

fn salted(tag: &str, salt: &Digest, tokens: &[u32]) -> Vec<Digest> {
    let leaf = |token: &u32| merkle::leaf(tag, &[&salt.0[..], &token.to_be_bytes()].concat());
    tokens.iter().map(leaf).collect()
}

fn siblings(leaves: &[Digest], index: usize) -> Vec<B256> {
    words(&merkle::open(leaves, index).expect("there is such a leaf").siblings)
}

/// Where a run of this model draws as `params` say.
fn run(model: &Model, params: &GenerateParams, prompt: &[u32], seed: u64) -> (Vec<u32>, Past) {
    let (mut kv, mut tokens, mut all) = (Kv::new(model), Vec::new(), prompt.to_vec());
    for position in 0..PROMPT + UNITS - 1 {
        let step = forward(model, &mut kv, all[position]).expect("a mild model stays in its range");
        if position + 1 >= PROMPT {
            let logits = logits(model, &step.residual).expect("a mild model stays in its range");
            tokens.push(sample(&logits, params, seed, tokens.len() as u32));
            all.push(tokens[tokens.len() - 1]);
        }
    }
    // The residual after a layer is that of the model that ends there.
    let past = (0..model.layers.len()).map(|layer| {
        let mut part = model.clone();
        part.layers.truncate(layer + 1);
        let mut kv = Kv::new(&part);
        let steps: Vec<_> = all[..PROMPT + UNITS - 1]
            .iter()
            .map(|token| forward(&part, &mut kv, *token).expect("a mild model stays in its range").residual)
            .collect();
        let row = |position| -> CachedRow { kv.row(layer, position).clone() };
        steps.into_iter().enumerate().map(|(position, residual)| (residual, row(position))).collect()
    });
    (tokens, past.collect())
}

impl Worker {
    pub(super) fn new(model: Model, params: GenerateParams, lie: Lie) -> Self {
        Self::of(model, params, lie, false)
    }

    /// One that re-ran an output for somebody.
    pub(super) fn verifier(model: Model, params: GenerateParams, lie: Lie) -> Self {
        Self::of(model, params, lie, true)
    }

    fn of(model: Model, params: GenerateParams, lie: Lie, is_audit: bool) -> Self {
        let prompt: Vec<u32> = (0..PROMPT as u32).map(|i| i * 7 % 40).collect();
        let seed = 11;
        let (tokens, past) = run(&model, &params, &prompt, seed);
        let mut states = Self::states_of(&model, &past);
        let (mut traced, mut told) = (tokens.clone(), tokens);
        match lie {
            Lie::None | Lie::Float | Lie::Diverged | Lie::Stranger => {}
            Lie::State(position, layer, byte) => states[position][layer][byte] ^= 1,
            Lie::Long(position, layer) => states[position][layer].push(0),
            Lie::Token(i, token) => (traced[i], told[i]) = (token, token),
            Lie::Output(i) => told[i] = (told[i] + 1) % 40,
        }
        let tree = ModelTree::of(&model);
        let digests = states.iter().map(|layers| layers.iter().map(|state| sha256(&[state])).collect()).collect();
        let mut worker = Self {
            model,
            tree,
            params,
            prompt,
            tokens: traced,
            told,
            past,
            states,
            digests,
            case: None,
            words: Words::default(),
            signatures: Signatures::default(),
            id: B256::ZERO,
            lease: B256::ZERO,
        };
        worker.sign(seed, lie, is_audit);
        worker
    }

    fn states_of(model: &Model, past: &Past) -> Vec<Vec<Vec<u8>>> {
        let row = |heads: &[CachedHead]| cached_row_bytes(heads, model.manifest.kv);
        let state = |(residual, (keys, values)): &(Vec<i64>, CachedRow)| -> Vec<u8> {
            let residual: Vec<u8> = residual.iter().flat_map(|r| r.to_le_bytes()).collect();
            [residual, row(keys), row(values)].concat()
        };
        (0..past[0].len()).map(|position| past.iter().map(|layer| state(&layer[position])).collect()).collect()
    }

    /// Signs as client, node and operator; the delegation lasts to second 2,000,000,000.
    fn sign(&mut self, seed: u64, lie: Lie, is_audit: bool) {
        let network = network();
        let config = talkoo_base::ChannelConfig {
            payer: ours(address(PAYER)),
            payer_authorizer: ours(address(CLIENT)),
            receiver: network.contracts.vault,
            receiver_authorizer: ours(address(OPERATOR)),
            token: network.contracts.token,
            withdraw_delay: 86_400,
            salt: Digest([7; 32]),
        };
        let channel = config.id(&network);
        let root = |tag: &str, leaves| merkle::root_of_leaves(tag, leaves);
        let output_root = root("talkoo/output/1", salted("talkoo/output/1", &SALTS[1], &self.told));
        let third = is_audit.then_some(output_root);
        let input_units = PROMPT + if is_audit { UNITS } else { 0 };
        let order = Order {
            version: 1,
            kind: Kind::Generate,
            job: Digest([1; 32]),
            program: self.tree.root(),
            inputs: vec![root("talkoo/prompt/1", salted("talkoo/prompt/1", &SALTS[0], &self.prompt)), Digest([3; 32])]
                .into_iter()
                .chain(third)
                .collect(),
            params: self.params.to_bytes(),
            limits: talkoo_base::Limits { input_units: input_units as u64, output_units: 64, state_bytes: 0 },
            seed,
            audit_commit: Digest([4; 32]),
            audit: AuditPolicy::Drawn,
            price: talkoo_base::Price { input: 1_000_000, output: 2_000_000 },
            deadline: Unix(1_700_000_600),
            worker: ours(address(if lie == Lie::Stranger { CHALLENGER } else { NODE })),
            channel,
        };
        self.words.request = (&order).into();
        let chunks: Vec<Digest> = (0..UNITS.div_ceil(CHUNK)).map(|j| self.chunk_digest(j)).collect();
        let receipt = Stated {
            version: 1,
            tier: if lie == Lie::Float { Tier::Float } else { Tier::Exact },
            request: order.digest(&network),
            unit: Unit::Token,
            units: UNITS as u64,
            output_root,
            trace_root: trace_root(&chunks),
            build: Digest::ZERO,
            operator: ours(address(OPERATOR)),
            node: ours(address(NODE)),
            channel,
            cumulative: Amount(100),
            finish: if lie == Lie::Diverged { Finish::Diverged } else { Finish::Length },
        };
        let delegation = talkoo_base::Delegation {
            owner: ours(address(OPERATOR)),
            node: ours(address(NODE)),
            roles: 7,
            expiry: Unix(2_000_000_000),
        };
        self.words = Words { request: (&order).into(), receipt: (&receipt).into(), channel: (&config).into() };
        self.signatures = Signatures {
            request: signature(CLIENT, &order.digest(&network)),
            receipt: signature(NODE, &receipt.digest(&network)),
            delegation: bindings::Delegation {
                owner: address(OPERATOR),
                nodeKey: address(NODE),
                roles: 7,
                expiry: 2_000_000_000,
            },
            delegationSignature: signature(OPERATOR, &delegation.digest(&network)),
            grant: 0,
        };
        self.case = Some(Case {
            request: Sealed::from(&Signed::new(order.clone(), &network, &key(CLIENT))),
            receipt: Sealed::from(&Signed::new(receipt.clone(), &network, &key(NODE))),
            channel: config,
            prompt_salt: SALTS[0],
            trace_salt: SALTS[1],
            prompt: self.prompt.clone(),
            output: self.tokens.clone(),
            digests: chunks,
            logprobs: Vec::new(),
        });
        (self.lease, self.id) = (word(&order.digest(&network)), word(&receipt.digest(&network)));
    }

    pub(super) fn layers(&self) -> usize {
        self.model.layers.len()
    }

    pub(super) fn manifest(&self) -> Tensor {
        let mut steps = self.steps(0, 0);
        let (_, witness) = question(&mut steps, Name::out(Place::AttentionNorm), 0, &self.tree);
        witness.manifest
    }

    fn positions(chunk: usize) -> std::ops::Range<usize> {
        let end = PROMPT - 1 + UNITS.min((chunk + 1) * CHUNK);
        if chunk == 0 { 0..end } else { PROMPT - 1 + chunk * CHUNK..end }
    }

    fn chunk_of(position: usize) -> usize {
        (position + 1).saturating_sub(PROMPT) / CHUNK
    }

    fn tokens_of(&self, chunk: usize) -> &[u32] {
        self.tokens.chunks(CHUNK).nth(chunk).expect("there is such a chunk")
    }

    /// Digests of the states of a chunk.
    pub(super) fn digests(&self, chunk: usize) -> Vec<Digest> {
        self.digests[Self::positions(chunk)].concat()
    }

    pub(super) fn state_leaves(&self, chunk: usize) -> Vec<Digest> {
        self.digests(chunk).iter().map(|d| merkle::leaf("talkoo/states/1", &d.0)).collect()
    }

    fn chunk_digest(&self, chunk: usize) -> Digest {
        let trace = Digest([3; 32]);
        chunk_digest(&trace, chunk as u32, self.tokens_of(chunk), &states_root(&self.digests(chunk)))
    }

    pub(super) fn chunk(&self, chunk: usize) -> ChunkOpening {
        let leaf = |j| merkle::leaf("talkoo/trace/1", &self.chunk_digest(j).0);
        let leaves: Vec<Digest> = (0..UNITS.div_ceil(CHUNK)).map(leaf).collect();
        ChunkOpening {
            index: chunk as u32,
            tokens: self.tokens_of(chunk).iter().flat_map(|t| t.to_be_bytes()).collect::<Vec<u8>>().into(),
            statesRoot: word(&states_root(&self.digests(chunk))),
            logprobs: Bytes::new(),
            siblings: siblings(&leaves, chunk),
        }
    }

    /// Siblings of a state in its chunk.
    pub(super) fn state_siblings(&self, position: usize, layer: usize) -> Vec<B256> {
        let chunk = Self::chunk_of(position);
        let index = (position - Self::positions(chunk).start) * self.layers() + layer;
        siblings(&self.state_leaves(chunk), index)
    }

    pub(super) fn steps(&self, position: usize, layer: usize) -> Steps<'_> {
        let is_drawn = layer + 1 == self.layers() && position + 1 >= PROMPT;
        let draw = if is_drawn {
            let logits = logits(&self.model, &self.past[layer][position].0).expect("a mild model stays in its range");
            Draw::new(&self.params, self.words.request.seed, (position + 1 - PROMPT) as u32, &logits)
        } else {
            Draw::default()
        };
        let before = layer.checked_sub(1).map(|below| {
            let (residual, row) = &self.past[below][position];
            (&residual[..], row)
        });
        Steps::new(Program {
            model: &self.model,
            layer,
            position,
            token: self.token_at(position),
            before,
            earlier: &self.past[layer][..position],
            draw,
        })
    }

    /// Digests of all states.
    pub(super) fn all_digests(&self) -> Vec<Digest> {
        self.digests.concat()
    }

    fn token_at(&self, position: usize) -> u32 {
        self.prompt.iter().chain(&self.tokens).copied().nth(position).expect("a position of the trace")
    }

    /// The node's signed word on roots.
    pub(super) fn said(&self, position: usize, layer: usize, roots: &[(u64, B256)]) -> VectorRoots {
        let type_hash =
            keccak256("VectorRoots(bytes32 receipt,uint32 position,uint32 layer,uint64[] vectors,bytes32[] roots)");
        let (vectors, roots): (Vec<u64>, Vec<B256>) = roots.iter().copied().unzip();
        let numbers: Vec<U256> = vectors.iter().map(|v| U256::from(*v)).collect();
        let hashes = [keccak256(numbers.abi_encode_packed()), keccak256(roots.abi_encode_packed())];
        let fields = (type_hash, self.id, U256::from(position), U256::from(layer), hashes[0], hashes[1]);
        let digest = network().talkoo_domain().digest(&Digest(keccak256(fields.abi_encode()).0));
        let (position, layer) = (position as u32, layer as u32);
        VectorRoots { position, layer, vectors, roots, signature: signature(NODE, &digest) }
    }

    /// What is said of element `index` of a vector, `more` than it is, as a finding.
    pub(super) fn finding(&self, (position, layer): (usize, usize), name: Name, index: usize, more: i128) -> Finding {
        self.finding_in(self.steps(position, layer), name, index, more)
    }

    /// The same where other vectors are said to be as in `steps`.
    pub(super) fn finding_in(&self, mut steps: Steps<'_>, name: Name, index: usize, more: i128) -> Finding {
        let program = *steps.program();
        let (position, layer) = (program.position, program.layer);
        let mut vector = steps.vector(name).to_vec();
        // One that ends with a range error is told whole all the same.
        vector.resize(program.length(name), 0);
        vector[index] = vector[index].wrapping_add(more);
        steps.agree(name, vector.clone());
        let (mut claim, witness) = question(&mut steps, name, index, &self.tree);
        let is_drawn = (name.place, name.stage) == (Place::Sampler, Stage::Out);
        claim.claimed = if is_drawn { 1 } else { vector[index] };
        let mut roots: Vec<(u64, B256)> = claim.inputs.iter().map(|input| (input.vector, input.root)).collect();
        roots.push((name.number(), word(&vector_root(name, &vector))));
        let chunk_at = match claim.state {
            B256::ZERO => None,
            _ if name.place == Place::Residual => Some((position, layer - 1)),
            _ => Some((index, layer)),
        };
        let output = match position {
            _ if is_drawn => Some(position + 1 - PROMPT),
            _ => position.checked_sub(PROMPT),
        };
        let prompt = salted("talkoo/prompt/1", &SALTS[0], &self.prompt);
        Finding {
            roots: vec![self.said(position, layer, &roots)],
            leaf: leaf(name, &vector, index / 32),
            before: if index > 0 { leaf(name, &vector, (index - 1) / 32) } else { Opening::default() },
            chunk: chunk_at.map(|(p, _)| self.chunk(Self::chunk_of(p))).unwrap_or_default(),
            stateSiblings: chunk_at.map(|(p, l)| self.state_siblings(p, l)).unwrap_or_default(),
            tokenChunk: output.map(|i| self.chunk(i / CHUNK)).unwrap_or_default(),
            promptSalt: word(&SALTS[0]),
            tokenSiblings: if position < PROMPT { siblings(&prompt, position) } else { Vec::new() },
            beneficiary: address(CHALLENGER),
            claim,
            witness,
        }
    }

    /// Element `index` of Output or Row, against the state's bytes.
    pub(super) fn state_finding(&self, (position, layer): (usize, usize), name: Name, index: usize) -> StateFinding {
        let vector = self.steps(position, layer).vector(name);
        StateFinding {
            chunk: self.chunk(Self::chunk_of(position)),
            state: self.states[position][layer].clone().into(),
            siblings: self.state_siblings(position, layer),
            roots: self.said(position, layer, &[(name.number(), word(&vector_root(name, &vector)))]),
            vector: name.number(),
            index: index as u32,
            leaf: leaf(name, &vector, index / 32),
            manifest: self.manifest(),
            beneficiary: address(CHALLENGER),
        }
    }

    pub(super) fn output_finding(&self, place: usize) -> OutputFinding {
        let leaves = salted("talkoo/output/1", &SALTS[1], &self.told);
        OutputFinding {
            chunk: self.chunk(place / CHUNK),
            place: place as u64,
            token: self.told[place],
            salt: word(&SALTS[1]),
            siblings: siblings(&leaves, place),
            beneficiary: address(CHALLENGER),
        }
    }

    /// The challenger's bond, signed until second 1,900,000,000.
    pub(super) fn bond(&self, separator: B256, who: Address) -> Bond {
        let (from, until) = (address(CHALLENGER), 1_900_000_000);
        let nonce = keccak256((self.id, who).abi_encode());
        let amount = crate::contracts::DISPUTE_BOND;
        let digest = authorization::digest(separator, from, DISPUTES_AT, amount, until, nonce);
        let signature = signature(CHALLENGER, &Digest(digest.0));
        Bond { from, validAfter: U256::ZERO, validBefore: U256::from(until), signature }
    }
}

/// The leaves of a vector.
pub(super) fn leaves(name: Name, vector: &[i128]) -> Vec<Digest> {
    let bytes = |part: &[i128]| -> Vec<u8> {
        name.number().to_be_bytes().into_iter().chain(part.iter().flat_map(|e| e.to_be_bytes())).collect()
    };
    vector.chunks(32).map(|part| merkle::leaf("talkoo/vector/1", &bytes(part))).collect()
}

pub(super) fn leaf(name: Name, vector: &[i128], number: usize) -> Opening {
    let elements = vector.chunks(32).nth(number).expect("there is such a leaf");
    Opening {
        input: 0,
        leaf: number as u32,
        elements: elements.iter().flat_map(|e| e.to_be_bytes()).collect::<Vec<u8>>().into(),
        siblings: siblings(&leaves(name, vector), number),
    }
}
