// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PaymentToken} from "./PaymentToken.sol";

/// @title The token of a Talkoo network: payment and bonds
/// @notice One minter or none, fixed at deployment.
contract TalkooToken is PaymentToken {
    /// Who may mint; zero: nobody, the supply is fixed.
    address public immutable minter;

    error NotMinter(address caller);

    constructor(string memory name_, string memory symbol_, address minter_, address holder, uint256 supply)
        PaymentToken(name_, symbol_)
    {
        minter = minter_;
        if (supply > 0) _mint(holder, supply);
    }

    /// @notice Makes `amount` new units for `to`.
    function mint(address to, uint256 amount) external {
        require(msg.sender == minter, NotMinter(msg.sender));
        _mint(to, amount);
    }
}
