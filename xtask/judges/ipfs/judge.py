"""Real IPFS nodes exchange files and directories with ours over TCP, both ways, and again after the same peer came back empty.

Usage: judge.py kubo|helia EXCHANGE PYTHON NODE
"""
import hashlib, os, re, shutil, sys, tempfile
from peers import Cast, alone

alone()
kind = sys.argv[1]
root = tempfile.mkdtemp(prefix="talkoo-ipfs-")
cast = Cast(root, *sys.argv[2:])
BYTES = 64 << 20


def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def same(what, one, other):
    if one != other:
        raise SystemExit(f"{what}: {one} is not {other}")


def gets(peer, cid, out):
    """What a peer of theirs gets, as a digest."""
    answer = peer.ask("get", cid, out)
    if kind == "helia":
        return answer["sha256"]
    if answer["code"] != 0:
        raise SystemExit(f"kubo gave {answer} for {cid}")
    return digest(out)


def folder_of(path):
    return {name: digest(f"{path}/{name}") for name in os.listdir(path)}


file = f"{root}/file"
open(file, "wb").write(os.urandom(BYTES))
wanted = digest(file)
a, b = cast.start("talkoo"), cast.start(kind, "b")

# From us to them; another of ours has nothing and says so.
empty = cast.start("talkoo")
cid = a.ask("add", file)["cid"]
for peer in (empty, a):
    b.ask("connect", peer.addr)
same("what they got from us", gets(b, cid, f"{root}/out1"), wanted)
same("bytes by our ledger", a.ask("ledger", b.peer)["sent_bytes"] >= BYTES, True)
seen = next(peer for peer in a.ask("swarm")["peers"] if peer["peer"] == b.peer)
same("they speak bitswap", "/ipfs/bitswap/1.2.0" in seen["protocols"], True)
a.ask("ping", b.peer)

# From them to us, and to a second one of ours that asks somebody with nothing first.
cid_theirs = b.ask("add", file)["cid"]
c = cast.start("talkoo", like="99")
for addr in (empty.addr, b.addr):
    c.ask("connect", addr)
same("what we got from them", c.ask("fetch", cid_theirs, f"{root}/out2")["sha256"], wanted)
c.send("get", "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
refusal = c.answer().get("error", "")
same("a block that nobody has", bool(re.search("2 peers asked, 2 said no", refusal)), True)

# The same peers come back empty and ask for the same blocks.
b.stop()
b = cast.start(kind, "again", like="b")
b.ask("connect", a.addr)
same("what they got the second time", gets(b, cid, f"{root}/out3"), wanted)
c.stop()
c = cast.start("talkoo", like="99")
c.ask("connect", b.addr)
same("what we got the second time", c.ask("fetch", cid, f"{root}/out4")["sha256"], wanted)

# A directory of 3,000 entries that is sharded, from them over us to another one of theirs.
many = f"{root}/many"
os.mkdir(many)
for n in range(3000):
    open(f"{many}/{n:04}-{'a long name makes the directory large ' * 2}.txt".replace(" ", "-"), "w").write(f"entry {n}\n" * (n % 7))
directory = b.ask("add" if kind == "kubo" else "adddir", many)["cid"]
fetched = c.ask("fetch", directory, "-")
b.stop()
d = cast.start(kind, "d")
d.ask("connect", c.addr)
d.ask(*(("get", directory, f"{root}/many2") if kind == "kubo" else ("getdir", directory, f"{root}/many2")))
same("the directory", folder_of(f"{root}/many2"), folder_of(many))
print(f"{kind}: {BYTES} bytes both ways and twice, a directory of {fetched['blocks']} blocks")
for peer in (a, c, d, empty):
    peer.stop()
shutil.rmtree(root)
