"""web3.py plays: a token, its logs, an EIP-7702 delegation, the words of a revert. Prints its steps as JSON."""
import json
import sys
from pathlib import Path

from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError

url, key, other = sys.argv[1:4]
artifact = json.loads((Path(__file__).parents[3] / "contracts/artifacts/TalkooToken.json").read_text())
w3 = Web3(Web3.HTTPProvider(url))
account = w3.eth.account.from_key(key)
steps = []


def note(step, result, gas=""):
    steps.append({"step": step, "result": json.dumps(result), "gas": str(gas)})


def send(step, call):
    fields = {"from": account.address, "nonce": w3.eth.get_transaction_count(account.address, "pending")}
    transaction = call(fields)
    signed = account.sign_transaction(transaction)
    receipt = w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(signed.raw_transaction), poll_latency=0.05)
    note(step, [receipt.status, receipt.type, [[t.to_0x_hex() for t in log.topics] for log in receipt.logs]], receipt.gasUsed)
    return receipt


factory = w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
nobody = "0x" + "00" * 20
deployed = send("deploy", factory.constructor("Talkoo", "TALKOO", nobody, account.address, 10**12).build_transaction)
token = w3.eth.contract(address=deployed.contractAddress, abi=artifact["abi"])
note("address", deployed.contractAddress)
send("approve", token.functions.approve(other, 5).build_transaction)
# Of a filter from the latest block on, anvil tells that block's own logs too; there are none here.
log_filter = token.events.Transfer.create_filter(from_block="latest")
send("transfer", token.functions.transfer(other, 321).build_transaction)
note("balance", token.functions.balanceOf(other).call())
note("logs by filter", [entry.args.value for entry in log_filter.get_new_entries()])
note("logs by range", [entry.args.value for entry in token.events.Transfer.get_logs(from_block=0)])


def delegate(fields):
    """A transaction that gives the account the token's code (EIP-7702)."""
    authorization = {"chainId": w3.eth.chain_id, "address": token.address, "nonce": fields["nonce"] + 1}
    signed = account.sign_authorization(authorization)
    fees = {"gas": 100_000, "maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 1}
    common = {"chainId": w3.eth.chain_id, "to": account.address, "value": 0, "type": 4}
    return {**fields, **common, **fees, "authorizationList": [signed], "data": token.encode_abi("totalSupply", [])}


send("delegation", delegate)
note("code of the account", w3.eth.get_code(account.address).to_0x_hex())
try:
    token.functions.transfer(other, 10**12).call({"from": account.address})
except ContractCustomError as error:
    note("revert", error.data)
except ContractLogicError as error:
    note("revert without data", str(error))
note("fees", sorted(w3.eth.fee_history(1, "latest", [50]).keys()))
print(json.dumps(steps))
