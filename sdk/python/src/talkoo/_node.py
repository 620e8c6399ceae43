"""A node: found on this machine, or started."""

import json
import os
import pathlib
import shutil
import subprocess
import sysconfig
import time
import urllib.parse
import uuid

from ._answer import Answer, Kept, Stream
from ._batch import Batch
from ._data import Data
from ._http import Error, Http
from ._map import SHARD, Map, amount_of, bodies_of, texts_of

#: How long a node may take to start, in seconds.
START_S = 60


def data_dir():
    """Where the node's folder is unless told otherwise, as the program has it."""
    given = os.environ.get("TALKOO_DATA_DIR")
    share = os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local" / "share"
    return pathlib.Path(given) if given else pathlib.Path(share) / "talkoo"


def program():
    """The node's program: $TALKOO, that of this package, or that of the PATH."""
    beside = pathlib.Path(sysconfig.get_path("scripts")) / ("talkoo.exe" if os.name == "nt" else "talkoo")
    found = os.environ.get("TALKOO") or (str(beside) if beside.exists() else shutil.which("talkoo"))
    if not found:
        raise Error("not_found", "the program `talkoo` is not here", "pip install talkoo, or set TALKOO to its path")
    return found


def connect(folder=None, start=True, flags=()):
    """This machine's node, by its data folder. If none runs and `start` is not false, one is started with these flags of `talkoo up`;
    it goes on when this program ends (`talkoo down`)."""
    folder = pathlib.Path(folder) if folder else data_dir()
    node = _running(folder)
    if node:
        return node
    if not start:
        raise Error("disconnected", f"no node runs with the folder {folder}", "start one with `talkoo up`")
    folder.mkdir(parents=True, exist_ok=True)
    command = [program(), "--data-dir", str(folder), "up", *flags]
    with open(folder / "up.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        node = _running(folder)
        if node:
            return node
        if process.poll() is not None:
            break
        time.sleep(0.05)
    last = (folder / "up.log").read_text(errors="replace").strip().splitlines()[-1:]
    raise Error("silent", f"the node did not start: {' '.join(last) or 'it said nothing'}", f"see {folder / 'up.log'}")


def _running(folder):
    try:
        address = (folder / "api.addr").read_text().strip()
        token = (folder / "api.token").read_text().strip()
        node = Node(address, token, folder)
        node.status()
        return node
    except (OSError, Error):
        return None


class Node:
    """A running node. Its whole native API is at `get` and `post`; what follows are its verbs."""

    def __init__(self, address, token, folder=None):
        self.address, self.folder = address, folder
        self._http = Http(address, token)

    def get(self, path):
        """GET /api/v1/…"""
        return self._http.json("GET", f"/api/v1{path}")

    def post(self, path, body=None):
        """POST /api/v1/…"""
        return self._http.json("POST", f"/api/v1{path}", body or {})

    def events(self, timeout=60):
        """The node's events as they happen; cut off, they go on where they were."""
        return self._http.follow("/api/v1/events", timeout=timeout)

    def status(self):
        """How it is."""
        return self.get("/status")

    def models(self):
        """What can be asked here."""
        return self._http.json("GET", "/v1/models")["data"]

    def pull(self, name, timeout=3600, on_progress=None):
        """Gets a model, unless it is here. `on_progress` hears (bytes, total, from whom)."""
        events = self.events()
        waiting = iter(events)
        try:
            if not self.post("/models", {"name": name})["started"]:
                return
            end = time.monotonic() + timeout
            for event in waiting:
                kind = event.get("type")
                if kind == "model.pulling" and on_progress:
                    on_progress(event["bytes"], event["total"], event["from"])
                if kind == "model.pulled":
                    return
                if kind == "model.failed":
                    raise Error(event.get("code", "other"), event["message"], event.get("hint", ""))
                if time.monotonic() > end:
                    break
            raise Error("silent", f"{name} did not come in {timeout} s", "it goes on; `talkoo ls`")
        finally:
            events.close()

    def _body(self, prompt, model, more):
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return {"model": model, "messages": messages, **more}

    def chat(self, prompt, model="smollm2", **more):
        """The answer to a text or to messages. What else OpenAI's chat completions take goes along, `provider` too: docs/INFERENCE.md."""
        whole = self._http.json("POST", "/v1/chat/completions", self._body(prompt, model, more), timeout=600)
        choice = whole["choices"][0]
        return Answer(choice["message"]["content"] or "", choice["finish_reason"], whole.get("talkoo"), whole.get("usage"))

    def stream(self, prompt, model="smollm2", **more):
        """The same as it comes."""
        body = self._body(prompt, model, {**more, "stream": True, "stream_options": {"include_usage": True}})
        return Stream(self._http.events("POST", "/v1/chat/completions", body, timeout=600))

    def embed(self, texts, model="all-minilm-l6-v2"):
        """A vector for each text."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        made = self._http.json("POST", "/v1/embeddings", {"model": model, "input": texts}, timeout=600)
        return [one["embedding"] for one in made["data"]]

    def batch(self, bodies, model=None, endpoint="/v1/chat/completions"):
        """Begins a batch of bodies; `model` is that of those that name none."""
        lines = []
        for number, body in enumerate(bodies):
            body = {**({"model": model} if model else {}), **body}
            lines.append(json.dumps({"custom_id": str(number), "method": "POST", "url": endpoint, "body": body}))
        file = self._upload("\n".join(lines).encode(), "batch")
        ask = {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h"}
        return Batch(self._http, self._http.json("POST", "/v1/batches", ask))

    def map(self, what, source, column=None, model=None, shard=SHARD, redundancy=0, budget=None, out=None, **more):
        """Begins to "embed" or "chat" every text of a list or a file (.txt, .jsonl, .csv, .parquet).

        What else is given goes into each request: with `provider` (or a `budget`, or `redundancy`) the network answers, else this machine. `shard`: texts of one
        request for vectors. `budget`: tokens of money that it may cost, with what `redundancy` has made again; at its end the rest is refused (`insufficient_funds`). `redundancy`: the share, from 0
        to 1, that `watch` has made again by others and compares to the last bit, besides what the market re-runs. `out`: a file to write."""
        if isinstance(out, (str, pathlib.Path)) and pathlib.Path(out).suffix.lower() not in (".jsonl", ".parquet"):
            raise Error("malformed", f"{out} is of no kind that is written", "name it .jsonl or .parquet")
        texts = texts_of(source, column)
        if not texts:
            raise Error("malformed", "there is no text", "give at least one")
        if not 0 <= redundancy <= 1:
            raise Error("malformed", f"a redundancy of {redundancy} is no share", "give a number from 0 to 1")
        if redundancy or budget is not None:
            more = {"provider": {"sort": "price", "verify": "spot"}, **more}
        endpoint, bodies = bodies_of(what, texts, model, shard, more)
        node, key = self, None
        if budget is not None:
            # A batch takes a day at most.
            made = self.post("/keys", {"name": f"map {uuid.uuid4().hex[:8]}", "budget": amount_of(budget), "days": 2})
            node, key = Node(self._http.address, made["key"]), made["id"]
        batch = Batch(self._http, node.batch(bodies, endpoint=endpoint)._state)
        return Map(node, batch, what, texts, bodies, out, redundancy, key)

    @property
    def data(self):
        """Sealed data: `publish`, `show`, `buy`, `list`."""
        return Data(self)

    def batches(self):
        """Those that are known, the newest first."""
        return [Batch(self._http, state) for state in self._http.json("GET", "/v1/batches")["data"]]

    def _upload(self, content, purpose):
        mark = uuid.uuid4().hex
        part = f'--{mark}\r\nContent-Disposition: form-data; name="{{}}"{{}}\r\n\r\n'
        head = part.format("purpose", "") + purpose + "\r\n" + part.format("file", '; filename="lines.jsonl"')
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        response = self._http.open("POST", "/v1/files", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
        try:
            return json.loads(response.read())
        finally:
            response.connection.close()

    def provide(self, on=True, price=None, **limits):
        """Offers this machine's compute to the network, or stops. `price`: tokens of money for a million output tokens, or (least, most).

        Limits, all of them at once: `hours` ("22:00-7:30", or a list of such), `idle_only` (percent of the processor that others may use; True is 20), `mains_only`,
        `celsius_max`, `reclaim_s`. Without any, those of before stay; `provide(hours=[])` ends them. `gpu` and `vram` are refused: what is sold is
        computed on processors, bit for bit the same everywhere.
        """
        for word in ("gpu", "vram"):
            if word in limits:
                raise Error("unsupported", f"`{word}` cannot be offered: the exact tier runs on processors only",
                            "leave it out; a graphics card can serve the float tier through a server of its own: `talkoo up --engine`")
        body = {"on": on}
        if price is not None:
            body["price"] = list(price) if isinstance(price, (list, tuple)) else [price]
        if limits:
            unknown = set(limits) - {"hours", "idle_only", "mains_only", "celsius_max", "reclaim_s"}
            if unknown:
                raise TypeError(f"provide() has no limit {sorted(unknown)[0]!r}")
            if isinstance(limits.get("hours"), str):
                limits["hours"] = [limits["hours"]]
            if isinstance(limits.get("idle_only"), bool):
                limits["idle_only"] = 20 if limits["idle_only"] else None
            body["limits"] = limits
        return self.post("/provide", body)

    def why_idle(self):
        """What keeps work away: reasons, each with its fix."""
        return [f"{one['message']}: {one['hint']}" for one in self.get("/provide")["reasons"]]

    def earnings(self, days=7):
        """What came in on each of the last days, in tokens of money as texts: `days` (rows of `date`, `inference`, `x402`, `storage`, `data`, `total`, the
        oldest first, in UTC), their `sum`, and `since` when it is counted."""
        return self.get(f"/earnings?days={days}")

    @property
    def earned(self):
        """What this machine earned so far, in tokens of money, as a text."""
        return self.status()["earned"]

    def key(self, name="", budget=None, days=None):
        """A key for programs that ask this node."""
        return self.post("/keys", {"name": name, "budget": budget, "days": days})["key"]

    def openai(self, **options):
        """A plain openai.OpenAI that asks this node. `talkoo.receipt` reads its streams, too."""
        try:
            import openai
        except ImportError as why:
            raise Error("not_found", "the package openai is not here", "pip install talkoo[openai]") from why
        client = openai.OpenAI(base_url=f"http://{self.address}/v1", api_key=self._http.token, **options)
        completions = client.chat.completions
        create = completions.create
        # A stream says at its end who answered: it has to be kept for whoever asks afterwards.
        completions.create = lambda *args, **more: Kept(create(*args, **more)) if more.get("stream") else create(*args, **more)
        return client

    def link(self):
        """The dashboard, with the token that it needs."""
        return f"http://{self.address}/#token={urllib.parse.quote(self._http.token)}"

    def down(self):
        """Stops it."""
        self.post("/stop")

    def __repr__(self):
        return f"<talkoo.Node at {self.address}>"
