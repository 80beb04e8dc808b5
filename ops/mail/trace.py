"""`ops mail trace ID`: the journal of one mail, with the servers' own words.

    queued      waits for its turn, or for its time
    held        its lane or its account is held, or it waits for people
    sending     an attempt runs
    deferred    an attempt failed for now; it will be tried again
    uncertain   an attempt may have delivered it, and people are to decide
    accepted    a server took responsibility: never "delivered", which only the recipient knows
    bounced     the recipient's server refused it for good, at once or in a report that came later
    dead        given up for another reason
    expired     not begun before its deadline
    cancelled   taken out by people
    suppressed  not sent: the address is on the list of those that are not written to
    unknown     nothing is left of it

The journal holds servers' replies and with them, at times, an address; it is shown to whoever may read Redis.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from jobs.lanes import MAIL_LANES
from jobs.mail.journal import read_line
from ops.command import Command, CommandResult, Tools
from ops.jobs.job import HistoryEvent, read_event, read_job
from ops.table import printable, table
from producers.keys import LaneKeys

State = Literal[  # fmt: skip  a word a line would be a screen of them
    "queued",
    "held",
    "sending",
    "deferred",
    "uncertain",
    "accepted",
    "bounced",
    "dead",
    "expired",
    "cancelled",
    "suppressed",
    "unknown",
]

_KEYS = LaneKeys(MAIL_LANES[0])
_ENDED: Mapping[str, State] = {
    "expired": "expired",
    "cancelled": "cancelled",
    "accepted": "accepted",
    "bounced": "bounced",
}
"""What a history ends with when the job is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One mail.

    Attributes:
        account: by which it was tried last; "" when it was not.
        words: the server's last, or why it waits.
        attempt: the one that runs, or the next one, or the last one.
    """

    id: str
    state: State
    lane: str
    account: str
    words: str
    attempt: int
    since: datetime | None
    journal: tuple[HistoryEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFacts:
    """What a state is derived from.

    Attributes:
        job: the queue's word for it.
        parked: why it is parked; "" when it is not.
        held: whether its lane is held.
        result: what the attempt that ended it returned, or the reason; None when nothing is kept.
    """

    job: str
    parked: str = ""
    held: bool = False
    result: Mapping[str, Any] | None = None
    journal: Sequence[HistoryEvent] = ()


def state_of(facts: TraceFacts) -> State:  # noqa: PLR0911  one return per row of the table above
    """The state of a mail, from what is known of its job.

    >>> state_of(TraceFacts(job="ready", held=True))
    'held'
    """
    last = facts.journal[-1] if facts.journal else None
    if facts.parked:
        return "uncertain" if facts.parked == "uncertain" else "held"
    match facts.job:
        case "leased":
            return "sending"
        case "dead":
            return _of_dead(last.reason if last else "")
        case "suppressed":
            return "suppressed"
        case "done":
            if last is not None and last.outcome == "bounced":  # a report that came later (`ops mail bounces`)
                return "bounced"
            return "suppressed" if _is_suppressed(facts.result) else "accepted"
        case "ready" | "scheduled" | "retrying":
            if last is not None and last.outcome in {"retry", "deferred", "uncertain"}:
                return "deferred"
            return "held" if facts.held else "queued"
        case _:
            return _ENDED.get(last.outcome, "unknown") if last else "unknown"


def _of_dead(reason: str) -> State:
    line = read_line(reason)
    if line is None:
        return "dead"
    return "bounced" if line.scope == "recipient" else "dead"


def _is_suppressed(result: Mapping[str, Any] | None) -> bool:
    """By the result alone, as earlier workers told it."""
    value = result.get("r") if result else None
    return isinstance(value, dict) and value.get("state") == "suppressed"


async def trace_mail(redis: Redis, job_id: str) -> Trace:
    """Look a mail up.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    job = await read_job(redis, job_id)
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.get(f"arq:result:{job_id}")
        pipeline.lrange(_KEYS.history(job_id), 0, -1)
        pipeline.hget(_KEYS.holds, f"lane:{job.lane}")
        for lane in MAIL_LANES:
            pipeline.hget(LaneKeys(lane).parked, job_id)
        result, lines, hold, *parked = await pipeline.execute()
    journal = tuple(event for line in lines if (event := read_event(line)))
    told = _mapping(result)
    note = next((_mapping(one) for one in parked if one), {})
    facts = TraceFacts(
        job=job.state, parked=str(note.get("why", "")), held=hold is not None, result=told, journal=journal
    )
    line = next((found for event in reversed(journal) if (found := read_line(event.reason))), None)
    value = told["r"] if isinstance(told.get("r"), dict) else {}
    return Trace(
        id=job_id,
        state=state_of(facts),
        lane=job.lane or str(told.get("q", "")),
        account=str(value.get("account", line.account if line else "")),
        words=_suppression(value) or str(value.get("reply", line.words if line else note.get("reason", ""))),
        attempt=job.attempt or int(told.get("t", 0)),
        since=job.since,
        journal=journal,
    )


def _suppression(value: Mapping[str, Any]) -> str:
    """Why a suppressed mail was not sent, as its result says; "" of any other mail."""
    if value.get("state") != "suppressed":
        return ""
    until = value.get("until")
    return f"{value.get('reason')} for {value.get('scope')}, {f'until {until}' if until else 'without an end'}"


def _mapping(octets: bytes | None) -> Mapping[str, Any]:
    try:
        told = orjson.loads(octets or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


async def _trace(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    found = await trace_mail(tools.redis, asked.id)
    facts = asdict(found)
    if found.state == "unknown" and not found.journal:
        return CommandResult(
            "Nothing is known of it: done long ago, taken out, or it never was.", facts, done=False
        )
    return CommandResult(trace_text(found), facts)


def trace_text(found: Trace) -> str:
    """A mail in words: where it stands, then its journal."""
    by = f" by {found.account}" if found.account else ""
    head = f"{found.id}\n{found.state}{by}, attempt {found.attempt}, {found.lane or 'no lane any more'}"
    if found.words:
        head += f"\n{printable(found.words)}"
    if not found.journal:
        return head
    rows = [
        [f"{event.at:%Y-%m-%d %H:%M:%S}", str(event.attempt or ""), event.outcome, printable(event.reason)]
        for event in found.journal
    ]
    return f"{head}\n\n" + table(("AT (UTC)", "ATTEMPT", "CAME TO", "WORDS"), rows, left={0, 2, 3})


def takes_id(it: argparse.ArgumentParser) -> None:
    """The argument that names a mail."""
    it.add_argument("id", metavar="ID", help="the mail's id, braces included; quote it in a shell")


def utc(milliseconds: float) -> datetime:
    """An instant of Redis's clock."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


COMMANDS = (
    Command(
        "trace", "the journal of one mail, with the servers' words", "mail trace '{mail}0199…'", takes_id, _trace
    ),
)
