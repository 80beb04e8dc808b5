"""Job ids: a ULID (https://github.com/ulid/spec) in lower case behind the lane group's hash tag.

They sort by creation time, even within one millisecond of one process, so that jobs with the same due time run
in the order in which they were sent. The increment within a millisecond is random (RFC 9562, 6.2, method 2):
processes forked from one parent, or with a clock that was set back, must not produce the same sequence.
"""

import os
import re
import threading
import time

_STEP = (1 << 40) - 1
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: it sorts as ASCII does, and omits letters that are easily misread."""
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_JOB_ID = re.compile(r"\{[a-z][a-z0-9_]*\}.{1,255}\Z")
_SHIFTS = tuple(range(120, -1, -10))


def is_job_id(text: str) -> bool:
    """Return True for a text of the form of job ids.

    >>> is_job_id("{mail}01kasq7w3fxr5v0c2h9m4t8zbe"), is_job_id("01kasq7w3fxr5v0c2h9m4t8zbe")
    (True, False)
    """
    return _JOB_ID.match(text) is not None


def group_of_id(job_id: str) -> str:
    """Return the lane group in a job's id, or "".

    >>> group_of_id("{mail}1"), group_of_id("1")
    ('mail', '')
    """
    tag, closed, _ = job_id.partition("}")
    return tag[1:] if closed and tag.startswith("{") else ""


class Identifiers:
    """Generator of ids that increase within this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self, group: str) -> str:
        """Return a new id, for example ``{mail}01kasq7w3fxr5v0c2h9m4t8zbe`` for the group ``mail``."""
        value = self._next()
        return f"{{{group}}}{''.join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])}"

    def _next(self) -> int:
        """Return 48 bits of milliseconds and 80 random bits, or the last value plus a random step if larger."""
        value = ((time.time_ns() // 1_000_000) << 80) | int.from_bytes(os.urandom(10))
        with self._lock:
            if value <= self._last:
                value = self._last + 1 + (value & _STEP)
            self._last = value
        return value
