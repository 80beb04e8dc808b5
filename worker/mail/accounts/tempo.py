"""How fast mails of one account went out lately, as this worker saw it: what a learned pace begins with."""

import time
from collections import deque
from typing import Final

_MINUTE: Final = 60.0
_SHORTEST: Final = 1.0
_MOST: Final = 1000
"""Mails that are remembered; at a faster pace they are those of less than a minute."""


class Tempo:
    """The mails that were accepted within the last minute."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST)

    def accepted(self) -> None:
        """A mail was."""
        self._times.append(time.monotonic())

    @property
    def lately(self) -> bool:
        """Whether there was one."""
        return bool(self._times) and time.monotonic() - self._times[-1] < _MINUTE

    @property
    def per_minute(self) -> int:
        """How many a minute holds at this pace."""
        now = time.monotonic()
        times = [one for one in self._times if now - one < _MINUTE]
        return round(len(times) * _MINUTE / max(_SHORTEST, now - times[0])) if times else 0
