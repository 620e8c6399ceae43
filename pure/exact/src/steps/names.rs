//! Which vectors there are, how long they are, and what they are numbered.

use super::Program;
use crate::limits::{BLOCK, SEGMENT};

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$of])* $variant,)* }
        impl $name {
            /// All, in order.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];
        }
    };
}

numbered! {
    /// An operator at its place in the program; the number is part of a vector's commitment.
    Place {
        /// The residual before the layer: of the state below, or the embedding.
        Residual,
        /// Norm before attention.
        AttentionNorm,
        /// That norm, quantised.
        AttentionInput,
        /// Query projection with its bias.
        Query,
        /// Key projection.
        Key,
        /// Value projection.
        Value,
        /// Head norms of the query.
        QueryNorm,
        /// Head norms of the key.
        KeyNorm,
        /// The query, rotated.
        QueryTurned,
        /// The key, rotated.
        KeyTurned,
        /// The query as 15-bit codes.
        QueryCodes,
        /// The key as codes.
        KeyCodes,
        /// The value as codes.
        ValueCodes,
        /// Keys and values of the position: `sub` is the position. Those of earlier ones are read from their states.
        Row,
        /// Attention.
        Attention,
        /// Its output, quantised.
        MixedInput,
        /// Output projection of attention.
        AttentionOutput,
        /// Norm after it.
        AttentionPostNorm,
        /// The residual with attention added.
        Middle,
        /// Norm before the feed-forward part.
        FeedForwardNorm,
        /// That norm, quantised.
        FeedForwardInput,
        /// Gate projection.
        Gate,
        /// Up projection.
        Up,
        /// activation(gate) * up.
        Product,
        /// That product, quantised.
        ProductInput,
        /// Down projection.
        Down,
        /// Norm after it.
        DownPostNorm,
        /// The residual after the layer.
        Output,
        /// The last norm.
        OutputNorm,
        /// That norm, quantised.
        LogitsInput,
        /// The logits.
        Logits,
        /// The draw of one token.
        Sampler,
        /// Log probabilities: `sub` is the token.
        Logprobs,
    }
}

numbered! {
    /// What a vector is to its place's output.
    Stage {
        /// The output.
        Out,
        /// Running largest magnitude after each 32 numbers; of scores the largest; the sampler's: of key = logit * 2^20 +
        /// 2^20 - 1 - token, which orders as the sampler does.
        Max,
        /// Running sum of squares after each 32 numbers.
        Squares,
        /// Mantissas, one per 32 numbers.
        Mantissas,
        /// A linear row's running sum after each 32 columns: `sub` is the row.
        Sums,
        /// Scores of one head (`sub`) with every position.
        Scores,
        /// Their weights; the sampler's: weights of all tokens.
        Weights,
        /// Running sum of the weights after each 32; the sampler's: count * 2^64 + mass of those that are not 0.
        Total,
        /// Running largest value exponent after each position.
        Exponent,
        /// Weights aligned to it, of one head and block of 32 dimensions (`sub` = head * blocks + block).
        Aligned,
        /// Running largest aligned weight of a segment after each 32 positions.
        SegmentMax,
        /// Running largest aligned weight of all positions after each 32.
        Top,
        /// Running sum of a segment after each position, of one head and dimension (`sub` = head * head dim + dimension).
        Partial,
        /// Running sum after each segment, of the same.
        Segments,
        /// Running count * 2^64 + mass of the tokens before token `sub` in the sampler's order, after each 32 tokens.
        Before,
        /// Mass that top-k leaves, then what top-p and min-p leave of it.
        Kept,
    }
}

/// Which vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The operator.
    pub place: Place,
    /// What of it.
    pub stage: Stage,
    /// Which of several: head, row, position, dimension, token.
    pub sub: u32,
}

impl Name {
    /// A vector's name.
    #[must_use]
    pub const fn of(place: Place, stage: Stage, sub: u32) -> Self {
        Self { place, stage, sub }
    }

    /// The output of a place that has one.
    #[must_use]
    pub const fn out(place: Place) -> Self {
        Self::of(place, Stage::Out, 0)
    }

    /// place * 2^40 + stage * 2^32 + sub.
    #[must_use]
    pub const fn number(self) -> u64 {
        (self.place as u64) << 40 | (self.stage as u64) << 32 | self.sub as u64
    }

    /// The name with this number; `None` if no vector of any program has it.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let place = *Place::ALL.get(usize::try_from(number >> 40).ok()?)?;
        let stage = *Stage::ALL.get((number >> 32 & 0xff) as usize)?;
        Some(Self { place, stage, sub: number as u32 })
    }
}

/// What a place does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Residual,
    Norm,
    Quantise,
    Linear,
    Turn,
    Row,
    Attention,
    Add,
    Product,
    Sampler,
    Logprobs,
}

impl Place {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Residual => Kind::Residual,
            Self::AttentionNorm | Self::QueryNorm | Self::KeyNorm | Self::AttentionPostNorm => Kind::Norm,
            Self::FeedForwardNorm | Self::DownPostNorm | Self::OutputNorm => Kind::Norm,
            Self::AttentionInput | Self::QueryCodes | Self::KeyCodes | Self::ValueCodes => Kind::Quantise,
            Self::MixedInput | Self::FeedForwardInput | Self::ProductInput | Self::LogitsInput => Kind::Quantise,
            Self::Query | Self::Key | Self::Value | Self::AttentionOutput => Kind::Linear,
            Self::Gate | Self::Up | Self::Down | Self::Logits => Kind::Linear,
            Self::QueryTurned | Self::KeyTurned => Kind::Turn,
            Self::Row => Kind::Row,
            Self::Attention => Kind::Attention,
            Self::Middle | Self::Output => Kind::Add,
            Self::Product => Kind::Product,
            Self::Sampler => Kind::Sampler,
            Self::Logprobs => Kind::Logprobs,
        }
    }
}

impl Program<'_> {
    /// Whether the model has this place.
    #[must_use]
    pub fn has(&self, place: Place) -> bool {
        let features = &self.model.manifest.features;
        match place {
            Place::QueryNorm | Place::KeyNorm => features.head_norms,
            Place::AttentionPostNorm | Place::DownPostNorm => features.post_norms,
            _ => true,
        }
    }

    /// The place whose output this one works on; of two that are added or multiplied, the second.
    #[must_use]
    pub fn input(&self, place: Place) -> Place {
        let or = |norm: Place, plain: Place| if self.has(norm) { norm } else { plain };
        match place {
            Place::Residual | Place::AttentionNorm | Place::Row => Place::Residual,
            Place::AttentionInput => Place::AttentionNorm,
            Place::Query | Place::Key | Place::Value => Place::AttentionInput,
            Place::QueryNorm => Place::Query,
            Place::KeyNorm => Place::Key,
            Place::QueryTurned => or(Place::QueryNorm, Place::Query),
            Place::KeyTurned => or(Place::KeyNorm, Place::Key),
            Place::QueryCodes => Place::QueryTurned,
            Place::KeyCodes => Place::KeyTurned,
            Place::ValueCodes => Place::Value,
            Place::Attention => Place::QueryCodes,
            Place::MixedInput => Place::Attention,
            Place::AttentionOutput => Place::MixedInput,
            Place::AttentionPostNorm => Place::AttentionOutput,
            Place::Middle => or(Place::AttentionPostNorm, Place::AttentionOutput),
            Place::FeedForwardNorm => Place::Middle,
            Place::FeedForwardInput => Place::FeedForwardNorm,
            Place::Gate | Place::Up => Place::FeedForwardInput,
            Place::Product => Place::Up,
            Place::ProductInput => Place::Product,
            Place::Down => Place::ProductInput,
            Place::DownPostNorm => Place::Down,
            Place::Output => or(Place::DownPostNorm, Place::Down),
            Place::OutputNorm => Place::Output,
            Place::LogitsInput => Place::OutputNorm,
            Place::Logits => Place::LogitsInput,
            Place::Sampler | Place::Logprobs => Place::Logits,
        }
    }

    /// Numbers that a norm or quantiser treats as one, and how often: heads have their own.
    pub(super) fn groups(&self, place: Place) -> (usize, usize) {
        let shape = &self.model.manifest.architecture;
        match place {
            Place::QueryNorm | Place::QueryTurned | Place::QueryCodes => (shape.head_dim, shape.heads),
            Place::KeyNorm | Place::KeyTurned | Place::KeyCodes | Place::ValueCodes => (shape.head_dim, shape.kv_heads),
            Place::MixedInput | Place::Attention => (shape.query(), 1),
            Place::Product | Place::ProductInput => (shape.feed_forward, 1),
            _ => (shape.embedding, 1),
        }
    }

    /// Number of a place's first vector: that of a row is its position.
    #[must_use]
    pub fn first_sub(&self, place: Place) -> u32 {
        if place == Place::Row { self.position as u32 } else { 0 }
    }

    /// Whether there is a vector of this name.
    #[must_use]
    pub fn exists(&self, name: Name) -> bool {
        let above = name.sub.checked_sub(self.first_sub(name.place));
        above.is_some_and(|n| (n as usize) < self.count(name.place, name.stage))
    }

    /// How many vectors a place has of a stage, from [`Self::first_sub`] on; 0 if the model has no such place, the layer is
    /// not the place's, or the place has no such stage.
    #[must_use]
    pub fn count(&self, place: Place, stage: Stage) -> usize {
        let (shape, groups) = (&self.model.manifest.architecture, self.groups(place).1);
        match (place.kind(), stage) {
            _ if !self.has(place) => 0,
            _ if place >= Place::OutputNorm && self.layer + 1 < self.model.layers.len() => 0,
            (Kind::Row, Stage::Out) => 1,
            (Kind::Sampler, Stage::Out | Stage::Before) | (Kind::Logprobs, Stage::Out) => shape.vocabulary,
            (Kind::Logprobs, Stage::Weights | Stage::Total) => 1,
            (_, Stage::Out) | (Kind::Sampler, Stage::Max | Stage::Weights | Stage::Total | Stage::Kept) => 1,
            (Kind::Norm, Stage::Max | Stage::Squares) | (Kind::Quantise, Stage::Max) => groups,
            (Kind::Quantise, Stage::Mantissas) if place != Place::QueryCodes => 1,
            (Kind::Linear, Stage::Sums) => self.length(Name::out(place)),
            (Kind::Attention, Stage::Partial | Stage::Segments) => shape.query(),
            (Kind::Attention, Stage::Aligned | Stage::SegmentMax | Stage::Top) => shape.query() / BLOCK,
            (Kind::Attention, Stage::Max | Stage::Scores | Stage::Weights | Stage::Total | Stage::Exponent) => {
                shape.heads
            }
            _ => 0,
        }
    }

    /// Elements of a vector.
    #[must_use]
    pub fn length(&self, name: Name) -> usize {
        let shape = &self.model.manifest.architecture;
        let (width, groups) = self.groups(name.place);
        let (seen, tokens) = (self.position + 1, shape.vocabulary);
        match (name.place.kind(), name.stage) {
            (Kind::Linear, stage) => {
                let matrix = self.matrix(name.place).expect("a linear place has a matrix");
                if stage == Stage::Out { matrix.rows } else { matrix.columns / BLOCK }
            }
            (Kind::Row, _) => 2 * shape.kv_heads * (shape.head_dim + shape.head_dim / BLOCK + 1),
            (Kind::Attention, Stage::Out) => width,
            (Kind::Attention, Stage::Max | Stage::Total | Stage::SegmentMax | Stage::Top) => seen.div_ceil(BLOCK),
            (Kind::Attention, Stage::Segments) => seen.div_ceil(SEGMENT),
            (Kind::Attention, _) => seen,
            (Kind::Sampler | Kind::Logprobs, Stage::Out) => 1,
            (Kind::Sampler, Stage::Kept) => 2,
            (Kind::Sampler | Kind::Logprobs, Stage::Weights) => tokens,
            (Kind::Sampler | Kind::Logprobs, _) => tokens.div_ceil(BLOCK),
            (_, Stage::Max | Stage::Squares) => width / BLOCK,
            (_, Stage::Mantissas) => width * groups / BLOCK,
            _ => width * groups,
        }
    }

    /// Where a row has a code: of keys (0) or values (1), of a head, of a dimension.
    pub(super) fn code_at(&self, values: usize, head: usize, dimension: usize) -> usize {
        let shape = &self.model.manifest.architecture;
        (values * shape.kv_heads + head) * shape.head_dim + dimension
    }

    /// Where a row has a mantissa.
    pub(super) fn mantissa_at(&self, values: usize, head: usize, block: usize) -> usize {
        let shape = &self.model.manifest.architecture;
        2 * shape.key() + (values * shape.kv_heads + head) * shape.head_dim / BLOCK + block
    }

    /// Where a row has an exponent.
    pub(super) fn exponent_at(&self, values: usize, head: usize) -> usize {
        let shape = &self.model.manifest.architecture;
        2 * (shape.key() + shape.key() / BLOCK) + values * shape.kv_heads + head
    }
}
