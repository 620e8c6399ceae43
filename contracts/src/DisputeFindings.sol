// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLOCK, Claim, Opening, Place, Spot, Stage} from "./Claims.sol";
import {Evidence} from "./Evidence.sol";
import {IBatchSettlement} from "./IBatchSettlement.sol";
import {OUT_OF_RANGE} from "./Integers.sol";
import "./Leases.sol";
import {checkPath, elementAt, leafOf} from "./Openings.sol";
import {drawOf} from "./Params.sol";
import {Referee} from "./Referee.sol";

/// @title What convicts a worker: two things it said that do not fit
/// @notice {Disputes} asks with the very calls it was called with. All that a finding is about is shown to be the worker's
/// word or the client's; an honest worker never said two things that do not fit.
contract DisputeFindings is Evidence {
    string private constant PROMPT = "talkoo/prompt/1";
    string private constant OUTPUT = "talkoo/output/1";

    Referee public immutable referee;

    /// A field of the claim is not what was said.
    error WrongClaim(string field);
    /// It fits.
    error NothingWrong();

    constructor(IBatchSettlement settlement_, Referee referee_) Evidence(settlement_, referee_.attention()) {
        referee = referee_;
    }

    /// @notice The names of words and lease, if the element is not what it has to be.
    function convictElement(Words calldata w, Signatures calldata s, Finding calldata f)
        external
        view
        returns (bytes32 id, bytes32 lease)
    {
        (id, lease) = _signed(w, s);
        Claim calldata c = f.claim;
        require(c.modelRoot == w.request.program, WrongClaim("modelRoot"));
        for (uint256 i = 0; i < f.roots.length; i++) {
            VectorRoots calldata v = f.roots[i];
            require(v.position == c.position && v.layer == c.layer, WrongClaim("roots"));
            _checkRoots(w, id, v);
        }
        (uint256 layers, bool canBe) = _checkClaimed(w, f);
        if (!canBe) return (id, lease);
        for (uint256 i = 0; i < c.inputs.length; i++) {
            require(_rootOf(f.roots, c.inputs[i].vector) == c.inputs[i].root, WrongClaim("inputs"));
        }
        if (c.state != 0) _checkState(w, f, layers);
        Place place = Place(c.vector >> 40);
        if (place == Place.Residual && c.layer == 0) _checkToken(w, f);
        if (place == Place.Sampler) _checkDraw(w, c);
        (, bool holds) = referee.check(c, f.witness);
        require(!holds, NothingWrong());
    }

    /// @notice The names of words and lease, if a state is none or differs from the node's word on its numbers.
    function convictState(Words calldata w, Signatures calldata s, StateFinding calldata f)
        external
        view
        returns (bytes32 id, bytes32 lease)
    {
        (id, lease) = _signed(w, s);
        _checkInTrace(w, f.roots.position);
        (uint256 layers, uint256 length,) = _measure(w, f.roots.position, f.roots.layer, f.vector, f.manifest);
        uint256[3] memory place = [uint256(f.roots.position), f.roots.layer, layers];
        _checkStateAt(w, f.chunk, place, sha256(f.state), f.siblings);
        Spot memory spot = Spot(w.request.program, f.roots.layer, f.roots.position, f.vector);
        (int256 stated, bool isWhole) = attention.stated(spot, f.index, f.manifest, f.state);
        if (!isWhole) return (id, lease);
        _checkRoots(w, id, f.roots);
        (bytes32 root,) = _rootIn(f.roots, f.vector);
        _checkLeaf(f.vector, length, root, f.leaf);
        require(f.leaf.leaf == f.index / BLOCK, WrongClaim("leaf"));
        require(elementAt(f.leaf.elements, f.index % BLOCK) != stated, NothingWrong());
    }

    /// @notice The names of words and lease, if a token of the output is not that of the trace.
    function convictOutput(Words calldata w, Signatures calldata s, OutputFinding calldata f)
        external
        view
        returns (bytes32 id, bytes32 lease)
    {
        (id, lease) = _signed(w, s);
        bytes32 leaf = leafOf(OUTPUT, abi.encodePacked(f.salt, f.token));
        checkPath(OUTPUT, leaf, [uint256(f.place), w.receipt.units], f.siblings, w.receipt.outputRoot);
        require(_tokenAt(w, f.chunk, f.place) != f.token, NothingWrong());
    }

    /// @notice The names of words and lease, if the node said that there is no vector, and there is.
    function convictMissing(Words calldata w, Signatures calldata s, MissingFinding calldata f)
        external
        view
        returns (bytes32 id, bytes32 lease)
    {
        (id, lease) = _signed(w, s);
        VectorRoots calldata v = f.roots;
        _checkRoots(w, id, v);
        (,, bool exists) = _measure(w, v.position, v.layer, v.vectors[f.index], f.manifest);
        require(exists && v.roots[f.index] == 0, NothingWrong());
        // There is no draw of logits that the program does not have.
        if (v.vectors[f.index] >> 40 == uint256(Place.Sampler)) drawOf(w.request.params);
    }

    /// The element, and of a fold that before it, is what the node said; false if it is one that no honest run has: a token
    /// that is none of the model's, or a range error, with which a run ends.
    function _checkClaimed(Words calldata w, Finding calldata f) private view returns (uint256 layers, bool canBe) {
        Claim calldata c = f.claim;
        uint256 length;
        (layers, length, canBe) = _measure(w, c.position, c.layer, c.vector, f.witness.manifest);
        Stage stage = Stage(uint8(c.vector >> 32));
        if (c.vector >> 40 == uint256(Place.Sampler) && stage == Stage.Out) {
            _checkDrawn(w, f, layers);
            return (layers, canBe);
        }
        require(canBe, WrongClaim("vector"));
        bytes32 root = _rootOf(f.roots, c.vector);
        _checkLeaf(c.vector, length, root, f.leaf);
        require(_elementIs(f.leaf, c.index, c.claimed), WrongClaim("claimed"));
        if (c.index > 0 && _isFold(stage)) {
            bool isFirst = c.index % BLOCK == 0;
            if (isFirst) _checkLeaf(c.vector, length, root, f.before);
            require(_elementIs(isFirst ? f.before : f.leaf, c.index - 1, c.previous), WrongClaim("previous"));
        }
        canBe = c.claimed != OUT_OF_RANGE;
    }

    /// The trace says that the token is the one.
    function _checkDrawn(Words calldata w, Finding calldata f, uint256 layers) private pure {
        Claim calldata c = f.claim;
        require(uint256(c.layer) + 1 == layers && c.position >= _firstOutput(w), WrongClaim("vector"));
        uint32 token = _tokenAt(w, f.tokenChunk, c.position - _firstOutput(w));
        require(token == uint32(c.vector), WrongClaim("vector"));
        require(c.claimed == 1 && c.index == 0, WrongClaim("claimed"));
    }

    function _elementIs(Opening calldata o, uint256 index, int256 value) private pure returns (bool) {
        return o.leaf == index / BLOCK && elementAt(o.elements, index % BLOCK) == value;
    }

    /// Whether an element follows from the one before it, too.
    function _isFold(Stage s) private pure returns (bool) {
        bool isPlain = s == Stage.Out || s == Stage.Mantissas || s == Stage.Scores;
        return !isPlain && s != Stage.Weights && s != Stage.Aligned;
    }

    /// The claim's state is that of the layer below or, of attention, of an earlier position.
    function _checkState(Words calldata w, Finding calldata f, uint256 layers) private pure {
        Claim calldata c = f.claim;
        uint256[3] memory place = [uint256(c.position), c.layer, layers];
        if (c.vector >> 40 == uint256(Place.Residual) && c.layer > 0) {
            place[1] = c.layer - 1;
        } else {
            require(c.vector >> 40 == uint256(Place.Attention) && c.index < c.position, WrongClaim("state"));
            place[0] = c.index;
        }
        _checkStateAt(w, f.chunk, place, c.state, f.stateSiblings);
    }

    /// The state of place[0], a position, and place[1], a layer of place[2], has this digest.
    function _checkStateAt(
        Words calldata w,
        ChunkOpening calldata chunk,
        uint256[3] memory place,
        bytes32 digest,
        bytes32[] calldata siblings
    ) private pure {
        _checkChunk(w, chunk);
        uint256 number = _chunkOf(w, place[0]);
        require(chunk.index == number, WrongClaim("chunk"));
        uint256 from = number == 0 ? 0 : _firstOutput(w) + CHUNK * number;
        uint256[2] memory leaf = [(place[0] - from) * place[2] + place[1], _statesOf(w, number, place[2])];
        checkPath(STATES, leafOf(STATES, abi.encodePacked(digest)), leaf, siblings, chunk.statesRoot);
    }

    /// The claim's token is that of the prompt or of the output.
    function _checkToken(Words calldata w, Finding calldata f) private pure {
        Claim calldata c = f.claim;
        uint256 inputs = _promptOf(w);
        if (c.position < inputs) {
            bytes32 leaf = leafOf(PROMPT, abi.encodePacked(f.promptSalt, c.token));
            checkPath(PROMPT, leaf, [uint256(c.position), inputs], f.tokenSiblings, w.request.inputs[0]);
        } else {
            require(_tokenAt(w, f.tokenChunk, c.position - inputs) == c.token, WrongClaim("token"));
        }
    }

    /// The claim's draw is that of the request.
    function _checkDraw(Words calldata w, Claim calldata c) private pure {
        uint256[4] memory draw = drawOf(w.request.params);
        bool isSo = c.temperature == draw[0] && c.topK == draw[1] && c.topP == draw[2] && c.minP == draw[3];
        bool isHere = c.seed == w.request.seed && c.output == c.position - _firstOutput(w);
        require(isSo && isHere, WrongClaim("draw"));
    }

    function _rootOf(VectorRoots[] calldata roots, uint64 vector) private pure returns (bytes32) {
        for (uint256 i = 0; i < roots.length; i++) {
            (bytes32 root, bool isThere) = _rootIn(roots[i], vector);
            if (isThere) return root;
        }
        revert NotSaid(vector);
    }

    function _rootIn(VectorRoots calldata v, uint64 vector) private pure returns (bytes32 root, bool isThere) {
        for (uint256 i = 0; i < v.vectors.length; i++) {
            if (v.vectors[i] == vector) return (v.roots[i], true);
        }
    }
}
