"""`ops mail trace ID`: show the journal of one mail, with the servers' replies.

    queued      waits for its turn, or for its time
    held        its lane or its account is held, or it waits for an operator
    sending     an attempt runs
    deferred    an attempt failed for now; a worker will retry it
    uncertain   an attempt may have delivered it, and an operator must decide
    accepted    a server took responsibility: never "delivered", which only the recipient knows
    bounced     the recipient's server refused it for good, at once or in a later report
    dead        given up for another reason
    expired     not started before its deadline
    cancelled   removed by its sender or an operator
    suppressed  not sent: the address is on the suppression list
    unknown     no trace is left

The journal holds servers' replies, which may quote an address; anyone who may read Redis can see it.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from jobs.lanes import MAIL_LANES
from jobs.mail.journal import read_line
from ops.command import Command, CommandResult, Tools
from ops.jobs.job import HistoryEvent, read_event, read_job
from ops.language import Language
from ops.mail.words import TRACE, TRACE_HEADS
from ops.table import printable, table
from producers.keys import LaneKeys, mail_recipients

State = Literal[  # fmt: skip  one per line would fill a screen
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
"""The state by the last entry of a history whose job is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """State and journal of one mail.

    Attributes:
        account: the account of the last attempt; "" if there was none.
        words: the server's last reply, or why the mail waits.
        attempt: the running attempt, else the next one, else the last one.
        recipients: for a mail to several, place (``cc[0]``) to outcome; for an unfinished one, only the settled
            ones.
    """

    id: str
    state: State
    lane: str
    account: str
    words: str
    attempt: int
    since: datetime | None
    journal: tuple[HistoryEvent, ...]
    recipients: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFacts:
    """Facts from which a state is derived.

    Attributes:
        job: the job's state in the queue.
        parked: why it is parked; "" if it is not.
        held: True if its lane is held.
        result: the stored result of the last attempt; None if none is kept.
    """

    job: str
    parked: str = ""
    held: bool = False
    result: Mapping[str, Any] | None = None
    journal: Sequence[HistoryEvent] = ()


def state_of(facts: TraceFacts) -> State:  # noqa: PLR0911  one return per row of the table above
    """Derive the state of a mail from the facts of its job.

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
            if last is not None and last.outcome == "bounced":  # by a later report (`ops mail bounces`)
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
    """Return True if the result alone says so, as earlier workers stored it."""
    value = result.get("r") if result else None
    return isinstance(value, dict) and value.get("state") == "suppressed"


async def trace_mail(redis: Redis, job_id: str) -> Trace:
    """Read a mail's state and journal.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    job = await read_job(redis, job_id)
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.get(f"arq:result:{job_id}")
        pipeline.lrange(_KEYS.history(job_id), 0, -1)
        pipeline.hget(_KEYS.holds, f"lane:{job.lane}")
        pipeline.hgetall(mail_recipients(job_id))
        for lane in MAIL_LANES:
            pipeline.hget(LaneKeys(lane).parked, job_id)
        result, lines, hold, settled, *parked = await pipeline.execute()
    journal = tuple(event for line in lines if (event := read_event(line)))
    fields = _mapping(result)
    note = next((_mapping(one) for one in parked if one), {})
    facts = TraceFacts(
        job=job.state, parked=str(note.get("why", "")), held=hold is not None, result=fields, journal=journal
    )
    line = next((found for event in reversed(journal) if (found := read_line(event.reason))), None)
    value = fields["r"] if isinstance(fields.get("r"), dict) else {}
    return Trace(
        id=job_id,
        state=state_of(facts),
        lane=job.lane or str(fields.get("q", "")),
        account=str(value.get("account", line.account if line else "")),
        words=_suppression(value) or str(value.get("reply", line.words if line else note.get("reason", ""))),
        attempt=job.attempt or int(fields.get("t", 0)),
        since=job.since,
        journal=journal,
        recipients=value.get("recipients") or {place.decode(): one.decode() for place, one in settled.items()},
    )


def _suppression(value: Mapping[str, Any]) -> str:
    """Return the reason why a suppressed mail was not sent, from its result; "" for any other mail."""
    if value.get("state") != "suppressed":
        return ""
    until = value.get("until")
    return f"{value.get('reason')} for {value.get('scope')}, {f'until {until}' if until else 'without an end'}"


def _mapping(stored: bytes | None) -> Mapping[str, Any]:
    try:
        fields = orjson.loads(stored or b"{}")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


async def _trace(tools: Tools, args: argparse.Namespace) -> CommandResult:
    found = await trace_mail(tools.redis, args.id)
    facts = asdict(found)
    if found.state == "unknown" and not found.journal:
        return CommandResult(TRACE[tools.language]["none"], facts, done=False)
    return CommandResult(trace_text(found, tools.language), facts)


def trace_text(found: Trace, language: Language = "en") -> str:
    """Return a mail's trace as text: its state, then its journal."""
    words = TRACE[language]
    by = words["by"].format(account=found.account) if found.account else ""
    lane = found.lane or words["no_lane"]
    head = f"{found.id}\n" + words["head"].format(state=found.state, by=by, attempt=found.attempt, lane=lane)
    if found.words:
        head += f"\n{printable(found.words)}"
    head += "".join(f"\n{place}: {printable(outcome)}" for place, outcome in found.recipients.items())
    if not found.journal:
        return head
    rows = [
        [f"{event.at:%Y-%m-%d %H:%M:%S}", str(event.attempt or ""), event.outcome, printable(event.reason)]
        for event in found.journal
    ]
    return f"{head}\n\n" + table(TRACE_HEADS[language], rows, left={0, 2, 3})


def add_id(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a mail."""
    parser.add_argument("id", metavar="ID", help="the mail's id, braces included; quote it in a shell")


def instant_of(milliseconds: float) -> datetime:
    """Convert milliseconds of Redis's clock to an instant."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


COMMANDS = (
    Command(
        "trace",
        "show the journal of one mail, with the servers' replies",
        "mail trace '{mail}0199…'",
        add_id,
        _trace,
    ),
)
