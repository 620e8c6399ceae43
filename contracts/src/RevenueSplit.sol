// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AssetRegistry} from "./AssetRegistry.sol";
import {Credits} from "./Credits.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Income of versions, shared with what they were made from
/// @notice
///
///   pay ──► due[version] ──distribute──► due[each parent], and the rest credit of the asset's owner ──► withdraw
///
/// Shares are those of the version when it was published. One step goes to direct parents only, so its cost is bounded
/// (`PARENTS_MAX`); a payment reaches the last ancestor in at most `DEPTH_MAX` + 1 steps, which anyone may do.
contract RevenueSplit is Credits {
    AssetRegistry public immutable registry;

    /// What a version has earned and nobody has distributed yet.
    mapping(bytes32 version => uint256) public due;

    event Paid(bytes32 indexed version, address indexed payer, uint256 amount);
    event Distributed(bytes32 indexed version, uint256 amount, uint256 ownerPart);

    error UnknownVersion(bytes32 version);

    constructor(IERC20 token_, AssetRegistry registry_) Credits(token_) {
        registry = registry_;
    }

    /// @notice Pays for the use of a version.
    function pay(bytes32 version, uint256 amount) external nonReentrant {
        require(registry.versionOf(version).state != AssetRegistry.State.None, UnknownVersion(version));
        due[version] += amount;
        emit Paid(version, msg.sender, amount);
        _take(msg.sender, amount);
    }

    /// @notice Moves what is due to a version one step on; anyone may call. What does not divide is the owner's.
    function distribute(bytes32 version) external {
        AssetRegistry.Version memory of_ = registry.versionOf(version);
        require(of_.state != AssetRegistry.State.None, UnknownVersion(version));
        uint256 amount = due[version];
        due[version] = 0;
        uint256 rest = amount;
        for (uint256 i = 0; i < of_.parents.length; i++) {
            uint256 part = amount * of_.parents[i].bps / 10_000;
            due[of_.parents[i].version] += part;
            rest -= part;
        }
        credit[registry.ownerOf(of_.asset)] += rest;
        emit Distributed(version, amount, rest);
    }
}
