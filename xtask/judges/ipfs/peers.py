"""Peers as child processes, for the judge and the bench beside it: ours, kubo's, Helia's. All obey lines and answer JSON."""
import json, os, select, subprocess, sys, tempfile

DEADLINE_S = 600


def alone():
    """Goes on in a network of its own where only loopback exists: kubo shall meet nobody else."""
    if "TALKOO_JUDGE_ALONE" not in os.environ:
        os.environ["TALKOO_JUDGE_ALONE"] = "1"
        if subprocess.run(["unshare", "-rn", "true"], stderr=subprocess.DEVNULL).returncode == 0:
            os.execvp("unshare", ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv])


class Peer:
    def __init__(self, *command):
        self.name = os.path.basename(command[1 if len(command) > 2 else 0])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        cwd=tempfile.gettempdir(),  # kubo leaves a log where it starts
                                        stderr=None if os.environ.get("TALKOO_JUDGE_LOG") else subprocess.DEVNULL)
        self.hello = self.answer()
        self.addr = next(a for a in self.hello["addrs"] if "/tcp/" in a)
        self.peer = self.addr.rsplit("/", 1)[1]

    def answer(self):
        while True:
            if not select.select([self.process.stdout], [], [], DEADLINE_S)[0]:
                raise RuntimeError(f"{self.name}: no answer within {DEADLINE_S} s")
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"{self.name} ended")
            line = line.removeprefix("answer ")
            if line.startswith("{"):
                return json.loads(line)

    def send(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()

    def ask(self, *words):
        self.send(*words)
        answer = self.answer()
        if "error" in answer:
            raise RuntimeError(f"{self.name} {' '.join(map(str, words))}: {answer['error']}")
        return answer

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)


class Cast:
    """Starts peers by kind; what they need comes from the command line: EXCHANGE PYTHON NODE."""

    def __init__(self, root, exchange, python, node):
        self.root, self.exchange, self.python, self.node = root, exchange, python, node
        self.here, self.count = os.path.dirname(os.path.abspath(__file__)), 0

    def start(self, kind, name=None, like=None):
        """A peer; `like` names one whose identity it takes, with nothing of its blocks."""
        self.count += 1
        name = name or f"peer{self.count}"
        if kind == "talkoo":
            return Peer(self.exchange, str(self.count + 10) if like is None else like)
        if kind == "kubo":
            twin = [f"{self.root}/{like}"] if like else []
            return Peer(self.python, f"{self.here}/kubo.py", f"{self.root}/{name}", str(4610 + self.count), *twin)
        return Peer(self.node, f"{self.here}/helia.mjs", f"{self.root}/{like or name}.key")
