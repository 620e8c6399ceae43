"""A node's API against its own engine: time to the first token, 32 streams, idle streams, GET /v1/models.

Usage: inference.py TALKOO BENCH MODEL.gguf THREADS, where BENCH is the engine's example of that name.
"""
import http.client, json, os, pathlib, statistics, subprocess, sys, tempfile, threading, time

talkoo, bench, model, threads = sys.argv[1:5]
root = pathlib.Path(tempfile.mkdtemp(prefix="talkoo-bench-"))
NAME = "smollm2-135m-instruct"
#: How often both are measured.
TURNS = 7


def engine():
    done = subprocess.run([bench, model, "first", threads], check=True, capture_output=True, text=True)
    return dict(line.split()[:2] for line in done.stdout.splitlines() if line.startswith(("first_ms", "streams32")))


def connect():
    return http.client.HTTPConnection(api, timeout=120)


def ask(connection, prompt, tokens, **more):
    body = {"model": NAME, "prompt": prompt, "max_tokens": tokens, "stream": True, "ignore_eos": True, **more}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    return connection.getresponse()


def first(turn):
    """No prompt comes twice: the node would remember it."""
    took, connection = [], connect()
    for n in range(30):
        begun = time.perf_counter()
        response = ask(connection, [1000 + 64 * (30 * turn + n) + i for i in range(64)], 8)
        response.readline()
        took.append(time.perf_counter() - begun)
        response.read()
    return statistics.median(took) * 1e3


def streams(count):
    """Tokens a second from when all have begun until the first one ends."""
    counts, begun = [0] * count, threading.Barrier(count + 1)
    ends = []

    def one(n):
        response = ask(connect(), list(range(100, 116)), 128, seed=n)
        response.readline()
        begun.wait()
        for line in response:
            counts[n] += line.startswith(b"data: {")
        ends.append(time.perf_counter())

    all = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    [thread.start() for thread in all]
    begun.wait()
    start, before = time.perf_counter(), sum(counts)
    [thread.join() for thread in all]
    # Of each the first came before, and of some more.
    return (127 * count - before) / (max(ends) - start)


def memory():
    return int(next(line for line in open(f"/proc/{node.pid}/status") if line.startswith("VmRSS")).split()[1]) / 1024


def idle(count):
    before, token = memory(), (root / "api.token").read_text().strip()
    connections = [connect() for _ in range(count)]
    for connection in connections:
        connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {token}"})
    [connection.getresponse().readline() for connection in connections]
    after = memory()
    [connection.close() for connection in connections]
    return after - before


def models(rate, seconds=5):
    """The 99th percentile of GET /v1/models, asked at this rate on 8 connections."""
    took, lock = [], threading.Lock()

    def one(n):
        connection, mine = connect(), []
        for i in range(rate * seconds // 8):
            due = start + (8 * i + n) / rate
            time.sleep(max(0, due - time.perf_counter()))
            begun = time.perf_counter()
            connection.request("GET", "/v1/models")
            connection.getresponse().read()
            mine.append(time.perf_counter() - begun)
        with lock:
            took.extend(mine)

    start = time.perf_counter() + 0.1
    all = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    [thread.start() for thread in all]
    [thread.join() for thread in all]
    return statistics.quantiles(took, n=100)[98] * 1e3, len(took) / (time.perf_counter() - start)


command = [talkoo, "--data-dir", str(root), "-o", "json", "up", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0", "--threads", threads]
node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
try:
    api = json.loads(node.stdout.readline())["api"]
    subprocess.run([talkoo, "--data-dir", str(root), "pull", NAME], check=True, capture_output=True)
    ask(connect(), [1, 2, 3], 2).read()
    print(f"1,000 idle event streams: {idle(1000):.1f} MB more")
    p99, rate = models(1000)
    print(f"GET /v1/models: p99 {p99:.2f} ms at {rate:.0f} requests/s")
    # In turns: the machine is not equally fast all the time. A turn counts with both sides.
    turns = []
    for turn in range(TURNS):
        own = engine()
        ours, tps = first(turn), streams(32)
        turns.append((ours - float(own["first_ms"]), tps / float(own["streams32_tps"])))
        print(f"turn {turn + 1}: first token behind 64 {ours:.2f} ms, the engine {float(own['first_ms']):.2f}: {turns[-1][0]:+.2f} ms; "
              f"32 streams {tps:.0f} tokens/s, the engine {float(own['streams32_tps']):.0f}: {turns[-1][1]:.3f}", flush=True)
    more, share = zip(*turns)
    print(f"first token behind 64: {statistics.median(more):+.2f} ms in the median of {TURNS} turns, {min(more):+.2f} to {max(more):+.2f}")
    print(f"32 streams: {statistics.median(share):.3f} of the engine in the median, {min(share):.3f} to {max(share):.3f}")
finally:
    node.terminate()
    node.wait(timeout=30)
