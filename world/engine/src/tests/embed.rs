//! Embeddings: the definition's bits on every path, the tokenizer, and files that are wrong.

use crate::embed::{Embedder, Encoder};
use crate::kernels::Kernel;
use crate::testing::Random;
use crate::testing::encoder::{encoder, folder, gguf};
use crate::{ModelError, RunError};
use proptest::prelude::*;
use std::sync::Arc;
use talkoo_base::Digest;

const MEAN: &str = "pooling_mode_mean_tokens";
const CLASS: &str = "pooling_mode_cls_token";

/// Texts of these lengths, of random tokens.
fn texts(seed: u64, lengths: &[usize]) -> Vec<Vec<u32>> {
    let mut random = Random(seed);
    lengths.iter().map(|n| (0..*n).map(|_| random.below(16) as u32).collect()).collect()
}

fn check(encoder: &Arc<Encoder>, texts: &[Vec<u32>]) {
    assert_eq!(encoder.definition().root(), encoder.root(), "packing lost something");
    let traces: Vec<Digest> = (1..).take(texts.len()).map(|n| Digest([n; 32])).collect();
    let each = texts.iter().zip(&traces);
    let expected: Result<Vec<_>, RunError> = each.map(|(text, trace)| encoder.define_embed(text, trace)).collect();
    for kernel in [Kernel::Scalar, Kernel::Avx2, Kernel::Vnni] {
        for (threads, batch) in [(1, 1), (1, 128), (2, 40), (3, 1000)] {
            let mut embedder = Embedder::with_kernel(Arc::clone(encoder), threads, kernel);
            embedder.set_batch(batch);
            let found = embedder.embed_each(texts, &traces);
            assert!(found == expected, "{kernel:?}, {threads} threads, batches of {batch}");
        }
    }
}

#[test]
fn every_way_gives_the_definitions_bits() {
    for (seed, (kind, pooling)) in [("F32", MEAN), ("F16", CLASS), ("BF16", MEAN)].into_iter().enumerate() {
        let encoder = encoder(&folder(seed as u64, kind, pooling, 8));
        check(&encoder, &texts(seed as u64, &[5, 1, 17, 2, 33, 16, 64, 3, 9]));
    }
}

#[test]
fn also_beyond_one_segment_of_attention() {
    let encoder = encoder(&folder(3, "F32", MEAN, 8));
    check(&encoder, &texts(3, &[130, 4, 290]));
}

#[test]
fn also_with_wild_numbers() {
    let mut failed = 0;
    for loudness in [0, 12, 16, 20, 24] {
        let encoder = encoder(&folder(4, "F32", CLASS, loudness));
        check(&encoder, &texts(4, &[6, 11]));
        failed += usize::from(encoder.define_embed(&[1, 2], &Digest::ZERO).is_err());
    }
    assert!(failed > 0, "the wildest leave the range");
}

#[test]
fn folders_give_known_roots_and_vectors() {
    let encoder = encoder(&folder(9, "F32", MEAN, 8));
    assert_eq!((encoder.context_max(), encoder.dimensions()), (290, 64));
    assert_eq!(encoder.root().to_string(), "34297a28a30d0debabbb24add3da0e61d9584c216305f79db6fda7040a35f9ae");
    let embedded = Embedder::new(Arc::clone(&encoder), 1).embed(&[vec![2, 5, 3]], &Digest::ZERO).unwrap().remove(0);
    assert_eq!(embedded.digest.to_string(), "d470e060791b677f84437ba2720a3e9abd81210b9c7e3bd8f4d4da70980b2f9f");
    let length: i64 = embedded.vector.iter().map(|x| (i64::from(*x) * i64::from(*x)) >> 30).sum();
    assert!((length - (1 << 30)).abs() < 128, "{length}");
    let other = crate::testing::encoder::encoder(&folder(9, "F32", CLASS, 8));
    assert_ne!(other.root(), encoder.root(), "the pooling is part of the model");
}

#[test]
fn texts_that_cannot_be_embedded_are_refused() {
    let mut embedder = Embedder::new(encoder(&folder(5, "F32", MEAN, 8)), 1);
    let mut refused = |tokens: Vec<u32>| embedder.embed(&[vec![2, 3], tokens], &Digest::ZERO).unwrap_err();
    assert_eq!(refused(vec![]), RunError::EmptyPrompt);
    assert_eq!(refused(vec![2; 291]), RunError::PromptTooLong { need: 290, have: 291 });
    assert_eq!(refused(vec![2, 16]), RunError::UnknownToken { token: 16, vocabulary: 16 });
}

#[test]
fn words_become_their_longest_pieces() {
    let encoder = encoder(&folder(6, "F32", MEAN, 8));
    for (text, ids) in [
        ("", vec![]),
        ("ab", vec![5]),
        ("ABBC a", vec![5, 7, 4]),
        ("abx", vec![1]),
        ("a\u{0}\u{200d}b \u{fffd}c", vec![5, 9]),
        ("c!ab\u{a0}c\tc\u{2028}c", vec![9, 11, 5, 9, 9, 9]),
        ("日日ab日", vec![10, 10, 5, 10]),
        ("á\u{308}B", vec![5]),
        ("AΣ aς", vec![4, 15, 1]),
        ("[CLS]", vec![12, 14, 13]),
    ] {
        let expected: Vec<u32> = [vec![2], ids.clone(), vec![3]].concat();
        let found = encoder.encode(text);
        assert_eq!((found.tokens.len(), found.whole), (expected.len(), expected.len()), "{text:?}");
        // The final sigma of "aς" has no piece of its own: the whole word is unknown.
        assert_eq!(found.tokens, expected, "{text:?}");
    }
    assert_eq!(encoder.encode(&"a".repeat(100)).tokens.len(), 102);
    assert_eq!(encoder.encode(&"a".repeat(101)).tokens, [2, 1, 3], "longer words are unknown");
    let long = encoder.encode(&"ab ".repeat(500));
    assert_eq!((long.tokens.len(), long.tokens[289], long.whole), (290, 3, 502));
}

#[test]
fn folders_that_are_wrong_are_refused_by_name() {
    let message = |name: &str, from: &str, to: &str| {
        let mut files = folder(7, "F32", MEAN, 8);
        let text = String::from_utf8(files.remove(name).unwrap()).unwrap();
        assert!(text.contains(from), "{text}");
        if !to.is_empty() {
            files.insert(name.into(), text.replacen(from, to, 1).into_bytes());
        }
        gguf(&files).unwrap_err().to_string()
    };
    for (name, from, to, expected) in [
        ("config.json", "", "", "the folder has no config.json"),
        ("config.json", "\"bert\"", "\"roberta\"", "model_type \"roberta\""),
        ("config.json", "\"gelu\"", "\"relu\"", "hidden_act \"relu\""),
        ("config.json", "hidden_size", "hidden", "hidden_size"),
        ("config.json", "num_hidden_layers\":2", "num_hidden_layers\":3", "no encoder.layer.2.attention.self.query"),
        ("config.json", "num_hidden_layers\":2", "num_hidden_layers\":1", "tensor encoder.layer.1"),
        ("modules.json", "models.Pooling", "models.Dense", "models.Dense"),
        ("modules.json", "\"1_Pooling\"", "\"../1_Pooling\"", "out of its folder"),
        ("1_Pooling/config.json", "mean_tokens", "max_tokens", "pooling_mode_max_tokens"),
        ("tokenizer.json", "\"lowercase\":true", "\"lowercase\":false", "this normalizer"),
        ("tokenizer.json", "\"[PAD]\":0", "\"[PAD]\":1", "names an id twice"),
        ("tokenizer.json", "\"[PAD]\":0", "\"[PAD]\":16", "has gaps"),
    ] {
        let message = message(name, from, to);
        assert!(message.contains(expected), "{name}, {from} -> {to}: {message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn noise_and_cut_files_are_refused(noise in proptest::collection::vec(any::<u8>(), 0..300), cut in any::<usize>()) {
        let mut files = folder(8, "F16", MEAN, 8);
        let whole = files["model.safetensors"].clone();
        let cut = cut % whole.len();
        for bytes in [noise.clone(), whole[..cut].to_vec(), [&(noise.len() as u64).to_le_bytes()[..], &noise].concat()] {
            files.insert("model.safetensors".into(), bytes);
            let damaged = matches!(gguf(&files), Err(ModelError::Damaged { .. }));
            prop_assert!(damaged);
        }
    }

    #[test]
    fn flipped_bytes_never_panic(seed in any::<u64>(), flips in 1usize..12, in_table in any::<bool>()) {
        let mut random = Random(seed);
        let mut files = folder(8, "F16", MEAN, 8);
        let name = ["model.safetensors", "tokenizer.json", "config.json"][random.below(3)];
        let mut flip = |bytes: &mut Vec<u8>| {
            let range = if in_table { bytes.len().min(4096) } else { bytes.len() };
            (0..flips).for_each(|_| bytes[random.below(range)] = random.next() as u8);
        };
        let mut file = gguf(&files).unwrap();
        flip(files.get_mut(name).unwrap());
        flip(&mut file);
        for file in gguf(&files).into_iter().chain([file]) {
            let Ok(encoder) = Encoder::parse(&file) else { continue };
            let encoder = Arc::new(encoder);
            let text = vec![vec![1, 2, 3]; 1];
            let found = Embedder::new(Arc::clone(&encoder), 1).embed(&text, &Digest::ZERO);
            prop_assert_eq!(found.map(|mut e| e.remove(0)), encoder.define_embed(&text[0], &Digest::ZERO));
        }
    }
}
