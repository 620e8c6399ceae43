// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessGrants} from "../src/AccessGrants.sol";
import {Allotments} from "../src/Allotments.sol";
import {AssetRegistry} from "../src/AssetRegistry.sol";
import {Beacon} from "../src/Beacon.sol";
import {ComputeEscrow} from "../src/ComputeEscrow.sol";
import {Credits} from "../src/Credits.sol";
import {Delegations} from "../src/Delegations.sol";
import {DepositGate, IDepositStop} from "../src/DepositGate.sol";
import {IBatchSettlement} from "../src/IBatchSettlement.sol";
import {RevenueSplit} from "../src/RevenueSplit.sol";
import {IStaking, Staking} from "../src/Staking.sol";
import {WorkerVault} from "../src/WorkerVault.sol";
import {TalkooToken} from "../src/TalkooToken.sol";
import {HookToken, Reentrant} from "./Base.sol";
import {Channels, Gift} from "./Channels.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// What all that take money have in common: the guardian stops them, and a token's hook does not enter them twice.
contract GuardsTest is Channels, IDepositStop {
    bool public depositsStopped;
    HookToken private hook = new HookToken(address(this));
    Reentrant private thief = new Reentrant();
    Staking private staking;
    Allotments private allotments;
    ComputeEscrow private escrow;
    Beacon private beacon;
    RevenueSplit private split;
    AccessGrants private access;
    WorkerVault private vault;
    bytes32 private version;

    function setUp() public {
        address[] memory nobody = new address[](0);
        staking = new Staking(Staking.Options(hook, this, admin, admin, 1, 1, 1, 1, nobody, new Staking.Initial[](0)));
        allotments = new Allotments(hook, this, settlement);
        escrow = new ComputeEscrow(hook, this);
        beacon = new Beacon(Beacon.Options(hook, this, 60, 40, 10, 1, admin));
        split = new RevenueSplit(hook, new AssetRegistry());
        access = new AccessGrants(hook, this, split);
        vault = new WorkerVault(
            WorkerVault.Options(
                hook, this, settlement, IStaking(address(staking)), new Delegations(), 1 days, admin, nobody
            )
        );
        hook.mint(address(thief), 1e6);
        address[6] memory takers =
            [address(staking), address(allotments), address(escrow), address(beacon), address(split), address(access)];
        for (uint256 i = 0; i < 6; i++) {
            thief.act(address(hook), abi.encodeCall(hook.approve, (takers[i], type(uint256).max)));
        }
        vm.startPrank(address(thief));
        uint256 asset = split.registry().create();
        version = split.registry().publish(asset, "cid", "manifest", "licence", new AssetRegistry.Parent[](0));
        access.offer(AccessGrants.Offer(version, "any", 5, 100, 50, 0, true));
        access.buy(1);
        access.buy(1);
        for (uint256 i = 0; i < 3; i++) {
            escrow.post(terms());
        }
        vm.stopPrank();
    }

    function terms() private view returns (ComputeEscrow.Terms memory) {
        address[] memory judges = new address[](1);
        judges[0] = admin;
        return ComputeEscrow.Terms("spec", 5, 5, 5, uint40(START + 100), 100, 100, 1, address(0), judges);
    }

    function channel() private view returns (IBatchSettlement.ChannelConfig memory) {
        return IBatchSettlement.ChannelConfig(alice, dave, address(vault), address(thief), address(hook), 1 days, 0);
    }

    function test_the_guardian_stops_all_that_takes_money() public {
        depositsStopped = true;
        address[7] memory takers = [
            address(staking),
            address(allotments),
            address(escrow),
            address(escrow),
            address(beacon),
            address(access),
            address(vault)
        ];
        bytes[7] memory ways = [
            abi.encodeCall(staking.bond, (5, 1)),
            abi.encodeCall(allotments.open, ("root", 5, uint40(START + 1), dave)),
            abi.encodeCall(escrow.post, (terms())),
            abi.encodeCall(escrow.take, (1)),
            abi.encodeCall(beacon.commit, ("hash")),
            abi.encodeCall(access.buy, (1)),
            abi.encodeCall(vault.reserve, (channel(), 0, uint40(START + 1)))
        ];
        for (uint256 i = 0; i < 7; i++) {
            vm.expectPartialRevert(DepositGate.DepositsStopped.selector);
            thief.act(takers[i], ways[i]);
        }
        depositsStopped = false;
        for (uint256 i = 0; i < 7; i++) {
            thief.act(takers[i], ways[i]);
        }
    }

    /// The hook of `outer` makes the call `inner`, which would go through by itself.
    function enter(address target, bytes memory outer, bytes memory inner) private {
        thief.arm(target, inner);
        thief.act(target, outer);
        vm.assertTrue(thief.tried(), "the hook was not called");
        vm.assertFalse(thief.entered());
        vm.assertEq(thief.why(), abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
        thief.arm(address(0), "");
        thief.act(target, inner);
    }

    function test_no_hook_enters_twice() public {
        enter(address(staking), abi.encodeCall(staking.bond, (5, 1)), abi.encodeCall(staking.bond, (6, 1)));
        enter(
            address(allotments),
            abi.encodeCall(allotments.open, ("one", 5, uint40(START + 1), dave)),
            abi.encodeCall(allotments.open, ("two", 5, uint40(START + 1), dave))
        );
        enter(address(escrow), abi.encodeCall(escrow.post, (terms())), abi.encodeCall(escrow.take, (1)));
        enter(address(escrow), abi.encodeCall(escrow.take, (2)), abi.encodeCall(escrow.post, (terms())));
        enter(address(access), abi.encodeCall(access.buy, (1)), abi.encodeCall(access.deliver, (1, "sealed")));
        enter(address(split), abi.encodeCall(split.pay, (version, 5)), abi.encodeCall(split.pay, (version, 6)));
        thief.arm(address(beacon), abi.encodeCall(beacon.commit, ("hash")));
        thief.act(address(beacon), abi.encodeCall(beacon.commit, ("hash")));
        vm.assertEq(thief.why(), abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
    }

    function test_no_hook_enters_a_challenge() public {
        vm.prank(address(thief));
        escrow.take(3);
        vm.prank(address(thief));
        escrow.submit(3, "result");
        Reentrant other = new Reentrant();
        hook.mint(address(other), 5);
        other.act(address(hook), abi.encodeCall(hook.approve, (address(escrow), 5)));
        other.arm(address(escrow), abi.encodeCall(escrow.withdraw, (address(other))));
        other.act(address(escrow), abi.encodeCall(escrow.challenge, (3)));
        vm.assertEq(other.why(), abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
    }

    function test_no_hook_enters_the_vault() public {
        Gift gift = new Gift();
        hook.mint(address(gift), 100);
        IBatchSettlement.ChannelConfig[] memory channels = new IBatchSettlement.ChannelConfig[](1);
        channels[0] = channel();
        settlement.deposit(channels[0], 100, address(gift), "");
        hook.listen(address(thief));
        bytes memory book = abi.encodeCall(vault.book, (channels));
        bytes[2] memory ways = [abi.encodeCall(vault.claim, (row(channels[0], 40, 40))), book];
        for (uint256 i = 0; i < 2; i++) {
            if (i == 1) thief.act(SETTLEMENT, abi.encodeCall(settlement.claim, (row(channels[0], 50, 50))));
            thief.arm(address(vault), ways[1 - i]);
            thief.act(address(vault), ways[i]);
            vm.assertEq(
                thief.why(), abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector)
            );
        }
        (uint128 held,,) = vault.accounts(address(thief));
        vm.assertEq(held, 50);
    }

    function test_a_token_that_keeps_a_fee_is_refused() public {
        FeeToken fees = new FeeToken(address(this));
        fees.mint(address(this), 100);
        Staking other = new Staking(
            Staking.Options(fees, this, admin, admin, 1, 1, 1, 1, new address[](0), new Staking.Initial[](0))
        );
        fees.approve(address(other), 100);
        vm.expectRevert(abi.encodeWithSelector(Credits.ShortTransfer.selector, 100, 99));
        other.bond(100, 1);
    }

    function test_no_treasury_no_contract() public {
        vm.expectPartialRevert(Staking.NoTreasury.selector);
        new Staking(
            Staking.Options(hook, this, admin, address(0), 1, 1, 1, 1, new address[](0), new Staking.Initial[](0))
        );
        vm.expectPartialRevert(Beacon.NoTreasury.selector);
        new Beacon(Beacon.Options(hook, this, 60, 40, 10, 1, address(0)));
    }
}

/// Burns one unit of every transfer.
contract FeeToken is TalkooToken {
    constructor(address minter) TalkooToken("Fee", "FEE", minter, minter, 0) {}

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0) && to != address(0)) super._update(to, address(0), 1);
    }
}
