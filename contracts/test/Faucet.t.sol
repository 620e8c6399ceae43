// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Faucet} from "../src/Faucet.sol";
import {TestCredit} from "../src/TestCredit.sol";
import {Base} from "./Base.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";

contract FaucetTest is Base {
    address payable private constant FAUCET = payable(0x7A1C00000000000000000000000000000000fA0C);
    Faucet private faucet = Faucet(FAUCET);
    TestCredit private credit;

    function setUp() public {
        credit = new TestCredit(FAUCET, new address[](0));
        Faucet.Options memory options = Faucet.Options({
            credit: credit,
            admin: admin,
            sponsors: new address[](1),
            epochS: 1 days,
            accountMost: Faucet.Pair(100, 10),
            inviteMost: Faucet.Pair(150, 15),
            epochMost: Faucet.Pair(200, 18)
        });
        options.sponsors[0] = address(this);
        predeploy(FAUCET, abi.encodePacked(type(Faucet).creationCode, abi.encode(options)));
        vm.deal(FAUCET, 1000);
    }

    function give(address to, bytes32 invite, uint128 amount, uint128 gas) private {
        faucet.grant(payable(to), invite, Faucet.Pair(amount, gas));
    }

    function refuse(string memory which, uint128 need, uint128 have) private {
        vm.expectRevert(abi.encodeWithSelector(Faucet.CapReached.selector, which, need, have));
    }

    function test_a_newcomer_gets_credit_and_gas() public {
        give(alice, "a", 60, 4);
        vm.assertEq(credit.balanceOf(alice), 60);
        vm.assertEq(alice.balance, 4);
        vm.assertEq(FAUCET.balance, 996);
    }

    function test_caps_of_account_invite_and_epoch() public {
        give(alice, "a", 60, 4);
        refuse("account", 41, 40);
        give(alice, "b", 41, 0);
        refuse("account", 7, 6);
        give(alice, "b", 0, 7);
        give(bob, "a", 90, 6);
        refuse("invite", 1, 0);
        give(carol, "a", 1, 0);
        refuse("invite", 6, 5);
        give(carol, "a", 0, 6);
        refuse("epoch", 51, 50);
        give(carol, "c", 51, 0);
        refuse("epoch", 9, 8);
        give(carol, "c", 0, 9);
        skip(1 days);
        give(carol, "c", 51, 9);
    }

    function testFuzz_no_order_of_grants_gets_past_a_cap(uint8[12] calldata amounts, uint8[12] calldata who) public {
        for (uint256 i = 0; i < 12; i++) {
            try faucet.grant(payable(person(who[i])), bytes32(uint256(who[i]) / 64), Faucet.Pair(amounts[i], 0)) {}
                catch {}
        }
        vm.assertTrue(credit.totalSupply() <= 200);
        for (uint256 i = 0; i < 4; i++) {
            vm.assertTrue(credit.balanceOf(person(i)) <= 100);
            (uint128 given,) = faucet.toInvite(bytes32(i));
            vm.assertTrue(given <= 150);
        }
    }

    function test_only_sponsors_give_and_only_the_admin_closes() public {
        vm.startPrank(alice);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        give(alice, "a", 1, 1);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        faucet.close(payable(alice));
        vm.stopPrank();
        vm.prank(admin);
        faucet.close(payable(bob));
        vm.assertEq(bob.balance, 1000);
    }
}
