"""`ops mail uncertain` and `resolve`: list mails with an uncertain delivery, and decide about one.

The list holds the latest ten thousand, and every mail that waits for a decision, at any age. A mail of a stream
that resends is listed with its current state; a mail of a stream that holds waits for a decision: check the
account's sent mail, then say `accepted`, or `resend` and risk a second copy.

The scripts that count a mail as uncertain list it in the same call. Waiting mails are also found by their park
notes, so that none depends on the list.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import orjson
from redis.asyncio import Redis

from jobs.lanes import MAIL_LANES
from ops.command import Command, CommandResult, Tools
from ops.jobs.parked import read_parking
from ops.mail.suppression import add_operator
from ops.mail.trace import Trace, add_id, instant_of, trace_mail
from ops.mail.words import UNCERTAIN, UNCERTAIN_HEADS
from ops.table import table
from producers.keys import LaneKeys
from producers.link.script import read_script

KEEP = timedelta(days=3)
"""The time for which a mail resolved as accepted can still be traced."""
_KEYS = LaneKeys(MAIL_LANES[0])
_SCRIPT = read_script(Path(__file__).parent / "scripts", "resolve")
_MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertainMail:
    """A mail on the list.

    Attributes:
        noted: the instant of its last uncertain attempt.
        state: its current state; `uncertain` while it waits for a decision.
    """

    id: str
    noted: datetime
    state: str
    account: str


async def list_uncertain(redis: Redis, *, limit: int) -> tuple[list[UncertainMail], int]:
    """Return the latest of the list, then unlisted mails that wait for a decision; and the total number.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found: Sequence[tuple[bytes, float]] = await redis.zrange(
        _KEYS.uncertain, 0, limit - 1, desc=True, withscores=True
    )
    unlisted = await _waiting_unlisted(redis)
    listed = [_doubt(await trace_mail(redis, job_id.decode()), noted) for job_id, noted in found]
    listed += [_doubt(await trace_mail(redis, job_id)) for job_id in unlisted[: limit - len(listed)]]
    return listed, int(await redis.zcard(_KEYS.uncertain)) + len(unlisted)


def _doubt(one: Trace, noted: float | None = None) -> UncertainMail:
    doubtful = (event.at for event in reversed(one.journal) if event.outcome in {"uncertain", "parked"})
    at = next(doubtful, datetime.now(UTC)) if noted is None else instant_of(noted)
    return UncertainMail(id=one.id, noted=at, state=one.state, account=one.account)


async def _waiting_unlisted(redis: Redis) -> list[str]:
    """Return the ids of mails that wait for a decision but are too old for the list."""
    waiting: list[str] = []
    for lane in MAIL_LANES:
        async for job_id, note in redis.hscan_iter(LaneKeys(lane).parked, count=_MOST):
            parking = read_parking(note)
            if parking and parking.why == "uncertain":
                waiting.append(job_id.decode(errors="replace"))
    unlisted: list[str] = []
    for at in range(0, len(waiting), _MOST):
        some = waiting[at : at + _MOST]
        scores = await redis.zmscore(_KEYS.uncertain, some)
        unlisted += [job_id for job_id, score in zip(some, scores, strict=True) if score is None]
    return unlisted


async def resolve_uncertain(redis: Redis, job_id: str, decision: Literal["accepted", "resend"], *, by: str) -> str:
    """Decide about a mail; return its lane, "" if it does not wait for a decision about its delivery.

    Raises:
        RedisError, OSError: Redis did not answer; a second call is harmless.
    """
    keys = [_KEYS.counters, _KEYS.uncertain, _KEYS.limited, _KEYS.adopted]
    for one in map(LaneKeys, MAIL_LANES):
        keys += [one.queue, one.parked, one.retrying, one.wake]
    now = round(datetime.now(UTC).timestamp() * 1000)
    result = orjson.dumps(
        {
            "t": 0,
            "f": "mail.send",
            "a": [],
            "k": {},
            "et": now,
            "s": True,
            "st": now,
            "ft": now,
            "r": {"reply": f"marked as accepted by {by}"},
            "q": "",
            "id": job_id,
        }
    )
    life = round(KEEP / timedelta(milliseconds=1))
    arguments: list[str | bytes | int] = [job_id, decision, by, result, life, *MAIL_LANES]
    lane: bytes = await redis.register_script(_SCRIPT)(keys=keys, args=arguments)
    return lane.decode()


# The commands


async def _uncertain(tools: Tools, args: argparse.Namespace) -> CommandResult:
    found, total = await list_uncertain(tools.redis, limit=args.limit)
    facts = {"uncertain": [asdict(one) for one in found], "total": total}
    words = UNCERTAIN[tools.language]
    if not found:
        return CommandResult(words["none"], facts)
    rows = [[one.id, f"{one.noted:%Y-%m-%d %H:%M:%S}", one.account, one.state] for one in found]
    text = table(UNCERTAIN_HEADS[tools.language], rows, left={0, 1, 2, 3})
    if any(one.state == "uncertain" for one in found):
        text += words["waiting"]
    return CommandResult(text + (words["total"].format(total=total) if total > len(found) else ""), facts)


async def _resolve(tools: Tools, args: argparse.Namespace) -> CommandResult:
    lane = await resolve_uncertain(tools.redis, args.id, args.decision, by=args.by)
    facts = {"id": args.id, "lane": lane, "decision": args.decision}
    words = UNCERTAIN[tools.language]
    return CommandResult(words[args.decision if lane else "not_waiting"], facts, done=bool(lane))


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help="at most N of the latest (default 20)"
    )


def _add_decision(parser: argparse.ArgumentParser) -> None:
    add_id(parser)
    parser.add_argument(
        "decision", choices=("accepted", "resend"), help="accepted: it was delivered; resend: send it again"
    )
    add_operator(parser)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a whole number from 1 to {_MOST}")
    return int(text)


COMMANDS = (
    Command(
        "uncertain",
        "list mails that may or may not have been delivered",
        "mail uncertain --limit 100",
        _add_limit,
        _uncertain,
    ),
    Command(
        "resolve",
        "decide about a mail with an uncertain delivery",
        "mail resolve '{mail}0199…' accepted",
        _add_decision,
        _resolve,
    ),
)
