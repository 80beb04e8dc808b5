"""`ops mail unsuppress`: remove one address from the suppression list, or many after a fault that suppressed them.

    unsuppress ana@example.com                     one address, by its name or its digest
    unsuppress --domain example.com --since 2h     shows the number of entries; --yes removes them

An entry must match every given option, and at least one of --domain, --since and --log-by is required. Without
--reason only `hard_bounce` and `soft_bounce` are removed, so that a recipient's own request is never removed in
bulk by accident. Each address is one call of `suppress.lua`, so that Redis is never blocked, and a second run
removes the rest.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.asyncio import Redis

from ops import arguments
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.language import Language
from ops.mail.suppression import add_operator, digest_or_refused, is_digest, list_suppressed
from ops.mail.undo import keep_removed, read_entry
from ops.mail.words import MATCH_HEADS, SUPPRESSION
from ops.table import table
from ops.undo.texts import UNDO
from producers.suppression import EVERYTHING, REASONS, Suppression, reasons_of, unsuppress

_BOUNCES = ("hard_bounce", "soft_bounce")
_SHOWN_DOMAINS = 20
_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionFilter:
    """Filter of suppression entries; a field that is None or empty matches all."""

    domain: str | None
    since: datetime | None
    by: str | None
    reasons: Sequence[str]
    scope: str

    def matches(self, domain: str, one: Suppression) -> bool:
        """Return True if it matches a reason against an address of this domain."""
        return (
            self.domain in {None, domain}
            and (self.since is None or one.at >= self.since)
            and self.by in {None, one.by}
            and one.reason in self.reasons
            and one.scope == self.scope
        )


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """One reason against one address."""

    digest: str
    domain: str
    reason: str


async def find_entries(redis: Redis, choice: SuppressionFilter) -> list[SuppressionEntry]:
    """Return all entries that match the filter.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    return [
        SuppressionEntry(one.digest, one.domain, reason.reason)
        async for one in list_suppressed(redis)
        for reason in one.reasons
        if choice.matches(one.domain, reason)
    ]


async def remove_entries(
    redis: Redis, found: Sequence[SuppressionEntry], *, by: str, scope: str, number: str
) -> int:
    """Remove these entries; return the number of those that still existed.

    Args:
        number: identifies the change under which they are kept aside.

    Raises:
        RedisError, OSError: Redis did not answer; run it again.
    """
    removed = 0
    for one in found:
        removed += await _remove(redis, one.digest, by=by, reason=one.reason, scope=scope, number=number)
    return removed


async def _remove(redis: Redis, digest: str, *, by: str, reason: str, scope: str, number: str) -> int:
    """Remove reasons against an address, and keep them aside; return how many were removed."""
    before = await read_entry(redis, digest)
    removed = await unsuppress(redis.execute_command, digest, by=by, reason=reason, scope=scope)
    if removed:
        await keep_removed(redis, number, digest, before, await read_entry(redis, digest))
    return removed


async def _unsuppress(tools: Tools, args: argparse.Namespace) -> CommandResult:
    choosing = args.domain is not None or args.since is not None or args.log_by is not None
    if args.address is not None:
        if choosing:
            raise CommandRefused(
                "ADDRESS: cannot be combined with --domain, --since or --log-by; give one address, or a filter"
            )
        return await _one(tools, args)
    if not choosing:
        raise CommandRefused("ADDRESS: is missing; give one, or filter with --domain, --since or --log-by")
    return await _many(tools, args)


async def _one(tools: Tools, args: argparse.Namespace) -> CommandResult:
    digest = args.address if is_digest(args.address) else digest_or_refused(args.address)
    call = tools.redis.execute_command
    reason, scope = args.reason or "", args.scope or ""
    removed = await _remove(tools.redis, digest, by=args.by, reason=reason, scope=scope, number=tools.change)
    left = await reasons_of(call, digest)
    what = ("some_left" if left else "removed") if removed else "no_reason"
    text = SUPPRESSION[tools.language][what].format(removed=removed, left=len(left))
    facts = {"digest": digest, "removed": removed, "left": len(left)}
    return _result(tools, text, facts, removed)


async def _many(tools: Tools, args: argparse.Namespace) -> CommandResult:
    choice = SuppressionFilter(
        domain=None if args.domain is None else args.domain.lower(),
        since=None if args.since is None else await _now(tools.redis) - args.since,
        by=args.log_by,
        reasons=(args.reason,) if args.reason else _BOUNCES,
        scope=args.scope or EVERYTHING,
    )
    found = await find_entries(tools.redis, choice)
    removed = 0
    if args.yes:
        removed = await remove_entries(tools.redis, found, by=args.by, scope=choice.scope, number=tools.change)
    facts = {"matched": len(found), "removed": removed, "domains": dict(Counter(one.domain for one in found))}
    text = _text(found, removed, tools.language, looking=not args.yes)
    return _result(tools, text, facts, removed)


def _result(tools: Tools, text: str, facts: dict[str, object], removed: int) -> CommandResult:
    """Return what was done, and how it is undone."""
    if not removed:
        return CommandResult(text, facts, done=False)
    how = UNDO[tools.language]["how"].format(number=tools.change)
    return CommandResult(f"{text}\n{how}", {**facts, "number": tools.change})


async def _now(redis: Redis) -> datetime:
    """Return the time of Redis's clock, which the list uses."""
    seconds, _ = await redis.time()
    return datetime.fromtimestamp(int(seconds), UTC)


def _text(found: Sequence[SuppressionEntry], removed: int, language: Language, *, looking: bool) -> str:
    words = SUPPRESSION[language]
    if not found:
        return words["no_match"]
    if not looking:
        return words["removed_many"].format(removed=removed)
    counts = Counter((one.domain, one.reason) for one in found).most_common(_SHOWN_DOMAINS)
    rows = [[domain, reason, str(number)] for (domain, reason), number in counts]
    shown = table(MATCH_HEADS[language], rows, left={0, 1})
    return f"{shown}\n{words['match'].format(count=len(found))}"


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "address", nargs="?", metavar="ADDRESS", help="name@domain, or the whole digest from --json"
    )
    parser.add_argument("--domain", metavar="DOMAIN", help="all addresses of this domain")
    parser.add_argument(
        "--since",
        type=arguments.duration_argument,
        metavar="TIME",
        help="all addresses suppressed within TIME, like 2h",
    )
    parser.add_argument("--log-by", metavar="WHO", help="all addresses that WHO suppressed, like worker or pipe")
    parser.add_argument("--reason", choices=REASONS, help="only this reason (default with a filter: bounces)")
    parser.add_argument("--scope", metavar="SCOPE", help="only this scope (default with a filter: all)")
    parser.add_argument(
        "--yes", action="store_true", help="remove the matching entries; without it they are only shown"
    )
    add_operator(parser)


COMMANDS = (
    Command(
        "unsuppress",
        "allow mail to an address again, or to many after a fault",
        "mail unsuppress --domain example.com --since 2h --yes",
        _add_address,
        _unsuppress,
    ),
)
