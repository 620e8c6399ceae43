// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "./Credits.sol";
import {DepositGate, IDepositStop} from "./DepositGate.sol";
import {Records} from "./Records.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

/// @notice What other contracts ask of `Staking`.
interface IStaking {
    /// @return the bond that is not on its way out, in the token's units
    function bondOf(address operator) external view returns (uint256);
    /// @return who registered a validator key, also if it has changed the key since
    function operatorOf(address validatorKey) external view returns (address);
    /// @notice Takes up to `bps` ten-thousandths of all that `operator` has here; each evidence counts once.
    function slash(address operator, uint256 bps, bytes32 evidence, address reporter) external returns (uint256 taken);
    function jail(address operator) external;
}

/// @title Bonds of workers, stores, validators and verifiers
/// @notice
///
///   None ──bond──► Bonded ──unbond──► Bonded and Unbonding(until) ──after until: withdraw──► None
///                    │                    │
///                  slash                slash         (by a slasher, with evidence; both parts, Unbonding last)
///                  jail ──after its end: unjail──►    (not among the validators meanwhile)
///
/// `UNBOND_S` is longer than any window in which evidence can come up. A second unbonding starts its time anew.
contract Staking is IStaking, Credits, DepositGate, AccessControl, Records {
    using EnumerableSet for EnumerableSet.AddressSet;
    using SafeERC20 for IERC20;

    /// @param roles bit set: 1 work, 2 store, 4 validate, 8 verify
    /// @param validatorKey signs votes of the consensus; not the operator's key
    struct Stake {
        uint128 bonded;
        uint128 unbonding;
        uint40 unbondsAt;
        uint40 jailedUntil;
        uint8 roles;
        address validatorKey;
    }

    bytes32 public constant SLASHER = keccak256("SLASHER");
    uint8 public constant VALIDATE = 4;
    bytes32 private constant KEY_TYPEHASH = keccak256("ValidatorKey(address operator,address key)");

    uint40 public immutable UNBOND_S;
    uint40 public immutable JAIL_S;
    /// Least bond of a validator; its voting power is its bond divided by this.
    uint128 public immutable VALIDATOR_BOND_MIN;
    /// Seconds of an epoch: the first block of a new one names the validators of the blocks after it.
    uint40 public immutable EPOCH_S;
    /// Gets what is slashed and no reporter's.
    address public immutable treasury;

    mapping(address operator => Stake) public stakes;
    mapping(address validatorKey => address) public operatorOf;
    mapping(bytes32 evidence => bool) public isPunished;
    EnumerableSet.AddressSet private validators;

    event Bonded(address indexed operator, uint128 amount, uint8 roles);
    event Unbonding(address indexed operator, uint128 amount, uint40 unbondsAt);
    event Unbonded(address indexed operator, uint128 amount);
    event Slashed(address indexed operator, uint256 amount, bytes32 indexed evidence, address reporter);
    event Jailed(address indexed operator, uint40 until);
    event Unjailed(address indexed operator);
    event ValidatorKeySet(address indexed operator, address indexed key);

    error BondTooSmall(uint256 need, uint256 have);
    error TooEarly(uint256 from);
    error NothingUnbonding();
    error AlreadyPunished(bytes32 evidence);
    error NothingToSlash(address operator);
    error KeyTaken(address key);
    error InvalidSignature();
    error NoTreasury();

    struct Options {
        IERC20 token;
        IDepositStop gate;
        address admin;
        address treasury;
        uint40 unbondS;
        uint40 jailS;
        uint128 validatorBondMin;
        uint40 epochS;
        address[] slashers;
        Initial[] initial;
    }

    /// A stake that is here from the beginning.
    struct Initial {
        address operator;
        address validatorKey;
        uint128 bonded;
        uint8 roles;
    }

    /// Initial stakes are of tokens that lie at this address already; what lies there beyond them is the treasury's.
    constructor(Options memory options) Credits(options.token) DepositGate(options.gate) {
        require(options.treasury != address(0), NoTreasury());
        (treasury, UNBOND_S, JAIL_S) = (options.treasury, options.unbondS, options.jailS);
        (VALIDATOR_BOND_MIN, EPOCH_S) = (options.validatorBondMin, options.epochS);
        _grantRole(DEFAULT_ADMIN_ROLE, options.admin);
        for (uint256 i = 0; i < options.slashers.length; i++) {
            _grantRole(SLASHER, options.slashers[i]);
        }
        if (options.initial.length > 0) _begin(options);
    }

    function _begin(Options memory options) private {
        uint256 bonds = 0;
        for (uint256 i = 0; i < options.initial.length; i++) {
            Initial memory one = options.initial[i];
            _setKey(one.operator, one.validatorKey);
            _bond(one.operator, one.bonded, one.roles);
            bonds += one.bonded;
        }
        uint256 have = options.token.balanceOf(address(this));
        require(have >= bonds, ShortTransfer(bonds, have));
        if (have > bonds) options.token.safeTransfer(options.treasury, have - bonds);
    }

    /// @notice Adds `amount` to the caller's bond, for `roles` from now on.
    function bond(uint128 amount, uint8 roles) external nonReentrant depositsOpen {
        _bond(msg.sender, amount, roles);
        if (amount > 0) _take(msg.sender, amount);
    }

    function _bond(address operator, uint128 amount, uint8 roles) private {
        Stake storage stake = stakes[operator];
        stake.bonded += amount;
        stake.roles = roles;
        _list(operator);
        emit Bonded(operator, amount, roles);
    }

    /// @notice Starts the way out of `amount`; it can still be slashed.
    function unbond(uint128 amount) external {
        Stake storage stake = stakes[msg.sender];
        require(amount > 0 && amount <= stake.bonded, BondTooSmall(amount, stake.bonded));
        stake.bonded -= amount;
        stake.unbonding += amount;
        stake.unbondsAt = uint40(block.timestamp) + UNBOND_S;
        _list(msg.sender);
        emit Unbonding(msg.sender, amount, stake.unbondsAt);
    }

    /// @notice Credits what has finished unbonding; {withdraw} sends it.
    function finishUnbond() external {
        Stake storage stake = stakes[msg.sender];
        uint128 amount = stake.unbonding;
        require(amount > 0, NothingUnbonding());
        require(block.timestamp >= stake.unbondsAt, TooEarly(stake.unbondsAt));
        stake.unbonding = 0;
        credit[msg.sender] += amount;
        emit Unbonded(msg.sender, amount);
    }

    /// @notice Names the key that signs the caller's votes; the key signed `ValidatorKey(operator, key)`.
    function setValidatorKey(address key, bytes calldata signature) external {
        bytes32 digest = _digest(keccak256(abi.encode(KEY_TYPEHASH, msg.sender, key)));
        require(ECDSA.recover(digest, signature) == key, InvalidSignature());
        _setKey(msg.sender, key);
    }

    function _setKey(address operator, address key) private {
        require(operatorOf[key] == address(0) || operatorOf[key] == operator, KeyTaken(key));
        operatorOf[key] = operator;
        stakes[operator].validatorKey = key;
        _list(operator);
        emit ValidatorKeySet(operator, key);
    }

    /// @inheritdoc IStaking
    function slash(address operator, uint256 bps, bytes32 evidence, address reporter)
        external
        onlyRole(SLASHER)
        returns (uint256 taken)
    {
        require(!isPunished[evidence], AlreadyPunished(evidence));
        isPunished[evidence] = true;
        Stake storage stake = stakes[operator];
        taken = (uint256(stake.bonded) + stake.unbonding) * (bps < 10_000 ? bps : 10_000) / 10_000;
        require(taken > 0, NothingToSlash(operator));
        uint256 first = taken < stake.bonded ? taken : stake.bonded;
        stake.bonded -= uint128(first);
        stake.unbonding -= uint128(taken - first);
        _list(operator);
        // Half at most: who reports itself through a second name still loses the rest.
        uint256 reward = reporter == address(0) ? 0 : taken / 2;
        credit[reporter] += reward;
        credit[treasury] += taken - reward;
        emit Slashed(operator, taken, evidence, reporter);
    }

    /// @inheritdoc IStaking
    function jail(address operator) external onlyRole(SLASHER) {
        stakes[operator].jailedUntil = uint40(block.timestamp) + JAIL_S;
        _list(operator);
        emit Jailed(operator, stakes[operator].jailedUntil);
    }

    /// @notice The caller leaves the jail after its time.
    function unjail() external {
        Stake storage stake = stakes[msg.sender];
        require(block.timestamp >= stake.jailedUntil, TooEarly(stake.jailedUntil));
        stake.jailedUntil = 0;
        _list(msg.sender);
        emit Unjailed(msg.sender);
    }

    /// @inheritdoc IStaking
    function bondOf(address operator) external view returns (uint256) {
        return stakes[operator].bonded;
    }

    /// @notice The `most` largest validators, equal bonds by address: what an epoch's end reads, outside any block.
    function topValidators(uint256 most)
        external
        view
        returns (address[] memory operators, address[] memory keys, uint128[] memory bonds)
    {
        address[] memory all = validators.values();
        uint128[] memory bonded = new uint128[](all.length);
        for (uint256 i = 0; i < all.length; i++) {
            bonded[i] = stakes[all[i]].bonded;
        }
        uint256 count = all.length < most ? all.length : most;
        (operators, keys, bonds) = (new address[](count), new address[](count), new uint128[](count));
        for (uint256 i = 0; i < count; i++) {
            uint256 best = i;
            for (uint256 j = i + 1; j < all.length; j++) {
                bool larger = bonded[j] > bonded[best];
                if (larger || (bonded[j] == bonded[best] && all[j] < all[best])) best = j;
            }
            (all[i], all[best]) = (all[best], all[i]);
            (bonded[i], bonded[best]) = (bonded[best], bonded[i]);
            (operators[i], keys[i], bonds[i]) = (all[i], stakes[all[i]].validatorKey, bonded[i]);
        }
    }

    /// Keeps the list of those who may validate true.
    function _list(address operator) private {
        Stake storage stake = stakes[operator];
        bool may = stake.roles & VALIDATE != 0 && stake.bonded >= VALIDATOR_BOND_MIN && stake.jailedUntil == 0
            && stake.validatorKey != address(0);
        if (may) validators.add(operator);
        else validators.remove(operator);
    }
}
