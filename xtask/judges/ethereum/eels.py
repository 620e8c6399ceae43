"""Ethereum's execution specification (package ethereum-execution, CC0) makes our genesis by running its constructors, and
executes our blocks again by the rules of Prague: roots, bloom, gas, base fee and hash of every block must be ours.

Our genesis has no contracts of the beacon chain, which the specification's `apply_body` insists on; so each block's
transactions go to its `process_transaction`, and what stands around them is left out.
usage: eels.py URL GENESIS_NODES.json
"""

import json
import sys
import urllib.request

from ethereum.crypto.hash import keccak256
from ethereum.forks.prague import fork, vm
from ethereum.forks.prague.blocks import Block
from ethereum.forks.prague.bloom import logs_bloom
from ethereum.forks.prague.fork_types import Address
from ethereum.forks.prague.state import State, increment_nonce, set_account_balance, set_code, state_root
from ethereum.forks.prague.transactions import decode_transaction
from ethereum.forks.prague.trie import root
from ethereum_rlp import rlp
from ethereum_types.bytes import Bytes, Bytes32
from ethereum_types.numeric import U64, U256, Uint

BLOCKS_MIN = 20
url, genesis_path = sys.argv[1:]


def ask(method, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
        return json.load(answer)["result"]


def bytes_of(text):
    return Bytes.fromhex(text[2:])


def block(number):
    return rlp.decode_to(Block, bytes_of(ask("debug_getRawBlock", hex(number))))


def environment(state, chain_id, header, hashes):
    return vm.BlockEnvironment(
        chain_id=U64(chain_id),
        state=state,
        block_gas_limit=header.gas_limit,
        block_hashes=hashes[-256:],
        coinbase=header.coinbase,
        number=header.number,
        base_fee_per_gas=header.base_fee_per_gas,
        time=header.timestamp,
        prev_randao=header.prev_randao,
        excess_blob_gas=header.excess_blob_gas,
        parent_beacon_block_root=header.parent_beacon_block_root,
    )


def begin(genesis, header):
    """The first state: constructors run where they belong, called by nobody."""
    state = State()
    for address, balance in genesis["balances"].items():
        set_account_balance(state, Address(bytes_of(address)), U256(int(balance, 16)))
    fork.SYSTEM_ADDRESS = Address(bytes(20))
    for contract in genesis["contracts"]:
        address, code = Address(bytes_of(contract["address"])), bytes_of(contract["code"])
        increment_nonce(state, address)
        if contract["isCreation"]:
            set_code(state, address, code)
            env = environment(state, genesis["chainId"], header, [])
            done = fork.process_system_transaction(env, address, code, Bytes())
            assert done.error is None, f"the constructor of {address.hex()}: {done.error}"
            code = done.return_data
        set_code(state, address, code)
    return state


def check(name, have, want):
    if have != want:
        sys.exit(f"{name} is {have} here, theirs {want}")


with open(genesis_path) as file:
    genesis = json.load(file)
first = block(0).header
state = begin(genesis, first)
check("the state of the genesis", first.state_root, state_root(state))
parent, hashes, count = first, [keccak256(rlp.encode(first))], 0
last = int(ask("eth_blockNumber"), 16)
for number in range(1, last + 1):
    ours = block(number)
    header, out = ours.header, vm.BlockOutput()
    env = environment(state, genesis["chainId"], header, hashes)
    for index, transaction in enumerate(map(decode_transaction, ours.transactions)):
        fork.process_transaction(env, out, transaction, Uint(index))
        count += 1
    fee = fork.calculate_base_fee_per_gas(header.gas_limit, parent.gas_limit, parent.gas_used, parent.base_fee_per_gas)
    for name, have, want in [
        ("parent", header.parent_hash, hashes[-1]),
        ("base fee", header.base_fee_per_gas, fee),
        ("gas", header.gas_used, out.block_gas_used),
        ("bloom", header.bloom, logs_bloom(out.block_logs)),
        ("root of the transactions", header.transactions_root, root(out.transactions_trie)),
        ("root of the receipts", header.receipt_root, root(out.receipts_trie)),
        ("root of the state", header.state_root, state_root(state)),
        ("hash", ask("eth_getBlockByNumber", hex(number), False)["hash"], "0x" + keccak256(rlp.encode(header)).hex()),
    ]:
        check(f"block {number}: {name}", have, want)
    parent = header
    hashes.append(keccak256(rlp.encode(header)))
if last < BLOCKS_MIN:
    sys.exit(f"only {last} blocks")
print(f"ethereum-execution: the genesis, {last} blocks, {count} transactions: same roots, blooms, gas, fees and hashes")
