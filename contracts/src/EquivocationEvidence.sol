// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Records} from "./Records.sol";
import {IStaking} from "./Staking.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Punishes a validator that voted twice
/// @notice Two votes of one key for the same height, round and type, with different block hashes, prove it; a vote for
/// nil has the zero hash. Anyone reports, once for each such place, while the bond is here.
contract EquivocationEvidence is Records {
    /// @param voteType as the consensus counts them: prevote, precommit
    struct Vote {
        uint8 voteType;
        uint64 height;
        int64 round;
        bytes32 blockHash;
    }

    bytes32 private constant VOTE_TYPEHASH =
        keccak256("Vote(uint8 voteType,uint64 height,int64 round,bytes32 blockHash)");

    IStaking public immutable staking;
    /// Ten-thousandths of the bond that are taken.
    uint256 public immutable slashBps;

    event Equivocated(address indexed operator, address indexed key, uint64 height, int64 round, uint256 slashed);

    error NoConflict();
    error DifferentSigners(address first, address second);
    error UnknownValidator(address key);

    constructor(IStaking staking_, uint256 slashBps_) {
        (staking, slashBps) = (staking_, slashBps_);
    }

    /// @notice Slashes and jails who signed both votes; half of what is taken is the caller's.
    function report(Vote calldata a, bytes calldata signatureA, Vote calldata b, bytes calldata signatureB) external {
        bool samePlace = a.voteType == b.voteType && a.height == b.height && a.round == b.round;
        require(samePlace && a.blockHash != b.blockHash, NoConflict());
        address key = ECDSA.recover(getVoteDigest(a), signatureA);
        address other = ECDSA.recover(getVoteDigest(b), signatureB);
        require(key == other, DifferentSigners(key, other));
        address operator = staking.operatorOf(key);
        require(operator != address(0), UnknownValidator(key));
        bytes32 evidence = keccak256(abi.encode(key, a.voteType, a.height, a.round));
        uint256 slashed = staking.slash(operator, slashBps, evidence, msg.sender);
        staking.jail(operator);
        emit Equivocated(operator, key, a.height, a.round, slashed);
    }

    /// @notice What a validator signs.
    function getVoteDigest(Vote calldata vote) public view returns (bytes32) {
        return _digest(keccak256(abi.encode(VOTE_TYPEHASH, vote)));
    }
}
