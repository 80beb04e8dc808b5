"""RQ's SimpleWorker: no fork for each job, the fastest it has. One job at a time."""

from redis import Redis
from rq import Queue, SimpleWorker

from bench.queue_peers.contract import URL, announce

_redis = Redis.from_url(URL)
_worker = SimpleWorker([Queue(connection=_redis)], connection=_redis)
announce()
_worker.work(logging_level="ERROR")
