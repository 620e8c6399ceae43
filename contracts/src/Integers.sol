// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

// The rules of docs/EXACT.md on single numbers; the rule is named at each. int256 never wraps here: whatever is read has
// 128 bits, and arithmetic is checked.

// An element that left its range.
int256 constant OUT_OF_RANGE = type(int128).min;
// log2(e) in Q30.
int256 constant LOG2_E = 1_549_082_005;
// 2 pi in Q60.
int256 constant TURN = 7_244_019_458_077_122_842;

/// v / 2^s, rounded half up, for s > 0; v * 2^-s otherwise. |v| < 2^126, so it is 0 from s = 127 on.
function rsh(int256 v, int256 s) pure returns (int256) {
    if (s > 126) return 0;
    if (s > 0) return (v + int256(1 << uint256(s - 1))) >> uint256(s);
    return v * int256(1 << uint256(-s));
}

/// Bit length of a number that is not negative; 0 for 0.
function bitLength(int256 v) pure returns (int256) {
    return v == 0 ? int256(0) : int256(Math.log2(uint256(v)) + 1);
}

/// v, or OUT_OF_RANGE unless |v| < 2^bits.
function ranged(int256 v, uint256 bits) pure returns (int256) {
    return SignedMath.abs(v) >> bits == 0 ? v : OUT_OF_RANGE;
}

/// Rule 5: floor(2^52 / R).
function inverseRoot(int256 squares, uint256 length, int256 shift, uint256 epsilon) pure returns (int256) {
    epsilon = shift >= 0 ? epsilon >> uint256(2 * shift) : epsilon << uint256(-2 * shift);
    uint256 mean = (uint256(squares) << 16) / length + epsilon;
    return int256((1 << 52) / Math.max(Math.sqrt(mean), 1));
}

/// Rule 2: the mantissa of a block whose largest shifted magnitude is given.
function mantissaOf(int256 largest) pure returns (int256) {
    return (largest + 32_511) / 32_512;
}

/// Rule 2: the code of a shifted number; fine ones are rule 8's of 16 bits.
function codeOf(int256 wide, int256 mantissa, bool fine) pure returns (int256) {
    if (mantissa == 0) return 0;
    (int256 one, uint256 shift) = fine ? (int256(1 << 47), 47) : (int256(1 << 32), 40);
    return (wide * (one / mantissa) + int256(1 << (shift - 1))) >> shift;
}

/// Rule 6: sine and cosine in Q30 of a phase in 2^-64 turns.
function sineCosine(uint64 phase) pure returns (int256 sine, int256 cosine) {
    uint64 quadrant;
    int256 x;
    unchecked {
        quadrant = (phase + (1 << 61)) >> 62;
        x = (int256(int64(phase - (quadrant << 62))) * TURN) >> 62;
    }
    int256 x2 = (x * x) >> 62;
    int256 one = 1 << 62;
    (sine, cosine) = (one, one);
    for (int256 n = 8; n > 0; n--) {
        sine = one - ((x2 * sine) >> 62) / (2 * n * (2 * n + 1));
        cosine = one - ((x2 * cosine) >> 62) / ((2 * n - 1) * 2 * n);
    }
    (sine, cosine) = (rsh((x * sine) >> 62, 32), rsh(cosine, 32));
    if (quadrant == 1) return (cosine, -sine);
    if (quadrant == 2) return (-sine, -cosine);
    if (quadrant == 3) return (-cosine, sine);
}

/// Rule 7: 2^-u in Q30 for u >= 0 in Q20.
function exp2neg(int256 u) pure returns (int256 y) {
    int256 f = u & 0xf_ffff;
    y = 117_391;
    y = ((y * f + (1 << 19)) >> 20) - 1_369_601;
    y = ((y * f + (1 << 19)) >> 20) + 10_286_296;
    y = ((y * f + (1 << 19)) >> 20) - 59_582_935;
    y = ((y * f + (1 << 19)) >> 20) + 257_938_912;
    y = ((y * f + (1 << 19)) >> 20) - 744_260_973;
    y = ((y * f + (1 << 19)) >> 20) + 1_073_741_823;
    y >>= uint256(u >> 20);
}

/// Rule 9: the logistic function of g (Q16) in Q30.
function sigmoid(int256 g) pure returns (int256) {
    int256 e = exp2neg((int256(Math.min(SignedMath.abs(g), 1 << 22)) * LOG2_E) >> 26);
    int256 one = 1 << 30;
    return (g >= 0 ? one << 30 : e << 30) / (one + e);
}

/// Rule 9: what GELU takes the logistic function of.
function geluArgument(int256 g) pure returns (int256) {
    int256 c = SignedMath.max(SignedMath.min(g, 1 << 20), -(1 << 20));
    return rsh(c * (1_713_444_047 + rsh(76_616_651 * rsh(c * c, 16), 16)), 30);
}

/// Rule 9: the gated product.
function gateTimes(int256 g, int256 u, bool gelu) pure returns (int256) {
    int256 gate = rsh(g * sigmoid(gelu ? geluArgument(g) : g), 22);
    return ranged(rsh(gate * u, 20), 60);
}

/// Rule 8: a raw dot product's score in units of log2.
function scoreOf(int256 dot, int256 exponent, int256 scale) pure returns (int256) {
    int256 most = 1 << 60;
    int256 score = SignedMath.max(SignedMath.min(rsh(dot, -(exponent + 20)), most), -most);
    return (score * scale) >> 30;
}

/// Rule 8: the sum of a dimension over Z.
function normalise(int256 sum, int256 total, int256 exponent) pure returns (int256) {
    int256 bits = bitLength(total);
    int256 reciprocal = int256(1 << uint256(bits + 30)) / total;
    return rsh(sum * reciprocal, bits + 10 - exponent);
}

/// Rule 10: the weight of a token so far below the largest logit; temperature 0 counts as its least.
function weightOf(int256 below, uint256 temperature) pure returns (int256) {
    int256 u = (below * LOG2_E) / int256(Math.max(temperature, 1) << 10);
    return exp2neg(SignedMath.min(u, 64 << 20));
}

/// Rule 17: the weight in Q42 of a token so far below the largest logit.
function fineWeightOf(int256 below) pure returns (int256) {
    int256 u = (SignedMath.min(below, 1 << 22) * LOG2_E) >> 26;
    return (exp2neg(u & 0xf_ffff) << 12) >> uint256(u >> 20);
}

/// Rule 17: the natural logarithm in Q16 of a sum in Q42.
function logarithmOf(int256 sum) pure returns (int256) {
    uint256 whole = Math.log2(uint256(sum));
    uint256 y = (uint256(sum) << (63 - whole)) >> 32;
    for (uint256 i = 0; i < 24; i++) {
        y = (y * y) >> 31;
        uint256 digit = y >> 32;
        (y, whole) = (y >> digit, 2 * whole + digit);
    }
    return rsh((int256(whole) - (42 << 24)) * 744_261_118, 38);
}
