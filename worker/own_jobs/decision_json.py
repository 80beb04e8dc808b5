"""Decisions of a handler as JSON, between a child process and the worker."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jobs.decisions import GiveUp, HandlerDecision, Park, TryLater


def decision_json(raised: HandlerDecision) -> dict[str, Any]:
    """Return a decision as the message of a child.

    >>> decision_of(decision_json(TryLater("busy", after=timedelta(seconds=3)))).after
    datetime.timedelta(seconds=3)
    """
    message: dict[str, Any] = {"raised": type(raised).__name__, "text": str(raised), "arguments": {}}
    if isinstance(raised, TryLater):
        after = None if raised.after is None else raised.after.total_seconds()
        flags = {"charged": raised.charged, "bounded": raised.bounded, "uncertain": raised.uncertain}
        message["arguments"] = {"after": after, **flags}
    elif isinstance(raised, Park):
        message["arguments"] = {"why": raised.why, "uncertain": raised.uncertain}
    return message


def decision_of(message: Mapping[str, Any]) -> HandlerDecision | None:
    """Return the decision of a child's message; None if it tells of another error."""
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
