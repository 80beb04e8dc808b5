"""Jobs grouped by lane, kind and class of error: what is retrying, why, and when next. Pure.

The class of a mail's error is the side at fault, the stage and the code of the server's reply; for another error,
its name; for a reason in words, these words without their digits.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from jobs.mail.journal import read_line
from ops.jobs.listing import ListedJob

_LAST = re.compile(r"(?:attempt \d{1,9} of \d{1,9} failed|.{0,30}older than .{1,40} at the next attempt): ")
_REPLY = re.compile(r"(connect|login|mail|rcpt|data|dot) ([1-5]\d\d)\b")
_NAME = re.compile(r"(?:[\w-]{1,64}: )?([A-Z]\w{2,63}(?:Error|Exception|Fault|Timeout|[a-z]))(?:: |$)", re.ASCII)
_DIGITS = re.compile(r"\d+")
_LENGTH = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Jobs of one lane and kind with one class of error.

    Attributes:
        attempts: the largest number of attempts among them.
        next: the earliest time at which one of them is due; for jobs that do not wait, the earliest of their
            times.
        example: the id of the job that is next.
    """

    lane: str
    kind: str
    error: str
    count: int
    attempts: int
    next: datetime
    example: str


def group_jobs(found: Iterable[ListedJob]) -> list[ErrorGroup]:
    """Group jobs by lane, kind and class of error; the largest group first."""
    groups: dict[tuple[str, str, str], list[ListedJob]] = {}
    for one in found:
        groups.setdefault((one.lane, one.kind, error_class(one.reason)), []).append(one)
    return sorted((_group(*key, jobs) for key, jobs in groups.items()), key=lambda one: (-one.count, one.next))


def error_class(reason: str) -> str:
    r"""Return the class of the error in a job's last reason.

    >>> error_class("attempt 2 of 30 failed: main recipient: rcpt 452 4.2.2 mailbox of ana full")
    'recipient rcpt 452'
    >>> error_class("sales: UndefinedTableError: relation shop.orders does not exist")
    'UndefinedTableError'
    >>> error_class("the bank is closed until 9:30")
    'the bank is closed until #:#'
    """
    words = _LAST.sub("", reason, count=1)
    if named := _NAME.match(words):
        return named[1]
    line = read_line(words)
    if line is not None and (reply := _REPLY.match(line.words)):
        return f"{line.scope or 'connection'} {reply[1]} {reply[2]}"
    told = words if line is None else f"{line.scope} {line.words}".strip()
    return _DIGITS.sub("#", " ".join(told.partition("\n")[0].split()))[:_LENGTH]


def _group(lane: str, kind: str, error: str, jobs: list[ListedJob]) -> ErrorGroup:
    first = min(jobs, key=lambda one: one.at)
    return ErrorGroup(
        lane=lane,
        kind=kind,
        error=error,
        count=len(jobs),
        attempts=max(one.attempt for one in jobs),
        next=first.at,
        example=first.id,
    )
