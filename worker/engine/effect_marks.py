"""Marks of effects that are about to begin: stored before the effect, many in one call.

A primary that is lost takes along what no replica has, and with a lost mark an effect happens twice: the next
worker finds nothing of the first. So where replicas are to confirm, a mark counts once so many of them have it.
WAIT looks back to the last write of its connection, which is the mark itself, and holds up that connection alone:
marks then have one of their own.

What can go wrong: Redis does not answer, or too few replicas do. The mark may be stored then, and the effect must
not begin: the caller knows for certain that it did not.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError, ResponseError

from producers.link import Argument, Link
from producers.link.script import Script, read_script
from worker.engine.batch import CallBatcher
from worker.engine.lane import Claim

_REPLICA_SECONDS = 1.0

Mark = tuple[str, str, str]
"""Of an effect that is about to begin: the job's id, the lease's token, the attempt with its note."""


class UnconfirmedMark(RedisError):
    """Too few replicas have the mark: a failover could lose it."""


class EffectMarks:
    """Makes them for one worker.

    Args:
        link: to Redis; with ``replicas`` nobody else's.
        replicas: how many must have a mark before it counts; 0: the primary's word is enough.
    """

    def __init__(self, link: Link, *, replicas: int = 0) -> None:
        self._link = link
        self._replicas = replicas
        self.script = Script(read_script(Path(__file__).parent / "scripts", "begin_effect"))
        self._together: dict[str, CallBatcher[Mark, bool]] = {}

    def make(self, claim: Claim, effects: str, note: str = "") -> Awaitable[bool]:
        """Record that the attempt is about to cause its effect; to be awaited, False when the lease was lost.

        Marks that are wanted while others are being made go together afterwards: one script for many.

        Args:
            effects: the key that holds them.

        Raises (when awaited):
            RedisError, OSError: the mark may be stored or not; the effect must not begin.
        """
        together = self._together.get(effects)
        if together is None:
            together = self._together[effects] = CallBatcher(partial(self._make, effects))
        return together.answer((claim.id, claim.token, f"{claim.attempt} {note}" if note else str(claim.attempt)))

    async def close(self) -> None:
        """Close the link."""
        await self._link.close()

    async def _make(self, effects: str, marks: Sequence[Mark]) -> list[bool]:
        keys, arguments = mark_question(effects, marks)
        try:
            replies = await self.script.run(
                self._confirmed if self._replicas else self._link.call, keys, arguments
            )
        except asyncio.CancelledError:  # it takes too long: nobody is to wait behind a stalled server
            self._link.drop()
            raise
        return [reply == 1 for reply in replies]

    async def _confirmed(self, *command: Argument) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        wait = ("WAIT", self._replicas, round(_REPLICA_SECONDS * 1000))
        answer, copies = await self._link.call_many([command, wait])
        if isinstance(answer, ResponseError):
            raise answer
        if isinstance(copies, ResponseError):
            raise copies
        if isinstance(answer, list) and any(answer) and copies < self._replicas:
            raise UnconfirmedMark(
                f"the mark is on {copies} of {self._replicas} replica(s) after {_REPLICA_SECONDS:g} s; "
                "check them, or lower MOMENTUS_WORKER__CONFIRM_REPLICAS"
            )
        return answer


def mark_question(effects: str, marks: Sequence[Mark]) -> tuple[list[str], list[Argument]]:
    """KEYS and ARGV of ``begin_effect.lua``."""
    return [effects, *(f"arq:in-progress:{one[0]}" for one in marks)], [part for one in marks for part in one]
