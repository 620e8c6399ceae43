#![allow(missing_docs)]

use super::attention::normalise_all;
use super::pool::Pool;
use super::vectors::divide_2_60;
use super::{Activations, Isa, Kernel, Packed, gate_times, multiply, rotate};
use crate::testing::Random;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use talkoo_exact::import::{Format, Row};
use talkoo_exact::limits::BLOCK;
use talkoo_exact::matrix::Matrix;
use talkoo_exact::quantize::quantize;
use talkoo_exact::{Activation, Rotation, attention, exp, rope};

const ALL: [Kernel; 3] = [Kernel::Scalar, Kernel::Avx2, Kernel::Vnni];

#[test]
fn division_by_newton_is_division() {
    let mut random = Random(1);
    let ends = (0..2000).flat_map(|i| [(1i64 << 30) + i, (1 << 31) - i]);
    for d in ends.chain((0..200_000).map(|_| (1 << 30) + (random.next() >> 34) as i64)) {
        assert_eq!(divide_2_60(d), ((1 << 60) / d, (1 << 60) % d), "2^60 / {d}");
    }
}

#[test]
fn activations_and_rotations_equal_the_definition_at_every_size() {
    let mut random = Random(2);
    for (kernel, bits) in ALL.into_iter().flat_map(|kernel| (1..=40).map(move |bits| (kernel, bits))) {
        let isa = Isa::detect(kernel);
        let gate: Vec<i64> = (0..67).map(|_| random.signed(bits)).collect();
        let up: Vec<i64> = (0..67).map(|_| random.signed(41 - bits)).collect();
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let expected: Vec<i64> =
                gate.iter().zip(&up).map(|(g, u)| exp::gate_times(activation, *g, *u).unwrap()).collect();
            let mut found = gate.clone();
            gate_times(isa, activation, &mut found, &up).unwrap();
            assert_eq!(found, expected, "{kernel:?}, {activation:?}, gates of {bits} bits");
        }
        let table: Vec<(i64, i64)> = (0..32).map(|_| rope::sine_cosine(random.next())).collect();
        for rotation in [Rotation::Interleaved, Rotation::Halves] {
            let (mut found, mut expected) = (gate[..66].to_vec(), gate[..66].to_vec());
            rotate(isa, &mut found, &table, rotation);
            rope::rotate(&mut expected, &table, rotation);
            assert_eq!(found, expected, "{kernel:?}, {rotation:?}, heads of {bits} bits");
        }
    }
    let mut wild = vec![(1 << 40) - 1; 3];
    let isa = Isa::detect(Kernel::Auto);
    assert!(gate_times(isa, Activation::Silu, &mut wild, &[(1 << 40) - 1; 3]).is_err());
}

/// A matrix of random codes, scales and exponents, in both forms.
fn matrix(random: &mut Random, format: Format, rows: usize, columns: usize, exponent: i32) -> (Matrix, Packed) {
    let (mut plain, mut packed) = (Matrix::empty(format, columns), Packed::new(format, rows, columns));
    let blocks = columns / format.block();
    for r in 0..rows {
        let row = Row {
            codes: (0..columns).map(|_| random.below(usize::from(format.code_max()) + 1) as u8).collect(),
            sw: (0..blocks).map(|_| random.signed(15) as i16).collect(),
            mn: (0..if format.has_min() { blocks } else { 0 }).map(|_| random.signed(20) as i32).collect(),
            ew: exponent + random.below(4) as i32,
        };
        packed.parts(1)[0].write(r, &row);
        plain.push(&row);
    }
    (plain, packed)
}

#[test]
fn products_equal_the_definition_for_every_format_and_number_of_tokens() {
    let mut random = Random(4);
    for (i, format) in Format::ALL.into_iter().enumerate() {
        for (tokens, bits) in (1..=21).map(|tokens| (tokens, 3 + (tokens * 2 + i) % 40)) {
            let exponent = *[-60, -40, -20, -16, -4, 5].get(random.below(6)).unwrap();
            let (rows, columns) = ([1, 16, 37][tokens % 3], 256 * (1 + tokens % 2));
            let (plain, packed) = matrix(&mut random, format, rows, columns, exponent);
            let x: Vec<Vec<i64>> =
                (0..tokens).map(|_| (0..columns).map(|_| random.signed(bits as u32)).collect()).collect();
            let expected: Result<Vec<i64>, _> =
                x.iter().map(|x| plain.multiply(&quantize(x, 20))).collect::<Result<Vec<_>, _>>().map(|y| y.concat());
            for kernel in ALL {
                let (isa, mut pool) = (Isa::detect(kernel), Pool::new(1 + tokens % 2));
                let (mut batch, mut found) = (Activations::default(), Vec::new());
                batch.fill(&mut pool, tokens, columns, &|t, mut row| row.fill(isa, &x[t], 20));
                let result = multiply(&mut pool, isa, &packed, &batch, &mut found).map(|()| found);
                assert_eq!(result, expected, "{kernel:?}, {format:?}, {tokens} tokens, exponents from {exponent}");
            }
        }
    }
}

#[test]
fn sums_are_normalised_as_the_definition_does_at_every_size() {
    let mut random = Random(3);
    for bits in 1..=62 {
        let sums: [i64; BLOCK] = std::array::from_fn(|_| random.signed(bits));
        for total in [1, 1 << 30, (1 << 47) - 1, 1 + random.signed(30).abs()] {
            // Exponents for which the definition itself stays within 64 bits.
            for exponent in -90..=42 - bits as i32 {
                let reciprocal = attention::reciprocal(total);
                let expected = sums.map(|sum| attention::normalise(sum, reciprocal, exponent));
                for kernel in ALL {
                    let mut found = [0; BLOCK];
                    normalise_all(Isa::detect(kernel), &sums, reciprocal, exponent, &mut found);
                    assert_eq!(found, expected, "{kernel:?}, {bits} bits over {total}, exponent {exponent}");
                }
            }
        }
    }
}

#[test]
fn pools_hand_out_every_item_once() {
    for threads in 1..=4 {
        let mut pool = Pool::new(threads);
        for items in [0, 1, 2, 3, 10, 1000] {
            let mut seen = vec![0u8; items];
            pool.chunks(&mut seen, 1, &|_, chunk| chunk[0] += 1);
            assert!(seen.iter().all(|s| *s == 1), "{items} items on {threads} threads");
            let sum = AtomicUsize::new(0);
            pool.run(items, 3, &|range| {
                sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), items * items.saturating_sub(1) / 2);
        }
    }
}

#[test]
fn as_many_threads_take_part_as_were_allowed() {
    let mut pool = Pool::new(4);
    for (allowed, active) in [(9, 4), (1, 1), (2, 2), (0, 1), (3, 3), (4, 4)] {
        pool.set_threads(allowed);
        assert_eq!(pool.threads(), active);
        // Items are done when so many threads have one at the same time.
        let (together, threads) = (Barrier::new(active), Mutex::new(HashSet::new()));
        for _ in 0..50 {
            pool.run(active * 3, 1, &|range| {
                threads.lock().unwrap().insert(std::thread::current().id());
                for _ in range {
                    together.wait();
                }
            });
        }
        assert_eq!(threads.into_inner().unwrap().len(), active, "{allowed} were allowed");
    }
}

#[test]
fn pools_survive_many_short_loops() {
    let mut pool = Pool::new(3);
    let count = AtomicUsize::new(0);
    for _ in 0..20_000 {
        pool.run(4, 1, &|range| {
            count.fetch_add(range.len(), Ordering::Relaxed);
        });
    }
    assert_eq!(count.into_inner(), 80_000);
}

#[test]
fn a_panic_in_a_loop_reaches_the_caller_and_the_pool_lives_on() {
    let mut pool = Pool::new(2);
    for _ in 0..20 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(100, 1, &|range| assert!(range.start != 50, "on purpose"));
        }));
        assert!(result.is_err());
        pool.run(100, 1, &|_| ());
    }
}
