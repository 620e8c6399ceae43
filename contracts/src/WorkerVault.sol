// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "./Credits.sol";
import {IDelegations} from "./Delegations.sol";
import {DepositGate, IDepositStop} from "./DepositGate.sol";
import {IBatchSettlement} from "./IBatchSettlement.sol";
import {IStaking} from "./Staking.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Receiver of every worker's channels
/// @notice Whose money it is: a channel's `receiverAuthorizer` is the worker's operator. The vault books what the
/// settlement says was claimed on a channel beyond what it booked before, whoever claimed; so an aggregate payment out
/// of the settlement needs no other attribution, and a claim that went past the vault is booked as well.
///
///   claimed ──book──► Held(until releaseAt) ──after releaseAt: release──► credit of the operator ──► withdraw
///                       └──before releaseAt: slash──► credit of whom the slasher names
///
/// Exposure of an operator = what is held + what is reserved. A reservation says in advance how much of a channel is
/// covered by the bond; it is refused above {capacity}, ends at its time, and is used up by what is booked.
///
///   None ──reserve──► Reserved(amount, until) ──book──► less ──after until: lapse──► None
contract WorkerVault is Credits, DepositGate, AccessControl {
    /// @param channel whose claim it was
    struct Tranche {
        bytes32 channel;
        uint128 amount;
        uint40 releaseAt;
    }

    /// @param head first tranche that is not released
    struct Account {
        uint128 held;
        uint128 reserved;
        uint64 head;
    }

    struct Reservation {
        address operator;
        uint128 amount;
        uint40 until;
    }

    bytes32 public constant SLASHER = keccak256("SLASHER");
    /// The role that a node key needs to act for its operator: work.
    uint8 public constant WORK = 1;
    /// Longest reservation. `Staking.UNBOND_S` has to be longer than this and the window together.
    uint40 public constant RESERVE_S_MAX = 30 days;

    IBatchSettlement public immutable settlement;
    IStaking public immutable staking;
    IDelegations public immutable delegations;
    /// Seconds that proceeds are held.
    uint40 public immutable WINDOW_S;

    mapping(address operator => Account) public accounts;
    mapping(address operator => Tranche[]) public tranches;
    mapping(bytes32 channelId => uint128) public booked;
    mapping(bytes32 channelId => Reservation) public reservations;

    event Booked(address indexed operator, bytes32 indexed channelId, uint256 index, uint128 amount, uint40 releaseAt);
    event Released(address indexed operator, uint128 amount);
    event Slashed(address indexed operator, uint256 index, uint128 amount, address to, bytes32 indexed evidence);
    event Reserved(address indexed operator, bytes32 indexed channelId, uint128 amount, uint40 until);
    event Lapsed(address indexed operator, bytes32 indexed channelId, uint128 amount);

    error NotOperator(address operator, address caller);
    error NotOurs(bytes32 channelId);
    error ExposureTooHigh(uint256 need, uint256 have);
    error ReservationOutOfRange(uint40 until);
    error ReservationShrinks(uint128 amount, uint40 until);
    error TooEarly(uint256 from);
    error WindowOver(uint256 releaseAt);
    error NotHeld(uint128 need, uint128 have);

    struct Options {
        IERC20 token;
        IDepositStop gate;
        IBatchSettlement settlement;
        IStaking staking;
        IDelegations delegations;
        uint40 windowS;
        address admin;
        address[] slashers;
    }

    constructor(Options memory options) Credits(options.token) DepositGate(options.gate) {
        (settlement, staking, delegations) = (options.settlement, options.staking, options.delegations);
        WINDOW_S = options.windowS;
        _grantRole(DEFAULT_ADMIN_ROLE, options.admin);
        for (uint256 i = 0; i < options.slashers.length; i++) {
            _grantRole(SLASHER, options.slashers[i]);
        }
    }

    /// @notice Claims vouchers of the caller's (or its owner's) channels and books them: the node key's hand, while
    /// the operator's key stays cold.
    function claim(IBatchSettlement.VoucherClaim[] calldata claims) external nonReentrant {
        for (uint256 i = 0; i < claims.length; i++) {
            _onlyFor(claims[i].voucher.channel.receiverAuthorizer);
        }
        settlement.claim(claims);
        for (uint256 i = 0; i < claims.length; i++) {
            _book(claims[i].voucher.channel);
        }
        settlement.settle(address(this), address(token));
    }

    /// @notice Books what was claimed on these channels past the vault; anyone may call.
    function book(IBatchSettlement.ChannelConfig[] calldata configs) external nonReentrant {
        for (uint256 i = 0; i < configs.length; i++) {
            _book(configs[i]);
        }
        settlement.settle(address(this), address(token));
    }

    /// @notice Credits the operator up to `most` tranches whose time is over, the oldest first; anyone may call.
    function release(address operator, uint256 most) external {
        Account storage account = accounts[operator];
        Tranche[] storage queue = tranches[operator];
        (uint256 head, uint128 sum) = (account.head, 0);
        for (uint256 i = 0; i < most && head < queue.length && block.timestamp >= queue[head].releaseAt; i++) {
            sum += queue[head].amount;
            delete queue[head++];
        }
        account.head = uint64(head);
        account.held -= sum;
        credit[operator] += sum;
        emit Released(operator, sum);
    }

    /// @notice Takes `amount` of a tranche within its window and credits `to`.
    function slash(address operator, uint256 index, uint128 amount, address to, bytes32 evidence)
        external
        onlyRole(SLASHER)
    {
        Tranche storage tranche = tranches[operator][index];
        require(block.timestamp < tranche.releaseAt, WindowOver(tranche.releaseAt));
        require(amount <= tranche.amount, NotHeld(amount, tranche.amount));
        tranche.amount -= amount;
        accounts[operator].held -= amount;
        credit[to] += amount;
        emit Slashed(operator, index, amount, to, evidence);
    }

    /// @notice Promises that the bond covers `amount` of a channel's claims to come, `until` a time. A standing promise
    /// may only grow; it is refused if all promises and all that is held exceeded {capacity}.
    function reserve(IBatchSettlement.ChannelConfig calldata config, uint128 amount, uint40 until)
        external
        depositsOpen
    {
        (bytes32 id, address operator) = (_channel(config), config.receiverAuthorizer);
        _onlyFor(operator);
        require(until > block.timestamp && until <= block.timestamp + RESERVE_S_MAX, ReservationOutOfRange(until));
        Reservation storage standing = reservations[id];
        bool stands = block.timestamp < standing.until;
        require(!stands || (amount >= standing.amount && until >= standing.until), ReservationShrinks(amount, until));
        Account storage account = accounts[operator];
        account.reserved = account.reserved - standing.amount + amount;
        (uint256 need, uint256 have) = (exposure(operator), capacity(operator));
        require(need <= have, ExposureTooHigh(need, have));
        reservations[id] = Reservation(operator, amount, until);
        emit Reserved(operator, id, amount, until);
    }

    /// @notice Ends a reservation whose time is over; anyone may call.
    function lapse(bytes32 channelId) external {
        Reservation memory standing = reservations[channelId];
        require(block.timestamp >= standing.until, TooEarly(standing.until));
        delete reservations[channelId];
        accounts[standing.operator].reserved -= standing.amount;
        emit Lapsed(standing.operator, channelId, standing.amount);
    }

    /// @notice What the bond of `operator` answers for now, in the token's units.
    function exposure(address operator) public view returns (uint256) {
        return uint256(accounts[operator].held) + accounts[operator].reserved;
    }

    /// @notice What it can answer for at most: half the bond. The other half a liar may win back by reporting itself.
    function capacity(address operator) public view returns (uint256) {
        return staking.bondOf(operator) / 2;
    }

    /// @notice How many tranches an operator has had.
    function trancheCount(address operator) external view returns (uint256) {
        return tranches[operator].length;
    }

    function _book(IBatchSettlement.ChannelConfig calldata config) private {
        (bytes32 id, address operator) = (_channel(config), config.receiverAuthorizer);
        (, uint128 claimed) = settlement.channels(id);
        uint128 added = claimed - booked[id];
        if (added == 0) return;
        booked[id] = claimed;
        Account storage account = accounts[operator];
        Reservation storage standing = reservations[id];
        uint128 used = added < standing.amount ? added : standing.amount;
        standing.amount -= used;
        account.reserved -= used;
        account.held += added;
        uint40 releaseAt = uint40(block.timestamp) + WINDOW_S;
        emit Booked(operator, id, tranches[operator].length, added, releaseAt);
        tranches[operator].push(Tranche(id, added, releaseAt));
    }

    /// The id of a channel that pays here, in our token.
    function _channel(IBatchSettlement.ChannelConfig calldata config) private view returns (bytes32 id) {
        id = settlement.getChannelId(config);
        require(config.receiver == address(this) && config.token == address(token), NotOurs(id));
    }

    /// The operator itself, or a node key that it lets work.
    function _onlyFor(address operator) private view {
        bool may = msg.sender == operator || delegations.isActive(operator, msg.sender, WORK);
        require(may, NotOperator(operator, msg.sender));
    }
}
