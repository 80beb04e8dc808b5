"""Suppression list: addresses that get no mail, each with its reasons, their ends and sources.

A backend adds ``unsubscribed`` when a recipient follows the link, and ``complaint`` when a provider reports one;
the worker adds ``hard_bounce`` when a server replies that there is no such mailbox; operators add ``manual``.

An address is stored as the SHA-256 of its lower-case form, with its domain in plain text, so operators can see
which domains are affected. `docs/mail.md` says what this protects against.

A server that refuses every recipient has a fault of its own. So a refusal (:func:`weigh_refusal`) counts only
while refusals are few: when many recipients of one domain or account are refused within minutes, none of them
counts, and the latest counted ones are withdrawn (`doubt.lua`).

When Redis is unavailable, calls raise; every call may be repeated. Adding a reason again never shortens it.
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
"""Scope of a reason that applies to every stream."""
LIVES: Mapping[Reason, timedelta | None] = {
    "hard_bounce": timedelta(days=30),
    "soft_bounce": timedelta(days=30),
    "complaint": None,
    "unsubscribed": None,
    "manual": None,
}
"""Default duration of a reason: mailboxes may come back, but only the recipient can revoke an unsubscription."""
FAILED_DAYS = 3
"""Number of days with temporary failures within :data:`FAILURE_WINDOW` after which an address is suppressed."""
FAILURE_WINDOW = timedelta(days=30)
LOG_LINES = 10_000

_SCOPE = re.compile(r"(?:all|stream:[a-z][a-z0-9_-]{0,63})\Z")
_PREFERENCES = frozenset({"unsubscribed"})
"""Reasons that do not apply to essential mail."""

Refusal = Literal["hard", "counted", "none"]
"""Weight of a refusal for the mailbox itself, as ``jobs.mail.mailbox`` classifies it."""
Weighed = Literal["suppressed", "counted", "noted", "doubtful"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Reason not to send mail to an address.

    Attributes:
        scope: ``all``, or ``stream:<name>``.
        until: end of the suppression; None: permanent.
        by: program or user that added the reason.
        evidence: the job or the report that proves it; may be empty.
    """

    reason: str
    scope: str
    at: datetime
    until: datetime | None
    by: str
    evidence: str


def digest_of(address: str) -> str:
    """Return the digest that replaces an address, the same in upper and lower case.

    Args:
        address: ``name@domain``, the domain as an A-label; see ``jobs.mail.address.normal_address``.

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
    """Stop mail to an address. Returns False if the suppression list already held this reason.

    Args:
        call: sends one command to Redis; see :data:`Call`.
        address: ``name@domain``, the domain as an A-label.
        reason: one of :data:`REASONS`.
        by: program or user that adds the reason, for the audit log.
        scope: ``all``, or ``stream:<name>`` for one stream.
        lasting: duration; None: permanent; by default that of :data:`LIVES` for the reason.
        evidence: the job or the report that proves it.

    Raises:
        InvalidRequest: the reason is unknown, or the scope malformed.
        RedisError, OSError: Redis did not reply; repeat the call.
    """
    adding = addition(address, reason, by=by, scope=scope, lasting=lasting, evidence=evidence)
    return await adding.run(call)


def addition(
    address: str,
    reason: Reason,
    *,
    by: str,
    scope: str,
    lasting: timedelta | Literal["usual"] | None,
    evidence: str,
) -> Operation[bool]:
    """Add a reason to the list; arguments, result and errors are those of :func:`suppress`."""
    life = LIVES.get(reason) if lasting == "usual" else lasting
    _check(reason, scope)
    words = [reason, scope, _milliseconds(life), by, evidence, domain_of(address)]
    return _operation("add", digest_of(address), words, bool)


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
    """Count a server's refusal against an address, unless the server refuses many at once and so is at fault.

    For SMTP responses, bounces and reports of a provider's webhook; use :func:`suppress` for facts that are
    certain.

    Args:
        address: ``name@domain``, the domain as an A-label.
        weight: ``hard``: no such mailbox; ``counted``: temporary; ``none``: not about the mailbox.
        by: program that reports the refusal, for the audit log.
        account: mail account that sent the mail, if known.
        handed_over_ms: time at which the mail was handed over, in ms since 1970; by default now.
        evidence: the job or the report that proves it.

    Returns:
        ``suppressed``: the address is on the list. ``counted``: the failure counts towards ``soft_bounce``.
        ``noted``: the refusal is not about the mailbox. ``doubtful``: many were refused at once, so none counts.

    Raises:
        InvalidRequest: an unknown weight.
        RedisError, OSError: Redis did not reply; repeat the call.
    """
    weighing = refusal(address, weight, by=by, account=account, handed_over_ms=handed_over_ms, evidence=evidence)
    return await weighing.run(call)


def refusal(
    address: str, weight: Refusal, *, by: str, account: str, handed_over_ms: int | None, evidence: str
) -> Operation[Weighed]:
    """Count a refusal against an address; arguments, result and errors are those of :func:`weigh_refusal`."""
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
    """Remove an address's reasons from the list and return their number.

    Args:
        digest: digest of the address, from :func:`digest_of`.
        by: program or user that removes them, for the audit log.
        reason, scope: remove only these; by default all.
    """
    return await removal(digest, by=by, reason=reason, scope=scope).run(call)


def removal(digest: str, *, by: str, reason: str, scope: str) -> Operation[int]:
    """Remove reasons from the list; arguments and result are those of :func:`unsuppress`."""
    return _operation("remove", digest, [reason, scope, "", by, "", ""], int)


async def reasons_of(call: Call, digest: str) -> tuple[Suppression, ...]:
    """Return the reasons against an address, of every scope; empty if it may get mail."""
    return read_reasons(await call("HGET", MAIL_SUPPRESSION, digest), now=datetime.now(UTC))


def read_reasons(encoded: bytes | None, *, now: datetime) -> tuple[Suppression, ...]:
    """Decode the current reasons of an address; an unreadable value is a permanent reason, to be safe."""
    if not encoded:
        return ()
    try:
        found = [_read(name, facts) for name, facts in orjson.loads(encoded)["reasons"].items()]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return (Suppression(reason="unreadable", scope=EVERYTHING, at=now, until=None, by="", evidence=""),)
    return tuple(one for one in found if one.until is None or one.until > now)


def blocking_reason(reasons: tuple[Suppression, ...], *, stream: str, essential: bool) -> Suppression | None:
    """Return the reason that blocks a mail of this stream, or None.

    Args:
        essential: True for mail that must arrive (a code, an alarm): an unsubscription does not block it, but a
            missing mailbox or a complaint does.

    >>> blocking_reason((), stream="bulk", essential=False)
    """
    for one in reasons:
        concerned = one.scope in {EVERYTHING, f"stream:{stream}"}
        if concerned and not (essential and one.reason in _PREFERENCES):
            return one
    return None


def domain_of(address: str) -> str:
    """Return the domain of an address, in lower case."""
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
    """Return one call of ``suppress.lua``."""
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
