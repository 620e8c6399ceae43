//! The calls and events of our contracts that the node speaks: the same on the embedded chain and on any other.

use alloy_sol_types::sol;

sol! {
    #[derive(Debug)]
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }
    #[derive(Debug)]
    struct Voucher { ChannelConfig channel; uint128 maxClaimableAmount; }
    #[derive(Debug)]
    struct VoucherClaim { Voucher voucher; bytes signature; uint128 totalClaimed; }
    #[derive(Debug)]
    struct Delegation { address owner; address nodeKey; uint8 roles; uint64 expiry; }
    #[derive(Debug)]
    struct Vote { uint8 voteType; uint64 height; int64 round; bytes32 blockHash; }
    #[derive(Debug)]
    struct CreditAndGas { uint128 credit; uint128 gas; }

    #[derive(Debug)]
    struct Input { uint64 vector; bytes32 root; }
    #[derive(Debug)]
    struct Claim {
        bytes32 modelRoot;
        bytes32 state;
        uint32 layer;
        uint32 position;
        uint32 token;
        uint32 temperature;
        uint64 seed;
        uint32 output;
        uint32 topK;
        uint32 topP;
        uint32 minP;
        uint32[3] ends;
        uint64 vector;
        uint32 index;
        int128 previous;
        int128 claimed;
        Input[] inputs;
    }
    #[derive(Debug)]
    struct Opening { uint32 input; uint32 leaf; bytes elements; bytes32[] siblings; }
    #[derive(Debug)]
    struct Tensor { bytes data; bytes32[] siblings; }
    #[derive(Debug)]
    struct Weights { uint32[5] shape; bytes32 tiles; bytes32[] siblings; bytes tile; bytes32[] tileSiblings; }
    #[derive(Debug)]
    struct Witness { Opening[] openings; Tensor manifest; Tensor gains; Weights weights; bytes state; }

    /// The last step of a dispute: one element of the integer program.
    #[derive(Debug)]
    interface IReferee {
        error LeafOutOfRange(uint256 leaf, uint256 count);
        error WrongPath(uint256 leaf, uint256 siblings);
        error WrongRoot(bytes32 want, bytes32 have);
        error WrongLength(uint256 want, uint256 have);
        error UnknownVector(uint64 vector);
        error UnknownContract();
        error NotOpened(uint64 vector, uint256 leaf);
        error IndexOutOfRange(uint256 index, uint256 length);
        error WrongState(bytes32 want, bytes32 have);
        error WrongEnd(uint256 token);
        function attention() external view returns (address);
        function check(Claim calldata c, Witness calldata w) external view returns (int128 value, bool holds);
    }

    /// Of a token with ERC-20 and ERC-3009.
    #[derive(Debug)]
    interface IToken {
        function balanceOf(address account) external view returns (uint256);
        function totalSupply() external view returns (uint256);
        function symbol() external view returns (string memory);
        function decimals() external view returns (uint8);
        function transfer(address to, uint256 value) external returns (bool);
        function approve(address spender, uint256 value) external returns (bool);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        event Transfer(address indexed from, address indexed to, uint256 value);
    }

    /// Of the payment channels.
    #[derive(Debug)]
    interface ISettlement {
        function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata data) external;
        function claim(VoucherClaim[] calldata voucherClaims) external;
        function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external;
        function finalizeWithdraw(ChannelConfig calldata config) external;
        function getChannelId(ChannelConfig calldata config) external view returns (bytes32);
        function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) external view returns (bytes32);
        function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);
        function pendingWithdrawals(bytes32 channelId) external view returns (uint128 amount, uint40 initiatedAt);
        event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
        event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
        event Claimed(bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed);
    }

    /// Of the vault.
    #[derive(Debug)]
    interface IVault {
        function claim(VoucherClaim[] calldata claims) external;
        function release(address operator, uint256 most) external;
        function withdraw(address account) external;
        function credit(address account) external view returns (uint256);
        function accounts(address operator) external view returns (uint128 held, uint128 reserved, uint64 head);
        function tranches(address operator, uint256 index) external view returns (
            bytes32 channel, uint128 amount, uint40 releaseAt);
        function booked(bytes32 channelId) external view returns (uint128);
        function capacity(address operator) external view returns (uint256);
        event Booked(address indexed operator, bytes32 indexed channelId, uint256 index, uint128 amount, uint40 releaseAt);
    }

    /// Of the delegations.
    #[derive(Debug)]
    interface IDelegations {
        function grant(Delegation calldata delegation, bytes calldata signature) external;
        function revoke(address nodeKey) external;
        function isActive(address owner, address nodeKey, uint8 roles) external view returns (bool);
        function getDigest(Delegation calldata delegation) external view returns (bytes32);
    }

    /// Of the bonds.
    #[derive(Debug)]
    interface IStaking {
        function bond(uint128 amount, uint8 roles) external;
        function unbond(uint128 amount) external;
        function finishUnbond() external;
        function withdraw(address account) external;
        function credit(address account) external view returns (uint256);
        function setValidatorKey(address key, bytes calldata signature) external;
        function bondOf(address operator) external view returns (uint256);
        function operatorOf(address validatorKey) external view returns (address);
        function isPunished(bytes32 evidence) external view returns (bool);
        function unjail() external;
        function stakes(address operator) external view returns (
            uint128 bonded, uint128 unbonding, uint40 unbondsAt, uint40 jailedUntil, uint8 roles, address validatorKey);
        function topValidators(uint256 most) external view
            returns (address[] memory operators, address[] memory keys, uint128[] memory bonds);
    }

    /// Of the judge of double votes.
    #[derive(Debug)]
    interface IEquivocation {
        function report(Vote calldata a, bytes calldata signatureA, Vote calldata b, bytes calldata signatureB) external;
        function getVoteDigest(Vote calldata vote) external view returns (bytes32);
        error UnknownValidator(address key);
        event Equivocated(address indexed operator, address indexed key, uint64 height, int64 round, uint256 slashed);
    }

    /// Of the slow values.
    #[derive(Debug)]
    interface IParameters {
        function get(bytes32 key) external view returns (uint256);
    }

    /// Of the faucet.
    #[derive(Debug)]
    interface IFaucet {
        function grant(address account, bytes32 invite, CreditAndGas calldata amount) external;
        error CapReached(string which, uint128 need, uint128 have);
    }
}

/// What ERC-3009 makes a holder sign, and the payload of x402's collector.
pub mod authorization {
    use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
    use alloy_sol_types::SolValue;

    /// Nonce of the authorization that pays a deposit: it binds the money to one channel.
    #[must_use]
    pub fn nonce(channel: B256, salt: U256) -> B256 {
        keccak256((channel, salt).abi_encode())
    }

    /// The digest of `ReceiveWithAuthorization` under the token's domain separator.
    #[must_use]
    pub fn digest(separator: B256, from: Address, to: Address, value: u128, until: u64, nonce: B256) -> B256 {
        let name = "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,\
                    uint256 validBefore,bytes32 nonce)";
        let fields = (keccak256(name), from, to, U256::from(value), U256::ZERO, U256::from(until), nonce);
        keccak256([&[0x19, 0x01], separator.as_slice(), keccak256(fields.abi_encode()).as_slice()].concat())
    }

    /// What the collector takes beside the deposit.
    #[must_use]
    pub fn payload(until: u64, salt: U256, signature: [u8; 65]) -> Bytes {
        let fields = (U256::ZERO, U256::from(until), salt, Bytes::copy_from_slice(&signature));
        fields.abi_encode_params().into()
    }
}

impl From<&talkoo_base::ChannelConfig> for ChannelConfig {
    fn from(config: &talkoo_base::ChannelConfig) -> Self {
        let delay = alloy_primitives::aliases::U40::from(config.withdraw_delay);
        Self {
            payer: config.payer.0.into(),
            payerAuthorizer: config.payer_authorizer.0.into(),
            receiver: config.receiver.0.into(),
            receiverAuthorizer: config.receiver_authorizer.0.into(),
            token: config.token.0.into(),
            withdrawDelay: delay,
            salt: config.salt.0.into(),
        }
    }
}

impl From<&talkoo_base::Vote> for Vote {
    fn from(vote: &talkoo_base::Vote) -> Self {
        let vote_type = match vote.kind {
            talkoo_base::VoteKind::Prevote => 1,
            talkoo_base::VoteKind::Precommit => 2,
        };
        Self { voteType: vote_type, height: vote.height, round: vote.round.into(), blockHash: vote.block.0.into() }
    }
}
