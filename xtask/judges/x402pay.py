"""Buys one answer with Python's x402 and a wallet. Usage: x402pay.py URL TOKEN BODY, the wallet's key in X402_KEY."""
import json, os, sys
import requests
from eth_account import Account
from x402 import x402ClientSync
from x402.http.clients import wrapRequestsWithPayment
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact import register_exact_evm_client

url, token, body = sys.argv[1:]
client = x402ClientSync()
client.set_spend_controls({"allowed_assets": [{"network": "eip155:31337", "asset": token}]})
register_exact_evm_client(client, EthAccountSigner(Account.from_key(os.environ["X402_KEY"])))
answer = wrapRequestsWithPayment(requests.Session(), client).post(url, json=json.loads(body), timeout=120)
if answer.status_code != 200:
    raise SystemExit(f"{answer.status_code}: {answer.text}")
print(json.dumps({"text": answer.json()["choices"][0]["message"]["content"]}))
