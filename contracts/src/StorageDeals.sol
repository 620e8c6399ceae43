// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "./Credits.sol";
import {DepositGate, IDepositStop} from "./DepositGate.sol";
import {WrongPath, checkLength, checkRoot} from "./Openings.sol";
import {PaymentToken} from "./PaymentToken.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @notice What this asks of `Beacon`.
interface IBeacon {
    function COMMIT_S() external view returns (uint40);
    function REVEAL_S() external view returns (uint40);
    function random(uint256 round) external view returns (bytes32);
}

/// @title Deals about storage: paid by the epoch, as long as random leaves are shown
/// @notice
///
///   None ──propose──► Proposed ──accept──► Active ──prove, missed or void, to the last epoch──► Completed
///                        │                   │ ──{MISSES} missed in a row, or no collateral left──► Terminated
///                        └─cancel, or after acceptBy: poke──► Lapsed
///
/// An epoch is drawn by the first round of the beacon that begins in it or later and ends with randomness, of
/// {TRIES} rounds; from that round's end on the provider has {PROVE_S}. Proven: it gets the price. Missed: the client has the
/// price back and a quarter of the collateral. Without randomness the epoch is void: the client has the price back. Epochs are
/// proven in their order. A deal that is terminated leaves all that is left to the client.
/// What is shown are leaves of what the provider keeps (Openings.sol, tag "replica/1"): possession of samples, not a copy of its own.
contract StorageDeals is Credits, DepositGate {
    enum State {
        None,
        Proposed,
        Active,
        Completed,
        Terminated,
        Lapsed
    }
    enum Draw {
        Waits,
        Open,
        Missed,
        Void
    }

    /// @param root of the tree over the leaves of what is kept, of `size` bytes
    /// @param price of an epoch
    /// @param salt makes equal terms two deals
    struct Terms {
        address client;
        address provider;
        bytes32 root;
        uint64 size;
        uint40 epochS;
        uint32 epochs;
        uint128 price;
        uint128 collateral;
        bytes32 salt;
    }

    /// @param misses in a row
    /// @param next the first epoch that is not decided
    /// @param collateral what is left of it
    /// @param agent proposed it for the client, and may cancel it
    struct Deal {
        address client;
        uint40 start;
        uint40 epochS;
        uint8 misses;
        State state;
        address provider;
        uint32 epochs;
        uint32 next;
        bytes32 root;
        uint128 price;
        uint128 collateral;
        uint64 size;
        uint128 cut;
        address agent;
        uint40 acceptBy;
    }

    /// Bytes of a leaf; the last may be shorter.
    uint256 public constant LEAF = 128;
    /// Leaves that an epoch draws.
    uint256 public constant LEAVES = 2;
    /// Missed epochs in a row that end a deal.
    uint256 public constant MISSES = 3;
    /// Rounds of the beacon that may draw an epoch.
    uint256 public constant TRIES = 3;
    /// Seconds that a deal may last.
    uint256 public constant LASTS_S = 5 * 365 days;
    string private constant TAG = "replica/1";

    IBeacon public immutable beacon;
    /// Seconds of a round of the beacon; no epoch is shorter.
    uint256 public immutable ROUND_S;
    uint40 public immutable ACCEPT_S;
    uint40 public immutable PROVE_S;

    mapping(bytes32 id => Deal) private deals;
    /// Deals that are Active: the beacon is needed.
    uint256 public active;

    /// @param name of what is kept, for who fetches it: a CID
    event Proposed(bytes32 indexed id, address indexed provider, address indexed agent, Terms terms, bytes name);
    event Accepted(bytes32 indexed id, address indexed provider);
    event Proven(bytes32 indexed id, uint32 epoch);
    event Missed(bytes32 indexed id, uint32 epoch, uint128 cut);
    event Void(bytes32 indexed id, uint32 epoch);
    event Shortened(bytes32 indexed id, uint32 epochs);
    event Ended(bytes32 indexed id, State state);

    error WrongState(bytes32 id, State state);
    error WrongTerms();
    error NotClient(address caller);
    error TooLate(uint256 end);
    error NotOpen(bytes32 id, uint32 epoch);

    constructor(IERC20 token_, IDepositStop gate_, IBeacon beacon_, uint40 acceptS, uint40 proveS)
        Credits(token_)
        DepositGate(gate_)
    {
        (beacon, ACCEPT_S, PROVE_S) = (beacon_, acceptS, proveS);
        ROUND_S = uint256(beacon_.COMMIT_S()) + beacon_.REVEAL_S();
    }

    /// @notice The client's price for all epochs is locked, by its ERC-3009 authorization with the deal's id as nonce.
    function propose(Terms calldata terms, bytes calldata name, uint256 validBefore, bytes calldata signature)
        external
        nonReentrant
        depositsOpen
        returns (bytes32 id)
    {
        id = idOf(terms, msg.sender);
        Deal storage deal = deals[id];
        require(deal.state == State.None, WrongState(id, deal.state));
        bool fits = terms.size > 0 && terms.epochs > 0 && terms.epochS >= ROUND_S && terms.client != terms.provider
            && uint256(terms.epochs) * terms.epochS <= LASTS_S && terms.provider != address(0);
        require(fits, WrongTerms());
        (deal.client, deal.provider, deal.agent) = (terms.client, terms.provider, msg.sender);
        (deal.epochS, deal.epochs, deal.state) = (terms.epochS, terms.epochs, State.Proposed);
        (deal.root, deal.size, deal.price) = (terms.root, terms.size, terms.price);
        (deal.collateral, deal.cut) = (terms.collateral, terms.collateral / 4);
        deal.acceptBy = uint40(block.timestamp) + ACCEPT_S;
        emit Proposed(id, terms.provider, msg.sender, terms, name);
        _lock(terms.client, uint256(terms.price) * terms.epochs, id, validBefore, signature);
    }

    /// @notice The provider's collateral is locked as the price was, and the first epoch begins.
    function accept(bytes32 id, uint256 validBefore, bytes calldata signature) external nonReentrant depositsOpen {
        Deal storage deal = deals[id];
        require(deal.state == State.Proposed, WrongState(id, deal.state));
        require(block.timestamp < deal.acceptBy, TooLate(deal.acceptBy));
        (deal.state, deal.start) = (State.Active, uint40(block.timestamp));
        active++;
        emit Accepted(id, deal.provider);
        _lock(deal.provider, deal.collateral, id, validBefore, signature);
    }

    /// @notice Shows the leaves that the first undecided epoch draws ({challenge}); anyone may bring them.
    function prove(bytes32 id, bytes[LEAVES] calldata leaves, bytes32[][LEAVES] calldata siblings) external {
        Deal storage deal = deals[id];
        (Draw draw, bytes32 seed) = _settle(id, deal, 16);
        require(deal.state == State.Active, WrongState(id, deal.state));
        (uint32 epoch, uint256 size) = (deal.next, deal.size);
        require(draw == Draw.Open, NotOpen(id, epoch));
        bytes32 root = deal.root;
        for (uint256 i = 0; i < LEAVES; i++) {
            uint256 leaf = _leaf(seed, id, epoch, i, _count(size));
            _check(root, size, leaf, leaves[i], siblings[i]);
        }
        (deal.next, deal.misses) = (epoch + 1, 0);
        credit[deal.provider] += deal.price;
        emit Proven(id, epoch);
        if (epoch + 1 == deal.epochs) _end(id, deal, State.Completed, deal.provider);
    }

    /// @notice Decides up to `most` epochs whose time is over, and ends what nobody accepted; anyone may call.
    function poke(bytes32 id, uint256 most) external {
        Deal storage deal = deals[id];
        if (deal.state == State.Proposed && block.timestamp >= deal.acceptBy) _lapse(id, deal);
        else _settle(id, deal, most);
    }

    /// @notice The client takes a proposal back, or ends a deal after the epoch that follows this one.
    function cancel(bytes32 id) external {
        Deal storage deal = deals[id];
        require(msg.sender == deal.client || msg.sender == deal.agent, NotClient(msg.sender));
        if (deal.state == State.Proposed) return _lapse(id, deal);
        require(deal.state == State.Active, WrongState(id, deal.state));
        uint32 last = uint32((block.timestamp - deal.start) / deal.epochS) + 2;
        require(last < deal.epochs, TooLate(uint256(deal.start) + uint256(deal.epochs) * deal.epochS));
        credit[deal.client] += uint256(deal.epochs - last) * deal.price;
        deal.epochs = last;
        emit Shortened(id, last);
    }

    /// @notice The first undecided epoch, how it stands, its leaves if it is open, and when that ends (or when to look again).
    function challenge(bytes32 id)
        external
        view
        returns (uint32 epoch, Draw draw, uint256[LEAVES] memory leaves, uint256 until)
    {
        Deal storage deal = deals[id];
        epoch = deal.next;
        require(deal.state == State.Active, WrongState(id, deal.state));
        bytes32 seed;
        (draw, seed, until) = _draw(deal, epoch);
        if (draw != Draw.Open) return (epoch, draw, leaves, until);
        for (uint256 i = 0; i < LEAVES; i++) {
            leaves[i] = _leaf(seed, id, epoch, i, _count(deal.size));
        }
    }

    /// @notice A deal as it stands.
    function dealOf(bytes32 id) external view returns (Deal memory) {
        return deals[id];
    }

    /// @notice The name of a deal.
    function idOf(Terms calldata terms, address agent) public view returns (bytes32) {
        return keccak256(abi.encode(address(this), terms, agent));
    }

    function _leaf(bytes32 seed, bytes32 id, uint32 epoch, uint256 i, uint256 count) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, id, epoch, i))) % count;
    }

    /// Which round draws an epoch. Nobody knows it when the epoch begins: its commits are not made yet.
    function _draw(Deal storage deal, uint256 epoch) private view returns (Draw draw, bytes32 seed, uint256 until) {
        uint256 begin = uint256(deal.start) + epoch * deal.epochS;
        uint256 first = (begin + ROUND_S - 1) / ROUND_S;
        for (uint256 round = first; round < first + TRIES; round++) {
            until = (round + 1) * ROUND_S;
            if (block.timestamp < until) return (Draw.Waits, 0, until);
            try beacon.random(round) returns (bytes32 random) {
                until += PROVE_S;
                return (block.timestamp < until ? Draw.Open : Draw.Missed, random, until);
            } catch {}
        }
        return (Draw.Void, 0, until);
    }

    function _count(uint256 size) private pure returns (uint256) {
        return (size + LEAF - 1) / LEAF;
    }

    /// These are the bytes of a leaf under `root`.
    function _check(bytes32 root, uint256 size, uint256 leaf, bytes calldata data, bytes32[] calldata siblings)
        private
        view
    {
        uint256 count = _count(size);
        checkLength(leaf + 1 < count ? LEAF : size - leaf * LEAF, data.length);
        bytes32 top = sha256(abi.encodePacked(uint8(0), TAG, data));
        checkRoot(TAG, count, _climb(top, leaf, count, siblings), root);
    }

    /// As `climb` of Openings.sol, at half its gas: it is most of what a proof costs.
    function _climb(bytes32 top, uint256 spot, uint256 width, bytes32[] calldata siblings)
        private
        view
        returns (bytes32)
    {
        uint256 next = 0;
        // What is read behind the siblings' end is refused at the end.
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, 1)
            for {} gt(width, 1) {} {
                let right := and(spot, 1)
                if or(right, lt(add(spot, 1), width)) {
                    right := shl(5, right)
                    mstore(add(at, add(1, right)), top)
                    mstore(add(at, sub(33, right)), calldataload(add(siblings.offset, shl(5, next))))
                    if iszero(staticcall(gas(), 2, at, 65, 0, 32)) { revert(0, 0) }
                    top := mload(0)
                    next := add(next, 1)
                }
                spot := shr(1, spot)
                width := shr(1, add(width, 1))
            }
        }
        require(next == siblings.length, WrongPath(next, siblings.length));
        return top;
    }

    /// Decides what time has decided; says how the first undecided epoch stands then.
    function _settle(bytes32 id, Deal storage deal, uint256 most) private returns (Draw draw, bytes32 seed) {
        for (; most > 0 && deal.state == State.Active; most--) {
            uint32 epoch = deal.next;
            (draw, seed,) = _draw(deal, epoch);
            if (draw == Draw.Waits || draw == Draw.Open) return (draw, seed);
            deal.next = epoch + 1;
            credit[deal.client] += deal.price;
            if (draw == Draw.Void) emit Void(id, epoch);
            else _miss(id, deal, epoch);
            if (deal.misses == MISSES || deal.collateral < deal.cut) _end(id, deal, State.Terminated, deal.client);
            else if (deal.next == deal.epochs) _end(id, deal, State.Completed, deal.provider);
        }
    }

    function _miss(bytes32 id, Deal storage deal, uint32 epoch) private {
        uint128 cut = deal.cut;
        deal.collateral -= cut;
        deal.misses++;
        credit[deal.client] += cut;
        emit Missed(id, epoch, cut);
    }

    /// What no epoch was paid with is the client's; what is left of the collateral, `to`'s.
    function _end(bytes32 id, Deal storage deal, State state, address to) private {
        credit[deal.client] += uint256(deal.epochs - deal.next) * deal.price;
        credit[to] += deal.collateral;
        (deal.collateral, deal.state) = (0, state);
        active--;
        emit Ended(id, state);
    }

    function _lapse(bytes32 id, Deal storage deal) private {
        deal.state = State.Lapsed;
        credit[deal.client] += uint256(deal.price) * deal.epochs;
        emit Ended(id, State.Lapsed);
    }

    /// Takes `amount` by an ERC-3009 authorization that names the deal, so that anybody may send it and nobody another deal with it.
    function _lock(address from, uint256 amount, bytes32 id, uint256 validBefore, bytes calldata signature) private {
        if (amount == 0) return;
        uint256 before = token.balanceOf(address(this));
        PaymentToken(address(token))
            .receiveWithAuthorization(from, address(this), amount, 0, validBefore, id, signature);
        uint256 got = token.balanceOf(address(this)) - before;
        require(got >= amount, ShortTransfer(amount, got));
    }
}
