// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Delegations} from "../src/Delegations.sol";
import {IDepositStop} from "../src/DepositGate.sol";
import {DisputeFindings} from "../src/DisputeFindings.sol";
import {DisputeQuestions} from "../src/DisputeQuestions.sol";
import {Disputes} from "../src/Disputes.sol";
import {IBatchSettlement} from "../src/IBatchSettlement.sol";
import "../src/Leases.sol";
import {NotInProgram, NotParams, drawOf} from "../src/Params.sol";
import {Staking} from "../src/Staking.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Vaults} from "./WorkerVault.t.sol";

/// Stands where the judge's parts stand: finds whatever comes true, of the receipt and lease that the test says. What the
/// parts themselves refuse is in pure/ledger's tests, with a worker that ran a model.
contract Part {
    bytes32 private id;
    bytes32 private lease;

    function set(bytes32 id_, bytes32 lease_) external {
        (id, lease) = (id_, lease_);
    }

    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(id, lease);
    }
}

/// Bob's node works for Carol, Alice pays, Dave doubts.
contract DisputesTest is Vaults {
    uint40 private constant ANSWER_S = 600;
    uint128 private constant BOND = 500;
    address private treasury = address(0x7ea);
    /// Who sends for Dave.
    address private asker = address(0xa5c);
    Staking private staking;
    Part private part = new Part();
    Disputes private judge;
    Words private words;
    Signatures private signatures;

    function setUp() public {
        address[] memory none = new address[](0);
        Staking.Options memory options = Staking.Options(
            token, IDepositStop(address(0)), admin, treasury, 45 days, 7 days, 100, 600, none, new Staking.Initial[](0)
        );
        staking = new Staking(options);
        (DisputeQuestions questions, DisputeFindings findings) =
            (DisputeQuestions(address(part)), DisputeFindings(address(part)));
        judge = new Disputes(
            Disputes.Options(
                token, vault, staking, delegations, questions, findings, ANSWER_S, WINDOW_S, BOND, treasury
            )
        );
        vm.startPrank(admin);
        staking.grantRole(staking.SLASHER(), address(judge));
        vault.grantRole(vault.SLASHER(), address(judge));
        vm.stopPrank();
        approveAll(address(staking));
        (words.receipt.operator, words.receipt.node) = (carol, bob);
        words.request.deadline = uint64(START + 100);
        (words.request.limits.inputUnits, words.receipt.units) = (3, 10);
        words.request.price = Price(1_000_000, 2_500_000);
        words.channel = work(carol, 0);
        words.receipt.channelId = settlement.getChannelId(words.channel);
        deposit(words.channel, 10_000, 1);
        grant(START + 365 days);
        part.set("id", "lease");
    }

    function grant(uint256 expiry) private {
        Delegations.Delegation memory to = Delegations.Delegation(carol, bob, 1, uint64(expiry));
        delegations.grant(to, signed(CAROL_KEY, delegations.getDigest(to)));
    }

    function bondOf(address who, bytes32 id) private view returns (Bond memory) {
        uint256 end = START + 365 days;
        bytes32 nonce = keccak256(abi.encode(id, who));
        bytes32 structHash = keccak256(abi.encode(RECEIVE, dave, address(judge), BOND, 0, end, nonce));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
        return Bond(dave, 0, end, signed(DAVE_KEY, digest));
    }

    function question(uint32 chunk) private pure returns (Question memory q) {
        q.chunk = chunk;
    }

    function ask(uint32 chunk) private {
        askAs(asker, chunk, bondOf(asker, "id"));
    }

    function askAs(address who, uint32 chunk, Bond memory from) private {
        Support memory none;
        vm.prank(who);
        judge.ask(words, signatures, question(chunk), none, from);
    }

    function answer(uint32 chunk) private {
        Answer memory said;
        judge.answer(words, asker, question(chunk), said);
    }

    function convict() private {
        OutputFinding memory finding;
        finding.beneficiary = dave;
        judge.convictOutput(words, signatures, finding);
    }

    function turn(address who) private view returns (uint256) {
        (,, Disputes.Turn found,,) = judge.cases("id", who);
        return uint256(found);
    }

    function stakeOf(address who) private view returns (uint256) {
        (uint128 bonded, uint128 unbonding,,,,) = staking.stakes(who);
        return uint256(bonded) + unbonding;
    }

    function bond(uint128 amount) private {
        vm.prank(carol);
        staking.bond(amount, 1);
    }

    /// Claims and books `amount` more of a channel.
    function earn(IBatchSettlement.ChannelConfig memory channel, uint128 amount) private {
        (, uint128 claimed) = settlement.channels(settlement.getChannelId(channel));
        claimAs(carol, channel, claimed + amount, claimed + amount);
        book(channel);
    }

    function test_a_bond_is_for_one_receipt_and_one_asker() public {
        Bond memory ours = bondOf(asker, "id");
        vm.expectPartialRevert(ERC3009.ERC3009InvalidSignature.selector);
        askAs(address(0xbad), 0, ours);
        Bond memory other = bondOf(asker, "other");
        vm.expectPartialRevert(ERC3009.ERC3009InvalidSignature.selector);
        askAs(asker, 0, other);
        askAs(asker, 0, ours);
        vm.assertEq(token.balanceOf(address(judge)), BOND);
        vm.assertEq(token.balanceOf(dave), FUNDS - BOND);
    }

    function test_each_side_moves_in_turn_and_in_time() public {
        vm.expectRevert(abi.encodeWithSelector(Disputes.WrongTurn.selector, Disputes.Turn.None));
        answer(0);
        vm.expectRevert(abi.encodeWithSelector(Disputes.WrongTurn.selector, Disputes.Turn.None));
        judge.timeout(words, asker);
        vm.expectRevert(abi.encodeWithSelector(Disputes.WrongTurn.selector, Disputes.Turn.None));
        judge.lapse(words, asker);
        ask(0);
        Bond memory again = bondOf(asker, "id");
        vm.expectRevert(abi.encodeWithSelector(Disputes.WrongTurn.selector, Disputes.Turn.Answer));
        askAs(asker, 1, again);
        vm.expectRevert(abi.encodeWithSelector(Disputes.WrongTurn.selector, Disputes.Turn.Answer));
        judge.lapse(words, asker);
        vm.expectPartialRevert(Disputes.AnotherQuestion.selector);
        answer(1);
        skip(ANSWER_S - 1);
        vm.expectPartialRevert(Disputes.TooEarly.selector);
        judge.timeout(words, asker);
        answer(0);
        vm.expectRevert(abi.encodeWithSelector(Disputes.WrongTurn.selector, Disputes.Turn.Ask));
        answer(0);
        vm.expectRevert(abi.encodeWithSelector(Disputes.WrongTurn.selector, Disputes.Turn.Ask));
        judge.timeout(words, asker);
        skip(ANSWER_S - 1);
        vm.expectPartialRevert(Disputes.TooEarly.selector);
        judge.lapse(words, asker);
        ask(1);
        skip(ANSWER_S);
        vm.expectPartialRevert(Disputes.TooLate.selector);
        answer(1);
        judge.timeout(words, asker);
        vm.assertEq(turn(asker), uint256(Disputes.Turn.Guilty));
        vm.assertEq(judge.credit(dave), BOND);
        judge.withdraw(dave);
        vm.assertEq(token.balanceOf(dave), FUNDS);
        vm.expectPartialRevert(Disputes.WrongTurn.selector);
        judge.lapse(words, asker);
        vm.expectPartialRevert(Disputes.AlreadyGuilty.selector);
        askAs(asker, 2, again);
    }

    function test_the_bond_is_taken_once_and_questions_end() public {
        for (uint32 round = 0; round < judge.ROUNDS_MAX(); round++) {
            ask(round);
            answer(round);
        }
        vm.assertEq(token.balanceOf(address(judge)), BOND);
        Bond memory again = bondOf(asker, "id");
        vm.expectPartialRevert(Disputes.NoRoundsLeft.selector);
        askAs(asker, 99, again);
    }

    function test_who_finds_nothing_pays_and_shields_nobody() public {
        ask(0);
        answer(0);
        skip(ANSWER_S);
        Bond memory again = bondOf(asker, "id");
        vm.expectPartialRevert(Disputes.TooLate.selector);
        askAs(asker, 1, again);
        judge.lapse(words, asker);
        vm.assertEq(judge.credit(carol), BOND);
        vm.assertEq(turn(asker), uint256(Disputes.Turn.Acquitted));
        vm.expectRevert(abi.encodeWithSelector(Disputes.WrongTurn.selector, Disputes.Turn.Acquitted));
        askAs(asker, 1, again);
        vm.expectPartialRevert(Disputes.WrongTurn.selector);
        judge.lapse(words, asker);
        // A case of somebody else's, and the truth whenever it comes.
        askAs(address(0xb), 0, bondOf(address(0xb), "id"));
        skip(WINDOW_S * 9);
        convict();
        vm.assertEq(judge.credit(carol), BOND);
        // Whose case was still open has the bond back.
        judge.lapse(words, address(0xb));
        vm.assertEq(judge.credit(dave), BOND);
        vm.assertEq(turn(address(0xb)), uint256(Disputes.Turn.Guilty));
    }

    function test_a_case_is_opened_while_the_vault_holds_the_pay() public {
        vm.warp(START + 100 + WINDOW_S + 1);
        Bond memory ours = bondOf(asker, "id");
        vm.expectPartialRevert(Disputes.TooLate.selector);
        askAs(asker, 0, ours);
        vm.expectPartialRevert(Disputes.TooLate.selector);
        convict();
        vm.warp(START + 100 + WINDOW_S);
        ask(0);
        skip(1);
        convict();
    }

    /// The node keeps what answers as long as a first case can be opened, and no longer.
    function test_a_receipt_that_was_seen_is_not_asked_about_ever_after() public {
        ask(0);
        answer(0);
        skip(ANSWER_S);
        judge.lapse(words, asker);
        vm.warp(START + 100 + WINDOW_S + 1);
        Bond memory late = bondOf(address(0xb), "id");
        vm.expectPartialRevert(Disputes.TooLate.selector);
        askAs(address(0xb), 0, late);
        // What it said before is true for ever.
        convict();
    }

    /// Whoever pays itself and accuses itself gets nothing whole of what others paid.
    function test_a_self_made_lease_refunds_nothing_of_others() public {
        words.request.price = Price(type(uint128).max, type(uint128).max);
        words.receipt.units = type(uint64).max;
        IBatchSettlement.ChannelConfig memory other = work(carol, "other");
        deposit(other, 10_000, 2);
        earn(other, 1_000);
        convict();
        seize(0);
        vm.assertEq(vault.credit(alice), 0);
        vm.assertEq(vault.credit(treasury), 500);
    }

    function test_an_audit_is_paid_for_what_goes_in() public {
        words.request.inputs = new bytes32[](3);
        convict();
        (,,,,, uint256 refund) = judge.guilts("lease");
        vm.assertEq(refund, 3);
    }

    function refusedFor(string memory why) private {
        (bool ok, bytes memory data) = address(this).call(abi.encodeCall(this.convictThis, ()));
        vm.assertTrue(!ok && bytes4(data) == Disputes.NotDelegated.selector, why);
    }

    function convictThis() external {
        convict();
    }

    function test_a_node_works_for_its_operator_as_long_as_the_window() public {
        words.request.deadline = uint64(START + 365 days);
        words.receipt.node = dave;
        refusedFor("a stranger's node");
        words.receipt.node = bob;
        vm.prank(carol);
        delegations.revoke(bob);
        skip(WINDOW_S);
        refusedFor("revoked long ago");
        // Revoked just after it worked, with more grants after it than anyone would read.
        grant(START + 364 days);
        vm.prank(carol);
        delegations.revoke(bob);
        Delegations.Delegation memory other = Delegations.Delegation(carol, alice, 1, uint64(START + 364 days));
        delegations.grant(other, signed(CAROL_KEY, delegations.getDigest(other)));
        refusedFor("its grant is not the one named");
        signatures.grant = 1;
        skip(WINDOW_S - 1);
        convict();
    }

    function test_a_delegation_that_nobody_granted_counts() public {
        words.request.deadline = uint64(START + 365 days);
        words.receipt.node = dave;
        uint64 end = uint64(START + 10 days);
        signatures.delegation = Delegations.Delegation(carol, dave, 6, end);
        signatures.delegationSignature = signed(CAROL_KEY, delegations.getDigest(signatures.delegation));
        refusedFor("not for work");
        signatures.delegation.roles = 1;
        refusedFor("another signature");
        signatures.delegationSignature = signed(CAROL_KEY, delegations.getDigest(signatures.delegation));
        words.receipt.node = alice;
        refusedFor("another node");
        words.receipt.node = dave;
        vm.warp(end + WINDOW_S);
        refusedFor("ended long ago");
        vm.warp(end - 1);
        // To void it after the work is no way out: it is in the history then.
        vm.prank(carol);
        delegations.voidUnused(signatures.delegation);
        refusedFor("void");
        vm.assertEq(delegations.grantAt(carol, 1).until, end - 1);
        signatures.grant = 1;
        vm.warp(end - 2 + WINDOW_S);
        convict();
    }

    function test_a_delegation_counts_a_window_after_its_end() public {
        words.request.deadline = uint64(START + 365 days);
        words.receipt.node = dave;
        signatures.delegation = Delegations.Delegation(carol, dave, 1, uint64(START + 10));
        signatures.delegationSignature = signed(CAROL_KEY, delegations.getDigest(signatures.delegation));
        vm.warp(START + 9 + WINDOW_S);
        convict();
    }

    /// Of a pay of 3 + 25 the least cost is 2 * ceil(28 / 2.1 %) = 2,668, and twice what is held besides.
    function test_a_lie_costs_what_it_could_bring() public {
        uint128[4] memory bonds = [uint128(0), 1_000, 100_000, 100_000];
        uint128[4] memory helds = [uint128(0), 0, 0, 9_999];
        uint256[4] memory losses = [uint256(0), 1_000, 2_670, 22_670];
        for (uint256 i = 0; i < 4; i++) {
            part.set(bytes32(i), bytes32(i));
            words.request.deadline = uint64(block.timestamp);
            (words.channel, words.receipt.operator, words.receipt.node) = (work(carol, bytes32(i)), carol, carol);
            uint256 before = stakeOf(carol);
            bonds[i] -= uint128(before);
            if (bonds[i] > 0) bond(bonds[i]);
            if (helds[i] > 0) {
                deposit(words.channel, 10_000, 2);
                earn(words.channel, helds[i]);
            }
            before = stakeOf(carol);
            convict();
            vm.assertEq(before - stakeOf(carol), losses[i]);
            skip(31 days);
            vault.release(carol, 9);
        }
    }

    function test_the_third_fault_in_a_month_takes_all() public {
        bond(1_000_000);
        // The third is a second too late for the first, the fourth in time for the second.
        uint256[4] memory waits = [uint256(0), 15 days, 15 days + 1, 15 days - 1];
        for (uint256 i = 0; i < 4; i++) {
            skip(waits[i]);
            words.request.deadline = uint64(block.timestamp);
            part.set(bytes32(i), bytes32(i));
            convict();
            (,,, uint40 jailedUntil,,) = staking.stakes(carol);
            vm.assertTrue((stakeOf(carol) == 0) == (i == 3) && (jailedUntil > 0) == (i == 3));
        }
        // Without anything at stake it is a fault all the same.
        part.set("another", "another");
        words.request.deadline = uint64(block.timestamp);
        convict();
    }

    function test_a_lease_is_guilty_once_whatever_its_receipts() public {
        bond(1_000_000);
        ask(0);
        convict();
        uint256 left = stakeOf(carol);
        part.set("a later receipt", "lease");
        vm.expectPartialRevert(Disputes.AlreadyGuilty.selector);
        convict();
        vm.assertEq(stakeOf(carol), left);
        part.set("id", "lease");
        skip(ANSWER_S);
        vm.expectPartialRevert(Disputes.AlreadyGuilty.selector);
        judge.timeout(words, asker);
        judge.lapse(words, asker);
        vm.assertEq(judge.credit(dave), BOND);
    }

    function test_the_finders_share_is_whose_case_was_first() public {
        bond(1_000_000);
        ask(0);
        OutputFinding memory finding;
        finding.beneficiary = address(0xbad);
        vm.prank(address(0xbad));
        judge.convictOutput(words, signatures, finding);
        vm.assertEq(staking.credit(address(0xbad)), 0);
        vm.assertEq(staking.credit(dave), 1_350);
    }

    function test_who_lapsed_has_no_share() public {
        bond(1_000_000);
        ask(0);
        answer(0);
        skip(ANSWER_S);
        judge.lapse(words, asker);
        OutputFinding memory finding;
        finding.beneficiary = alice;
        judge.convictOutput(words, signatures, finding);
        vm.assertEq(staking.credit(alice), 1_350);
        vm.assertEq(staking.credit(dave), 0);
    }

    function seize(uint256 index) private {
        uint256[] memory indices = new uint256[](1);
        indices[0] = index;
        judge.seize("lease", indices);
    }

    function test_what_the_vault_holds_goes_to_payer_finder_and_treasury() public {
        vm.expectPartialRevert(Disputes.NotGuilty.selector);
        seize(0);
        IBatchSettlement.ChannelConfig memory other = work(carol, "other");
        deposit(other, 10_000, 2);
        earn(other, 21);
        skip(10);
        convict();
        earn(words.channel, 100);
        earn(other, 50);
        seize(0);
        vm.assertEq(vault.credit(alice), 0, "no refund of what another channel brought");
        vm.assertEq(vault.credit(dave), 10);
        vm.assertEq(vault.credit(treasury), 11);
        seize(1);
        vm.assertEq(vault.credit(alice), 28);
        vm.assertEq(vault.credit(dave), 46, "half of 72 more");
        vm.assertEq(vault.credit(treasury), 47);
        vm.assertEq(held(carol), 50);
        // Another channel's pay, a second after the verdict, was never of the lie's time.
        skip(1);
        earn(other, 7);
        vm.expectPartialRevert(Disputes.NotHeldThen.selector);
        seize(3);
        skip(WINDOW_S - 1);
        earn(words.channel, 9);
        seize(4);
        vm.assertEq(vault.credit(treasury), 47 + 5);
        skip(1);
        earn(words.channel, 9);
        vm.expectPartialRevert(Disputes.NotHeldThen.selector);
        seize(5);
    }

    function drawOfParams(bytes calldata params) external pure returns (uint256[4] memory) {
        return drawOf(params);
    }

    function test_params_are_read_past_what_is_not_asked_for() public {
        // {top_k: 5, "stop": ["ab", -1, {"x": null}], min_p_q16: 700, top_p_q16: 65536, temperature_q16: 80000}
        bytes memory params = abi.encodePacked(
            hex"a5", hex"65", "top_k", hex"05", hex"64", "stop", hex"83626162", hex"20", hex"a16178f6"
        );
        params = abi.encodePacked(params, hex"69", "min_p_q16", hex"1902bc", hex"69", "top_p_q16", hex"1a00010000");
        params = abi.encodePacked(params, hex"6f", "temperature_q16", hex"1a00013880");
        uint256[4] memory draw = this.drawOfParams(params);
        vm.assertTrue(draw[0] == 80_000 && draw[1] == 5 && draw[2] == 65_536 && draw[3] == 700);
        bytes[4] memory cases = [bytes(hex""), hex"83", hex"a1ff", hex"a20105"];
        for (uint256 i = 0; i < 4; i++) {
            vm.expectPartialRevert(NotParams.selector);
            this.drawOfParams(cases[i]);
        }
        string[5] memory others =
            ["constraint", "logit_bias", "repeat_penalty_q16", "presence_penalty_q16", "frequency_penalty_q16"];
        for (uint256 i = 0; i < 5; i++) {
            uint8 length = uint8(bytes(others[i]).length);
            vm.expectRevert(abi.encodeWithSelector(NotInProgram.selector, bytes32(bytes(others[i]))));
            this.drawOfParams(abi.encodePacked(hex"a1", 0x60 + length, others[i], hex"00"));
        }
    }
}
