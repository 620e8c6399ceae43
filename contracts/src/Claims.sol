// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Numbers of a leaf and of a quantiser's block, positions of a segment, weights of a tile.
uint256 constant BLOCK = 32;
uint256 constant SEGMENT = 128;
uint256 constant TILE = 1024;

/// An operator at its place in the program of one position and layer, numbered as in docs/EXACT.md, "Steps".
enum Place {
    Residual,
    AttentionNorm,
    AttentionInput,
    Query,
    Key,
    Value,
    QueryNorm,
    KeyNorm,
    QueryTurned,
    KeyTurned,
    QueryCodes,
    KeyCodes,
    ValueCodes,
    Row,
    Attention,
    MixedInput,
    AttentionOutput,
    AttentionPostNorm,
    Middle,
    FeedForwardNorm,
    FeedForwardInput,
    Gate,
    Up,
    Product,
    ProductInput,
    Down,
    DownPostNorm,
    Output,
    OutputNorm,
    LogitsInput,
    Logits,
    Sampler,
    Logprobs
}

/// What a vector is to its place's output.
enum Stage {
    Out,
    Max,
    Squares,
    Mantissas,
    Sums,
    Scores,
    Weights,
    Total,
    Exponent,
    Aligned,
    SegmentMax,
    Top,
    Partial,
    Segments,
    Before,
    Kept
}

/// What a place does.
enum Kind {
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
    Logprobs
}

/// An agreed vector: place * 2^40 + stage * 2^32 + sub, and its root.
struct Input {
    uint64 vector;
    bytes32 root;
}

/// What two sides disagree about: one element, all it follows from being agreed. The dispute game names it.
/// @param state digest of the state that an element of Residual is read from (of the layer below), or the row of an earlier
/// position (of this layer); zero if none
/// @param token the token at the position
/// @param output number of the output token
/// @param ends the last token that top-k keeps, the last one kept at all, the one after it
/// @param previous the element before, of a fold
/// @param claimed the element as claimed; OUT_OF_RANGE for a range error
struct Claim {
    bytes32 modelRoot;
    bytes32 state;
    uint32 layer;
    uint32 position;
    uint32 token;
    uint32 temperature;
    uint64 seed;
    uint32 output;
    uint32 topK;
    uint32 topP;
    uint32 minP;
    uint32[3] ends;
    uint64 vector;
    uint32 index;
    int128 previous;
    int128 claimed;
    Input[] inputs;
}

/// A leaf of an agreed vector: elements as i128 BE.
struct Opening {
    uint32 input;
    uint32 leaf;
    bytes elements;
    bytes32[] siblings;
}

/// A vector of one layer and position of a model's program.
struct Spot {
    bytes32 modelRoot;
    uint32 layer;
    uint32 position;
    uint64 vector;
}

/// The manifest, or gains, whole.
struct Tensor {
    bytes data;
    bytes32[] siblings;
}

/// A tile of a matrix of the model.
/// @param shape rows, columns, block, zero point, whether it has minimums
struct Weights {
    uint32[5] shape;
    bytes32 tiles;
    bytes32[] siblings;
    bytes tile;
    bytes32[] tileSiblings;
}

struct Witness {
    Opening[] openings;
    Tensor manifest;
    Tensor gains;
    Weights weights;
    bytes state;
}

/// A model's manifest, as far as a layer needs it, and what the claim asks.
/// @param window positions that the layer sees; 0 if all
/// @param frequencies where the layer's are in the manifest's bytes
struct Model {
    uint256 layers;
    uint256 embedding;
    uint256 heads;
    uint256 kvHeads;
    uint256 dim;
    uint256 rope;
    uint256 feedForward;
    uint256 vocabulary;
    bool tied;
    int256 scale;
    uint256 epsilon;
    bool biases;
    bool headNorms;
    bool postNorms;
    bool halves;
    bool gelu;
    int256 embeddingScale;
    uint256 window;
    uint256 frequencies;
    bool fine;
    uint256 seen;
    Place place;
    Stage stage;
    uint256 sub;
    uint256 index;
    int256 previous;
    uint256 position;
    uint256 layer;
    uint256 temperature;
}
