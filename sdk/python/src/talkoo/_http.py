"""HTTP on loopback: one connection for each request, JSON in and out."""

import http.client
import json
import socket
import time


class Error(Exception):
    """What the node says no to: `code`, `message`, `hint`, and the HTTP `status`, 0 if there was no answer."""

    def __init__(self, code, message, hint="", status=0, param=None):
        super().__init__(f"{message}; {hint}" if hint else message)
        self.code, self.message, self.hint, self.status, self.param = code, message, hint, status, param


class Http:
    """A node's API at `HOST:PORT`, with its token."""

    def __init__(self, address, token):
        self.address, self.token = address, token

    def open(self, method, path, body=None, headers=None, timeout=120):
        """Asks, and answers with the response. `timeout` is of each read, in seconds."""
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        headers = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as why:
            connection.close()
            late = isinstance(why, (socket.timeout, TimeoutError))
            what = f"the node at {self.address} gave no answer to {method} {path} in {timeout} s" if late else (
                f"the node at {self.address} does not answer ({why})")
            raise Error("silent", what, "is it up? `talkoo status`") from why
        # The response holds the connection until it is read or closed.
        response.connection = connection
        if response.status >= 400:
            text = response.read()
            connection.close()
            raise error_of(response.status, text)
        return response

    def json(self, method, path, body=None, timeout=120):
        """Asks, and answers with the JSON."""
        with_connection = self.open(method, path, body, timeout=timeout)
        try:
            return json.loads(with_connection.read())
        finally:
            with_connection.connection.close()

    def events(self, method, path, body=None, timeout=120):
        """The JSON of each `data:` line, as it comes."""
        response = self.open(method, path, body, timeout=timeout)
        try:
            for line in response:
                if line.startswith(b"data: ") and line[6:].strip() != b"[DONE]":
                    event = json.loads(line[6:])
                    if isinstance(event, dict) and "error" in event and "choices" not in event:
                        raise error_of(200, line[6:])
                    yield event
        finally:
            # Who stops reading ends the work.
            response.connection.close()

    def follow(self, path, timeout=60, patience=5):
        """The JSON of each event of a stream that can be resumed. Cut off, it goes on where it was, if the node answers within
        `patience` seconds; the node says `lagged` or `reset` if something is lost."""
        last, silent_since = None, None
        while True:
            try:
                response = self.open("GET", path, headers={"Last-Event-ID": last} if last else None, timeout=timeout)
            except Error as why:
                silent_since = silent_since or time.monotonic()
                if why.code != "silent" or last is None or time.monotonic() - silent_since > patience:
                    raise
                time.sleep(0.25)
                continue
            silent_since, coming = None, None
            try:
                for line in response:
                    if line.startswith(b"id: "):
                        coming = line[4:].strip().decode()
                    elif line.startswith(b"data: ") and line.endswith(b"\n"):
                        last = coming or last
                        yield json.loads(line[6:])
                    elif line == b"\n":
                        last = coming or last
            except (OSError, http.client.HTTPException):
                pass
            finally:
                # Who stops reading ends the work.
                response.connection.close()


def error_of(status, text):
    """The error in an answer."""
    try:
        said = json.loads(text)
        # The native API tells problems (RFC 9457), the protocols of inference have an object of their own.
        said = said["error"] if "error" in said else {**said, "message": said["detail"]}
        message, _, hint = said["message"].partition("; ")
        return Error(said.get("code") or "other", message, said.get("hint") or hint, status, said.get("param"))
    except (ValueError, KeyError, TypeError):
        return Error("other", f"the node answers with status {status}: {text[:200]!r}", "", status)
