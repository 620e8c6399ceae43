// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AttentionReferee} from "./AttentionReferee.sol";
import {Evidence} from "./Evidence.sol";
import {IBatchSettlement} from "./IBatchSettlement.sol";
import {BLOCK} from "./Claims.sol";
import "./Leases.sol";
import {checkLength, checkPath, checkRoot, climb, fold, leafOf} from "./Openings.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Which questions a worker has to answer, and what answers them
/// @notice {Disputes} asks with the very calls it was called with. A question is one that an honest worker can answer: what
/// it names is shown.
contract DisputeQuestions is Evidence {
    /// Vectors of one question.
    uint256 public constant VECTORS_MAX = 96;
    /// Levels of a tree that one answer shows.
    uint256 public constant DOWN_MAX = 9;
    /// Levels of a tree below a node whose leaves are told whole.
    uint256 public constant WHOLE_MAX = 2;

    /// Bytes of a state: more could be told, and not convicted of, within a transaction of 128 KiB.
    uint256 public constant STATE_MAX = 100_000;

    /// Not one that can be asked.
    error WrongQuestion();
    /// Not the one that was asked for.
    error WrongAnswer();

    constructor(IBatchSettlement settlement_, AttentionReferee attention_) Evidence(settlement_, attention_) {}

    /// @notice The names of words and lease, if the question can be asked.
    function ask(Words calldata w, Signatures calldata s, Question calldata q, Support calldata u, Bond calldata)
        external
        view
        returns (bytes32 id, bytes32 lease)
    {
        (id, lease) = _signed(w, s);
        if (q.ask == Ask.Roots) {
            _checkInTrace(w, q.position);
            _measure(w, q.position, q.layer, 0, u.manifest);
            require(q.vectors.length > 0 && q.vectors.length <= VECTORS_MAX, WrongQuestion());
        } else if (q.ask == Ask.Vector) {
            require(_isOfVector(w, id, q, u), WrongQuestion());
        } else {
            (uint256 layers,,) = _measure(w, 0, 0, 0, u.manifest);
            require(q.count == _statesOf(w, q.chunk, layers), WrongQuestion());
            require(_isOfStates(w, q, u.chunk), WrongQuestion());
        }
    }

    /// @notice The names of words and lease, if the answer answers the question.
    function answer(Words calldata w, address, Question calldata q, Answer calldata a)
        external
        view
        returns (bytes32 id, bytes32 lease)
    {
        (id, lease) = _named(w);
        if (q.ask == Ask.Chunk) _checkStates(w, q, a);
        else if (q.ask == Ask.States) _checkNodes(STATES, q.count, q, a);
        else if (q.ask == Ask.State) _checkState(q, a);
        else if (q.ask == Ask.Vector) _checkVector(q, a);
        else _checkSaid(w, id, q, a.roots);
    }

    /// @notice The names of words and lease.
    function timeout(Words calldata w, address) external view returns (bytes32 id, bytes32 lease) {
        return _named(w);
    }

    /// @notice The names of words and lease.
    function lapse(Words calldata w, address) external view returns (bytes32 id, bytes32 lease) {
        return _named(w);
    }

    function _isOfStates(Words calldata w, Question calldata q, ChunkOpening calldata chunk)
        private
        pure
        returns (bool)
    {
        if (q.ask == Ask.Chunk) return q.down <= DOWN_MAX && q.down <= _height(q.count);
        _checkChunk(w, chunk);
        if (chunk.index != q.chunk || chunk.statesRoot != q.root) return false;
        return q.ask == Ask.State ? q.index < q.count : _isWindow(q, q.count);
    }

    function _isOfVector(Words calldata w, bytes32 id, Question calldata q, Support calldata u)
        private
        view
        returns (bool)
    {
        _checkRoots(w, id, u.roots);
        if (q.vectors.length != 1 || u.roots.position != q.position || u.roots.layer != q.layer) return false;
        (, uint256 length, bool exists) = _measure(w, q.position, q.layer, q.vectors[0], u.manifest);
        if (!exists || q.count != length || q.root == 0) return false;
        if (q.down > 0 ? !_isWindow(q, _leaves(q)) : !_isWhole(q)) return false;
        for (uint256 i = 0; i < u.roots.vectors.length; i++) {
            if (u.roots.vectors[i] == q.vectors[0] && u.roots.roots[i] == q.root) return true;
        }
        return false;
    }

    function _isWhole(Question calldata q) private pure returns (bool) {
        return q.level <= WHOLE_MAX && _isNode(q, _leaves(q));
    }

    function _isWindow(Question calldata q, uint256 leaves) private pure returns (bool) {
        return q.down > 0 && q.down <= DOWN_MAX && q.down <= q.level && _isNode(q, leaves);
    }

    /// Whether the tree has the node.
    function _isNode(Question calldata q, uint256 leaves) private pure returns (bool) {
        return q.level <= _height(leaves) && q.index < _width(leaves, q.level);
    }

    function _leaves(Question calldata q) private pure returns (uint256) {
        return (uint256(q.count) + BLOCK - 1) / BLOCK;
    }

    /// Levels above the leaves.
    function _height(uint256 leaves) private pure returns (uint256) {
        return Math.log2(leaves, Math.Rounding.Ceil);
    }

    /// Nodes of a level.
    function _width(uint256 leaves, uint256 level) private pure returns (uint256) {
        return (leaves + (1 << level) - 1) >> level;
    }

    /// Nodes that a node stands on, `down` levels below.
    function _below(uint256 leaves, uint256 level, uint256 index, uint256 down) private pure returns (uint256) {
        return Math.min(1 << down, _width(leaves, level - down) - (index << down));
    }

    function _checkStates(Words calldata w, Question calldata q, Answer calldata a) private pure {
        require(a.chunk.index == q.chunk, WrongAnswer());
        _checkChunk(w, a.chunk);
        checkLength(_width(q.count, _height(q.count) - q.down), a.nodes.length);
        checkRoot(STATES, q.count, fold(a.nodes, q.down), a.chunk.statesRoot);
    }

    function _checkNodes(string memory tag, uint256 leaves, Question calldata q, Answer calldata a) private pure {
        checkLength(_below(leaves, q.level, q.index, q.down), a.nodes.length);
        _checkNode(tag, leaves, q, fold(a.nodes, q.down), a.siblings);
    }

    function _checkNode(
        string memory tag,
        uint256 leaves,
        Question calldata q,
        bytes32 node,
        bytes32[] calldata siblings
    ) private pure {
        checkRoot(tag, leaves, climb(node, q.index, _width(leaves, q.level), siblings), q.root);
    }

    function _checkState(Question calldata q, Answer calldata a) private pure {
        require(a.data.length <= STATE_MAX, TooLong(a.data.length));
        bytes32 leaf = leafOf(STATES, abi.encodePacked(sha256(a.data)));
        checkPath(STATES, leaf, [uint256(q.index), q.count], a.siblings, q.root);
    }

    function _checkVector(Question calldata q, Answer calldata a) private pure {
        uint256 leaves = _leaves(q);
        if (q.down > 0) return _checkNodes(VECTOR, leaves, q, a);
        bytes32[] memory nodes = new bytes32[](_below(leaves, q.level, q.index, q.level));
        uint256 from = (uint256(q.index) << q.level) * BLOCK;
        checkLength(16 * Math.min(nodes.length * BLOCK, q.count - from), a.data.length);
        for (uint256 i = 0; i < nodes.length; i++) {
            uint256 end = Math.min((i + 1) * BLOCK * 16, a.data.length);
            nodes[i] = leafOf(VECTOR, abi.encodePacked(q.vectors[0], a.data[i * BLOCK * 16:end]));
        }
        _checkNode(VECTOR, leaves, q, fold(nodes, q.level), a.siblings);
    }

    function _checkSaid(Words calldata w, bytes32 id, Question calldata q, VectorRoots calldata v) private view {
        bool isAll = keccak256(abi.encodePacked(v.vectors)) == keccak256(abi.encodePacked(q.vectors));
        require(isAll && v.position == q.position && v.layer == q.layer, WrongAnswer());
        _checkRoots(w, id, v);
    }
}
