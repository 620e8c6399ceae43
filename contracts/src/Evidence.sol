// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AttentionReferee} from "./AttentionReferee.sol";
import {Opening, Place, Spot, Tensor, BLOCK} from "./Claims.sol";
import {IBatchSettlement} from "./IBatchSettlement.sol";
import "./Leases.sol";
import {checkLength, checkPath, LeafOutOfRange, leafOf} from "./Openings.sol";
import {hasParam} from "./Params.sol";
import {Records} from "./Records.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title What shows who said what in a dispute
abstract contract Evidence is Records {
    /// Output tokens of a chunk.
    uint256 internal constant CHUNK = 32;
    /// Of a receipt's `finish`: a token of the output to re-run is not the honest one.
    uint8 private constant DIVERGED = 4;
    /// Bytes of a token's log probabilities: its own and 20 others'. What were longer could be shown, and no conviction that
    /// shows it would fit into a transaction.
    uint256 private constant LOGPROBS_MAX = 8 + 20 * 8;
    string internal constant STATES = "talkoo/states/1";
    string internal constant VECTOR = "talkoo/vector/1";
    string private constant TRACE = "talkoo/trace/1";

    bytes32 private constant LIMITS_TYPEHASH =
        keccak256("Limits(uint64 inputUnits,uint64 outputUnits,uint64 stateBytes)");
    bytes32 private constant PRICE_TYPEHASH = keccak256("Price(uint128 input,uint128 output)");
    bytes32 private constant REQUEST_TYPEHASH = keccak256(
        "Request(uint16 version,uint8 kind,bytes32 job,bytes32 program,bytes32[] inputs,bytes params,Limits limits,uint64 seed,bytes32 auditCommit,uint8 audit,Price price,uint64 deadline,address worker,bytes32 channelId)Limits(uint64 inputUnits,uint64 outputUnits,uint64 stateBytes)Price(uint128 input,uint128 output)"
    );
    bytes32 private constant RECEIPT_TYPEHASH = keccak256(
        "Receipt(uint16 version,uint8 tier,bytes32 requestHash,uint8 unit,uint64 units,bytes32 outputRoot,bytes32 traceRoot,bytes32 buildHash,address operator,address node,bytes32 channelId,uint128 cumulative,uint8 finish)"
    );
    bytes32 private constant ROOTS_TYPEHASH =
        keccak256("VectorRoots(bytes32 receipt,uint32 position,uint32 layer,uint64[] vectors,bytes32[] roots)");

    IBatchSettlement public immutable settlement;
    AttentionReferee public immutable attention;

    /// Request, receipt and channel do not belong together.
    error NotOneLease();
    /// No generation of the exact tier, nor the audit of one.
    error NotJudged();
    /// The receipt says that it found another token: it commits to no whole run.
    error Diverged();
    error WrongSigner(address want, address have);
    error OutsideTrace(uint256 position);
    /// No honest run commits to so many bytes.
    error TooLong(uint256 have);
    /// The node's word has no root of the vector, or is about another position or layer.
    error NotSaid(uint64 vector);

    constructor(IBatchSettlement settlement_, AttentionReferee attention_) {
        (settlement, attention) = (settlement_, attention_);
    }

    /// The names of words and lease, if they belong together.
    function _named(Words calldata w) internal view returns (bytes32 id, bytes32 lease) {
        Receipt calldata r = w.receipt;
        (id, lease) = (_digest(keccak256(abi.encode(RECEIPT_TYPEHASH, r))), _digest(_hashOf(w.request)));
        bytes32 channel = settlement.getChannelId(w.channel);
        bool isOne = r.requestHash == lease && r.channelId == channel && w.request.channelId == channel;
        require(isOne && w.channel.receiverAuthorizer == r.operator && w.request.worker == r.node, NotOneLease());
    }

    /// The same of words that both sides signed and that can be judged.
    function _signed(Words calldata w, Signatures calldata s) internal view returns (bytes32 id, bytes32 lease) {
        (id, lease) = _named(w);
        uint256 inputs = w.request.inputs.length;
        bool isJudged = w.receipt.tier == 0 && w.request.kind == 0 && (inputs == 2 || inputs == 3);
        if (isJudged && inputs == 3) {
            require(w.receipt.finish != DIVERGED, Diverged());
            // A verifier does not keep the log probabilities that its chunks commit to.
            isJudged = w.receipt.units < w.request.limits.inputUnits && !hasParam(w.request.params, "top_logprobs");
        }
        require(isJudged && w.request.limits.inputUnits > 0, NotJudged());
        _checkSigner(lease, s.request, w.channel.payerAuthorizer);
        _checkSigner(id, s.receipt, w.receipt.node);
    }

    function _checkSigner(bytes32 digest, bytes calldata signature, address want) private pure {
        address have = ECDSA.recover(digest, signature);
        require(have == want, WrongSigner(want, have));
    }

    function _hashOf(Request calldata q) private pure returns (bytes32) {
        bytes memory first =
            abi.encode(REQUEST_TYPEHASH, q.version, q.kind, q.job, q.program, keccak256(abi.encodePacked(q.inputs)));
        bytes32 limits = keccak256(abi.encode(LIMITS_TYPEHASH, q.limits));
        bytes memory second = abi.encode(keccak256(q.params), limits, q.seed, q.auditCommit, q.audit);
        bytes32 price = keccak256(abi.encode(PRICE_TYPEHASH, q.price));
        return keccak256(bytes.concat(first, second, abi.encode(price, q.deadline, q.worker, q.channelId)));
    }

    /// The node said these roots, of a position of the trace.
    function _checkRoots(Words calldata w, bytes32 id, VectorRoots calldata v) internal view {
        _checkInTrace(w, v.position);
        checkLength(v.vectors.length, v.roots.length);
        bytes32 vectors = keccak256(abi.encodePacked(v.vectors));
        bytes32 roots = keccak256(abi.encodePacked(v.roots));
        bytes32 structHash = keccak256(abi.encode(ROOTS_TYPEHASH, id, v.position, v.layer, vectors, roots));
        _checkSigner(_digest(structHash), v.signature, w.receipt.node);
    }

    /// Tokens of the prompt; the inputs of an audit's order are those of the output, too.
    function _promptOf(Words calldata w) internal pure returns (uint256) {
        uint256 inputs = w.request.limits.inputUnits;
        return w.request.inputs.length == 3 ? inputs - w.receipt.units : inputs;
    }

    /// The position from whose state the first output token is drawn.
    function _firstOutput(Words calldata w) internal pure returns (uint256) {
        return _promptOf(w) - 1;
    }

    function _checkInTrace(Words calldata w, uint256 position) internal pure {
        uint256 units = w.receipt.units;
        require(units > 0 && position < _firstOutput(w) + units, OutsideTrace(position));
    }

    /// The chunk with the states of a position.
    function _chunkOf(Words calldata w, uint256 position) internal pure returns (uint256) {
        uint256 first = _firstOutput(w);
        return position < first ? 0 : (position - first) / CHUNK;
    }

    /// Output tokens of a chunk.
    function _tokensOf(Words calldata w, uint256 chunk) internal pure returns (uint256) {
        (uint256 units, uint256 from) = (w.receipt.units, chunk * CHUNK);
        require(from < units, LeafOutOfRange(chunk, (units + CHUNK - 1) / CHUNK));
        return units - from < CHUNK ? units - from : CHUNK;
    }

    /// States of a chunk.
    function _statesOf(Words calldata w, uint256 chunk, uint256 layers) internal pure returns (uint256) {
        return (_tokensOf(w, chunk) + (chunk == 0 ? _firstOutput(w) : 0)) * layers;
    }

    /// The receipt's trace has this chunk.
    function _checkChunk(Words calldata w, ChunkOpening calldata o) internal pure {
        uint256 count = _tokensOf(w, o.index);
        checkLength(4 * count, o.tokens.length);
        require(o.logprobs.length <= count * LOGPROBS_MAX, TooLong(o.logprobs.length));
        bytes32 digest = sha256(
            abi.encodePacked("talkoo/chunk/1", w.request.inputs[1], o.index, uint32(count), o.tokens, o.statesRoot)
        );
        if (o.logprobs.length > 0) digest = sha256(abi.encodePacked("talkoo/logprobs/1", digest, o.logprobs));
        uint256 chunks = (uint256(w.receipt.units) + CHUNK - 1) / CHUNK;
        bytes32 leaf = leafOf(TRACE, abi.encodePacked(digest));
        checkPath(TRACE, leaf, [uint256(o.index), chunks], o.siblings, w.receipt.traceRoot);
    }

    /// Output token number `place`, of its chunk.
    function _tokenAt(Words calldata w, ChunkOpening calldata o, uint256 place) internal pure returns (uint32) {
        _checkChunk(w, o);
        require(o.index == place / CHUNK, LeafOutOfRange(place / CHUNK, o.index));
        uint256 from = place % CHUNK * 4;
        return uint32(bytes4(o.tokens[from:from + 4]));
    }

    /// Layers of the model, length of a vector of a position, and whether there is one.
    function _measure(Words calldata w, uint256 position, uint32 layer, uint64 vector, Tensor calldata manifest)
        internal
        view
        returns (uint256 layers, uint256 length, bool exists)
    {
        Spot memory spot = Spot(w.request.program, layer, uint32(position), vector);
        (layers, length, exists) = attention.measure(spot, manifest);
        // What is drawn is drawn from the last position of the prompt on.
        bool isDrawn = vector >> 40 >= uint256(Place.OutputNorm);
        exists = exists && (!isDrawn || position >= _firstOutput(w));
    }

    /// A leaf of a vector with this root opens.
    function _checkLeaf(uint64 vector, uint256 length, bytes32 root, Opening calldata o) internal pure {
        uint256 count = (length + BLOCK - 1) / BLOCK;
        bytes32 leaf = leafOf(VECTOR, abi.encodePacked(vector, o.elements));
        checkPath(VECTOR, leaf, [uint256(o.leaf), count], o.siblings, root);
    }
}
