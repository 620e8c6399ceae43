// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Integers.sol";
import {elementAt, littleAt} from "./Openings.sol";
import {BLOCK, Claim, Kind, Model, Place, SEGMENT, Spot, Stage, Tensor, Witness} from "./Claims.sol";
import {Programs} from "./Programs.sol";

/// @title Recomputes one element of attention (rule 8 of docs/EXACT.md), of the draw (10) or of a log probability (17)
/// @notice Apart from {Referee}, which hands such claims on, only for the size of its code.
contract AttentionReferee is Programs {
    uint256 private constant LEAVES = SEGMENT / BLOCK;
    /// The score of a position that is not seen, and what the fold of exponents begins with.
    int256 private constant UNSEEN = -(1 << 62);
    int256 private constant NO_EXPONENT = -(1 << 31);

    uint64 private constant LOGITS = uint64(uint256(Place.Logits) << 40);
    uint64 private constant WEIGHTS = uint64(uint256(Place.Sampler) << 40 | uint256(Stage.Weights) << 32);
    /// Whether a token is the one.
    int256 private constant ONE = 1;
    int256 private constant NONE = 0;
    /// One token, and the mass, in a sum of both.
    int256 private constant COUNT = 1 << 64;
    int256 private constant MASS = (1 << 64) - 1;

    error WrongEnd(uint256 token);

    /// @inheritdoc Programs
    function check(Claim calldata c, Witness calldata w) external pure override returns (int128 value, bool holds) {
        return _check(c, w);
    }

    /// @notice The model's layers, the length of a vector, and whether there is one; the manifest is opened against the
    /// model root, and the layer is one of the model's.
    function measure(Spot calldata spot, Tensor calldata manifest)
        external
        pure
        returns (uint256 layers, uint256 length, bool exists)
    {
        Model memory m = openAt(spot, manifest);
        (layers, exists) = (m.layers, has(m));
        if (exists) length = lengthOf(m, spot.vector);
    }

    /// @notice What a state's bytes say element `index` of Output or Row is; whether the state is as long as one is.
    function stated(Spot calldata spot, uint256 index, Tensor calldata manifest, bytes calldata state)
        external
        pure
        returns (int256 value, bool isWhole)
    {
        Model memory m = openAt(spot, manifest);
        isWhole = state.length == stateLength(m);
        if (!isWhole) return (0, false);
        bool known = has(m) && m.stage == Stage.Out && (m.place == Place.Output || m.place == Place.Row);
        require(known, UnknownVector(spot.vector));
        uint256 length = lengthOf(m, spot.vector);
        require(index < length, IndexOutOfRange(index, length));
        value = m.place == Place.Row ? _cached(state, m, index) : littleAt(state, 8 * index, 8);
    }

    function _element(Claim calldata c, Witness calldata w, Model memory m) internal pure override returns (int256) {
        Kind kind = kindOf(m.place);
        if (kind == Kind.Logprobs) return _logprob(c, w, m);
        require(kind == Kind.Attention || kind == Kind.Sampler, UnknownVector(c.vector));
        return kind == Kind.Attention ? _attention(c, w, m) : _sampler(c, w, m);
    }

    function _attention(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        (Stage s, uint256 sub) = (m.stage, m.sub);
        if (s == Stage.Scores) return _score(c, w, m);
        if (s == Stage.Max) return _fold(c, w, m, Stage.Scores, _before(m, UNSEEN));
        if (s == Stage.Weights) {
            int256 largest = last(c, w, m, _of(Stage.Max, sub));
            return exp2neg(largest - elementOf(c, w, _of(Stage.Scores, sub), m.index));
        }
        if (s == Stage.Total) return _fold(c, w, m, Stage.Weights, _before(m, 0));
        if (s == Stage.Exponent) {
            if (m.index < _first(m)) return _before(m, NO_EXPONENT);
            _checkRow(c, w, m);
            int256 exponent = _rowAt(c, w, m, _exponentAt(m, 1, _group(m, sub)));
            return SignedMath.max(_before(m, NO_EXPONENT), exponent);
        }
        if (s == Stage.Aligned) return _aligned(c, w, m);
        if (s == Stage.SegmentMax) {
            return _fold(c, w, m, Stage.Aligned, m.index % LEAVES == 0 ? int256(0) : m.previous);
        }
        if (s == Stage.Top) return _fold(c, w, m, Stage.Aligned, _before(m, 0));
        if (s == Stage.Partial) return _partial(c, w, m);
        if (s == Stage.Segments) return _segments(c, w, m, sub);
        return _mixed(c, w, m);
    }

    /// The element before, or what a fold begins with.
    function _before(Model memory m, int256 first) private pure returns (int256) {
        return m.index == 0 ? first : m.previous;
    }

    /// The running sum for a head and dimension after a segment (index).
    function _segments(Claim calldata c, Witness calldata w, Model memory m, uint256 sub)
        private
        pure
        returns (int256)
    {
        uint256 end = (m.index + 1) * SEGMENT;
        int256 partSum = elementOf(c, w, _of(Stage.Partial, sub), (end < m.seen ? end : m.seen) - 1);
        int256 shift = _grid(c, w, m, sub) - _shift(c, w, m, sub, m.index);
        return _before(m, 0) + rsh(partSum, shift);
    }

    /// The output for a head and dimension.
    function _mixed(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        uint256 head = m.index / m.dim;
        int256 exponent = _grid(c, w, m, m.index) + last(c, w, m, _of(Stage.Exponent, head));
        int256 sum = last(c, w, m, _of(Stage.Segments, m.index));
        return normalise(sum, last(c, w, m, _of(Stage.Total, head)), exponent);
    }

    /// Largest (of weights: sum) of `value` and a block of 32 of another vector of the same number.
    function _fold(Claim calldata c, Witness calldata w, Model memory m, Stage from, int256 value)
        private
        pure
        returns (int256)
    {
        bytes calldata leaf = blockOf(c, w, _of(from, m.sub), m.index);
        for (uint256 i = 0; i < leaf.length / 16; i++) {
            int256 x = elementAt(leaf, i);
            value = from == Stage.Weights ? value + x : SignedMath.max(value, x);
        }
        return value;
    }

    /// The score of a head (sub) with a position (index), times C.
    function _score(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        if (m.index < _first(m)) return UNSEEN;
        _checkRow(c, w, m);
        uint256 blocks = m.dim / BLOCK;
        uint256 group = _group(m, m.sub);
        int256 dot = 0;
        for (uint256 b = 0; b < blocks; b++) {
            int256 mantissa = _rowAt(c, w, m, _mantissaAt(m, 0, group, b));
            dot += mantissa * _dot(c, w, m, m.sub * blocks + b, group * blocks + b);
        }
        int256 exponent = _rowAt(c, w, m, _exponentAt(m, 0, group)) - 30;
        exponent += bitLength(last(c, w, m, nameOf(Place.QueryCodes, Stage.Max, m.sub)));
        return scoreOf(dot, exponent, m.scale);
    }

    /// The sum of 32 products of query and key codes.
    function _dot(Claim calldata c, Witness calldata w, Model memory m, uint256 query, uint256 key)
        private
        pure
        returns (int256 sum)
    {
        bytes calldata q = blockOf(c, w, nameOf(Place.QueryCodes, Stage.Out, 0), query);
        if (m.index == m.position) {
            bytes calldata k = blockOf(c, w, nameOf(Place.Row, Stage.Out, m.position), key);
            for (uint256 i = 0; i < BLOCK; i++) {
                unchecked {
                    sum += elementAt(q, i) * elementAt(k, i);
                }
            }
            return sum;
        }
        (, uint256 from, uint256 size) = _cachedAt(m, BLOCK * key);
        for (uint256 i = 0; i < BLOCK; i++) {
            unchecked {
                sum += elementAt(q, i) * littleAt(w.state, from + i * size, size);
            }
        }
    }

    /// A position's weight (index) of a head and block (sub), aligned to the largest value exponent.
    function _aligned(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        if (m.index < _first(m)) return 0;
        _checkRow(c, w, m);
        uint256 head = m.sub / (m.dim / BLOCK);
        uint256 group = _group(m, head);
        uint256 place = _mantissaAt(m, 1, group, m.sub % (m.dim / BLOCK));
        int256 apart = last(c, w, m, _of(Stage.Exponent, head));
        apart -= _rowAt(c, w, m, _exponentAt(m, 1, group));
        int256 weight = elementOf(c, w, _of(Stage.Weights, head), m.index);
        return rsh(weight * _rowAt(c, w, m, place), apart);
    }

    /// The running sum of a segment for a head and dimension (sub) after a position (index).
    function _partial(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        uint256 sub = m.sub;
        _checkRow(c, w, m);
        int256 weight = elementOf(c, w, _of(Stage.Aligned, sub / BLOCK), m.index);
        weight = SignedMath.min(rsh(weight, _shift(c, w, m, sub, m.index / SEGMENT)), 65_535);
        uint256 code = m.kvHeads * m.dim + _group(m, sub / m.dim) * m.dim + sub % m.dim;
        int256 before = m.index % SEGMENT == 0 ? int256(0) : m.previous;
        return before + weight * _rowAt(c, w, m, code);
    }

    /// The shift of a segment's weights.
    function _shift(Claim calldata c, Witness calldata w, Model memory m, uint256 sub, uint256 segment)
        private
        pure
        returns (int256)
    {
        uint64 name = _of(Stage.SegmentMax, sub / BLOCK);
        (uint256 end, uint256 length) = ((segment + 1) * LEAVES, lengthOf(m, name));
        int256 largest = elementOf(c, w, name, (end < length ? end : length) - 1);
        return SignedMath.max(bitLength(largest) - 16, 0);
    }

    /// The shift of the common grid.
    function _grid(Claim calldata c, Witness calldata w, Model memory m, uint256 sub) private pure returns (int256) {
        int256 top = last(c, w, m, _of(Stage.Top, sub / BLOCK));
        return SignedMath.max(bitLength(top) - (m.fine ? int256(24) : int256(32)), 0);
    }

    function _of(Stage s, uint256 sub) private pure returns (uint64) {
        return nameOf(Place.Attention, s, sub);
    }

    /// Of an earlier position than the own one, the row is in a state.
    function _checkRow(Claim calldata c, Witness calldata w, Model memory m) private pure {
        if (m.index < m.position) checkState(c, w, m);
    }

    /// Element `i` of the row of position `index`; {_checkRow} goes before.
    function _rowAt(Claim calldata c, Witness calldata w, Model memory m, uint256 i) private pure returns (int256) {
        if (m.index < m.position) return _cached(w.state, m, i);
        return elementOf(c, w, nameOf(Place.Row, Stage.Out, m.position), i);
    }

    /// Element `i` of the row in a state's bytes.
    function _cached(bytes calldata state, Model memory m, uint256 i) private pure returns (int256 value) {
        (Stage s, uint256 from, uint256 size) = _cachedAt(m, i);
        value = littleAt(state, from, size);
        if (s == Stage.Mantissas) value &= 0xffff;
    }

    /// Where that element is.
    function _cachedAt(Model memory m, uint256 i) private pure returns (Stage s, uint256 from, uint256 size) {
        uint256 each;
        (s, i, each) = rowPart(m, i);
        (uint256 code, uint256 mantissas) = (m.fine ? 2 : 1, m.dim / BLOCK * 2);
        from = 8 * m.embedding + i / (each / m.kvHeads) * (4 + mantissas + m.dim * code);
        i %= each / m.kvHeads;
        if (s == Stage.Out) return (s, from + 4 + mantissas + i * code, code);
        if (s == Stage.Mantissas) return (s, from + 4 + 2 * i, 2);
        return (s, from, 4);
    }

    /// The key-value head of a query head.
    function _group(Model memory m, uint256 head) private pure returns (uint256) {
        return head * m.kvHeads / m.heads;
    }

    /// The first position that is seen.
    function _first(Model memory m) private pure returns (uint256) {
        return m.window == 0 || m.seen <= m.window ? 0 : m.seen - m.window;
    }

    function _mantissaAt(Model memory m, uint256 values, uint256 head, uint256 b) private pure returns (uint256) {
        return 2 * m.kvHeads * m.dim + (values * m.kvHeads + head) * m.dim / BLOCK + b;
    }

    function _exponentAt(Model memory m, uint256 values, uint256 head) private pure returns (uint256) {
        return 2 * m.kvHeads * (m.dim + m.dim / BLOCK) + values * m.kvHeads + head;
    }

    /// Rule 10's draw: whether the token is the one.
    function _sampler(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256 value) {
        Stage s = m.stage;
        uint256 token = m.sub;
        if (s == Stage.Max) return _firstToken(c, w, m);
        if (s == Stage.Total) return _mass(c, w, m);
        if (s == Stage.Before) return _massBefore(c, w, m);
        if (s == Stage.Kept) return _kept(c, w, m);
        if (s == Stage.Weights) {
            int256 largest = last(c, w, m, nameOf(Place.Sampler, Stage.Max, 0)) >> 20;
            return weightOf(largest - elementOf(c, w, LOGITS, m.index), m.temperature);
        }
        if (m.temperature == 0) {
            return
                last(c, w, m, nameOf(Place.Sampler, Stage.Max, 0)) & 0xf_ffff == int256(0xf_ffff - token) ? ONE : NONE;
        }
        bytes32 seeded = sha256(abi.encodePacked("talkoo/draw/1", c.seed, c.output));
        value = int256(uint256(seeded) >> 192) * last(c, w, m, nameOf(Place.Sampler, Stage.Kept, 0));
        (, int256 before, int256 upTo) = _standing(c, w, m, token);
        return before << 64 <= value && value < upTo << 64 ? ONE : NONE;
    }

    /// How many come before a token, their mass, and that with its own weight.
    function _standing(Claim calldata c, Witness calldata w, Model memory m, uint256 token)
        private
        pure
        returns (int256 rank, int256 before, int256 upTo)
    {
        int256 sum = last(c, w, m, nameOf(Place.Sampler, Stage.Before, token));
        (rank, before) = (sum >> 64, sum & MASS);
        upTo = before + elementOf(c, w, WEIGHTS, token);
    }

    /// The mass that top-k keeps (index 0), then what is left in the end.
    function _kept(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        int256 sum = last(c, w, m, nameOf(Place.Sampler, Stage.Total, 0));
        int256 limit = sum >> 64;
        if (c.topK > 0 && limit > int256(uint256(c.topK))) limit = int256(uint256(c.topK));
        if (m.index == 1) return _keptInTheEnd(c, w, m, limit);
        if (limit == sum >> 64) return sum & MASS;
        (int256 rank, int256 before, int256 upTo) = _standing(c, w, m, c.ends[0]);
        require(rank + 1 == limit && upTo > before, WrongEnd(c.ends[0]));
        return upTo;
    }

    function _keptInTheEnd(Claim calldata c, Witness calldata w, Model memory m, int256 limit)
        private
        pure
        returns (int256)
    {
        (int256 rank, int256 before, int256 upTo) = _standing(c, w, m, c.ends[1]);
        int256 enough = m.previous * int256(uint256(c.topP));
        bool isKept = rank < limit && upTo > before && (rank == 0 || before << 16 < enough);
        require(isKept && !_isLight(c, upTo - before), WrongEnd(c.ends[1]));
        bool isLast = rank + 1 == limit || upTo << 16 >= enough || _isNextLight(c, w, m, rank + 1);
        require(isLast, WrongEnd(c.ends[1]));
        return upTo;
    }

    /// Whether the token said to come next does, and min-p drops it.
    function _isNextLight(Claim calldata c, Witness calldata w, Model memory m, int256 place)
        private
        pure
        returns (bool)
    {
        (int256 rank, int256 before, int256 upTo) = _standing(c, w, m, c.ends[2]);
        return rank == place && _isLight(c, upTo - before);
    }

    /// Whether min-p drops a weight.
    function _isLight(Claim calldata c, int256 weight) private pure returns (bool) {
        return weight << 16 < int256(uint256(c.minP)) * exp2neg(0);
    }

    /// A token in a count * 2^64 + mass.
    function _counted(int256 weight) private pure returns (int256) {
        return weight > 0 ? COUNT + weight : int256(0);
    }

    /// The first of the tokens in the sampler's order so far, as its key.
    function _firstToken(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256 value) {
        bytes calldata logits = blockOf(c, w, LOGITS, m.index);
        value = m.index > 0 ? m.previous : type(int256).min;
        for (uint256 i = 0; i < logits.length / 16; i++) {
            value = SignedMath.max(value, _key(elementAt(logits, i), BLOCK * m.index + i));
        }
    }

    /// Count and mass of the tokens so far.
    function _mass(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256 value) {
        bytes calldata weights = blockOf(c, w, WEIGHTS, m.index);
        if (m.index > 0) value = m.previous;
        for (uint256 i = 0; i < weights.length / 16; i++) {
            value += _counted(elementAt(weights, i));
        }
    }

    /// Count and mass of those so far that come before a token in the sampler's order.
    function _massBefore(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256 value) {
        int256 own = _key(elementOf(c, w, LOGITS, m.sub), m.sub);
        bytes calldata logits = blockOf(c, w, LOGITS, m.index);
        bytes calldata weights = blockOf(c, w, WEIGHTS, m.index);
        if (m.index > 0) value = m.previous;
        for (uint256 i = 0; i < logits.length / 16; i++) {
            int256 key = _key(elementAt(logits, i), BLOCK * m.index + i);
            if (key > own) value += _counted(elementAt(weights, i));
        }
    }

    /// Rule 17.
    function _logprob(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256 value) {
        if (m.stage == Stage.Total) {
            bytes calldata weights = blockOf(c, w, nameOf(Place.Logprobs, Stage.Weights, 0), m.index);
            if (m.index > 0) value = m.previous;
            for (uint256 i = 0; i < weights.length / 16; i++) {
                value += elementAt(weights, i);
            }
            return value;
        }
        int256 largest = last(c, w, m, nameOf(Place.Sampler, Stage.Max, 0)) >> 20;
        if (m.stage == Stage.Weights) return fineWeightOf(largest - elementOf(c, w, LOGITS, m.index));
        value = elementOf(c, w, LOGITS, m.sub) - largest;
        value -= logarithmOf(last(c, w, m, nameOf(Place.Logprobs, Stage.Total, 0)));
        return SignedMath.max(value, type(int32).min);
    }

    /// A token's place in the order of logit, then of the lower id.
    function _key(int256 logit, uint256 token) private pure returns (int256) {
        return (logit << 20) + int256(0xf_ffff - token);
    }
}
