// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Claims.sol";
import "./Openings.sol";

/// @title The vectors of the program: what they are called, how long they are, and how they are opened
abstract contract Programs {
    string private constant MODEL = "talkoo/model/1";
    string private constant TILES = "talkoo/tile/1";

    error UnknownVector(uint64 vector);
    error UnknownContract();
    error NotOpened(uint64 vector, uint256 leaf);
    error IndexOutOfRange(uint256 index, uint256 length);
    error WrongState(bytes32 want, bytes32 have);

    /// @notice The element that the claim names, OUT_OF_RANGE for a range error, and whether it is what was claimed.
    function check(Claim calldata c, Witness calldata w) external view virtual returns (int128 value, bool holds);

    function _element(Claim calldata c, Witness calldata w, Model memory m) internal pure virtual returns (int256);

    function _check(Claim calldata c, Witness calldata w) internal pure returns (int128 value, bool holds) {
        Model memory m = open(c, w);
        require(has(m), UnknownVector(c.vector));
        uint256 length = lengthOf(m, c.vector);
        require(c.index < length, IndexOutOfRange(c.index, length));
        checkOpenings(c, w, m);
        value = int128(_element(c, w, m));
        holds = value == c.claimed;
    }

    function nameOf(Place place, Stage stage, uint256 sub) internal pure returns (uint64) {
        return uint64(uint256(place) << 40 | uint256(stage) << 32 | sub);
    }

    function placeOf(uint64 vector) internal pure returns (Place) {
        require(vector >> 40 <= uint256(type(Place).max), UnknownVector(vector));
        return Place(vector >> 40);
    }

    function stageOf(uint64 vector) internal pure returns (Stage) {
        require(uint8(vector >> 32) <= uint256(type(Stage).max), UnknownVector(vector));
        return Stage(uint8(vector >> 32));
    }

    function kindOf(Place p) internal pure returns (Kind) {
        if (p == Place.Residual) return Kind.Residual;
        if (p == Place.Row) return Kind.Row;
        if (p == Place.Attention) return Kind.Attention;
        if (p == Place.Product) return Kind.Product;
        if (p == Place.Sampler) return Kind.Sampler;
        if (p == Place.Logprobs) return Kind.Logprobs;
        if (p == Place.QueryTurned || p == Place.KeyTurned) return Kind.Turn;
        if (p == Place.Middle || p == Place.Output) return Kind.Add;
        if (p >= Place.QueryCodes && p <= Place.ValueCodes) return Kind.Quantise;
        if (p == Place.AttentionInput || p == Place.MixedInput || p == Place.FeedForwardInput) return Kind.Quantise;
        if (p == Place.ProductInput || p == Place.LogitsInput) return Kind.Quantise;
        if (p >= Place.Query && p <= Place.Value || p == Place.AttentionOutput) return Kind.Linear;
        if (p == Place.Gate || p == Place.Up || p == Place.Down || p == Place.Logits) return Kind.Linear;
        return Kind.Norm;
    }

    /// The output of the place that `p` works on; of two, the second.
    function inputOf(Model memory m, Place p) internal pure returns (uint64) {
        if (p == Place.KeyNorm) return nameOf(Place.Key, Stage.Out, 0);
        if (p == Place.QueryNorm) return nameOf(Place.Query, Stage.Out, 0);
        if (p == Place.QueryTurned) return nameOf(m.headNorms ? Place.QueryNorm : Place.Query, Stage.Out, 0);
        if (p == Place.KeyTurned) return nameOf(m.headNorms ? Place.KeyNorm : Place.Key, Stage.Out, 0);
        if (p == Place.QueryCodes) return nameOf(Place.QueryTurned, Stage.Out, 0);
        if (p == Place.KeyCodes) return nameOf(Place.KeyTurned, Stage.Out, 0);
        if (p == Place.ValueCodes) return nameOf(Place.Value, Stage.Out, 0);
        if (p == Place.Key || p == Place.Value) return nameOf(Place.AttentionInput, Stage.Out, 0);
        if (p == Place.Up) return nameOf(Place.FeedForwardInput, Stage.Out, 0);
        if (p == Place.Middle && !m.postNorms) return nameOf(Place.AttentionOutput, Stage.Out, 0);
        if (p == Place.Output && !m.postNorms) return nameOf(Place.Down, Stage.Out, 0);
        return nameOf(Place(uint256(p) - 1), Stage.Out, 0);
    }

    /// Numbers that a place treats as one, and how often.
    function groupsOf(Model memory m, Place p) internal pure returns (uint256 width, uint256 count) {
        if (p == Place.QueryNorm || p == Place.QueryTurned || p == Place.QueryCodes) return (m.dim, m.heads);
        if (p == Place.KeyNorm || p == Place.KeyTurned) return (m.dim, m.kvHeads);
        if (p == Place.KeyCodes || p == Place.ValueCodes) return (m.dim, m.kvHeads);
        if (p == Place.MixedInput || p == Place.Attention) return (m.heads * m.dim, 1);
        if (p == Place.Product || p == Place.ProductInput) return (m.feedForward, 1);
        return (m.embedding, 1);
    }

    /// Rows and columns of a linear place's matrix.
    function matrixOf(Model memory m, Place p) internal pure returns (uint256 rows, uint256 columns) {
        if (p == Place.Query) return (m.heads * m.dim, m.embedding);
        if (p == Place.Key || p == Place.Value) return (m.kvHeads * m.dim, m.embedding);
        if (p == Place.AttentionOutput) return (m.embedding, m.heads * m.dim);
        if (p == Place.Down) return (m.embedding, m.feedForward);
        if (p == Place.Gate || p == Place.Up) return (m.feedForward, m.embedding);
        return (m.vocabulary, m.embedding);
    }

    /// Whether there is the vector that a claim names. Of rows there is only that of the own position, and what follows
    /// the layers is in the last one.
    function has(Model memory m) internal pure returns (bool) {
        if (m.place >= Place.OutputNorm && m.layer + 1 < m.layers) return false;
        if (m.place == Place.Row && m.sub != m.position) return false;
        return m.place == Place.Row ? m.stage == Stage.Out : m.sub < countOf(m, m.place, m.stage);
    }

    /// How many vectors a place has of a stage; 0 if the model has no such place or the place no such stage.
    function countOf(Model memory m, Place p, Stage s) internal pure returns (uint256) {
        if (!m.headNorms && (p == Place.QueryNorm || p == Place.KeyNorm)) return 0;
        if (!m.postNorms && (p == Place.AttentionPostNorm || p == Place.DownPostNorm)) return 0;
        Kind kind = kindOf(p);
        if (kind == Kind.Sampler) {
            if (s == Stage.Out || s == Stage.Before) return m.vocabulary;
            return s == Stage.Max || s == Stage.Weights || s == Stage.Total || s == Stage.Kept ? 1 : 0;
        }
        if (kind == Kind.Logprobs) {
            if (s == Stage.Out) return m.vocabulary;
            return s == Stage.Weights || s == Stage.Total ? 1 : 0;
        }
        if (s == Stage.Out) return 1;
        (, uint256 groups) = groupsOf(m, p);
        if (kind == Kind.Norm) return s == Stage.Max || s == Stage.Squares ? groups : 0;
        if (kind == Kind.Quantise) {
            if (s == Stage.Max) return groups;
            return s == Stage.Mantissas && p != Place.QueryCodes ? 1 : 0;
        }
        if (kind == Kind.Linear) return s == Stage.Sums ? lengthOf(m, nameOf(p, Stage.Out, 0)) : 0;
        if (kind != Kind.Attention) return 0;
        if (s == Stage.Partial || s == Stage.Segments) return m.heads * m.dim;
        if (s == Stage.Aligned || s == Stage.SegmentMax || s == Stage.Top) return m.heads * m.dim / BLOCK;
        return s == Stage.Max || s >= Stage.Scores && s <= Stage.Exponent ? m.heads : 0;
    }

    /// Elements of a vector.
    function lengthOf(Model memory m, uint64 vector) internal pure returns (uint256) {
        (Place p, Stage s) = (placeOf(vector), stageOf(vector));
        Kind kind = kindOf(p);
        if (kind == Kind.Linear) {
            (uint256 rows, uint256 columns) = matrixOf(m, p);
            return s == Stage.Out ? rows : columns / BLOCK;
        }
        if (kind == Kind.Row) return 2 * m.kvHeads * (m.dim + m.dim / BLOCK + 1);
        (uint256 width, uint256 count) = groupsOf(m, p);
        if (kind == Kind.Sampler || kind == Kind.Logprobs) {
            if (s == Stage.Out) return 1;
            if (s == Stage.Kept) return 2;
            return s == Stage.Weights ? m.vocabulary : (m.vocabulary + BLOCK - 1) / BLOCK;
        }
        if (kind == Kind.Attention) {
            if (s == Stage.Out) return width;
            if (s == Stage.Segments) return (m.seen + SEGMENT - 1) / SEGMENT;
            bool isBlocks = s == Stage.Max || s == Stage.Total || s == Stage.SegmentMax || s == Stage.Top;
            return isBlocks ? (m.seen + BLOCK - 1) / BLOCK : m.seen;
        }
        if (s == Stage.Max || s == Stage.Squares) return width / BLOCK;
        return s == Stage.Mantissas ? width * count / BLOCK : width * count;
    }

    /// Reads the manifest and checks it against the model root.
    function open(Claim calldata c, Witness calldata w) internal pure returns (Model memory m) {
        m = openAt(Spot(c.modelRoot, c.layer, c.position, c.vector), w.manifest);
        (m.index, m.previous, m.temperature) = (c.index, c.previous, c.temperature);
    }

    /// The same of what has no claim.
    function openAt(Spot memory s, Tensor calldata manifest) internal pure returns (Model memory m) {
        (m.place, m.stage, m.sub) = (placeOf(s.vector), stageOf(s.vector), uint32(s.vector));
        (m.position, m.layer, m.seen) = (s.position, s.layer, uint256(s.position) + 1);
        bytes calldata data = manifest.data;
        require(data.length > 22, UnknownContract());
        m.fine = uint8(data[3]) == 9;
        uint256 from = m.fine ? 22 : 17;
        bytes32 names = keccak256(data[:from]);
        bytes memory named =
            abi.encodePacked(m.fine ? "\x00\x00\x00\x09IR-1/kv16" : "\x00\x00\x00\x04IR-1", "\x00\x00\x00\x05llama");
        require(names == keccak256(named), UnknownContract());
        (m.layers, m.embedding) = (wordAt(data, from, 0), wordAt(data, from, 1));
        (m.heads, m.kvHeads) = (wordAt(data, from, 2), wordAt(data, from, 3));
        (m.dim, m.rope) = (wordAt(data, from, 4), wordAt(data, from, 5));
        (m.feedForward, m.vocabulary) = (wordAt(data, from, 6), wordAt(data, from, 7));
        (m.tied, m.frequencies) = (wordAt(data, from, 9) == 1, from + 88);
        from = from + 88 + 8 * wordAt(data, from, 10);
        (m.scale, m.epsilon) = (int256(wordAt(data, from, 0)), wordAt(data, from, 1));
        m.embeddingScale = 1 << 16;
        if (data.length > from + 48) _features(m, data, from + 48, m.layer);
        require(m.layer < m.layers, IndexOutOfRange(m.layer, m.layers));
        bytes32 digest = sha256(abi.encodePacked("talkoo/manifest/1", data));
        _checkTensor(s.modelRoot, m, 0, digest, manifest.siblings);
    }

    function _features(Model memory m, bytes calldata data, uint256 from, uint256 layer) private pure {
        (m.biases, m.headNorms) = (wordAt(data, from, 0) == 1, wordAt(data, from, 1) == 1);
        (m.postNorms, m.halves) = (wordAt(data, from, 2) == 1, wordAt(data, from, 3) == 1);
        (m.gelu, m.embeddingScale) = (wordAt(data, from, 4) == 1, int256(wordAt(data, from, 5)));
        uint256 locals = wordAt(data, from, 7);
        for (uint256 i = 0; i < locals; i++) {
            if (wordAt(data, from, 8 + i) == layer) m.window = wordAt(data, from, 6);
        }
        if (m.window > 0 && wordAt(data, from, 8 + locals) > 0) m.frequencies = from + 72 + 8 * locals;
    }

    function _checkTensor(bytes32 root, Model memory m, uint256 index, bytes32 digest, bytes32[] calldata siblings)
        private
        pure
    {
        uint256 count = 2 + m.layers * _tensorsOfLayer(m) + (m.tied ? 1 : 2);
        bytes32 leaf = leafOf(MODEL, abi.encodePacked(digest));
        checkPath(MODEL, leaf, [index, count], siblings, root);
    }

    function _tensorsOfLayer(Model memory m) private pure returns (uint256) {
        return 9 + (m.biases ? 3 : 0) + (m.headNorms ? 2 : 0) + (m.postNorms ? 2 : 0);
    }

    /// Index of a place's matrix, or of its gains or biases, in the model's tree.
    function _tensor(Model memory m, uint256 layer, Place p, bool isGains) private pure returns (uint256) {
        uint256 first = 2 + layer * _tensorsOfLayer(m);
        uint256 ending = 2 + m.layers * _tensorsOfLayer(m);
        if (p == Place.AttentionNorm) return first;
        if (p >= Place.Query && p <= Place.Value) {
            return first + (isGains ? 9 : 1) + uint256(p) - uint256(Place.Query);
        }
        if (p == Place.AttentionOutput) return first + 4;
        if (p == Place.FeedForwardNorm) return first + 5;
        if (p == Place.Gate || p == Place.Up) return first + 6 + uint256(p) - uint256(Place.Gate);
        if (p == Place.Down) return first + 8;
        if (p == Place.OutputNorm) return ending;
        if (p == Place.Logits && !m.tied) return ending + 1;
        if (p == Place.Residual || p == Place.Logits) return 1;
        uint256 extra = first + 9 + (m.biases ? 3 : 0);
        if (p == Place.QueryNorm || p == Place.KeyNorm) return extra + uint256(p) - uint256(Place.QueryNorm);
        return extra + (m.headNorms ? 2 : 0) + (p == Place.DownPostNorm ? 1 : 0);
    }

    /// Gain or bias `index` of a place.
    function gainAt(Claim calldata c, Witness calldata w, Model memory m, Place p, uint256 index)
        internal
        pure
        returns (int256)
    {
        bytes calldata data = w.gains.data;
        bytes32 digest = sha256(abi.encodePacked("talkoo/gains/1", uint32(data.length / 4), data));
        _checkTensor(c.modelRoot, m, _tensor(m, m.layer, p, true), digest, w.gains.siblings);
        require(4 * index < data.length, IndexOutOfRange(index, data.length / 4));
        return littleAt(data, 4 * index, 4);
    }

    /// Checks that the tile with a weight of a place's matrix was opened.
    function checkTile(Claim calldata c, Witness calldata w, Model memory m, uint256 row, uint256 column)
        internal
        pure
    {
        uint32[5] calldata s = w.weights.shape;
        bytes32 tiles = w.weights.tiles;
        bytes32 digest = sha256(abi.encodePacked("talkoo/matrix/1", s[0], s[1], s[2], s[3], s[4], tiles));
        _checkTensor(c.modelRoot, m, _tensor(m, m.layer, m.place, false), digest, w.weights.siblings);
        require(row < s[0], IndexOutOfRange(row, s[0]));
        require(column < s[1], IndexOutOfRange(column, s[1]));
        uint256 perRow = (uint256(s[1]) + TILE - 1) / TILE;
        uint256 codes = _codes(s, column);
        checkLength(codes + codes / s[2] * (s[4] == 1 ? 6 : 2) + 4, w.weights.tile.length);
        uint256[2] memory place = [row * perRow + column / TILE, s[0] * perRow];
        checkPath(TILES, leafOf(TILES, w.weights.tile), place, w.weights.tileSiblings, tiles);
    }

    /// Codes in the tile with a column.
    function _codes(uint32[5] calldata s, uint256 column) private pure returns (uint256) {
        uint256 rest = s[1] - column / TILE * TILE;
        return rest < TILE ? rest : TILE;
    }

    /// Of a checked tile: the sum over 32 columns from `column` on of weight * element of the leaf, but for ew.
    function weighted(Witness calldata w, uint256 column, bytes calldata leaf) internal pure returns (int256 sum) {
        bytes32 codes = bytes32(w.weights.tile[column % TILE:column % TILE + BLOCK]);
        (uint256 size, int256 zero) = (w.weights.shape[2], int256(uint256(w.weights.shape[3])));
        (int256 sw, int256 mn) = (int256(0), int256(0));
        for (uint256 i = 0; i < BLOCK; i++) {
            if (i % size == 0) (sw, mn) = _scalesAt(w, column + i);
            unchecked {
                sum += (sw * (int256(uint256(uint8(codes[i]))) - zero) + mn) * elementAt(leaf, i);
            }
        }
    }

    /// Of a checked tile: one weight, but for ew.
    function weightAt(Witness calldata w, uint256 column) internal pure returns (int256) {
        (int256 sw, int256 mn) = _scalesAt(w, column);
        int256 code = int256(uint256(uint8(w.weights.tile[column % TILE])));
        return sw * (code - int256(uint256(w.weights.shape[3]))) + mn;
    }

    /// Scale and minimum of a column's block.
    function _scalesAt(Witness calldata w, uint256 column) private pure returns (int256 sw, int256 mn) {
        uint32[5] calldata s = w.weights.shape;
        (uint256 codes, uint256 b) = (_codes(s, column), column % TILE / s[2]);
        sw = littleAt(w.weights.tile, codes + 2 * b, 2);
        if (s[4] == 1) mn = littleAt(w.weights.tile, codes + codes / s[2] * 2 + 4 * b, 4);
    }

    /// Of a checked tile: the row's exponent.
    function exponentOf(Witness calldata w) internal pure returns (int256) {
        return littleAt(w.weights.tile, w.weights.tile.length - 4, 4);
    }

    /// Checks every opened leaf against its vector's root.
    function checkOpenings(Claim calldata c, Witness calldata w, Model memory m) internal pure {
        for (uint256 i = 0; i < w.openings.length; i++) {
            Opening calldata o = w.openings[i];
            Input calldata input = c.inputs[o.input];
            uint256 length = lengthOf(m, input.vector);
            uint256 count = (length + BLOCK - 1) / BLOCK;
            require(o.leaf < count, LeafOutOfRange(o.leaf, count));
            uint256 rest = length - o.leaf * BLOCK;
            checkLength(16 * (rest < BLOCK ? rest : BLOCK), o.elements.length);
            bytes32 leaf = leafOf("talkoo/vector/1", abi.encodePacked(input.vector, o.elements));
            checkPath("talkoo/vector/1", leaf, [uint256(o.leaf), count], o.siblings, input.root);
        }
    }

    /// A leaf of an agreed vector; the openings are checked.
    function blockOf(Claim calldata c, Witness calldata w, uint64 vector, uint256 leaf)
        internal
        pure
        returns (bytes calldata)
    {
        for (uint256 i = 0; i < w.openings.length; i++) {
            Opening calldata o = w.openings[i];
            if (o.leaf == leaf && c.inputs[o.input].vector == vector) return o.elements;
        }
        revert NotOpened(vector, leaf);
    }

    /// An element of an agreed vector.
    function elementOf(Claim calldata c, Witness calldata w, uint64 vector, uint256 i) internal pure returns (int256) {
        return elementAt(blockOf(c, w, vector, i / BLOCK), i % BLOCK);
    }

    /// The last element of an agreed vector: what a fold comes to.
    function last(Claim calldata c, Witness calldata w, Model memory m, uint64 vector) internal pure returns (int256) {
        return elementOf(c, w, vector, lengthOf(m, vector) - 1);
    }

    /// Which part of a row element `i` is: codes, mantissas or exponents, the number among keys and values, each of so many.
    function rowPart(Model memory m, uint256 i) internal pure returns (Stage s, uint256 number, uint256 each) {
        (uint256 codes, uint256 mantissas) = (m.kvHeads * m.dim, m.kvHeads * m.dim / BLOCK);
        if (i >= 2 * (codes + mantissas)) return (Stage.Max, i - 2 * (codes + mantissas), m.kvHeads);
        if (i >= 2 * codes) return (Stage.Mantissas, i - 2 * codes, mantissas);
        return (Stage.Out, i, codes);
    }

    /// Checks the bytes of the state that the claim names.
    function checkState(Claim calldata c, Witness calldata w, Model memory m) internal pure {
        checkLength(stateLength(m), w.state.length);
        bytes32 have = sha256(w.state);
        require(have == c.state, WrongState(c.state, have));
    }

    /// Bytes of a state.
    function stateLength(Model memory m) internal pure returns (uint256) {
        return 8 * m.embedding + 2 * m.kvHeads * (4 + m.dim / BLOCK * 2 + m.dim * (m.fine ? 2 : 1));
    }
}
