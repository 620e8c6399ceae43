// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title Digests of Talkoo's own signed records
/// @notice EIP-712 domain {"Talkoo", "1", chain id, 0x7a1c…01}, the same for every contract that checks one:
/// the name of the network's judge, whichever contract opens the record (`Network::talkoo_domain` in pure/base).
abstract contract Records {
    address internal constant JUDGE = address((uint160(0x7a1c) << 144) | 1);
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        bytes32 separator =
            keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Talkoo"), keccak256("1"), block.chainid, JUDGE));
        return MessageHashUtils.toTypedDataHash(separator, structHash);
    }
}
