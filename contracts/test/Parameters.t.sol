// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Parameters} from "../src/Parameters.sol";
import {Base} from "./Base.sol";

contract ParametersTest is Base {
    uint40 private constant DELAY_S = 2 days;
    Parameters private parameters;

    function setUp() public {
        Parameters.Initial[] memory initial = new Parameters.Initial[](1);
        initial[0] = Parameters.Initial("q_min", 300, Parameters.Range(100, 10_000));
        parameters = new Parameters(alice, bob, DELAY_S, initial);
    }

    function propose(bytes32 key, uint256 value) private {
        vm.prank(alice);
        parameters.propose(key, value);
    }

    function testFuzz_a_value_changes_after_its_delay_within_its_range(uint256 value, uint40 wait) public {
        value = bound(value, 0, 12_000);
        if (value < 100 || value > 10_000) {
            vm.expectPartialRevert(Parameters.OutOfRange.selector);
            return propose("q_min", value);
        }
        propose("q_min", value);
        skip(bound(wait, 0, 30 days));
        uint256 waited = block.timestamp - START;
        if (waited < DELAY_S) vm.expectPartialRevert(Parameters.TooEarly.selector);
        else if (waited >= DELAY_S + 14 days) vm.expectPartialRevert(Parameters.Stale.selector);
        else vm.assertEq(parameters.get("q_min"), 300);
        parameters.enact("q_min");
        bool stands = waited >= DELAY_S && waited < DELAY_S + 14 days;
        vm.assertEq(parameters.get("q_min"), stands ? value : 300);
    }

    function test_proposals_are_the_governors() public {
        vm.expectPartialRevert(Parameters.NotAllowed.selector);
        parameters.propose("q_min", 200);
        vm.expectPartialRevert(Parameters.UnknownKey.selector);
        propose("other", 200);
        vm.expectPartialRevert(Parameters.UnknownKey.selector);
        parameters.get("other");
        propose("q_min", 200);
        vm.expectPartialRevert(Parameters.NotAllowed.selector);
        vm.prank(bob);
        parameters.cancel("q_min");
        vm.prank(alice);
        parameters.cancel("q_min");
        skip(DELAY_S);
        vm.expectPartialRevert(Parameters.NoProposal.selector);
        parameters.enact("q_min");
    }

    function test_a_stop_ends_by_itself_and_cannot_be_renewed_at_once() public {
        vm.expectPartialRevert(Parameters.NotAllowed.selector);
        vm.prank(alice);
        parameters.stopDeposits();
        vm.startPrank(bob);
        parameters.stopDeposits();
        vm.assertTrue(parameters.depositsStopped());
        skip(7 days);
        vm.assertFalse(parameters.depositsStopped());
        vm.expectPartialRevert(Parameters.TooEarly.selector);
        parameters.stopDeposits();
        skip(7 days);
        parameters.stopDeposits();
        vm.stopPrank();
        vm.expectPartialRevert(Parameters.NotAllowed.selector);
        parameters.resumeDeposits();
        vm.startPrank(bob);
        parameters.resumeDeposits();
        vm.assertFalse(parameters.depositsStopped());
        vm.expectPartialRevert(Parameters.NotAllowed.selector);
        parameters.resumeDeposits();
    }
}
