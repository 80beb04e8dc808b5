"""Celery without a result backend, which is its default. Arguments: the pool and its size."""

import sys

from celery import Celery

from bench.queue_peers.contract import URL, announce, job

_pool, _size = sys.argv[1:]
_app = Celery("bench", broker=URL)
_app.task(job, name="job")
announce()
_app.worker_main(["worker", "--pool", _pool, "--concurrency", _size, "--loglevel", "ERROR"])
