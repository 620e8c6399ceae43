// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Allotments} from "../src/Allotments.sol";
import {Credits} from "../src/Credits.sol";
import {Game} from "./Base.sol";
import {Channels} from "./Channels.sol";

/// Trees built level by level, as a payer's node does it, and their paths.
abstract contract Trees is Channels {
    string private constant TAG = "talkoo/allotment/1";
    Allotments internal allotments;

    function newAllotments() internal {
        allotments = new Allotments(token, stop(), settlement);
        approveAll(address(allotments));
    }

    function tree(address[] memory payees, uint128[] memory caps)
        internal
        pure
        returns (bytes32 root, uint128 sum, Allotments.Leaf[] memory leaves)
    {
        uint256 count = payees.length;
        (bytes32[] memory tops, uint128[] memory sums) = (new bytes32[](count), new uint128[](count));
        leaves = new Allotments.Leaf[](count);
        for (uint256 i = 0; i < count; i++) {
            (tops[i], sums[i]) = (sha256(abi.encodePacked(hex"00", TAG, payees[i], caps[i])), caps[i]);
            leaves[i] = Allotments.Leaf(uint64(i), uint64(count), caps[i], new bytes32[](0), new uint128[](0));
        }
        uint256 width = count;
        for (uint256 level = 0; width > 1; level++) {
            for (uint256 i = 0; i < count; i++) {
                uint256 other = (i >> level) ^ 1;
                if (other < width) extend(leaves[i], tops[other], sums[other]);
            }
            for (uint256 i = 0; i < width; i += 2) {
                bool odd = i + 1 == width;
                tops[i / 2] =
                    odd ? tops[i] : sha256(abi.encodePacked(hex"01", tops[i], sums[i], tops[i + 1], sums[i + 1]));
                sums[i / 2] = odd ? sums[i] : sums[i] + sums[i + 1];
            }
            width = (width + 1) / 2;
        }
        sum = sums[0];
        root = sha256(abi.encodePacked(hex"02", TAG, uint64(count), tops[0], sum));
    }

    function extend(Allotments.Leaf memory leaf, bytes32 top, uint128 sum) private pure {
        uint256 n = leaf.siblings.length;
        (bytes32[] memory siblings, uint128[] memory sums) = (new bytes32[](n + 1), new uint128[](n + 1));
        for (uint256 i = 0; i < n; i++) {
            (siblings[i], sums[i]) = (leaf.siblings[i], leaf.siblingSums[i]);
        }
        (siblings[n], sums[n]) = (top, sum);
        (leaf.siblings, leaf.siblingSums) = (siblings, sums);
    }

    /// Dave's voucher for one payee.
    function voucher(bytes32 id, address payee, uint64 index, uint128 total) internal view returns (bytes memory) {
        return signed(DAVE_KEY, settlement.getVoucherDigest(allotments.laneOf(id, payee, index), total));
    }
}

contract AllotmentsTest is Trees {
    address[] private payees;
    uint128[] private caps;
    bytes32 private id;
    Allotments.Leaf[] private leaves;

    function setUp() public {
        newAllotments();
        (payees, caps) = ([bob, carol, address(0x11), bob, address(0x12)], [uint128(10), 20, 30, 40, 50]);
        (bytes32 root, uint128 sum, Allotments.Leaf[] memory made) = tree(payees, caps);
        for (uint256 i = 0; i < made.length; i++) {
            leaves.push(made[i]);
        }
        vm.prank(alice);
        id = allotments.open(root, sum, uint40(START + 100), dave);
    }

    function claim(uint256 i, uint128 total) private {
        bytes memory signature = voucher(id, payees[i], uint64(i), total);
        allotments.claim(id, payees[i], leaves[i], total, signature);
    }

    function test_everyone_claims_its_own() public {
        for (uint256 i = 0; i < 5; i++) {
            claim(i, caps[i] - 5);
            claim(i, caps[i]);
        }
        vm.assertEq(allotments.credit(bob), 50);
        skip(100);
        allotments.close(id);
        vm.assertEq(allotments.credit(alice), 0);
        allotments.withdraw(bob);
        vm.assertEq(token.balanceOf(bob), FUNDS + 50);
    }

    function test_refused_claims() public {
        bytes memory signature = voucher(id, bob, 0, 11);
        vm.expectPartialRevert(Allotments.OverCap.selector);
        allotments.claim(id, bob, leaves[0], 11, signature);
        signature = voucher(id, bob, 3, 5);
        vm.expectPartialRevert(Allotments.InvalidSignature.selector);
        allotments.claim(id, bob, leaves[0], 5, signature);
        vm.expectPartialRevert(Allotments.NotInTree.selector);
        allotments.claim(id, carol, leaves[0], 5, signature);
        claim(0, 5);
        signature = voucher(id, bob, 0, 5);
        vm.expectPartialRevert(Allotments.NothingNew.selector);
        allotments.claim(id, bob, leaves[0], 5, signature);
        skip(100);
        signature = voucher(id, bob, 0, 6);
        vm.expectPartialRevert(Allotments.NotOpen.selector);
        allotments.claim(id, bob, leaves[0], 6, signature);
    }

    function test_the_rest_returns_once() public {
        claim(1, 15);
        vm.expectPartialRevert(Allotments.TooEarly.selector);
        allotments.close(id);
        skip(100);
        allotments.close(id);
        vm.assertEq(allotments.credit(alice), 135);
        vm.expectPartialRevert(Allotments.NotOpen.selector);
        allotments.close(id);
    }

    function test_refused_openings() public {
        vm.startPrank(alice);
        vm.expectPartialRevert(Allotments.UntilOutOfRange.selector);
        allotments.open("r", 1, uint40(START), dave);
        vm.expectPartialRevert(Allotments.UntilOutOfRange.selector);
        allotments.open("r", 1, uint40(START + 90 days + 1), dave);
        vm.expectPartialRevert(Allotments.ZeroSum.selector);
        allotments.open("r", 0, uint40(START + 1), dave);
        allotments.open("r", 1, uint40(START + 1), dave);
        vm.expectPartialRevert(Allotments.AlreadyOpen.selector);
        allotments.open("r", 1, uint40(START + 1), dave);
    }

    /// One leaf's path with any part changed leads to another root.
    function testFuzz_a_changed_path_is_not_in_the_tree(uint8 which, uint8 part, uint128 by) public view {
        uint256 i = which % 5;
        Allotments.Leaf memory leaf = leaves[i];
        (bytes32 root, uint128 sum,) = tree(payees, caps);
        vm.assertEq(allotments.rootOf(payees[i], leaf, sum), root);
        unchecked {
            uint128 change = uint128(bound(by, 1, type(uint128).max));
            uint256 at_ = part % leaf.siblings.length;
            if (part % 6 == 0) leaf.cap += change;
            else if (part % 6 == 1) leaf.siblingSums[at_] += change;
            else if (part % 6 == 2) leaf.siblings[at_] = bytes32(uint256(leaf.siblings[at_]) + change);
            else if (part % 6 == 3) leaf.index = uint64((i + 1 + change % 4) % 5);
            else if (part % 6 == 4) leaf.count = uint64(leaf.count + bound(change, 1, 1000));
            else sum += change;
        }
        vm.assertTrue(allotments.rootOf(payees[i], leaf, sum) != root);
    }

    /// A payer that locks less than the caps gives leaves that nobody can open; sums that wrap around, too.
    function testFuzz_over_promising_is_impossible(uint128 lie) public {
        (bytes32 root, uint128 sum, Allotments.Leaf[] memory made) = tree(payees, caps);
        lie = uint128(bound(lie, 1, sum - 1));
        vm.prank(alice);
        bytes32 short = allotments.open(root, lie, uint40(START + 50), dave);
        for (uint256 i = 0; i < 5; i++) {
            bytes memory signature = voucher(short, payees[i], uint64(i), 1);
            vm.expectPartialRevert(Allotments.NotInTree.selector);
            allotments.claim(short, payees[i], made[i], 1, signature);
        }
        (address[] memory two, uint128[] memory huge) = (new address[](2), new uint128[](2));
        (two[0], two[1], huge[0], huge[1]) = (bob, carol, type(uint128).max, 2);
        bytes32 left = sha256(abi.encodePacked(hex"00", "talkoo/allotment/1", bob, huge[0]));
        Allotments.Leaf memory leaf = Allotments.Leaf(1, 2, 2, new bytes32[](1), new uint128[](1));
        (leaf.siblings[0], leaf.siblingSums[0]) = (left, huge[0]);
        vm.assertEq(allotments.rootOf(carol, leaf, 1), bytes32(0));
    }

    /// Any list: every leaf opens, and all caps can be claimed, no more.
    function testFuzz_any_list(uint8 size, uint64 seed) public {
        uint256 count = bound(size, 1, 9);
        (address[] memory who, uint128[] memory most) = (new address[](count), new uint128[](count));
        for (uint256 i = 0; i < count; i++) {
            (who[i], most[i]) = (person(i), uint128(uint256(keccak256(abi.encode(seed, i))) % 1000 + 1));
        }
        (bytes32 root, uint128 sum, Allotments.Leaf[] memory made) = tree(who, most);
        vm.prank(alice);
        bytes32 list = allotments.open(root, sum, uint40(START + 50), dave);
        for (uint256 i = 0; i < count; i++) {
            bytes memory signature = voucher(list, who[i], uint64(i), most[i]);
            allotments.claim(list, who[i], made[i], most[i], signature);
        }
        (,,,, uint128 claimed,) = allotments.allotments(list);
        vm.assertEq(claimed, sum);
    }
}

/// Plays any order of calls on lists of four payees.
contract AllotmentPlayer is Trees {
    bytes32[] private ids;
    Allotments.Leaf[] private leaves;
    bytes32 private root;
    uint128 private sum;

    constructor() {
        newAllotments();
        (address[] memory payees, uint128[] memory caps) = (new address[](4), new uint128[](4));
        for (uint256 i = 0; i < 4; i++) {
            (payees[i], caps[i]) = (person(i), uint128(100 * (i + 1)));
        }
        Allotments.Leaf[] memory made;
        (root, sum, made) = tree(payees, caps);
        for (uint256 i = 0; i < 4; i++) {
            leaves.push(made[i]);
        }
    }

    function open(uint256 wait) external {
        vm.prank(alice);
        ids.push(allotments.open(root, sum, uint40(block.timestamp + bound(wait, 1, 10 days)), dave));
    }

    function claim(uint256 which, uint64 i, uint128 total) external {
        bytes32 id = ids[which % ids.length];
        (i, total) = (i % 4, uint128(bound(total, 0, 500)));
        bytes memory signature = voucher(id, person(i), i, total);
        allotments.claim(id, person(i), leaves[i], total, signature);
    }

    function close(uint256 which, uint256 wait) external {
        skip(bound(wait, 0, 1 days));
        allotments.close(ids[which % ids.length]);
    }

    function take(uint256 who) external {
        allotments.withdraw(person(who));
    }

    function books() external view returns (uint256 held, uint256 owed) {
        held = token.balanceOf(address(allotments));
        for (uint256 i = 0; i < ids.length; i++) {
            (,,, uint128 all, uint128 claimed,) = allotments.allotments(ids[i]);
            if (all > 0) owed += all - claimed;
        }
        for (uint256 i = 0; i < 4; i++) {
            owed += allotments.credit(person(i));
        }
    }

    function drain() external {
        skip(10 days);
        for (uint256 i = 0; i < ids.length; i++) {
            (,,, uint128 all,,) = allotments.allotments(ids[i]);
            if (all > 0) allotments.close(ids[i]);
        }
        for (uint256 i = 0; i < 4; i++) {
            if (allotments.credit(person(i)) > 0) allotments.withdraw(person(i));
        }
    }
}

contract AllotmentInvariants is Game {
    AllotmentPlayer private player;

    constructor() Game(address(player = new AllotmentPlayer())) {}

    function invariant_claims_are_backed() public view {
        (uint256 held, uint256 owed) = player.books();
        require(held == owed, "held is not owed");
    }

    function afterInvariant() public {
        player.drain();
        (uint256 held,) = player.books();
        require(held == 0, "money is stuck");
    }
}
