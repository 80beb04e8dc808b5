"""Lengths of time as text, read and written the same way everywhere: settings, report and account files, commands.

One length is a number and a unit, ``250ms``, ``90s``, ``10m``, ``1.5h`` or ``2d``; a space may be between them.
The unit is required, since ``5`` means seconds to one reader and minutes to the next. Settings also accept the
earlier forms: a bare number of seconds, and ISO 8601 (`settings.to_duration`). Each caller sets its own bounds.
Durations in replies of mail servers ("try again in 5 minutes") are parsed by `worker.mail.smtp.reply`.
"""

import re
from datetime import timedelta
from decimal import Decimal

FORM = "a number and a unit, like 250ms, 90s, 10m, 1.5h or 2d"
"""The allowed form, for messages."""
LONGEST = timedelta(days=999_999)
"""Longest duration that can be added to any instant used here."""

_DURATION = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)[ \t]{0,9}(ms|[smhd])", re.ASCII)
_MICROSECONDS = {"ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}


def read_duration(text: str) -> timedelta:
    """Read a length of time, exact to the microsecond.

    Raises:
        ValueError: the text is malformed, or longer than `LONGEST`; the message says what is allowed.

    >>> read_duration("1.5h"), read_duration("250 ms")
    (datetime.timedelta(seconds=5400), datetime.timedelta(microseconds=250000))
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a duration: write {FORM}")
    microseconds = round(Decimal(found[1]) * _MICROSECONDS[found[2]])
    if microseconds > LONGEST // timedelta(microseconds=1):
        raise ValueError(f"{text[:40]!r} is longer than {LONGEST.days}d")
    return timedelta(microseconds=microseconds)


def write_duration(length: timedelta) -> str:
    """Write a length of time in the largest unit that holds it without a fraction; below 1 ms it is rounded.

    >>> write_duration(timedelta(minutes=90)), write_duration(timedelta(milliseconds=250))
    ('90m', '250ms')
    """
    microseconds = length // timedelta(microseconds=1)
    for unit in ("d", "h", "m", "s"):
        size = _MICROSECONDS[unit]
        if microseconds >= size and not microseconds % size:
            return f"{microseconds // size}{unit}"
    return f"{microseconds / 1000:.0f}ms" if microseconds else "0s"
