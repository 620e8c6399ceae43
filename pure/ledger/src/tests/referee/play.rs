//! Random elements of random models, asked of the contract and of the definition.

use super::made_up::Dice;
use alloy_primitives::{B256, Bytes};
use alloy_sol_types::{SolCall, SolValue};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use talkoo_base::{Digest, GenerateParams, sha256};
use talkoo_exact::steps::{self, CachedRow, Draw, ModelTree, Name, OUT_OF_RANGE, Place, Program, Stage, Steps};
use talkoo_exact::{CachedHead, Model};
use talkoo_ledger::bindings::{Claim, IReferee, Input, Opening, Tensor, Weights, Witness};
use talkoo_ledger::contracts::{ATTENTION_REFEREE, ATTENTION_REFEREE_AT, REFEREE, REFEREE_AT};
use talkoo_ledger::{Call, Code, Contract, Genesis, Head, Memory, Outcome, Reader};

/// Places that are asked more often than others, because they do most; none stands for all.
const OFTEN: [&[Place]; 8] = [
    &[],
    &[],
    &[Place::Query, Place::Down],
    &[Place::QueryTurned, Place::Row],
    &[Place::Product],
    &[Place::Attention],
    &[Place::Attention],
    &[Place::Sampler, Place::Sampler, Place::Logprobs],
];

/// What was asked.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) asked: usize,
    pub(crate) out_of_range: usize,
    /// Most gas of an element, and how often, by place.
    pub(crate) places: BTreeMap<Place, (u64, usize)>,
    pub(crate) stages: BTreeSet<Stage>,
    /// Most gas by what a place and stage do.
    pub(crate) gas: BTreeMap<(Place, Stage), u64>,
}

/// A chain with nothing but the two contracts.
pub(crate) struct Court {
    head: Head,
    kv: Memory,
}

impl Court {
    /// With the contracts that are checked in.
    pub(crate) fn new() -> Self {
        Self::of([ATTENTION_REFEREE, REFEREE].map(|artifact| artifact.creation()))
    }

    /// With the contracts that this code creates.
    pub(crate) fn of([attention, referee]: [Bytes; 2]) -> Self {
        let referee = [&referee[..], &(ATTENTION_REFEREE_AT,).abi_encode_params()].concat();
        let contract = |name, address, code| Contract { name, address, code: Code::Creation(code) };
        let contracts = vec![
            contract("attention", ATTENTION_REFEREE_AT, attention),
            contract("referee", REFEREE_AT, referee.into()),
        ];
        let (chain_id, extra_data) = (1, Bytes::new());
        let genesis = Genesis { chain_id, timestamp: 1, epoch_s: 0, extra_data, balances: Vec::new(), contracts };
        let (head, _, writes) = genesis.build().expect("the constructors run");
        let mut kv = Memory::default();
        kv.write(writes);
        Self { head, kv }
    }

    /// Asks the contract.
    pub(crate) fn call(&mut self, claim: &Claim, witness: &Witness) -> Outcome {
        let data = IReferee::checkCall { c: claim.clone(), w: witness.clone() }.abi_encode();
        let call = Call { to: Some(REFEREE_AT), data: data.into(), ..Call::default() };
        let ancestors = |_| Ok(B256::ZERO);
        let mut reader = Reader { head: &mut self.head, kv: &self.kv, ancestors: &ancestors, timestamp: 0 };
        reader.call(&call, &BTreeMap::new()).expect("the state is in memory")
    }
}

/// A model, and somebody who asks about it.
pub(crate) struct Player<'a> {
    dice: Dice,
    model: Rc<Model>,
    tree: ModelTree,
    court: &'a mut Court,
}

impl<'a> Player<'a> {
    pub(crate) fn new(seed: u64, model: Model, court: &'a mut Court) -> Self {
        Self { dice: Dice(seed ^ 0x5eed), tree: ModelTree::of(&model), model: Rc::new(model), court }
    }

    /// Asks `count` elements, a few of each of some positions.
    pub(crate) fn play(&mut self, count: usize, tally: &mut Tally) {
        let mut asked = 0;
        while asked < count {
            let shape = self.model.manifest.architecture.clone();
            let layer = self.dice.below(self.model.layers.len());
            let position = [0, 1, 31, 40, 127, 128, 150, 300][self.dice.below(8)];
            let token = self.dice.below(shape.vocabulary) as u32;
            let earlier: Vec<(Vec<i64>, CachedRow)> =
                (0..position).map(|_| (Vec::new(), [0, 1].map(|_| self.heads()).into())).collect();
            let (before, row) = (self.numbers(shape.embedding, 51), self.row());
            // States of earlier positions need their residuals only when a row is asked of them.
            let earlier: Vec<_> = earlier.into_iter().map(|(_, row)| (vec![7; shape.embedding], row)).collect();
            let model = Rc::clone(&self.model);
            let before = (layer > 0).then_some((&before[..], &row));
            let program =
                Program { model: &model, layer, position, token, before, earlier: &earlier, draw: Draw::default() };
            for _ in 0..40 {
                let Some(name) = self.pick(&program) else { continue };
                let mut steps = Steps::new(Program { draw: Draw::default(), ..program });
                if matches!(name.place, Place::Sampler | Place::Logprobs) {
                    let mut logits = self.numbers(shape.vocabulary, 40);
                    if self.dice.below(3) == 0 {
                        // So that parts of their mass are parts of their number.
                        logits.fill(7);
                    }
                    steps = Steps::new(Program { draw: self.draw(&logits), ..program });
                    steps.agree(Name::out(Place::Logits), logits.into_iter().map(i128::from).collect());
                    self.agree_edge(&mut steps, name);
                } else {
                    self.agree(&mut steps, name);
                }
                asked += usize::from(self.ask(&mut steps, name, tally));
            }
        }
    }

    fn draw(&mut self, logits: &[i64]) -> Draw {
        let params = GenerateParams {
            temperature_q16: [0, 1, 50_000, 65_536, u32::MAX][self.dice.below(5)],
            top_k: [0, 1, 8, 32, 1_000][self.dice.below(5)],
            top_p_q16: [0, 1, 16_384, 32_768, 65_535, 65_536][self.dice.below(6)],
            min_p_q16: [0, 1, 500, 30_000, 65_536][self.dice.below(5)],
            ..GenerateParams::default()
        };
        Draw::new(&params, self.dice.next(), self.dice.next() as u32, logits)
    }

    fn row(&mut self) -> CachedRow {
        (self.heads(), self.heads())
    }

    fn heads(&mut self) -> Vec<CachedHead> {
        let (shape, format) = (self.model.manifest.architecture.clone(), self.model.manifest.kv);
        (0..shape.kv_heads).map(|_| CachedHead::of(&self.numbers(shape.head_dim, 41), format)).collect()
    }

    /// Numbers of at most `most` bits: of any size, all nought, at the edges, or near one another.
    fn numbers(&mut self, count: usize, most: u32) -> Vec<i64> {
        let bits = 1 + self.dice.below(most as usize) as u32;
        let (kind, base) = (self.dice.below(8), self.dice.signed(bits - 1));
        let spread = 1 + self.dice.below(26.min(bits as usize)) as u32;
        let number = |dice: &mut Dice| match kind {
            0 => 0,
            3..6 if spread < bits => base + dice.signed(spread - 1),
            1 => [(1 << bits) - 1, 1 - (1 << bits), 0, 1 << (bits - 1), -1][dice.below(5)],
            2 if dice.below(9) > 0 => dice.signed(1),
            _ => dice.signed(bits),
        };
        (0..count).map(|_| number(&mut self.dice)).collect()
    }

    /// A vector of the program.
    fn pick(&mut self, program: &Program<'_>) -> Option<Name> {
        let like = OFTEN[self.dice.below(OFTEN.len())];
        let place = if like.is_empty() { &Place::ALL } else { like };
        let place = place[self.dice.below(place.len())];
        let stages: Vec<Stage> = Stage::ALL.into_iter().filter(|s| program.count(place, *s) > 0).collect();
        let stage = *stages.get(self.dice.below(stages.len().max(1)))?;
        let sub = program.first_sub(place) + self.dice.below(program.count(place, stage)) as u32;
        Some(Name::of(place, stage, sub))
    }

    /// Agrees outputs of the places that `name` follows from: whatever they may be.
    fn agree(&mut self, steps: &mut Steps<'_>, name: Name) {
        let program = *steps.program();
        let mut agreed = vec![(program.input(name.place), 51)];
        match name.place {
            Place::Residual | Place::Row => agreed = vec![(Place::Key, 40), (Place::Value, 40)],
            Place::Attention => agreed = vec![(Place::QueryTurned, 42), (Place::KeyTurned, 42), (Place::Value, 41)],
            Place::Query | Place::Key | Place::Value => agreed = vec![(Place::AttentionNorm, 60)],
            Place::AttentionOutput => agreed = vec![(Place::Attention, 60)],
            Place::Gate | Place::Up => agreed = vec![(Place::FeedForwardNorm, 60)],
            Place::Down => agreed = vec![(Place::Product, 59)],
            Place::Logits => agreed = vec![(Place::OutputNorm, 60)],
            Place::Middle => agreed.push((Place::Residual, 51)),
            Place::Output => agreed.push((Place::Middle, 51)),
            Place::Product => agreed = vec![(Place::Gate, 40), (Place::Up, 40)],
            _ => {}
        }
        if name.place == Place::Attention && matches!(name.stage, Stage::Weights | Stage::Max | Stage::Total) {
            let scores = Name { stage: Stage::Scores, ..name };
            let numbers = self.numbers(program.length(scores), 60);
            steps.agree(scores, numbers.into_iter().map(i128::from).collect());
        }
        if name.stage == Stage::Partial {
            let aligned = Name { stage: Stage::Aligned, sub: name.sub / 32, ..name };
            let numbers = self.numbers(program.length(aligned), 45);
            steps.agree(aligned, numbers.into_iter().map(|n| i128::from(n.abs())).collect());
        }
        for (place, bits) in agreed {
            let name = Name::out(place);
            let numbers = self.numbers(program.length(name), bits);
            steps.agree(name, numbers.into_iter().map(i128::from).collect());
        }
    }

    /// Agrees sums with which the draw falls exactly where a token begins or ends, if it can.
    fn agree_edge(&mut self, steps: &mut Steps<'_>, name: Name) {
        let draw = steps.program().draw;
        let target = i128::from(talkoo_exact::sample::draw(draw.seed, draw.index));
        if (name.place, name.stage) != (Place::Sampler, Stage::Out) || target % 4 != 0 {
            return;
        }
        // target * 2^62 = target / 4 * 2^64
        let weight = steps.vector(Name::of(Place::Sampler, Stage::Weights, 0))[name.sub as usize];
        let before = (target / 4 - [0, weight][self.dice.below(2)]).max(0);
        for (name, sum) in
            [(Name { stage: Stage::Kept, sub: 0, ..name }, 1 << 62), (Name { stage: Stage::Before, ..name }, before)]
        {
            let mut sums = vec![0; steps.program().length(name)];
            *sums.last_mut().expect("a vocabulary has tokens") = sum;
            steps.agree(name, sums);
        }
    }

    /// Asks one element of both; whether there was one.
    fn ask(&mut self, steps: &mut Steps<'_>, name: Name, tally: &mut Tally) -> bool {
        let vector = steps.vector(name);
        let first =
            steps.program().model.manifest.features.first_visible(steps.program().layer, steps.program().position);
        let index = match self.dice.below(4) {
            0 => vector.len() - 1,
            // Where folds begin anew, and where a window does.
            1 => [0, 4, 128, 256, first, first.saturating_sub(1)][self.dice.below(6)],
            _ => self.dice.below(vector.len()),
        };
        let index = index.min(vector.len() - 1);
        let expected = vector[index];
        let other = expected.wrapping_add(1);
        let (mut claim, witness) = question(steps, name, index, &self.tree);
        claim.claimed = expected;
        if index == 0 {
            // There is none, whatever it is said to be.
            claim.previous = self.dice.signed(60).into();
        }
        let outcome = self.court.call(&claim, &witness);
        let case = format!("{name:?} [{index}] of {:?}", steps.program().model.manifest.features);
        assert!(outcome.success, "{case}: {}", outcome.output);
        let answer = IReferee::checkCall::abi_decode_returns(&outcome.output).expect("an answer");
        assert_eq!((answer.value, answer.holds), (expected, true), "{case}");
        if self.dice.below(8) == 0 {
            claim.claimed = other;
            let outcome = self.court.call(&claim, &witness);
            let answer = IReferee::checkCall::abi_decode_returns(&outcome.output).expect("an answer");
            assert_eq!((answer.value, answer.holds), (expected, false), "{case}");
        }
        tally.asked += 1;
        tally.out_of_range += usize::from(expected == OUT_OF_RANGE);
        let most = tally.places.entry(name.place).or_default();
        *most = (most.0.max(outcome.gas_used), most.1 + 1);
        tally.stages.insert(name.stage);
        let gas = tally.gas.entry((name.place, name.stage)).or_default();
        *gas = (*gas).max(outcome.gas_used);
        true
    }
}

/// The claim of an element, not yet claimed to be anything, and its witness, as the contract takes them.
pub(crate) fn question(steps: &mut Steps<'_>, name: Name, index: usize, tree: &ModelTree) -> (Claim, Witness) {
    let witness = steps.witness(name, index, tree);
    let program = steps.program();
    let mut inputs: Vec<(u64, Digest)> = witness.openings.iter().map(|o| (o.name.number(), o.root)).collect();
    inputs.dedup();
    let word = |digest: &Digest| B256::from(digest.0);
    let words = |digests: &[Digest]| digests.iter().map(word).collect::<Vec<_>>();
    let tensor = |t: &steps::Tensor| Tensor { data: t.bytes.clone().into(), siblings: words(&t.siblings) };
    let openings = witness.openings.iter().map(|o| Opening {
        input: inputs.iter().position(|i| i.0 == o.name.number()).expect("listed above") as u32,
        leaf: o.leaf,
        elements: o.elements.clone().into(),
        siblings: words(&o.siblings),
    });
    let state = if witness.state.is_empty() { B256::ZERO } else { word(&sha256(&[&witness.state])) };
    let claim = Claim {
        modelRoot: word(&tree.root()),
        state,
        layer: program.layer as u32,
        position: program.position as u32,
        token: program.token,
        temperature: program.draw.temperature,
        seed: program.draw.seed,
        output: program.draw.index,
        topK: program.draw.top_k,
        topP: program.draw.top_p,
        minP: program.draw.min_p,
        ends: program.draw.ends,
        vector: name.number(),
        index: index as u32,
        previous: witness.previous,
        claimed: 0,
        inputs: inputs.iter().map(|(vector, root)| Input { vector: *vector, root: word(root) }).collect(),
    };
    let weights = Weights {
        shape: witness.weights.shape,
        tiles: word(&witness.weights.tiles),
        siblings: words(&witness.weights.siblings),
        tile: witness.weights.tile.clone().into(),
        tileSiblings: words(&witness.weights.tile_siblings),
    };
    let openings = openings.collect();
    let (manifest, gains) = (tensor(&witness.manifest), tensor(&witness.gains));
    (claim, Witness { openings, manifest, gains, weights, state: witness.state.into() })
}
