"""HTTP on loopback: one connection for each request, JSON in and out."""

import http.client
import json
import socket


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


def error_of(status, text):
    """The error in an answer."""
    try:
        said = json.loads(text)["error"]
        message, _, hint = said["message"].partition("; ")
        return Error(said.get("code") or "other", message, said.get("hint") or hint, status, said.get("param"))
    except (ValueError, KeyError, TypeError):
        return Error("other", f"the node answers with status {status}: {text[:200]!r}", "", status)
