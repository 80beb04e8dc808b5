"""`ops mail bounces`: process delivery status reports from a folder or a pipe.

A report counts only if its Message-ID and its recipient match a mail that a worker sent. Then it is written into
the journal of that mail, and

    no such mailbox          the address is suppressed (hard_bounce)
    full, no route, expired  counted; three days of it within thirty suppress the address for a while (soft_bounce)
    policy, spam, size       only the journal
    one of many at once      only the journal: counted as a fault of the server (doubtful)
    delayed, delivered       ignored

All other messages are listed (`--unknown`) and suppress no address, so that a forged bounce has no effect.

A folder is a Maildir, or has at least a `new/`: each file is processed and then moved to `processed/` or
`unknown/` beside it. After a crash in between the same report is processed again, which changes nothing. From a
pipe, exit code 3 (Redis does not answer) must become 75 so that the mail server keeps the message: see
docs/operations.md.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import orjson
from redis.asyncio import Redis

from jobs.mail.mailbox import NARROWER, Weight, weigh_reply
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.mail.bounce import SIZE_LIMIT, BounceReport, NotAReport, RecipientFailure, id_of, read_report
from ops.mail.sent_note import SentNote, read_note, was_sent_to
from ops.mail.words import BOUNCE_HEADS, BOUNCES
from ops.table import table
from producers.keys import MAIL_BOUNCES_SEEN, MAIL_BOUNCES_UNKNOWN, LaneKeys, mail_sent
from producers.suppression import domain_of, weigh_refusal

BounceOutcome = Literal["suppressed", "counted", "noted", "doubtful", "ignored", "unknown", "repeated"]

_SCRIPT = (Path(__file__).parent / "scripts" / "bounced.lua").read_text(encoding="utf-8")
_DAY_MS = 86_400_000
_SEEN_MS = 60 * _DAY_MS
_JOURNAL_MS = 30 * _DAY_MS
_UNKNOWN_KEPT = 1000
_WORDS_KEPT = 500
_LONGEST_WINDOW = 31
"""Largest age in days of a note of a sent mail; the worker's setting allows 30."""
_KEYS = LaneKeys("mail.normal")
_JOB_MESSAGE_ID = re.compile(r"mail([0-9a-z-]{8,64})\Z")
_RUN = r"[^\s<>\"'(),;:]"
_ADDRESS = re.compile(rf"(?<!{_RUN}){_RUN}+@{_RUN}+")


@dataclass(frozen=True, slots=True)
class UnmatchedBounce:
    """A message that matches no sent mail."""

    id: str
    why: str
    about: Mapping[str, str]


async def process_bounce(redis: Redis, message: bytes, *, by: str) -> BounceOutcome:
    """Process one message; return its outcome; of several recipients, the most decisive one counts.

    Args:
        by: the source of the message, for the audit log.

    Raises:
        RedisError, OSError: Redis did not answer; process it again.
    """
    try:
        report = read_report(message)
    except NotAReport as error:
        return await _list(redis, UnmatchedBounce(id_of(message), str(error), {}))
    failed = [one for one in report.failures if one.action == "failed"]
    if not failed:
        return "ignored"
    known = await _sent_to(redis, report.message_id)
    if known is None:
        return await _list(
            redis,
            UnmatchedBounce(report.id, "it names no mail that was sent within 31 days", _about(report, failed[0])),
        )
    about = [one for one in report.failures if any(was_sent_to(known, address) for address in one.addresses)]
    failed_here = next((one for one in about if one.action == "failed"), None)
    if failed_here is None:
        why = "it names a recipient that the mail does not have"
        return await _list(redis, UnmatchedBounce(report.id, why, _about(report, failed[0])))
    return await _count(redis, report, failed_here, weigh_failures(about), known, by=by)


def weigh_failures(about: Sequence[RecipientFailure]) -> Weight:
    """Return the weight of a report's blocks about one address: the narrowest.

    There are several blocks if the address is a group's; it is alive if any of its members took the mail.
    """
    if any(one.action in {"delivered", "relayed", "expanded"} for one in about):
        return "none"
    said = [weigh_reply(one.status, one.diagnostic) for one in about if one.action == "failed"]
    return min(said, key=NARROWER.index, default="none")


async def _sent_to(redis: Redis, message_id: str) -> SentNote | None:
    """Read the worker's note of a mail; None if there is none, or no longer."""
    if not message_id:
        return None
    seconds, _ = await redis.time()  # workers note the day by this clock
    today = int(seconds) // 86_400
    pipe = redis.pipeline(transaction=False)
    for day in range(today + 1, today - _LONGEST_WINDOW, -1):
        pipe.hget(mail_sent(day), message_id)
    return next((read_note(found) for found in await pipe.execute() if found), None)


async def _count(
    redis: Redis, report: BounceReport, failure: RecipientFailure, weight: Weight, known: SentNote, *, by: str
) -> BounceOutcome:
    """Count a refusal, then write the journal.

    The suppression list comes first: if this is interrupted, a repetition changes nothing.
    """
    address = next(one for one in failure.addresses if was_sent_to(known, one))
    if (
        weight == "hard" and len(known.digests) > 1
    ):  # each recipient knows the Message-ID and the others' addresses
        weight = "counted"
    job_id = _job_id(report.message_id)
    if await redis.zscore(MAIL_BOUNCES_SEEN, report.id) is not None:
        return "repeated"
    what: BounceOutcome = await weigh_refusal(
        redis.execute_command,
        address,
        weight,
        by=by,
        account=known.account,
        handed_over_ms=known.handed_over_ms,
        evidence=job_id,
    )
    new = await _write(redis, report.id, "journal", _reason(report, failure), job_id=job_id)
    return what if new else "repeated"


def _reason(report: BounceReport, failure: RecipientFailure) -> str:
    """Return a line for the journal, without addresses, distinct from an account's (`jobs.mail.journal`)."""
    server = report.reporter or "an unnamed server"
    text = f"{failure.status or 'no status'} says {server}, {failure.diagnostic[:_WORDS_KEPT]}".replace(": ", " ")
    return _ADDRESS.sub("[address]", text)


async def _list(redis: Redis, unknown: UnmatchedBounce) -> BounceOutcome:
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    line = orjson.dumps({"at_ms": now_ms, "id": unknown.id, "why": unknown.why, **unknown.about}).decode()
    return "unknown" if await _write(redis, unknown.id, "unknown", line, job_id="") else "repeated"


async def _write(redis: Redis, report_id: str, where: str, words: str, *, job_id: str) -> bool:
    payload = f"arq:job:{job_id if job_id.startswith(_KEYS.tag) else _KEYS.tag}"  # a script's keys lie in one slot
    keys = [MAIL_BOUNCES_SEEN, MAIL_BOUNCES_UNKNOWN, _KEYS.history(job_id), payload]
    arguments: list[str | int] = [report_id, _SEEN_MS, where, words, _UNKNOWN_KEPT, _JOURNAL_MS]
    return bool(await redis.register_script(_SCRIPT)(keys=keys, args=arguments))


def _about(report: BounceReport, failure: RecipientFailure) -> dict[str, str]:
    """Return the facts of an unmatched report that may be kept: no address."""
    return {
        "message_id": report.message_id,
        "reporter": report.reporter,
        "status": failure.status,
        "domain": domain_of(failure.addresses[0]),
    }


def _job_id(message_id: str) -> str:
    """Return the id of a mail's job: the Message-ID is that id without its braces."""
    found = _JOB_MESSAGE_ID.match(message_id)
    return f"{{mail}}{found[1]}" if found else message_id


# From a folder or a pipe


async def _from_folder(redis: Redis, folder: Path) -> Counter[str]:
    if not (folder / "new").is_dir():
        raise CommandRefused(f"--folder: {folder} has no folder new/; name a Maildir")
    counts: Counter[str] = Counter()
    for file in sorted((folder / "new").iterdir()):
        if not file.is_file() or file.name.startswith("."):
            continue
        what = await process_bounce(redis, _read(file), by=f"folder {folder.name}")
        counts[what] += 1
        _move(file, folder / ("unknown" if what == "unknown" else "processed"))
    return counts


def _read(file: Path) -> bytes:
    with file.open("rb") as open_file:
        return open_file.read(SIZE_LIMIT)


def _from_pipe() -> bytes:
    """Read one message; read and drop the rest of a long one, so that the writer's pipe does not break."""
    message = sys.stdin.buffer.read(SIZE_LIMIT)
    while sys.stdin.buffer.read(SIZE_LIMIT):
        pass
    return message


def _move(file: Path, to: Path) -> None:
    """Move a file; atomic within a file system. A second run at the same time may have moved it already."""
    to.mkdir(exist_ok=True)
    try:
        file.rename(to / file.name)
    except FileNotFoundError:
        return


# The command


async def _bounces(tools: Tools, args: argparse.Namespace) -> CommandResult:
    if args.unknown:
        return await _unknown(tools, args.limit)
    if args.folder is not None:
        counts = await _from_folder(tools.redis, args.folder)
    else:
        counts = Counter([await process_bounce(tools.redis, _from_pipe(), by="pipe")])
    text, words = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())), BOUNCES[tools.language]
    return CommandResult(
        words["processed"].format(counts=text) if text else words["none"], {"taken": dict(counts)}
    )


async def _unknown(tools: Tools, limit: int) -> CommandResult:
    lines = await tools.redis.lrange(MAIL_BOUNCES_UNKNOWN, -limit, -1)  # type: ignore[misc]  # typed for both clients
    entries = [orjson.loads(line) for line in lines]
    rows = [
        [
            f"{datetime.fromtimestamp(one['at_ms'] / 1000, UTC):%Y-%m-%d %H:%M:%S}",
            *(str(one.get(name, "")) for name in ("why", "status", "domain", "reporter", "message_id")),
        ]
        for one in entries
    ]
    heads, none = BOUNCE_HEADS[tools.language], BOUNCES[tools.language]["no_unknown"]
    return CommandResult(table(heads, rows, left=set(range(6))) if rows else none, {"unknown": entries})


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path, metavar="DIR", help="a Maildir: process the files of its new/")
    source.add_argument(
        "--stdin", action="store_true", help="process one message from a pipe, as from a mail alias"
    )
    source.add_argument("--unknown", action="store_true", help="list the messages that match no sent mail")
    parser.add_argument(
        "--limit",
        type=int,
        choices=range(1, 1001),
        default=50,
        metavar="N",
        help="at most N entries of the list (default 50)",
    )


COMMANDS = (
    Command(
        "bounces",
        "process delivery status reports, or list those that match no sent mail",
        "mail bounces --folder /var/mail/bounces",
        _add_source,
        _bounces,
    ),
)
