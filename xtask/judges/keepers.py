"""Data sold while its owner is away: an owner, three keepers of which two are enough, a buyer, as processes on real sockets, disks and an
embedded chain. The owner is killed, keepers are killed, one lies; what was paid is read, or comes back, and the owner's income waits for it.

Usage: keepers.py TALKOO. Nothing but the standard library; exit code 0 if everything held.
"""
import os, subprocess
from nodes import *

KEEPERS = ("a", "b", "c")


def add(path):
    return call("owner", "data", "add", str(path))["id"]


def publish(name, *words):
    file = root / name
    file.write_bytes(os.urandom(2_500_000))
    named = [word for node in ids for word in ("--keeper", node)]
    words = ("--yes", "--price", "0.5", "--name", name, "--keepers", "2", *named, *words)
    return call("owner", "data", "publish", add(file), *words)


def own(version):
    return next(row for row in call("owner", "data", "ls")["own"] if row["version"] == version)["kept"]


def buy(version, who="buyer"):
    """Pays, and leaves the rest to the node."""
    buying = subprocess.Popen([talkoo, "--data-dir", f"{root}/{who}", "data", "buy", version], stderr=subprocess.DEVNULL)
    until("paid", lambda: held(who, version))
    buying.kill()


def read(name, version, who="buyer"):
    until(f"{name} here", lambda: held(who, version)[0]["here"], within=120)
    out = root / f"{name}.{who}"
    call(who, "data", "get", version, "--to", str(out))
    if out.read_bytes() != (root / name).read_bytes():
        fail(f"{name} is something else")


def lies(version):
    return [about for about in said("buyer", "bad share") if about["version"] == version]


def swap(one, two):
    """The third keeper has each share in the other's place."""
    kill("c")
    paths = [root / "c/data/kept" / version for version in (one, two)]
    texts = [path.read_bytes() for path in paths]
    paths[0].write_bytes(texts[1])
    paths[1].write_bytes(texts[0])
    start("c")


for name in ("chain", "owner", *KEEPERS, "buyer"):
    start(name)
until("credit", lambda: wallet("owner") and wallet("buyer"))
ids = [call(name, "status")["node"] for name in KEEPERS]
owner = call("owner", "status")["node"]

# What cannot be: one that is enough, more than there are, the owner's node, the same twice, a key that never leaves.
note = root / "note"
note.write_text("a note")
sealed = add(note)
for words, why in (
    (("--keepers", "1", "--keeper", ids[0], "--keeper", ids[1]), "2 ≤ k"),
    (("--keepers", "3", "--keeper", ids[0], "--keeper", ids[1]), "2 ≤ k"),
    (("--keepers", "2", "--keeper", ids[0], "--keeper", owner), "cannot be a keeper"),
    (("--keepers", "2", "--keeper", ids[0], "--keeper", ids[0]), "once each"),
    (("--keepers", "2", "--keeper", ids[0], "--keeper", "00"), "no node's id"),
    (("--keepers", "2", "--keeper", ids[0], "--keeper", ids[1], "--compute", sealed), "has no keepers"),
):
    refused("owner", "data", "publish", sealed, "--yes", *words, why=why)

# Nobody keeps anything for others unless it was told to; publishing says how many do, and goes on.
for name in ("a", "b"):
    call(name, "data", "keep", "100MiB")
call("c", "data", "keep", "1MiB")
one = publish("one")
if one["kept"]["done"] != 2 or "no room" not in str(one["kept"]["keepers"][2]["said"]):
    fail(f"two of three keep, and: {one['kept']}")
kill("owner")
call("c", "data", "keep", "100MiB")
start("owner")
one = one["version"]
until("kept by all", lambda: own(one)["done"] == 3)
with_words = {"two": (), "three": (), "bare": ("--without-data",), "never": ("--deliver", "15")}
two, three, bare, never = (publish(name, *words)["version"] for name, words in with_words.items())
for version in (two, three, bare, never):
    until("kept by all", lambda: own(version)["done"] == 3)
blocks = b"".join(path.read_bytes() for path in (root / "a/blocks").rglob("*") if path.is_file())
if (root / "one").read_bytes()[1000:1064] in blocks:
    fail("plaintext is at a keeper")
# Keepers cannot ask the owner for a word.
refused("owner", "data", "on-request", one, why="cannot ask for its word")
income = wallet("owner")
kill("owner")
print("published, and kept by three")

# The owner and a keeper are dead, another lies: what it sends is refused and noted. The buyer dies, too; the dead keeper comes back.
swap(one, two)
kill("b")
before = wallet("buyer")
buy(one)
until("found out", lambda: [about["node"] for about in lies(one)] == [ids[2]])
until("one good share", lambda: "shares here: 1, wrong shares: 1" in held("buyer", one)[0]["waits"])
if held("buyer", one)[0]["key"]:
    fail("one good share is enough")
refused("buyer", "data", "get", one, "--to", str(root / "x"), why="not delivered the key yet")
kill("buyer")
start("buyer")
start("b")
read("one", one)
if before - wallet("buyer") != 500_000:
    fail("the price is not what was paid")

# Keepers without the sealed data give the key; the blocks come when the owner is back.
buy(bare)
until("a key", lambda: held("buyer", bare)[0]["key"])
print("sold while the owner was dead; the liar is known")

# The same again, and the owner comes back instead: it has every share.
kill("b")
buy(two)
until("found out", lambda: [about["node"] for about in lies(two)] == [ids[2]])
start("owner")
read("two", two)
read("bare", bare)
kill("owner")

# The liar is honest again, and each of two keepers dies when it is asked: at once, and after it delivered.
swap(one, two)
start("b")
kill("a")
buy(three)
until("delivered", lambda: said("b", "delivered") or said("c", "delivered"))
name = "b" if said("b", "delivered") else "c"
kill(name)
start(name)
read("three", three)
grant = held("buyer", three)[0]["grant"]

# A keeper buys as all do: one share is its own.
until("credit", lambda: wallet("c"))
buy(three, "c")
read("three", three, "c")

# Two of three are dead: the price comes back.
kill("b")
before = wallet("buyer")
buy(never)
until("told what it waits for", lambda: "keepers ready: 1, shares here: 0" in (held("buyer", never)[0]["waits"] or ""))
until("refunded", lambda: "price came back" in (held("buyer", never)[0]["over"] or ""))
if wallet("buyer") != before:
    fail("the price did not come back")

# The owner comes back to its income. What it revokes is closed.
start("a")
start("b")
start("owner")
states = {one: "granted", two: "granted", three: "granted", bare: "granted", never: "refunded"}
told = lambda: {row["version"].removeprefix("0x"): row["state"] for row in call("owner", "data", "requests")["grants"]}
until("told of all that was sold", lambda: told() == states)
for version in (one, two, three, bare):
    if call("owner", "data", "income", version)["came"] != ("1000000" if version == three else "500000"):
        fail("income is missing")
if wallet("owner") - income != 2_500_000:
    fail("the income did not reach the owner")
call("owner", "data", "revoke", str(grant))
refused("buyer", "data", "get", f"#{grant}", "--to", str(root / "x"), why="revoked")

# A keeper may let go; logs tell all of it.
if len(call("a", "data", "drop", three)) != 1 or len(call("a", "data", "keep")["kept"]) != 4:
    fail("what was let go is still kept")
refused("a", "data", "drop", three, why="unknown_id")
for name in ("owner", "buyer", *KEEPERS):
    if not call(name, "data", "audit", "--verify")["whole"]:
        fail(f"the log of {name} is broken")
end()
print("delivered, killed, refunded, and the owner has its income: all held")
