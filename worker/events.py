"""Everything the worker says, in one table: the event, its level and its words.

A module binds its events when it is loaded (:func:`event`) and says them with :func:`emit`; wording and level are
decided here alone, and a name that is not here stops the process at its start and no task hours later. No event
carries an address, a subject, a body or a server's reply: ids, kinds, codes and times only.
"""

from collections.abc import Callable
from functools import cache

import structlog

_EVENTS = {
    "worker.started": ("info", "worker is taking jobs"),
    "worker.no_mail": (
        "info",
        "this worker sends no mails: MOMENTUS_MAIL__HOST is not set, or their lanes have no slots here",
    ),
    "worker.stopping": ("info", "worker takes no new jobs and finishes what runs"),
    "worker.handed_back": ("warning", "grace is over; running jobs go back to the queue uncharged"),
    "worker.stopped": ("info", "worker has stopped"),
    "redis.away": ("warning", "Redis does not answer; running jobs go on, results wait"),
    "redis.back": ("info", "Redis answers again"),
    "redis.refused": (
        "warning",
        "the user of Redis lacks a right that the worker needs; grant it (./run ops acl)",
    ),
    "redis.data_lost": ("error", "Redis lost what it held of this lane group; limits are defined again"),
    "wake.interrupted": ("debug", "the blocking read ended early and is begun again"),
    "job.started": ("debug", "job started"),
    "job.done": ("debug", "job done"),
    "job.retry": ("warning", "job failed and will be tried again"),
    "job.retry+": ("warning", "job ended without a certain outcome and will be tried again"),
    "job.defer": ("info", "job goes back to the queue uncharged"),
    "job.defer+": ("warning", "job goes back to the queue uncharged, without a certain outcome"),
    "job.suppressed": ("debug", "job ended without being carried out"),
    "job.dead": ("error", "job is dead; see `./run ops depth` and the job's history"),
    "job.dead+": ("error", "job is dead without a certain outcome of its last attempt"),
    "job.refused": ("warning", "the job's lease had been lost; its outcome was not recorded"),
    "job.lease_lost": ("warning", "the job's lease was lost; its handler is stopped"),
    "job.wedged": ("error", "the job's handler runs too long; its lease is no longer renewed and it is stopped"),
    "job.unstoppable": (
        "error",
        "the job's handler does not end although it was cancelled; its slot is free, and it can begin no effect",
    ),
    "job.hook_failed": ("error", "the hook after a job failed; the job's outcome stands"),
    "job.exit_refused": ("error", "a task that a handler began wanted to end the process; the worker goes on"),
    "worker.cut_off": ("warning", "the process did not end by itself after its shutdown and is ended now"),
    "job.expired": ("warning", "the job's deadline had passed before it could begin; it ends here"),
    "job.cancelled": ("info", "job was stopped because somebody asked for it"),
    "job.cancelled+": ("warning", "job was stopped because somebody asked for it, without a certain outcome"),
    "job.park": ("warning", "the job waits, uncharged, until people decide; see `./run ops parked`"),
    "job.park+": ("warning", "the job ended without a certain outcome and waits until people decide"),
    "job.unreadable": ("error", "the job's payload cannot be read; it is dead"),
    "job.not_upcast": (
        "error",
        "the job's payload cannot be brought up to date; it is dead, and its history says why",
    ),
    "job.unknown_kind": ("warning", "no handler for this kind here; the job is parked for a worker that has one"),
    "job.newer_version": (
        "warning",
        "written by newer code than this; the job is parked for a worker that knows it",
    ),
    "lane.broken": ("error", "a key of this lane holds what it must not; the lane rests until people remove it"),
    "lane.mended": ("info", "the lane can be worked on again"),
    "job.unconfirmed": (
        "info",
        "no reply came when the outcome was sent; it was recorded then, or the lease lapsed",
    ),
    "lane.unparked": ("info", "parked jobs that this worker can run are let go"),
    "mail.uncertain": ("warning", "an earlier attempt may have delivered this mail; it is sent again"),
    "account.closed": ("warning", "a mail account is closed for a while; see `./run ops mail accounts`"),
    "account.open": ("info", "a mail account works again"),
    "mail.accepted": ("info", "the server accepted the mail"),
    "mail.suppressed": ("info", "the recipient is on the suppression list; the mail was not sent"),
    "mail.suppression_added": ("warning", "a server's word on a mailbox put an address on the suppression list"),
    "mail.refusal_doubted": (
        "warning",
        "many recipients are refused at once, which is taken for the server's fault; the mail waits",
    ),
    "mail.unnoted": ("warning", "Redis did not take a note about a mail; a bounce of it may stay unknown"),
    "mail.style_lost": (
        "warning",
        "many mail programs will not show a style of this template; `./run ops mail preview` tells the same",
    ),
    "mail.templates_unusable": ("error", "MOMENTUS_MAIL__TEMPLATES cannot be used, here or by a backend"),
    "mail.erased": ("info", "the content of mails that were dead for long was erased"),
    "report.refreshed": ("info", "report refreshed"),
    "report.superseded": ("info", "a newer set of this report is already stored; nothing was written"),
    "report.failed": ("error", "report could not be refreshed; the last good set stays"),
    "report.withdrawn": ("warning", "no worker declares the report any longer: it is neither listed nor served"),
    "report.forgotten": ("warning", "the report was withdrawn a day ago: nothing is stored of it any longer"),
    "report.unknown": ("warning", "a refresh was asked for a report that is not declared here"),
    "report.closed": ("info", "a day of the report was closed"),
    "report.not_closed": ("error", "a day of the report could not be closed; it is tried at the next refresh"),
    "report.mismatch": (
        "error",
        "an audit reckons a node's measure otherwise than it is stored; see `./run ops reports status`",
    ),
    "board.watched": ("info", "the database marks what changes this board"),
    "board.unwatched": (
        "warning",
        "the database does not mark what changes this board; any write in it counts as one",
    ),
    "board.unproved": (
        "warning",
        "nothing proves this board unchanged; it is computed at the pace of its `every`",
    ),
    "clock.failed": (
        "warning",
        "Redis could not be asked for a cron; it is asked again each second, and makes up for what it missed",
    ),
    "clocks.apart": (
        "error",
        "database and Redis differ by more than MOMENTUS_REPORTS__CLOCK_BOUND in time; no report is called fresh",
    ),
    "clocks.together": ("info", "the clocks of the database and of Redis are together again"),
    "clock.set": ("warning", "the clock of the database or of Redis was set; ages are told by it from now on"),
    "prober.failed": ("warning", "Redis or the database could not be looked at; it is tried again each second"),
}


class EventName(str):
    """The name of an event in the table."""

    __slots__ = ()


def event(name: str) -> EventName:
    """An event to be said, bound when a module is loaded: a name that the table lacks fails there and then.

    Raises:
        ValueError: the table has no such event.

    Example:
        >>> _STARTED = event("worker.started")
        >>> emit(_STARTED, worker="a1")  # doctest: +SKIP
    """
    if name not in _EVENTS:
        raise ValueError(f"event: {name!r} is not in the table of worker/events.py; add it there, with its words")
    return EventName(name)


def emit(what: EventName, **fields: object) -> None:
    """Say that something happened.

    Args:
        what: bound by :func:`event`.
        fields: ids, counts and durations.
    """
    speak, words = _spoken(what) if structlog.is_configured() else _speaker(what, structlog.get_logger("worker"))
    speak(words, event_name=str(what), **fields)


Speaker = tuple[Callable[..., object], str]
"""What says an event at its level, and the words."""


@cache
def _spoken(what: EventName) -> Speaker:
    """Bound once logging is set up: binding costs more than a line that is filtered out."""
    return _speaker(what, structlog.get_logger("worker").bind())


def _speaker(what: EventName, logger: structlog.typing.FilteringBoundLogger) -> Speaker:
    level, words = _EVENTS[what]
    return getattr(logger, level), words


def bind(**fields: object) -> None:
    """Add fields to everything that the current task says from now on."""
    structlog.contextvars.bind_contextvars(**fields)
