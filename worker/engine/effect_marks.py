"""Marks of effects that are about to begin: stored before the effect, many in one call.

A failed primary loses the writes that no replica has, and a lost mark makes an effect happen twice: the next
worker does not know of the first. So where replicas must confirm, a mark counts once enough of them have it. WAIT
covers the last write of its connection, which is the mark itself, and blocks that connection alone: marks then use
a connection of their own.

Failures: Redis does not respond, or too few replicas do. The mark may be stored then, and the effect must not
begin, so the caller knows that it did not happen.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

from producers.link import Argument, Link
from producers.link.script import Script, read_script
from worker.engine.batch import CallBatcher
from worker.engine.lane import Claim

_REPLICA_SECONDS = 1.0
_ROUNDS = 8
"""Rounds of the event loop in which marks gather in a busy worker: about a millisecond of other work."""

Mark = tuple[str, str, str]
"""The mark of an effect that is about to begin: the job's id, the lease's token, the attempt with its note."""
_IN_LEDGER = 2
"""A reply of at least this means that the job has a row: it is this plus the row's day."""


def day_of_reply(reply: int) -> int | None:
    """Return the day of the row of a marked job, since 1970; None if Redis knows of none.

    >>> day_of_reply(1), day_of_reply(20788)
    (None, 20786)
    """
    return reply - _IN_LEDGER if reply >= _IN_LEDGER else None


class LedgerRefusal(ConnectionError):
    """The ledger did not take the mark, so the effect must not begin."""


class JobHasEnded(LedgerRefusal):
    """The ledger has an end of this job, which Redis has forgotten: it must not be carried out again.

    Whatever its handler makes of this error, the job is suppressed; its end in the ledger stays as it is.
    """

    def __init__(self) -> None:
        super().__init__("the job has ended already: Redis went back to an earlier state")


class EarlierEffect(LedgerRefusal):
    """The ledger has a mark that Redis has forgotten, of this attempt or uncounted: it may have taken place."""

    def __init__(self) -> None:
        super().__init__("the effect had begun before Redis went back to an earlier state")


class LedgerMarking(Protocol):
    """Marks of effects in the ledger; see ``worker/ledger/marks.py``."""

    async def store(
        self, day: int, job_id: str, attempt: int, note: str, *, token: str = "", counted: int = 0
    ) -> None:
        """Store that an effect is about to begin. Raises LedgerRefusal: it must not.

        Args:
            token: of the attempt's lease.
            counted: the earlier attempt whose effect was counted as uncertain by the claim; 0: none.
        """

    async def release(self, day: int, job_id: str, attempt: int, *, token: str = "") -> None:
        """Remove the mark of a lease, because its effect is known not to have happened."""

    async def count(self, day: int, job_id: str, attempt: int) -> None:
        """Note that the effects up to this attempt are counted as uncertain."""


class UnconfirmedMark(RedisError):
    """Too few replicas have the mark: a failover could lose it."""


class EffectMarks:
    """The store of one worker's effect marks.

    Args:
        link: to Redis; with ``replicas``, a link that carries marks only.
        replicas: number of replicas that must have a mark before it counts; 0: the primary is enough.
    """

    def __init__(self, link: Link, *, replicas: int = 0) -> None:
        self._link = link
        self._replicas = replicas
        self.script = Script(read_script(Path(__file__).parent / "scripts", "begin_effect"))
        self._batchers: dict[str, CallBatcher[Mark, int]] = {}

    def make_mark(self, claim: Claim, effects: str, note: str = "") -> Awaitable[int]:
        """Store the mark of an attempt. The awaited value is 0 if the lease was lost; see :func:`day_of_reply`.

        Marks that are requested while a call is under way leave together in the next call.

        Args:
            effects: the key of all marks.

        Raises (when awaited):
            RedisError, OSError: the mark may be stored or not; the effect must not begin.
        """
        batcher = self._batchers.get(effects)
        if batcher is None:
            batcher = self._batchers[effects] = CallBatcher(partial(self._make, effects), rounds=_ROUNDS)
        return batcher.submit((claim.id, claim.token, f"{claim.attempt} {note}" if note else str(claim.attempt)))

    async def close(self) -> None:
        """Close the link."""
        await self._link.close()

    async def _make(self, effects: str, marks: Sequence[Mark]) -> list[int]:
        keys, arguments = mark_arguments(effects, marks)
        try:
            replies = await self.script.run(
                self._confirmed if self._replicas else self._link.call, keys, arguments
            )
        except asyncio.CancelledError:  # the time is up: later calls must not wait behind a stalled server
            self._link.drop()
            raise
        return list(replies)

    async def _confirmed(self, *command: Argument) -> Any:  # noqa: ANN401  the type depends on the command
        wait = ("WAIT", self._replicas, round(_REPLICA_SECONDS * 1000))
        reply, copies = await self._link.call_many([command, wait])
        if isinstance(reply, ResponseError):
            raise reply
        if isinstance(copies, ResponseError):
            raise copies
        if isinstance(reply, list) and any(reply) and copies < self._replicas:
            raise UnconfirmedMark(
                f"MOMENTUS_WORKER__CONFIRM_REPLICAS: {copies} of {self._replicas} replica(s) have the mark after "
                f"{_REPLICA_SECONDS:g} s; check the replicas, or lower the setting"
            )
        return reply


def mark_arguments(effects: str, marks: Sequence[Mark]) -> tuple[list[str], list[Argument]]:
    """Return KEYS and ARGV of ``begin_effect.lua``."""
    return [effects, *(f"arq:in-progress:{one[0]}" for one in marks)], [part for one in marks for part in one]
