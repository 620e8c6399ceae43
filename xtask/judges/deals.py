"""A client and four providers as processes on one genesis: three replicas; one provider is killed for ever, one loses its blocks, both
miss and pay for it; a fourth takes over; the object comes back from a replica after the client lost it; money adds up to the last unit.

Usage: deals.py TALKOO. Nothing but the standard library; exit code 0 if everything held.
"""
import glob, hashlib, json, os, shutil, signal, subprocess, sys, tempfile, time, urllib.request

talkoo = sys.argv[1]
root = tempfile.mkdtemp(prefix="talkoo-deals-")
CLIENT, DEAD, BARE, GOOD, FOURTH = range(5)
BEACON_S, EPOCH_S, EPOCHS, RATE = 2, 4, 9, "200000"
CREDIT, BEACON, DEALS = ("0x7a1c" + "0" * 34 + end for end in ("03", "0a", "14"))
STARTER, BOND = 10_000_000, 1_000_000
processes, listens, owners, rpc = {}, {}, {}, None
begun = time.time()


def hold(what, why):
    if not what:
        raise SystemExit(f"{why}; logs in {root}")


def run(number, *arguments):
    command = [talkoo, "--data-dir", f"{root}/{number}", "-o", "json", *arguments]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120)
    hold(done.returncode == 0, f"{arguments} of node {number} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def start(number):
    global rpc
    arguments = ["--data-dir", f"{root}/{number}", "-o", "json", "up", "--network", "judge", "--api", "127.0.0.1:0",
                 "--ledger", "own", "--ledger-rpc", "127.0.0.1:0", "--genesis", f"{root}/genesis.json"]
    for other in listens.values():
        arguments += ["--bootstrap", other]
    with open(f"{root}/{number}.log", "a") as log:
        processes[number] = subprocess.Popen([talkoo, *arguments], stdout=subprocess.PIPE, stderr=log, text=True)
    line = json.loads(processes[number].stdout.readline())
    listens[number] = line["listen"][0]
    rpc = rpc or line["ledger"]
    owners[number] = json.loads(run(number, "status"))["owner"]


def call(to, selector, who):
    data = selector + who.lower().removeprefix("0x").rjust(64, "0")
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": to, "data": data}, "latest"]})
    request = urllib.request.Request(rpc, body.encode(), {"content-type": "application/json"})
    return int(json.load(urllib.request.urlopen(request, timeout=10))["result"], 16)


def balance(who):
    return call(CREDIT, "0x70a08231", who)


def credit(at, who):
    return call(at, "0xd5d44d80", who)


def until(what, holds, within=60):
    begin = time.time()
    while time.time() < begin + within:
        if holds():
            print(f"{time.time() - begun:5.1f} s: {what}", flush=True)
            return
        time.sleep(0.2)
    raise SystemExit(f"not {what} after {within} s: {replicas()}; logs in {root}")


def replicas():
    return json.loads(run(CLIENT, "store", "deals"))["objects"][0]["replicas"]


def of(number):
    return next((row for row in replicas() if row["owner"] == owners[number]), {"state": "none"})


def provide(number):
    run(number, "store", "provide", "--space", "100MiB", "--price", RATE)


def main():
    key = subprocess.check_output([talkoo, "--data-dir", f"{root}/0", "ledger", "key"], text=True).strip()
    with open(f"{root}/genesis.json", "w") as file:
        file.write(subprocess.check_output([talkoo, "ledger", "genesis", "--beacon", str(BEACON_S), "--validator", key], text=True))
    for number in (CLIENT, DEAD, BARE, GOOD, FOURTH):
        start(number)
    until("everybody has starter credit", lambda: all(balance(owner) == STARTER for owner in owners.values()))
    with open(f"{root}/file", "wb") as file:
        file.write(hashlib.shake_128(b"deals").digest(3_333_333))
    cid = json.loads(run(CLIENT, "store", "add", f"{root}/file"))["cid"]
    for number in (DEAD, BARE, GOOD):
        provide(number)
    run(CLIENT, "store", "deal", cid, "--replicas", "3", "--epochs", str(EPOCHS), "--epoch", str(EPOCH_S), "--price-max", RATE, "--yes")
    until("three replicas are kept", lambda: [row["state"] for row in replicas()] == ["active"] * 3)
    roots = {row["cid"] for row in replicas()}
    hold(len(roots) == 3, f"replicas are alike: {roots}")
    until("all are proven once", lambda: all(row["proven"] > 0 for row in replicas()))

    # One is killed and started again: it has what it accepted, and reveals what it committed to.
    processes[GOOD].kill()
    processes[GOOD].wait()
    start(GOOD)
    processes[DEAD].kill()
    provide(FOURTH)
    for path in glob.glob(f"{root}/{BARE}/blocks/*/*"):
        os.remove(path)
    until("who was killed is out", lambda: of(DEAD)["state"] == "terminated")
    until("who lost its blocks is out", lambda: of(BARE)["state"] == "terminated")
    until("a fourth has a replica", lambda: of(FOURTH)["state"] == "active")

    # The client loses everything but its keys and its notes.
    run(CLIENT, "store", "unpin", cid)
    run(CLIENT, "store", "gc")
    run(CLIENT, "store", "get", cid, "--to", f"{root}/back")
    sums = {hashlib.sha256(open(f"{root}/{name}", "rb").read()).hexdigest() for name in ("file", "back")}
    hold(len(sums) == 1, "another file came back")
    print(f"{time.time() - begun:5.1f} s: the object is back, sha256 {sums.pop()}")

    until("all deals are over", lambda: all(row["state"] in ("completed", "terminated", "lapsed") for row in replicas()))
    alive = [number for number in owners if number != DEAD]
    # Who was killed may have left a bond in the beacon, and credit.
    nobodys = lambda: balance(BEACON) - credit(BEACON, owners[DEAD])
    owed = lambda: any(credit(at, owners[number]) for at in (DEALS, BEACON) for number in alive)
    rows = replicas()
    print(json.dumps([{key: row[key] for key in ("state", "proven", "missed", "void", "checks")} for row in rows]))
    # A slow machine may start so late that it misses one.
    hold(of(GOOD)["proven"] >= EPOCHS - 1, f"who did its work did not prove it: {of(GOOD)}")
    want, earned = {number: STARTER for number in owners}, dict.fromkeys(owners, 0)
    for row in rows:
        provider = next(number for number, owner in owners.items() if owner == row["owner"])
        price, ended = int(row["price"]), row["state"] == "terminated"
        # A deal that its client cancelled says fewer epochs now than the collateral was for.
        collateral = price * (row["epochs"] if provider == FOURTH else EPOCHS)
        taken = collateral if ended else row["missed"] * (collateral // 4)
        pay = price * row["proven"]
        hold(int(row["paid"]) == pay, f"paid is not price by proven: {row}")
        earned[provider] += pay
        if row["state"] != "lapsed":
            want[provider] += pay - taken
            want[CLIENT] += taken - pay

    for number in (BARE, GOOD, FOURTH):
        told = json.loads(run(number, "provide", "earnings", "--days", "2"))["sum"]
        micro = int(told["storage"].replace(".", ""))
        hold(micro == earned[number] and told["total"] == told["storage"], f"{number} was paid {earned[number]} and is told {told}")

    # Bonds come back with a reveal, which may be a round away; only who was killed may have lost one.
    def short():
        have = {number: balance(owner) + credit(DEALS, owner) + credit(BEACON, owner) for number, owner in owners.items()}
        return {number: want[number] - have[number] for number in owners if want[number] != have[number]}

    lost = lambda: all(number in (DEAD, GOOD) and units == BOND for number, units in short().items())
    until("everybody has what the deals say", lambda: lost() and sum(short().values()) == nobodys() and not owed())
    have = {number: want[number] - short().get(number, 0) for number in owners}
    left = nobodys()
    hold(balance(DEALS) == sum(credit(DEALS, owner) for owner in owners.values()), "the deals hold what is nobody's")
    hold(sum(have.values()) + left == STARTER * len(owners), "money is lost")
    print(f"{time.time() - begun:5.1f} s: {sum(have.values()) + left} micro-units add up")


try:
    main()
    for number, process in processes.items():
        process.send_signal(signal.SIGTERM)
    for process in processes.values():
        process.wait(20)
    shutil.rmtree(root)
finally:
    for process in processes.values():
        process.kill()
