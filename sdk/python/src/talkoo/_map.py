"""The same question to every row of a dataset: a batch on the node, cut into requests, its answers put together again."""

import csv
import json
import pathlib

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


class Map:
    """A map under way. It goes on without this program; `watch` waits for its end."""

    def __init__(self, batch, what, texts, out):
        self.batch, self._what, self._texts, self._out = batch, what, texts, out
        self._results = None

    def watch(self, timeout=24 * 3600, show=None):
        """Waits for its end, and writes the file that `out` named."""
        self.batch.watch(timeout, show)
        if self._out:
            self.write(self._out)
        return self

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
        """What it cost, in tokens of money, as a text."""
        from decimal import Decimal

        return str(sum((Decimal(facts.get("price") or "0") for facts in self._facts()), Decimal(0)))

    @property
    def verified(self):
        """The share of the answers that somebody re-ran before they were accepted, from 0 to 1."""
        said = [bool(facts.get("audited")) for facts in self._facts()]
        return sum(said) / len(said) if said else 0.0

    def rows(self):
        """One answer for each text, in their order: vectors, or texts."""
        if self._what == "embed":
            return [one["embedding"] for result in self._read() for one in result.body["data"]]
        return [result.text for result in self._read()]

    def write(self, path):
        """Writes `{text, embedding}` or `{text, answer}` of each row: as .jsonl, or as .parquet if pyarrow is here."""
        path, name = pathlib.Path(path), "embedding" if self._what == "embed" else "answer"
        rows = [{"text": text, name: answer} for text, answer in zip(self._texts, self.rows())]
        if path.suffix.lower() == ".parquet":
            arrow = _arrow()
            import pyarrow

            arrow.write_table(pyarrow.Table.from_pylist(rows), path)
        elif path.suffix.lower() == ".jsonl":
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            raise Error("malformed", f"{path.name} is of no kind that is written", "name it .jsonl or .parquet")
        return path
