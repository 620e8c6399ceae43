"""The same question to every row of a dataset: a batch on the node, cut into requests, its answers put together again."""

import csv
import json
import math
import pathlib
import random
from decimal import Decimal, InvalidOperation

from ._http import Error

#: Texts of one request for vectors, unless told otherwise.
SHARD = 256


def texts_of(source, column=None):
    """The texts of a list, or of a file: .txt (a line each), .jsonl and .csv (a column), .parquet (if pyarrow is here)."""
    if not isinstance(source, (str, pathlib.Path)):
        return [str(one) for one in source]
    path = pathlib.Path(source)
    kind = path.suffix.lower()
    if kind == ".txt":
        return path.read_text(encoding="utf-8").splitlines()
    if column is None:
        raise Error("malformed", f"which column of {path.name}?", 'say it, as in column="text"')
    if kind == ".jsonl":
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
    elif kind == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    elif kind == ".parquet":
        rows = _arrow().read_table(path, columns=[column]).to_pylist()
    else:
        raise Error("malformed", f"{path.name} is of no kind that is read", "give .txt, .jsonl, .csv, .parquet, or a list of texts")
    missing = next((number for number, row in enumerate(rows) if not isinstance(row.get(column), str)), None)
    if missing is not None:
        raise Error("malformed", f"row {missing} of {path.name} has no text in column {column!r}", f"it has {', '.join(map(str, rows[missing]))}")
    return [row[column] for row in rows]


def _arrow():
    try:
        import pyarrow.parquet
    except ImportError as why:
        raise Error("not_found", "the package pyarrow is not here", "pip install pyarrow, or use .jsonl") from why
    return pyarrow.parquet


def bodies_of(what, texts, model, shard, more):
    """The requests, and their endpoint."""
    if what == "embed":
        some = [texts[at : at + shard] for at in range(0, len(texts), shard)]
        return "/v1/embeddings", [{"model": model or "all-minilm-l6-v2", "input": one, **more} for one in some]
    if what == "chat":
        ask = [{"model": model or "smollm2", "messages": [{"role": "user", "content": text}], **more} for text in texts]
        return "/v1/chat/completions", ask
    raise Error("malformed", f"there is no map {what!r}", 'there are "embed" and "chat"')


def amount_of(budget):
    """Tokens of money as the node reads them: of 1.5, "1.50", "1.50 TLK"."""
    try:
        amount = Decimal(str(budget).removesuffix("TLK").strip())
        if amount.is_finite() and amount >= 0:
            return float(amount)
    except InvalidOperation:
        pass
    raise Error("malformed", f"{budget!r} is no amount", 'give tokens of money, as in budget="1.50 TLK"')


class Rows(list):
    """One row `{text, embedding}` or `{text, answer}` for each text."""

    def to_pandas(self):
        """A DataFrame, if pandas is here."""
        try:
            import pandas
        except ImportError as why:
            raise Error("not_found", "the package pandas is not here", "pip install pandas") from why
        return pandas.DataFrame(list(self))


class Map:
    """A map under way. It goes on without this program; `watch` waits for its end, and makes a share of it again (`redundancy`)."""

    def __init__(self, node, batch, what, texts, bodies, out=None, redundancy=0, key=None):
        """`key`: the id of the key with its budget, with which `node` then asks, and which goes at the end."""
        self.batch, self._what, self._texts, self._out = batch, what, texts, out
        self._node, self._bodies, self._redundancy, self._key = node, bodies, redundancy, key
        self._results, self._left, self._again, self._more = None, None, set(), Decimal(0)

    def watch(self, timeout=24 * 3600, show=None):
        """Waits for its end, makes again what `redundancy` says, and writes the file that `out` named. Called once more, it goes on."""
        self.batch.watch(timeout, show)
        try:
            self._make_again()
        finally:
            # What is still to be made again needs it.
            if self._key and not self._left:
                self.batch._http.open("DELETE", f"/api/v1/keys/{self._key}").connection.close()
                self._key = None
        if self._out:
            self.write(self._out)
        return self

    def _make_again(self):
        """Has a random share of the texts answered by others than those who did, or here if there are none, and compares to the last bit."""
        if not self._redundancy:
            return
        results = self._read()
        if self._left is None:
            count = math.ceil(self._redundancy * len(self._texts))
            self._left = random.SystemRandom().sample(range(len(self._texts)), count)
        while self._left:
            # One that fails, or is found false, is left for whoever watches again.
            at = self._left[-1]
            line, place = divmod(at, self._shard)
            first, body = results[line].body, self._bodies[line]
            facts = first["talkoo"][0] if isinstance(first["talkoo"], list) else first["talkoo"]
            if self._what == "embed":
                path, body, was = "/v1/embeddings", {**body, "input": [body["input"][place]]}, first["data"][place]["embedding"]
                maker = facts["by"][place] if "by" in facts else None
            else:
                path, body, was = "/v1/chat/completions", {**body, "seed": facts["seed"]}, first["choices"][0]["message"]["content"]
                maker = facts["nodes"][0].get("address")
            second = self._ask_others(path, body, maker)
            self._more += Decimal((second["talkoo"][0] if isinstance(second["talkoo"], list) else second["talkoo"]).get("price") or "0")
            now = second["data"][0]["embedding"] if self._what == "embed" else second["choices"][0]["message"]["content"]
            if now != was:
                raise Error("answer_refuted", f"text {at} was answered differently when it was made again",
                            f"one of two nodes lied; the first is {maker}; leave it out: provider={{'ignore': [...]}}")
            self._again.add(self._left.pop())

    def _ask_others(self, path, body, maker):
        """Asks anybody but the maker; this machine, if nobody else is there."""
        wishes = body.get("provider")
        if wishes and maker:
            others = {**wishes, "ignore": [*wishes.get("ignore", []), maker]}
            try:
                return self._node._http.json("POST", path, {**body, "provider": others}, timeout=600)
            except Error as why:
                if why.code not in ("not_wanted", "silent"):
                    raise
        return self._node._http.json("POST", path, {name: value for name, value in body.items() if name not in ("provider", "service_tier")}, timeout=600)

    @property
    def _shard(self):
        return len(self._bodies[0]["input"]) if self._what == "embed" else 1

    def _read(self):
        if self._results is None:
            self._results = self.batch.results()
        wrong = next((one for one in self._results if one.error), None)
        if wrong:
            raise wrong.error
        return self._results

    def _facts(self):
        for result in self._read():
            facts = result.body.get("talkoo") or {}
            yield from facts if isinstance(facts, list) else [facts]

    @property
    def nodes(self):
        """How many nodes answered."""
        return len({node["node"] for facts in self._facts() for node in facts.get("nodes", [])})

    @property
    def cost(self):
        """What it cost, with what was made again, in tokens of money, as a text."""
        return str(sum((Decimal(facts.get("price") or "0") for facts in self._facts()), self._more))

    @property
    def verified(self):
        """The share of the answers, from 0 to 1, that were made twice: re-run before they were accepted, or by `redundancy`."""
        twice = set(self._again)
        for line, result in enumerate(self._read()):
            facts = result.body.get("talkoo") or {}
            if self._what == "embed":
                twice.update(line * self._shard + place for place in facts.get("audited", []))
            elif all(one.get("audited") for one in (facts if isinstance(facts, list) else [facts])):
                twice.add(line)
        return len(twice) / len(self._texts)

    def rows(self):
        """One answer for each text, in their order: vectors, or texts."""
        if self._what == "embed":
            return [one["embedding"] for result in self._read() for one in result.body["data"]]
        return [result.text for result in self._read()]

    def result(self):
        """The rows with their texts; `.to_pandas()` makes a DataFrame of them."""
        name = "embedding" if self._what == "embed" else "answer"
        return Rows({"text": text, name: answer} for text, answer in zip(self._texts, self.rows()))

    def write(self, path):
        """Writes the rows: as .jsonl, or as .parquet if pyarrow is here."""
        path, rows = pathlib.Path(path), self.result()
        if path.suffix.lower() == ".parquet":
            arrow = _arrow()
            import pyarrow

            arrow.write_table(pyarrow.Table.from_pylist(list(rows)), path)
        elif path.suffix.lower() == ".jsonl":
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            raise Error("malformed", f"{path.name} is of no kind that is written", "name it .jsonl or .parquet")
        return path
