//! Limits of the records themselves.

/// Inputs of a request: prompt root, trace id and what a kind adds; more is not a request.
pub const REQUEST_INPUTS_MAX: usize = 64;
/// Bytes of a request's parameters: stop strings and a grammar fit, a document does not.
pub const PARAMS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of any single record on the wire or on disk.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Models on one card.
pub const CARD_MODELS_MAX: usize = 64;
/// Stop strings and stop tokens of one request.
pub const STOPS_MAX: usize = 16;
/// Bytes of one stop string.
pub const STOP_BYTES_MAX: usize = 256;
/// Tokens with a bias of their own, as OpenAI has it.
pub const BIASES_MAX: usize = 300;
/// Likeliest tokens whose log probability an output token may come with, as OpenAI has it.
pub const TOP_LOGPROBS_MAX: u32 = 20;
/// Bytes of a constraint: a large schema fits, and what it costs to compile stays small.
pub const CONSTRAINT_BYTES_MAX: usize = 32 * 1024;
/// How far a peer's wall clock may differ from ours, in seconds: NTP is far better, a laptop
/// that woke up is usually within it.
pub const CLOCK_SKEW_S_MAX: u64 = 300;
/// Vectors that one statement of a dispute gives roots of: all outputs of a layer, or all that a leaf follows from.
pub const VECTOR_ROOTS_MAX: usize = 96;
