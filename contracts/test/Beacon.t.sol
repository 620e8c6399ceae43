// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Beacon} from "../src/Beacon.sol";
import {IDepositStop} from "../src/DepositGate.sol";
import {Base, Game} from "./Base.sol";

abstract contract Beacons is Base {
    address internal treasury = address(0x7ea);
    Beacon internal beacon;

    function newBeacon() internal {
        Beacon.Options memory options = Beacon.Options({
            token: token,
            gate: IDepositStop(address(0)),
            commitS: 60,
            revealS: 40,
            bond: 10,
            revealsMin: 2,
            treasury: treasury
        });
        beacon = new Beacon(options);
        approveAll(address(beacon));
    }

    function commit(address who, bytes32 secret) internal {
        bytes32 hash = beacon.hashOf(beacon.currentRound(), who, secret);
        vm.prank(who);
        beacon.commit(hash);
    }

    function reveal(address who, bytes32 secret) internal {
        vm.prank(who);
        beacon.reveal(secret);
    }
}

contract BeaconTest is Beacons {
    uint256 private round;

    function setUp() public {
        newBeacon();
        round = beacon.currentRound();
        vm.assertEq(START % 100, 0);
    }

    function test_the_order_of_reveals_does_not_matter() public {
        bytes32[2] memory mixes;
        for (uint256 i = 0; i < 2; i++) {
            vm.warp(START + 100 * i);
            commit(alice, "a");
            commit(bob, "b");
            skip(60);
            if (i == 0) reveal(alice, "a");
            reveal(bob, "b");
            if (i == 1) reveal(alice, "a");
            (,,, mixes[i]) = beacon.rounds(round + i);
        }
        skip(40);
        vm.assertEq(mixes[0], mixes[1]);
        vm.assertTrue(beacon.random(round) != beacon.random(round + 1));
    }

    function test_who_does_not_reveal_loses_the_bond() public {
        commit(alice, "a");
        commit(bob, "b");
        commit(carol, "c");
        skip(60);
        reveal(alice, "a");
        reveal(bob, "b");
        vm.expectPartialRevert(Beacon.WrongPhase.selector);
        beacon.forfeit(round);
        vm.expectPartialRevert(Beacon.NoRandomness.selector);
        beacon.random(round);
        skip(40);
        vm.expectPartialRevert(Beacon.WrongPhase.selector);
        reveal(carol, "c");
        beacon.forfeit(round);
        vm.assertEq(beacon.credit(treasury), 10);
        vm.expectPartialRevert(Beacon.WrongPhase.selector);
        beacon.forfeit(round);
        beacon.random(round);
    }

    /// Carol's node key is Dave: she authorizes his commit, and gets the bond back.
    function test_a_bond_of_somebody_elses() public {
        bytes32 hash = beacon.hashOf(round, dave, "d");
        bytes32 typeHash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        bytes32 nonce = keccak256(abi.encode(hash, dave));
        uint256 end = START + 1;
        bytes32 fields = keccak256(abi.encode(typeHash, carol, address(beacon), 10, 0, end, nonce));
        bytes memory signature =
            signed(CAROL_KEY, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), fields)));
        vm.expectRevert();
        vm.prank(bob);
        beacon.commitFor(carol, hash, end, signature);
        vm.prank(dave);
        beacon.commitFor(carol, hash, end, signature);
        vm.assertEq(token.balanceOf(carol), FUNDS - 10);
        skip(60);
        reveal(dave, "d");
        beacon.withdraw(carol);
        vm.assertEq(token.balanceOf(carol), FUNDS);
    }

    function test_too_few_reveals_give_none() public {
        commit(alice, "a");
        skip(60);
        reveal(alice, "a");
        skip(40);
        vm.expectPartialRevert(Beacon.NoRandomness.selector);
        beacon.random(round);
    }

    function test_refused() public {
        commit(alice, "a");
        bytes32 copied = beacon.commitOf(round, alice);
        vm.expectPartialRevert(Beacon.AlreadyCommitted.selector);
        vm.prank(alice);
        beacon.commit("b");
        vm.expectPartialRevert(Beacon.WrongPhase.selector);
        vm.prank(bob);
        beacon.commit(0);
        vm.expectPartialRevert(Beacon.WrongPhase.selector);
        reveal(alice, "a");
        vm.prank(bob);
        beacon.commit(copied);
        skip(60);
        vm.expectPartialRevert(Beacon.WrongPhase.selector);
        vm.prank(carol);
        beacon.commit("c");
        reveal(alice, "a");
        vm.expectPartialRevert(Beacon.WrongSecret.selector);
        reveal(alice, "a");
        // Who copied a commit cannot reveal it.
        vm.expectPartialRevert(Beacon.WrongSecret.selector);
        reveal(bob, "a");
    }
}

/// Plays any order of calls; everybody's secret is its number.
contract BeaconPlayer is Beacons {
    uint256[] private seen;

    constructor() {
        newBeacon();
    }

    function put(uint256 who, uint256 wait) external {
        skip(bound(wait, 0, 30));
        commit(person(who), bytes32(who % 4));
        seen.push(beacon.currentRound());
    }

    function show(uint256 who, uint256 wait) external {
        skip(bound(wait, 0, 30));
        reveal(person(who), bytes32(who % 4));
    }

    function forfeit(uint256 which) external {
        beacon.forfeit(seen[which % seen.length]);
    }

    function take(uint256 who) external {
        beacon.withdraw(person(who));
    }

    function books() external view returns (uint256 held, uint256 owed) {
        held = token.balanceOf(address(beacon));
        owed = beacon.credit(treasury);
        for (uint256 i = 0; i < 4; i++) {
            owed += beacon.credit(person(i));
        }
        for (uint256 i = 0; i < seen.length; i++) {
            if (i > 0 && seen[i] == seen[i - 1]) continue;
            (uint32 commits, uint32 reveals, bool isForfeited,) = beacon.rounds(seen[i]);
            if (!isForfeited) owed += uint256(commits - reveals) * 10;
        }
    }

    function drain() external {
        skip(100);
        for (uint256 i = 0; i < seen.length; i++) {
            (,, bool isForfeited,) = beacon.rounds(seen[i]);
            if (!isForfeited) beacon.forfeit(seen[i]);
        }
        for (uint256 i = 0; i < 4; i++) {
            if (beacon.credit(person(i)) > 0) beacon.withdraw(person(i));
        }
        if (beacon.credit(treasury) > 0) beacon.withdraw(treasury);
    }
}

contract BeaconInvariants is Game {
    BeaconPlayer private player;

    constructor() Game(address(player = new BeaconPlayer())) {}

    function invariant_bonds_are_backed() public view {
        (uint256 held, uint256 owed) = player.books();
        require(held == owed, "held is not owed");
    }

    function afterInvariant() public {
        player.drain();
        (uint256 held,) = player.books();
        require(held == 0, "money is stuck");
    }
}
