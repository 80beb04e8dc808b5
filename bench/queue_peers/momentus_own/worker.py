"""A worker for own kinds, made as `./run worker` makes it. Argument: where they run, as the others have it."""

import os

import uvloop

import log
from bench.queue_peers.contract import CONCURRENCY, URL, announce
from jobs.lanes import OWN
from worker.engine import LaneSlots, Worker
from worker.own_jobs.duties import functions_of
from worker.own_jobs.load import load_jobs
from worker.own_jobs.processes import Processes
from worker.own_jobs.threads import Threads, end_process

_MODULE = "bench.queue_peers.momentus_own.jobs"


async def _work() -> None:
    threads = Threads()
    processes = Processes(os.cpu_count() or 1, [_MODULE, "json", "warning"])
    own = load_jobs(_MODULE)
    worker = Worker(functions_of(own, threads, processes), redis_url=URL, lanes=[LaneSlots(OWN, CONCURRENCY)])
    announce()
    try:
        await worker.async_run()
    finally:
        await worker.close()
        threads.close()
        await processes.close()


log.set_up("json", "warning")
uvloop.run(_work())
end_process(0)
