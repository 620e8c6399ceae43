"""Embeddings bought on a network of real nodes through /v1: the same numbers as at home, to the last bit, paid by the tokens of their
texts, with receipts that hold and can be computed again, spread over workers, within a key's budget, also in a batch and over a kill.

Usage: embeddings.py TALKOO. Nothing but the standard library; exit code 0 if everything held.
"""
import base64, http.client, json, pathlib, sys, time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from nodes import call, fail, kill, lines, processes, root, start, until  # noqa: E402

MODEL = "all-minilm-l6-v2"


def holds(what, why):
    if not what:
        fail(why)


def request(method, path, key, body=None, kind="application/json"):
    connection = http.client.HTTPConnection(lines["chain"]["api"], timeout=240)
    data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else None
    connection.request(method, path, data, {"Content-Type": kind, "Authorization": f"Bearer {key}"})
    response = connection.getresponse()
    raw = response.read()
    connection.close()
    return response.status, json.loads(raw) if response.getheader("content-type", "").startswith("application/json") else raw


def embed(key, texts, **more):
    return request("POST", "/v1/embeddings", key, {"model": MODEL, "input": texts, "encoding_format": "base64", **more})


def vectors(answer):
    return [base64.b64decode(one["embedding"]) for one in answer["data"]]


start("chain", "--threads", "1")
token = pathlib.Path(root / "chain/api.token").read_text().strip()
call("chain", "pull", MODEL)
texts = [f"{n} geese fly in a V, said the fox number {n * n}." for n in range(40)]
status, home = embed(token, texts)
holds(status == 200 and home["talkoo"]["price"] == "0", f"at home: {status} {str(home)[:300]}")

status, no = embed(token, texts, provider={"sort": "price"})
holds((status, no["error"]["code"]) == (503, "not_wanted"), f"nobody works, and: {status} {no}")

for name in ("one", "two"):
    start(name, "--threads", "1", "--provide", "--pull", MODEL)
until("two workers", lambda: len([peer for peer in call("chain", "peers")["peers"] if peer["offers"]]) == 2, 120)
status, listed = request("GET", f"/v1/models/{MODEL}/endpoints", token)
endpoints = listed["data"]["endpoints"]
holds(len(endpoints) == 3, f"endpoints: {endpoints}")

begun = time.time()
status, bought = embed(token, texts, provider={"sort": "throughput", "verify": "spot"})
took = time.time() - begun
holds(status == 200, f"bought: {status} {str(bought)[:600]}")
holds(vectors(bought) == vectors(home), "bought vectors differ from those made at home")
facts = bought["talkoo"]
price = float(next(one["pricing"]["prompt"] for one in endpoints if one["name"] != "here"))
tokens = bought["usage"]["prompt_tokens"]
# A step's price is rounded up to a millionth.
holds(tokens * price <= float(facts["price"]) <= tokens * price + 1e-6 * len(texts) + 1e-9,
      f"{tokens} tokens at {price} are not {facts['price']}")
holds(len(facts["nodes"]) == 2 and sum(one["texts"] for one in facts["nodes"]) == len(texts), f"not both worked: {facts['nodes']}")
files = [str(root / "chain" / path) for path in facts["receipts"]]
call("chain", "receipt", "verify", *files)
call("chain", "receipt", "verify", "--rerun", *files)
call("chain", "receipt", "verify", "--scalar", files[0])
print(f"{len(texts)} texts of {tokens} tokens for {facts['price']} by {len(facts['nodes'])} nodes in {took:.2f} s, {len(facts['audited'])} audited; "
      f"all receipts hold and re-run")

shown = call("chain", "receipt", "disclose", files[1])
holds(len(shown["vector"]) == 384, f"disclosed: {str(shown)[:200]}")

# A text that is too long.
status, no = embed(token, ["word " * 2_000], provider={"sort": "price"})
holds((status, no["error"]["code"]) == (400, "context_length_exceeded"), f"too long: {status} {no}")

# Budgets.
poor = call("chain", "key", "create", "--name", "poor", "--budget", "0")["key"]
status, no = embed(poor, texts[:1], service_tier="flex")
holds((status, no["error"]["code"]) == (402, "insufficient_funds"), f"without a budget: {status} {no}")
rich = call("chain", "key", "create", "--name", "rich", "--budget", "1")["key"]
status, bought = embed(rich, texts[:3], service_tier="flex")
holds(status == 200 and vectors(bought) == vectors(home)[:3], f"with a budget: {status}")
spent = next(float(key["spent"]) for key in call("chain", "key", "ls")["keys"] if key["name"] == "rich")
holds(abs(spent - float(bought["talkoo"]["price"])) < 1e-9, f"spent {spent}, the answer says {bought['talkoo']['price']}")

# A batch is spread over the network, and a worker that is killed with -9 in the middle is not missed.
many = [{"custom_id": f"r{n}", "method": "POST", "url": "/v1/embeddings",
         "body": {"model": MODEL, "input": texts[n % 40:n % 40 + 5], "provider": {"sort": "throughput"}}} for n in range(60)]
boundary = "talkoo-judge"
form = (f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{boundary}\r\nContent-Disposition: form-data; '
        f'name="file"; filename="b.jsonl"\r\n\r\n' + "\n".join(map(json.dumps, many)) + f"\r\n--{boundary}--\r\n").encode()
status, file = request("POST", "/v1/files", token, form, f"multipart/form-data; boundary={boundary}")
holds(status == 200, f"upload: {status} {file}")
status, batch = request("POST", "/v1/batches", token, {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"})
holds(status == 200, f"batch: {status} {batch}")
until("a few lines are done", lambda: request("GET", f"/v1/batches/{batch['id']}", token)[1]["request_counts"]["completed"] >= 5 or
      request("GET", f"/v1/batches/{batch['id']}", token)[1]["status"] == "completed")
kill("one")
batch = until("the batch", lambda: (b := request("GET", f"/v1/batches/{batch['id']}", token)[1])["status"] == "completed" and b, 240)
holds(batch["request_counts"] == {"total": 60, "completed": 60, "failed": 0}, f"batch: {batch}")
_, out = request("GET", f"/v1/files/{batch['output_file_id']}/content", token)
real = {line["custom_id"]: line["response"]["body"] for line in map(json.loads, out.splitlines())}
_, plain = request("POST", "/v1/embeddings", token, {"model": MODEL, "input": texts})
at_home = [one["embedding"] for one in plain["data"]]
for n in range(60):
    got = [one["embedding"] for one in real[f"r{n}"]["data"]]
    holds(got == at_home[n % 40:n % 40 + 5], f"line {n} of the batch differs")
print("a batch of 60 lines over a kill: the same numbers")

until("no job is left", lambda: not [job for job in call("chain", "job", "ls")["jobs"] if job["status"] == "open"], 30)
for process in processes.values():
    process.kill()
print("all held")
