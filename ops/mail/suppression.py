"""`ops mail suppressed`, `suppress`: list the addresses that get no mail, with the reasons, and add one.

All changes are logged. Addresses are not stored (see `producers/suppression.py`), so the list shows a domain and
the first digits of a digest. To query one address, give it.
"""

import argparse
import getpass
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from redis.asyncio import Redis

from jobs import JobError
from jobs.mail.address import PRIVATE_DOMAINS, normal_address
from ops.arguments import duration_argument
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.language import Language
from ops.mail.doubt import doubt_text, read_doubts
from ops.mail.words import LIST_HEADS, LOG_HEADS, REASON_HEADS, SUPPRESSION
from ops.table import printable, table
from producers import InvalidRequest
from producers.keys import MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG
from producers.suppression import (
    EVERYTHING,
    REASONS,
    Suppression,
    digest_of,
    read_reasons,
    reasons_of,
    suppress,
)

_SHOWN_DIGITS = 12
_DIGEST_DIGITS = 64
_BATCH = 500
_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressedAddress:
    """An address on the list: its digest, domain and reasons."""

    digest: str
    domain: str
    reasons: tuple[Suppression, ...]


async def list_suppressed(redis: Redis) -> AsyncIterator[SuppressedAddress]:
    """Yield all addresses with a reason that still applies, in no order.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    now = datetime.now(UTC)
    async for digest, entry in redis.hscan_iter(MAIL_SUPPRESSION, count=_BATCH):
        if reasons := read_reasons(entry, now=now):
            yield SuppressedAddress(digest=digest.decode(), domain=_domain(entry), reasons=reasons)


def _domain(entry: bytes) -> str:
    try:
        return str(orjson.loads(entry)["domain"])
    except (ValueError, TypeError, KeyError):
        return "?"


# The commands


async def _suppressed(tools: Tools, args: argparse.Namespace) -> CommandResult:
    if args.log:
        return await _log(tools, args.limit)
    if args.address is not None:
        return await _one(tools, args.address)
    found: list[SuppressedAddress] = []
    async for one in list_suppressed(tools.redis):
        if args.domain in {None, one.domain} and len(found) < args.limit:
            found.append(one)
    total = int(await tools.redis.hlen(MAIL_SUPPRESSION))  # type: ignore[misc]  # typed for both clients
    language, words = tools.language, SUPPRESSION[tools.language]
    rows = [
        [one.domain, one.digest[:_SHOWN_DIGITS], *_cells(reason, language)]
        for one in found
        for reason in one.reasons
    ]
    text = table(LIST_HEADS[language], rows, left=set(range(7))) if rows else words["none"]
    more = words["total"].format(total=total) if total > len(found) else ""
    doubts = await read_doubts(tools.redis)
    notes = "".join(f"{printable(doubt_text(one, language))}\n" for one in doubts)
    notes += f"{words['doubted']}\n\n" if doubts else ""
    facts = {
        "suppressed": [asdict(one) for one in found],
        "total": total,
        "doubts": [asdict(one) for one in doubts],
    }
    return CommandResult(notes + text + more, facts)


async def _one(tools: Tools, address: str) -> CommandResult:
    digest = digest_or_refused(address)
    reasons = await reasons_of(tools.redis.execute_command, digest)
    rows = [_cells(one, tools.language) for one in reasons]
    heads, words = REASON_HEADS[tools.language], SUPPRESSION[tools.language]
    text = table(heads, rows, left=set(range(5))) if reasons else words["not_suppressed"]
    return CommandResult(text, {"digest": digest, "reasons": [asdict(one) for one in reasons]}, done=bool(reasons))


async def _log(tools: Tools, limit: int) -> CommandResult:
    lines = await tools.redis.lrange(MAIL_SUPPRESSION_LOG, -limit, -1)  # type: ignore[misc]  # typed for both clients
    entries: list[dict[str, Any]] = [orjson.loads(line) for line in lines]
    rows = [
        [
            f"{datetime.fromtimestamp(one['at_ms'] / 1000, UTC):%Y-%m-%d %H:%M:%S}",
            *(str(one.get(name, "")) for name in ("by", "action", "reason")),
            str(one.get("digest", ""))[:_SHOWN_DIGITS],
            str(one.get("evidence", "")),
        ]
        for one in entries
    ]
    heads, words = LOG_HEADS[tools.language], SUPPRESSION[tools.language]
    return CommandResult(table(heads, rows, left=set(range(6))) if rows else words["no_log"], {"log": entries})


async def _suppress(tools: Tools, args: argparse.Namespace) -> CommandResult:
    lasting: timedelta | str | None = args.lasting or "usual"
    digest = digest_or_refused(args.address)
    try:
        added = await suppress(
            tools.redis.execute_command,
            normal_address(args.address, field="ADDRESS", private_domains=PRIVATE_DOMAINS),
            args.reason,
            by=args.by,
            scope=args.scope,
            lasting=lasting,  # type: ignore[arg-type]  # a duration or the word
            evidence=args.evidence,
        )
    except InvalidRequest as refusal:
        raise CommandRefused(str(refusal)) from None
    text = SUPPRESSION[tools.language]["suppressed" if added else "unchanged"]
    return CommandResult(
        text, {"digest": digest, "reason": args.reason, "scope": args.scope, "added": added}, done=added
    )


def _cells(one: Suppression, language: Language) -> list[str]:
    until = SUPPRESSION[language]["for_ever"] if one.until is None else f"{one.until:%Y-%m-%d}"
    return [one.reason, one.scope, f"{one.at:%Y-%m-%d}", until, one.by]


def digest_or_refused(address: str) -> str:
    """Return the digest of an address.

    Raises:
        CommandRefused: it is not an address.
    """
    try:
        return digest_of(normal_address(address, field="ADDRESS", private_domains=PRIVATE_DOMAINS))
    except JobError as refusal:
        raise CommandRefused(str(refusal)) from None


def is_digest(text: str) -> bool:
    """Return True if the text is a digest, not an address."""
    return len(text) == _DIGEST_DIGITS and all(letter in "0123456789abcdef" for letter in text)


# Arguments


def add_operator(parser: argparse.ArgumentParser) -> None:
    """Add the option for the name in the audit log."""
    parser.add_argument(
        "--by", default=operator_name(), metavar="WHO", help="the name for the audit log (default: your user)"
    )


def operator_name() -> str:
    """Return the operator's name for the audit log: the user behind sudo, else the user of this process."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", nargs="?", metavar="ADDRESS", help="one address (default: the whole list)")
    parser.add_argument("--domain", metavar="DOMAIN", help="only addresses of this domain")
    parser.add_argument("--log", action="store_true", help="show the log of changes, newest last")
    parser.add_argument("--limit", type=_limit, default=100, metavar="N", help="at most N entries (default 100)")


def _add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="name@domain")
    parser.add_argument("--reason", choices=REASONS, default="manual", help="the reason (default manual)")
    parser.add_argument(
        "--scope", default=EVERYTHING, metavar="SCOPE", help="all (default), or stream:NAME for one stream"
    )
    parser.add_argument("--for", dest="lasting", type=duration_argument, metavar="TIME", help="duration, like 30d")
    parser.add_argument("--evidence", default="", metavar="ID", help="the proof, such as a ticket or report")
    _add_who(parser)


def _add_who(parser: argparse.ArgumentParser) -> None:
    add_operator(parser)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a whole number from 1 to {_MOST}")
    return int(text)


COMMANDS: Sequence[Command] = (
    Command(
        "suppressed",
        "list the addresses that get no mail, with the reasons",
        "mail suppressed --domain example.com",
        _add_filter,
        _suppressed,
    ),
    Command(
        "suppress",
        "send no more mail to an address",
        "mail suppress ana@example.com --reason complaint --evidence ticket-17",
        _add_reason,
        _suppress,
    ),
)
