"""A node's inference protocols against schema suites and the programs that people use. One real node with a real model.

Usage: judge.py comply|clients|evals TALKOO PACKAGES
What is needed is installed into PACKAGES (npm, pip).
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

which, talkoo, packages = sys.argv[1], os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
here = pathlib.Path(__file__).resolve().parent
MODEL = "smollm2-135m-instruct"
# One environment each: litellm keeps openai below 3.
PIP = {
    "comply": {"comply": ["llm-comply==0.5.0"]},
    "evals": {"evals": ["lm_eval[api]==0.4.13"]},
    "clients": {
        "two": ["openai==2.54.0", "anthropic==2.12.0", "ollama==0.6.3", "litellm==1.106.2", "instructor==1.17.0", "pandas==3.1.1",
                "pyarrow==26.0.1"],
        "three": ["openai==3.51.0", "langchain-openai==1.7.3", "openai-agents==0.24.0"],
        "index": ["llama-index-llms-openai-like==0.8.1"],
    },
}
NPM = {
    "evals": [],
    "comply": ["compatcanary@0.2.2"],
    "clients": ["openai@6.49.0", "ai@6.0.326", "@ai-sdk/openai-compatible@2.0.87"],
}
CLIENTS = {
    "two": ["openai", "webhooks", "anthropic", "ollama", "litellm", "instructor"],
    "three": ["openai", "webhooks", "langchain", "agents"],
    "index": ["llamaindex"],
}


def setup():
    try:
        for name, wanted in PIP[which].items():
            subprocess.run([sys.executable, "-m", "venv", f"{packages}/{name}"], check=True, capture_output=True, timeout=120)
            install = [f"{packages}/{name}/bin/python", "-m", "pip", "install", "--quiet", *wanted]
            subprocess.run(install, check=True, capture_output=True, timeout=600)
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", packages]
        if NPM[which]:
            subprocess.run(npm + NPM[which], check=True, capture_output=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as why:
        print(f"set-up failed: {why} {getattr(why, 'stderr', b'')[-500:]}")
        sys.exit(77)


def run(*command, cwd=None, timeout=600):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    print(done.stdout[-3000:] + done.stderr[-3000:], flush=True)
    return done


def comply(base, key, token):
    failed = []
    for form in ("openai-chat", "open-responses", "anthropic"):
        tool = f"{packages}/comply/bin/llm-comply"
        done = subprocess.run([tool, "--format", form, "--base-url", f"{base}/v1", "--model", MODEL, "--api-key", key, "--json"],
                              capture_output=True, text=True, timeout=300)
        for row in json.loads(done.stdout)["results"]:
            print(f"{form} {row['id']}: {row['status']}")
            # No model here sees pictures: they are refused by name.
            if row["status"] == "failed" and "image" not in row["id"]:
                failed.append(row)
    if shutil.which("promtool"):
        ask = urllib.request.Request(f"{base}/metrics", headers={"Authorization": f"Bearer {token}"})
        metrics = urllib.request.urlopen(ask, timeout=10).read()
        lint = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, timeout=30)
        print(f"promtool: {lint.returncode} {lint.stderr.decode()}")
        failed += [lint.stderr] if lint.returncode else []
        alerts = here.parent.parent.parent / "ops" / "alerts_test.yml"
        rules = subprocess.run(["promtool", "test", "rules", alerts.name], cwd=alerts.parent, capture_output=True, timeout=60)
        print(f"alerts: {rules.returncode} {rules.stdout.decode()}")
        failed += [rules.stdout] if rules.returncode else []
        # What a panel or an alert asks for is there.
        asked = set(re.findall(r"\b((?:gen_ai|talkoo)_[a-z_]+)", alerts.with_name("alerts.yml").read_text() + alerts.with_name("grafana.json").read_text()))
        failed += [name for name in asked if name.removesuffix("_count").removesuffix("_bucket").encode() not in metrics and name != "gen_ai_token_type"]
    else:
        print("promtool: skipped, it is not here (Debian: prometheus)")
    canary = f"{packages}/node_modules/.bin/compatcanary"
    done = run(canary, "scan", "--base-url", f"{base}/v1", "--model", MODEL, "--api-key", key, "--fail-on", "any")
    if failed or done.returncode:
        raise SystemExit(f"failed: {failed}")


def clients(base, key, token):
    os.environ["TALKOO_TOKEN"] = token
    for name, programs in CLIENTS.items():
        if run(f"{packages}/{name}/bin/python", str(here / "clients.py"), base, key, *programs).returncode:
            raise SystemExit("a client failed")
    # Our own client, on a node that it starts itself.
    os.environ["TALKOO"] = talkoo
    tests = here.parent.parent.parent / "sdk" / "python" / "tests"
    if run(f"{packages}/two/bin/python", "-W", "ignore", "-m", "unittest", "discover", "-s", str(tests)).returncode:
        raise SystemExit("our own client failed")
    script = shutil.copy(here / "clients.mjs", packages)
    if run("node", script, base, key).returncode:
        raise SystemExit("a client failed")


def evals(base, key, _):
    if run(sys.executable, str(here / "evals.py"), base, key, talkoo, packages).returncode:
        raise SystemExit("lm-eval found something else")


setup()
root = tempfile.mkdtemp(prefix="talkoo-inference-")
command = [talkoo, "--data-dir", root, "-o", "json", "up", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"]
node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(f"{root}.log", "w"), text=True)
try:
    base = "http://" + json.loads(node.stdout.readline())["api"]
    cli = [talkoo, "--data-dir", root]
    subprocess.run([*cli, "pull", MODEL], check=True, capture_output=True, timeout=300)
    subprocess.run([talkoo, "embed", "all-minilm-l6-v2", "fetched once"], check=True, capture_output=True, timeout=300)
    key = subprocess.run([*cli, "key", "create", "--name", "judge"], check=True, capture_output=True, text=True).stdout.strip()
    {"comply": comply, "clients": clients, "evals": evals}[which](base, key, pathlib.Path(f"{root}/api.token").read_text().strip())
finally:
    node.terminate()
    node.wait(timeout=30)
print("all held")
