"""Marks of effects in Postgres: beside the mark in Redis, so that they survive a loss of Redis's data.

A mail's dot is written only after both marks are stored. So after a loss of Redis the ledger knows of each
attempt that may have delivered the mail. Marks that are requested while a call is under way leave together in
the next one; both marks are stored at the same time, so the mail waits for the slower of the two.

A mark is removed when its effect is known not to have happened, as after a refusal of the server; what is left are
effects that happened, or that may have. Stores and removals leave in the order in which they were requested: so an
attempt that was stopped while its mark was being stored leaves none behind.

Failures: Postgres does not answer, or has a ledger of another build; then the effect must not begin. Redis was set
back to an earlier state, and offers a job that has ended since, or an attempt whose effect has begun, or one after
an effect of which it knows nothing. None of these may begin either; the latter two are counted as uncertain, and
a mark that was counted says so.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from worker.engine.batch import CallBatcher
from worker.engine.effect_marks import EarlierEffect, JobHasEnded, LedgerRefusal
from worker.ledger.tables_postgres import EffectNote, LedgerTables

_ROUNDS = 8
"""Rounds of the event loop in which marks gather in a busy worker, as for those of Redis."""
_BEGIN_SECONDS = 2.0
_Answer = Literal["written", "ended", "earlier", "removed", "counted"]


@dataclass(frozen=True, slots=True)
class MarkChange:
    """A mark to store or to remove, or one whose effect was counted as uncertain."""

    effect: EffectNote
    what: Literal["store", "remove", "count"] = "store"


class LedgerMarks:
    """The store of one worker's marks in Postgres.

    Args:
        usable: set once the database is known to have a ledger that this build can use; None: it has.
    """

    def __init__(self, tables: LedgerTables, usable: asyncio.Event | None = None) -> None:
        self._tables = tables
        self._usable = usable
        self._changes: CallBatcher[MarkChange, _Answer] = CallBatcher(self._change, rounds=_ROUNDS)

    async def store(
        self, day: int, job_id: str, attempt: int, note: str, *, token: str = "", counted: int = 0
    ) -> None:
        """Store that the effect of an attempt is about to begin.

        Args:
            token: of the attempt's lease.
            counted: the earlier attempt whose effect was counted as uncertain when this one was claimed; 0: none.

        Raises:
            JobHasEnded: the job ended before Redis went back to an earlier state.
            EarlierEffect: the effect began before Redis went back to an earlier state.
            LedgerRefusal: Postgres did not confirm it. In every case the effect must not begin.
        """
        await self._demand_ledger()
        try:
            answer = await self._changes.submit(MarkChange(EffectNote(day, job_id, attempt, note, token, counted)))
        except Exception as error:  # every fault of the database means the same
            raise LedgerRefusal(f"Postgres did not confirm the mark ({type(error).__name__})") from error
        if answer == "ended":
            raise JobHasEnded
        if answer == "earlier":
            raise EarlierEffect

    async def release(self, day: int, job_id: str, attempt: int, *, token: str = "") -> None:
        """Remove the mark of an effect that did not happen, even one that is still being stored.

        The mark of another lease of the same attempt stays.

        Raises:
            LedgerRefusal: Postgres did not confirm it; a later attempt may be counted as uncertain.
        """
        if not self._is_usable():
            return  # nothing was stored
        try:
            await self._changes.submit(MarkChange(EffectNote(day, job_id, attempt, token=token), "remove"))
        except Exception as error:  # as above
            raise LedgerRefusal(f"Postgres did not confirm the removal ({type(error).__name__})") from error

    async def count(self, day: int, job_id: str, attempt: int) -> None:
        """Note that the effects of an attempt and of earlier ones are counted as uncertain, if they happened.

        Raises:
            LedgerRefusal: Postgres did not confirm it; a later attempt may count them once more.
        """
        if not self._is_usable():
            return  # nothing was stored
        try:
            await self._changes.submit(MarkChange(EffectNote(day, job_id, attempt), "count"))
        except Exception as error:  # as above
            raise LedgerRefusal(f"Postgres did not confirm the count ({type(error).__name__})") from error

    def _is_usable(self) -> bool:
        return self._usable is None or self._usable.is_set()

    async def _demand_ledger(self) -> None:
        """Wait briefly for the ledger of a worker that has just started. Raises LedgerRefusal."""
        if self._usable is None or self._is_usable():
            return
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                await self._usable.wait()
        except TimeoutError:
            raise LedgerRefusal(
                "MOMENTUS_POSTGRES_DSN: the database has no ledger that this build can use; see ./run ops db check"
            ) from None

    async def _change(self, changes: Sequence[MarkChange]) -> list[_Answer]:
        """Change marks in the order of the requests."""
        ways = {"store": self._write, "remove": self._remove, "count": self._count}
        answers: list[_Answer] = []
        for what, some in groupby(changes, key=lambda change: change.what):
            answers += await ways[what]([change.effect for change in some])
        return answers

    async def _write(self, effects: Sequence[EffectNote]) -> list[_Answer]:
        """Write the marks; for a job that two claims offered, the first one's."""
        first = {one.id: one for one in reversed(effects)}
        found = await self._tables.write_effects(list(first.values()))
        return [found[one.id] if one is first[one.id] else "earlier" for one in effects]

    async def _remove(self, effects: Sequence[EffectNote]) -> list[_Answer]:
        await self._tables.remove_effects(effects)
        return ["removed"] * len(effects)

    async def _count(self, effects: Sequence[EffectNote]) -> list[_Answer]:
        await self._tables.count_effects(effects)
        return ["counted"] * len(effects)
