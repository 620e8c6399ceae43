// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @title Pull payments in one token
/// @notice Machines only credit; the sole transfer out is {withdraw}, which anyone may trigger for anyone.
abstract contract Credits is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// The one token this contract holds.
    IERC20 public immutable token;
    /// What each account may withdraw, in the token's units.
    mapping(address account => uint256) public credit;

    event Withdrawn(address indexed account, uint256 amount);

    error NothingToWithdraw(address account);
    error ShortTransfer(uint256 need, uint256 have);

    constructor(IERC20 token_) {
        token = token_;
    }

    /// @notice Sends `account` its credit.
    function withdraw(address account) external nonReentrant {
        uint256 amount = credit[account];
        require(amount > 0, NothingToWithdraw(account));
        credit[account] = 0;
        emit Withdrawn(account, amount);
        token.safeTransfer(account, amount);
    }

    /// Takes exactly `amount`; a token that delivers less is refused. Callers are `nonReentrant`.
    function _take(address from, uint256 amount) internal {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), amount);
        uint256 got = token.balanceOf(address(this)) - before;
        require(got >= amount, ShortTransfer(amount, got));
    }
}
