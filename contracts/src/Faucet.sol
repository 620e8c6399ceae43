// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TestCredit} from "./TestCredit.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @title Starter credit and gas for newcomers, on test networks only
/// @notice Sponsors give; what an account, an invite and an epoch may get is capped. Holds native coins for gas and is
/// the minter of `TestCredit`. Nothing here has value, and nobody waits for anything: it has no states.
contract Faucet is AccessControl {
    using Address for address payable;

    /// An amount of credit and an amount of native coins.
    struct Pair {
        uint128 credit;
        uint128 gas;
    }

    bytes32 public constant SPONSOR = keccak256("SPONSOR");

    TestCredit public immutable credit;
    uint40 public immutable EPOCH_S;
    /// At most, in all, for an account and for an invite; and for all accounts in an epoch.
    Pair public accountMost;
    Pair public inviteMost;
    Pair public epochMost;

    mapping(address account => Pair) public toAccount;
    mapping(bytes32 invite => Pair) public toInvite;
    mapping(uint256 epoch => Pair) public inEpoch;

    event Granted(address indexed account, bytes32 indexed invite, uint128 credit, uint128 gas);

    error CapReached(string which, uint128 need, uint128 have);

    struct Options {
        TestCredit credit;
        address admin;
        address[] sponsors;
        uint40 epochS;
        Pair accountMost;
        Pair inviteMost;
        Pair epochMost;
    }

    constructor(Options memory options) payable {
        (credit, EPOCH_S) = (options.credit, options.epochS);
        (accountMost, inviteMost, epochMost) = (options.accountMost, options.inviteMost, options.epochMost);
        _grantRole(DEFAULT_ADMIN_ROLE, options.admin);
        for (uint256 i = 0; i < options.sponsors.length; i++) {
            _grantRole(SPONSOR, options.sponsors[i]);
        }
    }

    /// @notice Native coins for newcomers' gas.
    receive() external payable {}

    /// @notice Gives `account` test credit and gas in the name of `invite`.
    function grant(address payable account, bytes32 invite, Pair calldata amount) external onlyRole(SPONSOR) {
        _count(toAccount[account], amount, accountMost, "account");
        _count(toInvite[invite], amount, inviteMost, "invite");
        _count(inEpoch[block.timestamp / EPOCH_S], amount, epochMost, "epoch");
        emit Granted(account, invite, amount.credit, amount.gas);
        if (amount.credit > 0) credit.mint(account, amount.credit);
        if (amount.gas > 0) account.sendValue(amount.gas);
    }

    /// @notice The admin takes the native coins back, when the test ends.
    function close(address payable to) external onlyRole(DEFAULT_ADMIN_ROLE) {
        to.sendValue(address(this).balance);
    }

    function _count(Pair storage sum, Pair calldata amount, Pair storage most, string memory which) private {
        (uint128 creditLeft, uint128 gasLeft) = (most.credit - sum.credit, most.gas - sum.gas);
        require(amount.credit <= creditLeft, CapReached(which, amount.credit, creditLeft));
        require(amount.gas <= gasLeft, CapReached(which, amount.gas, gasLeft));
        sum.credit += amount.credit;
        sum.gas += amount.gas;
    }
}
