//! Made-up models of any shape and features, mild or wild; other crates' tests include this file.

use talkoo_base::Digest;
use talkoo_exact::model::{Extras, Layer};
use talkoo_exact::{Activation, Architecture, Features, KvFormat, Manifest, Matrix, Model, Numbers, Rotation};

/// SplitMix64.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A number of magnitude below 2^bits.
    pub(crate) fn signed(&mut self, bits: u32) -> i64 {
        (self.next() >> (63 - bits)) as i64 - (1 << bits)
    }

    fn coin(&mut self) -> bool {
        self.next() % 2 == 1
    }
}

/// Bits of a code, the code of zero, weights of a scale, whether there are minimums: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K,
/// Q5_K, Q6_K as rule 1 has them (the K family's like those with minimums).
const FORMATS: [(u32, u8, usize, bool); 8] = [
    (4, 8, 32, false),
    (4, 0, 32, true),
    (5, 16, 32, false),
    (5, 0, 32, true),
    (8, 128, 32, false),
    (4, 0, 32, true),
    (5, 0, 32, true),
    (6, 32, 16, false),
];

/// A matrix of a random format; a wild one has scales, minimums and exponents of any size.
pub(crate) fn matrix(dice: &mut Dice, rows: usize, columns: usize, wild: bool) -> Matrix {
    let (bits, zero_point, block, has_min) = FORMATS[dice.below(FORMATS.len())];
    let blocks = rows * columns / block;
    let ew = |dice: &mut Dice| match dice.below(2_000) {
        0 if wild => 8 - dice.below(22) as i32,
        1..400 if wild => -60 + dice.below(47) as i32,
        _ => -18 + dice.below(4) as i32,
    };
    let edge = |dice: &mut Dice, most: i64, mild: u32| match dice.below(8) {
        0 if wild => [most, -most, 0, 1][dice.below(4)],
        _ => dice.signed(mild),
    };
    Matrix {
        rows,
        columns,
        block,
        zero_point,
        codes: (0..rows * columns).map(|_| (dice.next() >> (64 - bits)) as u8).collect(),
        sw: (0..blocks).map(|_| edge(dice, 32_767, 10) as i16).collect(),
        mn: (0..if has_min { blocks } else { 0 }).map(|_| edge(dice, 1 << 20, 13) as i32).collect(),
        ew: (0..rows).map(|_| ew(dice)).collect(),
    }
}

fn gains(dice: &mut Dice, length: usize, wild: bool) -> Vec<i32> {
    let gain = |dice: &mut Dice| match dice.below(64) {
        0 if wild => [i32::MAX, i32::MIN, 0, -1][dice.below(4)],
        _ => dice.signed(17) as i32,
    };
    (0..length).map(|_| gain(dice)).collect()
}

/// A model with random features, two layers or three, and a context of 512.
pub(crate) fn model(seed: u64, wild: bool) -> Model {
    let dice = &mut Dice(seed);
    let layers = 2 + dice.below(2);
    let (kv_heads, head_dim) = (1 + dice.below(2), [32, 64][dice.below(2)]);
    let architecture = Architecture {
        layers,
        embedding: [32, 64, 160, 1056][if wild { 3 } else { dice.below(3) }],
        heads: kv_heads * (1 + dice.below(2)),
        kv_heads,
        head_dim,
        rope_dim: head_dim - [0, 0, 2, 16][dice.below(4)],
        feed_forward: [64, 96][dice.below(2)],
        vocabulary: 40 + dice.below(90),
        context: 512,
        tied: dice.coin(),
    };
    let local = dice.coin();
    let features = Features {
        biases: dice.coin(),
        head_norms: dice.coin(),
        post_norms: dice.coin(),
        scaled_embedding: dice.coin(),
        rotation: [Rotation::Interleaved, Rotation::Halves][dice.below(2)],
        activation: [Activation::Silu, Activation::GeluTanh][dice.below(2)],
        window: if local { 1 + dice.below(200) } else { 0 },
        local_layers: if local { vec![dice.below(layers)] } else { Vec::new() },
    };
    let mut model = model_of(dice, architecture, features, wild);
    model.manifest.kv = KvFormat::ALL[dice.below(2)];
    model.manifest.epsilon = [0, 1, 281_474_976, 2_814_749_696, 1 << 40, 1 << 48][dice.below(6)];
    model
}

/// A model of this shape.
pub(crate) fn model_of(dice: &mut Dice, architecture: Architecture, features: Features, wild: bool) -> Model {
    let numbers = Numbers {
        rope_base: 0x461c_4000,
        rope_divisors: Vec::new(),
        rope_scaling: None,
        local_rope_base: dice.coin().then_some(0x47c3_5000),
        epsilon: 0x3727_c5ac,
        score_dim: architecture.head_dim,
    };
    let manifest = Manifest::new(architecture, features, &numbers, Digest([7; 32])).expect("within the limits");
    let (a, f) = (manifest.architecture.clone(), manifest.features.clone());
    let layer = |dice: &mut Dice| Layer {
        attention_norm: gains(dice, a.embedding, wild),
        query: matrix(dice, a.query(), a.embedding, wild),
        key: matrix(dice, a.key(), a.embedding, wild),
        value: matrix(dice, a.key(), a.embedding, wild),
        attention_output: matrix(dice, a.embedding, a.query(), wild),
        feed_forward_norm: gains(dice, a.embedding, wild),
        gate: matrix(dice, a.feed_forward, a.embedding, wild),
        up: matrix(dice, a.feed_forward, a.embedding, wild),
        down: matrix(dice, a.embedding, a.feed_forward, wild),
        extras: Extras {
            biases: f.biases.then(|| [a.query(), a.key(), a.key()].map(|n| gains(dice, n, wild))),
            head_norms: f.head_norms.then(|| [a.head_dim; 2].map(|n| gains(dice, n, wild))),
            post_norms: f.post_norms.then(|| [a.embedding; 2].map(|n| gains(dice, n, wild))),
        },
    };
    Model {
        embedding: matrix(dice, a.vocabulary, a.embedding, wild),
        layers: (0..a.layers).map(|_| layer(dice)).collect(),
        output_norm: gains(dice, a.embedding, wild),
        output: (!a.tied).then(|| matrix(dice, a.vocabulary, a.embedding, wild)),
        manifest,
    }
}
