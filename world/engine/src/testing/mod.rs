//! For tests: tiny made-up models in GGUF form, and the real one.
#![allow(missing_docs)]

pub(crate) mod encoder;
mod real;

pub(crate) use crate::gguf::Writer;
pub(crate) use real::real_model;

use crate::model::Model;
use std::sync::Arc;
use talkoo_exact::KvFormat;
use talkoo_exact::import::Format;

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Random(pub u64);

impl Random {
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
}

impl Writer {
    /// The same model in `count` files, by turns.
    pub(crate) fn split(mut self, count: usize) -> Vec<Vec<u8>> {
        let tensors = self.take_tensors();
        let whole = tensors.len() as u32;
        let mut parts: Vec<Self> = std::iter::once(self).chain((1..count).map(|_| Self::default())).collect();
        for (no, part) in parts.iter_mut().enumerate() {
            part.u32("split.no", no as u32);
            part.u32("split.count", count as u32);
            part.u32("split.tensors.count", whole);
        }
        for (i, (name, dimensions, kind, bytes)) in tensors.into_iter().enumerate() {
            let dimensions: Vec<usize> = dimensions.into_iter().map(|d| d as usize).collect();
            parts[i % count].tensor(&name, &dimensions, kind, bytes);
        }
        parts.into_iter().map(Self::finish).collect()
    }

    pub(crate) fn singles(&mut self, key: &str, bits: &[u32]) {
        let mut bytes = 6u32.to_le_bytes().to_vec();
        bytes.extend((bits.len() as u64).to_le_bytes());
        bits.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        self.entry(key, 9, &bytes);
    }
}

/// The architectures that are supported.
pub(crate) const FAMILIES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma3", "phi3"];

/// The shape of a tiny model.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub seed: u64,
    pub layers: usize,
    pub embedding: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub feed_forward: usize,
    pub context: usize,
    pub tied: bool,
    /// Binary exponent of the scales, by which numbers grow from sane to wild.
    pub loudness: u32,
    /// Formats to draw from.
    pub formats: Vec<Format>,
    /// `general.architecture`.
    pub family: &'static str,
    /// SentencePiece instead of byte-level BPE.
    pub sentences: bool,
    /// Biases of queries, keys and values.
    pub biases: bool,
    /// Positions of local layers, 0 for none; in Gemma every sixth layer, and here every second, is not local.
    pub window: usize,
    /// Divisors of the rotary frequencies, each its own and one of all.
    pub divided_rotation: bool,
    /// A token whose embedding leaves the contract's range; only with Q4_K.
    pub wild_token: Option<usize>,
    /// How keys and values are kept.
    pub kv: KvFormat,
}

impl Shape {
    pub(crate) fn small(seed: u64) -> Self {
        Self {
            seed,
            layers: 2,
            embedding: 64,
            heads: 4,
            kv_heads: 2,
            head_dim: 32,
            feed_forward: 96,
            context: 96,
            tied: true,
            loudness: 8,
            formats: Format::ALL.to_vec(),
            family: "llama",
            sentences: false,
            biases: false,
            window: 0,
            divided_rotation: false,
            wild_token: None,
            kv: KvFormat::Int8,
        }
    }

    /// A tiny model with all that its family may have.
    pub(crate) fn of_family(seed: u64, family: &'static str) -> Self {
        let windowed = matches!(family, "llama" | "gemma3" | "phi3");
        Self {
            family,
            biases: family == "qwen2",
            window: if windowed { 20 } else { 0 },
            divided_rotation: true,
            head_dim: 64,
            layers: 3,
            ..Self::small(seed)
        }
    }

    /// A model that cannot run token 7.
    pub(crate) fn wild(seed: u64) -> Self {
        let (embedding, feed_forward, heads) = (256, 256, 8);
        let formats = vec![Format::Q4K];
        Self { embedding, feed_forward, heads, formats, tied: false, wild_token: Some(7), ..Self::small(seed) }
    }

    /// A random shape; K formats come with widths that are multiples of 256.
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random(seed);
        let wide = random.below(4) == 0;
        let unit = if wide { 256 } else { 32 };
        let kv_heads = 1 + random.below(2);
        Self {
            seed,
            layers: 1 + random.below(2),
            embedding: unit * (1 + random.below(if wide { 1 } else { 4 })),
            kv_heads,
            heads: kv_heads * (1 + random.below(3)),
            head_dim: 32 * (1 + random.below(3)),
            feed_forward: unit * (1 + random.below(if wide { 1 } else { 5 })),
            context: 256,
            tied: random.below(2) == 0,
            loudness: [5, 8, 8, 9, 12][random.below(5)] as u32,
            family: FAMILIES[random.below(FAMILIES.len())],
            sentences: random.below(4) == 0,
            biases: random.below(3) == 0,
            window: [0, 1, 5, 17][random.below(4)],
            divided_rotation: random.below(3) == 0,
            formats: Format::ALL.to_vec(),
            wild_token: None,
            kv: KvFormat::ALL[random.below(2)],
        }
        .possible()
    }

    /// Without what its family cannot have.
    fn possible(mut self) -> Self {
        if self.family.starts_with("qwen") {
            self.window = 0;
        }
        self.biases &= self.family != "phi3";
        self
    }

    fn matrix(&self, random: &mut Random, rows: usize, columns: usize) -> (u32, Vec<u8>) {
        let fits: Vec<Format> = self.formats.iter().copied().filter(|f| columns.is_multiple_of(f.group().0)).collect();
        let format = fits[random.below(fits.len())];
        let mut bytes: Vec<u8> = (0..rows * format.row_bytes(columns).unwrap()).map(|_| random.next() as u8).collect();
        for group in bytes.chunks_exact_mut(format.group().1) {
            let mut half = |at: usize, quieter: u32| {
                let exponent = self.loudness.saturating_sub(quieter) as u16;
                let bits = (random.next() as u16 & 0x83ff) | exponent << 10;
                group[at..at + 2].copy_from_slice(&bits.to_le_bytes());
            };
            match format {
                Format::Q4_0 | Format::Q5_0 => half(0, 0),
                Format::Q8_0 => half(0, 4),
                Format::Q4_1 | Format::Q5_1 => {
                    half(0, 0);
                    half(2, 0);
                }
                Format::Q4K | Format::Q5K => {
                    half(0, 5);
                    half(2, 5);
                }
                Format::Q6K => half(208, 8),
                Format::F16 => (0..32).for_each(|i| half(2 * i, 0)),
                // The same numbers in other forms: five bits of exponent become eight.
                Format::F32 | Format::BF16 => {
                    let width = group.len() / 32;
                    for number in group.chunks_exact_mut(width) {
                        let sign = number[width - 1] & 0x80;
                        let field = (self.loudness.min(30) + 112) as u8;
                        number[width - 1] = sign | field >> 1;
                        number[width - 2] = number[width - 2] & 0x7f | field << 7;
                    }
                }
            }
        }
        (format.ggml(), bytes)
    }

    /// The tokens.
    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = ["<s>", "</s>", "ab", "abc"].map(String::from).to_vec();
        words.extend((b'!'..=b'~').map(|b| char::from(b).to_string()));
        if self.sentences {
            words.extend(["\u{2581}", "\u{2581}a", "ca", "[it]"].map(String::from));
            words.extend((0..=255).map(|b| format!("<0x{b:02X}>")));
        }
        words
    }

    /// The metadata of the model, without tensors.
    pub(crate) fn writer(&self, words: &[String]) -> Writer {
        let mut w = Writer::default();
        let family = self.family;
        w.text("general.architecture", family);
        for (key, v) in [
            ("block_count", self.layers),
            ("context_length", self.context),
            ("embedding_length", self.embedding),
            ("feed_forward_length", self.feed_forward),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("rope.dimension_count", self.head_dim),
        ] {
            w.u32(&format!("{family}.{key}"), v as u32);
        }
        w.single(&format!("{family}.rope.freq_base"), 0x461c_4000);
        w.single(&format!("{family}.attention.layer_norm_rms_epsilon"), 0x3727_c5ac);
        if self.window > 0 {
            w.u32(&format!("{family}.attention.sliding_window"), self.window as u32);
            w.u32(&format!("{family}.attention.sliding_window_pattern"), 2);
            w.single(&format!("{family}.rope.freq_base_swa"), 0x4479_c000);
        }
        if self.divided_rotation {
            w.text(&format!("{family}.rope.scaling.type"), "linear");
            w.single(&format!("{family}.rope.scaling.factor"), 0x3fc0_0000);
        }
        w.texts("tokenizer.ggml.tokens", words);
        let kind = |i: usize, word: &str| match i {
            0 | 1 => 3,
            _ if word.starts_with("<0x") => 6,
            _ if word.starts_with('[') && word.len() > 1 => 4,
            _ => 1,
        };
        let types: Vec<i32> = words.iter().enumerate().map(|(i, word)| kind(i, word)).collect();
        w.integers("tokenizer.ggml.token_type", &types);
        if self.sentences {
            w.text("tokenizer.ggml.model", "llama");
            // The longer the better; of equals the earlier in the list.
            let score = |(i, word): (usize, &String)| (word.chars().count() as f32 - i as f32 / 1000.0 - 9.0).to_bits();
            w.singles("tokenizer.ggml.scores", &words.iter().enumerate().map(score).collect::<Vec<_>>());
        } else {
            w.text("tokenizer.ggml.model", "gpt2");
            w.text("tokenizer.ggml.pre", "smollm");
            w.texts("tokenizer.ggml.merges", &["a b".into(), "ab c".into()]);
        }
        w.u32("tokenizer.ggml.bos_token_id", 0);
        w.u32("tokenizer.ggml.eos_token_id", 1);
        w.text(
            "tokenizer.chat_template",
            "{% for m in messages %}<s>{{ m.role }}: {{ m.content | trim }}</s>\n{% endfor %}<s>",
        );
        w
    }

    /// The model file.
    pub(crate) fn gguf(&self) -> Vec<u8> {
        self.contents().finish()
    }

    /// What is in the model file.
    pub(crate) fn contents(&self) -> Writer {
        let mut random = Random(self.seed ^ 0x5eed);
        let words = self.words();
        let mut w = self.writer(&words);
        let (d, q, kv) = (self.embedding, self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut add = |random: &mut Random, name: &str, rows: usize, columns: usize| {
            let (kind, mut bytes) = self.matrix(random, rows, columns);
            if let Some(token) = self.wild_token.filter(|_| name == "token_embd") {
                // The largest scales and codes that there are, no minimums.
                let row = bytes.len() / rows;
                for group in bytes[token * row..][..row].chunks_exact_mut(144) {
                    group.fill(0xff);
                    group[..4].copy_from_slice(&[0xff, 0x7b, 0, 0]);
                }
            }
            w.tensor(&format!("{name}.weight"), &[columns, rows], kind, bytes);
        };
        add(&mut random, "token_embd", words.len(), d);
        for l in 0..self.layers {
            let ff = self.feed_forward;
            let plain = [("attn_q", q), ("attn_k", kv), ("attn_v", kv), ("ffn_gate", ff), ("ffn_up", ff)];
            let fused = [("attn_qkv", q + 2 * kv), ("ffn_up", 2 * ff)];
            let inner = if self.family == "phi3" { &fused[..] } else { &plain };
            for (name, rows) in inner {
                add(&mut random, &format!("blk.{l}.{name}"), *rows, d);
            }
            add(&mut random, &format!("blk.{l}.attn_output"), d, q);
            add(&mut random, &format!("blk.{l}.ffn_down"), d, ff);
        }
        if !self.tied {
            add(&mut random, "output", words.len(), d);
        }
        let mut vector = |name: String, length: usize| {
            let gain = |_| (0x3f00_0000 + (random.next() as u32 & 0xff_ffff)).to_le_bytes();
            w.tensor(&name, &[length], 0, (0..length).flat_map(gain).collect());
        };
        for l in 0..self.layers {
            vector(format!("blk.{l}.attn_norm.weight"), d);
            vector(format!("blk.{l}.ffn_norm.weight"), d);
        }
        vector("output_norm.weight".into(), d);
        for (l, (name, length)) in (0..self.layers).flat_map(|l| self.extras().into_iter().map(move |e| (l, e))) {
            vector(format!("blk.{l}.{name}"), length);
        }
        if self.divided_rotation {
            let factors = (0..self.head_dim / 2).flat_map(|j| (0x3f80_0000 + j as u32 * 0x8_1234).to_le_bytes());
            w.tensor("rope_freqs.weight", &[self.head_dim / 2], 0, factors.collect());
        }
        w
    }

    /// Names and lengths of the vectors that a layer of this family has beyond the plain llama's.
    fn extras(&self) -> Vec<(&'static str, usize)> {
        let (q, kv, dim) = (self.heads * self.head_dim, self.kv_heads * self.head_dim, self.head_dim);
        let mut out = Vec::new();
        if self.biases {
            out.extend([("attn_q.bias", q), ("attn_k.bias", kv), ("attn_v.bias", kv)]);
        }
        if matches!(self.family, "qwen3" | "gemma3") {
            out.extend([("attn_q_norm.weight", dim), ("attn_k_norm.weight", dim)]);
        }
        if self.family == "gemma3" {
            out.extend([("post_attention_norm.weight", self.embedding), ("post_ffw_norm.weight", self.embedding)]);
        }
        out
    }

    /// The model, loaded from a temporary file.
    pub(crate) fn load(&self) -> Arc<Model> {
        Arc::new(load_bytes(&self.gguf()).expect("a tiny model loads").with_kv(self.kv))
    }
}

/// Loads a model from bytes.
pub(crate) fn load_bytes(bytes: &[u8]) -> Result<Model, crate::ModelError> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("room for a tiny model");
    Model::load(file.path())
}
