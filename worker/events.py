"""The worker's log events in one table: name, level and message.

A module binds its events when it is imported (:func:`event`) and logs them with :func:`emit`. Message and level
are defined here alone, and a name that the table lacks stops the process at its start instead of a task hours
later. No event carries an address, a subject or a body: ids, kinds, codes and times, and the parts of a server's
reply that the mail does not have (`worker/mail/failure_fields.py`).
"""

import logging
from collections.abc import Callable
from functools import cache

import structlog

_EVENTS = {
    "worker.started": ("info", "worker is taking jobs"),
    "worker.no_mail": (
        "info",
        "this worker sends no mails: MOMENTUS_MAIL__HOST is not set, or the mail lanes have no slots here",
    ),
    "worker.lane_unserved": (
        "warning",
        "kinds of the job modules name a lane without slots here: their jobs wait for a worker that serves it",
    ),
    "worker.metrics": ("info", "metrics are served; see docs/metrics.md"),
    "worker.quiet": (
        "info",
        "an operator quieted this worker: it claims no new jobs and finishes the running ones",
    ),
    "worker.resumed": ("info", "an operator resumed this worker: it claims jobs again"),
    "worker.stopping": ("info", "worker takes no new jobs and finishes the running ones"),
    "worker.handed_back": ("warning", "the grace is over; running jobs return to the queue uncharged"),
    "worker.stopped": ("info", "worker has stopped"),
    "redis.away": ("warning", "Redis does not respond; running jobs continue, their outcomes wait"),
    "redis.back": ("info", "Redis responds again"),
    "redis.refused": (
        "warning",
        "the Redis user lacks a right that the worker needs; grant it (./run ops acl)",
    ),
    "redis.data_lost": ("error", "Redis lost the data of this lane group; its limits are defined again"),
    "wake.interrupted": ("debug", "the blocking read ended early and is restarted"),
    "job.started": ("debug", "job started"),
    "job.done": ("debug", "job done"),
    "job.retry": ("warning", "job failed and will be retried"),
    "job.retry+": ("warning", "job ended without a certain outcome and will be retried"),
    "job.defer": ("info", "job returns to the queue uncharged"),
    "job.defer+": ("warning", "job returns to the queue uncharged, without a certain outcome"),
    "job.suppressed": ("debug", "job ended without being carried out"),
    "job.dead": ("error", "job is dead; see `./run ops depth` and the job's history"),
    "job.dead+": ("error", "job is dead without a certain outcome of its last attempt"),
    "job.refused": ("warning", "the job's lease was lost; its outcome was not recorded"),
    "job.lease_lost": ("warning", "the job's lease was lost; its handler is stopped"),
    "job.wedged": (
        "error",
        "the job's handler runs longer than max_run; its lease is no longer renewed and it is stopped",
    ),
    "job.unstoppable": (
        "error",
        "the job's handler did not end after its cancellation; its slot is free, and it can begin no effect",
    ),
    "job.hook_failed": ("error", "the hook after a job failed; the job's outcome stands"),
    "job.exit_refused": ("error", "a task of a handler tried to end the process; the worker continues"),
    "worker.cut_off": ("warning", "the process did not end in time after its shutdown and is terminated"),
    "job.expired": ("warning", "the job's deadline passed before it could begin; it ends here"),
    "job.cancelled": ("info", "job was stopped because its sender or an operator cancelled it"),
    "job.cancelled+": (
        "warning",
        "job was stopped because its sender or an operator cancelled it, without a certain outcome",
    ),
    "job.park": ("warning", "the job waits, uncharged, for an operator's decision; see `./run ops parked`"),
    "job.park+": ("warning", "the job ended without a certain outcome and waits for an operator's decision"),
    "job.unreadable": ("error", "the job's payload cannot be read; it is dead"),
    "job.not_upcast": (
        "error",
        "the job's payload cannot be upcast to the handler's version; it is dead; its history has the reason",
    ),
    "job.unknown_kind": ("warning", "no handler for this kind here; the job is parked for a worker that has one"),
    "job.newer_version": (
        "warning",
        "the job was written by newer code; it is parked for a worker of that version",
    ),
    "lane.broken": (
        "error",
        "a key of this lane holds a wrong type of data; the lane rests until an operator removes the key",
    ),
    "lane.mended": ("info", "the lane works again"),
    "job.unconfirmed": (
        "info",
        "no reply came when the outcome was sent; it was recorded then, or the lease lapsed",
    ),
    "lane.unparked": ("info", "parked jobs that this worker can run are released"),
    "mail.uncertain": ("warning", "an earlier attempt may have delivered this mail; it is sent again"),
    "account.closed": ("warning", "a mail account is closed for a while; see `./run ops mail accounts`"),
    "account.open": ("info", "a mail account works again"),
    "mail.accepted": ("info", "the server accepted the mail"),
    "mail.suppressed": ("info", "the recipient is on the suppression list; the mail was not sent"),
    "mail.suppression_added": ("warning", "a server's reply put an address on the suppression list"),
    "mail.refusal_doubted": (
        "warning",
        "the server refuses many recipients at once, which counts as its own fault; the mail waits",
    ),
    "mail.unnoted": ("warning", "Redis did not store a note about a mail; a bounce of it may stay unknown"),
    "mail.style_lost": (
        "warning",
        "many mail programs will not show a style of this template; see `./run ops mail preview`",
    ),
    "mail.templates_unusable": ("error", "MOMENTUS_MAIL__TEMPLATES cannot be used, here or by a backend"),
    "mail.erased": ("info", "the content of old dead mails was erased"),
    "ledger.found": (
        "info",
        "the database has a ledger; its jobs go to Redis, and their ends are recorded",
    ),
    "ledger.unusable": ("error", "the database has a ledger that this build cannot use; see ./run ops db check"),
    "ledger.away": ("warning", "a part of the ledger waits for Redis or Postgres and retries; nothing is lost"),
    "ledger.back": ("info", "the ledger continues: Redis and Postgres respond again"),
    "ledger.quarantined": (
        "error",
        "rows of the ledger cannot become jobs; they are set aside with their reasons (./run ops ledger list)",
    ),
    "ledger.lane_rests": ("error", "a key of the lane holds something else; its staged jobs wait in Postgres"),
    "ledger.jobs_lost": ("error", "Redis had lost jobs of the ledger; they are handed to it again"),
    "report.refreshed": ("info", "report refreshed"),
    "report.superseded": ("info", "a newer set of this report is already stored; nothing was written"),
    "report.failed": ("error", "report could not be refreshed; the last good set stays"),
    "report.withdrawn": ("warning", "no worker declares the report any longer: it is neither listed nor served"),
    "report.forgotten": ("warning", "the report was withdrawn a day ago: all its stored data is removed"),
    "report.unknown": ("warning", "a refresh was requested for a report that is not declared here"),
    "report.closed": ("info", "a day of the report was closed"),
    "report.not_closed": ("error", "a day of the report could not be closed; the next refresh retries it"),
    "report.different": (
        "error",
        "the query for some nodes disagreed with the whole; see `./run ops reports status`",
    ),
    "report.mismatch": (
        "error",
        "audit: a stored measure differs from the recomputed one; see `./run ops reports status`",
    ),
    "board.watched": ("info", "the database marks changes to this board's tables"),
    "board.unwatched": (
        "warning",
        "the database does not mark changes to this board's tables; any write in it counts as a change",
    ),
    "board.waits": (
        "info",
        "none of this board's tables exists yet; its reports are computed once they do",
    ),
    "board.unproved": (
        "warning",
        "nothing proves this board unchanged; it is computed at the pace of its `every`",
    ),
    "clock.failed": (
        "warning",
        "Redis did not respond to a cron; the cron retries each second and makes up for missed ticks",
    ),
    "clocks.apart": (
        "error",
        "database and Redis clocks differ by more than MOMENTUS_REPORTS__CLOCK_BOUND; no report counts as fresh",
    ),
    "clocks.together": ("info", "the clocks of the database and of Redis agree again"),
    "clock.set": ("warning", "the clock of the database or of Redis was set; ages follow it from now on"),
    "reports.ended": ("error", "the worker's process for reports has ended by itself; it is started again"),
    "prober.failed": ("warning", "the prober could not query Redis or the database; it retries each second"),
}


class EventName(str):
    """The name of an event in the table."""

    __slots__ = ()


def event(name: str) -> EventName:
    """Return an event of the table, bound at import so that a wrong name fails at once.

    Raises:
        ValueError: the table has no such event.

    Example:
        >>> _STARTED = event("worker.started")
        >>> emit(_STARTED, worker="a1")  # doctest: +SKIP
    """
    if name not in _EVENTS:
        raise ValueError(
            f"event: {name!r} is not in the table of worker/events.py; add it there, with its message"
        )
    return EventName(name)


def emit(what: EventName, **fields: object) -> None:
    """Log an event.

    Args:
        what: an event bound by :func:`event`.
        fields: ids, counts and durations.
    """
    if structlog.is_configured():
        method, message = _cached_method(what)
    else:
        method, message = _log_method(what, structlog.get_logger("worker"))
    if method is not None:
        method(message, event_name=str(what), **fields)


LogMethod = tuple[Callable[..., object] | None, str]
"""The logger's method for an event's level, None if that level is not logged, and the event's message."""


@cache
def _cached_method(what: EventName) -> LogMethod:
    """Return the log method of an event, cached: binding costs more than a line that is filtered out."""
    logger = structlog.get_logger("worker").bind()
    method, message = _log_method(what, logger)
    level, _ = _EVENTS[what]
    return method if logger.is_enabled_for(getattr(logging, level.upper())) else None, message


def _log_method(what: EventName, logger: structlog.typing.FilteringBoundLogger) -> LogMethod:
    level, message = _EVENTS[what]
    return getattr(logger, level), message


def bind_fields(**fields: object) -> None:
    """Add fields to every later log line of the current task."""
    structlog.contextvars.bind_contextvars(**fields)
