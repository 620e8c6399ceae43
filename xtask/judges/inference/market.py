"""Answers bought on a network of real nodes through /v1: the same text as at home, whole though its worker is killed with -9 in the
middle, paid, audited, within a key's budget, ended when the client goes away.

Usage: market.py TALKOO. Nothing but the standard library; exit code 0 if everything held.
"""
import http.client, json, os, pathlib, subprocess, sys, tempfile, time

talkoo = sys.argv[1]
root = pathlib.Path(tempfile.mkdtemp(prefix="talkoo-market-"))
processes, lines = {}, {}
MODEL = "smollm2-135m-instruct"


def fail(why):
    raise SystemExit(f"{why}; logs in {root}")


def holds(what, why):
    if not what:
        fail(why)


def start(name, *arguments):
    """A node: the first one begins the chain, the others follow it."""
    genesis = [] if not lines else ["--genesis", f"{root}/client/chain/genesis.json"]
    peers = [word for other in lines.values() for word in ("--bootstrap", other["listen"][0])]
    command = [talkoo, "--data-dir", f"{root}/{name}", "-o", "json", "up", "--network", "judge", "--api", "127.0.0.1:0", "--listen",
               "/ip4/127.0.0.1/tcp/0", "--ledger", "own", "--ledger-rpc", "127.0.0.1:0", "--threads", "1", *genesis, *peers, *arguments]
    with open(f"{root}/{name}.log", "a") as log:
        processes[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    line = processes[name].stdout.readline()
    holds(line, f"{name} did not start")
    lines[name] = json.loads(line)


def call(name, *words):
    done = subprocess.run([talkoo, "--data-dir", f"{root}/{name}", "-o", "json", *words], capture_output=True, text=True, timeout=300)
    if done.returncode:
        fail(f"{name}: {' '.join(words)}: {done.stderr or done.stdout}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip().startswith("{") else done.stdout.strip()


def until(what, is_so, within=120):
    end = time.time() + within
    while time.time() < end:
        if found := is_so():
            return found
        time.sleep(0.1)
    fail(f"not {what} after {within} s")


def request(body, key, path="/v1/chat/completions"):
    connection = http.client.HTTPConnection(lines["client"]["api"], timeout=240)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    connection.request("POST", path, json.dumps(body), headers)
    return connection, connection.getresponse()


def ask(key, **more):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell a long story about a fox."}], "seed": 5, "max_tokens": 160, **more}
    connection, response = request(body, key)
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def stream(key, on_text=lambda text: None, **more):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell a long story about a fox."}], "seed": 5, "max_tokens": 160,
            "stream": True, "stream_options": {"include_usage": True}, **more}
    connection, response = request(body, key)
    text, last = "", None
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            fail(f"in mid-stream: {chunk}")
        for choice in chunk["choices"]:
            if choice["delta"].get("content"):
                text += choice["delta"]["content"]
                on_text(text)
        last = chunk.get("talkoo") or last
    connection.close()
    return text, last


def text_of(answer):
    return answer["choices"][0]["message"]["content"]


start("client")
token = pathlib.Path(root / "client/api.token").read_text().strip()
call("client", "pull", MODEL)
status, home = ask(token)
holds(status == 200 and home["talkoo"]["nodes"][0]["here"], f"at home: {home}")

# Nobody works yet: that is said, with the reason.
begun = time.time()
status, no = ask(token, provider={"sort": "price"})
holds(status == 503 and no["error"]["code"] == "not_wanted", f"nobody works, and: {status} {no}")
print(f"{time.time() - begun:.1f} s: {no['error']['message']}")

for name in ("one", "two"):
    start(name, "--provide", "--pull", MODEL)
nodes = {lines[name]["node"]: name for name in ("one", "two")}
peers = lambda: [peer for peer in call("client", "peers")["peers"] if peer["offers"]]
until("two workers", lambda: len(peers()) == 2)

connection = http.client.HTTPConnection(lines["client"]["api"], timeout=10)
connection.request("GET", f"/v1/models/{MODEL}/endpoints", headers={"Authorization": f"Bearer {token}"})
endpoints = json.loads(connection.getresponse().read())["data"]["endpoints"]
holds(len(endpoints) == 3 and all(float(one["pricing"]["completion"]) > 0 for one in endpoints[1:]), f"endpoints: {endpoints}")

text, facts = stream(token, provider={"sort": "throughput"})
holds(text == text_of(home), f"bought: {text!r}, at home {text_of(home)!r}")
worker = nodes[facts["nodes"][0]["node"]]
holds(float(facts["price"]) > 0 and facts["receipt"], f"no price or receipt: {facts}")
receipt = call("client", "receipt", "verify", str(root / "client" / facts["receipt"]))
print(f"{worker} answered for {facts['price']}; receipt: {json.dumps(receipt)[:120]}")

# The worker is killed in the middle; the other one goes on where it ended, and nobody notices.
killed = []


def kill(text):
    if not killed:
        busy = [name for node, name in nodes.items() if name in processes]
        jobs = call("client", "job", "ls")["jobs"]
        rows = [row for job in jobs if job["status"] == "open" for row in call("client", "job", "show", job["job"])["rows"]]
        name = nodes[rows[0]["running_on"][0]]
        processes[name].kill()
        processes[name].wait()
        killed.append(name)


text, facts = stream(token, kill, provider={"sort": "throughput"})
holds(killed and text == text_of(home), f"after a kill: {text!r}")
other = nodes[facts["nodes"][0]["node"]]
holds(other != killed[0], f"the dead one answered: {facts}")
print(f"{killed[0]} was killed, {other} ended the same text")

# A key's budget.
poor = call("client", "key", "create", "--name", "poor", "--budget", "0")["key"]
status, no = ask(poor, service_tier="flex")
holds((status, no["error"]["code"]) == (402, "insufficient_funds"), f"without a budget: {status} {no}")
holds(ask(poor)[0] == 200, "what costs nothing needs no budget")
rich = call("client", "key", "create", "--name", "rich", "--budget", "1")["key"]
status, bought = ask(rich, service_tier="flex")
holds(status == 200 and text_of(bought) == text_of(home), f"with a budget: {status} {bought}")
spent = next(float(key["spent"]) for key in call("client", "key", "ls")["keys"] if key["name"] == "rich")
holds(abs(spent - float(bought["talkoo"]["price"])) < 1e-9, f"spent {spent}, the answer says {bought['talkoo']['price']}")
call("client", "key", "revoke", "rich")
holds(ask(rich)[0] == 401, "a revoked key answers")

# Who goes away has the work ended.
body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 2000, "stream": True, "provider": {"sort": "price"}}
connection, response = request(body, token)
while b'"content":"' not in response.readline():
    pass
connection.close()
response.close()
until("the work ended", lambda: not [job for job in call("client", "job", "ls")["jobs"] if job["status"] == "open"], 30)

for process in processes.values():
    process.kill()
print("all held")
