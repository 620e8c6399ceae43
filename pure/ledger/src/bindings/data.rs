//! Models and data sets: registry, access, income.

use alloy_sol_types::sol;

sol! {
    #[derive(Debug, Default)]
    struct Share { bytes32 version; uint16 bps; }
    #[derive(Debug, Default)]
    struct AssetVersion {
        uint256 asset; uint8 state; uint8 depth; uint40 publishedAt; bytes32 cid; bytes32 manifest; bytes32 licence;
        Share[] parents;
    }
    #[derive(Debug, Default)]
    struct Terms {
        bytes32 version; bytes32 purpose; uint128 price; uint40 accessS; uint40 deliverS; uint32 usesMost; bool isOpen;
    }

    /// Of models and data sets.
    #[derive(Debug)]
    interface IAssets {
        function create() external returns (uint256 asset);
        function publish(
            uint256 asset, bytes32 cid, bytes32 manifest, bytes32 licence, Share[] calldata parents) external returns (bytes32 id);
        function revoke(bytes32 id) external;
        function versionOf(bytes32 id) external view returns (AssetVersion memory);
        function versionsOf(uint256 asset) external view returns (bytes32[] memory);
        function ownerOf(uint256 asset) external view returns (address);
        event Published(uint256 indexed asset, bytes32 indexed version, bytes32 indexed cid, bytes32 licence);
        event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
    }

    /// Of access to them.
    #[derive(Debug)]
    interface IAccess {
        function offer(Terms calldata terms) external returns (uint256 id);
        function closeOffer(uint256 id) external;
        function setDeliverer(uint256 id, address account, bool may) external;
        function delivers(uint256 offer, address owner, address account) external view returns (bool);
        function buy(uint256 offerId) external returns (uint256 id);
        function deliver(uint256 id, bytes32 sealedKey) external;
        function refund(uint256 id) external;
        function use(uint256 id) external;
        function revoke(uint256 id) external;
        function withdraw(address account) external;
        function credit(address account) external view returns (uint256);
        function isActive(uint256 id, address account) external view returns (bool);
        function offerCount() external view returns (uint256);
        function grantCount() external view returns (uint256);
        function offers(uint256 id) external view returns (
            bytes32 version, bytes32 purpose, uint128 price, uint40 accessS, uint40 deliverS, uint32 usesMost, bool isOpen);
        function grants(uint256 id) external view returns (
            uint8 state, address grantee, uint40 end, uint32 uses, uint256 offer, bytes32 sealedKey);
        event Offered(uint256 indexed offer, bytes32 indexed version, bytes32 purpose, uint128 price);
        event Bought(uint256 indexed grant, uint256 indexed offer, address indexed grantee);
        error NotOwner(address caller);
        error NotGrantee(address caller);
        error BadTerms();
        error NotOffered(uint256 offer);
        error WrongState(uint8 have);
        error UsedUp(uint32 uses);
    }

    /// Of their income.
    #[derive(Debug)]
    interface IRevenue {
        function distribute(bytes32 version) external;
        function withdraw(address account) external;
        function due(bytes32 version) external view returns (uint256);
        event Paid(bytes32 indexed version, address indexed payer, uint256 amount);
        event Distributed(bytes32 indexed version, uint256 amount, uint256 ownerPart);
        function credit(address account) external view returns (uint256);
    }
}
