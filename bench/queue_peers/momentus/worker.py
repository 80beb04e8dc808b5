"""The engine with everything on: leases, fencing, counters, results kept for an hour. Argument: the lease (s)."""

import sys
from datetime import timedelta

import uvloop

import log
from bench.queue_peers.contract import CONCURRENCY, URL, announce, async_job
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler

_RENEWALS_IN_A_LEASE = 10 / 3  # as the defaults have them: 10 s, renewed every 3 s


async def _job(_context: dict[str, object], **mail: object) -> None:
    await async_job(**mail)


async def _work() -> None:
    lease = timedelta(seconds=float(sys.argv[1]) if sys.argv[1:] else 10)
    worker = Worker(
        [handler(_job, kind="job")],
        redis_url=URL,
        lanes=[LaneSlots("mail.normal", CONCURRENCY)],
        lease=lease,
        renew_every=lease / _RENEWALS_IN_A_LEASE,
    )
    announce()
    try:
        await worker.async_run()
    finally:
        await worker.close()


log.set_up("json", "warning")
uvloop.run(_work())
