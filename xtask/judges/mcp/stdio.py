"""`talkoo mcp`: starts a node if none runs, says nothing but messages, and goes on when the node was started again.

Usage: stdio.py TALKOO FOLDER.
"""
import json
import os
import socket
import subprocess
import sys
import time

talkoo, folder = sys.argv[1:3]
cli = [talkoo, "--data-dir", folder]
UP = [*cli, "-o", "json", "up", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"]


def holds(what, why):
    if not what:
        raise SystemExit(f"standard input: {why}")


def port_is_free():
    """Where a node that is started without flags listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 8420)) != 0


def up():
    node = subprocess.Popen(UP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    holds(node.stdout.readline(), "the node did not start")
    return node


def down():
    subprocess.run([*cli, "down"], check=True, capture_output=True, timeout=60)
    end = time.time() + 30
    while os.path.exists(f"{folder}/api.addr"):
        holds(time.time() < end, "the node did not stop in 30 s")
        time.sleep(0.05)


starts_itself = port_is_free()
if not starts_itself:
    print("port 8420 is taken: that `talkoo mcp` starts a node is not tried")
    up()
server = subprocess.Popen([*cli, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def send(message):
    server.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    server.stdin.flush()


def ask(message):
    send(message)
    return json.loads(server.stdout.readline())


client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "judge", "version": "1"}}
first = ask({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
holds(first["result"]["protocolVersion"] == "2025-06-18", first)
send({"jsonrpc": "2.0", "method": "notifications/initialized"})
holds(ask({"jsonrpc": "2.0", "id": 2, "method": "ping"}) == {"jsonrpc": "2.0", "id": 2, "result": {}}, "ping")
for line, code in (("garbage", -32700), ("[1]", -32600), ("x" * 3_000_000, -32700), ('{"jsonrpc": "1.0", "id": 3, "method": "ping"}', -32600)):
    holds(ask(line)["error"]["code"] == code, f"{line[:40]} is not {code}")
down()
holds(ask({"jsonrpc": "2.0", "id": 4, "method": "ping"})["error"]["code"] == -32603, "the node is down")
node = up()
tools = ask({"jsonrpc": "2.0", "id": 5, "method": "tools/list"})["result"]["tools"]
holds(len(tools) >= 15, "the session was not begun again")
server.stdin.close()
holds(server.wait(60) == 0 and server.stdout.read() == "", "it did not end with its input")
down()
print("standard input and output of a command: held")
