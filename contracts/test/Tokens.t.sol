// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PaymentToken} from "../src/PaymentToken.sol";
import {TalkooToken} from "../src/TalkooToken.sol";
import {TestCredit} from "../src/TestCredit.sol";
import {Base} from "./Base.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

contract TokensTest is Base {
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    function digest(bytes32 structHash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
    }

    function receipt(uint256 value, uint256 validBefore, bytes32 nonce) private view returns (bytes memory) {
        return signed(ALICE_KEY, digest(keccak256(abi.encode(RECEIVE, alice, bob, value, 0, validBefore, nonce))));
    }

    function test_only_the_minter_mints() public {
        vm.expectRevert(abi.encodeWithSelector(TalkooToken.NotMinter.selector, alice));
        vm.prank(alice);
        token.mint(alice, 1);
        TalkooToken fixed_ = new TalkooToken("Fixed", "FIX", address(0), alice, 7);
        vm.assertEq(fixed_.balanceOf(alice), 7);
        vm.assertEq(fixed_.decimals(), 6);
        vm.expectPartialRevert(TalkooToken.NotMinter.selector);
        fixed_.mint(alice, 1);
    }

    function testFuzz_authorizations_take_any_nonce_once(uint128 value, bytes32 nonce) public {
        value = uint128(bound(value, 0, FUNDS));
        bytes memory signature = receipt(value, START + 10, nonce);
        vm.prank(bob);
        token.receiveWithAuthorization(alice, bob, value, 0, START + 10, nonce, signature);
        vm.assertEq(token.balanceOf(bob), FUNDS + value);
        vm.assertTrue(token.authorizationState(alice, nonce));
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, alice, nonce));
        vm.prank(bob);
        token.receiveWithAuthorization(alice, bob, value, 0, START + 10, nonce, signature);
    }

    function test_authorizations_are_bound_to_receiver_amount_and_time() public {
        bytes memory signature = receipt(5, START + 10, 0);
        vm.expectRevert();
        vm.prank(carol);
        token.receiveWithAuthorization(alice, bob, 5, 0, START + 10, 0, signature);
        vm.expectPartialRevert(ERC3009.ERC3009InvalidSignature.selector);
        vm.prank(bob);
        token.receiveWithAuthorization(alice, bob, 6, 0, START + 10, 0, signature);
        vm.warp(START + 10);
        vm.expectPartialRevert(ERC3009.ERC3009InvalidAuthorizationTime.selector);
        vm.prank(bob);
        token.receiveWithAuthorization(alice, bob, 5, 0, START + 10, 0, signature);
    }

    function test_a_window_is_never_in_block_numbers() public {
        uint256 flag = 1 << 47;
        bytes32 structHash = keccak256(abi.encode(RECEIVE, alice, bob, 5, flag, flag + 1e9, bytes32(0)));
        bytes memory signature = signed(ALICE_KEY, digest(structHash));
        vm.expectPartialRevert(ERC3009.ERC3009InvalidAuthorizationTime.selector);
        vm.prank(bob);
        token.receiveWithAuthorization(alice, bob, 5, flag, flag + 1e9, 0, signature);
    }

    function test_permits_approve() public {
        bytes32 structHash = keccak256(abi.encode(PERMIT, alice, bob, 9, 0, START));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ALICE_KEY, digest(structHash));
        token.permit(alice, bob, 9, START, v, r, s);
        vm.assertEq(token.allowance(alice, bob), 9);
    }

    function testFuzz_test_credit_moves_only_through_venues(address from, address to, uint64 amount) public {
        vm.assume(from != address(0) && to != address(0) && from != carol && to != carol);
        address[] memory venues = new address[](1);
        venues[0] = carol;
        TestCredit credit = new TestCredit(address(this), venues);
        credit.mint(from, amount);
        vm.expectRevert(abi.encodeWithSelector(TestCredit.NotTransferable.selector, from, to));
        vm.prank(from);
        credit.transfer(to, amount);
        vm.prank(from);
        credit.transfer(carol, amount);
        vm.prank(carol);
        credit.transfer(to, amount);
        vm.assertEq(credit.balanceOf(to), amount);
        vm.expectRevert(abi.encodeWithSelector(TestCredit.NotFaucet.selector, alice));
        vm.prank(alice);
        credit.mint(alice, 1);
    }
}
