// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "../src/Credits.sol";
import {IDepositStop} from "../src/DepositGate.sol";
import {EquivocationEvidence} from "../src/EquivocationEvidence.sol";
import {IStaking, Staking} from "../src/Staking.sol";
import {Base, Game} from "./Base.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

abstract contract Stakes is Base {
    uint40 internal constant UNBOND_S = 45 days;
    uint40 internal constant JAIL_S = 1 days;
    address internal treasury = address(0x7ea);
    Staking internal staking;

    function newStaking(address slasher) internal returns (Staking made) {
        Staking.Options memory options = Staking.Options({
            token: token,
            gate: IDepositStop(address(0)),
            admin: admin,
            treasury: treasury,
            unbondS: UNBOND_S,
            jailS: JAIL_S,
            validatorBondMin: 100,
            epochS: 600,
            slashers: new address[](1),
            initial: new Staking.Initial[](0)
        });
        options.slashers[0] = slasher;
        made = new Staking(options);
        approveAll(address(made));
    }

    function bond(address who, uint128 amount, uint8 roles) internal {
        vm.prank(who);
        staking.bond(amount, roles);
    }
}

contract StakingTest is Stakes {
    EquivocationEvidence private evidence;
    uint256 private constant KEY = 0x5eed;
    address private key = vm.addr(KEY);

    function setUp() public {
        staking = newStaking(address(this));
        evidence = new EquivocationEvidence(IStaking(address(staking)), 5_000);
        vm.startPrank(admin);
        staking.grantRole(staking.SLASHER(), address(evidence));
        vm.stopPrank();
    }

    function talkoo(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        address judge = 0x7a1c000000000000000000000000000000000001;
        bytes32 separator = keccak256(abi.encode(domain, keccak256("Talkoo"), keccak256("1"), block.chainid, judge));
        return MessageHashUtils.toTypedDataHash(separator, structHash);
    }

    function setKey(address operator, uint256 secret) private {
        bytes32 typeHash = keccak256("ValidatorKey(address operator,address key)");
        bytes memory signature = signed(secret, talkoo(keccak256(abi.encode(typeHash, operator, vm.addr(secret)))));
        vm.prank(operator);
        staking.setValidatorKey(vm.addr(secret), signature);
    }

    function vote(uint256 secret, uint8 kind, uint64 height, int64 round, bytes32 hash)
        private
        view
        returns (EquivocationEvidence.Vote memory made, bytes memory signature)
    {
        made = EquivocationEvidence.Vote(kind, height, round, hash);
        bytes32 typeHash = keccak256("Vote(uint8 voteType,uint64 height,int64 round,bytes32 blockHash)");
        signature = signed(secret, talkoo(keccak256(abi.encode(typeHash, kind, height, round, hash))));
    }

    function test_bond_unbond_withdraw() public {
        bond(alice, 1000, 1);
        vm.startPrank(alice);
        vm.expectPartialRevert(Staking.BondTooSmall.selector);
        staking.unbond(1001);
        staking.unbond(400);
        vm.warp(START + UNBOND_S - 1);
        vm.expectPartialRevert(Staking.TooEarly.selector);
        staking.finishUnbond();
        skip(1);
        staking.finishUnbond();
        vm.expectPartialRevert(Staking.NothingUnbonding.selector);
        staking.finishUnbond();
        staking.withdraw(alice);
        vm.assertEq(token.balanceOf(alice), FUNDS - 600);
        vm.assertEq(staking.bondOf(alice), 600);
        vm.expectPartialRevert(Credits.NothingToWithdraw.selector);
        staking.withdraw(alice);
    }

    function testFuzz_slashing_reaches_what_unbonds(uint64 bonded, uint64 leaving, uint16 bps) public {
        bonded = uint64(bound(bonded, 1e4, 1e11));
        leaving = uint64(bound(leaving, 1, bonded));
        bps = uint16(bound(bps, 1, 20_000));
        bond(alice, bonded, 1);
        vm.prank(alice);
        staking.unbond(leaving);
        uint256 want = uint256(bonded) * (bps > 10_000 ? 10_000 : bps) / 10_000;
        uint256 taken = staking.slash(alice, bps, "lie", bob);
        vm.assertEq(taken, want);
        (uint128 rest, uint128 unbonding,,,,) = staking.stakes(alice);
        vm.assertEq(uint256(rest) + unbonding + taken, bonded);
        vm.assertEq(staking.credit(bob) + staking.credit(treasury), taken);
        vm.assertTrue(staking.credit(bob) <= staking.credit(treasury));
        vm.expectPartialRevert(Staking.AlreadyPunished.selector);
        staking.slash(alice, bps, "lie", bob);
    }

    function test_without_a_bond_there_is_nothing_to_slash() public {
        vm.expectPartialRevert(Staking.NothingToSlash.selector);
        staking.slash(alice, 10_000, "lie", bob);
        staking.slash(newcomer(), 10_000, "lie", bob);
    }

    /// Somebody with a bond: the evidence above was not used up.
    function newcomer() private returns (address) {
        bond(carol, 1, 1);
        return carol;
    }

    function test_only_slashers_slash_and_jail() public {
        bond(alice, 1000, 1);
        vm.startPrank(bob);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        staking.slash(alice, 1, "x", bob);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        staking.jail(alice);
    }

    function test_top_validators() public {
        uint128[4] memory bonds = [uint128(300), 200, 300, 99];
        for (uint256 i = 0; i < 4; i++) {
            bond(person(i), bonds[i], 4);
            setKey(person(i), 100 + i);
        }
        (address[] memory operators, address[] memory keys, uint128[] memory powers) = staking.topValidators(9);
        vm.assertEq(operators.length, 3);
        (address first, address second) = alice < carol ? (alice, carol) : (carol, alice);
        vm.assertEq(operators[0], first);
        vm.assertEq(operators[1], second);
        vm.assertEq(operators[2], bob);
        vm.assertEq(keys[2], vm.addr(101));
        vm.assertEq(powers[2], 200);
        staking.jail(first);
        (operators,,) = staking.topValidators(1);
        vm.assertEq(operators[0], second);
        vm.startPrank(first);
        vm.expectPartialRevert(Staking.TooEarly.selector);
        staking.unjail();
        skip(JAIL_S);
        staking.unjail();
        vm.stopPrank();
        (operators,,) = staking.topValidators(1);
        vm.assertEq(operators[0], first);
        vm.prank(bob);
        staking.unbond(101);
        (operators,,) = staking.topValidators(9);
        vm.assertEq(operators.length, 2);
    }

    function initial(address operator, address validatorKey, uint128 bonded)
        private
        view
        returns (Staking.Options memory made)
    {
        made = Staking.Options({
            token: token,
            gate: IDepositStop(address(0)),
            admin: admin,
            treasury: treasury,
            unbondS: UNBOND_S,
            jailS: JAIL_S,
            validatorBondMin: 100,
            epochS: 600,
            slashers: new address[](0),
            initial: new Staking.Initial[](2)
        });
        made.initial[0] = Staking.Initial(alice, key, 300, 4);
        made.initial[1] = Staking.Initial(operator, validatorKey, bonded, 4);
    }

    /// A genesis: the tokens lie where the contract will be; what no bond takes is the treasury's.
    function test_initial_stakes() public {
        Staking made = Staking(address(0x7a1c05));
        token.mint(address(made), 1000);
        uint256 supply = token.totalSupply();
        predeploy(address(made), abi.encodePacked(type(Staking).creationCode, abi.encode(initial(bob, carol, 200))));
        (address[] memory operators, address[] memory keys, uint128[] memory bonds) = made.topValidators(9);
        vm.assertEq(operators.length, 2);
        vm.assertEq(operators[0], alice);
        vm.assertEq(keys[0], key);
        vm.assertEq(keys[1], carol);
        vm.assertEq(uint256(bonds[0]) + bonds[1], 500);
        vm.assertEq(made.operatorOf(carol), bob);
        vm.assertEq(token.balanceOf(address(made)), 500);
        vm.assertEq(token.balanceOf(treasury), 500);
        vm.assertEq(token.totalSupply(), supply);
        vm.startPrank(bob);
        made.unbond(200);
        skip(UNBOND_S);
        made.finishUnbond();
        made.withdraw(bob);
        vm.assertEq(token.balanceOf(bob), FUNDS + 200);
    }

    function test_initial_stakes_are_paid_for_and_each_key_is_ones() public {
        vm.expectPartialRevert(Credits.ShortTransfer.selector);
        new Staking(initial(bob, carol, 200));
        vm.expectPartialRevert(Staking.KeyTaken.selector);
        new Staking(initial(bob, key, 200));
    }

    function test_a_validator_key_has_one_operator() public {
        setKey(alice, KEY);
        bytes32 typeHash = keccak256("ValidatorKey(address operator,address key)");
        bytes memory signature = signed(KEY, talkoo(keccak256(abi.encode(typeHash, bob, key))));
        vm.expectPartialRevert(Staking.KeyTaken.selector);
        vm.prank(bob);
        staking.setValidatorKey(key, signature);
        vm.expectPartialRevert(Staking.InvalidSignature.selector);
        vm.prank(bob);
        staking.setValidatorKey(carol, signature);
    }

    /// The digest of viem 2.57.20.
    function test_the_digest_of_a_vote() public {
        vm.chainId(825_566);
        bytes32 hash = 0x0707070707070707070707070707070707070707070707070707070707070707;
        vm.assertEq(
            evidence.getVoteDigest(EquivocationEvidence.Vote(2, 7, -1, hash)),
            0x64e59c3d7e1a68ccf0c080a157f758b9a045484e921dd21eb1d0f39ca132097b
        );
    }

    function test_two_votes_cost_the_bond() public {
        bond(alice, 1000, 4);
        setKey(alice, KEY);
        (EquivocationEvidence.Vote memory a, bytes memory sa) = vote(KEY, 2, 7, 0, "one");
        (EquivocationEvidence.Vote memory b, bytes memory sb) = vote(KEY, 2, 7, 0, 0);
        // A new key does not save who signed with the old one.
        setKey(alice, KEY + 1);
        vm.prank(bob);
        evidence.report(a, sa, b, sb);
        vm.assertEq(staking.bondOf(alice), 500);
        vm.assertEq(staking.credit(bob), 250);
        (,,, uint40 jailedUntil,,) = staking.stakes(alice);
        vm.assertEq(jailedUntil, START + JAIL_S);
        (EquivocationEvidence.Vote memory c, bytes memory sc) = vote(KEY, 2, 7, 0, "two");
        vm.expectPartialRevert(Staking.AlreadyPunished.selector);
        evidence.report(a, sa, c, sc);
    }

    function test_what_is_no_equivocation() public {
        bond(alice, 1000, 4);
        setKey(alice, KEY);
        (EquivocationEvidence.Vote memory a, bytes memory sa) = vote(KEY, 2, 7, 0, "one");
        EquivocationEvidence.Vote[5] memory others = [
            a,
            EquivocationEvidence.Vote(1, 7, 0, "two"),
            EquivocationEvidence.Vote(2, 8, 0, "two"),
            EquivocationEvidence.Vote(2, 7, 1, "two"),
            EquivocationEvidence.Vote(2, 7, -1, "two")
        ];
        for (uint256 i = 0; i < 5; i++) {
            bytes memory so = signed(KEY, evidence.getVoteDigest(others[i]));
            vm.expectPartialRevert(EquivocationEvidence.NoConflict.selector);
            evidence.report(a, sa, others[i], so);
        }
        (EquivocationEvidence.Vote memory b, bytes memory sb) = vote(KEY + 1, 2, 7, 0, "two");
        vm.expectPartialRevert(EquivocationEvidence.DifferentSigners.selector);
        evidence.report(a, sa, b, sb);
        (a, sa) = vote(KEY + 1, 2, 7, 0, "one");
        vm.expectPartialRevert(EquivocationEvidence.UnknownValidator.selector);
        evidence.report(a, sa, b, sb);
    }
}

/// Plays any order of calls by four people; the player is the slasher.
contract StakePlayer is Stakes {
    uint256 private evidence;

    constructor() {
        staking = newStaking(address(this));
    }

    function put(uint256 who, uint128 amount) external {
        bond(person(who), uint128(bound(amount, 0, 1000)), 1);
    }

    function goOut(uint256 who, uint128 amount) external {
        amount = uint128(bound(amount, 1, staking.bondOf(person(who)) + 1));
        vm.prank(person(who));
        staking.unbond(amount);
    }

    function finish(uint256 who, uint256 wait) external {
        skip(bound(wait, 0, 2 * UNBOND_S));
        vm.prank(person(who));
        staking.finishUnbond();
    }

    function slash(uint256 who, uint16 bps, uint256 reporter) external {
        staking.slash(person(who), bound(bps, 1, 10_000), bytes32(evidence++), person(reporter));
    }

    function take(uint256 who) external {
        staking.withdraw(person(who));
    }

    function books() external view returns (uint256 held, uint256 owed) {
        held = token.balanceOf(address(staking));
        owed = staking.credit(treasury);
        for (uint256 i = 0; i < 4; i++) {
            (uint128 bonded, uint128 unbonding,,,,) = staking.stakes(person(i));
            owed += uint256(bonded) + unbonding + staking.credit(person(i));
        }
    }

    function drain() external {
        for (uint256 i = 0; i < 4; i++) {
            vm.startPrank(person(i));
            if (staking.bondOf(person(i)) > 0) staking.unbond(uint128(staking.bondOf(person(i))));
            skip(UNBOND_S);
            (, uint128 unbonding,,,,) = staking.stakes(person(i));
            if (unbonding > 0) staking.finishUnbond();
            vm.stopPrank();
            if (staking.credit(person(i)) > 0) staking.withdraw(person(i));
        }
        if (staking.credit(treasury) > 0) staking.withdraw(treasury);
    }
}

contract StakingInvariants is Game {
    StakePlayer private player;

    constructor() Game(address(player = new StakePlayer())) {}

    function invariant_bonds_are_backed() public view {
        (uint256 held, uint256 owed) = player.books();
        require(held == owed, "held is not owed");
    }

    function afterInvariant() public {
        player.drain();
        (uint256 held,) = player.books();
        require(held == 0, "money is stuck");
    }
}
