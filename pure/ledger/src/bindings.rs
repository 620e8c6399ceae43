//! The calls and events of our contracts that the node speaks: the same on the embedded chain and on any other.

mod data;
mod deals;
pub mod names;
mod records;

pub use data::*;
pub use deals::*;

use alloy_sol_types::sol;

sol! {
    #[derive(Debug, Default)]
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }
    #[derive(Debug, Default)]
    struct Voucher { ChannelConfig channel; uint128 maxClaimableAmount; }
    #[derive(Debug, Default)]
    struct VoucherClaim { Voucher voucher; bytes signature; uint128 totalClaimed; }
    #[derive(Debug, Default)]
    struct Delegation { address owner; address nodeKey; uint8 roles; uint64 expiry; }
    #[derive(Debug, Default)]
    struct Vote { uint8 voteType; uint64 height; int64 round; bytes32 blockHash; }
    #[derive(Debug, Default)]
    struct CreditAndGas { uint128 credit; uint128 gas; }

    #[derive(Debug, Default)]
    struct Input { uint64 vector; bytes32 root; }
    #[derive(Debug, Default)]
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
    #[derive(Debug, Default)]
    struct Opening { uint32 input; uint32 leaf; bytes elements; bytes32[] siblings; }
    #[derive(Debug, Default)]
    struct Tensor { bytes data; bytes32[] siblings; }
    #[derive(Debug, Default)]
    struct Weights { uint32[5] shape; bytes32 tiles; bytes32[] siblings; bytes tile; bytes32[] tileSiblings; }
    #[derive(Debug, Default)]
    struct Witness { Opening[] openings; Tensor manifest; Tensor gains; Weights weights; bytes state; }

    #[derive(Debug, Default)]
    struct Limits { uint64 inputUnits; uint64 outputUnits; uint64 stateBytes; }
    #[derive(Debug, Default)]
    struct Price { uint128 input; uint128 output; }
    #[derive(Debug, Default)]
    struct Request {
        uint16 version; uint8 kind; bytes32 job; bytes32 program; bytes32[] inputs; bytes params; Limits limits;
        uint64 seed; bytes32 auditCommit; uint8 audit; Price price; uint64 deadline; address worker;
        bytes32 channelId;
    }
    #[derive(Debug, Default)]
    struct Receipt {
        uint16 version; uint8 tier; bytes32 requestHash; uint8 unit; uint64 units; bytes32 outputRoot;
        bytes32 traceRoot; bytes32 buildHash; address operator; address node; bytes32 channelId; uint128 cumulative;
        uint8 finish;
    }
    #[derive(Debug, Default)]
    struct Words { Request request; Receipt receipt; ChannelConfig channel; }
    #[derive(Debug, Default)]
    struct Signatures {
        bytes request; bytes receipt; Delegation delegation; bytes delegationSignature; uint64 grant;
    }
    #[derive(Debug, Default)]
    struct ChunkOpening { uint32 index; bytes tokens; bytes32 statesRoot; bytes logprobs; bytes32[] siblings; }
    #[derive(Debug, Default)]
    struct VectorRoots { uint32 position; uint32 layer; uint64[] vectors; bytes32[] roots; bytes signature; }
    #[derive(Debug, PartialEq, Eq)]
    enum Ask {
        /// A chunk.
        Chunk,
        /// Nodes of its states' tree.
        States,
        /// A state.
        State,
        /// Roots of vectors.
        Roots,
        /// Nodes or numbers of a vector.
        Vector,
    }
    #[derive(Debug)]
    struct Question {
        Ask ask; uint32 chunk; uint32 position; uint32 layer; uint64[] vectors; bytes32 root; uint64 count;
        uint8 level; uint64 index; uint8 down;
    }
    #[derive(Debug, Default)]
    struct Support { ChunkOpening chunk; VectorRoots roots; Tensor manifest; }
    #[derive(Debug, Default)]
    struct Bond { address from; uint256 validAfter; uint256 validBefore; bytes signature; }
    #[derive(Debug, Default)]
    struct Answer { ChunkOpening chunk; bytes32[] nodes; bytes32[] siblings; bytes data; VectorRoots roots; }
    #[derive(Debug, Default)]
    struct Finding {
        Claim claim; Witness witness; VectorRoots[] roots; Opening leaf; Opening before; ChunkOpening chunk;
        bytes32[] stateSiblings; ChunkOpening tokenChunk; bytes32 promptSalt; bytes32[] tokenSiblings;
        address beneficiary;
    }
    #[derive(Debug, Default)]
    struct StateFinding {
        ChunkOpening chunk; bytes state; bytes32[] siblings; VectorRoots roots; uint64 vector; uint32 index;
        Opening leaf; Tensor manifest; address beneficiary;
    }
    #[derive(Debug, Default)]
    struct OutputFinding {
        ChunkOpening chunk; uint64 place; uint32 token; bytes32 salt; bytes32[] siblings; address beneficiary;
    }
    #[derive(Debug, Default)]
    struct MissingFinding { VectorRoots roots; uint32 index; Tensor manifest; address beneficiary; }

    /// Whose move it is in a case, or how it ended.
    #[derive(Debug, PartialEq, Eq)]
    enum Turn {
        /// There is no case.
        None,
        /// The worker's.
        Answer,
        /// The challenger's.
        Ask,
        /// It ended with a conviction.
        Guilty,
        /// It lapsed.
        Acquitted,
    }

    /// The judge of exact work, and what its parts refuse.
    #[derive(Debug)]
    interface IDisputes {
        function ask(
            Words calldata words, Signatures calldata signatures, Question calldata question, Support calldata support,
            Bond calldata bond) external;
        function answer(
            Words calldata words, address challenger, Question calldata question, Answer calldata said) external;
        function timeout(Words calldata words, address challenger) external;
        function lapse(Words calldata words, address challenger) external;
        function convictElement(
            Words calldata words, Signatures calldata signatures, Finding calldata finding) external;
        function convictState(
            Words calldata words, Signatures calldata signatures, StateFinding calldata finding) external;
        function convictOutput(
            Words calldata words, Signatures calldata signatures, OutputFinding calldata finding) external;
        function convictMissing(
            Words calldata words, Signatures calldata signatures, MissingFinding calldata finding) external;
        function seize(bytes32 lease, uint256[] calldata indices) external;
        function costOf(uint256 held, uint256 pay) external pure returns (uint256);
        function withdraw(address account) external;
        function credit(address account) external view returns (uint256);
        function cases(bytes32 id, address challenger) external view returns (
            address beneficiary, uint40 deadline, Turn turn, uint8 rounds, bytes32 question);
        function dockets(bytes32 id) external view returns (address first, bool isSeen);
        function guilts(bytes32 lease) external view returns (
            address operator, uint40 since, address payer, address beneficiary, bytes32 channelId, uint256 refund);
        function BOND() external view returns (uint128);
        function ANSWER_S() external view returns (uint40);
        function OPEN_S() external view returns (uint40);
        function ROUNDS_MAX() external view returns (uint256);
        event Asked(
            bytes32 indexed id, address indexed operator, address indexed node, address challenger, uint8 round,
            bytes32 lease, Question question);
        event Answered(bytes32 indexed id, address indexed challenger, uint8 round, Answer answer);
        event Acquitted(bytes32 indexed id, address indexed challenger);
        event Convicted(
            bytes32 indexed id, bytes32 indexed lease, address indexed operator, address beneficiary, uint256 slashed);
        event Seized(bytes32 indexed lease, address indexed operator, uint256 refunded, uint256 rest);
        error WrongTurn(Turn have);
        error TooLate(uint256 until);
        error TooEarly(uint256 from);
        error NoRoundsLeft();
        error AnotherQuestion(bytes32 want, bytes32 have);
        error NotDelegated(address operator, address node);
        error AlreadyGuilty(bytes32 lease);
        error NotGuilty(bytes32 lease);
        error NotHeldThen(uint256 index);
        error NotOneLease();
        error NotJudged();
        error Diverged();
        error TooLong(uint256 have);
        error WrongSigner(address want, address have);
        error OutsideTrace(uint256 position);
        error NotSaid(uint64 vector);
        error WrongQuestion();
        error WrongAnswer();
        error WrongClaim(string field);
        error NothingWrong();
        error NotParams(uint256 spot);
        error NotInProgram(bytes32 parameter);
    }

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
        function name() external view returns (string memory);
        function version() external view returns (string memory);
        function eip712Domain() external view returns (
            bytes1 fields, string memory name, string memory version, uint256 chainId, address verifyingContract,
            bytes32 salt, uint256[] memory extensions);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce,
            uint8 v, bytes32 r, bytes32 s) external;
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
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
        function toAccount(address account) external view returns (CreditAndGas memory);
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
