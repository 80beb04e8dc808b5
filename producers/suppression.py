"""Addresses that are not written to, each with the reason, until when, and who said so.

A backend adds ``unsubscribed`` when somebody follows the link, and ``complaint`` when a provider reports one; the
worker adds ``hard_bounce`` when a server says that there is no such mailbox; operators add ``manual``.

An address is kept as the SHA-256 of its lower-case form, and beside it its domain in clear, so that people can see
what a list is about. That keeps addresses out of dumps and screens. It does not keep out somebody who has both the
data and a list of addresses to try: a keyed digest would, but a lost or changed key would silently empty the list,
and mail would go again to people who had refused it. That is the worse harm.

A server that answers "no such mailbox" to everybody is at fault itself. So what a server's refusal says of an
address (:func:`weigh_refusal`) counts only while few are refused: when there are many of one domain or of one
account within minutes, none of them counts, and those just before are taken back (`doubt.lua`).

What can go wrong: Redis away, which raises; asking again does no harm. A reason is never shortened by adding it
again, and two who add at once both stand (one script).
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import orjson

from .errors import InvalidRequest
from .keys import MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG, mail_failures
from .link import Argument
from .operation import Call, Operation, Result

Reason = Literal["hard_bounce", "soft_bounce", "complaint", "unsubscribed", "manual"]
REASONS: tuple[Reason, ...] = get_args(Reason)
EVERYTHING = "all"
"""The scope of a reason that holds for every stream."""
LIVES: Mapping[Reason, timedelta | None] = {
    "hard_bounce": timedelta(days=30),
    "soft_bounce": timedelta(days=30),
    "complaint": None,
    "unsubscribed": None,
    "manual": None,
}
"""How long a reason holds when nobody says; mailboxes come back, wishes do not pass by themselves."""
FAILED_DAYS = 3
"""On how many days an address must fail in a way that may pass, within :data:`FAILURE_WINDOW`."""
FAILURE_WINDOW = timedelta(days=30)
LOG_LINES = 10_000

_SCOPE = re.compile(r"(?:all|stream:[a-z][a-z0-9_-]{0,63})\Z")
_WISHES = frozenset({"unsubscribed"})
"""Reasons that a mail which must arrive may pass over."""

Refusal = Literal["hard", "counted", "none"]
"""How much a refusal says of the mailbox itself, as ``jobs.mail.mailbox`` weighs it."""
Weighed = Literal["suppressed", "counted", "noted", "doubtful"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One reason not to write to an address.

    Attributes:
        scope: ``all``, or ``stream:<name>``.
        until: when it ends by itself; None: never.
        by: who said so.
        evidence: the job or the report that shows it; may be empty.
    """

    reason: str
    scope: str
    at: datetime
    until: datetime | None
    by: str
    evidence: str


def digest_of(address: str) -> str:
    """What stands for an address: the same whatever its case.

    Args:
        address: ``name@domain``, the domain as A-label; see ``jobs.mail.address.normal_address``.

    >>> digest_of("Ana@Example.com") == digest_of("ana@example.com")
    True
    """
    return hashlib.sha256(address.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()


async def suppress(
    call: Call,
    address: str,
    reason: Reason,
    *,
    by: str,
    scope: str = EVERYTHING,
    lasting: timedelta | Literal["usual"] | None = "usual",
    evidence: str = "",
) -> bool:
    """Do not write to this address any more; False when that stood already.

    Args:
        call: sends one command to Redis; see :data:`Call`.
        by: who says so, for the audit log.
        scope: ``all``, or ``stream:<name>`` for one stream.
        lasting: None for ever; left out, what :data:`LIVES` has for the reason.

    Raises:
        InvalidRequest: no such reason, or a scope of another form.
        RedisError, OSError: Redis did not answer; ask again.

    Example:
        await suppress(link.call, "ana@example.com", "unsubscribed", scope="stream:bulk", by="web")
    """
    adding = addition(address, reason, by=by, scope=scope, lasting=lasting, evidence=evidence)
    return await adding.over(call)


def addition(
    address: str,
    reason: Reason,
    *,
    by: str,
    scope: str,
    lasting: timedelta | Literal["usual"] | None,
    evidence: str,
) -> Operation[bool]:
    """Add a reason; arguments, result and errors are those of :func:`suppress`."""
    life = LIVES.get(reason) if lasting == "usual" else lasting
    _check(reason, scope)
    words = [reason, scope, _milliseconds(life), by, evidence, domain_of(address)]
    return _operation("add", digest_of(address), words, bool)


async def count_failure(call: Call, address: str, *, by: str, evidence: str = "") -> bool:
    """Note that an address failed in a way that may pass; whether it is on the list by this, as ``soft_bounce``.

    Days count, not failures: an outage of an hour that stops fifty mails is one.

    Raises:
        RedisError, OSError: Redis did not answer; ask again.
    """
    digest, life = digest_of(address), LIVES["soft_bounce"]
    words: list[Argument] = ["soft_bounce", EVERYTHING, _milliseconds(life), by, evidence, domain_of(address)]
    days = [FAILED_DAYS, _milliseconds(FAILURE_WINDOW)]
    return await _operation("count", digest, words, bool, days).over(call)


async def weigh_refusal(
    call: Call,
    address: str,
    weight: Refusal = "hard",
    *,
    by: str,
    account: str = "",
    handed_over_ms: int | None = None,
    evidence: str = "",
) -> Weighed:
    """Let a server's refusal of an address count, unless it is one of many: then the server is at fault.

    For replies, bounces and what a provider's webhook reports; :func:`suppress` is for what is known for certain.

    Args:
        weight: ``hard``: no such mailbox; ``counted``: it may pass; ``none``: says nothing of the mailbox.
        account: the mail account by which it was written to, if that is known.
        handed_over_ms: when its mail was handed over, ms since 1970; left out, now.

    Returns:
        ``doubtful`` when many are refused at once: nothing counts.

    Raises:
        RedisError, OSError: Redis did not answer; ask again.

    Example:
        await weigh_refusal(link.call, "ana@example.com", by="webhook", evidence="event-17")
    """
    weighing = refusal(address, weight, by=by, account=account, handed_over_ms=handed_over_ms, evidence=evidence)
    return await weighing.over(call)


def refusal(
    address: str, weight: Refusal, *, by: str, account: str, handed_over_ms: int | None, evidence: str
) -> Operation[Weighed]:
    """Weigh a refusal; arguments and result are those of :func:`weigh_refusal`.

    Raises:
        InvalidRequest: no such weight.
    """
    if weight not in get_args(Refusal):
        raise InvalidRequest(f"weight: must be one of {', '.join(get_args(Refusal))}, not {weight!r}")
    reason: Reason = "hard_bounce" if weight == "hard" else "soft_bounce"
    words: list[Argument] = [reason, EVERYTHING, _milliseconds(LIVES[reason]), by, evidence, domain_of(address)]
    at: Argument = "" if handed_over_ms is None else handed_over_ms

    def read(changed: int) -> Weighed:
        if changed < 0:
            return "doubtful"
        return "suppressed" if changed or weight == "hard" else "counted" if weight == "counted" else "noted"

    more = [FAILED_DAYS, _milliseconds(FAILURE_WINDOW), account, at]
    return _operation(weight, digest_of(address), words, read, more)


async def unsuppress(call: Call, digest: str, *, by: str, reason: str = "", scope: str = "") -> int:
    """Take reasons off the list; how many there were.

    Args:
        digest: of the address, by :func:`digest_of`.
        reason, scope: only these; left out, all of them.
    """
    return await removal(digest, by=by, reason=reason, scope=scope).over(call)


def removal(digest: str, *, by: str, reason: str, scope: str) -> Operation[int]:
    """Take reasons off the list; arguments and result are those of :func:`unsuppress`."""
    return _operation("remove", digest, [reason, scope, "", by, "", ""], int)


async def reasons_of(call: Call, digest: str) -> tuple[Suppression, ...]:
    """What stands against an address, whatever the stream; nothing when it may be written to."""
    return read_reasons(await call("HGET", MAIL_SUPPRESSION, digest), now=datetime.now(UTC))


def read_reasons(octets: bytes | None, *, now: datetime) -> tuple[Suppression, ...]:
    """A value of the list as the reasons that still hold; one that cannot be read holds for ever, to be safe."""
    if not octets:
        return ()
    try:
        found = [_read(name, facts) for name, facts in orjson.loads(octets)["reasons"].items()]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return (Suppression(reason="unreadable", scope=EVERYTHING, at=now, until=None, by="", evidence=""),)
    return tuple(one for one in found if one.until is None or one.until > now)


def blocking(reasons: tuple[Suppression, ...], *, stream: str, essential: bool) -> Suppression | None:
    """The reason for which a mail of this stream does not go, or None.

    Args:
        essential: the mail must arrive (a code, an alarm): it passes over a wish not to be written to, never over
        a
            mailbox that does not exist or a complaint.

    >>> blocking((), stream="bulk", essential=False)
    """
    for one in reasons:
        concerned = one.scope in {EVERYTHING, f"stream:{stream}"}
        if concerned and not (essential and one.reason in _WISHES):
            return one
    return None


def domain_of(address: str) -> str:
    """The right half of an address, in lower case."""
    return address.rpartition("@")[2].strip().lower()


def _check(reason: str, scope: str) -> None:
    if reason not in REASONS:
        raise InvalidRequest(f"reason: must be one of {', '.join(REASONS)}, not {reason!r}")
    if not _SCOPE.match(scope):
        raise InvalidRequest(f"scope: must be all or stream:<name>, not {scope!r}")


def _operation(
    action: str,
    digest: str,
    words: Sequence[Argument],
    read: Callable[[Any], Result],
    more: Sequence[Argument] = (),
) -> Operation[Result]:
    """One call of ``suppress.lua``."""
    keys = [MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG, mail_failures(digest)]
    return Operation("suppress", keys, [action, digest, *words, LOG_LINES, *more], read)


def _milliseconds(life: timedelta | None) -> Argument:
    return "" if life is None else round(life / timedelta(milliseconds=1))


def _read(name: str, facts: Mapping[str, Any]) -> Suppression:
    reason, _, scope = name.partition(" ")
    until_ms = facts.get("until_ms")
    return Suppression(
        reason=reason,
        scope=scope,
        at=_moment(facts["at_ms"]),
        until=None if until_ms is None else _moment(until_ms),
        by=str(facts.get("by", "")),
        evidence=str(facts.get("evidence", "")),
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
