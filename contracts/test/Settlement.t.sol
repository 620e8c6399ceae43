// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPermit2, OnlySettlement, Permit2DepositCollector} from "../src/DepositCollectors.sol";
import {DepositGate, IDepositStop} from "../src/DepositGate.sol";
import {IBatchSettlement, IDepositCollector} from "../src/IBatchSettlement.sol";
import {X402BatchSettlement} from "../src/X402BatchSettlement.sol";
import {HookToken, Reentrant} from "./Base.sol";
import {Channels, Gift} from "./Channels.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

contract SettlementTest is Channels, IDepositStop {
    bool public depositsStopped;
    IBatchSettlement.ChannelConfig private c;
    bytes32 private id;

    function setUp() public {
        c = config(0);
        id = settlement.getChannelId(c);
    }

    function stop() internal view override returns (IDepositStop) {
        return this;
    }

    /// The digests of `cargo run -p talkoo-base --example typed_data`.
    function test_ids_and_digests_are_those_of_pure_base() public {
        vm.chainId(825_566);
        IBatchSettlement.ChannelConfig memory golden = IBatchSettlement.ChannelConfig(
            same(1), same(2), same(3), same(4), same(5), 86_400, bytes32(uint256(6) * (type(uint256).max / 255))
        );
        vm.assertEq(settlement.getChannelId(golden), 0xdcb245ad704ccf75f9951ab24aaa7a03babe0f22e68419d2e26a6ec9b4d8540f);
        bytes32 seven = 0x0707070707070707070707070707070707070707070707070707070707070707;
        vm.assertEq(
            settlement.getVoucherDigest(seven, type(uint128).max),
            0x55d6a440f46c87becd77cc6767a71eb2e63b7db45d6c7dcaa7e49e2d0a29f2d0
        );
        // And those of viem 2.57.20 from the types of @x402/evm 2.27.0.
        vm.assertEq(
            settlement.getRefundDigest(seven, 8, 9), 0xe4b2a20b956d937a285818a8f7b790e76edf8dcacb4a5a4e0dcd82f76f1db63c
        );
        IBatchSettlement.VoucherClaim[] memory rows = new IBatchSettlement.VoucherClaim[](2);
        rows[0] = IBatchSettlement.VoucherClaim(IBatchSettlement.Voucher(golden, 60), "", 40);
        rows[1] = IBatchSettlement.VoucherClaim(IBatchSettlement.Voucher(golden, 70), "", 50);
        vm.assertEq(
            settlement.getClaimBatchDigest(rows), 0x8808940273f091d7153b9ca8607f8bc1ccd9c835293713118c2b6e124058d2f7
        );
    }

    function same(uint160 byte_) private pure returns (address) {
        return address(byte_ * uint160(0x0101010101010101010101010101010101010101));
    }

    function test_deposit_claim_settle() public {
        deposit(c, 100, 1);
        claimAs(carol, c, 60, 40);
        (uint128 balance, uint128 claimed) = settlement.channels(id);
        vm.assertEq(balance, 100);
        vm.assertEq(claimed, 40);
        settlement.settle(bob, address(token));
        settlement.settle(bob, address(token));
        vm.assertEq(token.balanceOf(bob), FUNDS + 40);
    }

    function test_claims_are_refused() public {
        deposit(c, 100, 1);
        IBatchSettlement.VoucherClaim[] memory rows = row(c, 60, 40);
        vm.expectPartialRevert(X402BatchSettlement.NotAuthorized.selector);
        vm.prank(alice);
        settlement.claim(rows);
        vm.startPrank(carol);
        vm.expectPartialRevert(X402BatchSettlement.EmptyBatch.selector);
        settlement.claim(new IBatchSettlement.VoucherClaim[](0));
        rows[0].totalClaimed = 61;
        vm.expectPartialRevert(X402BatchSettlement.ClaimExceedsVoucher.selector);
        settlement.claim(rows);
        rows[0].voucher.maxClaimableAmount = 61;
        vm.expectPartialRevert(X402BatchSettlement.InvalidSignature.selector);
        settlement.claim(rows);
        rows = row(c, 101, 101);
        vm.expectPartialRevert(X402BatchSettlement.ClaimExceedsBalance.selector);
        settlement.claim(rows);
        rows = row(c, 60, 40);
        rows[0].signature = hex"00";
        vm.expectPartialRevert(ECDSA.ECDSAInvalidSignatureLength.selector);
        settlement.claim(rows);
    }

    function test_a_late_row_is_skipped() public {
        deposit(c, 100, 1);
        claimAs(carol, c, 60, 60);
        claimAs(carol, c, 50, 50);
        (, uint128 claimed) = settlement.channels(id);
        vm.assertEq(claimed, 60);
    }

    function test_anyone_relays_what_the_authorizer_signed() public {
        deposit(c, 100, 1);
        IBatchSettlement.VoucherClaim[] memory rows = row(c, 60, 40);
        bytes memory signature = signed(CAROL_KEY, settlement.getClaimBatchDigest(rows));
        settlement.claimWithSignature(rows, signature);
        signature = signed(CAROL_KEY, settlement.getRefundDigest(id, 0, 30));
        settlement.refundWithSignature(c, 30, 0, signature);
        vm.expectRevert(abi.encodeWithSelector(X402BatchSettlement.InvalidRefundNonce.selector, 1, 0));
        settlement.refundWithSignature(c, 30, 0, signature);
        vm.expectPartialRevert(X402BatchSettlement.InvalidSignature.selector);
        settlement.refundWithSignature(c, 30, 1, signature);
        vm.assertEq(token.balanceOf(alice), FUNDS - 70);
    }

    function test_only_the_payers_side_withdraws() public {
        deposit(c, 100, 1);
        vm.startPrank(carol);
        vm.expectPartialRevert(X402BatchSettlement.NotAuthorized.selector);
        settlement.initiateWithdraw(c, 100);
        vm.expectPartialRevert(X402BatchSettlement.NotAuthorized.selector);
        settlement.finalizeWithdraw(c);
        vm.expectPartialRevert(X402BatchSettlement.ZeroAmount.selector);
        settlement.refund(c, 0);
        vm.expectPartialRevert(X402BatchSettlement.EmptyBatch.selector);
        settlement.claimWithSignature(new IBatchSettlement.VoucherClaim[](0), "");
        vm.stopPrank();
        vm.expectPartialRevert(X402BatchSettlement.ZeroAmount.selector);
        vm.prank(alice);
        settlement.initiateWithdraw(c, 0);
    }

    function test_a_batch_has_one_authorizer() public {
        IBatchSettlement.ChannelConfig memory other = config(0);
        other.receiverAuthorizer = dave;
        deposit(c, 100, 1);
        deposit(other, 100, 2);
        IBatchSettlement.VoucherClaim[] memory rows = new IBatchSettlement.VoucherClaim[](2);
        (rows[0], rows[1]) = (row(c, 60, 40)[0], row(other, 60, 40)[0]);
        bytes memory signature = signed(CAROL_KEY, settlement.getClaimBatchDigest(rows));
        vm.expectPartialRevert(X402BatchSettlement.NotAuthorized.selector);
        settlement.claimWithSignature(rows, signature);
    }

    function test_withdrawal_waits_and_leaves_what_was_claimed() public {
        deposit(c, 100, 1);
        vm.startPrank(dave);
        vm.expectPartialRevert(X402BatchSettlement.WithdrawExceedsAvailable.selector);
        settlement.initiateWithdraw(c, 101);
        settlement.initiateWithdraw(c, 100);
        vm.expectPartialRevert(X402BatchSettlement.WithdrawalPending.selector);
        settlement.initiateWithdraw(c, 1);
        vm.warp(START + 1 days - 1);
        vm.expectPartialRevert(X402BatchSettlement.WithdrawTooEarly.selector);
        settlement.finalizeWithdraw(c);
        vm.stopPrank();
        claimAs(bob, c, 40, 40);
        vm.warp(START + 1 days);
        vm.prank(alice);
        settlement.finalizeWithdraw(c);
        vm.assertEq(token.balanceOf(alice), FUNDS - 40);
        vm.expectPartialRevert(X402BatchSettlement.NoWithdrawal.selector);
        vm.prank(alice);
        settlement.finalizeWithdraw(c);
    }

    function test_refund_shrinks_a_pending_withdrawal() public {
        deposit(c, 100, 1);
        vm.prank(alice);
        settlement.initiateWithdraw(c, 50);
        vm.prank(bob);
        settlement.refund(c, 20);
        (uint128 amount,) = settlement.pendingWithdrawals(id);
        vm.assertEq(amount, 30);
        vm.prank(bob);
        settlement.refund(c, 30);
        (, uint40 since) = settlement.pendingWithdrawals(id);
        vm.assertEq(since, 0);
        vm.prank(bob);
        settlement.refund(c, 999);
        vm.assertEq(token.balanceOf(alice), FUNDS);
        vm.prank(bob);
        settlement.refund(c, 1);
        vm.assertEq(settlement.refundNonce(id), 4);
    }

    function test_bad_channels_are_refused() public {
        IBatchSettlement.ChannelConfig memory bad = config(0);
        bad.withdrawDelay = 899;
        vm.expectPartialRevert(X402BatchSettlement.WithdrawDelayOutOfRange.selector);
        settlement.deposit(bad, 1, ERC3009_COLLECTOR, "");
        bad.withdrawDelay = 30 days + 1;
        vm.expectPartialRevert(X402BatchSettlement.WithdrawDelayOutOfRange.selector);
        settlement.deposit(bad, 1, ERC3009_COLLECTOR, "");
        bad = config(0);
        bad.receiverAuthorizer = address(0);
        vm.expectPartialRevert(X402BatchSettlement.InvalidChannel.selector);
        settlement.deposit(bad, 1, ERC3009_COLLECTOR, "");
        vm.expectPartialRevert(X402BatchSettlement.ZeroAmount.selector);
        settlement.deposit(c, 0, ERC3009_COLLECTOR, "");
    }

    function test_an_authorization_pays_its_channel_only() public {
        bytes memory data = authorization(id, 100, 1);
        vm.expectPartialRevert(OnlySettlement.NotSettlement.selector);
        IDepositCollector(ERC3009_COLLECTOR).collect(alice, address(token), 100, id, data);
        IBatchSettlement.ChannelConfig memory other = config(bytes32(uint256(1)));
        vm.expectRevert();
        settlement.deposit(other, 100, ERC3009_COLLECTOR, data);
    }

    function test_a_collector_that_brings_too_little_is_refused() public {
        address empty = address(new Reentrant());
        vm.expectRevert(abi.encodeWithSelector(X402BatchSettlement.DepositShort.selector, 5, 0));
        settlement.deposit(c, 5, empty, "");
    }

    function test_the_guardian_stops_deposits_never_exits() public {
        deposit(c, 100, 1);
        depositsStopped = true;
        bytes memory data = authorization(id, 1, 2);
        vm.expectPartialRevert(DepositGate.DepositsStopped.selector);
        settlement.deposit(c, 1, ERC3009_COLLECTOR, data);
        claimAs(bob, c, 40, 40);
        settlement.settle(bob, address(token));
        vm.prank(bob);
        settlement.refund(c, 10);
        vm.prank(alice);
        settlement.initiateWithdraw(c, 50);
        skip(1 days);
        vm.prank(alice);
        settlement.finalizeWithdraw(c);
        vm.assertEq(token.balanceOf(SETTLEMENT), 0);
    }

    function test_multicall_claims_and_settles() public {
        deposit(c, 100, 1);
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(settlement.claim, (row(c, 60, 60)));
        calls[1] = abi.encodeCall(settlement.settle, (bob, address(token)));
        vm.prank(bob);
        settlement.multicall(calls);
        vm.assertEq(token.balanceOf(bob), FUNDS + 60);
    }

    function test_a_hook_cannot_reenter() public {
        HookToken hook = new HookToken(address(this));
        Reentrant thief = new Reentrant();
        IBatchSettlement.ChannelConfig memory channel = IBatchSettlement.ChannelConfig(
            address(thief), dave, address(thief), address(thief), address(hook), 1 days, 0
        );
        Gift gift = new Gift();
        hook.mint(address(gift), 100);
        settlement.deposit(channel, 100, address(gift), "");
        thief.act(SETTLEMENT, abi.encodeCall(settlement.claim, (row(channel, 50, 50))));
        thief.arm(SETTLEMENT, abi.encodeCall(settlement.settle, (address(thief), address(hook))));
        settlement.settle(address(thief), address(hook));
        vm.assertTrue(thief.tried() && !thief.entered());
        thief.arm(SETTLEMENT, abi.encodeCall(settlement.refund, (channel, 25)));
        thief.act(SETTLEMENT, abi.encodeCall(settlement.refund, (channel, 25)));
        vm.assertTrue(thief.tried() && !thief.entered());
        vm.assertEq(hook.balanceOf(address(thief)), 75);
    }

    /// One transfer must not count for two deposits, nor may a collector do anything else meanwhile.
    function test_a_collector_cannot_enter() public {
        HookToken hook = new HookToken(address(this));
        (Gift gift, Reentrant thief) = (new Gift(), new Reentrant());
        hook.mint(address(gift), 200);
        hook.listen(address(thief));
        IBatchSettlement.ChannelConfig memory channel = IBatchSettlement.ChannelConfig(
            address(thief), dave, address(thief), address(thief), address(hook), 1 days, 0
        );
        IBatchSettlement.VoucherClaim[] memory rows = row(channel, 50, 50);
        bytes[7] memory ways = [
            abi.encodeCall(settlement.deposit, (channel, 100, address(gift), "")),
            abi.encodeCall(settlement.claim, (rows)),
            abi.encodeCall(settlement.claimWithSignature, (rows, "")),
            abi.encodeCall(settlement.initiateWithdraw, (channel, 1)),
            abi.encodeCall(settlement.finalizeWithdraw, (channel)),
            abi.encodeCall(settlement.refundWithSignature, (channel, 1, 0, "")),
            abi.encodeCall(settlement.settle, (address(thief), address(hook)))
        ];
        for (uint256 i = 0; i < 7; i++) {
            thief.arm(SETTLEMENT, ways[i]);
            settlement.deposit(channel, 1, address(gift), "");
            vm.assertEq(
                thief.why(), abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector)
            );
        }
    }

    function test_permit2_pays_into_its_channel() public {
        Permit2 permit2 = new Permit2();
        Permit2DepositCollector collector = new Permit2DepositCollector(SETTLEMENT, IPermit2(address(permit2)));
        bytes32 structHash = keccak256(
            abi.encode(
                permit2.PERMIT_TYPEHASH(),
                keccak256(abi.encode(permit2.PERMISSIONS_TYPEHASH(), address(token), 100)),
                address(collector),
                7,
                START,
                keccak256(abi.encode(keccak256("DepositWitness(bytes32 channelId)"), id))
            )
        );
        bytes memory signature = signed(ALICE_KEY, permit2.digest(structHash));
        bytes memory data = abi.encode(7, START, signature, approval(address(permit2), 100));
        IBatchSettlement.ChannelConfig memory other = config(bytes32(uint256(1)));
        vm.expectPartialRevert(Permit2.InvalidSigner.selector);
        settlement.deposit(other, 100, address(collector), data);
        vm.expectPartialRevert(OnlySettlement.NotSettlement.selector);
        collector.collect(alice, address(token), 100, id, data);
        settlement.deposit(c, 100, address(collector), data);
        (uint128 balance,) = settlement.channels(id);
        vm.assertEq(balance, 100);
    }

    /// Alice's ERC-2612 approval, as collector data has it.
    function approval(address spender, uint256 amount) private view returns (bytes memory) {
        bytes32 permit = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 structHash = keccak256(abi.encode(permit, alice, spender, amount, 0, START));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(ALICE_KEY, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
        return abi.encode(amount, START, v, r, s);
    }
}

/// What Permit2 does with a witness, from its documented types; nonces apart.
contract Permit2 {
    bytes32 public constant PERMISSIONS_TYPEHASH = keccak256("TokenPermissions(address token,uint256 amount)");
    bytes32 public constant PERMIT_TYPEHASH = keccak256(
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,DepositWitness witness)DepositWitness(bytes32 channelId)TokenPermissions(address token,uint256 amount)"
    );

    error InvalidSigner();

    function digest(bytes32 structHash) public view returns (bytes32) {
        bytes32 domain = keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
        bytes32 separator = keccak256(abi.encode(domain, keccak256("Permit2"), block.chainid, address(this)));
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }

    function permitWitnessTransferFrom(
        IPermit2.PermitTransferFrom calldata permit,
        IPermit2.SignatureTransferDetails calldata details,
        address owner,
        bytes32 witness,
        string calldata witnessType,
        bytes calldata signature
    ) external {
        bytes32 typeHash = keccak256(
            abi.encodePacked(
                "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,",
                witnessType
            )
        );
        bytes32 permitted = keccak256(abi.encode(PERMISSIONS_TYPEHASH, permit.permitted));
        bytes32 structHash =
            keccak256(abi.encode(typeHash, permitted, msg.sender, permit.nonce, permit.deadline, witness));
        require(ECDSA.recover(digest(structHash), signature) == owner, InvalidSigner());
        HookToken(permit.permitted.token).transferFrom(owner, details.to, details.requestedAmount);
    }
}
