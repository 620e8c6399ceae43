// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Records} from "./Records.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @notice What other contracts ask of `Delegations`.
interface IDelegations {
    /// @return whether `nodeKey` may now act for `owner` in all of `roles`
    function isActive(address owner, address nodeKey, uint8 roles) external view returns (bool);
}

/// @title Node keys that owners let act for them
/// @notice The owner signs `Delegation(owner, nodeKey, roles, expiry)` (EIP-712, domain "Talkoo") offline; anyone
/// relays it. Each signed delegation counts once, so a revoked one cannot be brought back.
///
///   None ──grant──► Active ──expiry──► Expired
///                     │ ──revoke, rotate──► Revoked
///
/// Every grant stays in {history}: reputation follows the owner through a change of keys.
contract Delegations is IDelegations, Records {
    /// @param roles bit set: 1 work, 2 pay, 4 verify
    /// @param expiry seconds; from then on it is void
    struct Delegation {
        address owner;
        address nodeKey;
        uint8 roles;
        uint64 expiry;
    }

    /// @param until seconds; its expiry, or when it was revoked
    struct Grant {
        address nodeKey;
        uint8 roles;
        uint40 since;
        uint64 until;
    }

    bytes32 private constant TYPEHASH =
        keccak256("Delegation(address owner,address nodeKey,uint8 roles,uint64 expiry)");

    mapping(address owner => Grant[]) private grants;
    /// Place in `grants` of a key's last grant, plus one.
    mapping(address owner => mapping(address nodeKey => uint256)) private last;
    /// Delegations that have been granted or revoked.
    mapping(bytes32 digest => bool) public isUsed;

    event Granted(address indexed owner, address indexed nodeKey, uint8 roles, uint64 expiry);
    event Revoked(address indexed owner, address indexed nodeKey);
    event Rotated(address indexed owner, address indexed from, address indexed to);

    error AlreadyUsed(bytes32 digest);
    error Expired(uint64 expiry);
    error InvalidSignature(address owner);
    error NotActive(address owner, address nodeKey);

    /// @notice Makes a signed delegation count. A key's former grant ends with it.
    function grant(Delegation calldata delegation, bytes calldata signature) public {
        bytes32 digest = getDigest(delegation);
        address owner = delegation.owner;
        require(!isUsed[digest], AlreadyUsed(digest));
        require(delegation.expiry > block.timestamp, Expired(delegation.expiry));
        require(SignatureChecker.isValidSignatureNow(owner, digest, signature), InvalidSignature(owner));
        isUsed[digest] = true;
        if (isActive(owner, delegation.nodeKey, 0)) _end(owner, delegation.nodeKey);
        grants[owner].push(Grant(delegation.nodeKey, delegation.roles, uint40(block.timestamp), delegation.expiry));
        last[owner][delegation.nodeKey] = grants[owner].length;
        emit Granted(owner, delegation.nodeKey, delegation.roles, delegation.expiry);
    }

    /// @notice The caller's key `nodeKey` acts for it no more.
    function revoke(address nodeKey) public {
        require(isActive(msg.sender, nodeKey, 0), NotActive(msg.sender, nodeKey));
        _end(msg.sender, nodeKey);
    }

    /// @notice The caller voids a delegation that it signed and nobody has granted yet. It stays in the history as one
    /// that ended now: what its key has just done, it did for its owner.
    function voidUnused(Delegation calldata delegation) external {
        require(delegation.owner == msg.sender, InvalidSignature(delegation.owner));
        bytes32 digest = getDigest(delegation);
        require(!isUsed[digest], AlreadyUsed(digest));
        isUsed[digest] = true;
        uint40 now_ = uint40(block.timestamp);
        grants[msg.sender].push(Grant(delegation.nodeKey, delegation.roles, now_, now_));
    }

    /// @notice Replaces the caller's key `from` by that of a new delegation in one step.
    function rotate(address from, Delegation calldata to, bytes calldata signature) external {
        require(to.owner == msg.sender, InvalidSignature(to.owner));
        revoke(from);
        grant(to, signature);
        emit Rotated(msg.sender, from, to.nodeKey);
    }

    /// @inheritdoc IDelegations
    function isActive(address owner, address nodeKey, uint8 roles) public view returns (bool) {
        uint256 place = last[owner][nodeKey];
        if (place == 0) return false;
        Grant storage found = grants[owner][place - 1];
        return block.timestamp < found.until && found.roles & roles == roles;
    }

    /// @notice Whether `nodeKey` acted for `owner` in all of `roles` at `time`, for evidence about the past.
    function wasActive(address owner, address nodeKey, uint8 roles, uint256 time) external view returns (bool) {
        Grant[] storage all = grants[owner];
        for (uint256 i = 0; i < all.length; i++) {
            Grant storage one = all[i];
            bool then = one.since <= time && time < one.until;
            if (then && one.nodeKey == nodeKey && one.roles & roles == roles) return true;
        }
        return false;
    }

    /// @notice All grants of an owner, the oldest first.
    function history(address owner) external view returns (Grant[] memory) {
        return grants[owner];
    }

    /// @notice One of them.
    function grantAt(address owner, uint256 index) external view returns (Grant memory) {
        return grants[owner][index];
    }

    /// @notice What the owner signs.
    function getDigest(Delegation calldata delegation) public view returns (bytes32) {
        return _digest(keccak256(abi.encode(TYPEHASH, delegation)));
    }

    function _end(address owner, address nodeKey) private {
        grants[owner][last[owner][nodeKey] - 1].until = uint64(block.timestamp);
        emit Revoked(owner, nodeKey);
    }
}
