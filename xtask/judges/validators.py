"""Four validators and one that follows, as processes on real sockets and disks: kill -9 at random, no quorum, a partition, a
full disk, a fifth validator that joins by stake, and one that is run twice and loses its bond and its seat for it.

Usage: validators.py TALKOO [SEED [ROUNDS]]. Nothing but the standard library; exit code 0 if everything held.
"""
import json, os, random, resource, shutil, signal, subprocess, sys, tempfile, time, urllib.request
import wallet

talkoo, seed, rounds = sys.argv[1], int((sys.argv + ["1"])[2]), int((sys.argv + ["", "4"])[3] or 4)
count, epoch_s = 4, 5
everybody = list(range(count + 1))  # the last one has no vote at first
TWIN = count + 1
processes, urls, listens, cuts = {}, {}, {}, set()
STAKING, TOKEN = ("0x7a1c" + "0" * 34 + end for end in ("05", "0f"))
BOND = 1_000_000_000
# In namespaces of its own, which need no rights, each node has a machine's network; else all share the loopback.
if "TALKOO_JUDGE_NET" not in os.environ:
    separate = subprocess.run(["unshare", "-rn", "ip", "link", "add", "judge", "type", "bridge"], stderr=subprocess.DEVNULL).returncode == 0
    os.environ["TALKOO_JUDGE_NET"] = "1" if separate else ""
    if separate:
        os.execvp("unshare", ["unshare", "-rn", sys.executable, *sys.argv])
separate, holders = bool(os.environ["TALKOO_JUDGE_NET"]), {}
root = tempfile.mkdtemp(prefix="talkoo-validators-")


def ip(*words, at=None):
    inside = ["nsenter", "-t", str(holders[at].pid), "-n"] if at is not None else []
    subprocess.run([*inside, "ip", *words], check=True)


def wire(number):
    """A network for one node, with a cable to the bridge."""
    if separate and number not in holders:
        holders[number] = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
        holders[number].stdout.readline()
        ip("link", "add", f"judge{number}", "type", "veth", "peer", "name", "judge", "netns", str(holders[number].pid))
        ip("link", "set", f"judge{number}", "master", "judge", "up")
        ip("link", "set", "lo", "up", at=number)
        ip("addr", "add", f"{where(number)}/24", "dev", "judge", at=number)
        ip("link", "set", "judge", "up", at=number)


def where(number):
    return f"10.77.0.{number + 1}" if separate else "127.0.0.1"


def partition(*sides):
    """Nodes on different sides hear nothing of each other; without sides everybody hears everybody."""
    cut = {(a, b) for one in sides for other in sides if one is not other for a in one for b in other}
    for a, b in cuts - cut:
        ip("route", "del", "blackhole", where(b), at=a)
    for a, b in cut - cuts:
        ip("route", "add", "blackhole", where(b), at=a)
    cuts.clear()
    cuts.update(cut)


def output(*arguments):
    return subprocess.check_output([talkoo, *arguments], text=True).strip()


def start(number, file_bytes_max=None):
    wire(number)
    host = where(number)
    arguments = ["--data-dir", f"{root}/{number}", "-o", "json", "up", "--network", "judge", "--api", "127.0.0.1:0",
                 "--listen", f"/ip4/{host}/tcp/0", "--ledger", "own", "--ledger-rpc", f"{host}:0",
                 "--genesis", f"{root}/genesis.json"]
    for other in listens:
        if other != number:
            arguments += ["--bootstrap", listens[other]]
    inside = ["nsenter", "-t", str(holders[number].pid), "-n"] if separate else []

    def limit():
        if file_bytes_max:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    with open(f"{root}/{number}.log", "a") as log:
        process = subprocess.Popen([*inside, talkoo, *arguments], stdout=subprocess.PIPE, stderr=log, text=True,
                                   preexec_fn=limit, restore_signals=False)
    processes[number] = process
    line = json.loads(process.stdout.readline())
    urls[number], listens[number] = line["ledger"], line["listen"][0]


def kill(number):
    processes[number].kill()
    processes[number].wait()


def ask(number, method, params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(urls[number], body, {"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=10))
    if "error" in answer:
        raise SystemExit(f"{method}: {answer['error']}; logs in {root}")
    return answer["result"]


def address():
    return "0x" + os.urandom(20).hex()


def send(number):
    """Two transactions of a validator: starter credit for accounts nobody has."""
    return ask(number, "talkoo_sponsor", [address(), address()])


def until(what, holds, within=60):
    """Seconds until something holds."""
    begin = time.time()
    while time.time() < begin + within:
        if holds():
            return time.time() - begin
        time.sleep(0.02)
    heads = [head(n)[0] for n, process in processes.items() if process.poll() is None]
    raise SystemExit(f"not {what} after {within} s; heads: {heads}; logs in {root}")


def final(hashes, numbers):
    """Seconds until transactions stand in final blocks of these nodes."""
    return until("final", lambda: all(ask(n, "eth_getTransactionReceipt", [h]) for n in numbers for h in hashes))


def head(number):
    block = ask(number, "eth_getBlockByNumber", ["latest", False])
    return int(block["number"], 16), block["hash"], block["stateRoot"]


def level(numbers=everybody):
    heads = {head(number) for number in numbers}
    if len(heads) != 1:
        raise SystemExit(f"not level: {heads}; logs in {root}")
    return heads.pop()[0]


def secret(number, name):
    with open(f"{root}/{number}/{name}.key", "rb") as file:
        return int.from_bytes(file.read(), "big")


def act(number, to, call):
    """A transaction of a node's owner, final everywhere that matters."""
    key = secret(number, "owner")
    nonce = int(ask(0, "eth_getTransactionCount", [wallet.address(key), "pending"]), 16)
    hash_ = ask(0, "eth_sendRawTransaction", [wallet.transaction(key, 825_566, nonce, to, call)])
    final([hash_], [0])
    if ask(0, "eth_getTransactionReceipt", [hash_])["status"] != "0x1":
        raise SystemExit(f"reverted: {call.hex()}; logs in {root}")


def stake(number):
    """Bonded, unbonding, unbonds at, jailed until, roles, key: of a node's owner."""
    answer = ask(0, "eth_call", [{"to": STAKING, "data": "0x" + wallet.data("stakes(address)", owners[number]).hex()}, "latest"])
    return [int(answer[2 + 64 * i:66 + 64 * i], 16) for i in range(6)]


def named():
    """The hash of the validators of the next block."""
    return ask(0, "eth_getBlockByNumber", ["latest", False])["extraData"]


def next_set(before):
    """Sends until an epoch's first block names others than before."""
    def changed():
        final(send(0), [0])
        time.sleep(0.3)
        return named() != before
    return until("another set", changed)


def makers(blocks):
    last = head(0)[0]
    return {ask(0, "eth_getBlockByNumber", [hex(n), False])["miner"] for n in range(last - blocks + 1, last + 1)}


def crashes(draw):
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
    kill(0), kill(1)
    hashes = send(2)
    time.sleep(2)
    if ask(2, "eth_getTransactionReceipt", hashes[:1]) is not None:
        raise SystemExit("two of four decided something")
    start(0)
    print(f"  two of four decide nothing; with a third it goes on after {final(hashes, [0, 2, 3, 4]):.2f} s")
    start(1)
    final(hashes, everybody)


def partitions():
    partition([0, 1], [2, 3, 4])
    hashes = send(0) + send(2)
    time.sleep(3)
    if any(ask(n, "eth_getTransactionReceipt", [h]) for n in everybody for h in hashes):
        raise SystemExit(f"half of the validators decided something; logs in {root}")
    partition([0], [1, 2, 3, 4])
    among = final(hashes[2:], [1, 2, 3, 4])
    if any(ask(0, "eth_getTransactionReceipt", [h]) for h in hashes[2:]):
        raise SystemExit(f"the partition leaks; logs in {root}")
    partition()
    healed = final(hashes, everybody)
    print(f"partition: two halves decide nothing; three without node 0 go on after {among:.2f} s; healed and level after {healed:.2f} s")


def full_disk():
    process = processes[3]
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    largest = max(os.path.getsize(os.path.join(at, file)) for at, _, files in os.walk(f"{root}/3") for file in files)
    start(3, largest)
    blocks, others = 0, [0, 1, 2, 4]
    while processes[3].poll() is None and blocks < 100:
        act(0, TOKEN, wallet.data("transfer(address,uint256)", address(), 1) + bytes(100_000))
        blocks += 1
    if processes[3].poll() is None:
        raise SystemExit(f"a full disk is not noticed; logs in {root}")
    hashes = send(1)
    among = final(hashes, others)
    start(3)
    print(f"full disk: node 3 stops after {blocks} blocks, the others go on ({among:.2f} s); with room again it is level after {final(hashes, everybody):.2f} s")


def joins():
    newcomer, before = count, named()
    # Gas of the faucet for the owner, tokens of the founder.
    final(ask(0, "talkoo_sponsor", [address(), owners[newcomer]]), [0])
    act(0, TOKEN, wallet.data("transfer(address,uint256)", owners[newcomer], 2 * BOND))
    act(newcomer, TOKEN, wallet.data("approve(address,uint256)", STAKING, 2 * BOND))
    act(newcomer, STAKING, wallet.data("bond(uint128,uint8)", 2 * BOND, 4))
    act(newcomer, STAKING, naming)
    waited = next_set(before)
    voter = keys[newcomer]

    def builds():
        final(send(0), everybody)
        return voter in makers(1)
    builds_after = until("built by the newcomer", builds)
    print(f"stake: a fifth validator is named {waited:.1f} s after its bond, and has built a block {builds_after:.1f} s later")


def twice():
    cheat, before = 1, named()
    processes[cheat].send_signal(signal.SIGTERM)
    processes[cheat].wait(20)
    shutil.copytree(f"{root}/{cheat}", f"{root}/{TWIN}")
    shutil.rmtree(f"{root}/{TWIN}/chain/journal")
    os.remove(f"{root}/{TWIN}/key")  # another name in the network; the same validator
    bonded = stake(cheat)[0]
    start(cheat), start(TWIN)
    honest = [n for n in everybody if n != cheat]
    final(send(0), honest)

    def punished():
        # Each of the two has something else to propose when it is their turn.
        for number in (cheat, TWIN):
            if processes[number].poll() is None:
                try:
                    ask(number, "talkoo_sponsor", [address(), address()])
                except (OSError, SystemExit):
                    pass  # it has stopped, or both used the same nonce
        time.sleep(0.3)
        return stake(cheat)[3] != 0
    waited = until("punished", punished, 120)
    after, _, _, jailed, _, _ = stake(cheat)
    if after * 2 > bonded:
        raise SystemExit(f"the bond of {bonded} is still {after}; logs in {root}")
    out = next_set(before)
    final(send(0), honest)
    for _ in range(8):
        final(send(0), honest)
    if keys[cheat] in makers(8):
        raise SystemExit(f"the cheat still builds blocks; logs in {root}")
    print(f"run twice: punished after {waited:.1f} s, bond {bonded} -> {after}, jailed until {jailed}; out {out:.1f} s later; level at block {level(honest)}")


def main():
    global keys, owners, naming
    for number in everybody:
        # An owner without words: its key is 32 bytes in a file, which this script signs with, too.
        os.mkdir(f"{root}/{number}", 0o700)
        with open(os.open(f"{root}/{number}/owner.key", os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(os.urandom(32))
    both = [output("--data-dir", f"{root}/{n}", "ledger", "key") for n in everybody]
    keys, owners = zip(*(one.lower().split("@") for one in both))
    call = output("--data-dir", f"{root}/{count}", "ledger", "key", "--operator", owners[count])
    naming = bytes.fromhex(call[2:])
    with open(f"{root}/genesis.json", "w") as file:
        file.write(output("ledger", "genesis", "--epoch", str(epoch_s), *(w for one in both[:count] for w in ("--validator", one.replace("@", "=1@")))))
    if separate:
        ip("link", "add", "judge", "type", "bridge")
        ip("addr", "add", "10.77.0.254/24", "dev", "judge")
        ip("link", "set", "judge", "up")
    for number in everybody:
        start(number)
    crashes(random.Random(seed))
    if separate:
        partitions()
    else:
        print("partition: SKIPPED, `unshare -rn ip link` does not work here")
    full_disk()
    joins()
    twice()


try:
    main()
    for process in processes.values():
        process.send_signal(signal.SIGTERM)
    for process in processes.values():
        process.wait(20)
    shutil.rmtree(root)
finally:
    for process in [*processes.values(), *holders.values()]:
        process.kill()
