"""Job ids: UUID version 7 (RFC 9562, 5.7) behind the lane group's hash tag.

They sort by the time at which they were made, also within one millisecond of one process, so that jobs
of the same due time run in the order in which they were sent. Each step is a random one (RFC 9562, 6.2,
method 2), because processes that were forked from one, or whose clock was set back, must not count the same.
"""

import os
import threading
import time

_STEP = (1 << 40) - 1


class Identifiers:
    """Makes ids that only ever grow within this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self, group: str) -> str:
        """A new id, for example ``{mail}019a0b1c-...`` for the group ``mail``."""
        value = self._next()
        text = f"{value:032x}"
        return f"{{{group}}}{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _next(self) -> int:
        """48 bits of milliseconds, version, 12 bits, variant and 62 bits of chance; a step up if needed."""
        milliseconds = time.time_ns() // 1_000_000
        chance = int.from_bytes(os.urandom(10))
        value = (
            (milliseconds << 80) | (0x7 << 76) | ((chance >> 68) << 64) | (0b10 << 62) | (chance & (1 << 62) - 1)
        )
        with self._lock:
            self._last = max(value, self._last + 1 + (chance & _STEP))
            return self._last
