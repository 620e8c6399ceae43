//! The engine gives the definition's bits, whatever the kernel, the threads and the batches.

use crate::engine::{Engine, Observer};
use crate::kernels::Kernel;
use crate::model::Model;
use crate::testing::{FAMILIES, Random, Shape};
use proptest::prelude::*;
use std::sync::Arc;
use talkoo_base::Digest;
use talkoo_exact::{Kv, KvFormat, RangeError, forward, logits};

/// All states and logits of a run over some tokens.
#[derive(Default, PartialEq, Debug)]
struct Everything {
    states: Vec<Digest>,
    logits: Vec<Vec<i64>>,
}

impl Observer for Everything {
    fn states(&mut self, _: usize, states: &[Digest]) {
        self.states.extend_from_slice(states);
    }

    fn wants_logits(&self, _: usize) -> bool {
        true
    }

    fn logits(&mut self, _: usize, logits: &[i64]) -> bool {
        self.logits.push(logits.to_vec());
        true
    }
}

fn defined(model: &Model, tokens: &[u32]) -> Result<Everything, RangeError> {
    let definition = model.definition();
    assert_eq!(definition.root(), model.root(), "packing lost something");
    let (mut kv, mut out) = (Kv::new(&definition), Everything::default());
    for token in tokens {
        let step = forward(&definition, &mut kv, *token)?;
        out.states.extend(step.states);
        out.logits.push(logits(&definition, &step.residual)?);
    }
    Ok(out)
}

fn run(engine: &mut Engine, tokens: &[u32], split: usize) -> Result<Everything, RangeError> {
    let mut out = Everything::default();
    engine.reset();
    let (prompt, rest) = tokens.split_at(split);
    engine.advance(prompt, &mut out)?;
    for token in rest {
        engine.advance(&[*token], &mut out)?;
    }
    Ok(out)
}

fn check(shape: &Shape, length: usize) {
    let model = shape.load();
    let mut random = Random(shape.seed);
    let tokens: Vec<u32> = (0..length).map(|_| random.below(model.vocabulary().len()) as u32).collect();
    let expected = defined(&model, &tokens);
    for kernel in [Kernel::Scalar, Kernel::Avx2, Kernel::Vnni] {
        for threads in 1..=3 {
            let mut engine = Engine::with_kernel(Arc::clone(&model), threads, kernel);
            for (batch, split) in [(1, length), (7, length), (32, length), (length, length), (5, length / 2)] {
                engine.set_batch(batch);
                let found = run(&mut engine, &tokens, split);
                match (&found, &expected) {
                    (Ok(found), Ok(expected)) => assert!(
                        found == expected,
                        "{kernel:?}, {threads} threads, batches of {batch}, {split} prefilled: {shape:?}"
                    ),
                    (Err(_), Err(_)) => {}
                    _ => panic!("one of engine and definition left its range: {shape:?}"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_way_gives_the_definitions_bits(seed in any::<u64>(), length in 1usize..40) {
        check(&Shape::random(seed), length);
    }

    #[test]
    fn also_with_wild_numbers(seed in any::<u64>(), loudness in 14u32..30) {
        check(&Shape { loudness, ..Shape::random(seed) }, 6);
    }
}

#[test]
fn also_beyond_one_segment_of_attention() {
    for kv in KvFormat::ALL {
        check(&Shape { context: 300, layers: 1, kv, ..Shape::small(5) }, 275);
    }
}

#[test]
fn windows_go_beyond_segments_too() {
    use KvFormat::{Int8, Int16};
    for (window, layers, kv) in [(40, 1, Int8), (128, 1, Int8), (150, 2, Int8), (40, 1, Int16), (150, 1, Int16)] {
        let shape = Shape { context: 400, layers, window, kv, ..Shape::of_family(6, "gemma3") };
        check(&shape, 300);
    }
}

#[test]
fn every_family_takes_part() {
    for (family, kv) in FAMILIES.into_iter().flat_map(|family| KvFormat::ALL.map(|kv| (family, kv))) {
        check(&Shape { kv, ..Shape::of_family(9, family) }, 37);
    }
}

#[test]
fn every_format_takes_part() {
    for format in talkoo_exact::import::Format::ALL {
        let shape = Shape {
            formats: vec![format],
            embedding: 256,
            head_dim: 64,
            heads: 4,
            feed_forward: 256,
            layers: 1,
            tied: false,
            ..Shape::small(u64::from(format.ggml()))
        };
        check(&shape, 9);
    }
}
