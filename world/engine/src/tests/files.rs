//! Whatever the file, loading ends with a model or a typed error.

use crate::testing::{Random, Shape, Writer, load_bytes};
use crate::{Engine, Header, Model, ModelError, Task, define_generate};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::Arc;
use talkoo_base::{Digest, GenerateParams};

fn parse(bytes: &[u8]) -> Result<Header, ModelError> {
    Header::parse(bytes, bytes.len() as u64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn cut_files_are_refused(cut in 0usize..1_000_000) {
        let bytes = Shape::small(1).gguf();
        let cut = cut % bytes.len();
        prop_assert!(load_bytes(&bytes[..cut]).is_err());
    }

    #[test]
    fn flipped_bytes_never_panic(seed in any::<u64>(), flips in 1usize..12, head in any::<bool>()) {
        let rich = Shape { sentences: true, ..Shape::of_family(2, "gemma3") };
        let mut random = Random(seed);
        let mut bytes = if seed % 2 == 0 { Shape::small(2).gguf() } else { rich.gguf() };
        let range = if head { 4096 } else { bytes.len() };
        for _ in 0..flips {
            let at = random.below(range);
            bytes[at] = random.next() as u8;
        }
        let Ok(model) = load_bytes(&bytes) else { return Ok(()) };
        let params = GenerateParams { max_tokens: 3, ..GenerateParams::default() };
        let task = Task { prompt: vec![4, 5, 6], params, seed: 1, trace_id: Digest::ZERO };
        let model = Arc::new(model);
        let run = Engine::new(Arc::clone(&model), 1)
            .generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(()));
        prop_assert_eq!(run, define_generate(&model, &task));
    }

    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..400), magic in any::<bool>()) {
        let mut bytes = noise;
        if magic {
            bytes.splice(0..0, *b"GGUF\x03\0\0\0");
        }
        prop_assert!(parse(&bytes).is_err() || bytes.len() >= 24);
    }
}

#[test]
fn promises_of_huge_lists_reserve_no_memory() {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.push(b'k');
    for (kind, rest) in [(8u32, vec![]), (9, 4u32.to_le_bytes().to_vec()), (9, 8u32.to_le_bytes().to_vec())] {
        let mut bytes = bytes.clone();
        bytes.extend(kind.to_le_bytes());
        bytes.extend(rest);
        bytes.extend((u64::MAX / 2).to_le_bytes());
        assert!(matches!(parse(&bytes), Err(ModelError::Damaged { .. })));
    }
}

#[test]
fn refusals_name_what_is_wrong() {
    let change = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut bytes = Shape::small(3).gguf();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        load_bytes(&bytes).unwrap_err().to_string()
    };
    for (from, to, expected) in [
        ("GGUF", "GGML", "not a GGUF"),
        ("gpt2", "spm!", "tokenizer \"spm!\""),
        ("smollm", "smolln", "pre-tokenizer \"smolln\""),
        ("blk.1.attn_q.weight", "blk.1.attn_x.weight", "blk.1.attn_q.weight is missing"),
        ("llama.block_count", "llama.block_counx", "block_count is missing"),
    ] {
        let message = change(from, to);
        assert!(message.contains(expected), "{from} -> {to}: {message}");
    }
    let message = |prepare: &dyn Fn(&mut Writer)| {
        let mut w = Shape::small(3).writer(&["a".into(), "b".into(), "ab".into(), "c".into(), "abc".into()]);
        prepare(&mut w);
        load_bytes(&w.finish()).unwrap_err().to_string()
    };
    assert!(message(&|_| ()).contains("token_embd.weight is missing"));
    assert!(message(&|w| w.text("general.architecture", "gemma9")).contains("architecture \"gemma9\""));
    assert!(message(&|w| w.text("llama.rope.scaling.type", "yarn")).contains("rope.scaling"));
    assert!(message(&|w| w.tensor("token_embd.weight", &[64, 5], 10, vec![0; 640])).contains("ggml type 10"));
    assert!(message(&|w| w.tensor("token_embd.weight", &[64, 6], 8, vec![0; 408])).contains("6 embeddings for 5"));
}

#[test]
fn what_a_family_does_not_have_is_refused_by_name() {
    let message = |family, prepare: &dyn Fn(&mut Writer)| {
        let mut w =
            Shape::of_family(3, family).writer(&["a".into(), "b".into(), "ab".into(), "c".into(), "abc".into()]);
        prepare(&mut w);
        load_bytes(&w.finish()).unwrap_err().to_string()
    };
    let softcap = |w: &mut Writer| w.single("gemma3.final_logit_softcapping", 0x41f0_0000);
    assert!(message("gemma3", &softcap).contains("gemma3.final_logit_softcapping is not supported"));
    let no_softcap = |w: &mut Writer| w.single("gemma3.final_logit_softcapping", 0);
    assert!(message("gemma3", &no_softcap).contains("token_embd.weight is missing"));
    assert!(message("qwen3", &|w| w.u32("qwen3.expert_count", 8)).contains("qwen3.expert_count"));
    assert!(message("qwen2", &|w| w.text("qwen2.rope.scaling.type", "yarn")).contains("rope.scaling.type \"yarn\""));
    let window = |w: &mut Writer| {
        w.u32("qwen2.attention.sliding_window", 9);
        w.tensor("token_embd.weight", &[64, 5], 8, vec![0; 340]);
    };
    assert!(message("qwen2", &window).contains("qwen2.attention.sliding_window"));
    let factors = |w: &mut Writer| w.tensor("rope_freqs.weight", &[300], 0, vec![0; 1200]);
    assert!(message("llama", &factors).contains("rope_freqs.weight is too long"));
    let list = |w: &mut Writer| {
        w.integers("gemma3.attention.sliding_window_pattern", &[1, 0]);
        w.tensor("token_embd.weight", &[64, 5], 8, vec![0; 340]);
    };
    assert!(message("gemma3", &list).contains("has 2 entries for 3 layers"));
}

#[test]
fn a_missing_file_is_a_read_error() {
    assert!(matches!(crate::Model::load("/no/such/file".as_ref()), Err(ModelError::Read { .. })));
}

#[test]
fn an_image_gives_the_same_model_or_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (file, image, other) = (path("model.gguf"), path("image"), path("other"));
    for family in ["llama", "gemma3", "qwen2"] {
        std::fs::write(&file, Shape::of_family(7, family).gguf()).unwrap();
        let model = Model::load(&file).unwrap();
        model.save_image(&image).unwrap();
        let whole = std::fs::read(&image).unwrap();
        // Only a model that was imported has an image to write.
        let check = |bytes: &[u8], is_used: bool, what: &str| {
            std::fs::write(&image, bytes).unwrap();
            std::fs::remove_file(&other).ok();
            let again = Model::load_with(&file, &image).unwrap();
            assert_eq!(again.root(), model.root(), "{family}, {what}");
            assert_eq!(again.definition().root(), model.root(), "{family}, {what}");
            again.save_image(&other).unwrap();
            assert_eq!(other.exists(), !is_used, "{family}, {what}");
        };
        check(&whole, true, "whole");
        check(b"", false, "empty");
        check(&whole[..whole.len() - 1], false, "cut");
        check(&[&whole[..], b"\0"].concat(), false, "longer");
        for at in [0, 8, 16, 24, 32, 64, 80, 96, 128, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            check(&bytes, false, &format!("byte {at} changed"));
        }
        // Another file of the same length under the same name.
        std::fs::write(&image, &whole).unwrap();
        std::fs::write(&file, Shape::of_family(8, family).gguf()).unwrap();
        let changed = Model::load(&file).unwrap().root();
        assert_ne!(changed, model.root());
        assert_eq!(Model::load_with(&file, &image).unwrap().root(), changed);
    }
}

#[test]
fn a_split_model_is_the_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let part = |no: usize, count: usize| folder.path().join(format!("m-{no:05}-of-{count:05}.gguf"));
    let shape = Shape::of_family(3, "phi3");
    let (root, image) = (load_bytes(&shape.gguf()).unwrap().root(), folder.path().join("image"));
    for count in [1, 2, 5] {
        let parts = shape.contents().split(count);
        for (no, bytes) in parts.iter().enumerate() {
            std::fs::write(part(no + 1, count), bytes).unwrap();
        }
        let model = Model::load(&part(1, count)).unwrap();
        model.save_image(&image).unwrap();
        assert_eq!((model.root(), Model::load_with(&part(1, count), &image).unwrap().root()), (root, root), "{count}");
    }
    let parts = shape.contents().split(2);
    let load = |first: &std::path::Path| Model::load(first).unwrap_err().to_string();
    assert!(load(&part(2, 2)).contains("file 2 of 2 by itself"));
    let renamed = folder.path().join("renamed.gguf");
    std::fs::write(&renamed, &parts[0]).unwrap();
    assert!(load(&renamed).contains("NAME-00001-of-00002.gguf"));
    // Parts that are the first again, of another model, empty, cut, not there.
    let others = Shape::small(9).contents().split(2);
    let mut empty = Writer::default();
    empty.u32("split.no", 1);
    empty.u32("split.count", 2);
    for (what, bytes) in [
        ("is not file 2 of 2", &parts[0]),
        ("is in two files", &others[1]),
        ("tensors in all parts", &empty.finish()),
        ("damaged", &parts[1][..100].to_vec()),
    ] {
        std::fs::write(part(2, 2), bytes).unwrap();
        assert!(load(&part(1, 2)).contains(what), "{what}: {}", load(&part(1, 2)));
    }
    std::fs::remove_file(part(2, 2)).unwrap();
    assert!(load(&part(1, 2)).contains("m-00002-of-00002.gguf"));
}
