// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDepositStop} from "../src/DepositGate.sol";
import {leafOf, node} from "../src/Openings.sol";
import {IBeacon, StorageDeals} from "../src/StorageDeals.sol";
import {Game} from "./Base.sol";
import {Beacons} from "./Beacon.t.sol";

/// Deals about 128 KiB of zeros, whose tree is the same everywhere. Rounds have 100 s, epochs 300 s.
abstract contract Deals is Beacons {
    uint256 internal constant LEVELS = 10;
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    StorageDeals internal deals;
    bytes32[] private path;
    bytes32 private root;

    function newDeals() internal {
        newBeacon();
        deals = new StorageDeals(token, IDepositStop(address(0)), IBeacon(address(beacon)), 60, 100);
        bytes32 top = leafOf("replica/1", new bytes(128));
        for (uint256 i = 0; i < LEVELS; i++) {
            path.push(top);
            top = node(top, top);
        }
        root = sha256(abi.encodePacked(uint8(2), "replica/1", uint64(1 << LEVELS), top));
    }

    /// Alice's deal with Bob, or with Carol, for four epochs at 5 with 100 at stake.
    function terms(bool withCarol, bytes32 salt) internal view returns (StorageDeals.Terms memory) {
        return StorageDeals.Terms({
            client: alice,
            provider: withCarol ? carol : bob,
            root: root,
            size: uint64(128 << LEVELS),
            epochS: 300,
            epochs: 4,
            price: 5,
            collateral: 100,
            salt: salt
        });
    }

    function pay(uint256 key, uint256 amount, bytes32 id) internal view returns (bytes memory) {
        uint256 until = type(uint256).max;
        bytes32 fields = keccak256(abi.encode(RECEIVE, vm.addr(key), address(deals), amount, 0, until, id));
        return signed(key, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), fields)));
    }

    function propose(StorageDeals.Terms memory t) internal returns (bytes32 id) {
        bytes memory signature = pay(ALICE_KEY, uint256(t.price) * t.epochs, deals.idOf(t, dave));
        vm.prank(dave);
        id = deals.propose(t, "cid", type(uint256).max, signature);
    }

    function accept(bytes32 id) internal {
        StorageDeals.Deal memory deal = deals.dealOf(id);
        uint256 key = deal.provider == bob ? BOB_KEY : CAROL_KEY;
        deals.accept(id, type(uint256).max, pay(key, 100, id));
    }

    function prove(bytes32 id) internal {
        bytes[2] memory leaves = [new bytes(128), new bytes(128)];
        deals.prove(id, leaves, [path, path]);
    }

    /// A whole round of the beacon from the next one's beginning on.
    function round() internal {
        vm.warp((beacon.currentRound() + 1) * 100);
        commit(carol, "c");
        commit(dave, "d");
        skip(60);
        reveal(carol, "c");
        reveal(dave, "d");
        skip(40);
    }
}

contract StorageDealsTest is Deals {
    bytes32 private id;

    function setUp() public {
        newDeals();
        id = propose(terms(false, 0));
    }

    function state() private view returns (StorageDeals.State) {
        return deals.dealOf(id).state;
    }

    function check(StorageDeals.State want, uint256 client, uint256 provider) private view {
        vm.assertEq(uint256(state()), uint256(want));
        vm.assertEq(deals.credit(alice), client);
        vm.assertEq(deals.credit(bob), provider);
    }

    function test_proven_to_the_end() public {
        accept(id);
        vm.assertEq(deals.active(), 1);
        for (uint256 i = 0; i < 4; i++) {
            vm.expectPartialRevert(StorageDeals.NotOpen.selector);
            prove(id);
            vm.warp(START + 300 * i);
            round();
            prove(id);
        }
        check(StorageDeals.State.Completed, 0, 4 * 5 + 100);
        vm.assertEq(deals.active(), 0);
    }

    function test_three_missed_in_a_row_end_it() public {
        accept(id);
        for (uint256 i = 0; i < 3; i++) {
            vm.warp(START + 300 * i);
            round();
            deals.poke(id, 9);
            vm.assertEq(deals.dealOf(id).next, i);
            skip(100);
            vm.expectRevert();
            prove(id);
            deals.poke(id, 9);
            vm.assertEq(deals.dealOf(id).next, i + 1);
        }
        check(StorageDeals.State.Terminated, 4 * 5 + 100, 0);
    }

    function test_misses_that_are_not_in_a_row_cost_a_quarter_each() public {
        accept(id);
        for (uint256 i = 0; i < 4; i++) {
            vm.warp(START + 300 * i);
            round();
            if (i % 2 == 0) prove(id);
            else skip(100);
        }
        deals.poke(id, 9);
        check(StorageDeals.State.Completed, 2 * (5 + 25), 2 * 5 + 50);
    }

    function test_without_randomness_nobody_wins() public {
        accept(id);
        skip(299);
        deals.poke(id, 9);
        vm.assertEq(deals.dealOf(id).next, 0);
        skip(4 * 300);
        deals.poke(id, 2);
        vm.assertEq(deals.dealOf(id).next, 2);
        deals.poke(id, 9);
        check(StorageDeals.State.Completed, 20, 100);
    }

    function test_a_later_round_draws_if_the_first_has_none() public {
        accept(id);
        vm.warp(START + 100);
        round();
        (, StorageDeals.Draw draw, uint256[2] memory leaves, uint256 until) = deals.challenge(id);
        vm.assertTrue(draw == StorageDeals.Draw.Open && until == START + 400);
        vm.assertTrue(leaves[0] < 1024 && leaves[1] < 1024);
        prove(id);
        vm.assertEq(deals.credit(bob), 5);
    }

    function test_not_accepted() public {
        bytes memory signature = pay(BOB_KEY, 100, id);
        deals.poke(id, 1);
        vm.assertTrue(state() == StorageDeals.State.Proposed);
        skip(60);
        vm.expectPartialRevert(StorageDeals.TooLate.selector);
        deals.accept(id, type(uint256).max, signature);
        deals.poke(id, 1);
        check(StorageDeals.State.Lapsed, 20, 0);
        vm.expectPartialRevert(StorageDeals.WrongState.selector);
        deals.accept(id, type(uint256).max, signature);
    }

    function test_cancelled() public {
        vm.expectPartialRevert(StorageDeals.NotClient.selector);
        deals.cancel(id);
        accept(id);
        vm.prank(alice);
        deals.cancel(id);
        vm.assertEq(deals.credit(alice), 10);
        vm.expectPartialRevert(StorageDeals.TooLate.selector);
        vm.prank(dave);
        deals.cancel(id);
        round();
        prove(id);
        vm.warp(START + 300);
        round();
        prove(id);
        check(StorageDeals.State.Completed, 10, 2 * 5 + 100);

        id = propose(terms(false, "other"));
        vm.prank(dave);
        deals.cancel(id);
        check(StorageDeals.State.Lapsed, 30, 110);
    }

    function test_refused() public {
        StorageDeals.Terms memory t = terms(false, "other");
        bytes memory signature = pay(ALICE_KEY, 20, deals.idOf(t, dave));
        // A signature is for one deal, proposed by one agent.
        vm.expectRevert();
        deals.propose(t, "", type(uint256).max, signature);
        bytes memory again = pay(ALICE_KEY, 20, id);
        t = terms(false, 0);
        vm.expectPartialRevert(StorageDeals.WrongState.selector);
        vm.prank(dave);
        deals.propose(t, "", type(uint256).max, again);
        t.provider = alice;
        vm.expectPartialRevert(StorageDeals.WrongTerms.selector);
        deals.propose(t, "", type(uint256).max, signature);
        t = terms(false, "other");
        t.epochS = 99;
        vm.expectPartialRevert(StorageDeals.WrongTerms.selector);
        deals.propose(t, "", type(uint256).max, signature);
        bytes memory others = pay(CAROL_KEY, 100, id);
        vm.expectRevert();
        deals.accept(id, type(uint256).max, others);
        vm.expectPartialRevert(StorageDeals.WrongState.selector);
        prove(id);
    }

    function test_another_leaf_proves_nothing() public {
        accept(id);
        round();
        bytes[2] memory leaves = [new bytes(128), new bytes(128)];
        bytes32[][2] memory siblings;
        vm.expectRevert();
        deals.prove(id, leaves, siblings);
        leaves[1] = new bytes(127);
        vm.expectRevert();
        deals.prove(id, leaves, siblings);
        prove(id);
    }
}

/// Plays any order of calls on deals of Alice with Bob and Carol.
contract DealsPlayer is Deals {
    bytes32[] private ids;

    constructor() {
        newDeals();
    }

    function put(bool withCarol, bool isTaken) external {
        if (ids.length >= 8) return;
        ids.push(propose(terms(withCarol, bytes32(ids.length))));
        if (isTaken) accept(ids[ids.length - 1]);
    }

    function take(uint256 which) external {
        accept(ids[which % ids.length]);
    }

    function draw(uint256 which, bool isShown) external {
        round();
        if (isShown) prove(ids[which % ids.length]);
    }

    function show(uint256 which) external {
        prove(ids[which % ids.length]);
    }

    function poke(uint256 which, uint256 most, uint256 wait) external {
        skip(bound(wait, 0, 400));
        deals.poke(ids[which % ids.length], bound(most, 0, 4));
    }

    function cancel(uint256 which) external {
        vm.prank(alice);
        deals.cancel(ids[which % ids.length]);
    }

    function pull(uint256 who) external {
        deals.withdraw(person(who));
    }

    function books() external view returns (uint256 held, uint256 owed, uint256 active) {
        held = token.balanceOf(address(deals));
        owed = deals.credit(alice) + deals.credit(bob) + deals.credit(carol);
        for (uint256 i = 0; i < ids.length; i++) {
            StorageDeals.Deal memory deal = deals.dealOf(ids[i]);
            if (deal.state == StorageDeals.State.Active) {
                owed += uint256(deal.epochs - deal.next) * deal.price + deal.collateral;
                active++;
            }
            if (deal.state == StorageDeals.State.Proposed) owed += uint256(deal.epochs) * deal.price;
        }
        active = active == deals.active() ? 0 : 1;
    }

    /// Time alone ends every deal.
    function drain() external {
        skip(4 * 300 + 400);
        for (uint256 i = 0; i < ids.length; i++) {
            deals.poke(ids[i], 9);
        }
        for (uint256 i = 0; i < 3; i++) {
            if (deals.credit(person(i)) > 0) deals.withdraw(person(i));
        }
    }
}

contract DealsInvariants is Game {
    DealsPlayer private player;

    constructor() Game(address(player = new DealsPlayer())) {}

    function invariant_money_is_backed() public view {
        (uint256 held, uint256 owed, uint256 miscounted) = player.books();
        require(held == owed, "held is not owed");
        require(miscounted == 0, "active deals are miscounted");
    }

    function afterInvariant() public {
        player.drain();
        (uint256 held,,) = player.books();
        require(held == 0, "money is stuck");
    }
}
