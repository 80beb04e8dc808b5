"""Decisions of a handler as JSON, between a child process and the worker."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jobs.decisions import GiveUp, HandlerDecision, Park, TryLater

_LONGEST = 10_000
"""Largest number of characters of a text; the engine stores fewer."""


def decision_json(raised: HandlerDecision) -> dict[str, Any]:
    """Return a decision as the message of a child.

    >>> decision_of(decision_json(TryLater("busy", after=timedelta(seconds=3)))).after
    datetime.timedelta(seconds=3)
    """
    message = _message(raised, str(raised))
    if isinstance(raised, TryLater):
        after = None if raised.after is None else raised.after.total_seconds()
        flags = {"charged": raised.charged, "bounded": raised.bounded, "uncertain": raised.uncertain}
        message["arguments"] = {"after": after, **flags}
    elif isinstance(raised, Park):
        message["arguments"] = {"why": raised.why, "uncertain": raised.uncertain}
    return message


def error_json(raised: BaseException) -> dict[str, Any]:
    """Return any other error as the message of a child."""
    name = type(raised).__name__
    try:
        return _message(raised, f"{name}: {raised}")
    except Exception:  # noqa: BLE001  any: the class may come from any library
        return _message(raised, f"{name}: its message cannot be read")


def _message(raised: BaseException, text: str) -> dict[str, Any]:
    writable = text[:_LONGEST].encode("utf-8", "backslashreplace").decode()  # a lone surrogate is not UTF-8
    return {"raised": type(raised).__name__, "text": writable, "arguments": {}}


def decision_of(message: Mapping[str, Any]) -> HandlerDecision | None:
    """Return the decision in a child's message, or None if the message reports another error."""
    text, arguments = message["text"], dict(message["arguments"])
    match message["raised"]:
        case "GiveUp":
            return GiveUp(text)
        case "Park":
            return Park(text, **arguments)
        case "TryLater":
            after = arguments.pop("after")
            return TryLater(text, after=None if after is None else timedelta(seconds=after), **arguments)
    return None
