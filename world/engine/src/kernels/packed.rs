//! Weights in the order the kernels read them: sixteen rows side by side, one per lane.
//!
//! Per group of 16 rows and block of weights: for every four weights, 16 x 4 codes; 4-bit codes two
//! to a byte, the block's first half in the low nibbles. Then per block 16 scales and 16 minimums.
//! Rows beyond the last are zero. Packing loses nothing: [`Packed::row`] gives the canonical row back.

use super::numbers::Numbers;
use talkoo_exact::import::{Format, Row};
use talkoo_exact::matrix::Matrix;

/// Rows in one group: one 512-bit register of i32.
pub(crate) const GROUP_ROWS: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) format: Format,
    /// Two codes to a byte.
    pub(super) nibbles: bool,
    pub(crate) codes: Numbers<u8>,
    pub(crate) scales: Numbers<i16>,
    /// Empty for formats without minimums.
    pub(crate) minimums: Numbers<i32>,
    /// One per row, padded to whole groups.
    pub(crate) exponents: Numbers<i32>,
}

/// The memory of some consecutive groups, to be filled by one thread.
pub(crate) struct PackedPart<'a> {
    /// The first row of the part.
    pub(crate) first_row: usize,
    /// Rows of the matrix in this part.
    pub(crate) rows: usize,
    shape: Shape,
    codes: &'a mut [u8],
    scales: &'a mut [i16],
    minimums: &'a mut [i32],
    exponents: &'a mut [i32],
}

#[derive(Clone, Copy)]
struct Shape {
    columns: usize,
    block: usize,
    nibbles: bool,
    has_min: bool,
}

impl Shape {
    fn blocks(self) -> usize {
        self.columns / self.block
    }

    /// Bytes of codes in one group of rows.
    fn group_bytes(self) -> usize {
        GROUP_ROWS * self.columns / if self.nibbles { 2 } else { 1 }
    }

    /// Where the code of `column` in lane `lane` stands in its group: byte and shift.
    fn place(self, lane: usize, column: usize) -> (usize, u32) {
        let (block, within) = (column / self.block, column % self.block);
        let half = self.block / 2;
        let (within, shift) = if self.nibbles && within >= half { (within - half, 4) } else { (within, 0) };
        let block_bytes = self.group_bytes() / self.blocks();
        (block * block_bytes + within / 4 * 64 + lane * 4 + within % 4, shift)
    }
}

impl Packed {
    /// An all-zero matrix of this shape.
    pub(crate) fn new(format: Format, rows: usize, columns: usize) -> Self {
        let mut matrix = Self::empty(format, rows, columns);
        let [codes, scales, minimums, exponents] = matrix.lengths();
        matrix.codes = Numbers::Owned(vec![0; codes]);
        matrix.scales = Numbers::Owned(vec![0; scales]);
        matrix.minimums = Numbers::Owned(vec![0; minimums]);
        matrix.exponents = Numbers::Owned(vec![0; exponents]);
        matrix
    }

    /// A matrix of this shape whose numbers are yet to come.
    pub(crate) fn empty(format: Format, rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            format,
            nibbles: format.block() == 32 && format.code_max() <= 15,
            codes: Numbers::Owned(Vec::new()),
            scales: Numbers::Owned(Vec::new()),
            minimums: Numbers::Owned(Vec::new()),
            exponents: Numbers::Owned(Vec::new()),
        }
    }

    /// How many codes (bytes), scales, minimums and exponents it has.
    pub(crate) fn lengths(&self) -> [usize; 4] {
        let (shape, groups) = (self.shape(), self.groups());
        let scales = groups * shape.blocks() * GROUP_ROWS;
        [groups * shape.group_bytes(), scales, if shape.has_min { scales } else { 0 }, groups * GROUP_ROWS]
    }

    /// Bytes that one pass over the matrix reads.
    pub(crate) fn bytes(&self) -> usize {
        self.codes.len() + 2 * self.scales.len() + 4 * (self.minimums.len() + self.exponents.len())
    }

    fn shape(&self) -> Shape {
        Shape {
            columns: self.columns,
            block: self.format.block(),
            nibbles: self.nibbles,
            has_min: self.format.has_min(),
        }
    }

    /// Groups of 16 rows.
    pub(super) fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP_ROWS)
    }

    /// Cuts the matrix into `parts` pieces of whole groups, for as many threads.
    pub(crate) fn parts(&mut self, parts: usize) -> Vec<PackedPart<'_>> {
        let shape = self.shape();
        let size = self.groups().div_ceil(parts.max(1)).max(1);
        let (rows, per_group) = (self.rows, shape.blocks() * GROUP_ROWS);
        let mut minimums = self.minimums.to_mut().chunks_mut(size * per_group);
        let scales = self.scales.to_mut().chunks_mut(size * per_group);
        let exponents = self.exponents.to_mut().chunks_mut(size * GROUP_ROWS);
        let codes = self.codes.to_mut().chunks_mut(size * shape.group_bytes());
        codes
            .zip(scales)
            .zip(exponents)
            .enumerate()
            .map(|(i, ((codes, scales), exponents))| {
                let first_row = i * size * GROUP_ROWS;
                PackedPart {
                    first_row,
                    rows: exponents.len().min(rows - first_row),
                    shape,
                    codes,
                    scales,
                    minimums: minimums.next().unwrap_or_default(),
                    exponents,
                }
            })
            .collect()
    }

    /// The canonical form of row `r`.
    pub(crate) fn row(&self, r: usize) -> Row {
        let shape = self.shape();
        let (group, lane) = (r / GROUP_ROWS, r % GROUP_ROWS);
        let codes = &self.codes[group * shape.group_bytes()..][..shape.group_bytes()];
        let mask = if self.nibbles { 15 } else { 255 };
        let code = |column| {
            let (byte, shift) = shape.place(lane, column);
            codes[byte] >> shift & mask
        };
        let at = |b: usize| (group * shape.blocks() + b) * GROUP_ROWS + lane;
        Row {
            codes: (0..self.columns).map(code).collect(),
            sw: (0..shape.blocks()).map(|b| self.scales[at(b)]).collect(),
            mn: if shape.has_min { (0..shape.blocks()).map(|b| self.minimums[at(b)]).collect() } else { Vec::new() },
            ew: self.exponents[r],
        }
    }

    /// The canonical form of the whole matrix, for runs through the definition.
    pub(crate) fn matrix(&self) -> Matrix {
        let mut out = Matrix::empty(self.format, self.columns);
        for r in 0..self.rows {
            out.push(&self.row(r));
        }
        out
    }
}

impl PackedPart<'_> {
    /// Writes row number `r` of this part.
    pub(crate) fn write(&mut self, r: usize, row: &Row) {
        let shape = self.shape;
        let (group, lane) = (r / GROUP_ROWS, r % GROUP_ROWS);
        let codes = &mut self.codes[group * shape.group_bytes()..][..shape.group_bytes()];
        let block_bytes = shape.group_bytes() / shape.blocks();
        for (block, out) in row.codes.chunks_exact(shape.block).zip(codes.chunks_exact_mut(block_bytes)) {
            let half = if shape.nibbles { shape.block / 2 } else { shape.block };
            for (quad, out) in out.chunks_exact_mut(64).enumerate() {
                let out = &mut out[lane * 4..][..4];
                out.copy_from_slice(&block[quad * 4..][..4]);
                if shape.nibbles {
                    for (out, high) in out.iter_mut().zip(&block[half + quad * 4..]) {
                        *out |= high << 4;
                    }
                }
            }
        }
        for (b, sw) in row.sw.iter().enumerate() {
            self.scales[(group * shape.blocks() + b) * GROUP_ROWS + lane] = *sw;
        }
        for (b, mn) in row.mn.iter().enumerate() {
            self.minimums[(group * shape.blocks() + b) * GROUP_ROWS + lane] = *mn;
        }
        self.exponents[r] = row.ew;
    }
}
