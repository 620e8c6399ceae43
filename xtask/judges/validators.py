"""Four validators and one that follows, as processes on real sockets and disks: kill -9 at random, all come back level.

Usage: validators.py TALKOO [SEED [ROUNDS]]. Nothing but the standard library; exit code 0 if everything held.
"""
import json, os, random, shutil, signal, subprocess, sys, tempfile, time, urllib.request

talkoo, seed, rounds = sys.argv[1], int((sys.argv + ["1"])[2]), int((sys.argv + ["", "6"])[3] or 6)
root, count = tempfile.mkdtemp(prefix="talkoo-validators-"), 4
everybody = range(count + 1)  # the last one has no vote
processes, urls, listens = {}, {}, {}


def output(*arguments):
    return subprocess.check_output([talkoo, *arguments], text=True).strip()


def start(number):
    arguments = ["--data-dir", f"{root}/{number}", "-o", "json", "up", "--network", "judge", "--api", "127.0.0.1:0",
                 "--ledger", "own", "--ledger-rpc", "127.0.0.1:0", "--genesis", f"{root}/genesis.json"]
    for other in everybody:
        if other != number and other in listens:
            arguments += ["--bootstrap", listens[other]]
    with open(f"{root}/{number}.log", "a") as log:
        process = subprocess.Popen([talkoo, *arguments], stdout=subprocess.PIPE, stderr=log, text=True)
    line = json.loads(process.stdout.readline())
    processes[number], urls[number], listens[number] = process, line["ledger"], line["listen"][0]


def kill(number):
    processes[number].kill()
    processes[number].wait()


def ask(number, method, params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(urls[number], body, {"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=10))
    if "error" in answer:
        raise SystemExit(f"{method}: {answer['error']}")
    return answer["result"]


def address():
    return "0x" + os.urandom(20).hex()


def send(number):
    """Two transactions of a validator: starter credit for accounts nobody has."""
    return ask(number, "talkoo_sponsor", [address(), address()])


def final(hashes, numbers, within=60):
    """Seconds until transactions stand in final blocks of these nodes."""
    begin = time.time()
    while time.time() < begin + within:
        if all(ask(n, "eth_getTransactionReceipt", [h]) for n in numbers for h in hashes):
            return time.time() - begin
        time.sleep(0.02)
    raise SystemExit(f"not final after {within} s; heads: {[head(n) for n in numbers]}; logs in {root}")


def head(number):
    block = ask(number, "eth_getBlockByNumber", ["latest", False])
    return int(block["number"], 16), block["hash"], block["stateRoot"]


def level():
    heads = {head(number) for number in everybody}
    if len(heads) != 1:
        raise SystemExit(f"not level: {heads}; logs in {root}")
    return heads.pop()[0]


def main():
    keys = [output("--data-dir", f"{root}/{n}", "ledger", "key") for n in range(count)]
    with open(f"{root}/genesis.json", "w") as file:
        file.write(output("ledger", "genesis", *(w for key in keys for w in ("--validator", key))))
    for number in everybody:
        start(number)
    draw = random.Random(seed)
    print(f"final everywhere after {final(send(0), everybody):.2f} s; then, with kill -9 of one at a time:")
    for _ in range(rounds):
        victim = draw.randrange(count + 1)
        alive = [n for n in everybody if n != victim]
        voters = [n for n in alive if n < count]
        hashes = send(draw.choice(voters))
        time.sleep(draw.random() * 0.3)
        kill(victim)
        hashes += send(draw.choice(voters))
        among = final(hashes, alive)
        start(victim)
        print(f"  node {victim}: final among the others after {among:.2f} s, back and level after {final(hashes, everybody):.2f} s")
    height = level()
    kill(0), kill(1)
    hashes = send(2)
    time.sleep(2)
    if ask(2, "eth_getTransactionReceipt", hashes[:1]) is not None:
        raise SystemExit("two of four decided something")
    start(0)
    alive = [n for n in everybody if n != 1]
    print(f"  two of four decide nothing; with a third it goes on after {final(hashes, alive):.2f} s")
    start(1)
    final(hashes, everybody)
    print(f"all five level at block {level()}, from {height}; the one that follows executed every block itself")


try:
    main()
    for process in processes.values():
        process.send_signal(signal.SIGTERM)
    for process in processes.values():
        process.wait(20)
    shutil.rmtree(root)
finally:
    for process in processes.values():
        process.kill()
