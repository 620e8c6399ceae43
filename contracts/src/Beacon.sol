// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "./Credits.sol";
import {DepositGate, IDepositStop} from "./DepositGate.sol";
import {PaymentToken} from "./PaymentToken.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Public randomness: commit with a bond, then reveal
/// @notice Rounds follow from the clock; round r is from r·(C+R) to (r+1)·(C+R) seconds.
///
///   Committing (C seconds) ──► Revealing (R seconds) ──► Over: {random}, or none if too few revealed
///
/// A revealed commit's bond is credited at once; the others' bonds are the treasury's after the round ({forfeit}).
/// Whoever reveals last can choose between two outcomes, at the price of a bond: take the bond larger than what the
/// draw decides. Nothing of the chain itself (block hash, prevrandao) enters.
contract Beacon is Credits, DepositGate {
    /// @param mix XOR of what was revealed
    struct Round {
        uint32 commits;
        uint32 reveals;
        bool isForfeited;
        bytes32 mix;
    }

    uint40 public immutable COMMIT_S;
    uint40 public immutable REVEAL_S;
    uint128 public immutable BOND;
    /// Fewer reveals give no randomness.
    uint32 public immutable REVEALS_MIN;
    address public immutable treasury;

    mapping(uint256 round => Round) public rounds;
    mapping(uint256 round => mapping(address account => bytes32)) public commitOf;
    /// Whose the bond is, if not the account's own.
    mapping(uint256 round => mapping(address account => address)) private payerOf;

    event Committed(uint256 indexed round, address indexed account, bytes32 commit);
    event Revealed(uint256 indexed round, address indexed account, bytes32 secret);
    event Forfeited(uint256 indexed round, uint256 amount);

    error WrongPhase(uint256 round);
    error AlreadyCommitted(uint256 round);
    error WrongSecret(uint256 round);
    error NoRandomness(uint256 round);
    error NoTreasury();

    struct Options {
        IERC20 token;
        IDepositStop gate;
        uint40 commitS;
        uint40 revealS;
        uint128 bond;
        uint32 revealsMin;
        address treasury;
    }

    constructor(Options memory options) Credits(options.token) DepositGate(options.gate) {
        require(options.treasury != address(0), NoTreasury());
        (COMMIT_S, REVEAL_S, BOND) = (options.commitS, options.revealS, options.bond);
        (REVEALS_MIN, treasury) = (options.revealsMin, options.treasury);
    }

    /// @notice Commits to a secret in the current round; `hash` is {hashOf} it, and not zero.
    function commit(bytes32 hash) external nonReentrant depositsOpen {
        _commit(hash);
        _take(msg.sender, BOND);
    }

    /// @notice As {commit}, with a bond of `payer`'s: its ERC-3009 authorization has the nonce keccak256(abi.encode(hash,
    /// caller)). It gets the bond back.
    function commitFor(address payer, bytes32 hash, uint256 validBefore, bytes calldata signature)
        external
        nonReentrant
        depositsOpen
    {
        _commit(hash);
        payerOf[currentRound()][msg.sender] = payer;
        bytes32 nonce = keccak256(abi.encode(hash, msg.sender));
        PaymentToken(address(token))
            .receiveWithAuthorization(payer, address(this), BOND, 0, validBefore, nonce, signature);
    }

    function _commit(bytes32 hash) private {
        uint256 round = currentRound();
        require(block.timestamp < _commitEnd(round) && hash != 0, WrongPhase(round));
        require(commitOf[round][msg.sender] == 0, AlreadyCommitted(round));
        commitOf[round][msg.sender] = hash;
        rounds[round].commits++;
        emit Committed(round, msg.sender, hash);
    }

    /// @notice Reveals the secret of the current round and gets the bond back.
    function reveal(bytes32 secret) external {
        uint256 round = currentRound();
        require(block.timestamp >= _commitEnd(round), WrongPhase(round));
        require(commitOf[round][msg.sender] == hashOf(round, msg.sender, secret), WrongSecret(round));
        delete commitOf[round][msg.sender];
        rounds[round].reveals++;
        rounds[round].mix ^= keccak256(abi.encode(msg.sender, secret));
        address payer = payerOf[round][msg.sender];
        credit[payer == address(0) ? msg.sender : payer] += BOND;
        emit Revealed(round, msg.sender, secret);
    }

    /// @notice Credits the treasury the bonds of a past round that were not revealed; anyone may call.
    function forfeit(uint256 round) external {
        require(round < currentRound() && !rounds[round].isForfeited, WrongPhase(round));
        Round storage past = rounds[round];
        past.isForfeited = true;
        uint256 amount = uint256(past.commits - past.reveals) * BOND;
        credit[treasury] += amount;
        emit Forfeited(round, amount);
    }

    /// @notice The randomness of a past round.
    function random(uint256 round) external view returns (bytes32) {
        Round storage past = rounds[round];
        require(round < currentRound() && past.reveals > 0 && past.reveals >= REVEALS_MIN, NoRandomness(round));
        return keccak256(abi.encode(address(this), round, past.mix));
    }

    /// @notice The round that runs now.
    function currentRound() public view returns (uint256) {
        return block.timestamp / (uint256(COMMIT_S) + REVEAL_S);
    }

    /// @notice What an account commits to; bound to round and account, so that nobody can repeat another's commit.
    function hashOf(uint256 round, address account, bytes32 secret) public pure returns (bytes32) {
        return keccak256(abi.encode(round, account, secret));
    }

    function _commitEnd(uint256 round) private view returns (uint256) {
        return round * (uint256(COMMIT_S) + REVEAL_S) + COMMIT_S;
    }
}
