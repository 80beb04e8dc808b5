"""Marks of effects in Postgres: beside the mark in Redis, so that its loss cannot take them along.

A mail's dot is written only after both marks are stored. So after a loss of Redis the ledger knows of each
attempt that may have delivered the mail. Marks that are asked for while a call is under way leave together in
the next one; both marks are stored at the same time, so the mail waits for the slower of the two.

Failures: Postgres does not answer; then the effect must not begin. Redis went back to an earlier state and
offers a job that has ended since; its effect must not begin either.
"""

from collections.abc import Sequence

from worker.engine.batch import CallBatcher
from worker.engine.effect_marks import LedgerRefusal
from worker.ledger.tables_postgres import EffectNote, LedgerTables

_ROUNDS = 8
"""For marks to gather in a busy worker, as those of Redis do."""


class LedgerMarks:
    """The store of one worker's marks in Postgres."""

    def __init__(self, tables: LedgerTables) -> None:
        self._tables = tables
        self._batcher: CallBatcher[EffectNote, bool] = CallBatcher(self._write, rounds=_ROUNDS)

    async def store(self, day: int, job_id: str, attempt: int, note: str) -> None:
        """Store that the effect of an attempt is about to begin.

        Raises:
            LedgerRefusal: the job has ended, or Postgres did not confirm it; the effect must not begin.
        """
        try:
            may_begin = await self._batcher.submit(EffectNote(day, job_id, attempt, note))
        except Exception as error:  # every fault of the database means the same
            raise LedgerRefusal(f"Postgres did not confirm the mark ({type(error).__name__})") from error
        if not may_begin:
            raise LedgerRefusal("the job has ended already: Redis went back to an earlier state")

    async def _write(self, effects: Sequence[EffectNote]) -> list[bool]:
        """Write the marks; one of each job, since a claim may offer a job once more."""
        distinct = {(one.day, one.id, one.attempt): one for one in effects}
        ended = await self._tables.write_effects(list(distinct.values()))
        return [one.id not in ended for one in effects]
