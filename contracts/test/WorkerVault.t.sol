// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DepositGate, IDepositStop} from "../src/DepositGate.sol";
import {Delegations} from "../src/Delegations.sol";
import {IBatchSettlement} from "../src/IBatchSettlement.sol";
import {IStaking} from "../src/Staking.sol";
import {WorkerVault} from "../src/WorkerVault.sol";
import {Game} from "./Base.sol";
import {Channels} from "./Channels.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";

/// Stands where `Staking` stands: every operator has the bond that the test says.
contract Bonds {
    uint256 public bond;

    function set(uint256 bond_) external {
        bond = bond_;
    }

    function bondOf(address) external view returns (uint256) {
        return bond;
    }
}

abstract contract Vaults is Channels {
    address internal constant VAULT = 0x7A1C000000000000000000000000000000000002;
    uint40 internal constant WINDOW_S = 1 days;
    WorkerVault internal vault = WorkerVault(VAULT);
    Bonds internal bonds;
    Delegations internal delegations;

    constructor() {
        (bonds, delegations) = (new Bonds(), new Delegations());
        WorkerVault.Options memory options = WorkerVault.Options({
            token: token,
            gate: IDepositStop(address(0)),
            settlement: settlement,
            staking: IStaking(address(bonds)),
            delegations: delegations,
            windowS: WINDOW_S,
            admin: admin,
            slashers: new address[](1)
        });
        options.slashers[0] = address(this);
        predeploy(VAULT, abi.encodePacked(type(WorkerVault).creationCode, abi.encode(options)));
        bonds.set(2000);
    }

    /// As pure/proof makes it: the receiver is the vault, the operator its authorizer.
    function work(address operator, bytes32 salt) internal view returns (IBatchSettlement.ChannelConfig memory) {
        return IBatchSettlement.ChannelConfig(alice, dave, VAULT, operator, address(token), 1 days, salt);
    }

    function book(IBatchSettlement.ChannelConfig memory channel) internal {
        IBatchSettlement.ChannelConfig[] memory configs = new IBatchSettlement.ChannelConfig[](1);
        configs[0] = channel;
        vault.book(configs);
    }

    function held(address operator) internal view returns (uint256 amount) {
        (uint128 held_,,) = vault.accounts(operator);
        return held_;
    }
}

contract WorkerVaultTest is Vaults {
    IBatchSettlement.ChannelConfig private c;
    bytes32 private id;

    function setUp() public {
        c = work(carol, 0);
        id = settlement.getChannelId(c);
        deposit(c, 1000, 1);
    }

    function vaultClaim(address who, uint128 total) private {
        IBatchSettlement.VoucherClaim[] memory rows = row(c, total, total);
        vm.prank(who);
        vault.claim(rows);
    }

    function test_proceeds_wait_and_reach_the_operator() public {
        vaultClaim(carol, 300);
        vm.assertEq(token.balanceOf(VAULT), 300);
        vm.assertEq(held(carol), 300);
        vm.warp(START + WINDOW_S - 1);
        vault.release(carol, 9);
        vm.assertEq(vault.credit(carol), 0);
        skip(1);
        vault.release(carol, 9);
        vault.withdraw(carol);
        vm.assertEq(token.balanceOf(carol), FUNDS + 300);
        vm.assertEq(held(carol), 0);
    }

    function test_a_node_key_claims_for_a_cold_owner() public {
        IBatchSettlement.VoucherClaim[] memory rows = row(c, 300, 300);
        vm.expectPartialRevert(WorkerVault.NotOperator.selector);
        vm.prank(bob);
        vault.claim(rows);
        Delegations.Delegation memory d = Delegations.Delegation(carol, bob, 1, uint64(START + 100));
        delegations.grant(d, signed(CAROL_KEY, delegations.getDigest(d)));
        vm.prank(bob);
        vault.claim(rows);
        vm.assertEq(held(carol), 300);
        vm.assertEq(held(bob), 0);
    }

    /// Two operators claim past the vault and somebody settles the sum: each one's part is still known.
    function test_claims_past_the_vault_are_attributed() public {
        IBatchSettlement.ChannelConfig memory other = work(bob, 0);
        deposit(other, 1000, 2);
        claimAs(carol, c, 300, 300);
        claimAs(bob, other, 500, 500);
        settlement.settle(VAULT, address(token));
        book(c);
        book(other);
        book(other);
        vm.assertEq(held(carol), 300);
        vm.assertEq(held(bob), 500);
        claimAs(carol, c, 400, 400);
        book(c);
        vm.assertEq(held(carol), 400);
        vm.assertEq(vault.trancheCount(carol), 2);
    }

    function test_other_channels_are_not_ours() public {
        IBatchSettlement.ChannelConfig memory other = config(0);
        vm.expectPartialRevert(WorkerVault.NotOurs.selector);
        book(other);
        other = work(carol, 0);
        other.token = address(0x70);
        vm.expectPartialRevert(WorkerVault.NotOurs.selector);
        book(other);
    }

    function test_slashing_within_the_window_only() public {
        vaultClaim(carol, 300);
        vm.expectPartialRevert(WorkerVault.NotHeld.selector);
        vault.slash(carol, 0, 301, alice, "lie");
        vault.slash(carol, 0, 200, alice, "lie");
        vault.withdraw(alice);
        vm.assertEq(token.balanceOf(alice), FUNDS - 800);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        vm.prank(bob);
        vault.slash(carol, 0, 1, bob, "lie");
        skip(WINDOW_S);
        vm.expectPartialRevert(WorkerVault.WindowOver.selector);
        vault.slash(carol, 0, 1, alice, "lie");
        vault.release(carol, 1);
        vm.assertEq(vault.credit(carol), 100);
    }

    function test_exposure_is_bounded_over_all_channels() public {
        IBatchSettlement.ChannelConfig memory other = work(carol, bytes32(uint256(1)));
        vm.startPrank(carol);
        vault.reserve(c, 600, uint40(START + 10));
        vm.expectRevert(abi.encodeWithSelector(WorkerVault.ExposureTooHigh.selector, 1001, 1000));
        vault.reserve(other, 401, uint40(START + 10));
        vault.reserve(other, 400, uint40(START + 10));
        vm.expectPartialRevert(WorkerVault.ReservationShrinks.selector);
        vault.reserve(other, 399, uint40(START + 10));
        vm.stopPrank();
        vaultClaim(carol, 500);
        vm.assertEq(vault.exposure(carol), 1000);
        vaultClaim(carol, 700);
        vm.assertEq(vault.exposure(carol), 1100);
        bytes32 otherId = settlement.getChannelId(other);
        vm.expectPartialRevert(WorkerVault.TooEarly.selector);
        vault.lapse(otherId);
        skip(WINDOW_S);
        vault.lapse(otherId);
        vault.lapse(id);
        vault.release(carol, 9);
        vm.assertEq(vault.exposure(carol), 0);
    }

    function test_reservations_are_the_operators_and_end() public {
        vm.expectPartialRevert(WorkerVault.NotOperator.selector);
        vault.reserve(c, 1, uint40(START + 1));
        vm.startPrank(carol);
        vm.expectPartialRevert(WorkerVault.ReservationOutOfRange.selector);
        vault.reserve(c, 1, uint40(START));
        vm.expectPartialRevert(WorkerVault.ReservationOutOfRange.selector);
        vault.reserve(c, 1, uint40(START + 30 days + 1));
        vault.reserve(c, 600, uint40(START + 10));
        skip(10);
        vault.reserve(c, 5, uint40(START + 20));
        vm.assertEq(vault.exposure(carol), 5);
    }
}

/// Plays any order of calls of two operators with two channels each; the player is the slasher.
contract VaultPlayer is Vaults {
    uint256 private salts;

    function lane(uint256 i) public view returns (IBatchSettlement.ChannelConfig memory) {
        return work(i % 2 == 0 ? carol : bob, bytes32(i / 2 % 2));
    }

    function put(uint256 i, uint128 amount) external {
        deposit(lane(i), uint128(bound(amount, 1, 1000)), salts++);
    }

    function claim(uint256 i, uint128 part, bool direct) external {
        IBatchSettlement.ChannelConfig memory c = lane(i);
        (uint128 balance, uint128 claimed) = settlement.channels(settlement.getChannelId(c));
        uint128 total = uint128(bound(part, claimed, balance));
        if (direct) return claimAs(c.receiverAuthorizer, c, total, total);
        IBatchSettlement.VoucherClaim[] memory rows = row(c, total, total);
        vm.prank(c.receiverAuthorizer);
        vault.claim(rows);
    }

    function bookOne(uint256 i) external {
        book(lane(i));
    }

    function reserve(uint256 i, uint128 amount, uint256 wait) external {
        IBatchSettlement.ChannelConfig memory c = lane(i);
        vm.prank(c.receiverAuthorizer);
        vault.reserve(c, uint128(bound(amount, 0, 700)), uint40(block.timestamp + bound(wait, 1, 30 days)));
    }

    function lapse(uint256 i, uint256 wait) external {
        skip(bound(wait, 0, 3 days));
        vault.lapse(settlement.getChannelId(lane(i)));
    }

    function release(uint256 i, uint256 most, uint256 wait) external {
        skip(bound(wait, 0, 1 days));
        vault.release(i % 2 == 0 ? carol : bob, bound(most, 0, 3));
    }

    function slash(uint256 i, uint256 index, uint128 amount) external {
        address operator = i % 2 == 0 ? carol : bob;
        uint256 count = vault.trancheCount(operator);
        index = bound(index, 0, count - 1);
        (, uint128 left,) = vault.tranches(operator, index);
        vault.slash(operator, index, uint128(bound(amount, 0, left)), alice, "lie");
    }

    function take(uint256 i) external {
        vault.withdraw(person(i));
    }

    /// What is due through the vault, and what is there for it.
    function books() public view returns (uint256 due, uint256 there) {
        due = held(carol) + held(bob) + vault.credit(carol) + vault.credit(bob) + vault.credit(alice);
        (uint128 claimed, uint128 settled) = settlement.receivers(VAULT, address(token));
        there = token.balanceOf(VAULT) + claimed - settled;
        for (uint256 i = 0; i < 4; i++) {
            bytes32 id = settlement.getChannelId(lane(i));
            (, uint128 total) = settlement.channels(id);
            due += total - vault.booked(id);
        }
    }

    function reserved() external view returns (uint256 sum, uint256 counted) {
        for (uint256 i = 0; i < 4; i++) {
            (, uint128 amount,) = vault.reservations(settlement.getChannelId(lane(i)));
            sum += amount;
        }
        (, uint128 a,) = vault.accounts(carol);
        (, uint128 b,) = vault.accounts(bob);
        counted = uint256(a) + b;
    }

    function drain() external returns (uint256 left) {
        for (uint256 i = 0; i < 4; i++) {
            book(lane(i));
        }
        skip(31 days);
        for (uint256 i = 0; i < 4; i++) {
            vault.lapse(settlement.getChannelId(lane(i)));
        }
        vault.release(carol, 1000);
        vault.release(bob, 1000);
        for (uint256 i = 0; i < 3; i++) {
            if (vault.credit(person(i)) > 0) vault.withdraw(person(i));
        }
        return token.balanceOf(VAULT) + vault.exposure(carol) + vault.exposure(bob);
    }
}

contract WorkerVaultInvariants is Game {
    VaultPlayer private player;

    constructor() Game(address(player = new VaultPlayer())) {}

    function invariant_what_is_due_is_there() public view {
        (uint256 due, uint256 there) = player.books();
        require(due == there, "due is not there");
        (uint256 sum, uint256 counted) = player.reserved();
        require(sum == counted, "reservations are miscounted");
    }

    function afterInvariant() public {
        require(player.drain() == 0, "money is stuck");
    }
}
