"""Five people who know only the README: one with a model to use, one with an idle machine, one with data, one who writes agents, one who
audits. Every refusal on their way has to name its fix, and the fix has to work.

Usage: newcomers.py TALKOO. Nothing but the standard library; exit code 0 if everything held.
"""
import json, os, urllib.error, urllib.request
from nodes import call, fail, lines, processes, refused, root, run, start, talkoo, until
import subprocess


def holds(what, why):
    if not what:
        fail(why)


def ask(base, key, body, path="/chat/completions"):
    """As any OpenAI client asks: OPENAI_BASE_URL and OPENAI_API_KEY."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(base + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=240) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as no:
        return no.code, json.loads(no.read())


def say(text, **more):
    return {"model": "smollm2", "messages": [{"role": "user", "content": text}], "max_tokens": 24, **more}


# 1. A model and no GPU: one prompt without a node, then a node and the clients that are there already.
done = subprocess.run([talkoo, "run", "smollm2", "What is the capital of Finland?"], capture_output=True, text=True, timeout=600)
holds(done.returncode == 0 and "Helsinki" in done.stdout, f"run: {done}")
start("chain")
base = f"http://{lines['chain']['api']}/v1"
status, no = ask(base, "anything", say("hi"))
holds(status == 404 and "pull" in no["error"]["message"], f"without a model: {status} {no}")
call("chain", "pull", "smollm2")
status, answer = ask(base, "anything", say("What is the capital of Finland?"))
holds(status == 200 and "Helsinki" in answer["choices"][0]["message"]["content"], f"an answer: {answer}")
print("who has no GPU: answered")

# 2. An idle machine: it joins with one code, offers itself, works, earns, and says why it is idle.
start("worker")
code, out, _ = run("worker", "provide", "why")
holds("provide start" in out, f"why it is idle: {out}")
invite = call("chain", "invite")
call("worker", "join", invite["code"])
call("worker", "pull", "smollm2")
call("worker", "provide", "start")
until("the worker is seen", lambda: any(peer["offers"] for peer in call("chain", "peers")["peers"]))
prompts = root / "prompts.jsonl"
body = {"messages": say("Tell a story.")["messages"], "max_tokens": 64, "model": "smollm2"}
row = lambda n: {"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": {**body, "seed": n}}
prompts.write_text("\n".join(json.dumps(row(n)) for n in range(4)))
answers = root / "answers.jsonl"
done = subprocess.run([talkoo, "--data-dir", f"{root}/chain", "batch", str(prompts), "-o", str(answers)], capture_output=True, text=True, timeout=300)
holds(done.returncode == 0 and len(answers.read_text().splitlines()) == 4, f"batch: {done}")
until("it earned", lambda: float(call("worker", "provide", "why")["earned"]) > 0)
print(f"who has an idle machine: earned {call('worker', 'provide', 'why')['earned']}")

# 3. Data: private first, sealed, published for a price, and bought by who pays.
notes = root / "notes.txt"
notes.write_text("the owner's words\n" * 1000)
sealed = call("worker", "data", "add", str(notes))["id"]
refused("worker", "data", "publish", sealed, "--price", "0.5", why="--yes")
until("credit", lambda: int(call("worker", "wallet", "show")["available"]) and int(call("chain", "wallet", "show")["available"]))
version = call("worker", "data", "publish", sealed, "--yes", "--price", "0.5", "--purpose", "research", "--licence", "CC-BY-4.0")["version"]
call("chain", "data", "buy", version)
until("it is bought", lambda: [row for row in call("chain", "data", "ls")["bought"] if row["version"] == version and row["here"]])
call("chain", "data", "get", version, "--to", str(root / "bought.txt"))
holds((root / "bought.txt").read_text() == notes.read_text(), "what was bought is not what was sold")
print("who has data: sold for 0.5")

# 4. Agents: a key with a budget, tools that have to be called, and an end of the money that says so.
key = call("chain", "key", "create", "--name", "agent", "--budget", "0.5")["key"]
status, no = ask(base, "anything", say("hi"))
holds(status == 401 and "talkoo key create" in no["error"]["message"], f"the first key closes the door: {no}")
tool = {"type": "function", "function": {"name": "pay", "parameters": {"type": "object", "properties": {"to": {"enum": ["bob"]}}, "required": ["to"]}}}
status, answer = ask(base, key, say("Pay Bob.", tools=[tool], tool_choice="required", max_tokens=60))
called = answer["choices"][0]["message"]["tool_calls"][0]["function"]
holds(called["name"] == "pay" and json.loads(called["arguments"]) == {"to": "bob"}, f"a call: {answer}")
status, bought = ask(base, key, say("Tell a story.", provider={"sort": "price"}))
holds(status == 200 and float(bought["talkoo"]["price"]) > 0, f"bought: {bought}")
poor = call("chain", "key", "create", "--name", "poor", "--budget", "0")["key"]
status, no = ask(base, poor, say("Tell a story.", service_tier="flex"))
holds(status == 402 and no["error"]["code"] == "insufficient_funds", f"no budget: {no}")
print(f"who writes agents: a call enforced, {bought['talkoo']['price']} spent")

# 5. An auditor: receipts hold offline, the answer is computed again, and the chain says that they were paid.
receipts = [str(path) for path in (root / "chain/receipts").rglob("*.receipt")]
holds(receipts, "no receipts")
code, out, err = run("chain", "receipt", "verify", *receipts)
holds(code == 0, f"receipts: {out} {err}")
code, out, err = run("chain", "receipt", "verify", "--rerun", receipts[0])
holds(code == 0, f"re-run: {out} {err}")
false = root / "false.receipt"
bytes_ = bytearray(open(receipts[0], "rb").read())
bytes_[len(bytes_) // 2] ^= 1
false.write_bytes(bytes_)
code, out, err = run("chain", "receipt", "verify", str(false))
holds(code != 0, "a false receipt holds")
print(f"who audits: {len(receipts)} receipts hold, a false one does not")

for process in processes.values():
    process.kill()
print("all held")
