//! Golden values come from big-number arithmetic and from ggml's own Python reader, not from this code.
#![allow(missing_docs)]

mod encoder;
mod hostile;
mod import;
mod logprobs;
mod made_up;
mod operators;
mod sample;
mod steps;
mod trace;
mod vectors;

use crate::constants::{divisors, epsilon, frequencies, root, round_single, score_scale};
use crate::error::ImportError;
use crate::manifest::check_window;
use crate::{Activation, Architecture, Features, KvFormat, Manifest, Numbers, Rotation};
use std::path::Path;

/// A generator for test data: SplitMix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of magnitude below 2^bits.
    pub(crate) fn signed(&mut self, bits: u32) -> i64 {
        (self.next() >> (63 - bits)) as i64 - (1 << bits)
    }
}

#[test]
fn no_floating_point_type_is_named_in_the_sources() {
    fn check(folder: &Path, words: &[String]) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path, words);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for word in words {
                    let found = text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|t| t.ends_with(word));
                    assert!(!found, "{word} in {}", path.display());
                }
            }
        }
    }
    let words = ["32", "64"].map(|bits| format!("f{bits}"));
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &words);
}

#[test]
fn frequencies_match_a_computation_with_ninety_digits() {
    for (base, dimensions, from, expected) in [
        (
            0x47c3_5000,
            64,
            0,
            &[2_935_890_503_282_001_226, 2_048_754_186_989_806_249, 1_429_683_332_541_196_458, 997_676_756_111_625_900]
                [..],
        ),
        (0x47c3_5000, 64, 29, &[86_395_247_703_826, 60_289_246_234_274, 42_071_679_960_424]),
        (0x461c_4000, 64, 1, &[2_201_607_287_645_322_119, 1_650_972_556_229_361_475]),
        (0x48f4_2400, 128, 61, &[10_861_981_749_655, 8_848_357_527_104, 7_208_024_532_903]),
        (0x4974_2400, 80, 7, &[261_661_516_530_803_790]),
        (0x461c_4200, 48, 11, &[43_091_991_793_919_549]),
    ] {
        let found = frequencies(base, dimensions, &[]).unwrap();
        assert_eq!(found.len(), dimensions / 2);
        assert_eq!(&found[from..from + expected.len()], expected, "base {base:#x}, {dimensions} dimensions");
    }
    let one = frequencies(0x3f80_0000, 32, &[]).unwrap();
    assert!(one.iter().all(|f| *f == 2_935_890_503_282_001_226), "base 1 turns every pair alike");
}

#[test]
fn other_constants_match_too() {
    for (head_dim, expected) in [
        (32, 273_841_598),
        (64, 193_635_251),
        (80, 173_192_633),
        (96, 158_102_520),
        (128, 136_920_799),
        (256, 96_817_625),
    ] {
        assert_eq!(score_scale(head_dim), expected, "head dimension {head_dim}");
    }
    assert_eq!(epsilon(0x3727_c5ac), Ok(2_814_749_696), "1e-5");
    assert_eq!(epsilon(0x3586_37bd), Ok(281_474_976), "1e-6");
    assert_eq!(round_single(0x3fc0_0000, 16, "x"), Ok(98_304), "1.5");
    assert_eq!(round_single(0xbf80_0000, 16, "x"), Ok(-65_536), "-1");
    assert_eq!(round_single(0x0000_0000, 16, "x"), Ok(0));
    assert_eq!(round_single(0x36ff_ffff, 16, "x"), Ok(0), "just under half a step");
    assert_eq!(round_single(0x3700_0000, 16, "x"), Ok(0), "half a step goes to the even 0");
    assert_eq!(round_single(0x37c0_0000, 16, "x"), Ok(2), "one and a half steps go to the even 2");
}

#[test]
fn divided_frequencies_and_roots_are_exact() {
    let plain = frequencies(0x47c3_5000, 64, &[]).unwrap();
    // 1, 2, 3 and 8 times 1.25
    let each: Vec<u32> = (0..32).map(|j| [0x3f80_0000, 0x4000_0000, 0x4040_0000, 0x4100_0000][j % 4]).collect();
    let by = divisors(&each, Some(0x3fa0_0000), 64).unwrap();
    let divided = frequencies(0x47c3_5000, 64, &by).unwrap();
    for j in 0..32 {
        let (divisor, found) = ([5, 10, 15, 40][j % 4], u128::from(divided[j]));
        let least = u128::from(plain[j]) * 4 / divisor;
        assert!((least..=least + 1).contains(&found), "frequency {j}");
    }
    assert_eq!(frequencies(0x47c3_5000, 64, &divisors(&[], None, 64).unwrap()), Ok(plain));
    assert!(divisors(&each, None, 62).is_err(), "one too many");
    for bits in [0, 0x3f00_0000, 0xbf80_0000, 0x7f80_0000, 0x4980_0000] {
        assert!(divisors(&[], Some(bits), 64).is_err(), "{bits:#x}");
    }
    assert_eq!([1, 2, 640, 1152].map(root), [65_536, 92_682, 1_657_944, 2_224_366]);
}

fn manifest(features: Features) -> Manifest {
    let architecture = Architecture {
        layers: 6,
        embedding: 64,
        heads: 2,
        kv_heads: 1,
        head_dim: 32,
        rope_dim: 32,
        feed_forward: 64,
        vocabulary: 10,
        context: 128,
        tied: true,
    };
    let numbers = Numbers {
        rope_base: 0x461c_4000,
        rope_divisors: Vec::new(),
        rope_scaling: None,
        local_rope_base: Some(0x461c_4000),
        epsilon: 0x3727_c5ac,
        score_dim: 32,
    };
    Manifest::new(architecture, features, &numbers, talkoo_base::Digest::ZERO).unwrap()
}

#[test]
fn every_feature_is_in_the_digest_and_a_plain_llama_adds_none() {
    let plain = manifest(Features::default());
    assert_eq!(plain.bytes().len(), 4 + 4 + 4 + 5 + 8 * (11 + 16 + 2) + 32);
    let fine = Manifest { kv: KvFormat::Int16, ..plain.clone() };
    assert_eq!(fine.bytes(), [b"\0\0\0\x09IR-1/kv16", &plain.bytes()[8..]].concat(), "a version of its own");
    assert_eq!(plain.digest().to_string(), "8afff9dfcfd48199a1391d6474ee15ced0df5c1ae6b2f898e288a0d1390a4b3e");
    let base = Features::default;
    let window = |window, layers: &[usize]| Features { window, local_layers: layers.to_vec(), ..base() };
    let mut seen: Vec<String> = [
        base(),
        Features { biases: true, ..base() },
        Features { head_norms: true, ..base() },
        Features { post_norms: true, ..base() },
        Features { scaled_embedding: true, ..base() },
        Features { rotation: Rotation::Halves, ..base() },
        Features { activation: Activation::GeluTanh, ..base() },
        window(7, &[0]),
        window(8, &[0]),
        window(8, &[1]),
        window(8, &[0, 1]),
    ]
    .map(|f| manifest(f).digest().to_string())
    .to_vec();
    let mut other_base = manifest(window(8, &[0]));
    other_base.local_frequencies[3] += 1;
    seen.push(other_base.digest().to_string());
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
    for (window, layers) in [(0, vec![1]), (4, vec![]), (4, vec![6]), (4, vec![2, 1]), (1 << 18, vec![0])] {
        assert!(check_window(&plain.architecture, &Features { window, local_layers: layers, ..base() }).is_err());
    }
}

#[test]
fn windows_begin_where_they_should() {
    let features = Features { window: 3, local_layers: vec![0, 2], ..Features::default() };
    let firsts = |layer| [0, 1, 2, 3, 9].map(|position| features.first_visible(layer, position));
    assert_eq!((firsts(0), firsts(1), firsts(2)), ([0, 0, 0, 1, 7], [0; 5], [0, 0, 0, 1, 7]));
}

#[test]
fn hostile_constants_are_refused() {
    for bits in [0x7f80_0000, 0xff80_0000, 0x7fc0_0001] {
        assert!(matches!(round_single(bits, 16, "x"), Err(ImportError::NotFinite { .. })));
        assert!(matches!(frequencies(bits, 64, &[]), Err(ImportError::NotFinite { .. })));
        assert!(matches!(epsilon(bits), Err(ImportError::NotFinite { .. })));
    }
    for bits in [0x4700_0000, 0x7f7f_ffff, 0xff7f_ffff] {
        assert!(matches!(round_single(bits, 16, "x"), Err(ImportError::OutOfRange { .. })), "{bits:#x}");
    }
    for bits in [0, 0x8000_0000, 0xc7c3_5000, 0x3f00_0000, 0x7f7f_ffff] {
        assert!(matches!(frequencies(bits, 64, &[]), Err(ImportError::OutOfRange { .. })), "{bits:#x}");
    }
    for bits in [0xb727_c5ac, 0x4000_0000, 0x7f7f_ffff] {
        assert!(matches!(epsilon(bits), Err(ImportError::OutOfRange { .. })), "{bits:#x}");
    }
}
