"""Tools that spend, on a network of real nodes: an answer bought and its receipt verified, data bought under a key's policy and read, kill -9 after a payment.

Usage: market.py TALKOO, with the folder of nodes.py on the path.
"""
import http.client
import json
import os
import subprocess

from nodes import call, end, fail, kill, lines, processes, root, start, talkoo, until, wallet

MODEL = "smollm2-135m-instruct"
VERSION = "2026-07-28"
META = {f"io.modelcontextprotocol/{name}": value for name, value in
        (("protocolVersion", VERSION), ("clientInfo", {"name": "judge", "version": "1"}), ("clientCapabilities", {}))}


def tool(key, name, **arguments):
    """A tool's answer; its refusal has a `code`."""
    connection = http.client.HTTPConnection(lines["buyer"]["api"], timeout=240)
    params = {"name": name, "arguments": arguments, "_meta": META}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": f"Bearer {key}",
               "MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/call", "Mcp-Name": name}
    connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}), headers)
    text = connection.getresponse().read().decode()
    said = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    answer = json.loads(said[-1] if said else text)
    return answer["result"]["structuredContent"] if "result" in answer else fail(f"{name}: {answer}")


def key(*flags):
    words = [talkoo, "--data-dir", f"{root}/buyer", "key", "create", *flags]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def holds(what, why):
    if not what:
        fail(f"mcp: {why}")


def published(text, price, name):
    path = root / f"{name}.txt"
    path.write_text(text)
    sealed = call("chain", "data", "add", str(path))["id"]
    version = call("chain", "data", "publish", sealed, "--yes", "--name", name, "--title", f"Words of {name}", "--price", price)["version"]
    # The buyer follows the chain, and hears of it a moment later.
    until(f"{name} is known", lambda: tool(agent, "data_show", id=version).get("offers"))
    return version


start("chain", "--provide", "--pull", MODEL, "--threads", "1")
start("buyer", "--threads", "1")
until("credit", lambda: wallet("chain") and wallet("buyer"))
owner = call("chain", "status")["owner"]
agent = key("--name", "agent", "--scopes", "inference,batch,data,wallet,mcp", "--per-payment", "1", "--per-day", "1", "--approve-above", "0.4", "--allow", owner,
            "--budget", "2")
text = "naïve " * 5_000
cheap, dear, dearer = published(text, "0.3", "cheap"), published("dear", "0.5", "dear"), published("dearest", "1.5", "dearest")

# Found by its words, bought, delivered, read to its end.
found = tool(agent, "data_search", words="words CHEAP")["data"]
holds([(row["id"], row["price"]) for row in found] == [(cheap, "0.300000")], f"data_search: {found}")
holds(tool(agent, "data_show", id=cheap)["offers"][0]["price"] == "300000", "data_show")
before = wallet("buyer")
bought = tool(agent, "data_buy", id=cheap, why="to learn words")
holds(bought["status"] == "bought" and before - wallet("buyer") == 300_000, f"data_buy: {bought}")
read, at = "", 0
while at is not None:
    part = until("delivered", lambda: (lambda part: part if "text" in part else None)(tool(agent, "data_read", id=cheap, offset=at, bytes=10_001)))
    read, at = read + part["text"], part["next"]
holds(read == text, "what was read is not what was sealed")

# What a rule forbids is not bought; what waits is, once the owner says so; and no more than a day's limit.
holds(tool(agent, "data_buy", id=dearer, why="more")["code"] == "denied", "above the limit of one payment")
waits = tool(agent, "data_buy", id=dear, why="even more")
holds(waits["status"] == "waits" and before - wallet("buyer") == 300_000, f"it should wait: {waits}")
holds(call("buyer", "key", "approve", waits["approval"])["status"] == "bought", "the owner said yes")
holds(before - wallet("buyer") == 800_000, "not the price")

# A node that is killed knows what its keys paid.
kill("buyer")
start("buyer", "--threads", "1")
shown = tool(agent, "policy_show")
holds(shown["paid"] == "0.800000" and not shown["approvals"], f"after kill -9: {shown}")
cheaper = published("other words", "0.3", "cheaper")
holds(tool(agent, "data_buy", id=cheaper, why="again")["code"] == "insufficient_funds", "the limit of a day")

# An answer of the market: the text of at home, with a receipt that holds.
call("buyer", "pull", MODEL)
asked = {"model": MODEL, "prompt": "Name three rivers.", "max_tokens": 40, "seed": 3}
here = tool(agent, "run", **asked)
there = until("offered", lambda: (lambda said: said if "text" in said else None)(tool(agent, "run", where="cheapest", **asked)), within=180)
holds(there["text"] == here["text"] and float(there["price"]) > 0 and there["badge"] in ("re-runnable", "re-run matched"), f"bought: {there} here: {here}")
verified = tool(agent, "receipt_verify", receipt=there["receipt"])
holds(verified["holds"] is True and verified["tier"] == "exact", f"receipt_verify: {verified}")
end()
print("spending on a network: held")
