// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Allotments} from "../src/Allotments.sol";
import {ComputeEscrow} from "../src/ComputeEscrow.sol";
import {Delegations} from "../src/Delegations.sol";
import {ERC3009DepositCollector} from "../src/DepositCollectors.sol";
import {IDepositStop} from "../src/DepositGate.sol";
import {Faucet} from "../src/Faucet.sol";
import {IBatchSettlement} from "../src/IBatchSettlement.sol";
import {Parameters} from "../src/Parameters.sol";
import {IStaking, Staking} from "../src/Staking.sol";
import {TestCredit} from "../src/TestCredit.sol";
import {WorkerVault} from "../src/WorkerVault.sol";
import {X402BatchSettlement} from "../src/X402BatchSettlement.sol";
import {Base} from "./Base.sol";

/// A test network's first hour: everything at its address, and the whole way of a newcomer's credit to a worker.
contract GenesisTest is Base {
    address private constant SETTLEMENT = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;
    address private constant COLLECTOR = 0x4020806089470a89826cB9fB1f4059150b550004;
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    X402BatchSettlement private settlement = X402BatchSettlement(SETTLEMENT);
    WorkerVault private vault = WorkerVault(ours(2));
    TestCredit private credit = TestCredit(ours(3));
    Delegations private delegations = Delegations(ours(4));
    Staking private staking = Staking(ours(5));
    Faucet private faucet = Faucet(payable(ours(7)));

    function ours(uint160 last) private pure returns (address) {
        return address((uint160(0x7a1c) << 144) | last);
    }

    function setUp() public {
        IDepositStop gate = IDepositStop(ours(11));
        address[] memory venues = new address[](5);
        (venues[0], venues[1], venues[2]) = (SETTLEMENT, COLLECTOR, address(vault));
        (venues[3], venues[4]) = (ours(8), ours(9));
        put(SETTLEMENT, type(X402BatchSettlement).creationCode, abi.encode(gate));
        put(COLLECTOR, type(ERC3009DepositCollector).creationCode, abi.encode(SETTLEMENT));
        put(address(credit), type(TestCredit).creationCode, abi.encode(faucet, venues));
        put(address(delegations), type(Delegations).creationCode, "");
        put(ours(8), type(Allotments).creationCode, abi.encode(credit, gate, SETTLEMENT));
        put(ours(9), type(ComputeEscrow).creationCode, abi.encode(credit, gate));
        Parameters.Initial[] memory none = new Parameters.Initial[](0);
        put(address(gate), type(Parameters).creationCode, abi.encode(admin, admin, 2 days, none));
        address[] memory sponsors = new address[](1);
        sponsors[0] = address(this);
        Faucet.Pair memory most = Faucet.Pair(1e9, 1e18);
        put(
            address(faucet),
            type(Faucet).creationCode,
            abi.encode(Faucet.Options(credit, admin, sponsors, 1 days, most, most, most))
        );
        vm.deal(address(faucet), 1e18);
        stakes(gate);
    }

    /// Bonds are in a token that can be staked, not in test credit.
    function stakes(IDepositStop gate) private {
        address[] memory judges = new address[](1);
        judges[0] = ours(1);
        put(
            address(staking),
            type(Staking).creationCode,
            abi.encode(
                Staking.Options(token, gate, admin, admin, 45 days, 1 days, 100, 600, judges, new Staking.Initial[](0))
            )
        );
        put(
            address(vault),
            type(WorkerVault).creationCode,
            abi.encode(
                WorkerVault.Options(
                    credit, gate, settlement, IStaking(address(staking)), delegations, 1 days, admin, judges
                )
            )
        );
    }

    function put(address where, bytes memory code, bytes memory args) private {
        predeploy(where, abi.encodePacked(code, args));
    }

    /// Alice buys, Bob's node key works for Carol, who owns it; Dave's key signs Alice's vouchers.
    function test_from_the_faucet_to_the_workers_owner() public {
        faucet.grant(payable(alice), "invite", Faucet.Pair(1000, 1e15));
        approveAll(address(staking));
        vm.prank(carol);
        staking.bond(5000, 1);
        Delegations.Delegation memory to = Delegations.Delegation(carol, bob, 1, uint64(START + 1 days));
        delegations.grant(to, signed(CAROL_KEY, delegations.getDigest(to)));

        IBatchSettlement.ChannelConfig memory c =
            IBatchSettlement.ChannelConfig(alice, dave, address(vault), carol, address(credit), 1 days, 0);
        bytes32 id = settlement.getChannelId(c);
        settlement.deposit(c, 1000, COLLECTOR, authorization(id, 1000));
        vm.prank(bob);
        vault.reserve(c, 1000, uint40(START + 1 days));

        IBatchSettlement.VoucherClaim[] memory rows = new IBatchSettlement.VoucherClaim[](1);
        bytes memory signature = signed(DAVE_KEY, settlement.getVoucherDigest(id, 700));
        rows[0] = IBatchSettlement.VoucherClaim(IBatchSettlement.Voucher(c, 700), signature, 700);
        vm.prank(bob);
        vault.claim(rows);
        skip(1 days);
        vault.release(carol, 1);
        vault.withdraw(carol);
        vm.assertEq(credit.balanceOf(carol), 700);
        vm.expectPartialRevert(TestCredit.NotTransferable.selector);
        vm.prank(carol);
        credit.transfer(bob, 1);
        vm.prank(carol);
        settlement.refund(c, 300);
        vm.assertEq(credit.balanceOf(alice), 300);
    }

    function test_credit_cannot_be_staked() public {
        Staking other = new Staking(
            Staking.Options(
                credit,
                IDepositStop(address(0)),
                admin,
                admin,
                45 days,
                1 days,
                100,
                600,
                new address[](0),
                new Staking.Initial[](0)
            )
        );
        faucet.grant(payable(alice), "invite", Faucet.Pair(1000, 0));
        vm.startPrank(alice);
        credit.approve(address(other), 1000);
        vm.expectPartialRevert(TestCredit.NotTransferable.selector);
        other.bond(1000, 1);
    }

    function authorization(bytes32 channelId, uint256 amount) private view returns (bytes memory) {
        uint256 end = START + 1 hours;
        bytes32 nonce = keccak256(abi.encode(channelId, uint256(1)));
        bytes32 structHash = keccak256(abi.encode(RECEIVE, alice, COLLECTOR, amount, 0, end, nonce));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", credit.DOMAIN_SEPARATOR(), structHash));
        return abi.encode(uint256(0), end, uint256(1), signed(ALICE_KEY, digest));
    }
}
