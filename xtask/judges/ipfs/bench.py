"""Blocks between nodes of ours, of kubo and of Helia on one machine, all in one run; megabytes (10^6) a second.

Usage: bench.py EXCHANGE PYTHON NODE
"""
import os, shutil, sys, tempfile
from peers import Cast, alone

alone()
root = tempfile.mkdtemp(prefix="talkoo-bench-")
cast = Cast(root, *sys.argv[1:])
MIB, RUNS = 1 << 20, 3
print(f"{'':58} {'MB/s':>8}  runs")


def told(what, rates, better=max):
    print(f"{what:58} {better(rates):8.0f}  {' '.join(f'{rate:.0f}' for rate in rates)}", flush=True)
    return better(rates)


def moved(source, sink, mib, runs=RUNS):
    """A file from one kind of node to a fresh one of another kind."""
    rates = []
    for _ in range(runs):
        giver, taker = cast.start(source), cast.start(sink)
        if source == "talkoo":
            cid = giver.ask("make", mib * MIB, cast.count)["cid"]
        else:
            path = f"{root}/file"
            with open(path, "wb") as file:
                for _ in range(mib):
                    file.write(os.urandom(MIB))
            cid = giver.ask("add", path)["cid"]
        taker.ask("connect", giver.addr)
        if sink == "talkoo":
            taker.ask("forget")
            answer = taker.ask("fetch", cid, "-")
        else:
            answer = taker.ask("get", cid, f"{root}/out")
        rates.append(mib * MIB / 1e6 / answer["seconds"])
        for peer in (giver, taker):
            peer.stop()
        for name in os.listdir(root):
            shutil.rmtree(f"{root}/{name}", ignore_errors=True) or os.path.isfile(f"{root}/{name}") and os.remove(f"{root}/{name}")
    return told(f"{sink} <- {source}, {mib} MiB", rates)


def streamed(mib):
    """Messages of 1 MiB over one libp2p stream (TCP, noise, yamux): what the blocks could at most have."""
    rates = []
    for _ in range(RUNS):
        giver, taker = cast.start("talkoo"), cast.start("talkoo")
        giver.ask("connect", taker.addr)
        giver.ask("ready", taker.peer)
        giver.ask("stream", taker.peer, mib * MIB)
        answer = taker.ask("streamed")
        rates.append(answer["bytes"] / 1e6 / answer["seconds"])
        giver.stop()
        taker.stop()
    return told(f"one stream, {mib} MiB", rates)


def distant(count, mib, one_way_ms):
    """From `count` peers, each so far away."""
    givers, taker, relays = [], cast.start("talkoo"), cast.start("talkoo")
    for _ in range(count):
        giver = cast.start("talkoo")
        cid = giver.ask("make", mib * MIB, 1)["cid"]
        words = giver.addr.split("/")
        port = relays.ask("relay", f"127.0.0.1:{words[4]}", one_way_ms)["port"]
        taker.ask("connect", giver.addr.replace(f"/tcp/{words[4]}", f"/tcp/{port}"))
        givers.append(giver)
    taker.ask("forget")
    seconds = taker.ask("fetch", cid, "-")["seconds"]
    for peer in (*givers, taker, relays):
        peer.stop()
    return told(f"talkoo <- {count} talkoo, {2 * one_way_ms} ms there and back, {mib} MiB", [mib * MIB / 1e6 / seconds])


def memory(gib):
    giver, taker = cast.start("talkoo"), cast.start("talkoo")
    cid = giver.ask("make", gib << 30, 1)["cid"]
    taker.ask("connect", giver.addr)
    taker.ask("forget")
    rate = (gib << 30) / 1e6 / taker.ask("fetch", cid, "-")["seconds"]
    peaks = [peer.ask("memory")["kib"] / 1024 for peer in (giver, taker)]
    told(f"talkoo <- talkoo, {gib} GiB", [rate])
    print(f"  most memory: giver {peaks[0]:.0f} MiB, taker {peaks[1]:.0f} MiB")
    giver.stop()
    taker.stop()


def ratio(what, one, other):
    print(f"  {what}: {one / other:.2f}")


for size in (64, 1024):
    stream, talkoo = streamed(size), moved("talkoo", "talkoo", size)
    ratio("of one stream", talkoo, stream)
    runs = RUNS if size < 1024 else 1
    kubo = moved("kubo", "kubo", size, runs)
    ratio("kubo <- talkoo, of kubo <- kubo", moved("talkoo", "kubo", size, runs), kubo)
    ratio("talkoo <- kubo, of kubo <- kubo", moved("kubo", "talkoo", size, runs), kubo)
helia = moved("helia", "helia", 64)
ratio("helia <- talkoo, of helia <- helia", moved("talkoo", "helia", 64), helia)
ratio("talkoo <- helia, of helia <- helia", moved("helia", "talkoo", 64), helia)
one = distant(1, 1024, 25)
ratio("four peers, of one", distant(4, 1024, 25), one)
memory(10)
shutil.rmtree(root)
