// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDepositCollector} from "./IBatchSettlement.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title The part of a collector that keeps strangers out: it sends money to its caller
abstract contract OnlySettlement is IDepositCollector {
    /// The one settlement that money is collected for.
    address public immutable settlement;

    error NotSettlement(address caller);

    constructor(address settlement_) {
        settlement = settlement_;
    }

    modifier onlySettlement() {
        require(msg.sender == settlement, NotSettlement(msg.sender));
        _;
    }
}

/// @notice ERC-3009 with a signature as bytes, as USDC and `PaymentToken` have it.
interface IReceiveWithAuthorization {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}

/// @title Deposits by ERC-3009 authorization
/// @notice collectorData = abi.encode(validAfter, validBefore, salt, signature); the authorization's nonce is
/// keccak256(abi.encode(channelId, salt)), so it pays into this channel only.
contract ERC3009DepositCollector is OnlySettlement {
    using SafeERC20 for IERC20;

    constructor(address settlement_) OnlySettlement(settlement_) {}

    /// @inheritdoc IDepositCollector
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData)
        external
        onlySettlement
    {
        (uint256 validAfter, uint256 validBefore, uint256 salt, bytes memory signature) =
            abi.decode(collectorData, (uint256, uint256, uint256, bytes));
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        IReceiveWithAuthorization(token)
            .receiveWithAuthorization(payer, address(this), amount, validAfter, validBefore, nonce, signature);
        IERC20(token).safeTransfer(settlement, amount);
    }
}

/// @notice The call of Uniswap's Permit2 that is used here.
interface IPermit2 {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}

/// @title Deposits by Permit2
/// @notice collectorData = abi.encode(nonce, deadline, permit2Signature, permit), where `permit` is empty or
/// abi.encode(value, deadline, v, r, s) of an ERC-2612 approval of Permit2. The witness binds the channel.
contract Permit2DepositCollector is OnlySettlement {
    bytes32 private constant WITNESS_TYPEHASH = keccak256("DepositWitness(bytes32 channelId)");
    string private constant WITNESS_TYPE =
        "DepositWitness witness)DepositWitness(bytes32 channelId)TokenPermissions(address token,uint256 amount)";

    /// Uniswap's Permit2 on this chain.
    IPermit2 public immutable permit2;

    constructor(address settlement_, IPermit2 permit2_) OnlySettlement(settlement_) {
        permit2 = permit2_;
    }

    /// @inheritdoc IDepositCollector
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData)
        external
        onlySettlement
    {
        (uint256 nonce, uint256 deadline, bytes memory signature, bytes memory permit) =
            abi.decode(collectorData, (uint256, uint256, bytes, bytes));
        if (permit.length > 0) _approve(payer, token, permit);
        permit2.permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom(IPermit2.TokenPermissions(token, amount), nonce, deadline),
            IPermit2.SignatureTransferDetails(settlement, amount),
            payer,
            keccak256(abi.encode(WITNESS_TYPEHASH, channelId)),
            WITNESS_TYPE,
            signature
        );
    }

    /// Somebody may have sent the approval ahead; if it is missing, the transfer says so.
    function _approve(address payer, address token, bytes memory permit) private {
        (uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) =
            abi.decode(permit, (uint256, uint256, uint8, bytes32, bytes32));
        try IERC20Permit(token).permit(payer, address(permit2), value, deadline, v, r, s) {} catch {}
    }
}
