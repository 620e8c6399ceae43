// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Integers.sol";
import {elementAt, littleAt, wordAt} from "./Openings.sol";
import {AttentionReferee} from "./AttentionReferee.sol";
import "./Claims.sol";
import {Programs} from "./Programs.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @title Recomputes one element of the integer program of docs/EXACT.md
/// @notice A claim names one element of one vector (see "Steps" there), all that it follows from being agreed: roots of the
/// vectors before, the state, the model root. The witness opens what is needed of them. The same claim and the same
/// openings have one answer, and pure/exact's `steps` gives the same one; a range error is an answer, too.
/// It holds nothing and decides nothing: the dispute game calls it for its last step.
contract Referee is Programs {
    /// Recomputes attention and the draw.
    AttentionReferee public immutable attention;

    constructor(AttentionReferee attention_) {
        attention = attention_;
    }

    /// @inheritdoc Programs
    function check(Claim calldata c, Witness calldata w) external view override returns (int128 value, bool holds) {
        Kind kind = kindOf(placeOf(c.vector));
        if (kind == Kind.Attention || kind == Kind.Sampler || kind == Kind.Logprobs) {
            return abi.decode(Address.functionStaticCall(address(attention), msg.data), (int128, bool));
        }
        return _check(c, w);
    }

    function _element(Claim calldata c, Witness calldata w, Model memory m) internal pure override returns (int256) {
        Kind kind = kindOf(m.place);
        if (kind == Kind.Residual) return _residual(c, w, m);
        if (kind == Kind.Norm) return _norm(c, w, m);
        if (kind == Kind.Quantise) return _quantised(c, w, m);
        if (kind == Kind.Linear) return _linear(c, w, m);
        if (kind == Kind.Turn) return _turned(c, w, m);
        if (kind == Kind.Row) return _row(c, w, m);
        if (kind == Kind.Add) return _added(c, w, m);
        return _product(c, w, m);
    }

    /// Of the state below, or rule 4's embedding.
    function _residual(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        if (m.layer > 0) {
            checkState(c, w, m);
            return littleAt(w.state, 8 * m.index, 8);
        }
        checkTile(c, w, m, c.token, m.index);
        return ranged(rsh(weightAt(w, m.index) * m.embeddingScale, -exponentOf(w)), 40);
    }

    /// The largest magnitude so far of a group of a place's input.
    function _largest(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256 largest) {
        Place p = m.place;
        (uint256 width,) = groupsOf(m, p);
        bytes calldata leaf = blockOf(c, w, inputOf(m, p), width / BLOCK * m.sub + m.index);
        if (m.index > 0) largest = m.previous;
        for (uint256 i = 0; i < BLOCK; i++) {
            largest = SignedMath.max(largest, int256(SignedMath.abs(elementAt(leaf, i))));
        }
    }

    /// Rule 5.
    function _norm(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        Place p = m.place;
        if (m.stage == Stage.Max) return _largest(c, w, m);
        (uint256 width,) = groupsOf(m, p);
        bool isSquares = m.stage == Stage.Squares;
        uint256 group = isSquares ? m.sub : m.index / width;
        int256 shift = bitLength(last(c, w, m, nameOf(p, Stage.Max, group))) - 24;
        if (isSquares) return _squares(m, blockOf(c, w, inputOf(m, p), width / BLOCK * group + m.index), shift);
        int256 value = rsh(elementOf(c, w, inputOf(m, p), m.index), shift);
        value *= inverseRoot(last(c, w, m, nameOf(p, Stage.Squares, group)), width, shift, m.epsilon);
        return _normed(c, w, m, value);
    }

    function _squares(Model memory m, bytes calldata leaf, int256 shift) private pure returns (int256 sum) {
        if (m.index > 0) sum = m.previous;
        for (uint256 i = 0; i < BLOCK; i++) {
            int256 x = rsh(elementAt(leaf, i), shift);
            sum += x * x;
        }
    }

    /// The product with the gain; narrow but before a part of the layer and at the end.
    function _normed(Claim calldata c, Witness calldata w, Model memory m, int256 wide) private pure returns (int256) {
        Place p = m.place;
        (uint256 width,) = groupsOf(m, p);
        int256 value = rsh(rsh(wide, 24) * gainAt(c, w, m, p, m.index % width), 16);
        bool isWide = p == Place.AttentionNorm || p == Place.FeedForwardNorm || p == Place.OutputNorm;
        return isWide ? value : rsh(value, 4);
    }

    /// Rule 2, and rule 8's for queries.
    function _quantised(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256 value) {
        (Place p, Stage s) = (m.place, m.stage);
        if (s == Stage.Max) return _largest(c, w, m);
        (uint256 width,) = groupsOf(m, p);
        uint256 group = (s == Stage.Out ? m.index : m.index * BLOCK) / width;
        int256 bits = bitLength(last(c, w, m, nameOf(p, Stage.Max, group)));
        if (s == Stage.Mantissas) {
            bytes calldata leaf = blockOf(c, w, inputOf(m, p), m.index);
            for (uint256 i = 0; i < BLOCK; i++) {
                value = SignedMath.max(value, int256(SignedMath.abs(rsh(elementAt(leaf, i), bits - 30))));
            }
            return mantissaOf(value);
        }
        value = elementOf(c, w, inputOf(m, p), m.index);
        if (p == Place.QueryCodes) return rsh(value, bits - 14);
        int256 mantissa = elementOf(c, w, nameOf(p, Stage.Mantissas, 0), m.index / BLOCK);
        bool isCache = p == Place.KeyCodes || p == Place.ValueCodes;
        return codeOf(rsh(value, bits - 30), mantissa, isCache && m.fine);
    }

    /// Rule 3.
    function _linear(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        (Place p, Place input) = (m.place, placeOf(inputOf(m, m.place)));
        if (m.stage == Stage.Sums) {
            checkTile(c, w, m, m.sub, BLOCK * m.index);
            int256 part = weighted(w, BLOCK * m.index, blockOf(c, w, nameOf(input, Stage.Out, 0), m.index));
            int256 mantissa = elementOf(c, w, nameOf(input, Stage.Mantissas, 0), m.index);
            return (m.index > 0 ? m.previous : int256(0)) + mantissa * part;
        }
        checkTile(c, w, m, m.index, 0);
        int256 sum = last(c, w, m, nameOf(p, Stage.Sums, m.index));
        int256 exponent = bitLength(last(c, w, m, nameOf(input, Stage.Max, 0))) - 42 + exponentOf(w);
        int256 y = ranged(rsh(sum, -(exponent + 16)), 40);
        if (!m.biases || p < Place.Query || p > Place.Value || y == OUT_OF_RANGE) return y;
        return y + gainAt(c, w, m, p, m.index);
    }

    /// Rule 6.
    function _turned(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        uint64 input = inputOf(m, m.place);
        uint256 i = m.index % m.dim;
        if (i >= m.rope) return elementOf(c, w, input, m.index);
        uint256 pairs = m.rope / 2;
        (uint256 j, uint256 apart) = m.halves ? (i % pairs, pairs) : (i / 2, 1);
        bool isFirst = m.halves ? i < pairs : i % 2 == 0;
        uint256 u = isFirst ? m.index : m.index - apart;
        (int256 x, int256 y) = (elementOf(c, w, input, u), elementOf(c, w, input, u + apart));
        uint256 phase = wordAt(w.manifest.data, m.frequencies, j) * m.position;
        (int256 sine, int256 cosine) = sineCosine(uint64(phase));
        return rsh(isFirst ? x * cosine - y * sine : x * sine + y * cosine, 30);
    }

    /// The cached row of this position.
    function _row(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        (Stage s, uint256 i, uint256 each) = rowPart(m, m.index);
        Place p = i / each == 0 ? Place.KeyCodes : Place.ValueCodes;
        if (s != Stage.Max) return elementOf(c, w, nameOf(p, s, 0), i % each);
        int256 bits = bitLength(last(c, w, m, nameOf(p, Stage.Max, i % each)));
        return bits - (m.fine ? int256(46) : int256(38));
    }

    /// Rule 4: the residual with a part's output added.
    function _added(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        Place p = m.place;
        uint64 before = nameOf(p == Place.Middle ? Place.Residual : Place.Middle, Stage.Out, 0);
        return elementOf(c, w, before, m.index) + elementOf(c, w, inputOf(m, p), m.index);
    }

    /// Rule 9.
    function _product(Claim calldata c, Witness calldata w, Model memory m) private pure returns (int256) {
        int256 gate = elementOf(c, w, nameOf(Place.Gate, Stage.Out, 0), m.index);
        return gateTimes(gate, elementOf(c, w, nameOf(Place.Up, Stage.Out, 0), m.index), m.gelu);
    }
}
