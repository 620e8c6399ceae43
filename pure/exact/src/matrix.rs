//! Rules 1 and 3: a matrix as integers, its product with a quantised vector, its hash.

use crate::arith::rsh128;
use crate::error::{ImportError, RangeError};
use crate::import::{Format, Importer, Row};
use crate::limits::{BLOCK, COLUMNS_MAX, LINEAR_BITS, ROWS_MAX, TILE};
use crate::quantize::Quantized;
use talkoo_base::{Digest, merkle, sha256};

/// A matrix of integer weights: `rows` outputs, `columns` inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Number of rows (outputs).
    pub rows: usize,
    /// Number of columns (inputs), a multiple of 32.
    pub columns: usize,
    /// Weights that share one scale: 16 or 32.
    pub block: usize,
    /// The code that stands for zero.
    pub zero_point: u8,
    /// rows * columns codes, row by row.
    pub codes: Vec<u8>,
    /// rows * columns / block scales.
    pub sw: Vec<i16>,
    /// As many minimums, or none.
    pub mn: Vec<i32>,
    /// One exponent per row.
    pub ew: Vec<i32>,
}

impl Matrix {
    /// Imports a whole matrix from the bytes of a GGUF tensor.
    ///
    /// # Errors
    /// If the shape is outside the contract or a row cannot be imported.
    pub fn import(format: Format, rows: usize, columns: usize, bytes: &[u8]) -> Result<Self, ImportError> {
        let row_bytes = check_shape(format, rows, columns)?;
        if bytes.len() != rows * row_bytes {
            return Err(ImportError::Shape {
                what: "a weight matrix (bytes)",
                need: rows * row_bytes,
                have: bytes.len(),
            });
        }
        let mut matrix = Self::empty(format, columns);
        let (mut importer, mut row) = (Importer::new(format), Row::default());
        for bytes in bytes.chunks_exact(row_bytes) {
            importer.read(bytes, columns, &mut row)?;
            matrix.push(&row);
        }
        Ok(matrix)
    }

    /// A matrix of no rows.
    #[must_use]
    pub fn empty(format: Format, columns: usize) -> Self {
        Self {
            rows: 0,
            columns,
            block: format.block(),
            zero_point: format.zero_point(),
            codes: Vec::new(),
            sw: Vec::new(),
            mn: Vec::new(),
            ew: Vec::new(),
        }
    }

    /// Appends a row; it must have the matrix's shape.
    pub fn push(&mut self, row: &Row) {
        assert_eq!(row.codes.len(), self.columns, "a row of another matrix");
        self.rows += 1;
        self.codes.extend_from_slice(&row.codes);
        self.sw.extend_from_slice(&row.sw);
        self.mn.extend_from_slice(&row.mn);
        self.ew.push(row.ew);
    }

    /// Row `r`, copied.
    #[must_use]
    pub fn row(&self, r: usize) -> Row {
        let blocks = self.columns / self.block;
        Row {
            codes: self.codes[r * self.columns..][..self.columns].to_vec(),
            sw: self.sw[r * blocks..][..blocks].to_vec(),
            mn: if self.mn.is_empty() { Vec::new() } else { self.mn[r * blocks..][..blocks].to_vec() },
            ew: self.ew[r],
        }
    }

    /// The product with a quantised vector of `columns` numbers, in Q16.
    ///
    /// # Errors
    /// If an output reaches 2^40.
    pub fn multiply(&self, x: &Quantized) -> Result<Vec<i64>, RangeError> {
        (0..self.rows).map(|r| finish(self.accumulate(r, x), self.ew[r] + x.exponent)).collect()
    }

    /// Sum over blocks of m * (sw * (code - zero point) . codes + mn * sum of codes): below 2^62.
    fn accumulate(&self, r: usize, x: &Quantized) -> i64 {
        let blocks = self.columns / self.block;
        let mut sum = 0;
        for b in 0..blocks {
            let weights = &self.codes[r * self.columns + b * self.block..][..self.block];
            let codes = &x.codes[b * self.block..][..self.block];
            let (mut dot, mut plain) = (0i64, 0i64);
            for (w, c) in weights.iter().zip(codes) {
                dot += i64::from(*w) * i64::from(*c);
                plain += i64::from(*c);
            }
            let scaled = i64::from(self.sw[r * blocks + b]) * (dot - i64::from(self.zero_point) * plain);
            let minimum = self.mn.get(r * blocks + b).map_or(0, |m| i64::from(*m) * plain);
            sum += i64::from(x.mantissas[b * self.block / BLOCK]) * (scaled + minimum);
        }
        sum
    }

    /// Row `r` times `scale` (Q16) as numbers in Q16: the embedding of token `r`.
    ///
    /// # Errors
    /// If a number reaches 2^40.
    pub fn embed(&self, r: usize, scale: i64) -> Result<Vec<i64>, RangeError> {
        embed_row(&self.row(r), self.block, self.zero_point, scale)
    }

    /// The matrix's digest: its shape and the Merkle root of its tiles.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.hasher().finish(self.columns)
    }

    pub(crate) fn hasher(&self) -> MatrixHasher {
        let mut hasher = MatrixHasher::new(self.block, self.zero_point);
        for r in 0..self.rows {
            hasher.push(&self.row(r));
        }
        hasher
    }
}

/// Checks a matrix's shape against the contract; returns the bytes of one stored row.
///
/// # Errors
/// If a dimension is zero, too large, or not a whole number of groups.
pub fn check_shape(format: Format, rows: usize, columns: usize) -> Result<usize, ImportError> {
    if columns > COLUMNS_MAX || rows > ROWS_MAX || rows == 0 || columns == 0 {
        return Err(ImportError::OutOfRange {
            what: "a weight matrix's shape",
            need: format!("1..={ROWS_MAX} rows of 1..={COLUMNS_MAX}"),
            have: format!("{rows} rows of {columns}"),
        });
    }
    format.row_bytes(columns).ok_or(ImportError::Shape {
        what: "a weight row",
        need: columns.next_multiple_of(format.group().0),
        have: columns,
    })
}

/// Turns a sum with the row's and the vector's exponents (added) into a Q16 output.
///
/// # Errors
/// If it reaches 2^40.
#[inline]
pub fn finish(sum: i64, exponent: i32) -> Result<i64, RangeError> {
    RangeError::check("linear output", rsh128(i128::from(sum), -(exponent + 16)), LINEAR_BITS)
}

/// A row of the embedding as numbers in Q16: rsh((sw * (code - zero point) + mn) * scale, -ew), `scale`
/// in Q16. With a scale of one this is rsh(sw * (code - zero point) + mn, -(ew + 16)).
///
/// # Errors
/// If a number reaches 2^40.
pub fn embed_row(row: &Row, block: usize, zero_point: u8, scale: i64) -> Result<Vec<i64>, RangeError> {
    let weight = |(i, code): (usize, &u8)| {
        let scaled = i64::from(row.sw[i / block]) * (i64::from(*code) - i64::from(zero_point));
        let minimum = row.mn.get(i / block).map_or(0, |m| i64::from(*m));
        let value = rsh128(i128::from(scaled + minimum) * i128::from(scale), -row.ew);
        RangeError::check("embedding", value, LINEAR_BITS)
    };
    row.codes.iter().enumerate().map(weight).collect()
}

/// Hashes a matrix row by row, as rows are imported.
#[derive(Debug)]
pub struct MatrixHasher {
    block: usize,
    zero_point: u8,
    has_min: bool,
    rows: u32,
    pub(crate) leaves: Vec<Digest>,
    bytes: Vec<u8>,
}

impl MatrixHasher {
    /// Starts a matrix with this block size and zero point.
    #[must_use]
    pub fn new(block: usize, zero_point: u8) -> Self {
        Self { block, zero_point, has_min: false, rows: 0, leaves: Vec::new(), bytes: Vec::new() }
    }

    /// Adds the next row: one leaf per tile of up to 1,024 weights, in order.
    pub fn push(&mut self, row: &Row) {
        self.rows += 1;
        self.has_min |= !row.mn.is_empty();
        for tile in 0..row.codes.len().div_ceil(TILE) {
            self.bytes.clear();
            row.push_tile(tile, self.block, &mut self.bytes);
            self.leaves.push(merkle::leaf("talkoo/tile/1", &self.bytes));
        }
    }

    /// Appends the rows of `other`, which come after those of `self`.
    pub fn append(&mut self, other: Self) {
        self.rows += other.rows;
        self.has_min |= other.has_min;
        self.leaves.extend(other.leaves);
    }

    /// SHA-256("talkoo/matrix/1" ‖ rows ‖ columns ‖ block ‖ zero point ‖ has min (u32 BE each) ‖ root of the tiles).
    #[must_use]
    pub fn finish(mut self, columns: usize) -> Digest {
        let root = merkle::root_of_leaves("talkoo/tile/1", std::mem::take(&mut self.leaves));
        let numbers: Vec<u8> = self.shape(columns).iter().flat_map(|n| n.to_be_bytes()).collect();
        sha256(&[b"talkoo/matrix/1", &numbers, &root.0])
    }

    /// Rows, columns, block, zero point, whether there are minimums: what the digest names.
    pub(crate) fn shape(&self, columns: usize) -> [u32; 5] {
        [self.rows, columns as u32, self.block as u32, u32::from(self.zero_point), u32::from(self.has_min)]
    }
}

impl Row {
    /// Appends the bytes of a tile of up to 1,024 weights: codes, sw (i16 LE), mn (i32 LE), ew (i32 LE).
    pub fn push_tile(&self, tile: usize, block: usize, out: &mut Vec<u8>) {
        let codes = &self.codes[tile * TILE..self.codes.len().min((tile + 1) * TILE)];
        let own = tile * TILE / block..(tile * TILE + codes.len()) / block;
        out.extend_from_slice(codes);
        out.extend(self.sw[own.clone()].iter().flat_map(|s| s.to_le_bytes()));
        if !self.mn.is_empty() {
            out.extend(self.mn[own].iter().flat_map(|m| m.to_le_bytes()));
        }
        out.extend_from_slice(&self.ew.to_le_bytes());
    }
}
