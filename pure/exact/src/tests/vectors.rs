//! The test vectors of `docs/vectors.jsonl`, for whoever writes these rules anew: one JSON object per line, with the
//! rule of `docs/EXACT.md`, the operator, what goes in and what comes out. `cargo xtask judge vectors` gives them to
//! a second implementation of that page, in Python.

use super::Random;
use crate::attention::attend;
use crate::exp::{exp2neg, gate_times, sigmoid};
use crate::features::{Activation, Rotation};
use crate::gelu::gelu;
use crate::import::Format;
use crate::kv::{CachedHead, KvFormat};
use crate::layernorm::layer_norm;
use crate::logprobs::{log2, logprobs};
use crate::matrix::Matrix;
use crate::norm::rms_norm;
use crate::quantize::{quantize, quantize_query};
use crate::sample::{Sampler, draw};
use crate::trace::{ChunkBuilder, cached_row_bytes, state_digest};
use crate::{embed, rope};
use serde_json::{Value, json};
use talkoo_base::generate::BIAS_BAN_Q16;
use talkoo_base::{Digest, GenerateParams, Logprobs};

struct Vectors {
    random: Random,
    lines: String,
}

impl Vectors {
    fn add(&mut self, rule: &str, operator: &str, input: &Value, output: &Value) {
        let line = json!({"rule": rule, "operator": operator, "in": input, "out": output});
        self.lines.push_str(&format!("{line}\n"));
    }

    fn numbers(&mut self, count: usize, bits: u32) -> Vec<i64> {
        (0..count).map(|_| self.random.signed(bits)).collect()
    }

    fn gains(&mut self, count: usize) -> Vec<i32> {
        (0..count).map(|_| self.random.signed(18) as i32).collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.random.next() as u8).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of a matrix of random codes whose scales and minimums are numbers that a model may have.
fn stored(v: &mut Vectors, format: Format, rows: usize, columns: usize) -> Vec<u8> {
    let count = rows * format.row_bytes(columns).unwrap();
    let mut bytes = v.bytes(count);
    let (group, scales): (usize, &[usize]) = match format {
        Format::Q4_0 => (18, &[0]),
        Format::Q4_1 => (20, &[0, 2]),
        Format::Q5_0 => (22, &[0]),
        Format::Q5_1 => (24, &[0, 2]),
        Format::Q8_0 => (34, &[0]),
        Format::Q4K => (144, &[0, 2]),
        Format::Q5K => (176, &[0, 2]),
        Format::Q6K => (210, &[208]),
        // Whole numbers of the type, between 2^-7 and 2.
        Format::F32 => (4, &[2]),
        Format::F16 | Format::BF16 => (2, &[0]),
    };
    for group in bytes.chunks_exact_mut(group) {
        for at in scales {
            let exponent = |bias: u8| bias - 6 + group[at + 1] % 7;
            // Sign, exponent and the first bits of the fraction, of a half or a single.
            group[at + 1] = match format {
                Format::F32 | Format::BF16 => group[at + 1] & 0x80 | exponent(127) >> 1,
                _ => group[at + 1] & 0x83 | exponent(15) << 2,
            };
        }
    }
    bytes
}

fn weights(v: &mut Vectors) {
    for format in Format::ALL {
        let bytes = stored(v, format, 2, 256);
        let matrix = Matrix::import(format, 2, 256, &bytes).unwrap();
        let output = json!({
            "block": matrix.block, "zero_point": matrix.zero_point, "codes": hex(&matrix.codes), "sw": matrix.sw,
            "mn": matrix.mn, "ew": matrix.ew, "digest": matrix.digest().to_string(),
        });
        let name = format!("{format:?}");
        v.add("1", "import", &json!({"format": name, "rows": 2, "columns": 256, "bytes": hex(&bytes)}), &output);
        for bits in [3, 18, 36] {
            let x = quantize(&v.numbers(256, bits), 20);
            let input = json!({
                "format": name, "bytes": hex(&bytes), "codes": x.codes, "mantissas": x.mantissas, "exponent": x.exponent,
            });
            v.add("3", "linear", &input, &json!({"y": matrix.multiply(&x).ok()}));
        }
        for scale in [1i64 << 16, 1_656_741] {
            let row = matrix.embed(1, scale).ok();
            v.add(
                "4",
                "embedding",
                &json!({"format": name, "bytes": hex(&bytes), "row": 1, "s": scale}),
                &json!({"x": row}),
            );
        }
    }
}

fn vectors_to_vectors(v: &mut Vectors) {
    for (bits, fraction_bits) in [(1, 16), (12, 20), (30, 20), (31, 16), (52, 16), (61, 20)] {
        let x = v.numbers(64, bits);
        let q = quantize(&x, fraction_bits);
        let output = json!({"codes": q.codes, "mantissas": q.mantissas, "exponent": q.exponent});
        v.add("2", "quantise", &json!({"x": x, "fraction_bits": fraction_bits}), &output);
    }
    let q = quantize(&[0; 32], 20);
    let output = json!({"codes": q.codes, "mantissas": q.mantissas, "exponent": q.exponent});
    v.add("2", "quantise", &json!({"x": vec![0; 32], "fraction_bits": 20}), &output);
    for (bits, epsilon) in [(4, 2_814_749_767_u64), (18, 2_814_749_767), (40, 281_474_977), (20, 0)] {
        let (x, gains) = (v.numbers(96, bits), v.gains(96));
        let mut y = vec![0; 96];
        rms_norm(&x, &gains, epsilon, &mut y);
        v.add("5", "rms_norm", &json!({"x": x, "gains": gains, "epsilon": epsilon}), &json!({"y": y}));
        let (biases, mut z, mut centred) = (v.gains(96), x.clone(), vec![0; 96]);
        let done = layer_norm(&mut z, [&gains, &biases], epsilon, [&mut centred, &mut y]);
        let input = json!({"x": x, "gains": gains, "biases": biases, "epsilon": epsilon});
        v.add("13", "layer_norm", &input, &json!({"y": done.ok().map(|()| z)}));
    }
    for bits in [3, 30, 41, 60] {
        let x = v.numbers(96, bits);
        v.add("16", "unit", &json!({"v": x}), &json!({"vector": embed::unit(&x)}));
    }
}

fn functions(v: &mut Vectors) {
    let eighth = 1u64 << 61;
    for phase in [0, 1, eighth - 1, eighth, 3 * eighth, 4 * eighth, u64::MAX, v.random.next(), v.random.next()] {
        let (sine, cosine) = rope::sine_cosine(phase);
        v.add("6", "sine_cosine", &json!({"phase": phase}), &json!({"sine": sine, "cosine": cosine}));
    }
    for (name, rotation) in [("interleaved", Rotation::Interleaved), ("halves", Rotation::Halves)] {
        let frequencies = [v.random.next() >> 3, v.random.next() >> 9];
        let (mut head, position) = (v.numbers(8, 24), 131_071);
        let input = json!({"head": head, "frequencies": frequencies, "position": position, "pairs": name});
        rope::rotate(&mut head, &rope::table(&frequencies, position), rotation);
        v.add("6", "rotate", &input, &json!({"head": head}));
    }
    for u in [0, 1, (1 << 20) - 1, 1 << 20, 12_345_678, (31 << 20) + 5, 32 << 20, i64::MAX] {
        v.add("7", "exp2neg", &json!({"u": u}), &json!({"y": exp2neg(u)}));
    }
    for g in [0, 1, -1, 65_536, -65_536, 700_000, -700_000, 1 << 39, -(1 << 39)] {
        v.add("9", "sigmoid", &json!({"g": g}), &json!({"y": sigmoid(g)}));
        v.add("14", "gelu", &json!({"x": g}), &json!({"y": gelu(g)}));
        for (name, activation) in [("silu", Activation::Silu), ("gelu_tanh", Activation::GeluTanh)] {
            let u = v.random.signed(18);
            let y = gate_times(activation, g, u).ok();
            v.add("9", "gate_times", &json!({"activation": name, "g": g, "u": u}), &json!({"y": y}));
        }
    }
}

fn attention(v: &mut Vectors, format: KvFormat) {
    // Positions, how many of the first are out of sight, bits of the numbers.
    for (positions, first, bits) in [(1, 0, 18), (5, 0, 20), (130, 0, 16), (300, 0, 18), (300, 170, 18), (129, 128, 30)]
    {
        let query = v.numbers(32, bits);
        let rows: Vec<[CachedHead; 2]> =
            (0..positions).map(|_| [0, 1].map(|_| CachedHead::of(&v.numbers(32, bits - 1), format))).collect();
        let (keys, values): (Vec<_>, Vec<_>) = rows.iter().map(|[key, value]| (key, value)).unzip();
        let mut codes = [0; 32];
        let exponent = quantize_query(&query, 16, &mut codes);
        let out = attend(&query, &keys, &values, first, 273_850_497, format);
        let cached = |rows: &[&CachedHead]| -> Vec<String> {
            rows.iter().map(|row| hex(&cached_row_bytes(std::slice::from_ref(*row), format))).collect()
        };
        let mut input = json!({
            "query": query, "first": first, "c": 273_850_497, "keys": cached(&keys), "values": cached(&values),
        });
        if format == KvFormat::Int16 {
            input["contract"] = json!(format.contract());
        }
        v.add("8", "attention", &input, &json!({"query_codes": codes, "query_exponent": exponent, "out": out}));
    }
}

fn sampler(v: &mut Vectors) {
    for (seed, index) in [(0, 0), (7, 1), (u64::MAX, u32::MAX)] {
        v.add("10", "draw", &json!({"seed": seed, "index": index}), &json!({"r": draw(seed, index)}));
    }
    let plain = GenerateParams::default();
    let warm = GenerateParams { temperature_q16: 50_000, ..plain.clone() };
    let cases = [
        plain.clone(),
        warm.clone(),
        GenerateParams { top_k: 5, ..warm.clone() },
        GenerateParams { top_p_q16: 40_000, ..warm.clone() },
        GenerateParams { min_p_q16: 20_000, ..warm.clone() },
        GenerateParams { repeat_penalty_q16: 90_000, ..plain.clone() },
        GenerateParams { frequency_penalty_q16: 30_000, presence_penalty_q16: -20_000, ..warm.clone() },
        GenerateParams { logit_bias: vec![(3, BIAS_BAN_Q16), (9, 99_000)], ..warm },
    ];
    for (seed, params) in (0u64..).zip(cases) {
        let (prompt, output) = ([1, 2, 3, 9, 9], [4, 4, 9, 11]);
        let mut sampler = Sampler::new(&params, seed, &prompt);
        output.iter().for_each(|token| sampler.push(*token));
        let mut logits = v.numbers(16, 18);
        logits[5] = logits[6];
        let token = sampler.next(&logits, None, crate::sample::argmax).unwrap();
        let input = json!({
            "logits": logits, "prompt": prompt, "output": output, "seed": seed,
            "temperature": params.temperature_q16, "top_k": params.top_k, "top_p": params.top_p_q16,
            "min_p": params.min_p_q16, "repeat_penalty": params.repeat_penalty_q16,
            "frequency_penalty": params.frequency_penalty_q16, "presence_penalty": params.presence_penalty_q16,
            "logit_bias": params.logit_bias,
        });
        v.add("10", "sample", &input, &json!({"token": token}));
    }
}

fn fine_heads(v: &mut Vectors) {
    for bits in [1, 20, 41] {
        let x = v.numbers(64, bits);
        let head = CachedHead::of(&x, KvFormat::Int16);
        let row = hex(&cached_row_bytes(std::slice::from_ref(&head), KvFormat::Int16));
        let output = json!({"codes": head.codes, "mantissas": head.mantissas, "exponent": head.exponent, "row": row});
        v.add("8", "cached_head", &json!({"x": x, "contract": KvFormat::Int16.contract()}), &output);
    }
}

fn log_probabilities(v: &mut Vectors) {
    for x in [1, 3, 1 << 42, 123_456_789_012_345, (1 << 62) - 1] {
        v.add("17", "log2", &json!({"v": x}), &json!({"log2": log2(x)}));
    }
    for (bits, top) in [(10, 20), (16, 5), (18, 1), (24, 16), (40, 0)] {
        let mut logits = v.numbers(16, bits);
        logits[5] = logits[6];
        let told = logprobs(&logits, 6, top);
        let mut bytes = Vec::new();
        told.push_bytes(&mut bytes);
        let digest = Logprobs { inner: Digest([7; 32]), bytes }.digest().to_string();
        let input = json!({"logits": logits, "token": 6, "top": top, "inner": Digest([7; 32]).to_string()});
        v.add("17", "logprobs", &input, &json!({"chosen": told.chosen, "top": told.top, "digest": digest}));
    }
}

fn trace(v: &mut Vectors) {
    let heads = [0, 1].map(|_| CachedHead::of(&v.numbers(64, 20), KvFormat::Int8));
    let (residual, row) = (v.numbers(8, 40), cached_row_bytes(&heads, KvFormat::Int8));
    let state = state_digest(&residual, &row, &row);
    let input = json!({"residual": residual, "key_row": hex(&row), "value_row": hex(&row)});
    v.add("trace", "state", &input, &json!({"state": state.to_string()}));
    let states: Vec<Digest> = (0..2 * 37).map(|_| Digest(v.bytes(32).try_into().unwrap())).collect();
    let mut builder = ChunkBuilder::new(Digest([7; 32]));
    let (prompt, layers) = (3, 2);
    for (position, states) in states.chunks_exact(layers).enumerate() {
        builder.push_states(states);
        if position + 1 >= prompt && builder.push_token(position as u32 * 1_000, None) {
            builder.close();
        }
    }
    builder.close();
    let digests: Vec<String> = builder.digests().iter().map(ToString::to_string).collect();
    let input = json!({
        "trace_id": Digest([7; 32]).to_string(), "prompt_tokens": prompt, "layers": layers,
        "tokens": (2..37u32).map(|p| p * 1_000).collect::<Vec<_>>(),
        "states": states.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    let root = crate::trace::trace_root(builder.digests()).to_string();
    v.add("trace", "chunks", &input, &json!({"chunks": digests, "root": root}));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what was found goes where it can be compared")]
fn the_published_vectors_are_what_the_definition_gives() {
    let mut v = Vectors { random: Random(2_026), lines: String::new() };
    weights(&mut v);
    vectors_to_vectors(&mut v);
    functions(&mut v);
    attention(&mut v, KvFormat::Int8);
    sampler(&mut v);
    trace(&mut v);
    log_probabilities(&mut v);
    fine_heads(&mut v);
    attention(&mut v, KvFormat::Int16);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors.jsonl");
    if std::fs::read_to_string(path).is_ok_and(|published| published == v.lines) {
        return;
    }
    let found = std::env::temp_dir().join("vectors.jsonl");
    std::fs::write(&found, &v.lines).unwrap();
    panic!("docs/vectors.jsonl differs from {}: a change of the contract, or a mistake", found.display());
}
