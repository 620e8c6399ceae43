// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DepositGate, IDepositStop} from "./DepositGate.sol";
import {IBatchSettlement, IDepositCollector} from "./IBatchSettlement.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Payment channels of x402 v2 `batch-settlement`, written from its specification
/// @notice A channel is its config; its id is the config's EIP-712 digest. `balance` is what was deposited less what
/// was withdrawn or refunded, `totalClaimed` (never above it) what belongs to the receiver.
///
///   Absent ──deposit──► Open ──claim*──► Open ──settle──► (receiver paid)
///                        │ ▲ │
///        initiateWithdraw│ │ └─refund──► Open, less at stake (all refunded: Absent)
///                        ▼ │
///                     Leaving(amount, since) ──after withdrawDelay: finalizeWithdraw──► Open or Absent
///
/// Claims and refunds go on while Leaving: the receiver has `withdrawDelay` seconds to claim.
contract X402BatchSettlement is IBatchSettlement, EIP712, Multicall, ReentrancyGuardTransient, DepositGate {
    using SafeERC20 for IERC20;

    struct Channel {
        uint128 balance;
        uint128 totalClaimed;
    }

    struct Withdrawal {
        uint128 amount;
        uint40 initiatedAt;
    }

    struct Receiver {
        uint128 totalClaimed;
        uint128 totalSettled;
    }

    bytes32 public constant CHANNEL_CONFIG_TYPEHASH = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 private constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 private constant REFUND_TYPEHASH = keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    string private constant CLAIM_ENTRY =
        "ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)";
    bytes32 private constant CLAIM_ENTRY_TYPEHASH = keccak256(bytes(CLAIM_ENTRY));
    bytes32 private constant CLAIM_BATCH_TYPEHASH =
        keccak256(abi.encodePacked("ClaimBatch(ClaimEntry[] claims)", CLAIM_ENTRY));

    /// Least and most seconds between {initiateWithdraw} and {finalizeWithdraw}.
    uint40 public constant MIN_WITHDRAW_DELAY = 15 minutes;
    uint40 public constant MAX_WITHDRAW_DELAY = 30 days;

    mapping(bytes32 channelId => Channel) public channels;
    mapping(bytes32 channelId => Withdrawal) public pendingWithdrawals;
    mapping(bytes32 channelId => uint256) public refundNonce;
    mapping(address receiver => mapping(address token => Receiver)) public receivers;

    event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
    event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
    event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
    event Claimed(bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed);
    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
    event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
    event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter);
    event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount);

    error InvalidChannel();
    error WithdrawDelayOutOfRange(uint40 delay);
    error ZeroAmount();
    error EmptyBatch();
    error NotAuthorized(address caller);
    error InvalidSignature();
    error InvalidRefundNonce(uint256 need, uint256 have);
    error DepositShort(uint256 need, uint256 have);
    error ClaimExceedsVoucher(uint128 need, uint128 have);
    error ClaimExceedsBalance(uint128 need, uint128 have);
    error WithdrawExceedsAvailable(uint128 need, uint128 have);
    error WithdrawalPending();
    error NoWithdrawal();
    error WithdrawTooEarly(uint256 finalizeAfter);

    constructor(IDepositStop gate_) EIP712("x402 Batch Settlement", "1") DepositGate(gate_) {}

    /// @notice Adds `amount` to a channel; anyone may relay, the collector checks the payer's consent.
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData)
        external
        nonReentrant
        depositsOpen
    {
        require(amount > 0, ZeroAmount());
        require(
            config.payer != address(0) && config.receiver != address(0) && config.receiverAuthorizer != address(0)
                && config.token != address(0),
            InvalidChannel()
        );
        require(
            config.withdrawDelay >= MIN_WITHDRAW_DELAY && config.withdrawDelay <= MAX_WITHDRAW_DELAY,
            WithdrawDelayOutOfRange(config.withdrawDelay)
        );
        bytes32 id = getChannelId(config);
        Channel storage channel = channels[id];
        if (channel.balance == 0) emit ChannelCreated(id, config);
        channel.balance += amount;
        emit Deposited(id, msg.sender, amount, channel.balance);

        uint256 before = IERC20(config.token).balanceOf(address(this));
        IDepositCollector(collector).collect(config.payer, config.token, amount, id, collectorData);
        uint256 got = IERC20(config.token).balanceOf(address(this)) - before;
        require(got >= amount, DepositShort(amount, got));
    }

    /// @notice Books vouchers; the caller is receiver or receiverAuthorizer of every row. No money moves.
    function claim(VoucherClaim[] calldata voucherClaims) external nonReentrant {
        require(voucherClaims.length > 0, EmptyBatch());
        for (uint256 i = 0; i < voucherClaims.length; i++) {
            ChannelConfig calldata config = voucherClaims[i].voucher.channel;
            _onlyReceiverSide(config);
            _claim(voucherClaims[i]);
        }
    }

    /// @notice As {claim}, relayed by anyone: the rows' one receiverAuthorizer signed the batch.
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature)
        external
        nonReentrant
    {
        require(voucherClaims.length > 0, EmptyBatch());
        address authorizer = voucherClaims[0].voucher.channel.receiverAuthorizer;
        bytes32 digest = getClaimBatchDigest(voucherClaims);
        _checkSignature(authorizer, digest, authorizerSignature);
        for (uint256 i = 0; i < voucherClaims.length; i++) {
            require(voucherClaims[i].voucher.channel.receiverAuthorizer == authorizer, NotAuthorized(authorizer));
            _claim(voucherClaims[i]);
        }
    }

    /// @notice Sends a receiver all that was claimed and not yet settled; anyone may call, nothing to send is no error.
    function settle(address receiver, address token) external nonReentrant {
        Receiver storage account = receivers[receiver][token];
        uint128 amount = account.totalClaimed - account.totalSettled;
        if (amount == 0) return;
        account.totalSettled = account.totalClaimed;
        emit Settled(receiver, token, msg.sender, amount);
        IERC20(token).safeTransfer(receiver, amount);
    }

    /// @notice Payer's side: asks back `amount` of what is not claimed; starts the receiver's time to claim.
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        _onlyPayerSide(config);
        bytes32 id = getChannelId(config);
        uint128 available = _available(channels[id]);
        require(amount > 0, ZeroAmount());
        require(amount <= available, WithdrawExceedsAvailable(amount, available));
        require(pendingWithdrawals[id].initiatedAt == 0, WithdrawalPending());
        pendingWithdrawals[id] = Withdrawal(amount, uint40(block.timestamp));
        emit WithdrawInitiated(id, amount, uint40(block.timestamp) + config.withdrawDelay);
    }

    /// @notice Payer's side, after the delay: pays back what was asked for, or what is still unclaimed of it.
    function finalizeWithdraw(ChannelConfig calldata config) external nonReentrant {
        _onlyPayerSide(config);
        bytes32 id = getChannelId(config);
        Withdrawal memory pending = pendingWithdrawals[id];
        require(pending.initiatedAt != 0, NoWithdrawal());
        uint256 finalizeAfter = uint256(pending.initiatedAt) + config.withdrawDelay;
        require(block.timestamp >= finalizeAfter, WithdrawTooEarly(finalizeAfter));
        delete pendingWithdrawals[id];
        uint128 available = _available(channels[id]);
        uint128 amount = pending.amount < available ? pending.amount : available;
        emit WithdrawFinalized(id, msg.sender, amount);
        _payBack(id, config, amount);
    }

    /// @notice Receiver's side: gives back up to `amount` of what is not claimed.
    function refund(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        _onlyReceiverSide(config);
        _refund(config, amount);
    }

    /// @notice As {refund}, relayed by anyone: the receiverAuthorizer signed channel, nonce and amount.
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external nonReentrant {
        bytes32 id = getChannelId(config);
        require(nonce == refundNonce[id], InvalidRefundNonce(refundNonce[id], nonce));
        _checkSignature(config.receiverAuthorizer, getRefundDigest(id, nonce, amount), receiverAuthorizerSignature);
        _refund(config, amount);
    }

    /// @inheritdoc IBatchSettlement
    function getChannelId(ChannelConfig calldata config) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CHANNEL_CONFIG_TYPEHASH, config)));
    }

    /// @inheritdoc IBatchSettlement
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, maxClaimableAmount)));
    }

    /// @notice What the receiverAuthorizer signs for {refundWithSignature}.
    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REFUND_TYPEHASH, channelId, nonce, amount)));
    }

    /// @notice What the receiverAuthorizer signs for {claimWithSignature}.
    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) public view returns (bytes32) {
        bytes32[] memory rows = new bytes32[](voucherClaims.length);
        for (uint256 i = 0; i < rows.length; i++) {
            VoucherClaim calldata row = voucherClaims[i];
            bytes32 id = getChannelId(row.voucher.channel);
            rows[i] = keccak256(abi.encode(CLAIM_ENTRY_TYPEHASH, id, row.voucher.maxClaimableAmount, row.totalClaimed));
        }
        return _hashTypedDataV4(keccak256(abi.encode(CLAIM_BATCH_TYPEHASH, keccak256(abi.encodePacked(rows)))));
    }

    /// A row that claims nothing new is skipped, so that a late one does not sink its batch.
    function _claim(VoucherClaim calldata row) private {
        ChannelConfig calldata config = row.voucher.channel;
        bytes32 id = getChannelId(config);
        Channel storage channel = channels[id];
        (uint128 total, uint128 most) = (row.totalClaimed, row.voucher.maxClaimableAmount);
        require(total <= most, ClaimExceedsVoucher(total, most));
        require(total <= channel.balance, ClaimExceedsBalance(total, channel.balance));
        if (total <= channel.totalClaimed) return;
        bytes32 digest = getVoucherDigest(id, most);
        if (config.payerAuthorizer == address(0)) _checkSignature(config.payer, digest, row.signature);
        else require(ECDSA.recover(digest, row.signature) == config.payerAuthorizer, InvalidSignature());

        uint128 added = total - channel.totalClaimed;
        channel.totalClaimed = total;
        receivers[config.receiver][config.token].totalClaimed += added;
        emit Claimed(id, msg.sender, added, total);
    }

    /// The nonce moves even if nothing is left to give back: a signature counts once.
    function _refund(ChannelConfig calldata config, uint128 amount) private {
        require(amount > 0, ZeroAmount());
        bytes32 id = getChannelId(config);
        refundNonce[id]++;
        uint128 available = _available(channels[id]);
        if (amount > available) amount = available;
        if (amount == 0) return;
        Withdrawal storage pending = pendingWithdrawals[id];
        if (amount >= pending.amount) delete pendingWithdrawals[id];
        else pending.amount -= amount;
        emit Refunded(id, msg.sender, amount);
        _payBack(id, config, amount);
    }

    function _payBack(bytes32 id, ChannelConfig calldata config, uint128 amount) private {
        if (amount == 0) return;
        channels[id].balance -= amount;
        if (channels[id].balance == 0) emit ChannelClosed(id, config);
        IERC20(config.token).safeTransfer(config.payer, amount);
    }

    function _available(Channel storage channel) private view returns (uint128) {
        return channel.balance - channel.totalClaimed;
    }

    function _checkSignature(address signer, bytes32 digest, bytes calldata signature) private view {
        require(SignatureChecker.isValidSignatureNow(signer, digest, signature), InvalidSignature());
    }

    function _onlyReceiverSide(ChannelConfig calldata config) private view {
        require(msg.sender == config.receiver || msg.sender == config.receiverAuthorizer, NotAuthorized(msg.sender));
    }

    function _onlyPayerSide(ChannelConfig calldata config) private view {
        require(msg.sender == config.payer || msg.sender == config.payerAuthorizer, NotAuthorized(msg.sender));
    }
}
