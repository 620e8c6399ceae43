"""Answers, whole and as they come."""

import datetime


class Answer(str):
    """An answer's text. `facts` says who answered: model, tier, nodes, seed, price, receipt."""

    def __new__(cls, text, finish=None, facts=None, usage=None):
        answer = super().__new__(cls, text)
        answer.finish, answer.facts, answer.usage = finish, facts or {}, usage or {}
        return answer


class Stream:
    """An answer as it comes. Iterate over its pieces; `facts` and `text` are whole at its end. Closing it ends the work."""

    def __init__(self, events):
        self._events = events
        self.text, self.finish, self.facts, self.usage = "", None, {}, {}

    def __iter__(self):
        for event in self._events:
            self.facts = event.get("talkoo") or self.facts
            self.usage = event.get("usage") or self.usage
            for choice in event.get("choices", []):
                self.finish = choice.get("finish_reason") or self.finish
                piece = choice.get("delta", {}).get("content")
                if piece:
                    self.text += piece
                    yield piece

    def close(self):
        """Ends the work."""
        self._events.close()


class Kept:
    """A stream of the openai package that remembers who answered. Else it is that stream."""

    def __init__(self, stream):
        self._stream, self.facts = stream, None

    def __iter__(self):
        for chunk in self._stream:
            self.facts = (getattr(chunk, "model_extra", None) or {}).get("talkoo") or self.facts
            yield chunk

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()

    def __getattr__(self, name):
        return getattr(self._stream, name)


def _rerunnable(facts):
    until = facts.get("rerunnable_until")
    return f"re-runnable until {datetime.datetime.fromtimestamp(until, datetime.timezone.utc):%Y-%m-%d}" if until else "re-runnable"


def receipt(answer):
    """Who answered, for what, in a line: of an answer of ours, a stream at its end, or what the openai package answered."""
    facts = getattr(answer, "facts", None)
    if not facts:
        extra = getattr(answer, "model_extra", None) or {}
        facts = extra.get("talkoo") or (answer.get("talkoo") if isinstance(answer, dict) else None)
    if not facts:
        raise ValueError("this says nothing of its origin; read a stream to its end first")
    parts = []
    for one in facts if isinstance(facts, list) else [facts]:
        nodes = one.get("nodes", [])
        where = "here" if all(node.get("here") for node in nodes) else ", ".join(node["node"][:12] for node in nodes)
        price = "free" if one.get("price") == "0" else f"{one.get('price')} tokens"
        badge = "re-run matched" if one.get("audited") else _rerunnable(one) if one.get("tier") == "exact" else one.get("tier")
        parts.append(" · ".join([where, price, badge, f"seed {one.get('seed')}"] + ([one["receipt"]] if one.get("receipt") else [])))
    return "\n".join(parts)
