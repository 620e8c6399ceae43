// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The part of `Parameters` that contracts which take money ask.
interface IDepositStop {
    /// @return whether the guardian has stopped deposits for now
    function depositsStopped() external view returns (bool);
}

/// @title Deposits that a guardian can stop
/// @notice Only ways in carry the modifier; no way out ever does.
abstract contract DepositGate {
    /// Who says whether deposits are stopped; zero: nobody can stop them.
    IDepositStop public immutable gate;

    error DepositsStopped();

    constructor(IDepositStop gate_) {
        gate = gate_;
    }

    modifier depositsOpen() {
        require(address(gate) == address(0) || !gate.depositsStopped(), DepositsStopped());
        _;
    }
}
