// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ComputeEscrow} from "../src/ComputeEscrow.sol";
import {Credits} from "../src/Credits.sol";
import {IDepositStop} from "../src/DepositGate.sol";
import {Base, Game, HookToken, Reentrant} from "./Base.sol";

abstract contract Jobs is Base {
    address[3] internal verifiers = [address(0xe1), address(0xe2), address(0xe3)];
    ComputeEscrow internal escrow;

    function newEscrow() internal {
        escrow = new ComputeEscrow(token, IDepositStop(address(0)));
        approveAll(address(escrow));
    }

    /// Price 1000, bonds 501 and 301, two of three verifiers, 100 s for each state.
    function terms() internal view returns (ComputeEscrow.Terms memory made) {
        made = ComputeEscrow.Terms({
            spec: "spec",
            price: 1000,
            workerBond: 501,
            challengerBond: 301,
            workBy: uint40(block.timestamp + 100),
            challengeS: 100,
            verifyS: 100,
            quorum: 2,
            worker: address(0),
            verifiers: new address[](3)
        });
        for (uint256 i = 0; i < 3; i++) {
            made.verifiers[i] = verifiers[i];
        }
    }

    function state(uint256 id) internal view returns (ComputeEscrow.State) {
        return escrow.jobOf(id).state;
    }
}

contract ComputeEscrowTest is Jobs {
    function setUp() public {
        newEscrow();
    }

    /// Alice's job, moved on by Bob (and Carol) to a state.
    function job(ComputeEscrow.State to) private returns (uint256 id) {
        ComputeEscrow.Terms memory made = terms();
        vm.prank(alice);
        id = escrow.post(made);
        if (to == ComputeEscrow.State.Open) return id;
        vm.prank(bob);
        escrow.take(id);
        if (to == ComputeEscrow.State.Assigned) return id;
        vm.prank(bob);
        escrow.submit(id, "result");
        if (to == ComputeEscrow.State.Submitted) return id;
        vm.prank(carol);
        escrow.challenge(id);
    }

    function credits(uint256 a, uint256 b, uint256 c) private view {
        vm.assertEq(escrow.credit(alice), a, "client");
        vm.assertEq(escrow.credit(bob), b, "worker");
        vm.assertEq(escrow.credit(carol), c, "challenger");
    }

    function vote(uint256 id, uint256 seat, bool upholds) private {
        vm.prank(verifiers[seat]);
        escrow.vote(id, seat, upholds);
    }

    function test_accepted_work_is_paid() public {
        uint256 id = job(ComputeEscrow.State.Submitted);
        vm.prank(alice);
        escrow.accept(id);
        credits(0, 1501, 0);
        escrow.withdraw(bob);
        vm.assertEq(token.balanceOf(bob), FUNDS + 1000);
    }

    function test_a_majority_that_upholds_refunds_the_client() public {
        uint256 id = job(ComputeEscrow.State.Challenged);
        vote(id, 0, true);
        vote(id, 1, false);
        vote(id, 2, true);
        credits(1000, 0, 301 + 251);
        vm.assertEq(escrow.credit(verifiers[0]), 125);
        vm.assertEq(escrow.credit(verifiers[1]), 0);
        vm.assertEq(escrow.credit(verifiers[2]), 125);
    }

    function test_a_majority_that_rejects_pays_the_worker() public {
        uint256 id = job(ComputeEscrow.State.Challenged);
        vote(id, 0, false);
        vote(id, 1, false);
        credits(0, 1501 + 151, 0);
        vm.assertEq(escrow.credit(verifiers[0]), 75);
    }

    function test_every_state_ends_by_itself() public {
        uint256[3][4] memory want =
            [[uint256(1000), 0, 0], [uint256(1501), 0, 0], [uint256(0), 1501, 0], [uint256(0), 1501, 301]];
        for (uint8 i = 0; i < 4; i++) {
            newEscrow();
            uint256 id = job(ComputeEscrow.State(i + 1));
            if (i == 3) vote(id, 0, true);
            vm.expectPartialRevert(ComputeEscrow.TooEarly.selector);
            escrow.settle(id);
            skip(100);
            escrow.settle(id);
            credits(want[i][0], want[i][1], want[i][2]);
            vm.assertTrue(state(id) == ComputeEscrow.State.Done);
            vm.expectPartialRevert(ComputeEscrow.WrongState.selector);
            escrow.settle(id);
        }
    }

    function test_what_comes_late_is_refused() public {
        uint256[4] memory ids;
        for (uint8 i = 0; i < 4; i++) {
            ids[i] = job(ComputeEscrow.State(i + 1));
        }
        skip(100);
        vm.startPrank(bob);
        vm.expectPartialRevert(ComputeEscrow.TooLate.selector);
        escrow.take(ids[0]);
        vm.expectPartialRevert(ComputeEscrow.TooLate.selector);
        escrow.submit(ids[1], "result");
        vm.stopPrank();
        vm.expectPartialRevert(ComputeEscrow.TooLate.selector);
        vm.prank(carol);
        escrow.challenge(ids[2]);
        vm.expectPartialRevert(ComputeEscrow.TooLate.selector);
        vote(ids[3], 0, true);
    }

    function test_who_may_not() public {
        uint256 id = job(ComputeEscrow.State.Submitted);
        vm.expectPartialRevert(ComputeEscrow.NotYours.selector);
        escrow.accept(id);
        vm.expectPartialRevert(ComputeEscrow.NotYours.selector);
        vm.prank(bob);
        escrow.challenge(id);
        vm.prank(carol);
        escrow.challenge(id);
        vm.expectPartialRevert(ComputeEscrow.NotYours.selector);
        escrow.vote(id, 0, true);
        vote(id, 0, true);
        vm.expectPartialRevert(ComputeEscrow.NotYours.selector);
        vote(id, 0, true);
        ComputeEscrow.Terms memory named = terms();
        named.worker = carol;
        vm.prank(alice);
        id = escrow.post(named);
        vm.expectPartialRevert(ComputeEscrow.NotYours.selector);
        vm.prank(bob);
        escrow.take(id);
        vm.prank(carol);
        escrow.take(id);
        vm.expectPartialRevert(ComputeEscrow.NotYours.selector);
        vm.prank(bob);
        escrow.submit(id, "result");
    }

    function test_bad_terms() public {
        ComputeEscrow.Terms[5] memory bad = [terms(), terms(), terms(), terms(), terms()];
        bad[0].workBy = uint40(START);
        bad[1].quorum = 1;
        bad[2].quorum = 4;
        bad[3].verifiers[1] = bad[3].verifiers[0];
        bad[4].verifyS = 91 days;
        for (uint256 i = 0; i < 5; i++) {
            vm.expectPartialRevert(ComputeEscrow.BadTerms.selector);
            vm.prank(alice);
            escrow.post(bad[i]);
        }
        ComputeEscrow.Terms memory unjudged = terms();
        (unjudged.quorum, unjudged.verifiers) = (0, new address[](0));
        vm.prank(alice);
        uint256 id = escrow.post(unjudged);
        vm.startPrank(bob);
        escrow.take(id);
        escrow.submit(id, "result");
        vm.stopPrank();
        vm.expectPartialRevert(ComputeEscrow.NotYours.selector);
        vm.prank(carol);
        escrow.challenge(id);
    }

    function test_a_hook_cannot_reenter() public {
        HookToken hook = new HookToken(address(this));
        escrow = new ComputeEscrow(hook, IDepositStop(address(0)));
        Reentrant thief = new Reentrant();
        hook.mint(address(thief), 5000);
        hook.mint(address(escrow), 5000);
        thief.act(address(hook), abi.encodeCall(hook.approve, (address(escrow), type(uint256).max)));
        thief.arm(address(escrow), abi.encodeCall(escrow.post, (terms())));
        thief.act(address(escrow), abi.encodeCall(escrow.post, (terms())));
        vm.assertTrue(thief.tried() && !thief.entered());
        skip(100);
        escrow.settle(1);
        thief.arm(address(escrow), abi.encodeCall(Credits.withdraw, (address(thief))));
        escrow.withdraw(address(thief));
        vm.assertTrue(thief.tried() && !thief.entered());
        vm.assertEq(hook.balanceOf(address(thief)), 5000);
    }
}

/// Plays any order of calls on any job.
contract JobPlayer is Jobs {
    constructor() {
        newEscrow();
    }

    function pick(uint256 id) private view returns (uint256) {
        uint256 count = escrow.jobCount();
        return count - id % (count < 3 ? count : 3); // one of the newest
    }

    function post(uint256 who) external {
        require(escrow.jobCount() == 0 || who % 3 == 0); // most calls are about jobs that are there
        ComputeEscrow.Terms memory made = terms();
        vm.prank(person(who));
        escrow.post(made);
    }

    function take(uint256 who, uint256 id) external {
        id = pick(id);
        vm.prank(person(who));
        escrow.take(id);
    }

    function submit(uint256 id) external {
        id = pick(id);
        address worker = escrow.jobOf(id).worker;
        vm.prank(worker);
        escrow.submit(id, "result");
    }

    function accept(uint256 id) external {
        id = pick(id);
        address client = escrow.jobOf(id).client;
        vm.prank(client);
        escrow.accept(id);
    }

    function challenge(uint256 who, uint256 id) external {
        id = pick(id);
        vm.prank(person(who));
        escrow.challenge(id);
    }

    function vote(uint256 id, uint256 seat, bool upholds) external {
        id = pick(id);
        vm.prank(verifiers[seat % 3]);
        escrow.vote(id, seat % 3, upholds);
    }

    function settle(uint256 id, uint256 wait) external {
        skip(bound(wait, 0, 60));
        escrow.settle(pick(id));
    }

    function withdraw(uint256 who) external {
        escrow.withdraw(person(who));
    }

    function books() external view returns (uint256 held, uint256 owed) {
        held = token.balanceOf(address(escrow));
        for (uint256 id = 1; id <= escrow.jobCount(); id++) {
            ComputeEscrow.State now_ = state(id);
            if (now_ == ComputeEscrow.State.Done) continue;
            owed += 1000;
            if (now_ != ComputeEscrow.State.Open) owed += 501;
            if (now_ == ComputeEscrow.State.Challenged) owed += 301;
        }
        for (uint256 i = 0; i < 4; i++) {
            owed += escrow.credit(person(i));
            if (i < 3) owed += escrow.credit(verifiers[i]);
        }
    }

    function drain() external {
        skip(100);
        for (uint256 id = 1; id <= escrow.jobCount(); id++) {
            if (state(id) != ComputeEscrow.State.Done) escrow.settle(id);
        }
        for (uint256 i = 0; i < 4; i++) {
            if (escrow.credit(person(i)) > 0) escrow.withdraw(person(i));
            if (i < 3 && escrow.credit(verifiers[i]) > 0) escrow.withdraw(verifiers[i]);
        }
    }
}

contract ComputeEscrowInvariants is Game {
    JobPlayer private player;

    constructor() Game(address(player = new JobPlayer())) {}

    function invariant_jobs_are_backed() public view {
        (uint256 held, uint256 owed) = player.books();
        require(held == owed, "held is not owed");
    }

    function afterInvariant() public {
        player.drain();
        (uint256 held,) = player.books();
        require(held == 0, "money is stuck");
    }
}
