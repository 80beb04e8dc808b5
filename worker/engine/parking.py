"""Parked jobs: jobs that wait for a worker with their kind and version, or for an operator.

A job without a handler here is parked: it keeps its attempts, stays in its queue with a due time in the far
future, and has a note with the reason and the ``kind@version`` that it needs. A worker releases the parked jobs
that it can run at its start, when it reaches Redis again, and once a minute, and claims them itself: no wake-up
tells other workers. During a deployment, a worker that still cannot run a released job may find it all the same
and park it again. Without any release, a worker claims the job again after an hour.

Jobs that wait for an operator (:class:`.outcome.Park`) are released by ``ops unpark`` only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import orjson
from arq.worker import Function
from redis.exceptions import RedisError

from producers.envelope import VERSION
from worker.engine.admit import ENVELOPE
from worker.engine.handler import known_version
from worker.engine.lane import Lane
from worker.engine.outcome import Outcome
from worker.events import emit, event

_LANE_UNPARKED = event("lane.unparked")

_INTERVAL_SECONDS = 60.0
_RETRY_SECONDS = 1.0

Release = Callable[[Lane, Mapping[str, int]], Awaitable[int]]


def parking_note(outcome: Outcome) -> bytes:
    """Return the note stored with a parked job."""
    return orjson.dumps({"why": outcome.why, "needs": outcome.needs, "reason": outcome.reason})


def known_versions(functions: Mapping[str, object]) -> dict[str, int]:
    """Return the newest version that a worker knows of each kind's payload, and of the envelope.

    Args:
        functions: may contain arq's own crons, which are not kinds of jobs and are left out.
    """
    known = {kind: known_version(one) for kind, one in functions.items() if isinstance(one, Function)}
    return {ENVELOPE: VERSION, **known}


class Parking:
    """The loop that releases parked jobs of this worker's lanes.

    Args:
        release: releases the jobs of one lane that a worker can run; returns their number.
        freed: called after jobs of a lane were released, to claim them: no other worker is woken.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        functions: Mapping[str, object],
        release: Release,
        freed: Callable[[Lane], None],
    ) -> None:
        self._lanes = lanes
        self._abilities = known_versions(functions)
        self._release = release
        self._freed = freed
        self._release_early = asyncio.Event()

    def release_now(self) -> None:
        """Start the next round now: while Redis was down, other workers may have parked jobs."""
        self._release_early.set()

    async def run(self) -> None:
        """Release jobs every minute until cancelled. If Redis is down, retry; the pump logs that fault."""
        while True:
            self._release_early.clear()
            succeeded = [await self._release_jobs(lane) for lane in self._lanes]
            pause = _INTERVAL_SECONDS if all(succeeded) else _RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._release_early.wait()

    async def _release_jobs(self, lane: Lane) -> bool:
        """Release a lane's jobs and return True if Redis responded."""
        try:
            released = await self._release(lane, self._abilities)
        except (RedisError, OSError, TimeoutError):
            return False
        if released:
            emit(_LANE_UNPARKED, lane=lane.name, jobs=released)
            self._freed(lane)
        return True
