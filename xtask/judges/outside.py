"""A client and a worker whose money is on an outside chain, anvil: deploy, order, pay, claim, take back, to the last unit.

Usage: outside.py TALKOO ANVIL. Nothing but the standard library; exit code 0 if everything held.
"""
import glob, json, os, socket, subprocess, sys, tempfile, time, urllib.request

talkoo, anvil = sys.argv[1:3]
root = tempfile.mkdtemp(prefix="talkoo-outside-")
# The first account of every anvil: its key is public, and worth nothing.
KEY, DEPLOYER = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WINDOW_S, DELAY_S = 600, 86_400
processes = []


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


rpc = f"http://127.0.0.1:{free_port()}"


def hold(what, why):
    if not what:
        raise SystemExit(f"{why}; logs in {root}")


def run(*arguments, fails=False):
    done = subprocess.run([talkoo, *arguments], text=True, capture_output=True, timeout=180)
    hold((done.returncode != 0) == fails, f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


def ask(method, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(rpc, body, {"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=10))
    hold("error" not in answer, f"{method}: {answer}")
    return answer["result"]


def wait_for(what, why, within=60):
    begin = time.time()
    while time.time() < begin + within:
        try:
            if what():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{why} after {within} s; logs in {root}")


def word(text):
    return text.lower().removeprefix("0x").rjust(64, "0")


def balance(token, who):
    return int(ask("eth_call", {"to": token, "data": "0x70a08231" + word(who)}, "latest"), 16)


def transact(**call):
    hash = ask("eth_sendTransaction", {"from": DEPLOYER, **call})
    wait_for(lambda: ask("eth_getTransactionReceipt", hash), "a transaction is not mined")
    hold(ask("eth_getTransactionReceipt", hash)["status"] == "0x1", "a transaction was reverted")


def later(seconds):
    ask("evm_increaseTime", hex(seconds))
    ask("evm_mine")


def node(name, ledger, *arguments):
    command = [talkoo, "--data-dir", f"{root}/{name}", "-o", "json", "up", "--network", "judge", "--api", "127.0.0.1:0",
               "--ledger", ledger, *arguments]
    with open(f"{root}/{name}.log", "a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    processes.append(process)
    line = json.loads(process.stdout.readline())
    status = json.loads(run("--data-dir", f"{root}/{name}", "-o", "json", "status"))
    return line["listen"][0], status["owner"], status["address"]


def main():
    processes.append(subprocess.Popen([anvil, "--port", rpc.rsplit(":", 1)[1], "--block-time", "1", "--silent"]))
    wait_for(lambda: ask("eth_chainId") == "0x7a69", "anvil does not answer")
    with open(f"{root}/deployer.key", "w") as file:
        file.write(KEY)
    deployed = json.loads(run("-o", "json", "ledger", "deploy", "--rpc", rpc, "--key", f"{root}/deployer.key",
                              "--challenge-window", str(WINDOW_S)))
    ledger, at = deployed["ledger"], deployed["contracts"]
    refused = run("--data-dir", f"{root}/nobody", "up", "--api", "127.0.0.1:0", "--ledger", f"{rpc}#{DEPLOYER}", fails=True)
    hold("is our contract there?" in refused, f"a list that is none was taken: {refused}")

    listen, earner, worker = node("worker", ledger, "--provide", "--pull", "smollm2", "--threads", "1")
    _, payer, client = node("client", ledger, "--bootstrap", listen, "--pull", "smollm2", "--threads", "1")
    for gas in (worker, client):
        transact(to=gas, value=hex(10**18))
    transact(to=at["token"], data="0xa9059cbb" + word(payer) + word(hex(1_000_000_000)))

    lines = [{"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions",
              "body": {"messages": [{"role": "user", "content": f"Name {n + 2} animals."}], "max_tokens": 32}} for n in range(8)]
    with open(f"{root}/batch.jsonl", "w") as file:
        file.write("\n".join(map(json.dumps, lines)))
    run("--data-dir", f"{root}/client", "-o", f"{root}/out.jsonl", "batch", f"{root}/batch.jsonl", "--model", "smollm2",
        "--verify", "own")
    with open(f"{root}/out.jsonl") as file:
        hold(len(file.readlines()) == len(lines), "not every line has an answer")

    files = glob.glob(f"{root}/client/receipts/*/*")
    run("receipt", "verify", *files)
    claimed = lambda: {row["paid"] for row in json.loads(run("-o", "json", "ledger", "receipt", "--rpc", ledger, *files))["receipts"]}
    hold(claimed() == {False}, "gas has a price here: so little is not claimed by itself")
    settle = lambda name, what="settle": json.loads(run("--data-dir", f"{root}/{name}", "-o", "json", "wallet", what))
    # Vouchers count when the worker has seen the deposit: it looks every two seconds.
    wait_for(lambda: settle("worker") and claimed() == {True}, "the worker could not claim")
    held = settle("worker", "show")
    hold(int(held["earned"]) > 0 and balance(at["token"], earner) == 0, "the vault does not hold what was claimed")
    later(WINDOW_S + 1)
    settle("worker")
    hold(balance(at["token"], earner) == int(held["earned"]), "the owner was not paid what the vault held")

    reserved = int(settle("client", "show")["reserved"])
    closing = settle("client", "close")
    hold(int(closing["leaving"]) == reserved > 0, f"what was not spent does not leave: {closing}")
    later(DELAY_S + 1)
    closed = settle("client", "close")
    hold((closed["reserved"], closed["leaving"]) == ("0", "0"), f"it did not come back: {closed}")
    processes[-1].kill()
    processes[-1].wait()
    refused = run("--data-dir", f"{root}/client", "up", "--api", "127.0.0.1:0", "--ledger-rpc", "127.0.0.1:0", "--ledger", "own", fails=True)
    hold("has dealt on another ledger" in refused, f"a folder went to another ledger: {refused}")
    held = [balance(at["token"], who) for who in (earner, payer, DEPLOYER, at["settlement"], at["vault"])]
    supply = int(ask("eth_call", {"to": at["token"], "data": "0x18160ddd"}, "latest"), 16)
    hold(held[3:] == [0, 0] and sum(held) == supply, f"{held} is not {supply}")
    print(f"chain {deployed['chainId']}: the worker's owner has {held[0]}, the client's {held[1]}, channels and vault nothing")


try:
    main()
finally:
    for process in processes:
        process.kill()
