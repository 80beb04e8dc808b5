"""streaQ with its defaults, on uvloop."""

from streaq import Worker

from bench.queue_peers.contract import CONCURRENCY, URL, announce, async_job

_worker = Worker(redis_url=URL, concurrency=CONCURRENCY, anyio_kwargs={"use_uvloop": True})
_worker.task(async_job, name="job")
announce()
_worker.run_sync()
