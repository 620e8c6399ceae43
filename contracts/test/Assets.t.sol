// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessGrants} from "../src/AccessGrants.sol";
import {AssetRegistry} from "../src/AssetRegistry.sol";
import {IDepositStop} from "../src/DepositGate.sol";
import {RevenueSplit} from "../src/RevenueSplit.sol";
import {Base, Game} from "./Base.sol";

abstract contract Assets is Base {
    AssetRegistry internal registry;
    RevenueSplit internal split;
    AccessGrants internal access;

    function newAssets() internal {
        registry = new AssetRegistry();
        split = new RevenueSplit(token, registry);
        access = new AccessGrants(token, IDepositStop(address(0)), split);
        approveAll(address(split));
        approveAll(address(access));
    }

    function create(address who) internal returns (uint256) {
        vm.prank(who);
        return registry.create();
    }

    function parents(bytes32 a, uint16 x, bytes32 b, uint16 y) internal pure returns (AssetRegistry.Parent[] memory p) {
        p = new AssetRegistry.Parent[](a == 0 ? 0 : b == 0 ? 1 : 2);
        if (a != 0) p[0] = AssetRegistry.Parent(a, x);
        if (b != 0) p[1] = AssetRegistry.Parent(b, y);
    }

    function publish(address who, uint256 asset, bytes32 cid, AssetRegistry.Parent[] memory from)
        internal
        returns (bytes32)
    {
        vm.prank(who);
        return registry.publish(asset, cid, "manifest", "licence", from);
    }

    /// Alice's data, Bob's model made from it (20 %), Carol's made from both (30 %, 10 %).
    function family() internal returns (bytes32 data, bytes32 model, bytes32 tuned) {
        data = publish(alice, create(alice), "data", parents(0, 0, 0, 0));
        model = publish(bob, create(bob), "model", parents(data, 2_000, 0, 0));
        tuned = publish(carol, create(carol), "tuned", parents(model, 3_000, data, 1_000));
    }
}

contract AssetsTest is Assets {
    function setUp() public {
        newAssets();
    }

    function test_versions_and_their_states() public {
        (bytes32 data,, bytes32 tuned) = family();
        vm.assertEq(registry.versionOf(tuned).depth, 2);
        vm.assertEq(registry.versionsOf(1)[0], data);
        vm.expectPartialRevert(AssetRegistry.AlreadyPublished.selector);
        publish(alice, 1, "data", parents(0, 0, 0, 0));
        vm.expectPartialRevert(AssetRegistry.NotOwner.selector);
        vm.prank(bob);
        registry.deprecate(data);
        vm.startPrank(alice);
        registry.deprecate(data);
        vm.expectPartialRevert(AssetRegistry.WrongState.selector);
        registry.deprecate(data);
        registry.revoke(data);
        vm.expectPartialRevert(AssetRegistry.WrongState.selector);
        registry.deprecate(data);
        vm.expectPartialRevert(AssetRegistry.WrongState.selector);
        registry.revoke("none");
        vm.stopPrank();
        vm.expectPartialRevert(AssetRegistry.BadParent.selector);
        publish(bob, 2, "next", parents(data, 1, 0, 0));
    }

    function test_refused_versions() public {
        (bytes32 data, bytes32 model,) = family();
        vm.expectPartialRevert(AssetRegistry.NotOwner.selector);
        publish(bob, 1, "x", parents(0, 0, 0, 0));
        vm.expectPartialRevert(AssetRegistry.NotOwner.selector);
        publish(bob, 99, "x", parents(0, 0, 0, 0));
        vm.expectPartialRevert(AssetRegistry.SharesTooHigh.selector);
        publish(bob, 2, "x", parents(data, 9_000, model, 1_001));
        vm.expectPartialRevert(AssetRegistry.BadParent.selector);
        publish(bob, 2, "x", parents("none", 1, 0, 0));
        vm.expectPartialRevert(AssetRegistry.TooManyParents.selector);
        publish(bob, 2, "x", new AssetRegistry.Parent[](9));
        bytes32 last = data;
        for (uint256 i = 1; i <= 8; i++) {
            last = publish(bob, 2, bytes32(i), parents(last, 1, 0, 0));
        }
        vm.expectPartialRevert(AssetRegistry.TooDeep.selector);
        publish(bob, 2, "deep", parents(last, 1, 0, 0));
    }

    function test_income_reaches_all_ancestors() public {
        (bytes32 data, bytes32 model, bytes32 tuned) = family();
        vm.prank(dave);
        split.pay(tuned, 1000);
        split.distribute(tuned);
        split.distribute(model);
        split.distribute(data);
        vm.assertEq(split.credit(carol), 600);
        vm.assertEq(split.credit(bob), 240);
        vm.assertEq(split.credit(alice), 160);
        vm.expectPartialRevert(RevenueSplit.UnknownVersion.selector);
        split.pay("none", 1);
        vm.expectPartialRevert(RevenueSplit.UnknownVersion.selector);
        split.distribute("none");
    }

    function test_a_sold_asset_earns_for_its_new_owner() public {
        (,, bytes32 tuned) = family();
        vm.prank(carol);
        registry.transferFrom(carol, dave, 3);
        vm.prank(alice);
        split.pay(tuned, 1000);
        split.distribute(tuned);
        vm.assertEq(split.credit(dave), 600);
    }

    function offered(uint32 uses) private returns (uint256 id, bytes32 tuned) {
        (,, tuned) = family();
        vm.prank(carol);
        id = access.offer(AccessGrants.Offer(tuned, "research", 1000, 100, 50, uses, true));
    }

    function buy(uint256 id) private returns (uint256) {
        vm.prank(dave);
        return access.buy(id);
    }

    function test_bought_delivered_used_up() public {
        (uint256 id, bytes32 tuned) = offered(2);
        uint256 grant = buy(id);
        vm.assertFalse(access.isActive(grant, dave));
        vm.prank(carol);
        access.deliver(grant, "sealed");
        vm.assertEq(split.due(tuned), 1000);
        vm.assertTrue(access.isActive(grant, dave));
        vm.assertFalse(access.isActive(grant, bob));
        vm.startPrank(dave);
        access.use(grant);
        access.use(grant);
        vm.expectPartialRevert(AccessGrants.UsedUp.selector);
        access.use(grant);
        vm.assertFalse(access.isActive(grant, dave));
    }

    function test_access_ends_with_time_or_by_revocation() public {
        (uint256 id,) = offered(0);
        (uint256 first, uint256 second) = (buy(id), buy(id));
        vm.startPrank(carol);
        access.deliver(first, "sealed");
        access.deliver(second, "sealed");
        access.revoke(second);
        vm.expectPartialRevert(AccessGrants.WrongState.selector);
        access.revoke(second);
        vm.stopPrank();
        vm.assertFalse(access.isActive(second, dave));
        skip(99);
        vm.assertTrue(access.isActive(first, dave));
        skip(1);
        vm.assertFalse(access.isActive(first, dave));
        vm.expectPartialRevert(AccessGrants.TooLate.selector);
        vm.prank(dave);
        access.use(first);
    }

    function test_what_is_not_delivered_is_refunded() public {
        (uint256 id,) = offered(0);
        uint256 grant = buy(id);
        skip(50);
        vm.expectPartialRevert(AccessGrants.TooEarly.selector);
        access.refund(grant);
        skip(1);
        vm.expectPartialRevert(AccessGrants.TooLate.selector);
        vm.prank(carol);
        access.deliver(grant, "sealed");
        access.refund(grant);
        vm.expectPartialRevert(AccessGrants.WrongState.selector);
        access.refund(grant);
        access.withdraw(dave);
        vm.assertEq(token.balanceOf(dave), FUNDS);
    }

    function test_whom_the_owner_let_may_deliver() public {
        (uint256 id,) = offered(0);
        (uint256 other,) = offered(0);
        uint256 grant = buy(id);
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        vm.prank(alice);
        access.setDeliverer(id, alice, true);
        vm.startPrank(carol);
        access.setDeliverer(other, alice, true);
        vm.stopPrank();
        vm.prank(alice);
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        access.deliver(grant, "sealed");
        vm.prank(carol);
        access.setDeliverer(id, alice, true);
        vm.startPrank(alice);
        access.deliver(grant, "sealed");
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        access.revoke(grant);
        vm.stopPrank();
        vm.assertTrue(access.isActive(grant, dave));
        // Who buys the asset did not choose them, and a word that was taken back counts no more.
        (uint256 second, uint256 third) = (buy(id), buy(other));
        vm.startPrank(carol);
        access.setDeliverer(other, alice, false);
        registry.transferFrom(carol, bob, registry.versionOf(offerVersion(id)).asset);
        vm.stopPrank();
        vm.startPrank(alice);
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        access.deliver(second, "sealed");
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        access.deliver(third, "sealed");
        vm.stopPrank();
    }

    function offerVersion(uint256 id) private view returns (bytes32 version) {
        (version,,,,,,) = access.offers(id);
    }

    function test_refused_access() public {
        (uint256 id, bytes32 tuned) = offered(0);
        uint256 grant = buy(id);
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        access.deliver(grant, "sealed");
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        access.closeOffer(id);
        vm.prank(carol);
        access.deliver(grant, "sealed");
        vm.expectPartialRevert(AccessGrants.NotGrantee.selector);
        access.use(grant);
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        access.revoke(grant);
        vm.expectPartialRevert(AccessGrants.NotOwner.selector);
        access.offer(AccessGrants.Offer(tuned, "research", 1, 100, 50, 0, true));
        vm.startPrank(carol);
        vm.expectPartialRevert(AccessGrants.BadTerms.selector);
        access.offer(AccessGrants.Offer(tuned, "research", 1, 0, 50, 0, true));
        access.closeOffer(id);
        uint256 next = access.offer(AccessGrants.Offer(tuned, "research", 1, 100, 50, 0, true));
        registry.revoke(tuned);
        vm.expectPartialRevert(AccessGrants.BadTerms.selector);
        access.offer(AccessGrants.Offer(tuned, "research", 1, 100, 50, 0, true));
        vm.stopPrank();
        vm.expectPartialRevert(AccessGrants.NotOffered.selector);
        buy(id);
        vm.expectPartialRevert(AccessGrants.NotOffered.selector);
        buy(next);
    }
}

/// Plays any order of payments, distributions, purchases and deliveries on one family.
contract AssetPlayer is Assets {
    bytes32[3] private versions;

    constructor() {
        newAssets();
        (versions[0], versions[1], versions[2]) = family();
        for (uint256 i = 0; i < 3; i++) {
            vm.prank(person(i));
            access.offer(AccessGrants.Offer(versions[i], "any", uint128(100 * i + 1), 100, 50, 0, true));
        }
    }

    function pay(uint256 who, uint256 i, uint256 amount) external {
        vm.prank(person(who));
        split.pay(versions[i % 3], bound(amount, 0, 1000));
    }

    function distribute(uint256 i) external {
        split.distribute(versions[i % 3]);
    }

    function buy(uint256 who, uint256 i) external {
        vm.prank(person(who));
        access.buy(i % 3 + 1);
    }

    function deliver(uint256 i) external {
        i = pick(i);
        (,,,, uint256 offer,) = access.grants(i);
        vm.prank(person(offer - 1));
        access.deliver(i, "sealed");
    }

    function refund(uint256 i, uint256 wait) external {
        skip(bound(wait, 0, 40));
        access.refund(pick(i));
    }

    function take(uint256 who, bool fromSplit) external {
        if (fromSplit) split.withdraw(person(who));
        else access.withdraw(person(who));
    }

    function pick(uint256 i) private view returns (uint256) {
        return bound(i, 1, access.grantCount());
    }

    function books() external view returns (uint256 inSplit, uint256 dueSplit, uint256 inAccess, uint256 dueAccess) {
        (inSplit, inAccess) = (token.balanceOf(address(split)), token.balanceOf(address(access)));
        for (uint256 i = 0; i < 4; i++) {
            dueSplit += split.credit(person(i));
            dueAccess += access.credit(person(i));
            if (i < 3) dueSplit += split.due(versions[i]);
        }
        for (uint256 i = 1; i <= access.grantCount(); i++) {
            (AccessGrants.State state,,,, uint256 offer,) = access.grants(i);
            if (state == AccessGrants.State.Paid) dueAccess += 100 * (offer - 1) + 1;
        }
    }

    function drain() external {
        skip(51);
        for (uint256 i = 1; i <= access.grantCount(); i++) {
            (AccessGrants.State state,,,,,) = access.grants(i);
            if (state == AccessGrants.State.Paid) access.refund(i);
        }
        for (uint256 i = 3; i > 0; i--) {
            split.distribute(versions[i - 1]);
        }
        for (uint256 i = 0; i < 4; i++) {
            if (access.credit(person(i)) > 0) access.withdraw(person(i));
            if (split.credit(person(i)) > 0) split.withdraw(person(i));
        }
    }
}

contract AssetInvariants is Game {
    AssetPlayer private player;

    constructor() Game(address(player = new AssetPlayer())) {}

    function invariant_income_is_backed() public view {
        (uint256 inSplit, uint256 dueSplit, uint256 inAccess, uint256 dueAccess) = player.books();
        require(inSplit == dueSplit && inAccess == dueAccess, "held is not owed");
    }

    function afterInvariant() public {
        player.drain();
        (uint256 inSplit,, uint256 inAccess,) = player.books();
        require(inSplit + inAccess == 0, "money is stuck");
    }
}
