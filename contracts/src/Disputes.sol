// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "./Credits.sol";
import {Delegations} from "./Delegations.sol";
import {DisputeFindings} from "./DisputeFindings.sol";
import {DisputeQuestions} from "./DisputeQuestions.sol";
import "./Leases.sol";
import {PaymentToken} from "./PaymentToken.sol";
import {Staking} from "./Staking.sol";
import {WorkerVault} from "./WorkerVault.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title The judge of exact work
/// @notice A worker that lied in a receipt said two things that do not fit, or does not answer. Only the worker reveals;
/// who doubts asks, off chain as long as the worker answers there, then here, and in the end shows one thing that does
/// not fit ({DisputeFindings}). An honest worker can answer every question ({DisputeQuestions}), and nothing convicts it.
///
///   None ──ask (bond)──► Answer ──answer──► Ask ──ask, ROUNDS_MAX in all──► Answer
///                          │ after ANSWER_S: timeout     │ after ANSWER_S: lapse
///                          ▼                             ▼
///                        Guilty (bond back)           Acquitted (bond to the operator)
///   any but Guilty ──convict…, with or without a case──► Guilty
///
/// Everyone has a case of their own: a worker that accuses itself and lapses, or stalls, shields nothing. Guilty is a lease,
/// once, whatever its receipts. What its operator loses: a part of the bond, now; by {seize}, what the vault held then and
/// what the lease's channel brings after.
contract Disputes is Credits {
    enum Turn {
        None,
        Answer,
        Ask,
        Guilty,
        Acquitted
    }

    /// @param deadline of whose turn it is
    /// @param question hash of the open one
    struct Case {
        address beneficiary;
        uint40 deadline;
        Turn turn;
        uint8 rounds;
        bytes32 question;
    }

    /// A receipt that was before the judge. @param first beneficiary of its first case that has not lapsed
    struct Docket {
        address first;
        bool isSeen;
    }

    /// @param since when it was found
    /// @param refund what the payer is still to get back
    struct Guilt {
        address operator;
        uint40 since;
        address payer;
        address beneficiary;
        bytes32 channelId;
        uint256 refund;
    }

    /// Questions of one case.
    uint256 public constant ROUNDS_MAX = 10;
    /// Seconds in which a third fault takes all.
    uint256 public constant FAULTS_S = 30 days;
    /// Least chance of an audit by a verifier that is not in league: 3 % of which 30 % are lost (`CHANCE_MIN_Q32`,
    /// `LEAGUE_PERMILLE` of pure/proof).
    uint256 private constant CHANCE_PERMILLE = 21;
    /// Prices are for so many tokens.
    uint256 private constant PRICE_UNITS = 1_000_000;
    /// The role of a node that works.
    uint8 private constant WORK = 1;

    WorkerVault public immutable vault;
    Staking public immutable staking;
    Delegations public immutable delegations;
    DisputeQuestions public immutable questions;
    DisputeFindings public immutable findings;
    /// Seconds of a move.
    uint40 public immutable ANSWER_S;
    /// Seconds after a request's deadline, and after the end of a delegation, in which a first case can be opened.
    uint40 public immutable OPEN_S;
    /// What a case costs who lapses, in the token's units.
    uint128 public immutable BOND;
    address public immutable treasury;

    mapping(bytes32 id => mapping(address challenger => Case)) public cases;
    mapping(bytes32 id => Docket) public dockets;
    mapping(bytes32 lease => Guilt) public guilts;
    /// When an operator was last found guilty, and when before that.
    mapping(address operator => uint40[2]) public faults;

    event Asked(
        bytes32 indexed id,
        address indexed operator,
        address indexed node,
        address challenger,
        uint8 round,
        bytes32 lease,
        Question question
    );
    event Answered(bytes32 indexed id, address indexed challenger, uint8 round, Answer answer);
    event Acquitted(bytes32 indexed id, address indexed challenger);
    event Convicted(
        bytes32 indexed id, bytes32 indexed lease, address indexed operator, address beneficiary, uint256 slashed
    );
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

    struct Options {
        IERC20 token;
        WorkerVault vault;
        Staking staking;
        Delegations delegations;
        DisputeQuestions questions;
        DisputeFindings findings;
        uint40 answerS;
        uint40 openS;
        uint128 bond;
        address treasury;
    }

    constructor(Options memory options) Credits(options.token) {
        (vault, staking, delegations) = (options.vault, options.staking, options.delegations);
        (questions, findings) = (options.questions, options.findings);
        (ANSWER_S, OPEN_S) = (options.answerS, options.openS);
        (BOND, treasury) = (options.bond, options.treasury);
    }

    /// @notice Asks the worker; the first time the bond is taken.
    function ask(
        Words calldata words,
        Signatures calldata signatures,
        Question calldata question,
        Support calldata,
        Bond calldata bond
    ) external nonReentrant {
        (bytes32 id, bytes32 lease) = _checkedBy(address(questions));
        require(guilts[lease].since == 0, AlreadyGuilty(lease));
        Case storage found = cases[id][msg.sender];
        if (found.turn == Turn.None) {
            // Whoever opens it: the node keeps what answers only so long.
            _checkTime(words);
            _see(id, words, signatures);
            found.beneficiary = bond.from;
            if (dockets[id].first == address(0)) dockets[id].first = bond.from;
            _takeBond(id, bond);
        } else {
            require(found.turn == Turn.Ask, WrongTurn(found.turn));
            require(block.timestamp < found.deadline, TooLate(found.deadline));
        }
        require(found.rounds < ROUNDS_MAX, NoRoundsLeft());
        (found.turn, found.deadline) = (Turn.Answer, uint40(block.timestamp) + ANSWER_S);
        (found.rounds, found.question) = (found.rounds + 1, keccak256(abi.encode(question)));
        _tellAsked(id, lease, words.receipt, question);
    }

    /// @notice Answers the open question of a challenger; anyone may bring it.
    function answer(Words calldata, address challenger, Question calldata question, Answer calldata said) external {
        (bytes32 id,) = _checkedBy(address(questions));
        Case storage found = cases[id][challenger];
        require(found.turn == Turn.Answer, WrongTurn(found.turn));
        require(block.timestamp < found.deadline, TooLate(found.deadline));
        bytes32 have = keccak256(abi.encode(question));
        require(have == found.question, AnotherQuestion(found.question, have));
        (found.turn, found.deadline) = (Turn.Ask, uint40(block.timestamp) + ANSWER_S);
        emit Answered(id, challenger, found.rounds, said);
    }

    /// @notice No answer came: the worker is guilty.
    function timeout(Words calldata words, address challenger) external {
        (bytes32 id, bytes32 lease) = _checkedBy(address(questions));
        Case storage found = cases[id][challenger];
        require(found.turn == Turn.Answer, WrongTurn(found.turn));
        require(block.timestamp >= found.deadline, TooEarly(found.deadline));
        _punish(id, lease, words, found.beneficiary);
        _return(found);
    }

    /// @notice Ends a case that nobody went on with: its bond is the operator's. If the lease was found guilty meanwhile,
    /// the bond goes back.
    function lapse(Words calldata words, address challenger) external {
        (bytes32 id, bytes32 lease) = _checkedBy(address(questions));
        Case storage found = cases[id][challenger];
        require(found.turn == Turn.Answer || found.turn == Turn.Ask, WrongTurn(found.turn));
        if (guilts[lease].since > 0) return _return(found);
        require(found.turn == Turn.Ask, WrongTurn(found.turn));
        require(block.timestamp >= found.deadline, TooEarly(found.deadline));
        found.turn = Turn.Acquitted;
        if (dockets[id].first == found.beneficiary) dockets[id].first = address(0);
        credit[words.receipt.operator] += BOND;
        emit Acquitted(id, challenger);
    }

    /// @notice An element does not follow from what the worker said itself.
    function convictElement(Words calldata words, Signatures calldata signatures, Finding calldata finding) external {
        _convict(words, signatures, finding.beneficiary);
    }

    /// @notice A state is none, or other than what the worker said of its numbers.
    function convictState(Words calldata words, Signatures calldata signatures, StateFinding calldata finding)
        external
    {
        _convict(words, signatures, finding.beneficiary);
    }

    /// @notice A token of the output is not that of the trace.
    function convictOutput(Words calldata words, Signatures calldata signatures, OutputFinding calldata finding)
        external
    {
        _convict(words, signatures, finding.beneficiary);
    }

    /// @notice The worker said that there is no such vector, and there is.
    function convictMissing(Words calldata words, Signatures calldata signatures, MissingFinding calldata finding)
        external
    {
        _convict(words, signatures, finding.beneficiary);
    }

    /// @notice Takes tranches of a guilty operator in the vault: those held when it was found guilty, and those of the
    /// lease's channel for a window after. The payer is refunded first, of that channel only: it may be the operator itself,
    /// and what others paid would be its own again. Of the rest half is the beneficiary's.
    function seize(bytes32 lease, uint256[] calldata indices) external {
        Guilt storage guilt = guilts[lease];
        require(guilt.since > 0, NotGuilty(lease));
        (uint256 before, uint256 rest) = (guilt.refund, 0);
        for (uint256 i = 0; i < indices.length; i++) {
            rest += _seize(lease, guilt, indices[i]);
        }
        emit Seized(lease, guilt.operator, before - guilt.refund, rest);
    }

    /// Takes a tranche; what is left of it when the payer has its part.
    function _seize(bytes32 lease, Guilt storage guilt, uint256 index) private returns (uint128 rest) {
        (bytes32 channel, uint128 amount, uint40 releaseAt) = vault.tranches(guilt.operator, index);
        bool isOwn = channel == guilt.channelId;
        require(releaseAt <= guilt.since + (isOwn ? 2 : 1) * vault.WINDOW_S(), NotHeldThen(index));
        uint128 back = isOwn ? uint128(Math.min(amount, guilt.refund)) : 0;
        guilt.refund -= back;
        rest = amount - back;
        _give(lease, guilt.operator, index, back, guilt.payer);
        _give(lease, guilt.operator, index, rest / 2, guilt.beneficiary);
        _give(lease, guilt.operator, index, rest - rest / 2, treasury);
    }

    function _give(bytes32 lease, address operator, uint256 index, uint128 amount, address to) private {
        if (amount > 0) vault.slash(operator, index, amount, to == address(0) ? treasury : to, lease);
    }

    /// What a part of this judge finds in the call as it came: the names of words and lease.
    function _checkedBy(address part) private view returns (bytes32 id, bytes32 lease) {
        return abi.decode(Address.functionStaticCall(part, msg.data), (bytes32, bytes32));
    }

    function _tellAsked(bytes32 id, bytes32 lease, Receipt calldata receipt, Question calldata question) private {
        uint8 round = cases[id][msg.sender].rounds;
        emit Asked(id, receipt.operator, receipt.node, msg.sender, round, lease, question);
    }

    function _convict(Words calldata words, Signatures calldata signatures, address beneficiary) private {
        (bytes32 id, bytes32 lease) = _checkedBy(address(findings));
        _see(id, words, signatures);
        address first = dockets[id].first;
        _punish(id, lease, words, first == address(0) ? beneficiary : first);
        Case storage own = cases[id][msg.sender];
        if (own.turn == Turn.Answer || own.turn == Turn.Ask) _return(own);
    }

    /// A case ends with its bond back.
    function _return(Case storage found) private {
        found.turn = Turn.Guilty;
        credit[found.beneficiary] += BOND;
    }

    /// What is checked only when a receipt comes up first, for it ends with time.
    function _see(bytes32 id, Words calldata words, Signatures calldata signatures) private {
        if (dockets[id].isSeen) return;
        dockets[id].isSeen = true;
        _checkTime(words);
        (address operator, address node) = (words.receipt.operator, words.receipt.node);
        require(operator == node || _worked(operator, node, signatures), NotDelegated(operator, node));
    }

    function _checkTime(Words calldata words) private view {
        uint256 until = uint256(words.request.deadline) + OPEN_S;
        require(block.timestamp <= until, TooLate(until));
    }

    /// Whether the node worked for the operator within the last OPEN_S: now, by a grant of its history, or by a delegation
    /// that was signed and never granted, for which silence is no shield.
    function _worked(address operator, address node, Signatures calldata signatures) private view returns (bool) {
        if (delegations.isActive(operator, node, WORK)) return true;
        uint256 from = block.timestamp - OPEN_S;
        Delegations.Delegation calldata to = signatures.delegation;
        if (signatures.delegationSignature.length > 0) {
            bytes32 digest = delegations.getDigest(to);
            bool fits = to.owner == operator && to.nodeKey == node && to.roles & WORK != 0 && to.expiry > from;
            fits = fits && !delegations.isUsed(digest);
            bytes calldata signature = signatures.delegationSignature;
            if (fits && SignatureChecker.isValidSignatureNow(operator, digest, signature)) return true;
        }
        Delegations.Grant memory grant = delegations.grantAt(operator, signatures.grant);
        return grant.nodeKey == node && grant.roles & WORK != 0 && grant.until > from;
    }

    function _takeBond(bytes32 id, Bond calldata bond) private {
        bytes32 nonce = keccak256(abi.encode(id, msg.sender));
        PaymentToken(address(token))
            .receiveWithAuthorization(
                bond.from, address(this), BOND, bond.validAfter, bond.validBefore, nonce, bond.signature
            );
    }

    function _punish(bytes32 id, bytes32 lease, Words calldata words, address beneficiary) private {
        require(guilts[lease].since == 0, AlreadyGuilty(lease));
        address operator = words.receipt.operator;
        uint256 pay = uint256(words.request.limits.inputUnits) * words.request.price.input;
        bool isAudit = words.request.inputs.length == 3;
        if (!isAudit) pay += uint256(words.receipt.units) * words.request.price.output;
        pay = Math.ceilDiv(pay, PRICE_UNITS);
        guilts[lease] =
            Guilt(operator, uint40(block.timestamp), words.channel.payer, beneficiary, words.receipt.channelId, pay);
        uint256 slashed = _slash(operator, pay, lease, beneficiary);
        emit Convicted(id, lease, operator, beneficiary, slashed);
    }

    /// @notice What a first fault costs: twice what is unsettled and the pay over the chance of an audit, for half of it goes
    /// to who found it, and that may be the operator itself. The same as `trust::slash` of pure/proof.
    function costOf(uint256 held, uint256 pay) public pure returns (uint256) {
        return 2 * (held + Math.ceilDiv(pay * 1_000, CHANCE_PERMILLE));
    }

    /// Takes what a lie about a lease of this pay costs; the third within {FAULTS_S} costs all.
    function _slash(address operator, uint256 pay, bytes32 lease, address beneficiary) private returns (uint256) {
        uint40[2] storage times = faults[operator];
        bool isThird = times[1] > 0 && block.timestamp <= times[1] + FAULTS_S;
        (times[0], times[1]) = (uint40(block.timestamp), times[0]);
        if (isThird) staking.jail(operator);
        (uint128 bonded, uint128 unbonding,,,,) = staking.stakes(operator);
        uint256 stake = uint256(bonded) + unbonding;
        (uint128 held,,) = vault.accounts(operator);
        uint256 cost = costOf(held, pay);
        if (stake == 0 || (cost == 0 && !isThird)) return 0;
        uint256 bps = isThird ? 10_000 : Math.ceilDiv(cost * 10_000, stake);
        return staking.slash(operator, bps, lease, beneficiary);
    }
}
