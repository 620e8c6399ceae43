// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AttentionReferee} from "../src/AttentionReferee.sol";
import {OUT_OF_RANGE, codeOf, exp2neg, gateTimes, rsh, ranged, sigmoid, sineCosine} from "../src/Integers.sol";
import "../src/Openings.sol";
import {Claim, Place, Programs, Witness} from "../src/Programs.sol";
import {Referee} from "../src/Referee.sol";
import {Base} from "./Base.sol";

/// Whole claims are judged in pure/ledger's tests, against the definition; here are the words they are made of.
contract RefereeTest is Base {
    string private constant TAG = "talkoo/vector/1";

    /// Calldata for the functions that want it.
    function path(bytes32 top, uint256[2] memory place, bytes32[] calldata siblings, bytes32 root) external pure {
        checkPath(TAG, top, place, siblings, root);
    }

    function little(bytes calldata data, uint256 from, uint256 size) external pure returns (int256) {
        return littleAt(data, from, size);
    }

    function element(bytes calldata leaf, uint256 i) external pure returns (int256) {
        return elementAt(leaf, i);
    }

    function word(bytes calldata data, uint256 from, uint256 i) external pure returns (uint256) {
        return wordAt(data, from, i);
    }

    /// The root of `count` leaves, and the siblings of leaf `index`.
    function tree(uint256 count, uint256 index) private pure returns (bytes32 root, bytes32[] memory siblings) {
        bytes32[] memory level = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            level[i] = leafOf(TAG, abi.encode(i));
        }
        bytes32[] memory found = new bytes32[](8);
        uint256 next = 0;
        for (uint256 width = count; width > 1; (width, index) = ((width + 1) / 2, index / 2)) {
            if (index ^ 1 < width) found[next++] = level[index ^ 1];
            for (uint256 i = 0; i < width; i += 2) {
                level[i / 2] = i + 1 < width ? node(level[i], level[i + 1]) : level[i];
            }
        }
        siblings = new bytes32[](next);
        for (uint256 i = 0; i < next; i++) {
            siblings[i] = found[i];
        }
        root = sha256(abi.encodePacked(uint8(2), TAG, uint64(count), level[0]));
    }

    function testFuzz_a_leaf_opens_at_its_place_and_nowhere_else(uint256 count, uint256 index, uint256 other) public {
        count = bound(count, 1, 200);
        (index, other) = (bound(index, 0, count - 1), bound(other, 0, 200));
        (bytes32 root, bytes32[] memory siblings) = tree(count, index);
        bytes32 leaf = leafOf(TAG, abi.encode(index));
        this.path(leaf, [index, count], siblings, root);
        if (other == index) return;
        vm.expectRevert();
        this.path(leaf, [other, count], siblings, root);
    }

    function test_what_is_no_path_is_refused_by_name() public {
        (bytes32 root, bytes32[] memory siblings) = tree(5, 1);
        bytes32 leaf = leafOf(TAG, abi.encode(uint256(1)));
        vm.expectPartialRevert(LeafOutOfRange.selector);
        this.path(leaf, [uint256(5), 5], siblings, root);
        vm.expectPartialRevert(WrongRoot.selector);
        this.path(leaf, [uint256(1), 6], siblings, root);
        bytes32[2] memory others =
            [leafOf(TAG, abi.encode(uint256(2))), leafOf("talkoo/tile/1", abi.encode(uint256(1)))];
        for (uint256 i = 0; i < 2; i++) {
            vm.expectPartialRevert(WrongRoot.selector);
            this.path(others[i], [uint256(1), 5], siblings, root);
        }
        vm.expectPartialRevert(WrongPath.selector);
        this.path(leaf, [uint256(1), 5], new bytes32[](2), root);
        vm.expectPartialRevert(WrongPath.selector);
        this.path(leaf, [uint256(1), 5], new bytes32[](4), root);
        // A node passes for no leaf: neither by its children as data nor one level up in a tree of half the size.
        (bytes32 above, bytes32 children) = (node(siblings[0], leaf), leafOf(TAG, abi.encodePacked(siblings[0], leaf)));
        bytes32[] memory shorter = new bytes32[](2);
        (shorter[0], shorter[1]) = (siblings[1], siblings[2]);
        vm.expectPartialRevert(WrongRoot.selector);
        this.path(above, [uint256(0), 3], shorter, root);
        vm.expectPartialRevert(WrongRoot.selector);
        this.path(children, [uint256(0), 3], shorter, root);
    }

    function test_numbers_are_read_as_they_are_written() public {
        vm.assertTrue(this.little(hex"00fe", 0, 2) == -512 && this.little(hex"00fe7f", 1, 2) == 32_766);
        bytes memory leaf = abi.encodePacked(type(int128).min, int128(-1), type(int128).max);
        vm.assertTrue(this.element(leaf, 0) == OUT_OF_RANGE && this.element(leaf, 1) == -1);
        vm.assertTrue(this.element(leaf, 2) == type(int128).max);
        vm.assertEq(this.word(abi.encodePacked(uint8(1), uint64(2), uint64(3)), 1, 1), 3);
        vm.expectPartialRevert(WrongLength.selector);
        this.word(leaf, 0, 6);
        vm.expectRevert();
        this.element(leaf, 3);
    }

    /// Numbers of docs/vectors.jsonl and of pure/exact's tests.
    function test_rules_at_their_edges() public pure {
        vm.assertTrue(rsh(-1, 1) == 0 && rsh(-3, 1) == -1 && rsh(3, 1) == 2 && rsh(-5, -2) == -20 && rsh(7, 200) == 0);
        vm.assertTrue(ranged((1 << 40) - 1, 40) == (1 << 40) - 1 && ranged(-(1 << 40), 40) == OUT_OF_RANGE);
        vm.assertTrue(exp2neg(0) == 1_073_741_823 && exp2neg(32 << 20) == 0 && exp2neg(1 << 90) == 0);
        vm.assertTrue(sigmoid(1 << 39) == 1 << 30 && sigmoid(-(1 << 39)) == 0);
        vm.assertTrue(gateTimes(1 << 16, 1 << 16, false) == 766_570);
        vm.assertTrue(codeOf(-32_512, 1, true) == -32_512 && codeOf(5, 0, false) == 0);
        (int256 sine, int256 cosine) = sineCosine(3 << 62);
        vm.assertTrue(sine == -(1 << 30) && cosine == 0);
    }

    function test_attention_is_asked_of_its_own_contract() public {
        AttentionReferee attention = new AttentionReferee();
        Referee referee = new Referee(attention);
        Claim memory c;
        Witness memory w;
        for (uint64 place = 0; place <= uint64(type(Place).max); place++) {
            c.vector = place << 40;
            vm.expectPartialRevert(Programs.UnknownContract.selector);
            referee.check(c, w);
        }
        c.vector = (uint64(type(Place).max) + 1) << 40;
        vm.expectPartialRevert(Programs.UnknownVector.selector);
        referee.check(c, w);
    }
}
