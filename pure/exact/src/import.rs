//! Rule 1: GGUF block formats to rows of integers, by integer arithmetic on the bit patterns.
//!
//! A weight is sw * (code - zero point) + mn, times 2^ew, with one sw and mn per block and one ew
//! per row. f16 scales times 6- or 8-bit factors are multiples of 2^-24, so only the last step,
//! dividing by 2^ew, rounds. Formats without blocks are quantised by [`plain`]. Block layouts: ggml's `ggml-common.h` and `ggml-quants.c`.

mod layout;
mod plain;

use crate::arith::rne;
use crate::error::ImportError;
use crate::limits::{BLOCK_MIN_MAX, BLOCK_SCALE_MAX, ROW_EXPONENT_MAX, ROW_EXPONENT_MIN};

/// A block format of GGUF that has an integer form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// 32 4-bit codes around 8.
    Q4_0,
    /// 32 4-bit codes with a minimum.
    Q4_1,
    /// 32 5-bit codes around 16.
    Q5_0,
    /// 32 5-bit codes with a minimum.
    Q5_1,
    /// 32 8-bit codes around 128 (stored signed around 0).
    Q8_0,
    /// 256 4-bit codes in eight blocks with 6-bit scales and minimums.
    Q4K,
    /// 256 5-bit codes in eight blocks with 6-bit scales and minimums.
    Q5K,
    /// 256 6-bit codes around 32 in sixteen blocks with 8-bit scales.
    Q6K,
    /// Single precision; becomes 8-bit codes around 128.
    F32,
    /// Half precision; the same.
    F16,
    /// The upper half of single precision; the same.
    BF16,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 11] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::F32,
        Self::F16,
        Self::BF16,
    ];

    /// The format of a ggml tensor type number, if it has an integer form.
    #[must_use]
    pub fn from_ggml(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.ggml() == number)
    }

    /// The ggml tensor type number.
    #[must_use]
    pub fn ggml(self) -> u32 {
        match self {
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::F32 => 0,
            Self::F16 => 1,
            Self::BF16 => 30,
        }
    }

    /// Weights and bytes of one stored group.
    #[must_use]
    pub fn group(self) -> (usize, usize) {
        match self {
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::F32 => (32, 128),
            Self::F16 | Self::BF16 => (32, 64),
        }
    }

    /// Weights that share one scale.
    #[must_use]
    pub fn block(self) -> usize {
        if self == Self::Q6K { 16 } else { 32 }
    }

    /// The code that stands for zero (before the minimum).
    #[must_use]
    pub fn zero_point(self) -> u8 {
        match self {
            Self::Q4_0 => 8,
            Self::Q5_0 => 16,
            Self::Q8_0 | Self::F32 | Self::F16 | Self::BF16 => 128,
            Self::Q6K => 32,
            Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K => 0,
        }
    }

    /// Whether numbers are stored as such, without blocks.
    #[must_use]
    pub fn is_plain(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Whether blocks carry a minimum.
    #[must_use]
    pub fn has_min(self) -> bool {
        self.zero_point() == 0
    }

    /// The largest code.
    #[must_use]
    pub fn code_max(self) -> u8 {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q4K => 15,
            Self::Q5_0 | Self::Q5_1 | Self::Q5K => 31,
            Self::Q6K => 63,
            Self::Q8_0 | Self::F32 | Self::F16 | Self::BF16 => 255,
        }
    }

    /// Bytes of a row of `columns` weights; `None` if the row is not a whole number of groups.
    #[must_use]
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        let (weights, bytes) = self.group();
        if columns.is_multiple_of(weights) { (columns / weights).checked_mul(bytes) } else { None }
    }
}

/// One row of a matrix in its canonical integer form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// One code per weight, in logical order.
    pub codes: Vec<u8>,
    /// One scale per block, |sw| <= 32,767.
    pub sw: Vec<i16>,
    /// One minimum per block, |mn| <= 2^20; empty for formats without minimums.
    pub mn: Vec<i32>,
    /// Binary exponent of the whole row, in -60..=8.
    pub ew: i32,
}

/// Reads rows of one format, keeping its working memory between rows.
#[derive(Debug)]
pub struct Importer {
    format: Format,
    /// Scales in units of 2^-24, one per block.
    scales: Vec<i64>,
    /// Minimums in units of 2^-24, one per block, or empty.
    minimums: Vec<i64>,
}

impl Importer {
    /// An importer for `format`.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, scales: Vec::new(), minimums: Vec::new() }
    }

    /// Reads one row of `columns` weights from its stored bytes into `row`.
    ///
    /// # Errors
    /// If the bytes do not make such a row, a scale is not finite, or the row's exponent is out of range.
    pub fn read(&mut self, bytes: &[u8], columns: usize, row: &mut Row) -> Result<(), ImportError> {
        let need = self.format.row_bytes(columns).unwrap_or(0);
        if need != bytes.len() {
            return Err(ImportError::Shape { what: "a weight row (bytes)", need, have: bytes.len() });
        }
        row.codes.clear();
        row.codes.resize(columns, 0);
        if self.format.is_plain() {
            return plain::read(self.format, bytes, row);
        }
        self.scales.clear();
        self.minimums.clear();
        let (weights, size) = self.format.group();
        for (group, codes) in bytes.chunks_exact(size).zip(row.codes.chunks_exact_mut(weights)) {
            layout::read_group(self.format, group, codes, &mut self.scales, &mut self.minimums)
                .ok_or(ImportError::NotFinite { what: "a weight scale" })?;
        }
        self.round(row)
    }

    /// Divides by 2^ew, the smallest exponent at which every scale and minimum is inside its limit.
    fn round(&self, row: &mut Row) -> Result<(), ImportError> {
        let scale = self.scales.iter().map(|s| s.abs()).max().unwrap_or(0);
        let minimum = self.minimums.iter().map(|s| s.abs()).max().unwrap_or(0);
        let shift = match (scale, minimum) {
            (0, 0) => 24,
            _ => smallest_shift(scale, BLOCK_SCALE_MAX).max(smallest_shift(minimum, BLOCK_MIN_MAX)),
        };
        row.ew = shift - 24;
        check_exponent(row.ew)?;
        row.sw.clear();
        row.sw.extend(self.scales.iter().map(|s| rne(i128::from(*s), shift) as i16));
        row.mn.clear();
        row.mn.extend(self.minimums.iter().map(|m| rne(i128::from(*m), shift) as i32));
        Ok(())
    }
}

fn check_exponent(ew: i32) -> Result<(), ImportError> {
    if (ROW_EXPONENT_MIN..=ROW_EXPONENT_MAX).contains(&ew) {
        return Ok(());
    }
    Err(ImportError::OutOfRange {
        what: "a weight row's exponent",
        need: format!("{ROW_EXPONENT_MIN}..={ROW_EXPONENT_MAX}"),
        have: ew.to_string(),
    })
}

/// The smallest s with RNE(v / 2^s) <= limit; below every other for v = 0.
fn smallest_shift(v: i64, limit: i64) -> i32 {
    if v == 0 {
        return i32::MIN;
    }
    let bits = |x: i64| 64 - x.leading_zeros() as i32;
    let shift = bits(v) - bits(limit);
    if rne(i128::from(v), shift) > i128::from(limit) { shift + 1 } else { shift }
}
