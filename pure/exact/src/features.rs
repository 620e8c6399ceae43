//! What a model has beyond the plain llama: biases, more norms, windows, another activation.

/// Which numbers of a head are rotated together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// (2j, 2j+1), as GGUF stores llama's queries and keys ("norm").
    #[default]
    Interleaved,
    /// (j, j + half of the rotated dimensions), as Qwen and Gemma are trained ("neox").
    Halves,
}

/// What the gate of the feed-forward part goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// g * sigmoid(g).
    #[default]
    Silu,
    /// GELU in its tanh form: g * sigmoid(2 sqrt(2/pi) (g + 0.044715 g^3)).
    GeluTanh,
}

/// The features of a model; the default is the plain llama, which adds nothing to a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Queries, keys and values have biases.
    pub biases: bool,
    /// Every query and key head is normed before its rotation.
    pub head_norms: bool,
    /// The outputs of attention and feed-forward are normed before they are added to the residual.
    pub post_norms: bool,
    /// The embedding is multiplied by the root of its length.
    pub scaled_embedding: bool,
    /// Pairs of the rotation.
    pub rotation: Rotation,
    /// Activation of the gate.
    pub activation: Activation,
    /// Positions that a local layer sees, its own included; 0 if there are no local layers.
    pub window: usize,
    /// The local layers, in ascending order.
    pub local_layers: Vec<usize>,
}

impl Features {
    /// The first position that `position` sees in `layer`.
    #[must_use]
    pub fn first_visible(&self, layer: usize, position: usize) -> usize {
        if self.is_local(layer) { (position + 1).saturating_sub(self.window) } else { 0 }
    }

    /// Whether `layer` sees only a window of the context.
    #[must_use]
    pub fn is_local(&self, layer: usize) -> bool {
        self.local_layers.binary_search(&layer).is_ok()
    }
}
