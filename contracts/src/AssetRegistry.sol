// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

/// @title Models and data sets: whose they are, what they are made of
/// @notice An asset is an ERC-721 token; what it consists of is in its versions, each immutable.
///
///   Version: None ──publish──► Published ──deprecate──► Deprecated   (still usable, still paid)
///                                  │          ──revoke──► Revoked
///                                  └───────────revoke──► Revoked     (not to be used; its children stay)
///
/// A version names the versions it was made from and the share of its income that goes to each, for good. Parents are
/// published before their children, so there are no cycles; depth is bounded. Nothing is locked here, no state waits.
contract AssetRegistry is ERC721 {
    enum State {
        None,
        Published,
        Deprecated,
        Revoked
    }

    /// @param version whose part it is
    /// @param bps ten-thousandths of the child's income
    struct Parent {
        bytes32 version;
        uint16 bps;
    }

    /// @param asset token id of its asset
    /// @param depth longest way to a version without parents
    /// @param cid SHA-256 digest of its content's CID
    /// @param manifest SHA-256 of its manifest
    /// @param licence SHA-256 of the licence's text
    struct Version {
        uint256 asset;
        State state;
        uint8 depth;
        uint40 publishedAt;
        bytes32 cid;
        bytes32 manifest;
        bytes32 licence;
        Parent[] parents;
    }

    uint256 public constant PARENTS_MAX = 8;
    uint8 public constant DEPTH_MAX = 8;

    uint256 public assetCount;
    mapping(uint256 asset => bytes32[]) private versionsOf_;
    mapping(bytes32 version => Version) private versions;

    event Published(uint256 indexed asset, bytes32 indexed version, bytes32 indexed cid, bytes32 licence);
    event StateChanged(bytes32 indexed version, State state);

    error NotOwner(uint256 asset, address caller);
    error AlreadyPublished(bytes32 version);
    error TooManyParents(uint256 count);
    error BadParent(bytes32 version);
    error SharesTooHigh(uint256 bps);
    error TooDeep(uint256 depth);
    error WrongState(State have);

    constructor() ERC721("Talkoo assets", "ASSET") {}

    /// @notice A new asset of the caller, without versions.
    function create() external returns (uint256 asset) {
        asset = ++assetCount;
        _mint(msg.sender, asset);
    }

    /// @notice Publishes a version of the caller's asset.
    /// @return id keccak256(abi.encode(asset, cid, manifest, licence))
    function publish(uint256 asset, bytes32 cid, bytes32 manifest, bytes32 licence, Parent[] calldata parents)
        external
        returns (bytes32 id)
    {
        _onlyOwner(asset);
        id = keccak256(abi.encode(asset, cid, manifest, licence));
        Version storage version = versions[id];
        require(version.state == State.None, AlreadyPublished(id));
        require(parents.length <= PARENTS_MAX, TooManyParents(parents.length));
        uint256 sum = 0;
        uint256 depth = 0;
        for (uint256 i = 0; i < parents.length; i++) {
            Version storage parent = versions[parents[i].version];
            bool usable = parent.state == State.Published || parent.state == State.Deprecated;
            require(usable && parents[i].version != id, BadParent(parents[i].version));
            sum += parents[i].bps;
            if (parent.depth >= depth) depth = uint256(parent.depth) + 1;
            version.parents.push(parents[i]);
        }
        require(sum <= 10_000, SharesTooHigh(sum));
        require(depth <= DEPTH_MAX, TooDeep(depth));
        (version.asset, version.state, version.depth) = (asset, State.Published, uint8(depth));
        (version.publishedAt, version.cid) = (uint40(block.timestamp), cid);
        (version.manifest, version.licence) = (manifest, licence);
        versionsOf_[asset].push(id);
        emit Published(asset, id, cid, licence);
    }

    /// @notice There is a better one: said by the asset's owner.
    function deprecate(bytes32 id) external {
        _change(id, State.Deprecated);
    }

    /// @notice It is not to be used any more: said by the asset's owner.
    function revoke(bytes32 id) external {
        _change(id, State.Revoked);
    }

    /// @notice All of a version.
    function versionOf(bytes32 id) external view returns (Version memory) {
        return versions[id];
    }

    /// @notice All versions of an asset, the oldest first.
    function versionsOf(uint256 asset) external view returns (bytes32[] memory) {
        return versionsOf_[asset];
    }

    function _change(bytes32 id, State to) private {
        Version storage version = versions[id];
        require(version.state != State.None && version.state < to, WrongState(version.state));
        _onlyOwner(version.asset);
        version.state = to;
        emit StateChanged(id, to);
    }

    function _onlyOwner(uint256 asset) private view {
        require(_ownerOf(asset) == msg.sender, NotOwner(asset, msg.sender));
    }
}
