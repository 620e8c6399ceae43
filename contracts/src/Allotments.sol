// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "./Credits.sol";
import {DepositGate, IDepositStop} from "./DepositGate.sol";
import {IBatchSettlement} from "./IBatchSettlement.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title One deposit for thousands of payees
/// @notice A payer locks the sum of a list of (payee, cap) under one root. A payee shows its leaf and claims what the
/// payer's cumulative vouchers say, up to its cap. The caps add up to the deposit, so one payee's claims never touch
/// another's.
///
///   None ──open──► Open(until) ──claim*──► Open ──after until: close──► Closed (the rest is the payer's credit)
///
/// The tree is that of pure/base's `merkle`, with sums: SHA-256, tag "talkoo/allotment/1",
///   leaf = H(0x00 ‖ tag ‖ payee, 20 bytes ‖ cap, u128 BE), its sum the cap
///   node = H(0x01 ‖ left ‖ left's sum, u128 BE ‖ right ‖ right's sum, u128 BE); an odd node moves up unchanged
///   root = H(0x02 ‖ tag ‖ number of leaves, u64 BE ‖ top ‖ sum, u128 BE)
/// A voucher is x402's, for the channel {laneOf}: a payee's node checks it like any other.
contract Allotments is Credits, DepositGate {
    /// @param authorizer whose key signs the vouchers
    struct Allotment {
        address payer;
        uint40 until;
        address authorizer;
        uint128 sum;
        uint128 claimed;
        bytes32 root;
    }

    /// @param siblings bottom first; levels where the node moved up alone have none
    struct Leaf {
        uint64 index;
        uint64 count;
        uint128 cap;
        bytes32[] siblings;
        uint128[] siblingSums;
    }

    string private constant TAG = "talkoo/allotment/1";
    /// Longest time that money can be locked.
    uint40 public constant OPEN_S_MAX = 90 days;

    /// Only for its digests: a voucher here is signed as one for a channel there.
    IBatchSettlement public immutable settlement;

    mapping(bytes32 id => Allotment) public allotments;
    mapping(bytes32 id => mapping(uint64 index => uint128)) public claimedOf;

    event Opened(bytes32 indexed id, address indexed payer, bytes32 root, uint128 sum, uint40 until);
    event Claimed(bytes32 indexed id, address indexed payee, uint128 total);
    event Closed(bytes32 indexed id, uint128 rest);

    error AlreadyOpen(bytes32 id);
    error UntilOutOfRange(uint40 until);
    error ZeroSum();
    error NotOpen(bytes32 id);
    error TooEarly(uint256 from);
    error NotInTree(bytes32 id, address payee);
    error OverCap(uint128 need, uint128 have);
    error NothingNew(uint128 need, uint128 have);
    error InvalidSignature();

    constructor(IERC20 token_, IDepositStop gate_, IBatchSettlement settlement_) Credits(token_) DepositGate(gate_) {
        settlement = settlement_;
    }

    /// @notice Locks `sum` under `root` until a time; the caller is the payer.
    /// @return id of the allotment: keccak256(abi.encode(payer, root, until))
    function open(bytes32 root, uint128 sum, uint40 until, address authorizer)
        external
        nonReentrant
        depositsOpen
        returns (bytes32 id)
    {
        id = keccak256(abi.encode(msg.sender, root, until));
        require(allotments[id].payer == address(0), AlreadyOpen(id));
        require(until > block.timestamp && until <= block.timestamp + OPEN_S_MAX, UntilOutOfRange(until));
        require(sum > 0, ZeroSum());
        allotments[id] = Allotment(msg.sender, until, authorizer, sum, 0, root);
        emit Opened(id, msg.sender, root, sum, until);
        _take(msg.sender, sum);
    }

    /// @notice Credits `payee` up to `total` in all, as the authorizer's voucher says; anyone may relay.
    function claim(bytes32 id, address payee, Leaf calldata leaf, uint128 total, bytes calldata signature) external {
        Allotment storage allotment = allotments[id];
        require(block.timestamp < allotment.until, NotOpen(id));
        require(rootOf(payee, leaf, allotment.sum) == allotment.root, NotInTree(id, payee));
        require(total <= leaf.cap, OverCap(total, leaf.cap));
        uint128 before = claimedOf[id][leaf.index];
        require(total > before, NothingNew(total, before));
        bytes32 digest = settlement.getVoucherDigest(laneOf(id, payee, leaf.index), total);
        require(ECDSA.recover(digest, signature) == allotment.authorizer, InvalidSignature());
        claimedOf[id][leaf.index] = total;
        allotment.claimed += total - before;
        credit[payee] += total - before;
        emit Claimed(id, payee, total);
    }

    /// @notice Credits the payer what nobody claimed in time; anyone may call.
    function close(bytes32 id) external {
        Allotment storage allotment = allotments[id];
        require(allotment.sum > 0, NotOpen(id));
        require(block.timestamp >= allotment.until, TooEarly(allotment.until));
        uint128 rest = allotment.sum - allotment.claimed;
        allotment.sum = 0;
        credit[allotment.payer] += rest;
        emit Closed(id, rest);
    }

    /// @notice What stands for the channel id in a payee's vouchers.
    function laneOf(bytes32 id, address payee, uint64 index) public view returns (bytes32) {
        return keccak256(abi.encode(address(this), id, payee, index));
    }

    /// @notice The root that a leaf and its path give; zero if they belong to no tree with this sum.
    function rootOf(address payee, Leaf calldata leaf, uint128 sum) public pure returns (bytes32) {
        (uint64 place, uint64 width, uint256 next) = (leaf.index, leaf.count, 0);
        if (place >= width || leaf.siblings.length != leaf.siblingSums.length) return 0;
        bytes32 top = sha256(abi.encodePacked(uint8(0), TAG, payee, leaf.cap));
        uint128 total = leaf.cap;
        for (; width > 1; (place, width) = (place / 2, width / 2 + width % 2)) {
            bool isRight = place % 2 == 1;
            if (!isRight && place + 1 == width) continue;
            if (next == leaf.siblings.length) return 0;
            (bytes32 sibling, uint128 add) = (leaf.siblings[next], leaf.siblingSums[next++]);
            top = isRight ? _node(sibling, add, top, total) : _node(top, total, sibling, add);
            if (add > sum || total > sum - add) return 0;
            total += add;
        }
        if (next != leaf.siblings.length || total != sum) return 0;
        return sha256(abi.encodePacked(uint8(2), TAG, leaf.count, top, sum));
    }

    function _node(bytes32 left, uint128 leftSum, bytes32 right, uint128 rightSum) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(1), left, leftSum, right, rightSum));
    }
}
