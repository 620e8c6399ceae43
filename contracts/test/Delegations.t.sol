// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Delegations} from "../src/Delegations.sol";
import {Base} from "./Base.sol";

contract DelegationsTest is Base {
    Delegations private registry = new Delegations();

    function to(address nodeKey, uint8 roles, uint256 end) private view returns (Delegations.Delegation memory) {
        return Delegations.Delegation(alice, nodeKey, roles, uint64(end));
    }

    function grant(Delegations.Delegation memory delegation) private {
        registry.grant(delegation, signed(ALICE_KEY, registry.getDigest(delegation)));
    }

    /// The digest and signature of `cargo run -p talkoo-base --example typed_data`; its signer is not its owner.
    function test_the_digest_is_that_of_pure_base() public {
        vm.chainId(825_566);
        Delegations.Delegation memory golden = Delegations.Delegation(
            0x0101010101010101010101010101010101010101, 0x0202020202020202020202020202020202020202, 7, 9
        );
        vm.assertEq(registry.getDigest(golden), 0xffbe34c61bff9df04049ae3ca33e12243b00e3e9d44b2f6cd6e7763cafe08f37);
    }

    function testFuzz_roles_are_those_granted(uint8 roles, uint8 asked) public {
        grant(to(bob, roles, START + 10));
        vm.assertTrue(registry.isActive(alice, bob, asked) == (asked & ~roles == 0));
        vm.assertFalse(registry.isActive(bob, alice, 0));
    }

    function test_expiry_ends_it() public {
        grant(to(bob, 7, START + 10));
        vm.warp(START + 9);
        vm.assertTrue(registry.isActive(alice, bob, 1));
        vm.warp(START + 10);
        vm.assertFalse(registry.isActive(alice, bob, 1));
        vm.expectPartialRevert(Delegations.NotActive.selector);
        vm.prank(alice);
        registry.revoke(bob);
    }

    function test_refused_grants() public {
        Delegations.Delegation memory delegation = to(bob, 7, START);
        bytes memory signature = signed(ALICE_KEY, registry.getDigest(delegation));
        vm.expectPartialRevert(Delegations.Expired.selector);
        registry.grant(delegation, signature);
        delegation.expiry++;
        vm.expectPartialRevert(Delegations.InvalidSignature.selector);
        registry.grant(delegation, signature);
    }

    function test_a_revoked_delegation_does_not_come_back() public {
        Delegations.Delegation memory delegation = to(bob, 7, START + 10);
        grant(delegation);
        vm.prank(alice);
        registry.revoke(bob);
        vm.assertFalse(registry.isActive(alice, bob, 0));
        bytes memory signature = signed(ALICE_KEY, registry.getDigest(delegation));
        vm.expectPartialRevert(Delegations.AlreadyUsed.selector);
        registry.grant(delegation, signature);
        grant(to(bob, 7, START + 11));
        vm.assertTrue(registry.isActive(alice, bob, 7));
    }

    function test_an_unused_delegation_can_be_voided() public {
        Delegations.Delegation memory delegation = to(bob, 7, START + 10);
        bytes memory signature = signed(ALICE_KEY, registry.getDigest(delegation));
        vm.expectPartialRevert(Delegations.InvalidSignature.selector);
        registry.voidUnused(delegation);
        vm.prank(alice);
        registry.voidUnused(delegation);
        vm.expectPartialRevert(Delegations.AlreadyUsed.selector);
        registry.grant(delegation, signature);
    }

    function test_rotation_keeps_the_history() public {
        grant(to(bob, 7, START + 100));
        vm.warp(START + 10);
        Delegations.Delegation memory next = to(carol, 1, START + 100);
        bytes memory signature = signed(ALICE_KEY, registry.getDigest(next));
        vm.expectPartialRevert(Delegations.InvalidSignature.selector);
        registry.rotate(bob, next, signature);
        vm.prank(alice);
        registry.rotate(bob, next, signature);
        vm.assertFalse(registry.isActive(alice, bob, 0));
        vm.assertTrue(registry.isActive(alice, carol, 1));
        vm.assertTrue(registry.wasActive(alice, bob, 7, START + 9));
        vm.assertFalse(registry.wasActive(alice, bob, 7, START + 10));
        vm.assertFalse(registry.wasActive(alice, carol, 1, START + 9));
        vm.assertEq(registry.history(alice).length, 2);
        vm.assertEq(registry.history(alice)[0].until, START + 10);
    }
}
