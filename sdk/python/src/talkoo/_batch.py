"""Many requests at once, answered here or by the network, each by itself."""

import json
import sys
import time

from ._answer import Answer
from ._http import Error

_OVER = ("completed", "failed", "expired", "cancelled")


class Result:
    """What came of one line: `text` or `error`."""

    def __init__(self, line):
        self.custom_id = line["custom_id"]
        self.status = line["response"]["status_code"]
        self.body = line["response"]["body"]
        choices = (self.body or {}).get("choices") or []
        self.text = None
        if self.status == 200 and choices:
            facts = self.body.get("talkoo")
            self.text = Answer(choices[0]["message"]["content"] or "", choices[0]["finish_reason"], facts, self.body.get("usage"))
        said = (self.body or {}).get("error") or {}
        self.error = None if self.status == 200 else Error(said.get("code") or "other", said.get("message") or "no answer", status=self.status)


class Batch:
    """A batch on the node. It goes on without this program; find it again with `Node.batches`."""

    def __init__(self, http, state):
        self._http, self._state = http, state

    @property
    def id(self):
        return self._state["id"]

    @property
    def status(self):
        return self._state["status"]

    @property
    def counts(self):
        """`total`, `completed`, `failed`."""
        return self._state["request_counts"]

    def refresh(self):
        self._state = self._http.json("GET", f"/v1/batches/{self.id}")
        return self

    def watch(self, timeout=24 * 3600, show=None):
        """Waits for its end, with a line on stderr if that is a terminal."""
        show = sys.stderr.isatty() if show is None else show
        end = time.monotonic() + timeout
        while self.refresh().status not in _OVER:
            if time.monotonic() > end:
                raise Error("silent", f"the batch {self.id} is {self.status} after {timeout} s", "it goes on; ask again")
            if show:
                done = self.counts["completed"] + self.counts["failed"]
                print(f"\r{self.id} {self.status}: {done} of {self.counts['total']}", end="", file=sys.stderr)
            time.sleep(0.2)
        if show:
            print(file=sys.stderr)
        if self.status == "failed":
            errors = self._state["errors"]["data"]
            raise Error(errors[0]["code"], f"line {errors[0]['line']}: {errors[0]['message']}", f"{len(errors)} lines are wrong")
        return self

    def results(self):
        """All results, in the order of the input."""
        found = []
        for file in (self._state["output_file_id"], self._state["error_file_id"]):
            if file:
                response = self._http.open("GET", f"/v1/files/{file}/content")
                try:
                    found += [Result(json.loads(line)) for line in response]
                finally:
                    response.connection.close()
        return sorted(found, key=lambda result: (len(result.custom_id), result.custom_id))

    def cancel(self):
        self._state = self._http.json("POST", f"/v1/batches/{self.id}/cancel", {})
        return self
