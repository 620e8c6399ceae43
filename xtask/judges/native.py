"""The native API against its own description: schemathesis on a real node with a model, jobs and a chain; kill -9 between a
request with a key and its repeat; a reader of events that is cut off; the TypeScript client.

Usage: native.py openapi TALKOO PACKAGES
What is needed is installed into PACKAGES (npm, pip).
"""
import concurrent.futures, http.client, json, os, pathlib, subprocess, sys, tempfile, threading, time

talkoo, packages = os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
repository = pathlib.Path(__file__).resolve().parent.parent.parent
root = tempfile.mkdtemp(prefix="talkoo-native-")
MODEL = "smollm2-135m-instruct"
NPM = ["openapi-typescript@7.13.0", "typescript@5.9.3"]
LINE = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
                   "body": {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]}})
# Not asked at random: `stop` ends the node, `data_add` seals whatever path it is given, the events never end.
EXCLUDED = ["stop", "dataAdd", "events"]


def setup():
    try:
        subprocess.run([sys.executable, "-m", "venv", f"{packages}/venv"], check=True, capture_output=True, timeout=120)
        wanted = ["schemathesis==4.32.5", "openapi-spec-validator==0.7.2"]
        subprocess.run([f"{packages}/venv/bin/python", "-m", "pip", "install", "--quiet", *wanted], check=True, capture_output=True, timeout=600)
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", packages]
        subprocess.run(npm + NPM, check=True, capture_output=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as why:
        print(f"set-up failed: {why} {getattr(why, 'stderr', b'')[-500:]}")
        sys.exit(77)


def holds(condition, what):
    if not condition:
        raise SystemExit(f"does not hold: {what}; logs in {root}.log")
    print(f"holds: {what[:150]}", flush=True)


class Node:
    """A node with a chain of its own, on a port that stays the same over restarts."""

    def __init__(self, api="127.0.0.1:0"):
        command = [talkoo, "--data-dir", root, "-o", "json", "up", "--api", api, "--listen", "/ip4/127.0.0.1/tcp/0", "--ledger", "own",
                   "--ledger-rpc", "127.0.0.1:0", "--provide"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(f"{root}.log", "a"), text=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the node did not start; its log is {root}.log")
        self.address = json.loads(line)["api"]
        self.token = pathlib.Path(f"{root}/api.token").read_text().strip()

    def open(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.address, timeout=90)
        headers = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        return connection.getresponse()

    def ask(self, method, path, body=None, headers=None):
        response = self.open(method, path, body, headers)
        text = response.read()
        return response.status, response.headers, json.loads(text) if text else None

    def kill(self):
        self.process.kill()
        self.process.wait()


def fuzz(node):
    document = json.loads((repository / "docs" / "openapi.json").read_text())
    holds(node.ask("GET", "/openapi.json")[2] == document, "the node serves what is checked in")
    validator = [f"{packages}/venv/bin/python", "-m", "openapi_spec_validator", "--errors", "all", repository / "docs" / "openapi.json"]
    done = subprocess.run(validator, capture_output=True, text=True, timeout=120)
    holds(done.returncode == 0, f"openapi-spec-validator takes the description {done.stdout[-500:]}{done.stderr[-500:]}")
    command = [f"{packages}/venv/bin/schemathesis", "--config-file", str(repository / "xtask" / "judges" / "native.toml"), "run", str(repository / "docs" / "openapi.json"),
               "--url", f"http://{node.address}", "-H", f"Authorization: Bearer {node.token}", "--max-examples", "25",
               "--seed", "1", "--generation-deterministic", "--no-color", "--request-timeout", "90", "--continue-on-failure",
               "--suppress-health-check", "all", "--warnings", "off"]
    command += [word for name in EXCLUDED for word in ("--exclude-operation-id", name)]
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=3000)
    pathlib.Path(f"{packages}/schemathesis.log").write_text(done.stdout + done.stderr)
    print(done.stdout[-1500:], flush=True)
    holds(done.returncode == 0, f"schemathesis finds nothing; all it says: {packages}/schemathesis.log")


def typescript(node):
    """The client: its types are those of the description, its code has them, and it works with a node."""
    client, tools = repository / "sdk" / "typescript", f"{packages}/node_modules/.bin"
    made = subprocess.run([f"{tools}/openapi-typescript", repository / "docs" / "openapi.json"], capture_output=True, text=True, timeout=120)
    again = "npx openapi-typescript@7.13.0 docs/openapi.json -o sdk/typescript/api.d.ts"
    holds(made.returncode == 0 and made.stdout.strip() == (client / "api.d.ts").read_text().strip(), f"api.d.ts is current; write it with `{again}`")
    checked = subprocess.run([f"{tools}/tsc", "-p", client], capture_output=True, text=True, timeout=120)
    holds(checked.returncode == 0, f"tsc takes the client {checked.stdout[-800:]}")
    about = {**os.environ, "TALKOO_URL": f"http://{node.address}", "TALKOO_TOKEN": node.token, "TALKOO_MODEL": MODEL}
    done = subprocess.run(["node", "--test", client / "test" / "client.test.js"], env=about, capture_output=True, text=True, timeout=300)
    holds(done.returncode == 0, f"the TypeScript client works with a node {done.stdout[-3000:] if done.returncode else ''}")


def repeats(node):
    """A job posted with a key and cut off by kill -9 anywhere is there once, and its repeat gets the same answer."""
    before = {job["job"] for job in node.ask("GET", "/jobs")[2]["jobs"]}
    seen, order = set(), {"file": LINE, "model": MODEL, "own": True, "verify": "none"}
    for turn in range(8):
        key = {"Idempotency-Key": f"judge-{turn}"}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(lambda: node.ask("POST", "/jobs", order, key))
            # Killed earlier or later in the life of the request: no moment is the right one.
            concurrent.futures.wait([first], timeout=turn * 0.02)
            node.kill()
            answer = None if first.exception() else first.result()
        node = Node(node.address)
        status, headers, again = node.ask("POST", "/jobs", order, key)
        if status != 200:
            raise SystemExit(f"the repeat after kill {turn} is refused: {again}")
        if answer and answer[0] == 200 and (answer[2] != again or headers["Idempotency-Replayed"] != "true"):
            raise SystemExit(f"the repeat has another answer: {answer[2]} and {again}")
        third = node.ask("POST", "/jobs", order, key)
        if third[2] != again or third[1]["Idempotency-Replayed"] != "true":
            raise SystemExit(f"the third has another answer: {again} and {third[2]}")
        seen.add(again["job"])
    after = {job["job"] for job in node.ask("GET", "/jobs")[2]["jobs"]}
    holds(len(seen) == 8 and after - before == seen, "eight jobs cut off by kill -9 and sent again are eight jobs, not more and not fewer")
    status, _, no = node.ask("POST", "/jobs", {**order, "own": False}, {"Idempotency-Key": "judge-0"})
    holds((status, no["code"]) == (422, "already_used"), "a key with another body is refused")
    status, _, made = node.ask("POST", "/keys", {"name": "once"}, {"Idempotency-Key": "k"})
    node.kill()
    node = Node(node.address)
    status, _, no = node.ask("POST", "/keys", {"name": "once"}, {"Idempotency-Key": "k"})
    keys = [key for key in node.ask("GET", "/keys")[2]["keys"] if key["name"] == "once"]
    holds(status == 409 and made["key"] not in json.dumps(no) and len(keys) == 1, "a key is made once, and its text was never written: after kill -9 nobody is told it again")
    return node


def resumes(node):
    def read(response, count):
        found, event = [], {}
        while len(found) < count:
            line = response.readline().decode()
            if not line:
                raise SystemExit(f"the events ended after {found}")
            name, _, value = line.strip().partition(": ")
            if name in ("id", "event", "data"):
                event[name] = value
            if not line.strip() and "data" in event:
                found.append(event)
                event = {}
        return found

    first = node.open("GET", "/events?types=provide.free,job.closed")
    post = lambda: node.ask("POST", "/jobs", {"file": LINE, "model": MODEL, "own": True, "verify": "none"})
    post()
    seen = read(first, 1)[0]
    first.close()
    jobs = [post()[2]["job"] for _ in range(3)]
    second = read(node.open("GET", "/events?types=job.closed", headers={"Last-Event-ID": seen["id"]}), 3)
    holds({json.loads(event["data"])["job"] for event in second} == set(jobs), "a reader that was cut off hears what it missed, once")
    node.kill()
    node = Node(node.address)
    reset = read(node.open("GET", "/events", headers={"Last-Event-ID": second[-1]["id"]}), 1)[0]
    holds(reset["event"] == "reset", "after a new start it hears that it has to read again")
    return node


setup()
node = Node()
try:
    subprocess.run([talkoo, "--data-dir", root, "pull", MODEL], check=True, capture_output=True, timeout=300)
    deadline = time.monotonic() + 120
    while not node.ask("GET", "/provide")[2]["offers"]:
        holds_on = time.monotonic() < deadline
        if not holds_on:
            raise SystemExit("the model is not ready after 120 s")
        time.sleep(0.2)
    node = resumes(node)
    node = repeats(node)
    sealed = pathlib.Path(f"{root}.txt")
    sealed.write_text("some words")
    status, _, own = node.ask("POST", "/data", {"path": str(sealed)})
    holds(status == 200, f"data is sealed: {own}")
    typescript(node)
    fuzz(node)
finally:
    node.process.terminate()
    node.process.wait(timeout=30)
print("all held")
