#![allow(missing_docs)]

use super::pool::Pool;
use super::vectors::divide_2_60;
use super::{Isa, Kernel, gate_times, rotate};
use crate::testing::Random;
use std::sync::atomic::{AtomicUsize, Ordering};
use talkoo_exact::{Activation, Rotation, exp, rope};

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
