"""The page of metrics of a worker process, with its probes. It reads counts that are kept anyway, on request."""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from metrics.listener import Answer, serve_page
from metrics.place import ListenPlace, name_of
from metrics.process import LoopLag
from metrics.readings import Readings
from metrics.table import Part
from worker.engine import Worker
from worker.engine.job_counts import JobCounts
from worker.engine.lane import Lane
from worker.events import emit, event
from worker.health import health_of
from worker.mail.smtp.stage_times import REFUSALS, STAGE_TIMES
from worker.reports.refresh_times import FAILURES, QUERIES, REFRESHES

_SERVED = event("worker.metrics")

PARTS: tuple[Part, ...] = ("process", "worker", "mail", "reports")


def serve_metrics(
    worker: Worker, listening: socket.socket, place: ListenPlace
) -> AbstractAsyncContextManager[None]:
    """Serve a worker's page on a listening socket for the length of a block.

    The library that writes the page is loaded by the call: not all workers need it, and one that does must have it
    before the collector is told which objects stay, or each collection scans all of it.
    """
    from metrics.exposition import write_page  # noqa: PLC0415  see above

    lag = LoopLag()

    async def answer_request(accept: str) -> tuple[str, bytes]:
        return write_page(read_metrics(worker, lag), PARTS, accept)

    return _serve(worker, answer_request, lag, listening, place)


@asynccontextmanager
async def _serve(
    worker: Worker, answer: Answer, lag: LoopLag, listening: socket.socket, place: ListenPlace
) -> AsyncIterator[None]:
    async with lag.measure(), serve_page(answer, listening, place, health_of(worker)):
        emit(_SERVED, where=name_of(listening))
        yield


def read_metrics(worker: Worker, lag: LoopLag) -> Readings:
    """Return all metrics of this process."""
    readings = Readings()
    lag.collect(readings)
    collect_worker(worker, readings)
    collect_mail(readings)
    collect_reports(readings)
    return readings


def collect_worker(worker: Worker, readings: Readings) -> None:
    """Add the metrics of a worker's engine."""
    _collect_jobs(worker.counts, readings)
    for lane in worker.lanes:
        _collect_lane(lane, readings)
    for shard in worker.shards:
        readings.add_histogram("momentus_worker_cycle_seconds", shard.pump.cycle_times, shard.name)
        readings.add("momentus_worker_failed_cycles_total", shard.pump.failures, shard.name)
        readings.add("momentus_worker_lease_seconds", shard.renewal.lease, shard.name)
        age = time.monotonic() - shard.renewal.renewed_at
        readings.add("momentus_worker_lease_age_seconds", age, shard.name)


def _collect_jobs(counts: JobCounts, readings: Readings) -> None:
    for (kind, lane), count in counts.by_kind.items():
        readings.add_histogram("momentus_job_wait_seconds", count.waits, kind, lane)
        readings.add_histogram("momentus_job_run_seconds", count.runs, kind, lane)
        for outcome, number in count.outcomes.items():
            readings.add("momentus_job_outcomes_total", number, kind, lane, outcome)
        for error, number in count.errors.items():
            readings.add("momentus_job_errors_total", number, kind, lane, error)


def _collect_lane(lane: Lane, readings: Readings) -> None:
    readings.add("momentus_worker_slots", lane.slots, lane.name)
    readings.add("momentus_worker_busy_slots", len(lane.running), lane.name)
    readings.add("momentus_worker_unrecorded_outcomes", len(lane.ended), lane.name)
    readings.add("momentus_worker_left_behind_handlers", lane.left_behind, lane.name)


def collect_mail(readings: Readings) -> None:
    """Add the metrics of this process's mails."""
    for stage, times in STAGE_TIMES.items():
        readings.add_histogram("momentus_smtp_stage_seconds", times, stage)
    for (stage, code), count in REFUSALS.items():
        readings.add("momentus_smtp_refusals_total", count, stage, str(code))


def collect_reports(readings: Readings) -> None:
    """Add the metrics of this process's refreshes."""
    for board, times in REFRESHES.items():
        readings.add_histogram("momentus_refresh_seconds", times, board)
    for report, times in QUERIES.items():
        readings.add_histogram("momentus_refresh_query_seconds", times, report)
    for report, count in FAILURES.items():
        readings.add("momentus_refresh_failures_total", count, report)
