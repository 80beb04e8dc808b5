"""The simplest job there is, for tests of the queue itself, and a worker running for the length of a block."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from redis.asyncio import Redis

from tests.support import eventually
from worker.engine import Worker

LANE = "mail.normal"


@dataclass(frozen=True)
class Note:
    """A job with a text; what that means is its handler's."""

    kind: ClassVar[str] = "note.take"
    lane: ClassVar[str] = LANE

    text: str

    def fingerprint(self) -> str:
        """Its text."""
        return self.text

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """Its text."""
        del job_id, now
        return {"text": self.text}


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """The worker at work in this loop; stopped in good order at the end of the block."""
    task = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        worker.handle_sig(signal.SIGTERM)
        await task
        await worker.close()


async def looked_at(worker: Worker, redis: Redis) -> None:
    """Wait until the worker has looked at its lane for every token that there was.

    A blocking read with a claim behind it may stand again: it takes what comes later.
    """
    pump, lane = worker.shards[0].pump, worker.lanes[0]

    async def is_over() -> bool:
        return not (await redis.exists(lane.keys.wake) or pump._in_flight or lane.claimable)

    await eventually(is_over)
