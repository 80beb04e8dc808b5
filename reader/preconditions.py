"""The conditions of a request on the document that it would get (RFC 9110, 13).

    If-Match               only `*` holds: ETags here are weak, and it compares strongly
    If-Unmodified-Since    holds when the data has not changed since; If-Match goes before it
    If-None-Match          names what the client holds already, compared weakly
    If-Modified-Since      the same by `Last-Modified`, exactly as it was sent; If-None-Match goes before it

Dates are in whole seconds, and data may change twice in one. So a document has a date only once its second is
over and the data is known to be true since; before that no `Last-Modified` is sent, and whoever sends that
second's date is sent the document. What is no date is passed over, and so are `Range` and `If-Range`: documents
go out whole.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from enum import Enum

from reader.freshness import matches
from reader.memo import memo
from reader.message import Request

CONDITIONS = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since")


class Condition(Enum):
    """What the conditions come to."""

    MET = "met"
    HELD = "held"
    FAILED = "failed"


def weigh(request: Request, etag: str, *, changed_s: int | None, dated: bool) -> Condition:
    """Whether the document is sent.

    Args:
        changed_s: the second in which the data last changed; None where that is not known.
        dated: whether that second is over, so that its date names this document and no other.
    """
    if expected := request.header("if-match"):
        if expected.strip() != "*":
            return Condition.FAILED
    elif _is_before(_date(request.values("if-unmodified-since")), changed_s):
        return Condition.FAILED
    if held := request.header("if-none-match"):
        return Condition.HELD if matches(held, etag) else Condition.MET
    is_held = dated and changed_s is not None and _date(request.values("if-modified-since")) == changed_s
    return Condition.HELD if is_held else Condition.MET


def _is_before(date: int | None, changed_s: int | None) -> bool:
    return date is not None and changed_s is not None and date < changed_s


def _date(values: list[str]) -> int | None:
    """The one date among a field's values, in seconds since 1970; None for none, several, or what is no date."""
    return _seconds(values[0]) if len(values) == 1 else None


@memo(1 << 20)
def _seconds(value: str) -> int | None:
    try:
        return int(parsedate_to_datetime(value.strip()).timestamp())
    except (ValueError, OverflowError):
        return None
