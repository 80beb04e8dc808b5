"""dramatiq with its default middleware; threads in this very process instead of its command line's children."""

import signal

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.queue_peers.contract import CONCURRENCY, URL, announce, job

_broker = RedisBroker(url=URL)
dramatiq.set_broker(_broker)
dramatiq.actor(job, actor_name="job")
_worker = dramatiq.Worker(_broker, worker_threads=CONCURRENCY)
announce()
_worker.start()
signal.sigwait({signal.SIGUSR1})  # for ever: SIGTERM ends the process
