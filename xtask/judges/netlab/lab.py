"""Hosts and routers in network namespaces, for tests of what crosses a network (Linux, root).

    lab = Lab()
    net = lab.host("net", forward=True)
    a = lab.host("a"); lab.link(net, "203.0.113.1", a, "203.0.113.10", delay_ms=25, loss=0.01)
    a.run("ping", "-c1", "203.0.113.1"); lab.close()

A link with delay or loss is a process that carries packets between two TUN devices: kernels of sandboxes often have no netem.
As a program, `lab.py delay NS1 NS2 DELAY_MS LOSS` is that process.
"""
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
# Packets that wait in a link: one that is full loses the next ones, as routers do.
QUEUE_MAX = 20_000


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


class Host:
    """A network namespace."""

    def __init__(self, name, forward):
        self.name = name
        ip("netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")
        if forward:
            self.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def command(self, *arguments):
        return ["ip", "netns", "exec", self.name, *arguments]

    def run(self, *arguments, **options):
        options = {"check": True, "capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(self.command(*arguments), **options)

    def nat(self, inside, outside, is_random):
        """Makes this router hide what is inside. With `is_random` each connection gets a port of its own (symmetric)."""
        rules = f"""
table ip nat {{
    chain post {{
        type nat hook postrouting priority 100;
        oifname "{outside}" masquerade {"random" if is_random else ""}
    }}
}}
table ip filter {{
    chain forward {{
        type filter hook forward priority 0; policy drop;
        iifname "{inside}" accept
        ct state established,related accept
    }}
    chain input {{
        type filter hook input priority 0; policy accept;
        iifname "{outside}" ct state new drop
    }}
}}
"""
        self.run("nft", "-f", "-", input=rules)


class Lab:
    def __init__(self, prefix="tk"):
        self.prefix = f"{prefix}{os.getpid() % 10000}"
        self.hosts, self.links, self.count = [], [], 0

    def host(self, name, forward=False):
        host = Host(f"{self.prefix}-{name}", forward)
        self.hosts.append(host)
        return host

    def link(self, a, a_ip, b, b_ip, delay_ms=0, loss=0.0):
        """A wire between two hosts; answers the names of its ends. 192.168.… is a network, other wires are point to point."""
        self.count += 1
        ends = f"w{self.count}a", f"w{self.count}b"
        if delay_ms or loss:
            command = [sys.executable, os.path.abspath(__file__), "delay", a.name, b.name, ends[0], ends[1], str(delay_ms), str(loss)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            self.links.append(process)
            if process.stdout.readline() != b"up\n":
                raise RuntimeError("the link did not come up")
        else:
            ip("link", "add", ends[0], "netns", a.name, "type", "veth", "peer", "name", ends[1], "netns", b.name)
        is_lan = a_ip.startswith("192.168.")
        for host, end, own, other in ((a, ends[0], a_ip, b_ip), (b, ends[1], b_ip, a_ip)):
            address = [f"{own}/24"] if is_lan else [own, "peer", other]
            host.run("ip", "addr", "add", *address, "dev", end)
            host.run("ip", "link", "set", end, "up")
        return ends

    def close(self):
        for process in self.links:
            process.kill()
            process.wait()
        for host in self.hosts:
            ip("netns", "del", host.name)


def tun(namespace, name):
    """Opens a TUN device inside a namespace."""
    handle = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    import ctypes

    if ctypes.CDLL("libc.so.6", use_errno=True).setns(handle, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(handle)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def delay(one, other, end_one, end_other, delay_ms, loss):
    """Carries packets until it is killed."""
    a, b = tun(one, end_one), tun(other, end_other)
    print("up", flush=True)
    waiting, number = [], 0
    while True:
        wait = max(0, waiting[0][0] - time.monotonic()) if waiting else 1
        ready, _, _ = select.select([a, b], [], [], wait)
        now = time.monotonic()
        for device in ready:
            for _ in range(64):
                try:
                    packet = os.read(device, 65536)
                except BlockingIOError:
                    break
                except OSError:  # the device is not up yet
                    time.sleep(0.01)
                    break
                if random.random() >= loss and len(waiting) < QUEUE_MAX:
                    number += 1
                    heapq.heappush(waiting, (now + delay_ms / 1000, number, b if device == a else a, packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, device, packet = heapq.heappop(waiting)
            try:
                os.write(device, packet)
            except OSError:
                pass


if __name__ == "__main__" and sys.argv[1:2] == ["delay"]:
    delay(*sys.argv[2:6], float(sys.argv[6]), float(sys.argv[7]))
