// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title x402 v2 `batch-settlement` on EVM chains: what other contracts ask of it
/// @notice Source: specs/schemes/batch-settlement/scheme_batch_settlement_evm.md of x402, the ABI of @x402/evm 2.27.0.
interface IBatchSettlement {
    /// @param payer who deposits
    /// @param payerAuthorizer whose key signs vouchers; zero: the payer, also as a contract (ERC-1271)
    /// @param receiver where settled money goes
    /// @param receiverAuthorizer who may claim and refund for the receiver
    /// @param token paid in
    /// @param withdrawDelay seconds between asking back the deposit and getting it
    /// @param salt makes several channels between the same two possible
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }

    struct Voucher {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }

    /// @param totalClaimed what shall be claimed in all, at most the voucher's amount
    struct VoucherClaim {
        Voucher voucher;
        bytes signature;
        uint128 totalClaimed;
    }

    function claim(VoucherClaim[] calldata voucherClaims) external;
    function settle(address receiver, address token) external;
    function getChannelId(ChannelConfig calldata config) external view returns (bytes32);
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) external view returns (bytes32);
    function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);
}

/// @notice Moves a payer's tokens to the settlement that calls it.
interface IDepositCollector {
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData)
        external;
}
