"""Conditions of a request on the document that it would get (RFC 9110, 13).

    If-Match               only `*` holds: ETags here are weak, and it compares strongly
    If-Unmodified-Since    holds if the data has not changed since; ignored with If-Match
    If-None-Match          names the documents that the client has, compared weakly
    If-Modified-Since      the same by `Last-Modified`, exactly as it was sent; ignored with If-None-Match

Dates are whole seconds, and data may change twice in one second. So a document has a date only after its second
has passed and the data was known to be true later. Before that the response has no `Last-Modified`, and a request
with the date of that second gets the document. A value that is not a date is ignored, and so are `Range` and
`If-Range`: documents are sent whole.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from enum import Enum

from reader.freshness import etag_matches
from reader.memo import memo
from reader.message import Fields

CONDITIONS = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since")


class Condition(Enum):
    """Result of the conditions."""

    MET = "met"
    HELD = "held"
    FAILED = "failed"


def weigh_conditions(fields: Fields, etag: str, *, changed_s: int | None, dated: bool) -> Condition:
    """Return the result of a request's conditions on a document.

    Args:
        changed_s: the second in which the data last changed; None if that is not known.
        dated: True if that second has passed, so that its date identifies this document.
    """
    if expected := fields.get_joined("if-match"):
        if expected.strip() != "*":
            return Condition.FAILED
    elif _is_before(_date(fields.get_all("if-unmodified-since")), changed_s):
        return Condition.FAILED
    if held := fields.get_joined("if-none-match"):
        return Condition.HELD if etag_matches(held, etag) else Condition.MET
    is_held = dated and changed_s is not None and _date(fields.get_all("if-modified-since")) == changed_s
    return Condition.HELD if is_held else Condition.MET


def _is_before(date: int | None, changed_s: int | None) -> bool:
    return date is not None and changed_s is not None and date < changed_s


def _date(values: list[str]) -> int | None:
    """Return the date of a field in seconds since 1970; None if it does not have exactly one date."""
    return _seconds(values[0]) if len(values) == 1 else None


@memo(1 << 20)
def _seconds(value: str) -> int | None:
    try:
        return int(parsedate_to_datetime(value.strip()).timestamp())
    except (ValueError, OverflowError):
        return None
