"""Orders to one worker: quiet, resume, stop. The worker reads them with its next heartbeat, within seconds.

A worker that serves several lane groups reads the order of each; it is given in the first that lists the worker,
so that two orders in a row have one place and the latest counts.
"""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis

from jobs.lanes import GROUPS
from producers.keys import LaneKeys
from worker.fleet_keys import order_key

WorkerOrder = Literal["quiet", "resume", "stop"]
OrderOutcome = Literal["ordered", "unchanged", "stops", "beside", "deaf", "gone"]

LIFE = timedelta(hours=1)
"""Time for which an order waits for a worker that does not reach Redis."""
_ORDER = (Path(__file__).parent / "scripts" / "order.lua").read_text(encoding="utf-8")


async def order_worker(redis: Redis, worker_id: str, order: WorkerOrder) -> OrderOutcome:
    """Give a live worker an order; see `order.lua` for the outcomes.

    Raises:
        RedisError, OSError: Redis did not answer; the call may be repeated.
    """
    life = round(LIFE / timedelta(milliseconds=1))
    for group in GROUPS:
        keys = LaneKeys(group)
        names = [keys.worker(worker_id), order_key(keys, worker_id)]
        outcome: bytes = await redis.register_script(_ORDER)(keys=names, args=[order, life])
        if outcome != b"gone":
            return outcome.decode()  # type: ignore[return-value]  # one of those of the script
    return "gone"
