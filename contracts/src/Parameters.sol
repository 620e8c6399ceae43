// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDepositStop} from "./DepositGate.sol";

/// @title Values of the network that change slowly, and a brake for deposits
/// @notice
///
///   None ──propose──► Proposed(value, from) ──after from: enact──► None, the value stands
///                        │ ──cancel──► None
///                        └─GRACE_S after from──► Stale: only cancel or propose anew
///
/// The guardian can stop deposits for `STOP_S` at a time, and not again before as long has passed without a stop; it
/// can touch no value and no exit.
contract Parameters is IDepositStop {
    struct Proposal {
        uint256 value;
        uint40 from;
    }

    /// A value's bounds, fixed at deployment.
    struct Range {
        uint256 least;
        uint256 most;
    }

    /// One parameter as deployed.
    struct Initial {
        bytes32 key;
        uint256 value;
        Range range;
    }

    uint40 public constant GRACE_S = 14 days;
    uint40 public constant STOP_S = 7 days;

    address public immutable governor;
    address public immutable guardian;
    uint40 public immutable DELAY_S;

    mapping(bytes32 key => uint256) private values;
    mapping(bytes32 key => Range) public ranges;
    mapping(bytes32 key => Proposal) public proposals;
    /// When the last stop ends or ended.
    uint40 public stoppedUntil;

    event Proposed(bytes32 indexed key, uint256 value, uint40 from);
    event Cancelled(bytes32 indexed key);
    event Applied(bytes32 indexed key, uint256 value);
    event Stopped(uint40 until);
    event Resumed();

    error NotAllowed(address caller);
    error UnknownKey(bytes32 key);
    error OutOfRange(uint256 least, uint256 most);
    error NoProposal(bytes32 key);
    error TooEarly(uint256 from);
    error Stale(bytes32 key);

    constructor(address governor_, address guardian_, uint40 delayS, Initial[] memory initial) {
        (governor, guardian, DELAY_S) = (governor_, guardian_, delayS);
        for (uint256 i = 0; i < initial.length; i++) {
            Initial memory one = initial[i];
            ranges[one.key] = one.range;
            _checkRange(one.key, one.value);
            values[one.key] = one.value;
            emit Applied(one.key, one.value);
        }
    }

    modifier only(address who) {
        require(msg.sender == who, NotAllowed(msg.sender));
        _;
    }

    /// @notice Announces a change; replaces an announced one and starts its time anew.
    function propose(bytes32 key, uint256 value) external only(governor) {
        _checkRange(key, value);
        uint40 from = uint40(block.timestamp) + DELAY_S;
        proposals[key] = Proposal(value, from);
        emit Proposed(key, value, from);
    }

    /// @notice Takes an announcement back.
    function cancel(bytes32 key) external only(governor) {
        delete proposals[key];
        emit Cancelled(key);
    }

    /// @notice Makes an announced change stand, after its time; anyone may call.
    function enact(bytes32 key) external {
        Proposal memory proposal = proposals[key];
        require(proposal.from != 0, NoProposal(key));
        require(block.timestamp >= proposal.from, TooEarly(proposal.from));
        require(block.timestamp < uint256(proposal.from) + GRACE_S, Stale(key));
        delete proposals[key];
        values[key] = proposal.value;
        emit Applied(key, proposal.value);
    }

    /// @notice Stops deposits for a while.
    function stopDeposits() external only(guardian) {
        uint256 from = stoppedUntil == 0 ? 0 : uint256(stoppedUntil) + STOP_S;
        require(block.timestamp >= from, TooEarly(from));
        stoppedUntil = uint40(block.timestamp) + STOP_S;
        emit Stopped(stoppedUntil);
    }

    /// @notice Ends a stop before its time.
    function resumeDeposits() external only(guardian) {
        require(depositsStopped(), NotAllowed(msg.sender));
        stoppedUntil = uint40(block.timestamp);
        emit Resumed();
    }

    /// @notice A parameter's value.
    function get(bytes32 key) external view returns (uint256) {
        require(ranges[key].most != 0, UnknownKey(key));
        return values[key];
    }

    /// @inheritdoc IDepositStop
    function depositsStopped() public view returns (bool) {
        return block.timestamp < stoppedUntil;
    }

    function _checkRange(bytes32 key, uint256 value) private view {
        Range storage range = ranges[key];
        require(range.most != 0, UnknownKey(key));
        require(range.least <= value && value <= range.most, OutOfRange(range.least, range.most));
    }
}
