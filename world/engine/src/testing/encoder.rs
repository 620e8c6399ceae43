//! A tiny made-up BERT as a sentence-transformers folder.

use super::Random;
use crate::embed::{Encoder, gguf_of_folder};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Tokens of every tiny encoder.
pub(crate) const WORDS: [&str; 16] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "ab", "##b", "##bc", "##a", "c", "日", "!", "[", "]", "cls", "##σ"];

/// A folder with weights in "F32", "F16" or "BF16", whose size grows with `loudness` (8 is sane).
pub(crate) fn folder(seed: u64, kind: &str, pooling: &str, loudness: u32) -> Files {
    let (d, wide, layers, positions) = (64, 96, 2, 300);
    let mut random = Random(seed);
    let mut tensors: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![WORDS.len(), d]),
        ("embeddings.position_embeddings.weight".into(), vec![positions, d]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, d]),
    ];
    let both = |name: String, rows: usize, columns: Option<usize>| {
        let shape = columns.map_or(vec![rows], |c| vec![rows, c]);
        [(format!("{name}.weight"), shape), (format!("{name}.bias"), vec![rows])]
    };
    tensors.extend(both("embeddings.LayerNorm".into(), d, None));
    for l in 0..layers {
        for (part, rows, columns) in [
            ("attention.self.query", d, Some(d)),
            ("attention.self.key", d, Some(d)),
            ("attention.self.value", d, Some(d)),
            ("attention.output.dense", d, Some(d)),
            ("attention.output.LayerNorm", d, None),
            ("intermediate.dense", wide, Some(d)),
            ("output.dense", d, Some(wide)),
            ("output.LayerNorm", d, None),
        ] {
            tensors.extend(both(format!("encoder.layer.{l}.{part}"), rows, columns));
        }
    }
    tensors.extend(both("pooler.dense".into(), d, Some(d)));
    let (mut table, mut data) = (serde_json::Map::new(), Vec::new());
    table.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    for (name, shape) in tensors {
        let from = data.len();
        for _ in 0..shape.iter().product() {
            // Sign and fraction at random, an exponent around that of 2^-3.
            let bits = (random.next() as u32 & 0x807f_ffff) | (116 + loudness) << 23;
            match kind {
                "F32" => data.extend(bits.to_le_bytes()),
                "BF16" => data.extend(((bits >> 16) as u16).to_le_bytes()),
                _ => {
                    let half = (bits >> 16 & 0x8000) | (4 + loudness).min(30) << 10 | (bits >> 13 & 0x3ff);
                    data.extend((half as u16).to_le_bytes());
                }
            }
        }
        table.insert(name, serde_json::json!({"dtype": kind, "shape": shape, "data_offsets": [from, data.len()]}));
    }
    let table = serde_json::to_vec(&table).unwrap();
    let weights = [&(table.len() as u64).to_le_bytes()[..], &table, &data].concat();
    let json = |v: serde_json::Value| serde_json::to_vec(&v).unwrap();
    let vocabulary: serde_json::Map<_, _> = WORDS.iter().enumerate().map(|(i, w)| ((*w).into(), i.into())).collect();
    [
        (
            "config.json",
            json(serde_json::json!({
                "model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": layers, "hidden_size": d,
                "num_attention_heads": 2, "intermediate_size": wide, "layer_norm_eps": 1e-12,
                "max_position_embeddings": positions, "type_vocab_size": 2,
            })),
        ),
        ("sentence_bert_config.json", json(serde_json::json!({"max_seq_length": 290}))),
        (
            "modules.json",
            json(serde_json::json!([
                {"path": "", "type": "sentence_transformers.models.Transformer"},
                {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ])),
        ),
        ("1_Pooling/config.json", json(serde_json::json!({"word_embedding_dimension": d, pooling: true}))),
        (
            "tokenizer.json",
            json(serde_json::json!({
                "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                    "strip_accents": null, "lowercase": true},
                "model": {"type": "WordPiece", "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 100, "vocab": vocabulary},
            })),
        ),
        ("model.safetensors", weights),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

pub(crate) fn gguf(files: &Files) -> Result<Vec<u8>, crate::ModelError> {
    gguf_of_folder(&mut |name| Ok(files.get(name).cloned()))
}

/// The encoder of a folder.
pub(crate) fn encoder(files: &Files) -> Arc<Encoder> {
    Arc::new(Encoder::parse(&gguf(files).expect("a tiny folder converts")).expect("a tiny encoder loads"))
}
