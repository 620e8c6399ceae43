"""Sealed data: published, sold, bought. Money is exact: an amount is a text such as "2.50", never a float."""

import decimal
import pathlib
import time

from ._http import Error

#: How long a purchase waits for its key, in seconds, unless told otherwise.
KEY_S = 300


def micro(amount):
    """An amount in tokens of money as micro-units, exactly: "2.50" and "2.50 TLK" are "2500000"."""
    text = str(amount).removesuffix("TLK").strip()
    try:
        units = decimal.Decimal(text) * 1_000_000
    except decimal.InvalidOperation:
        units = None
    if isinstance(amount, float) or units is None or not units.is_finite() or units < 0 or units != units.to_integral_value():
        raise Error("malformed", f"{amount!r} is no amount", 'a text with at most 6 digits behind the point, as "2.50"')
    return str(int(units))


#: How often requests are looked for, in seconds.
LOOK_S = 1


class Price:
    """What access costs, for `access` of `publish`: one of each kind at most, both of them offered at once."""

    def __init__(self, kind, amount):
        self.kind, self.micro = kind, micro(amount)

    @classmethod
    def download(cls, amount):
        """For access as often as wanted, or as often as `uses` says."""
        return cls("price", amount)

    @classmethod
    def per_query(cls, amount):
        """For one query: a grant of a single use, which is one opening. The contract counts it; whose program is another one can keep
        what it opened."""
        return cls("per_query", amount)

    def __repr__(self):
        return f"<talkoo.Price {self.kind} of {self.micro} micro-units>"


class Request:
    """A paid grant that waits for its owner's word: `id`, `buyer` (an address), `node` that asked, `purpose` of the offer (the first of those it
    was published with: no word of the buyer's), `price` in micro-units, `uses` (0: any number)."""

    def __init__(self, node, row):
        self._node = node
        self.id, self.buyer, self.node, self.purpose = row["grant"], row["grantee"], row["node"], row["purpose"]
        self.price, self.uses = int(row["price"]), row["uses_most"]

    def approve(self):
        """Delivers the key. That is final."""
        return self._node.post("/data-approve", {"grant": self.id})

    def refuse(self, why=""):
        """Delivers nothing; the buyer's node is told why, and gets the price back from the contract once the time to deliver is over."""
        return self._node.post("/data-refuse", {"grant": self.id, "why": why})

    def ask(self):
        """Leaves it to the owner: it goes on waiting for `talkoo data approve`, or the dashboard."""

    def __repr__(self):
        return f"<talkoo.Request of grant {self.id} by {self.buyer}>"


class Published:
    """Data of ours that others can find. `cid` is that of its public description, `asset` its number, by which others buy it."""

    def __init__(self, node, said):
        self._node = node
        self.asset, self.version, self.cid = said["asset"], said["version"], said["public"]["cid"]

    def requests(self):
        """Who bought it, and how each grant stands."""
        return [one for one in self._node.get("/data-requests")["grants"] if _same(one["version"], self.version)]

    def revoke(self, grant):
        """Ends a grant. What its holder has read it may have kept."""
        return self._node.post("/data-revoke", {"grant": grant})

    def on_request(self, decide, timeout=None, most=None):
        """From now on each paid grant waits for a word. Calls `decide` with each `Request` that waits, once, until `timeout` seconds are over or
        it saw `most` of them; the number it saw. Whoever is not answered goes on waiting, for the next call or for the owner. What was
        delivered before stays so: to miss none, `publish(on_request=True)`."""
        self._node.post("/data-on-request", {"id": self.version})
        end = None if timeout is None else time.monotonic() + timeout
        seen, count = set(), 0
        while most is None or count < most:
            waits = [one for one in self.requests() if one["answer"] == "waits"]
            # What does not wait any more needs no memory.
            seen &= {one["grant"] for one in waits}
            for row in waits:
                if row["grant"] not in seen and (most is None or count < most):
                    seen.add(row["grant"])
                    count += 1
                    decide(Request(self._node, row))
            if end is not None and time.monotonic() > end:
                break
            if most is None or count < most:
                time.sleep(LOOK_S)
        return count

    def price(self, amount, **terms):
        """Asks another price: the offers before are closed."""
        return self._node.post("/data-price", {"id": self.version, "price": micro(amount), **terms})

    def income(self):
        """Takes what it earned."""
        return self._node.post("/data-collect", {"id": self.version})


def _same(one, other):
    return one.removeprefix("0x") == other.removeprefix("0x")


class Bought:
    """Data that was bought, its key here."""

    def __init__(self, node, grant, version):
        self._node, self.grant, self.version = node, grant, version

    def write(self, path):
        """Writes it to the disk, where nothing may be yet; counts as one use."""
        return self._node.post("/data-get", {"id": f"#{self.grant}", "path": str(pathlib.Path(path).absolute())})


class Data:
    """`node.data`."""

    def __init__(self, node):
        self._node = node

    def publish(self, path, name="", price=None, title="", description="", license="", purposes=(), compute=(), access=(), **terms):
        """Seals a file or folder, tells the network of it, and sells access for `price`, or for the prices of `access` (a list of `Price`), if
        there is one. What becomes public stays public: see it first with `preview`. `terms`: `on_request`, `access_s`, `deliver_s`, `uses`,
        and what docs/DATA.md has besides."""
        sealed = self._node.post("/data", {"path": str(pathlib.Path(path).absolute())})
        said = self._node.post("/data-publish", self._terms(sealed["id"], name, price, title, description, license, purposes, compute, access, terms))
        return Published(self._node, said)

    def preview(self, path, name="", price=None, title="", description="", license="", purposes=(), compute=(), access=(), **terms):
        """What `publish` would make public. The data is sealed here, and nobody told."""
        sealed = self._node.post("/data", {"path": str(pathlib.Path(path).absolute())})
        body = self._terms(sealed["id"], name, price, title, description, license, purposes, compute, access, terms)
        return self._node.post("/data-publish", {**body, "dry": True})["public"]

    @staticmethod
    def _terms(sealed, name, price, title, description, license, purposes, compute, access, terms):
        body = {"id": sealed, "name": name, "title": title, "description": description, "licence": license}
        body.update({"purposes": list(purposes), "compute": list(compute), **terms})
        prices = [*([] if price is None else [Price.download(price)]), *access]
        if len({one.kind for one in prices}) < len(prices):
            raise Error("malformed", "two prices of one kind", "one Price.download and one Price.per_query at most")
        return {**body, **{one.kind: one.micro for one in prices}}

    def show(self, id):
        """What an owner says of a version, and its offers. An id is OWNER/NAME, the number of an asset, or a CID."""
        return self._node.post("/data-show", {"id": str(id)})

    def buy(self, id, timeout=KEY_S, per_query=False):
        """Pays, for one use with `per_query`, and waits until the key and the data are here. If the owner delivers no key in time, the price comes back."""
        events = self._node.events()
        waiting = iter(events)
        try:
            paid = self._node.post("/data-buy", {"id": str(id), "per_query": per_query})
            end = time.monotonic() + timeout
            for event in waiting:
                if event.get("grant") == paid["grant"] and event["type"] == "data.here":
                    return Bought(self._node, paid["grant"], paid["version"])
                if event.get("grant") == paid["grant"] and event["type"] == "data.over":
                    raise Error("silent", event["why"], "if the price came back, buy it again when its owner is there")
                if time.monotonic() > end:
                    break
            raise Error("silent", f"grant {paid['grant']} has no key after {timeout} s", "it goes on: `talkoo data ls`")
        finally:
            events.close()

    def list(self):
        """Ours, and what was bought."""
        return self._node.get("/data")
