// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "./Credits.sol";
import {DepositGate, IDepositStop} from "./DepositGate.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title One-off jobs with a price, bonds and named verifiers
/// @notice
///
///   None ──post──► Open ──take──► Assigned ──submit──► Submitted ──accept, or challengeS over: settle──► Done: worker
///                   │                │                    │
///          workBy: settle    workBy: settle            challenge
///                   ▼                ▼                    ▼
///             Done: client     Done: client,         Challenged ──k uphold──► Done: client; worker's bond shared
///                              and worker's bond          │ ─────k reject──► Done: worker; challenger's bond shared
///                                                         └─verifyS over: settle──► Done: worker; both bonds back
///
/// Verifiers re-run the job outside and vote once. The client names them when it posts, the worker agrees by taking the
/// job, and who asserts a lie has to get their majority: silence leaves the result standing. Half of a lost bond is
/// the other side's, half the voters' who were right.
contract ComputeEscrow is Credits, DepositGate {
    enum State {
        None,
        Open,
        Assigned,
        Submitted,
        Challenged,
        Done
    }

    /// @param spec hash of the request
    /// @param workBy seconds; time of the latest submission
    /// @param challengeS seconds after a submission in which it can be challenged
    /// @param verifyS seconds after a challenge in which verifiers vote
    /// @param quorum votes that decide: more than half; without verifiers nothing can be challenged
    /// @param worker who alone may take it; zero: anyone
    struct Terms {
        bytes32 spec;
        uint128 price;
        uint128 workerBond;
        uint128 challengerBond;
        uint40 workBy;
        uint40 challengeS;
        uint40 verifyS;
        uint8 quorum;
        address worker;
        address[] verifiers;
    }

    /// @param end when the state's time is over
    struct Job {
        State state;
        uint40 end;
        address client;
        address worker;
        address challenger;
        bytes32 result;
        uint16 votedUphold;
        uint16 votedReject;
        Terms terms;
    }

    uint256 public constant VERIFIERS_MAX = 15;
    /// Longest time of a state.
    uint40 public constant STATE_S_MAX = 90 days;

    uint256 public jobCount;
    mapping(uint256 id => Job) private jobs;

    event Posted(uint256 indexed id, address indexed client, bytes32 indexed spec, uint128 price);
    event Taken(uint256 indexed id, address indexed worker);
    event Submitted(uint256 indexed id, bytes32 result);
    event Challenged(uint256 indexed id, address indexed challenger);
    event Voted(uint256 indexed id, address indexed verifier, bool upholds);
    event Finished(uint256 indexed id, bool paid);

    error BadTerms();
    error WrongState(State have);
    error TooLate(uint40 end);
    error TooEarly(uint40 end);
    error NotYours(address caller);

    constructor(IERC20 token_, IDepositStop gate_) Credits(token_) DepositGate(gate_) {}

    /// @notice Posts a job and locks its price.
    function post(Terms calldata terms) external nonReentrant depositsOpen returns (uint256 id) {
        uint40 now_ = uint40(block.timestamp);
        uint256 count = terms.verifiers.length;
        bool timely = terms.workBy > now_ && terms.workBy <= now_ + STATE_S_MAX && terms.challengeS <= STATE_S_MAX
            && terms.verifyS <= STATE_S_MAX;
        bool judged =
            count <= VERIFIERS_MAX && terms.quorum <= count && (uint256(terms.quorum) * 2 > count || count == 0);
        require(timely && judged, BadTerms());
        for (uint256 i = 1; i < count; i++) {
            require(terms.verifiers[i - 1] < terms.verifiers[i], BadTerms()); // ascending: nobody has two votes
        }
        id = ++jobCount;
        Job storage job = jobs[id];
        (job.state, job.end, job.client, job.terms) = (State.Open, terms.workBy, msg.sender, terms);
        emit Posted(id, msg.sender, terms.spec, terms.price);
        _take(msg.sender, terms.price);
    }

    /// @notice Takes a job and locks the worker's bond.
    function take(uint256 id) external nonReentrant depositsOpen {
        Job storage job = _in(id, State.Open);
        require(job.terms.worker == address(0) || job.terms.worker == msg.sender, NotYours(msg.sender));
        (job.state, job.worker) = (State.Assigned, msg.sender);
        emit Taken(id, msg.sender);
        _take(msg.sender, job.terms.workerBond);
    }

    /// @notice The worker commits to its result.
    function submit(uint256 id, bytes32 result) external {
        Job storage job = _in(id, State.Assigned);
        require(msg.sender == job.worker, NotYours(msg.sender));
        (job.state, job.result, job.end) = (State.Submitted, result, uint40(block.timestamp) + job.terms.challengeS);
        emit Submitted(id, result);
    }

    /// @notice The client is content.
    function accept(uint256 id) external {
        Job storage job = jobs[id];
        require(job.state == State.Submitted, WrongState(job.state));
        require(msg.sender == job.client, NotYours(msg.sender));
        _pay(id, job);
    }

    /// @notice Says that the result is wrong and locks a bond on it; anyone but the worker.
    function challenge(uint256 id) external nonReentrant {
        Job storage job = _in(id, State.Submitted);
        require(msg.sender != job.worker && job.terms.quorum > 0, NotYours(msg.sender));
        (job.state, job.challenger) = (State.Challenged, msg.sender);
        job.end = uint40(block.timestamp) + job.terms.verifyS;
        emit Challenged(id, msg.sender);
        _take(msg.sender, job.terms.challengerBond);
    }

    /// @notice A verifier's word, once; the last one of a quorum ends the job.
    /// @param seat the caller's place in the list of verifiers
    function vote(uint256 id, uint256 seat, bool upholds) external {
        Job storage job = _in(id, State.Challenged);
        Terms storage terms = job.terms;
        uint16 mark = uint16(1 << seat);
        bool first = (job.votedUphold | job.votedReject) & mark == 0;
        require(terms.verifiers[seat] == msg.sender && first, NotYours(msg.sender));
        if (upholds) job.votedUphold |= mark;
        else job.votedReject |= mark;
        emit Voted(id, msg.sender, upholds);
        if (_votes(job.votedUphold) == terms.quorum) {
            credit[job.client] += terms.price;
            credit[job.challenger] += terms.challengerBond;
            _share(terms, terms.workerBond, job.challenger, job.votedUphold);
            _finish(id, job, false);
        } else if (_votes(job.votedReject) == terms.quorum) {
            credit[job.worker] += uint256(terms.price) + terms.workerBond;
            _share(terms, terms.challengerBond, job.worker, job.votedReject);
            _finish(id, job, true);
        }
    }

    /// @notice Ends a state whose time is over; anyone may call.
    function settle(uint256 id) external {
        Job storage job = jobs[id];
        State state = job.state;
        require(state != State.None && state != State.Done, WrongState(state));
        require(block.timestamp >= job.end, TooEarly(job.end));
        if (state == State.Open || state == State.Assigned) {
            uint256 lost = state == State.Assigned ? job.terms.workerBond : 0;
            credit[job.client] += job.terms.price + lost;
            _finish(id, job, false);
        } else {
            if (state == State.Challenged) credit[job.challenger] += job.terms.challengerBond;
            _pay(id, job);
        }
    }

    /// @notice All of a job.
    function jobOf(uint256 id) external view returns (Job memory) {
        return jobs[id];
    }

    function _pay(uint256 id, Job storage job) private {
        credit[job.worker] += uint256(job.terms.price) + job.terms.workerBond;
        _finish(id, job, true);
    }

    function _finish(uint256 id, Job storage job, bool paid) private {
        job.state = State.Done;
        emit Finished(id, paid);
    }

    /// Half of a lost bond to `winner`, half to the marked verifiers; what does not divide is the winner's.
    function _share(Terms storage terms, uint256 lost, address winner, uint16 marks) private {
        uint256 each = lost / 2 / _votes(marks);
        for (uint256 i = 0; i < terms.verifiers.length; i++) {
            if (marks & (1 << i) == 0) continue;
            credit[terms.verifiers[i]] += each;
            lost -= each;
        }
        credit[winner] += lost;
    }

    function _votes(uint16 marks) private pure returns (uint256 count) {
        for (; marks != 0; marks &= marks - 1) {
            count++;
        }
    }

    /// The job, if it is in `state` and in time.
    function _in(uint256 id, State state) private view returns (Job storage job) {
        job = jobs[id];
        require(job.state == state, WrongState(job.state));
        require(block.timestamp < job.end, TooLate(job.end));
    }
}
