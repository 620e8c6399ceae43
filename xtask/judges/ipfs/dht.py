"""A real kubo is the DHT: two nodes that know only it find one another's files, and its own.

Usage: dht.py TALKOO PYTHON
"""
import hashlib, json, os, signal, subprocess, sys, tempfile, time
from peers import Peer, alone

alone()
talkoo, python = os.path.abspath(sys.argv[1]), sys.argv[2]
root = tempfile.mkdtemp(prefix="talkoo-dht-")
kubo = Peer(python, os.path.join(os.path.dirname(os.path.abspath(__file__)), "kubo.py"), f"{root}/kubo", "4901")


def wait(until, what, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = until()
        if found:
            return found
        time.sleep(0.3)
    raise SystemExit(f"waited {seconds} s for {what}")


class Node:
    def __init__(self, name):
        self.dir = f"{root}/{name}"
        command = [talkoo, "--data-dir", self.dir, "up", "--api", "127.0.0.1:0", "--ipfs=lan", "--ipfs-bootstrap", kubo.addr]
        self.process = subprocess.Popen(command, stdout=open(f"{self.dir}.log", "w"), stderr=subprocess.STDOUT)
        wait(lambda: os.path.exists(f"{self.dir}/api.addr"), "a node to come up")
        self.call(f"swarm/connect?arg={kubo.addr}")

    def run(self, *arguments):
        command = [talkoo, "--data-dir", self.dir, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def call(self, path):
        api, token = (open(f"{self.dir}/{name}").read().strip() for name in ("api.addr", "api.token"))
        command = ["curl", "-s", "-m", "30", "-X", "POST", "-H", f"Authorization: Bearer {token}", f"http://{api}/api/v0/{path}"]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def providers(self, cid):
        lines = self.call(f"routing/findprovs?arg={cid}").splitlines()
        return [peer["ID"] for line in lines for peer in json.loads(line)["Responses"]]


a, b = Node("a"), Node("b")
data = os.urandom(3_000_000)
open(f"{root}/file", "wb").write(data)
cid = a.run("store", "add", f"{root}/file", "--class", "public").split()[0]
name = json.loads(a.call("id"))["ID"]
wait(lambda: name in b.providers(cid), "kubo's DHT to name the other node")
b.run("store", "get", cid, "--to", f"{root}/got")
assert hashlib.sha256(open(f"{root}/got", "rb").read()).digest() == hashlib.sha256(data).digest()
theirs = kubo.ask("add", f"{root}/file")["cid"]
wait(lambda: kubo.peer in b.providers(theirs), "kubo's DHT to name kubo")
for node in (a, b):
    node.process.send_signal(signal.SIGINT)
    node.process.wait(30)
kubo.stop()
