// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC3009DepositCollector} from "../src/DepositCollectors.sol";
import {IDepositStop} from "../src/DepositGate.sol";
import {IBatchSettlement, IDepositCollector} from "../src/IBatchSettlement.sol";
import {X402BatchSettlement} from "../src/X402BatchSettlement.sol";
import {Base, HookToken} from "./Base.sol";

/// A settlement at its address, as in a genesis, and channels from Alice (Dave signs) to Bob (Carol claims).
abstract contract Channels is Base {
    address internal constant SETTLEMENT = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;
    address internal constant ERC3009_COLLECTOR = 0x4020806089470a89826cB9fB1f4059150b550004;
    bytes32 internal constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    X402BatchSettlement internal settlement = X402BatchSettlement(SETTLEMENT);

    constructor() {
        predeploy(SETTLEMENT, abi.encodePacked(type(X402BatchSettlement).creationCode, abi.encode(stop())));
        predeploy(
            ERC3009_COLLECTOR, abi.encodePacked(type(ERC3009DepositCollector).creationCode, abi.encode(SETTLEMENT))
        );
    }

    function stop() internal virtual returns (IDepositStop) {
        return IDepositStop(address(0));
    }

    function config(bytes32 salt) internal view returns (IBatchSettlement.ChannelConfig memory) {
        return IBatchSettlement.ChannelConfig(alice, dave, bob, carol, address(token), 1 days, salt);
    }

    /// What Alice signs for a deposit, as collector data.
    function authorization(bytes32 channelId, uint256 amount, uint256 salt) internal view returns (bytes memory) {
        uint256 end = block.timestamp + 1 hours;
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        bytes32 structHash = keccak256(abi.encode(RECEIVE, alice, ERC3009_COLLECTOR, amount, 0, end, nonce));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
        return abi.encode(uint256(0), end, salt, signed(ALICE_KEY, digest));
    }

    function deposit(IBatchSettlement.ChannelConfig memory channel, uint128 amount, uint256 salt) internal {
        bytes memory data = authorization(settlement.getChannelId(channel), amount, salt);
        settlement.deposit(channel, amount, ERC3009_COLLECTOR, data);
    }

    /// A row that claims `total` of a voucher for `most`, which Dave signed.
    function row(IBatchSettlement.ChannelConfig memory channel, uint128 most, uint128 total)
        internal
        view
        returns (IBatchSettlement.VoucherClaim[] memory rows)
    {
        bytes32 digest = settlement.getVoucherDigest(settlement.getChannelId(channel), most);
        rows = new IBatchSettlement.VoucherClaim[](1);
        rows[0] =
            IBatchSettlement.VoucherClaim(IBatchSettlement.Voucher(channel, most), signed(DAVE_KEY, digest), total);
    }

    function claimAs(address who, IBatchSettlement.ChannelConfig memory channel, uint128 most, uint128 total) internal {
        IBatchSettlement.VoucherClaim[] memory rows = row(channel, most, total);
        vm.prank(who);
        settlement.claim(rows);
    }
}

/// A collector that gives tokens of its own.
contract Gift is IDepositCollector {
    function collect(address, address token, uint256 amount, bytes32, bytes calldata) external {
        HookToken(token).transfer(msg.sender, amount);
    }

    fallback() external {}
}
