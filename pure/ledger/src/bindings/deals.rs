//! Deals about storage, and the randomness that draws what is shown.

use alloy_sol_types::sol;

sol! {
    #[derive(Debug, Default)]
    struct DealTerms {
        address client; address provider; bytes32 root; uint64 size; uint40 epochS; uint32 epochs; uint128 price;
        uint128 collateral; bytes32 salt;
    }
    #[derive(Debug, PartialEq, Eq)]
    enum DealState {
        /// There is no such deal.
        None,
        /// Its price is locked.
        Proposed,
        /// Its provider is paid by the epoch.
        Active,
        /// All epochs are decided.
        Completed,
        /// The provider missed too many.
        Terminated,
        /// Nobody accepted it.
        Lapsed
    }
    #[derive(Debug, PartialEq, Eq)]
    enum Draw {
        /// Nothing is drawn yet.
        Waits,
        /// It can be proven.
        Open,
        /// It was not.
        Missed,
        /// There was no randomness.
        Void
    }
    #[derive(Debug)]
    struct Deal {
        address client; uint40 start; uint40 epochS; uint8 misses; DealState state; address provider; uint32 epochs;
        uint32 next; bytes32 root; uint128 price; uint128 collateral; uint64 size; uint128 cut; address agent; uint40 acceptBy;
    }

    /// Of deals about storage.
    #[derive(Debug)]
    interface IDeals {
        function propose(DealTerms calldata terms, bytes calldata name, uint256 validBefore, bytes calldata signature) external
            returns (bytes32 id);
        function accept(bytes32 id, uint256 validBefore, bytes calldata signature) external;
        function prove(bytes32 id, bytes[2] calldata leaves, bytes32[][2] calldata siblings) external;
        function poke(bytes32 id, uint256 most) external;
        function cancel(bytes32 id) external;
        function challenge(bytes32 id) external view returns (uint32 epoch, Draw draw, uint256[2] memory leaves, uint256 until);
        function dealOf(bytes32 id) external view returns (Deal memory);
        function idOf(DealTerms calldata terms, address agent) external view returns (bytes32);
        function active() external view returns (uint256);
        function credit(address account) external view returns (uint256);
        function withdraw(address account) external;
        event Proposed(bytes32 indexed id, address indexed provider, address indexed agent, DealTerms terms, bytes name);
        event Proven(bytes32 indexed id, uint32 epoch);
        event Missed(bytes32 indexed id, uint32 epoch, uint128 cut);
        event Void(bytes32 indexed id, uint32 epoch);
        error WrongState(bytes32 id, DealState state);
        error WrongTerms();
        error NotClient(address caller);
        error TooLate(uint256 end);
        error NotOpen(bytes32 id, uint32 epoch);
        error DepositsStopped();
        error WrongRoot(bytes32 want, bytes32 have);
        error WrongPath(uint256 leaf, uint256 siblings);
        error WrongLength(uint256 want, uint256 have);
        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
    }

    /// Of the public randomness.
    #[derive(Debug)]
    interface IBeacon {
        function commitFor(address payer, bytes32 hash, uint256 validBefore, bytes calldata signature) external;
        function reveal(bytes32 secret) external;
        function currentRound() external view returns (uint256);
        function commitOf(uint256 round, address account) external view returns (bytes32);
        function hashOf(uint256 round, address account, bytes32 secret) external view returns (bytes32);
        function random(uint256 round) external view returns (bytes32);
        function COMMIT_S() external view returns (uint40);
        function REVEAL_S() external view returns (uint40);
        function BOND() external view returns (uint128);
        function credit(address account) external view returns (uint256);
        function withdraw(address account) external;
    }
}
