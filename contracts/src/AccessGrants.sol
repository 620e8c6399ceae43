// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AssetRegistry} from "./AssetRegistry.sol";
import {Credits} from "./Credits.sol";
import {DepositGate, IDepositStop} from "./DepositGate.sol";
import {RevenueSplit} from "./RevenueSplit.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Access to sealed versions, for a price and a purpose
/// @notice An offer is the owner's terms for one version; a grant is one buyer's.
///
///   None ──buy──► Paid(deliverBy) ──deliver──► Granted(until, uses) ──use*──► Granted
///                    │                            │ ──until, or no uses left──► over
///          after deliverBy: refund                └─revoke──► Revoked
///                    ▼
///                 Refunded
///
/// The key travels outside; the chain keeps the hash of what the owner sealed for the grantee. Revoking keeps nobody
/// from what it has seen: it says that later versions will not be opened, and that further use breaks the terms.
contract AccessGrants is Credits, DepositGate {
    using SafeERC20 for IERC20;

    enum State {
        None,
        Paid,
        Granted,
        Revoked,
        Refunded
    }

    /// @param purpose hash of what it may be used for
    /// @param accessS seconds of access from delivery on
    /// @param deliverS seconds that the owner has to deliver
    /// @param usesMost uses at most; zero: any number
    struct Offer {
        bytes32 version;
        bytes32 purpose;
        uint128 price;
        uint40 accessS;
        uint40 deliverS;
        uint32 usesMost;
        bool isOpen;
    }

    /// @param end when the state's time is over
    /// @param sealedKey hash of the content key, sealed for the grantee
    struct Grant {
        State state;
        address grantee;
        uint40 end;
        uint32 uses;
        uint256 offer;
        bytes32 sealedKey;
    }

    /// Longest wait for a delivery.
    uint40 public constant DELIVER_S_MAX = 30 days;
    uint40 public constant ACCESS_S_MAX = 3650 days;

    AssetRegistry public immutable registry;
    RevenueSplit public immutable split;

    uint256 public offerCount;
    uint256 public grantCount;
    mapping(uint256 id => Offer) public offers;
    mapping(uint256 id => Grant) public grants;
    /// Who may deliver for an offer, beside the asset's owner who said so.
    mapping(uint256 offer => mapping(address owner => mapping(address account => bool))) public delivers;

    event Offered(uint256 indexed offer, bytes32 indexed version, bytes32 purpose, uint128 price);
    event OfferClosed(uint256 indexed offer);
    event DelivererSet(uint256 indexed offer, address indexed owner, address indexed account, bool may);
    event Bought(uint256 indexed grant, uint256 indexed offer, address indexed grantee);
    event Delivered(uint256 indexed grant, bytes32 sealedKey, uint40 until);
    event Used(uint256 indexed grant, uint32 uses);
    event Revoked(uint256 indexed grant);
    event Refunded(uint256 indexed grant);

    error NotOwner(address caller);
    error NotGrantee(address caller);
    error BadTerms();
    error NotOffered(uint256 offer);
    error WrongState(State have);
    error TooLate(uint40 end);
    error TooEarly(uint40 end);
    error UsedUp(uint32 uses);

    constructor(IERC20 token_, IDepositStop gate_, RevenueSplit split_) Credits(token_) DepositGate(gate_) {
        (split, registry) = (split_, split_.registry());
    }

    /// @notice Offers access to a published version of the caller's asset.
    function offer(Offer calldata terms) external returns (uint256 id) {
        require(registry.versionOf(terms.version).state == AssetRegistry.State.Published, BadTerms());
        _onlyOwnerOf(terms.version);
        bool timely = terms.accessS > 0 && terms.accessS <= ACCESS_S_MAX && terms.deliverS <= DELIVER_S_MAX;
        require(timely && terms.isOpen, BadTerms());
        offers[id = ++offerCount] = terms;
        emit Offered(id, terms.version, terms.purpose, terms.price);
    }

    /// @notice Takes an offer back; grants stay.
    function closeOffer(uint256 id) external {
        _onlyOwnerOf(offers[id].version);
        offers[id].isOpen = false;
        emit OfferClosed(id);
    }

    /// @notice Lets an account deliver for an offer of the caller's asset, or not any more. It ends when the asset is sold.
    function setDeliverer(uint256 id, address account, bool may) external {
        _onlyOwnerOf(offers[id].version);
        delivers[id][msg.sender][account] = may;
        emit DelivererSet(id, msg.sender, account, may);
    }

    /// @notice Pays the price, held until the owner delivers.
    function buy(uint256 offerId) external nonReentrant depositsOpen returns (uint256 id) {
        Offer storage terms = offers[offerId];
        bool isPublished = registry.versionOf(terms.version).state == AssetRegistry.State.Published;
        require(terms.isOpen && isPublished, NotOffered(offerId));
        uint40 end = uint40(block.timestamp) + terms.deliverS;
        grants[id = ++grantCount] = Grant(State.Paid, msg.sender, end, 0, offerId, 0);
        emit Bought(id, offerId, msg.sender);
        _take(msg.sender, terms.price);
    }

    /// @notice The owner, or whom it let, delivers: access begins, the price goes to the version's income.
    function deliver(uint256 id, bytes32 sealedKey) external nonReentrant {
        Grant storage grant = _in(id, State.Paid);
        Offer storage terms = offers[grant.offer];
        address owner = registry.ownerOf(registry.versionOf(terms.version).asset);
        require(msg.sender == owner || delivers[grant.offer][owner][msg.sender], NotOwner(msg.sender));
        require(block.timestamp <= grant.end, TooLate(grant.end));
        (grant.state, grant.sealedKey, grant.end) = (State.Granted, sealedKey, uint40(block.timestamp) + terms.accessS);
        emit Delivered(id, sealedKey, grant.end);
        token.forceApprove(address(split), terms.price);
        split.pay(terms.version, terms.price);
    }

    /// @notice Credits the buyer the price, if the owner did not deliver in time; anyone may call.
    function refund(uint256 id) external {
        Grant storage grant = _in(id, State.Paid);
        require(block.timestamp > grant.end, TooEarly(grant.end));
        grant.state = State.Refunded;
        credit[grant.grantee] += offers[grant.offer].price;
        emit Refunded(id);
    }

    /// @notice The grantee records one use.
    function use(uint256 id) external {
        Grant storage grant = _in(id, State.Granted);
        require(msg.sender == grant.grantee, NotGrantee(msg.sender));
        require(block.timestamp < grant.end, TooLate(grant.end));
        uint32 most = offers[grant.offer].usesMost;
        require(most == 0 || grant.uses < most, UsedUp(grant.uses));
        emit Used(id, ++grant.uses);
    }

    /// @notice The owner ends a grant.
    function revoke(uint256 id) external {
        Grant storage grant = _in(id, State.Granted);
        _onlyOwnerOf(offers[grant.offer].version);
        grant.state = State.Revoked;
        emit Revoked(id);
    }

    /// @notice Whether `account` may use what the grant opens, now.
    function isActive(uint256 id, address account) external view returns (bool) {
        Grant storage grant = grants[id];
        uint32 most = offers[grant.offer].usesMost;
        bool inTime = grant.state == State.Granted && block.timestamp < grant.end;
        return inTime && grant.grantee == account && (most == 0 || grant.uses < most);
    }

    function _in(uint256 id, State state) private view returns (Grant storage grant) {
        grant = grants[id];
        require(grant.state == state, WrongState(grant.state));
    }

    function _onlyOwnerOf(bytes32 version) private view {
        require(registry.ownerOf(registry.versionOf(version).asset) == msg.sender, NotOwner(msg.sender));
    }
}
