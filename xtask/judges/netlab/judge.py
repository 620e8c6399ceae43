"""Nodes behind routers of two kinds reach one another: by relay, and directly once a hole is punched. Linux, root, nftables.

Usage: judge.py TALKOO
"""
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from lab import Lab

talkoo = os.path.abspath(sys.argv[1])
try:
    subprocess.run(["nft", "--version"], check=True, capture_output=True)
    probe = Lab("probe")
    probe.host("x")
    probe.close()
except (OSError, subprocess.SubprocessError) as why:
    print(f"network namespaces or nftables are not to be had here: {why}")
    sys.exit(77)


class Node:
    def __init__(self, host, folder, *flags):
        self.host, self.dir = host, folder
        command = [talkoo, "--data-dir", folder, "up", "--api", "127.0.0.1:0", "--no-upnp", "--network", "lab", *flags]
        self.log = open(f"{folder}.log", "w")
        env = {**os.environ, "RUST_LOG": "info"}
        self.process = subprocess.Popen(host.command(*command), stdout=self.log, stderr=self.log, env=env)
        wait(lambda: re.search(r"/p2p/(\w+)", open(f"{folder}.log").read()), "a node to come up", 30)
        self.peer = re.search(r"/p2p/(\w+)", open(f"{folder}.log").read()).group(1)

    def run(self, *arguments, timeout=60):
        return self.host.run(talkoo, "--data-dir", self.dir, *arguments, timeout=timeout).stdout.strip()

    def doctor(self):
        return json.loads(self.run("doctor", "-o", "json"))

    def call(self, path):
        api = open(f"{self.dir}/api.addr").read().strip()
        token = open(f"{self.dir}/api.token").read().strip()
        command = ["curl", "-s", "-m", "30", "-X", "POST", "-H", f"Authorization: Bearer {token}", f"http://{api}/api/v0/{path}"]
        return self.host.run(*command).stdout

    def with_peer(self, peer):
        return [p for p in self.doctor()["peers"] if p["peer"] == peer]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)


def wait(until, what, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = until()
        if found:
            return found
        time.sleep(0.5)
    raise SystemExit(f"waited {seconds} s for {what}")


def scenario(name, is_random, delay_ms, loss):
    """Two homes with a router each, and a public node that relays."""
    lab, root = Lab(), tempfile.mkdtemp(prefix="talkoo-netlab-")
    nodes = []
    try:
        internet = lab.host("net", forward=True)
        public = lab.host("pub")
        lab.link(internet, "203.0.113.1", public, "203.0.113.10")
        public.run("ip", "route", "add", "default", "via", "203.0.113.1")
        homes = []
        for number in (1, 2):
            router, home = lab.host(f"r{number}", forward=True), lab.host(f"h{number}")
            _, outside = lab.link(internet, "203.0.113.2", router, f"203.0.113.{20 + number}", delay_ms, loss)
            inside, _ = lab.link(router, f"192.168.{number}.1", home, f"192.168.{number}.2")
            home.run("ip", "route", "add", "default", "via", f"192.168.{number}.1")
            router.run("ip", "route", "add", "default", "via", "203.0.113.2")
            router.nat(inside, outside, is_random)
            homes.append(home)
        tcp, quic = "/ip4/{}/tcp/4001", "/ip4/{}/udp/4001/quic-v1"
        listen = lambda address: ["--listen", tcp.format(address), "--listen", quic.format(address)]
        relay = Node(public, f"{root}/relay", "--relay", *listen("203.0.113.10"))
        nodes.append(relay)
        bootstrap = f"{quic.format('203.0.113.10')}/p2p/{relay.peer}"
        for number, home in enumerate(homes):
            nodes.append(Node(home, f"{root}/home{number}", *listen("0.0.0.0"), "--bootstrap", bootstrap))
        _, a, b = nodes
        for node in (a, b):
            held = lambda: any(r["held"] for r in node.doctor()["relays"])
            wait(held, f"{name}: a relay to serve a hidden node", 60)
            assert node.doctor()["nat"] == "private", node.doctor()
        met = wait(lambda: b.with_peer(a.peer) or b.call(f"swarm/connect?arg={bootstrap}/p2p-circuit/p2p/{a.peer}") and b.with_peer(a.peer), f"{name}: two hidden nodes to meet", 30)
        print(f"{name}: met {'through the relay' if met[0]['relayed'] else 'directly'}")
        if is_random:
            # Ports that change cannot be guessed: it stays a relayed connection, and the doctor says so.
            wait(lambda: any("change ports" in f["what"] for n in (a, b) for f in n.doctor()["findings"]), f"{name}: the doctor to say why", 60)
            assert all(p["relayed"] for p in b.with_peer(a.peer)), b.with_peer(a.peer)
            size = 1_000_000
        else:
            direct = wait(lambda: [p for p in b.with_peer(a.peer) if not p["relayed"]], f"{name}: a hole to be punched", 60)
            print(f"{name}: direct over {direct[0]['transport']}")
            size = 20_000_000
        data = os.urandom(size)
        open(f"{root}/file", "wb").write(data)
        cid = a.run("store", "add", f"{root}/file", "--class", "public").splitlines()[0]
        start = time.monotonic()
        b.run("store", "get", cid, "--to", f"{root}/got", timeout=120)
        took = time.monotonic() - start
        assert hashlib.sha256(open(f"{root}/got", "rb").read()).digest() == hashlib.sha256(data).digest()
        print(f"{name}: {size / 1e6:.0f} MB in {took:.1f} s")
    except BaseException:
        for node in nodes:
            print(open(f"{node.dir}.log").read()[-1500:])
            try:
                print(node.run("doctor"))
            except Exception as why:
                print(why)
        raise
    finally:
        for node in nodes:
            node.stop()
        lab.close()


scenario("routers that keep ports", False, 0, 0.0)
scenario("routers that change ports", True, 0, 0.0)
scenario("routers that keep ports, 40 ms and 0.5 % loss", False, 20, 0.005)
