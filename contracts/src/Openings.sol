// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// What opens roots: the trees of pure/base's `merkle`, vectors of the program, tiles of a matrix, tensors of a model.
///   leaf = H(0x00 ‖ tag ‖ data), node = H(0x01 ‖ left ‖ right), an odd node moves up unchanged,
///   root = H(0x02 ‖ tag ‖ number of leaves, u64 BE ‖ top); H = SHA-256

error LeafOutOfRange(uint256 leaf, uint256 count);
error WrongPath(uint256 leaf, uint256 siblings);
error WrongRoot(bytes32 want, bytes32 have);
error WrongLength(uint256 want, uint256 have);

/// Leaf number `leaf` of `count` has this hash in the tree with this root.
function checkPath(string memory tag, bytes32 top, uint256[2] memory place, bytes32[] calldata siblings, bytes32 root)
    pure {
    checkRoot(tag, place[1], climb(top, place[0], place[1], siblings), root);
}

/// The top of a tree of which a level of so many nodes has this node at `spot`.
function climb(bytes32 top, uint256 spot, uint256 width, bytes32[] calldata siblings) pure returns (bytes32) {
    (uint256 first, uint256 next) = (spot, 0);
    require(spot < width, LeafOutOfRange(spot, width));
    for (; width > 1; (spot, width) = (spot / 2, width / 2 + width % 2)) {
        bool isRight = spot % 2 == 1;
        if (!isRight && spot + 1 == width) continue;
        require(next < siblings.length, WrongPath(first, siblings.length));
        bytes32 sibling = siblings[next++];
        top = isRight ? node(sibling, top) : node(top, sibling);
    }
    require(next == siblings.length, WrongPath(first, siblings.length));
    return top;
}

/// A tree of `count` leaves with this top has this root.
function checkRoot(string memory tag, uint256 count, bytes32 top, bytes32 root) pure {
    bytes32 have = sha256(abi.encodePacked(uint8(2), tag, uint64(count), top));
    require(have == root, WrongRoot(root, have));
}

/// The node that this many neighbours fold to, `down` levels up.
function fold(bytes32[] memory nodes, uint256 down) pure returns (bytes32) {
    for (uint256 width = nodes.length; down > 0; (width, down) = ((width + 1) / 2, down - 1)) {
        for (uint256 i = 0; i < width; i += 2) {
            nodes[i / 2] = i + 1 < width ? node(nodes[i], nodes[i + 1]) : nodes[i];
        }
    }
    return nodes[0];
}

function node(bytes32 left, bytes32 right) pure returns (bytes32) {
    return sha256(abi.encodePacked(uint8(1), left, right));
}

function leafOf(string memory tag, bytes memory data) pure returns (bytes32) {
    return sha256(abi.encodePacked(uint8(0), tag, data));
}

function checkLength(uint256 want, uint256 have) pure {
    require(want == have, WrongLength(want, have));
}

/// Element i of a vector's leaf.
function elementAt(bytes calldata leaf, uint256 i) pure returns (int256 v) {
    require(i < leaf.length / 16, LeafOutOfRange(i, leaf.length / 16));
    // A slice would cost ten times as much, and this is read for every number.
    assembly ("memory-safe") {
        v := sar(128, calldataload(add(leaf.offset, shl(4, i))))
    }
}

/// u64 BE number i from `from` on.
function wordAt(bytes calldata data, uint256 from, uint256 i) pure returns (uint256) {
    uint256 end = from + 8 * i + 8;
    require(end <= data.length, WrongLength(end, data.length));
    return uint64(bytes8(data[end - 8:end]));
}

/// `size` bytes, little-endian, signed.
function littleAt(bytes calldata data, uint256 from, uint256 size) pure returns (int256) {
    require(from + size <= data.length, WrongLength(from + size, data.length));
    bytes32 word;
    assembly ("memory-safe") {
        word := calldataload(add(data.offset, from))
    }
    uint256 v = 0;
    unchecked {
        for (uint256 i = 0; i < size; i++) {
            v |= uint256(uint8(word[i])) << (8 * i);
        }
    }
    uint256 unused = 256 - 8 * size;
    return int256(v << unused) >> unused;
}
