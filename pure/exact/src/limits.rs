//! Limits of the contract. They keep every sum inside 64 bits, so no honest run can overflow.

/// Bits of a linear output or embedding (Q16): |y| < 2^40. Real models need 2^24.
pub const LINEAR_BITS: u32 = 40;
/// Bits of the feed-forward product (Q20): |y| < 2^60, what the quantiser can take.
pub const PRODUCT_BITS: u32 = 60;
/// Bits of a number after LayerNorm (Q16): |y| < 2^31, so that states are 32-bit words. Real models need 2^24.
pub const STATE_BITS: u32 = 31;
/// Bits an attention score (Q20) is clamped to: differences then stay inside 64 bits.
pub const SCORE_BITS: u32 = 60;
/// Largest |mn| of a weight block: keeps a block's minimum term below 2^48.
pub const BLOCK_MIN_MAX: i64 = 1 << 20;
/// Largest |sw| of a weight block: a 16-bit word.
pub const BLOCK_SCALE_MAX: i64 = 32_767;
/// Row exponents outside this range are refused: 2^-60 is far below any f16 scale's use.
pub const ROW_EXPONENT_MIN: i32 = -60;
/// See [`ROW_EXPONENT_MIN`]; a larger one means scales above 2^22.
pub const ROW_EXPONENT_MAX: i32 = 8;
/// Columns of a matrix: 2^16 columns of 8-bit codes sum to less than 2^62.
pub const COLUMNS_MAX: usize = 1 << 16;
/// Length of a normed vector: 2^15 squares of 24 bits sum to at most 2^63.
pub const NORM_MAX: usize = 1 << 15;
/// Largest head dimension: scores sum in 64 bits with room to spare.
pub const HEAD_DIM_MAX: usize = 256;
/// Longest context: attention sums stay below 2^60.
pub const CONTEXT_MAX: usize = 1 << 17;
/// Layers of a model: the residual stays below 2^52.
pub const LAYERS_MAX: usize = 1 << 10;
/// Rows of a matrix, and so entries of a vocabulary.
pub const ROWS_MAX: usize = 1 << 20;
/// Activations and keys are quantised in blocks of this many numbers.
pub const BLOCK: usize = 32;
/// Positions whose softmax weights share one scale.
pub const SEGMENT: usize = 128;
/// Weights in one tile of the model's Merkle tree.
pub const TILE: usize = 1024;
