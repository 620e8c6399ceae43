// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Claim, Opening, Tensor, Witness} from "./Claims.sol";
import {Delegations} from "./Delegations.sol";
import {IBatchSettlement} from "./IBatchSettlement.sol";

// The records of a lease as pure/base signs them, and what the two sides of a dispute say.

struct Limits {
    uint64 inputUnits;
    uint64 outputUnits;
    uint64 stateBytes;
}

struct Price {
    uint128 input;
    uint128 output;
}

/// @param inputs prompt root, trace id; an audit's order has a third, the root of the output to re-run
struct Request {
    uint16 version;
    uint8 kind;
    bytes32 job;
    bytes32 program;
    bytes32[] inputs;
    bytes params;
    Limits limits;
    uint64 seed;
    bytes32 auditCommit;
    uint8 audit;
    Price price;
    uint64 deadline;
    address worker;
    bytes32 channelId;
}

struct Receipt {
    uint16 version;
    uint8 tier;
    bytes32 requestHash;
    uint8 unit;
    uint64 units;
    bytes32 outputRoot;
    bytes32 traceRoot;
    bytes32 buildHash;
    address operator;
    address node;
    bytes32 channelId;
    uint128 cumulative;
    uint8 finish;
}

/// What worker and client agreed on. The digest of the receipt names the words, that of the request the lease.
struct Words {
    Request request;
    Receipt receipt;
    IBatchSettlement.ChannelConfig channel;
}

/// @param delegation signed by the operator and not granted yet, if there is a signature
/// @param grant number in the operator's history of the grant under which the node worked, if it has none now
struct Signatures {
    bytes request;
    bytes receipt;
    Delegations.Delegation delegation;
    bytes delegationSignature;
    uint64 grant;
}

/// A chunk of the trace.
/// @param tokens u32 BE each
/// @param logprobs their log probabilities, if the chunk commits to them
struct ChunkOpening {
    uint32 index;
    bytes tokens;
    bytes32 statesRoot;
    bytes logprobs;
    bytes32[] siblings;
}

/// The node's signed word on vectors of one position and layer; a zero root: there is no such vector.
struct VectorRoots {
    uint32 position;
    uint32 layer;
    uint64[] vectors;
    bytes32[] roots;
    bytes signature;
}

/// What is asked for: a chunk, nodes of its states' tree, a state, roots of vectors, nodes or numbers of a vector.
enum Ask {
    Chunk,
    States,
    State,
    Roots,
    Vector
}

/// @param root of the tree that is asked about
/// @param count leaves of that tree; of Vector: elements
/// @param level of the node that is asked about, from the leaves up
/// @param index of the node in its level
/// @param down levels below it that the answer is from; of Chunk: below the top
struct Question {
    Ask ask;
    uint32 chunk;
    uint32 position;
    uint32 layer;
    uint64[] vectors;
    bytes32 root;
    uint64 count;
    uint8 level;
    uint64 index;
    uint8 down;
}

/// What shows that there is what a question names.
struct Support {
    ChunkOpening chunk;
    VectorRoots roots;
    Tensor manifest;
}

/// The challenger's bond, authorised by ERC-3009 with the nonce keccak256(digest of the receipt, who asks).
struct Bond {
    address from;
    uint256 validAfter;
    uint256 validBefore;
    bytes signature;
}

struct Answer {
    ChunkOpening chunk;
    bytes32[] nodes;
    bytes32[] siblings;
    bytes data;
    VectorRoots roots;
}

/// One element that does not follow from what the node said itself.
/// @param roots the node's word on all vectors that the claim is about
/// @param leaf of the claim's vector, with the element
/// @param before the leaf before it, if the element before is there
/// @param chunk shows the claim's state
/// @param tokenChunk shows the token of an output position, or the token drawn
/// @param promptSalt shows the token of a prompt's position
/// @param beneficiary gets the finder's share
struct Finding {
    Claim claim;
    Witness witness;
    VectorRoots[] roots;
    Opening leaf;
    Opening before;
    ChunkOpening chunk;
    bytes32[] stateSiblings;
    ChunkOpening tokenChunk;
    bytes32 promptSalt;
    bytes32[] tokenSiblings;
    address beneficiary;
}

/// A state that is none, or says of element `index` of its Output or Row other than the node.
/// @param state its bytes, of position and layer of `roots`
struct StateFinding {
    ChunkOpening chunk;
    bytes state;
    bytes32[] siblings;
    VectorRoots roots;
    uint64 vector;
    uint32 index;
    Opening leaf;
    Tensor manifest;
    address beneficiary;
}

/// Token number `place` of the output: one in the trace, another in the output root.
struct OutputFinding {
    ChunkOpening chunk;
    uint64 place;
    uint32 token;
    bytes32 salt;
    bytes32[] siblings;
    address beneficiary;
}

/// Number `index` of `roots` is zero, and the program has the vector.
struct MissingFinding {
    VectorRoots roots;
    uint32 index;
    Tensor manifest;
    address beneficiary;
}
