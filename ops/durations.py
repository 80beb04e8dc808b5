"""Durations: read as people type them, written as both languages do."""

import re
from datetime import timedelta

LONGEST = timedelta(days=366)

_DURATION = re.compile(r"(\d{1,9})(s|m|h|d)", re.ASCII)
_NAMES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_LONGEST_S = 1000 * 86_400


def duration(text: str) -> timedelta:
    """A length of time as people type it.

    Raises:
        ValueError: another form, nothing, or more than a year; the message says what is allowed.

    >>> duration("10m")
    datetime.timedelta(seconds=600)
    """
    found = _DURATION.fullmatch(text)
    length = timedelta(**{_NAMES[found[2]]: int(found[1])}) if found else timedelta(0)
    if not timedelta(0) < length <= LONGEST:
        raise ValueError(
            f"{text!r} is not a length of time: a whole number with s, m, h or d, such as 90s, 10m, 2h, 1d; "
            f"at most {LONGEST.days}d"
        )
    return length


def duration_text(seconds: float) -> str:
    """A duration in its two largest units, which both languages write alike.

    >>> duration_text(0.4), duration_text(200), duration_text(90_000)
    ('0 s', '3 min 20 s', '1 d 1 h')
    """
    if seconds >= _LONGEST_S:
        return "> 1000 d"
    rest = round(seconds)
    for place, (unit, size) in enumerate(_UNITS):
        if rest >= size:
            more = rest % size
            smaller, small = _UNITS[min(place + 1, len(_UNITS) - 1)]
            return f"{rest // size} {unit}" + (f" {more // small} {smaller}" if more >= small else "")
    return "0 s"
