"""Parked jobs: those that wait for a worker that knows their kind and version, or for people.

A job that no handler here can run is put aside: it keeps its attempts, stays in its queue with a far due time, and
a note beside it says why and what it needs, ``kind@version``. A worker that starts, or that reaches Redis again,
lets go what it can run; and once a minute, because during a deployment a job that was let go may be taken, and put
aside again, by a worker that still cannot run it. Should nobody ever let it go, it is looked at again in an hour.

What waits for people (:class:`.outcome.Park`) is theirs to let go: ``ops unpark``.
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

_LOOK_SECONDS = 60.0
_ASK_AGAIN_SECONDS = 1.0

Release = Callable[[Lane, Mapping[str, int]], Awaitable[int]]


def note(outcome: Outcome) -> bytes:
    """What is kept beside a parked job."""
    return orjson.dumps({"why": outcome.why, "needs": outcome.needs, "reason": outcome.reason})


def abilities(functions: Mapping[str, object]) -> dict[str, int]:
    """What a worker knows: the newest version of each kind's payload, and of the envelope.

    Args:
        functions: arq's own crons may be among them; no job of ours is of such a kind.
    """
    known = {kind: known_version(one) for kind, one in functions.items() if isinstance(one, Function)}
    return {ENVELOPE: VERSION, **known}


class Parking:
    """Lets go, in this worker's lanes, what it can run.

    Args:
        release: does it for one lane; how many were let go.
        freed: called when any were.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        functions: Mapping[str, object],
        release: Release,
        freed: Callable[[Lane], None],
    ) -> None:
        self._lanes = lanes
        self._abilities = abilities(functions)
        self._release = release
        self._freed = freed
        self._look_now = asyncio.Event()

    def look_again(self) -> None:
        """Redis is back: whatever is there now may have been parked by others."""
        self._look_now.set()

    async def run(self) -> None:
        """Look until cancelled. Faults of Redis are waited out; who works on the lane tells people of them."""
        while True:
            self._look_now.clear()
            answers = [await self._look(lane) for lane in self._lanes]
            pause = _LOOK_SECONDS if all(answers) else _ASK_AGAIN_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._look_now.wait()

    async def _look(self, lane: Lane) -> bool:
        """Whether Redis answered."""
        try:
            released = await self._release(lane, self._abilities)
        except (RedisError, OSError, TimeoutError):
            return False
        if released:
            emit(_LANE_UNPARKED, lane=lane.name, jobs=released)
            self._freed(lane)
        return True
