// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PaymentToken} from "./PaymentToken.sol";

/// @title Starter credit of a test network: no value
/// @notice Moves only into and out of the venues listed at deployment, so it can pay for work but be neither traded
/// between people nor staked. Venues: settlement, deposit collectors, vault, escrow, allotments.
contract TestCredit is PaymentToken {
    /// The only minter.
    address public immutable faucet;
    /// Where credit may come from or go to.
    mapping(address account => bool) public isVenue;

    error NotFaucet(address caller);
    /// Neither end of the transfer is a venue.
    error NotTransferable(address from, address to);

    constructor(address faucet_, address[] memory venues) PaymentToken("Talkoo test credit (no value)", "testTALKOO") {
        faucet = faucet_;
        for (uint256 i = 0; i < venues.length; i++) {
            isVenue[venues[i]] = true;
        }
    }

    /// @notice Makes `amount` of credit for `to`.
    function mint(address to, uint256 amount) external {
        require(msg.sender == faucet, NotFaucet(msg.sender));
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        require(from == address(0) || isVenue[from] || isVenue[to], NotTransferable(from, to));
        super._update(from, to, value);
    }
}
