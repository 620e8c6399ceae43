// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// What a draw needs of a request's params: canonical DAG-CBOR of pure/base's `GenerateParams`, which the worker has read.

error NotParams(uint256 spot);
/// The program has no such parameter.
error NotInProgram(bytes32 parameter);

/// Temperature, top-k, top-p, min-p. Params with what changes logits are refused.
function drawOf(bytes calldata params) pure returns (uint256[4] memory draw) {
    bytes32[4] memory names = [bytes32("temperature_q16"), "top_k", "top_p_q16", "min_p_q16"];
    bytes32[5] memory others =
        [bytes32("constraint"), "logit_bias", "repeat_penalty_q16", "presence_penalty_q16", "frequency_penalty_q16"];
    (uint256 major, uint256 left, uint256 spot) = headAt(params, 0);
    require(major == 5, NotParams(0));
    for (; left > 0; left--) {
        uint256 value;
        (major, value, spot) = headAt(params, spot);
        require(major == 3, NotParams(spot));
        bytes32 name = bytes32(params[spot:spot + value]);
        spot += value;
        for (uint256 i = 0; i < 5; i++) {
            require(name != others[i], NotInProgram(name));
        }
        (, value,) = headAt(params, spot);
        for (uint256 i = 0; i < 4; i++) {
            if (name == names[i]) draw[i] = value;
        }
        spot = behind(params, spot);
    }
}

/// Whether params name this one.
function hasParam(bytes calldata params, bytes32 wanted) pure returns (bool) {
    (uint256 major, uint256 left, uint256 spot) = headAt(params, 0);
    require(major == 5, NotParams(0));
    for (; left > 0; left--) {
        uint256 value;
        (major, value, spot) = headAt(params, spot);
        if (major == 3 && bytes32(params[spot:spot + value]) == wanted) return true;
        spot = behind(params, spot + value);
    }
    return false;
}

/// An item's major type, its argument, and where that ends.
function headAt(bytes calldata data, uint256 spot) pure returns (uint256 major, uint256 value, uint256 end) {
    require(spot < data.length, NotParams(spot));
    uint256 first = uint8(data[spot]);
    (major, value, end) = (first >> 5, first & 31, spot + 1);
    if (value < 24) return (major, value, end);
    require(value < 28, NotParams(spot));
    uint256 size = 1 << (value - 24);
    require(end + size <= data.length, NotParams(spot));
    value = uint256(bytes32(data[end:end + size])) >> (256 - 8 * size);
    end += size;
}

/// Where the item at `at` ends.
function behind(bytes calldata data, uint256 spot) pure returns (uint256) {
    for (uint256 left = 1; left > 0; left--) {
        (uint256 major, uint256 value, uint256 end) = headAt(data, spot);
        spot = end;
        if (major == 2 || major == 3) spot += value;
        if (major == 4) left += value;
        if (major == 5) left += 2 * value;
        if (major == 6) left++;
    }
    return spot;
}
