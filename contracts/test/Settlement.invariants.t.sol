// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBatchSettlement} from "../src/IBatchSettlement.sol";
import {Base, Game} from "./Base.sol";
import {Channels} from "./Channels.sol";

/// Plays any order of calls on three channels.
contract ChannelPlayer is Channels {
    uint256 private salts;

    function open(uint256 i) public view returns (IBatchSettlement.ChannelConfig memory) {
        return config(bytes32(i % 3));
    }

    function put(uint256 i, uint128 amount) external {
        amount = uint128(bound(amount, 1, 1000));
        deposit(open(i), amount, salts++);
    }

    function claim(uint256 i, uint128 total) external {
        IBatchSettlement.ChannelConfig memory channel = open(i);
        (uint128 balance,) = settlement.channels(settlement.getChannelId(channel));
        total = uint128(bound(total, 0, uint256(balance) + 1));
        claimAs(carol, channel, total, total);
    }

    function settle() external {
        settlement.settle(bob, address(token));
    }

    function refund(uint256 i, uint128 amount) external {
        vm.prank(bob);
        settlement.refund(open(i), uint128(bound(amount, 1, 1000)));
    }

    function ask(uint256 i, uint128 amount) external {
        vm.prank(alice);
        settlement.initiateWithdraw(open(i), uint128(bound(amount, 1, 1000)));
    }

    function take(uint256 i, uint32 wait) external {
        skip(bound(wait, 0, 2 days));
        vm.prank(alice);
        settlement.finalizeWithdraw(open(i));
    }

    function books() external view returns (uint256 escrow, uint256 unsettled, uint256 held) {
        for (uint256 i = 0; i < 3; i++) {
            (uint128 balance, uint128 claimed) = settlement.channels(settlement.getChannelId(open(i)));
            require(claimed <= balance, "more claimed than there is");
            escrow += balance - claimed;
        }
        (uint128 total, uint128 settled) = settlement.receivers(bob, address(token));
        unsettled = total - settled;
        held = token.balanceOf(SETTLEMENT);
    }

    /// Every channel to its end.
    function drain() external {
        settlement.settle(bob, address(token));
        for (uint256 i = 0; i < 3; i++) {
            (uint128 balance, uint128 claimed) = settlement.channels(settlement.getChannelId(open(i)));
            (, uint40 since) = settlement.pendingWithdrawals(settlement.getChannelId(open(i)));
            vm.startPrank(alice);
            if (since != 0) {
                skip(1 days);
                settlement.finalizeWithdraw(open(i));
                (balance, claimed) = settlement.channels(settlement.getChannelId(open(i)));
            }
            if (balance > claimed) {
                settlement.initiateWithdraw(open(i), balance - claimed);
                skip(1 days);
                settlement.finalizeWithdraw(open(i));
            }
            vm.stopPrank();
        }
    }

    function left() external view returns (uint256, uint256) {
        return (token.balanceOf(SETTLEMENT), token.balanceOf(alice) + token.balanceOf(bob));
    }
}

contract SettlementInvariants is Base, Game {
    ChannelPlayer private player;

    constructor() Game(address(player = new ChannelPlayer())) {}

    /// What is held is what channels and receivers are owed.
    function invariant_money_is_conserved() public view {
        (uint256 escrow, uint256 unsettled, uint256 held) = player.books();
        vm.assertEq(held, escrow + unsettled);
    }

    /// From every state, waiting long enough empties the contract.
    function afterInvariant() public {
        player.drain();
        (uint256 held, uint256 people) = player.left();
        vm.assertEq(held, 0, "money is stuck");
        vm.assertEq(people, 2 * uint256(FUNDS), "money is lost");
    }
}
