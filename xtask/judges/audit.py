"""A bundle for auditors from a node that bought answers: checked on a machine without that node, by its genesis and by its first
block's hash, and refused when anything in it was changed.

Usage: audit.py TALKOO, with the folder of nodes.py on the path.
"""
import http.client, json, shutil, subprocess, tarfile

from nodes import call, end, fail, kill, lines, processes, root, run, start, talkoo, until, wallet

MODEL = "smollm2-135m-instruct"


def holds(what, why):
    if not what:
        fail(f"audit: {why}")


def verify(file, *words):
    """On a machine of its own: an empty home and data folder, no network."""
    offline = ["unshare", "--net", "--map-root-user"] if subprocess.run(["unshare", "--net", "--map-root-user", "true"], capture_output=True).returncode == 0 else []
    home = root / "auditor"
    home.mkdir(exist_ok=True)
    done = subprocess.run([*offline, talkoo, "--data-dir", str(home / "none"), "-o", "json", "audit", "verify", str(file), *words],
                          capture_output=True, text=True, timeout=300, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, cwd=home)
    text = done.stdout if done.stdout.strip() else done.stderr.strip().splitlines()[-1]
    return done.returncode, json.loads(text)


start("chain", "--provide", "--pull", MODEL, "--threads", "1")
start("buyer", "--pull", MODEL, "--threads", "1")
until("credit", lambda: wallet("chain") and wallet("buyer"))
lot = root / "lot.jsonl"
prompts = ["Tell of a fox.", "Name a colour.", "Say hello."]
lot.write_text("".join(json.dumps({"custom_id": str(n), "body": {"model": MODEL, "max_tokens": 40, "seed": n, "messages": [{"role": "user", "content": text}]}}) + "\n"
                       for n, text in enumerate(prompts)))
until("the model", lambda: call("buyer", "ls")["models"])
until("a worker", lambda: [peer for peer in call("buyer", "peers")["peers"] if peer["offers"]])
code, out, err = run("buyer", "batch", str(lot), "--verify", "none")
holds(code == 0, f"the batch: {out} {err}")
receipts = sorted((root / "buyer/receipts").glob("*/*.receipt"))
holds(len(receipts) == 3, f"receipts: {receipts}")
connection = http.client.HTTPConnection(lines["chain"]["api"], timeout=120)
token = (root / "chain/api.token").read_text().strip()
connection.request("POST", "/api/v1/settle", "{}", {"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
holds((answer := connection.getresponse()).status == 200, f"settle: {answer.read()}")
genesis = root / "auditor-genesis.json"
shutil.copy(root / "chain/chain/genesis.json", genesis)
paid = lambda: json.loads(run("buyer", "ledger", "verify", *map(str, receipts), "--genesis", str(genesis))[1] or '{"receipts": []}')["receipts"]
until("claimed", lambda: (rows := paid()) and all(row["paid"] for row in rows))

bundle, disclosed, again = root / "books.tar", root / "open.tar", root / "again.tar"
made = call("buyer", "audit", "export", str(bundle))
holds(made["receipts"] == 3, f"export: {made}")
call("buyer", "audit", "export", str(disclosed), "--disclose", "--job", receipts[0].parent.name)
first = call("buyer", "ledger", "block", "0")["hash"]
for name in list(processes):
    kill(name)
call("buyer", "audit", "export", str(again))  # also without a node, then without proofs of payment

code, all_held = verify(bundle, "--genesis", str(genesis))
holds(code == 0 and all_held["holds"] and all_held["receipts"] == 3, f"verify: {code} {all_held}")
holds(all(item["paid"] for item in all_held["items"] if item["item"].startswith("receipts/")), f"payments: {all_held}")
holds(not [line for line in all_held["not_shown"] if "claimed" in line or "--genesis" in line], f"not shown: {all_held['not_shown']}")
print(f"{all_held['receipts']} receipts, {all_held['payments']}")
holds(verify(bundle, "--genesis", first)[0] == 0, "by the first block's hash")
code, unnamed = verify(bundle)
holds(code == 0 and any("--genesis" in line for line in unnamed["not_shown"]), f"without a genesis: {unnamed}")
code, other = verify(bundle, "--genesis", "11" * 32)
holds(code == 6 and other["false"] >= 1, f"with another block: {code} {other}")
changed = json.loads(genesis.read_text())
changed["timestamp"] += 1
(root / "other.json").write_text(json.dumps(changed))
holds(verify(bundle, "--genesis", str(root / "other.json"))[0] == 6, "with another genesis")
code, late = verify(again)
holds(code == 0 and any("claimed" in line for line in late["not_shown"]), f"without a chain: {late}")
code, shown = verify(disclosed)
holds(code == 0 and shown["disclosed"] and shown["items"][-1]["disclosed"], f"disclosed: {shown}")

# No prompt leaves unless it was disclosed; any tar reads it.
with tarfile.open(bundle) as tar:
    names = tar.getnames()
holds(names[:2] == ["manifest.json", "manifest.sig"] and len([name for name in names if name.startswith("receipts/")]) == 3, f"members: {names}")

# A changed price, by whoever holds the file: in the receipt's own bytes, with everything else as it was.
raw = bundle.read_bytes()
at = raw.index(b"eprice") + 6
bad = bytearray(raw)
for index in range(at, at + 40):
    if bad[index] not in (0x50, 0x82, 0):
        bad[index] ^= 1
        break
(root / "bad.tar").write_bytes(bad)
code, said = verify(root / "bad.tar", "--genesis", str(genesis))
holds(code == 6 and [item for item in said["items"] if not item["holds"] and item["item"].startswith("receipts/")], f"a changed price: {code} {said}")
(root / "short.tar").write_bytes(raw[:-2000])
code, said = verify(root / "short.tar")
holds(code == 6 and "ends in" in said["error"]["message"], f"a short copy: {code} {said}")
for change in ("sig", "name"):
    bad = bytearray(raw)
    where = raw.index(b"manifest.sig") + 600 if change == "sig" else raw.index(b"receipts/", raw.index(b"manifest.sig"))
    bad[where] ^= 1
    (root / "bad.tar").write_bytes(bad)
    holds(verify(root / "bad.tar")[0] == 6, f"{change} changed")
print("audit: all held")
end()
