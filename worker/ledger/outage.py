"""Consecutive faults of a part of the ledger: the first and their end are logged, and the pauses grow."""

import asyncio

from redis.exceptions import RedisError

from reports.source_postgres import DATABASE_FAULTS, log_fields
from worker.engine.wake import jittered_pause
from worker.events import emit, event
from worker.troubles import end_trouble, note_trouble

_LEDGER_AWAY = event("ledger.away")
_LEDGER_BACK = event("ledger.back")

FAULTS = (RedisError, *DATABASE_FAULTS)
"""Faults of either store, after which a part tries again."""


class Outage:
    """The faults of one part.

    Args:
        part: name of the part in the log.
        longest: seconds of the longest pause.
    """

    def __init__(self, part: str, *, longest: float = 5.0) -> None:
        self._part = part
        self._longest = longest
        self._faults = 0

    async def pause(self, error: BaseException) -> None:
        """Wait before the next try: longer after each consecutive fault."""
        fields = log_fields(error)
        if self._faults == 0:
            emit(_LEDGER_AWAY, part=self._part, **fields)
        self._faults += 1
        note_trouble(f"ledger {self._part}", ": ".join(fields.values()))
        await asyncio.sleep(jittered_pause(self._faults, longest=self._longest))

    def end(self) -> None:
        """Note that the part works."""
        if self._faults:
            emit(_LEDGER_BACK, part=self._part)
        end_trouble(f"ledger {self._part}")
        self._faults = 0
