// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Multicall3} from "../src/Multicall3.sol";
import {TalkooToken} from "../src/TalkooToken.sol";
import {Base} from "./Base.sol";

contract Multicall3Test is Base {
    Multicall3 private multicall = new Multicall3();

    /// A balance, then a call that fails.
    function calls() private view returns (Multicall3.Call3[] memory made) {
        made = new Multicall3.Call3[](2);
        made[0] = Multicall3.Call3(address(token), false, abi.encodeCall(token.balanceOf, (alice)));
        made[1] = Multicall3.Call3(address(token), true, abi.encodeCall(token.mint, (alice, 1)));
    }

    function plain() private view returns (Multicall3.Call[] memory made) {
        Multicall3.Call3[] memory from = calls();
        made = new Multicall3.Call[](2);
        for (uint256 i = 0; i < 2; i++) {
            made[i] = Multicall3.Call(from[i].target, from[i].callData);
        }
    }

    function check(Multicall3.Result[] memory results) private pure {
        vm.assertEq(abi.decode(results[0].returnData, (uint256)), FUNDS);
        vm.assertTrue(results[0].success && !results[1].success);
        vm.assertTrue(bytes4(results[1].returnData) == TalkooToken.NotMinter.selector);
    }

    function test_failures_are_told_where_they_are_allowed() public {
        check(multicall.aggregate3(calls()));
        check(multicall.tryAggregate(false, plain()));
        (uint256 number,, Multicall3.Result[] memory results) = multicall.tryBlockAndAggregate(false, plain());
        vm.assertEq(number, multicall.getBlockNumber());
        check(results);
    }

    function test_failures_undo_all_where_they_are_not() public {
        Multicall3.Call3[] memory strict = calls();
        strict[1].allowFailure = false;
        bytes memory second = abi.encodeWithSelector(Multicall3.CallFailed.selector, 1);
        vm.expectRevert(second);
        multicall.aggregate3(strict);
        vm.expectRevert(second);
        multicall.aggregate(plain());
        vm.expectRevert(second);
        multicall.blockAndAggregate(plain());
    }

    function test_all_coins_are_used() public {
        Multicall3.Call3Value[] memory gifts = new Multicall3.Call3Value[](2);
        gifts[0] = Multicall3.Call3Value(alice, false, 3, "");
        gifts[1] = Multicall3.Call3Value(bob, false, 4, "");
        vm.deal(address(this), 20);
        vm.expectRevert(abi.encodeWithSelector(Multicall3.ValueMismatch.selector, 7, 8));
        multicall.aggregate3Value{value: 8}(gifts);
        multicall.aggregate3Value{value: 7}(gifts);
        vm.assertEq(multicall.getEthBalance(alice) + multicall.getEthBalance(bob), 7);
    }
}
