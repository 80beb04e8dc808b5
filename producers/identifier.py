"""Job ids: a ULID (https://github.com/ulid/spec) in lower case behind the lane group's hash tag.

They sort by the time at which they were made, also within one millisecond of one process, so that jobs
of the same due time run in the order in which they were sent. A step within a millisecond is a random one (RFC
9562, 6.2, method 2; the ULID specification counts by one), because processes that were forked from one, or whose
clock was set back, must not count the same. An id is written down at least twice for each waiting job: 26
characters for its 128 bits take less of Redis's memory than the 36 of a UUID.
"""

import os
import threading
import time

_STEP = (1 << 40) - 1
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: it sorts as ASCII does, and leaves out what people misread."""
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_SHIFTS = tuple(range(120, -1, -10))


class Identifiers:
    """Makes ids that only ever grow within this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self, group: str) -> str:
        """A new id, for example ``{mail}01kasq7w3fxr5v0c2h9m4t8zbe`` for the group ``mail``."""
        value = self._next()
        return f"{{{group}}}{''.join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])}"

    def _next(self) -> int:
        """48 bits of milliseconds, 80 of chance; a step up if that would not be more than the last."""
        value = ((time.time_ns() // 1_000_000) << 80) | int.from_bytes(os.urandom(10))
        with self._lock:
            if value <= self._last:
                value = self._last + 1 + (value & _STEP)
            self._last = value
        return value
