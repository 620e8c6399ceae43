//! Where in a trace a position and layer are.

use super::Case;
use talkoo_base::CHUNK_TOKENS;

/// The sizes of a case's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens of the output.
    pub units: usize,
    /// Layers of the model.
    pub layers: usize,
}

const CHUNK: usize = CHUNK_TOKENS as usize;

impl Shape {
    /// Of a case, for a model of so many layers.
    #[must_use]
    pub fn of(case: &Case, layers: usize) -> Self {
        Self { prompt: case.prompt.len(), units: case.output.len(), layers }
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.units.div_ceil(CHUNK)
    }

    /// Positions with states.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.prompt - 1 + self.units
    }

    /// The first position of a chunk.
    fn first(&self, chunk: usize) -> usize {
        if chunk == 0 { 0 } else { self.prompt - 1 + CHUNK * chunk }
    }

    /// Tokens of a chunk.
    #[must_use]
    pub fn tokens(&self, chunk: usize) -> std::ops::Range<usize> {
        CHUNK * chunk..self.units.min(CHUNK * (chunk + 1))
    }

    /// The states of a chunk, among those of the trace.
    #[must_use]
    pub fn states(&self, chunk: usize) -> std::ops::Range<usize> {
        let end = self.prompt - 1 + self.tokens(chunk).end;
        self.first(chunk) * self.layers..end * self.layers
    }

    /// Position and layer of a chunk's state.
    #[must_use]
    pub fn place(&self, chunk: usize, state: usize) -> (usize, usize) {
        (self.first(chunk) + state / self.layers, state % self.layers)
    }

    /// Chunk and number there of the state of a position and layer.
    #[must_use]
    pub fn find(&self, position: usize, layer: usize) -> (usize, usize) {
        let chunk = (position + 1).saturating_sub(self.prompt) / CHUNK;
        (chunk, (position - self.first(chunk)) * self.layers + layer)
    }

    /// Whether a token is drawn from the logits at a position of the last layer.
    #[must_use]
    pub fn draws(&self, position: usize, layer: usize) -> bool {
        layer + 1 == self.layers && position + 1 >= self.prompt
    }
}
