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

    def publish(self, path, name="", price=None, title="", description="", license="", purposes=(), compute=(), **terms):
        """Seals a file or folder, tells the network of it, and sells access for `price` if there is one. What becomes public stays
        public: see it first with `preview`. `terms`: `access_s`, `deliver_s`, `uses`, and what docs/DATA.md has besides."""
        sealed = self._node.post("/data", {"path": str(pathlib.Path(path).absolute())})
        said = self._node.post("/data-publish", self._terms(sealed["id"], name, price, title, description, license, purposes, compute, terms))
        return Published(self._node, said)

    def preview(self, path, name="", price=None, title="", description="", license="", purposes=(), compute=(), **terms):
        """What `publish` would make public. The data is sealed here, and nobody told."""
        sealed = self._node.post("/data", {"path": str(pathlib.Path(path).absolute())})
        body = self._terms(sealed["id"], name, price, title, description, license, purposes, compute, terms)
        return self._node.post("/data-publish", {**body, "dry": True})["public"]

    @staticmethod
    def _terms(sealed, name, price, title, description, license, purposes, compute, terms):
        body = {"id": sealed, "name": name, "title": title, "description": description, "licence": license}
        body.update({"purposes": list(purposes), "compute": list(compute), **terms})
        return body if price is None else {**body, "price": micro(price)}

    def show(self, id):
        """What an owner says of a version, and its offers. An id is OWNER/NAME, the number of an asset, or a CID."""
        return self._node.post("/data-show", {"id": str(id)})

    def buy(self, id, timeout=KEY_S):
        """Pays, and waits until the key and the data are here. If the owner delivers no key in time, the price comes back."""
        events = self._node.events()
        waiting = iter(events)
        try:
            paid = self._node.post("/data-buy", {"id": str(id)})
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
