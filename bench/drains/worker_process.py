"""A worker of the bench: its jobs take a time, fail a number of times first, or hang.

Started by bench/forecast.py as `worker_process.py URL SLOTS`.
"""

import asyncio
import json
import sys
from datetime import timedelta
from typing import Any

from bench.drains.scenarios import KIND, LANE
from worker.engine import LaneSlots, TryLater, Worker
from worker.engine.handler import handler


async def work(context: dict[str, Any], text: str) -> None:
    """Do what a job says: `{"s": seconds, "fails": [waits], "hangs": true}`."""
    asked = json.loads(text)
    if asked.get("hangs"):
        await asyncio.Event().wait()
    await asyncio.sleep(asked["s"])
    failed = context["job_try"] - 1
    waits = asked.get("fails", [])
    if failed < len(waits):
        raise TryLater("as the bench wants it", after=timedelta(seconds=waits[failed]))


if __name__ == "__main__":
    url, slots = sys.argv[1], int(sys.argv[2])
    Worker([handler(work, kind=KIND)], redis_url=url, lanes=[LaneSlots(LANE, slots)]).run()
