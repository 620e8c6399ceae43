// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TalkooToken} from "../src/TalkooToken.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// forge's cheat codes that these tests use.
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function warp(uint256 time) external;
    function chainId(uint256 id) external;
    function deal(address account, uint256 amount) external;
    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function assume(bool condition) external pure;
    function etch(address where, bytes calldata code) external;
    function label(address account, string calldata name) external;
    function expectRevert() external;
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function assertEq(uint256 a, uint256 b) external pure;
    function assertEq(uint256 a, uint256 b, string calldata why) external pure;
    function assertEq(address a, address b) external pure;
    function assertEq(bytes32 a, bytes32 b) external pure;
    function assertTrue(bool is_) external pure;
    function assertTrue(bool is_, string calldata why) external pure;
    function assertFalse(bool is_) external pure;
    function assertEq(bytes calldata a, bytes calldata b) external pure;
}

/// What every test starts from: a token, four people with keys, a clock that has run for a while.
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes4 internal constant PANIC = 0x4e487b71;

    uint256 internal constant ALICE_KEY = 0xa11ce;
    uint256 internal constant BOB_KEY = 0xb0b;
    uint256 internal constant CAROL_KEY = 0xca501;
    uint256 internal constant DAVE_KEY = 0xda7e;
    address internal alice = vm.addr(ALICE_KEY);
    address internal bob = vm.addr(BOB_KEY);
    address internal carol = vm.addr(CAROL_KEY);
    address internal dave = vm.addr(DAVE_KEY);
    address internal admin = address(0xad);

    /// Seconds; not zero, so that "a time in the past" exists.
    uint256 internal constant START = 1_800_000_000;
    uint128 internal constant FUNDS = 1_000_000e6;
    TalkooToken internal token;

    constructor() {
        vm.warp(START);
        token = new TalkooToken("Talkoo", "TALKOO", address(this), address(this), 0);
        for (uint256 i = 0; i < 4; i++) {
            token.mint(person(i), FUNDS);
        }
    }

    function person(uint256 i) internal view returns (address) {
        return [alice, bob, carol, dave][i % 4];
    }

    function personKey(uint256 i) internal pure returns (uint256) {
        return [ALICE_KEY, BOB_KEY, CAROL_KEY, DAVE_KEY][i % 4];
    }

    /// A signature as Talkoo writes it: r ‖ s ‖ v.
    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// Everybody lets `spender` take all.
    function approveAll(address spender) internal {
        for (uint256 i = 0; i < 4; i++) {
            vm.prank(person(i));
            token.approve(spender, type(uint256).max);
        }
    }

    function bound(uint256 value, uint256 least, uint256 most) internal pure returns (uint256) {
        return least + value % (most - least + 1);
    }

    function skip(uint256 seconds_) internal {
        vm.warp(block.timestamp + seconds_);
    }

    /// As a genesis does it: the creation code runs at the address, called by nobody.
    function predeploy(address where, bytes memory creation) internal {
        vm.etch(where, creation);
        vm.prank(address(0));
        (bool ok, bytes memory code) = where.call("");
        require(ok, "the constructor reverts");
        vm.etch(where, code);
    }
}

/// An invariant test: forge calls the player's functions in any order, but for `drain`, which ends a game.
abstract contract Game {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    address private immutable PLAYER;

    constructor(address player) {
        PLAYER = player;
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = PLAYER;
    }

    function excludeSelectors() external view returns (FuzzSelector[] memory excluded) {
        excluded = new FuzzSelector[](1);
        excluded[0] = FuzzSelector(PLAYER, new bytes4[](1));
        excluded[0].selectors[0] = bytes4(keccak256("drain()"));
    }
}

/// A token that calls its receiver's and its sender's hook on every transfer, as ERC-777 does.
contract HookToken is TalkooToken {
    /// Hears of every transfer.
    address private listener;

    constructor(address minter) TalkooToken("Hook", "HOOK", minter, minter, 0) {}

    function listen(address listener_) external {
        listener = listener_;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        tell(from);
        tell(to);
        tell(listener);
    }

    function tell(address account) private {
        (bool heard,) = account.call(abi.encodeCall(IHook.moved, ()));
        heard; // not everybody listens
    }
}

interface IHook {
    function moved() external;
}

/// Receives hooks and, each time, makes one call that it was told; remembers whether one went through.
contract Reentrant is IHook {
    address private target;
    bytes private data;
    bool private inside;
    bool public entered;
    bool public tried;
    /// What the refused call said.
    bytes public why;

    function arm(address target_, bytes calldata data_) external {
        (target, data, entered, tried, why) = (target_, data_, false, false, "");
    }

    function moved() external {
        if (target == address(0) || inside) return;
        (inside, tried) = (true, true);
        (bool ok, bytes memory answer) = target.call(data);
        if (ok) entered = true;
        else why = answer;
        inside = false;
    }

    /// Calls as this contract.
    function act(address to, bytes calldata call_) external {
        (bool ok, bytes memory answer) = to.call(call_);
        if (!ok) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    fallback() external {}
}
