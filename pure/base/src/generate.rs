//! What a `generate` request asks of the engine. A worker's request carries it as its `params`;
//! a verifier replays it. All fractions are integers with 16 fraction bits (Q16).

/// Output tokens of one chunk: the unit of receipts, vouchers and commitments.
pub const CHUNK_TOKENS: u32 = 32;

/// One in Q16.
pub const ONE_Q16: u32 = 1 << 16;

/// Largest frequency and presence penalty, either way: 2 in Q16.
pub const PENALTY_MAX_Q16: i32 = 2 << 16;

/// The bias that bans a token: -100 in Q16. The largest is as far the other way.
pub const BIAS_BAN_Q16: i32 = -100 << 16;

/// Parameters of one generation. The seed is in the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateParams {
    /// Output tokens at most.
    pub max_tokens: u32,
    /// Temperature in Q16; 0 is greedy: the largest logit, ties to the lowest id.
    pub temperature_q16: u32,
    /// Keep only the k largest logits; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of largest tokens whose probability reaches this (Q16); 65,536 keeps all.
    pub top_p_q16: u32,
    /// Drop tokens less probable than this fraction (Q16) of the most probable; 0 keeps all.
    pub min_p_q16: u32,
    /// What the logit of a token of prompt or output is divided by, or multiplied if it is negative
    /// (Q16); 65,536 is off.
    pub repeat_penalty_q16: u32,
    /// Taken off a token's logit for every time that the output has it (Q16).
    pub frequency_penalty_q16: i32,
    /// Taken off a token's logit if the output has it (Q16).
    pub presence_penalty_q16: i32,
    /// Added to the logits of these token ids (Q16), ids ascending; [`BIAS_BAN_Q16`] bans a token.
    pub logit_bias: Vec<(u32, i32)>,
    /// What the output has to be, if it matters.
    pub constraint: Option<Constraint>,
    /// Token ids that end the output, besides the model's own; the ending token is part of the output.
    pub stop_tokens: Vec<u32>,
    /// Strings that end the output; the token that completes one is part of it.
    pub stop: Vec<String>,
    /// Do not end at the model's own end-of-generation tokens.
    pub ignore_eos: bool,
    /// Tell the log probability of every output token, and of so many of the likeliest; `None`: tell none.
    pub top_logprobs: Option<u32>,
}

impl Default for GenerateParams {
    fn default() -> Self {
        Self {
            max_tokens: 128,
            temperature_q16: 0,
            top_k: 0,
            top_p_q16: ONE_Q16,
            min_p_q16: 0,
            repeat_penalty_q16: ONE_Q16,
            frequency_penalty_q16: 0,
            presence_penalty_q16: 0,
            logit_bias: Vec::new(),
            constraint: None,
            stop_tokens: Vec::new(),
            stop: Vec::new(),
            ignore_eos: false,
            top_logprobs: None,
        }
    }
}

/// The program that turns a constraint into sets of tokens, and its version: part of what a constraint
/// means, for another version may allow other tokens. `world/engine` checks that it is the one in use.
pub const CONSTRAINT_DIALECT: &str = "llguidance/1.9.1";

/// What an output has to be: a text of this language, whole when the output ends with a stop. The model's end
/// tokens come only where the text may end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// How the language is written down.
    pub form: ConstraintForm,
    /// The language.
    pub source: String,
}

/// How a language is written down, in [`CONSTRAINT_DIALECT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintForm {
    /// A JSON schema.
    JsonSchema,
    /// A regular expression for the whole text.
    Regex,
    /// A grammar in a dialect of Lark.
    Lark,
}

impl ConstraintForm {
    const ALL: [Self; 3] = [Self::JsonSchema, Self::Regex, Self::Lark];

    /// Its name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JsonSchema => "json_schema",
            Self::Regex => "regex",
            Self::Lark => "lark",
        }
    }

    /// Reads the name used in records.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }
}

/// Why the output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Finish {
    /// It has not: more chunks follow.
    Running = 0,
    /// A stop token, which is the last token of the output.
    Stop = 1,
    /// `max_tokens`, or the end of the context.
    Length = 2,
    /// The client or the worker's owner ended it early; what came is paid.
    Cancelled = 3,
    /// A verifier's word: the sampler does not give token number `units` of the output.
    Diverged = 4,
}

impl Finish {
    /// Reads the number used in records.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::Running, Self::Stop, Self::Length, Self::Cancelled, Self::Diverged]
            .into_iter()
            .find(|f| *f as u8 == number)
    }

    /// OpenAI's `finish_reason`, where there is one.
    #[must_use]
    pub fn openai(self) -> Option<&'static str> {
        match self {
            Self::Stop => Some("stop"),
            Self::Length => Some("length"),
            Self::Running | Self::Cancelled | Self::Diverged => None,
        }
    }
}
