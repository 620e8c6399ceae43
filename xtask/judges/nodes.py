"""Nodes as processes on real sockets, disks and an embedded chain, for judges: start, kill -9, call, wait. Usage: JUDGE TALKOO."""
import json, os, pathlib, subprocess, sys, tempfile, time

talkoo = sys.argv[1]
root = pathlib.Path(tempfile.mkdtemp(prefix="talkoo-nodes-"))
processes, lines = {}, {}


def start(name, *arguments):
    """A node: the first one begins the chain, the others follow it."""
    genesis = [] if name == "chain" else ["--genesis", f"{root}/chain/chain/genesis.json"]
    peers = [word for other, line in lines.items() if other != name for word in ("--bootstrap", line["listen"][0])]
    command = [talkoo, "--data-dir", f"{root}/{name}", "-o", "json", "up", "--network", "judge", "--api", "127.0.0.1:0", "--listen",
               "/ip4/127.0.0.1/tcp/0", "--ledger", "own", "--ledger-rpc", "127.0.0.1:0", *genesis, *peers, *arguments]
    with open(f"{root}/{name}.log", "a") as log:
        processes[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    line = processes[name].stdout.readline()
    if not line:
        fail(f"{name} did not start")
    lines[name] = json.loads(line)


def kill(name):
    processes[name].kill()
    processes[name].wait()


def fail(why):
    raise SystemExit(f"{why}; logs in {root}")


def run(name, *words):
    done = subprocess.run([talkoo, "--data-dir", f"{root}/{name}", "-o", "json", *words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def call(name, *words):
    code, out, err = run(name, *words)
    if code:
        fail(f"{name}: {' '.join(words)}: {err or out}")
    return json.loads(out)


def refused(name, *words, why):
    code, out, err = run(name, *words)
    if code == 0 or why not in out + err:
        fail(f"{name}: {' '.join(words)} should be refused for `{why}`, and: {code} {out} {err}")


def until(what, holds, within=60):
    begin = time.time()
    while time.time() < begin + within:
        if found := holds():
            return found
        time.sleep(0.1)
    fail(f"not {what} after {within} s")


def said(name, what):
    return [line["about"] for line in call(name, "data", "audit")["lines"] if line["what"] == what]


def wallet(name):
    return int(call(name, "wallet", "show")["available"])


def held(name, version):
    return [row for row in call(name, "data", "ls")["bought"] if row["version"] == version]


def end():
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        process.wait()
