"""Sealed data sold from one node to another, as processes on real sockets, disks and an embedded chain: published, paid, delivered,
fetched, read, used up, revoked, refunded, approved and refused by a word of the owner's; folders, gifts, parents' shares, kill -9 of either side; and what has to be refused.

Usage: data.py TALKOO. Nothing but the standard library; exit code 0 if everything held.
"""
import itertools, os, subprocess
from nodes import *


def published(path, *words, price="0.5", name="owner"):
    sealed = call(name, "data", "add", str(path))["id"]
    price = ["--price", price] if price else []
    return sealed, call(name, "data", "publish", sealed, "--yes", *price, *words)


start("chain")
start("owner")
start("buyer")
until("credit", lambda: wallet("owner") and wallet("buyer"))
secret = os.urandom(3_000_000)
file = root / "corpus.bin"
file.write_bytes(secret)

# Nothing is public without a yes, and the store gives nothing away.
sealed = call("owner", "data", "add", str(file))["id"]
refused("owner", "data", "publish", sealed, "--price", "0.5", why="nobody is there to say yes")
refused("owner", "data", "publish", sealed, "--yes", "--name", "../x", why="cannot be a name")
blocks = b"".join(path.read_bytes() for path in (root / "owner/blocks").rglob("*") if path.is_file())
if secret[1000:1064] in blocks or secret[-64:] in blocks:
    fail("plaintext is in the store")

preview = root / "preview.txt"
preview.write_text("the first line")
one = call("owner", "data", "publish", sealed, "--yes", "--name", "corpus", "--title", "A corpus", "--licence", "CC-BY-4.0", "--purpose",
           "research", "--price", "0.5", "--uses", "2", "--preview", str(preview))
version, asset = one["version"], str(one["asset"])
owner = call("owner", "status")["owner"]
for way in (asset, version, one["public"]["cid"], f"{owner}/corpus"):
    shown = call("buyer", "data", "show", way)
    if shown["version"] != version or shown["says"]["title"] != "A corpus" or shown["offers"][0]["price"] != "500000":
        fail(f"{way} shows {shown}")
refused("buyer", "data", "show", f"{owner}/nothing", why="unknown_id")
if run("buyer", "store", "cat", shown["says"]["preview"])[1] != "the first line":
    fail("the preview is not public")

# Bought, delivered, read; counted, used up.
before = wallet("buyer")
grant = call("buyer", "data", "buy", asset)["grant"]
if before - wallet("buyer") != 500_000:
    fail("the price is not what was paid")
refused("buyer", "data", "buy", asset, why="already_used")
out = root / "out.bin"
call("buyer", "data", "get", asset, "--to", str(out))
if out.read_bytes() != secret:
    fail("what was read is not what was sealed")
refused("buyer", "data", "get", asset, "--to", str(out), why="there already")
call("buyer", "data", "get", f"#{grant}", "--to", str(root / "again.bin"))
refused("buyer", "data", "get", asset, "--to", str(root / "third.bin"), why="used up")
until("granted", lambda: said("owner", "key released") and said("buyer", "key received") and said("buyer", "read"))

# What was fetched through the grant is private at the buyer, and other nodes get it from nobody.
start("third")
until("peers", lambda: len(call("third", "peers")["peers"]) >= 3)
code, _, _ = run("third", "store", "get", shown["says"]["sealed"], "--to", str(root / "stolen"))
if code == 0:
    fail("a node without a grant got the sealed blocks")
refused("third", "data", "get", f"#{grant}", "--to", str(root / "x"), why="unknown_id")
print("sold, read, counted, and shown to nobody else")

# A gift to a node; revoked grants; the next version has another key, which the old grant does not open.
third = call("third", "status")["node"]
call("owner", "data", "grant", sealed, third)
run("third", "data", "get", version, "--to", str(root / "gift"))
until("given", lambda: held("third", version) and held("third", version)[0]["here"])
call("third", "data", "get", version, "--to", str(root / "gift"))
if (root / "gift").read_bytes() != secret:
    fail("the gift is something else")
folder = root / "folder"
(folder / "deep" / "deeper").mkdir(parents=True)
(folder / "empty").mkdir()
(folder / "deep" / "a.txt").write_text("a")
(folder / "deep" / "deeper" / "big").write_bytes(os.urandom(2_500_000))
(folder / "link").symlink_to("deep/a.txt")
_, two = published(folder, "--name", "corpus", "--asset", asset, "--purpose", "research")
grant = call("buyer", "data", "buy", asset)["grant"]
call("buyer", "data", "get", asset, "--to", str(root / "unpacked"))
if subprocess.run(["diff", "-r", "--no-dereference", str(folder), str(root / "unpacked")]).returncode:
    fail("the folder is another one")
call("owner", "data", "revoke", str(grant))
refused("buyer", "data", "get", f"#{grant}", "--to", str(root / "revoked"), why="revoked")
refused("owner", "data", "revoke", str(grant), why="WrongState")
refused("third", "data", "revoke", str(grant), why="")
_, three = published(file, "--name", "corpus", "--asset", asset)
if three["public"]["manifest"]["sealed"] in (sealed, two["public"]["manifest"]["sealed"]):
    fail("the same file sealed again has the same key")
refused("third", "data", "get", three["version"], "--to", str(root / "later"), why="asked whether it was given")
until("refused", lambda: any("not given" in (row["said"] or "") for row in held("third", three["version"])))

# Parents get their share.
_, child = published(preview, "--name", "child", "--parent", f"{asset}:2500", price="1", name="third")
call("buyer", "data", "buy", str(child["asset"]))
earned = lambda name: int(call(name, "provide", "earnings", "--days", "2")["sum"]["data"].replace(".", ""))
before = earned("owner")
call("third", "data", "income", str(child["asset"]))
if (earned("third"), earned("owner") - before) != (750_000, 250_000):
    fail(f"the day's income is not what came: {earned('third')}, {earned('owner') - before}")
before = wallet("owner")
if call("owner", "data", "income", three["version"])["came"] != "250000" or wallet("owner") - before != 250_000:
    fail("the parent did not get what is due")

print("given, revoked, sealed anew, and the parent has its share")

# Only named code reads, at the owner's; no key leaves.
code, other = three["public"]["cid"], one["public"]["cid"]
_, compute = published(file, "--name", "compute", "--compute", code)
waiting = subprocess.Popen([talkoo, "--data-dir", f"{root}/buyer", "data", "buy", compute["version"]], stderr=subprocess.DEVNULL)
until("no key is told", lambda: any("no key is delivered" in (row["said"] or "") for row in held("buyer", compute["version"])))
grant = str(held("buyer", compute["version"])[0]["grant"])
waiting.kill()
if call("owner", "data", "check", grant, code)["bytes"] != len(secret):
    fail("the code reads something else")
refused("owner", "data", "check", grant, other, why="does not name this code")
refused("owner", "data", "check", "999", code, why="no such grant")
refused("buyer", "data", "check", grant, code, why="another node")
call("owner", "data", "revoke", grant)
refused("owner", "data", "check", grant, code, why="revoked")
refused("buyer", "data", "get", f"#{grant}", "--to", str(root / "x"), why="revoked")

# Expiry, and a price that comes back.
_, brief = published(file, "--name", "brief", "--expires", "8")
call("buyer", "data", "buy", brief["version"])
call("buyer", "data", "get", brief["version"], "--to", str(root / "brief"))
tries = itertools.count()
until("expired", lambda: "expired" in run("buyer", "data", "get", brief["version"], "--to", str(root / f"late{next(tries)}"))[2])

# kill -9: the owner is dead when it is paid, the buyer dies before the key comes. Both go on.
_, slow = published(file, "--name", "slow")
_, never = published(file, "--name", "never", "--deliver", "6")
for one in (slow, never):
    call("buyer", "data", "show", one["version"])
kill("owner")
before = wallet("buyer")
for one in (slow, never):
    buying = subprocess.Popen([talkoo, "--data-dir", f"{root}/buyer", "data", "buy", one["version"]], stderr=subprocess.DEVNULL)
    until("paid", lambda: held("buyer", one["version"]))
    buying.kill()
if before - wallet("buyer") != 1_000_000:
    fail("the price is not what was paid")
kill("buyer")
start("buyer")
until("refunded", lambda: any(row["over"] for row in held("buyer", never["version"])))
if before - wallet("buyer") != 500_000:
    fail("the price did not come back")
refused("buyer", "data", "get", never["version"], "--to", str(root / "x"), why="asked whether it was given")
start("owner")
until("delivered", lambda: held("buyer", slow["version"])[0]["here"])
call("buyer", "data", "get", slow["version"], "--to", str(root / "slow"))
if (root / "slow").read_bytes() != secret:
    fail("what came after the kills is something else")
if [row["state"] for row in call("owner", "data", "requests")["grants"] if row["version"].endswith(never["version"])] != ["refunded"]:
    fail("the owner does not know of the refund")

# On request: nothing is delivered without the owner's word, also over a kill; one is approved, one refused and paid back.
def asked(version, answer):
    return [row for row in call("owner", "data", "requests")["grants"] if row["version"].endswith(version) and row["answer"] == answer]


def buying(version, *words):
    pays = subprocess.Popen([talkoo, "--data-dir", f"{root}/buyer", "data", "buy", version, *words], stderr=subprocess.DEVNULL)
    until("paid", lambda: held("buyer", version))
    return pays


_, asks = published(file, "--name", "asks", "--per-query", "0.001", "--on-request", "--purpose", "research")
refused("buyer", "data", "buy", asks["version"], "--offer", "9999", why="no open offer")
before = wallet("buyer")
pays = buying(asks["version"], "--per-query")
until("the request waits", lambda: asked(asks["version"], "waits"))
until("the buyer knows for what", lambda: "waits for the owner's word" in held("buyer", asks["version"])[0]["waits"])
if before - wallet("buyer") != 1_000:
    fail("one use has another price")
kill("owner")
start("owner")
row = asked(asks["version"], "waits")[0]
if row["node"] != call("buyer", "status")["node"] or row["purpose"] != "research" or said("owner", "key released")[-1]["grant"] == row["grant"]:
    fail(f"the request is not what was asked for: {row}")
call("owner", "data", "approve", str(row["grant"]))
until("delivered", lambda: held("buyer", asks["version"])[0]["here"])
pays.wait()
refused("owner", "data", "refuse", str(row["grant"]), why="already_used")
call("buyer", "data", "get", asks["version"], "--to", str(root / "asked"))
if (root / "asked").read_bytes() != secret:
    fail("what was approved is something else")
refused("buyer", "data", "get", asks["version"], "--to", str(root / "asked again"), why="used up")

_, brief = published(file, "--name", "brief-asks", "--on-request", "--deliver", "25")
before = wallet("buyer")
pays = buying(brief["version"])
row = until("the request waits", lambda: asked(brief["version"], "waits"))[0]
refused("owner", "data", "refuse", str(row["grant"]), "--why", "turned \u202eround", why="U+202E")
call("owner", "data", "refuse", str(row["grant"]), "--why", "not for birds of prey")
until("the buyer knows why", lambda: "not for birds of prey" in (held("buyer", brief["version"])[0]["said"] or ""))
# What was refused stays so, also when nothing waits for a word any more; a buyer that starts anew asks at once.
call("owner", "data", "on-request", brief["version"], "--off")
kill("buyer")
start("buyer")
until("the buyer is told again", lambda: "not for birds of prey" in (held("buyer", brief["version"])[0]["said"] or ""))
until("refunded", lambda: held("buyer", brief["version"])[0]["over"])
pays.wait()
if wallet("buyer") != before or asked(brief["version"], "refused")[0]["state"] != "refunded":
    fail("the refused price did not come back")
refused("owner", "data", "approve", str(row["grant"]), why="is over")

# What was not answered in time waits no more, though its buyer is away and leaves the price there.
_, late = published(file, "--name", "late-asks", "--on-request", "--deliver", "8")
pays = buying(late["version"])
row = until("the request waits", lambda: asked(late["version"], "waits"))[0]
kill("buyer")
until("nothing waits any more", lambda: not asked(late["version"], "waits"))
refused("owner", "data", "approve", str(row["grant"]), why="too late")
start("buyer")
until("refunded", lambda: held("buyer", late["version"])[0]["over"])
pays.wait()
node = call("third", "status")["node"]
sealed = call("owner", "data", "add", str(file))["id"]
keepers = ["--keepers", "2", *["--keeper", node, "--keeper", call("chain", "status")["node"]]]
refused("owner", "data", "publish", sealed, "--yes", "--price", "1", "--on-request", *keepers, why="--on-request")
print("asked for a word: one approved after a kill, one refused and paid back")

# Logs tell all of it, and changes of them are found out.
for name in ("owner", "buyer"):
    if not call(name, "data", "audit", "--verify")["whole"]:
        fail(f"the log of {name} is broken")
log = root / "buyer/data/audit"
log.write_text(log.read_text().replace('"what":"paid"', '"what":"given"', 1))
refused("buyer", "data", "audit", "--verify", why="is not what was written")
end()
print("computed, expired, refunded, killed: all held")
