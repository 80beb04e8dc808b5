"""Rate at which this worker lately sent mails through one account, from which a learned pace starts."""

import time
from collections import deque
from typing import Final

_MINUTE: Final = 60.0
_SHORTEST: Final = 1.0
_MOST: Final = 1000
"""Largest number of mails that are kept; at a faster pace they cover less than a minute."""


class Tempo:
    """Record of the mails that were accepted within the last minute."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST)

    def record_acceptance(self) -> None:
        """Record an accepted mail."""
        self._times.append(time.monotonic())

    @property
    def lately(self) -> bool:
        """True if a mail was accepted within the last minute."""
        return bool(self._times) and time.monotonic() - self._times[-1] < _MINUTE

    @property
    def per_minute(self) -> int:
        """Number of mails per minute at the recent pace."""
        now = time.monotonic()
        times = [one for one in self._times if now - one < _MINUTE]
        return round(len(times) * _MINUTE / max(_SHORTEST, now - times[0])) if times else 0
