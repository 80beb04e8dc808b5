"""What a server's refusal means: a pure table over stage, code, enhanced code, text and provider.

Sources: RFC 5321 (4.2.1, 4.5.3.1.10), RFC 3463, and what Gmail, Microsoft 365 and Amazon SES answer when a
quota or a login fails. The first row of ``ROWS`` that fits decides; docs/mail.md shows the same rows, and a test
keeps the two equal.

Every verdict names whose fault it is. An account's fault never makes a mail dead and never costs an attempt:
the mail waits until the account is mended. Nor does a server that refuses the connection, since it has not heard
of the mail. Only what a recipient's server says for good about an address may feed the suppression list.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

Stage = Literal["connect", "login", "mail", "rcpt", "data", "dot"]
Scope = Literal["connection", "account", "sender", "recipient", "message"]
Trouble = Literal["", "fault", "tls", "login", "throttle", "connections", "day"]
"""What is wrong with the account: it cannot be reached, has no TLS that we take, refuses the login, asks for a
slower pace, for fewer connections, or has used up its day."""

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
"""An enhanced code, and not a part of an IP address."""
_LOGIN_CODES = {530, 534, 535, 538}
_LOGIN_DETAILS = {"7.3", "7.8", "7.9", "7.30", "7.57", "7.139"}
_LOGIN_WORDS = re.compile(r"too many login", re.IGNORECASE)
_THROTTLE_WORDS = re.compile(r"throttl|quota|limit exceeded", re.IGNORECASE)
_DAY_WORDS = re.compile(r"daily|SubmissionQuota", re.IGNORECASE)
_RELAY_WORDS = re.compile(r"relay limit", re.IGNORECASE)
_CONNECTION_WORDS = re.compile(r"concurrent connections", re.IGNORECASE)
_MAILBOX_WORDS = re.compile(r"mailbox|over ?quota|storage", re.IGNORECASE)
_GREYLIST_WORDS = re.compile(r"gr[ea]y-?list", re.IGNORECASE)
_UNVERIFIED_WORDS = re.compile(r"address is not verified", re.IGNORECASE)
_SIZE_DETAILS = {"2.3", "3.4"}
_SIZE_WORDS = re.compile(r"\bsize\b", re.IGNORECASE)
_ASKED_WAIT = re.compile(r"(?:in|after|for)\s+(\d{1,5})\s*(s|sec|seconds?|m|min|minutes?)\b", re.IGNORECASE)
_RECIPIENT_DETAILS = {"1.0", "1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.0", "2.1", "4.4"}
_SENDER_DETAILS = {"1.7", "1.8"}
_PERMANENT = 500
_GREYLIST_WAIT = timedelta(minutes=5)
_LONGEST_ASKED_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer that is not the one hoped for."""

    stage: Stage
    code: int
    text: str = field(repr=False)

    @property
    def enhanced(self) -> str:
        """The enhanced code without its class (``7.8`` of ``5.7.8``), or nothing (RFC 3463)."""
        found = _ENHANCED.search(self.text)
        return f"{found[2]}.{found[3]}" if found else ""

    @property
    def passing(self) -> bool:
        """Whether it is a refusal for now (4yz)."""
        return self.code < _PERMANENT


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about a reply.

    Attributes:
        scope: whose fault it is.
        decision: try the mail again, let it wait uncharged, or give it up.
        trouble: what the account's breaker and budget are to hear of.
        keep_connection: whether the connection may carry another mail.
        after: how long to wait; None leaves it to the mail's policy, or to the account's breaker.
    """

    scope: Scope
    decision: Literal["again", "wait", "dead"]
    trouble: Trouble = ""
    keep_connection: bool = True
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the reply in words, whether one fits, and what it means.

    Attributes:
        provider: the preset for which alone it counts; "" for all.
    """

    words: str
    fits: Callable[[Reply], bool]
    verdict: Verdict
    provider: str = ""


def judge(reply: Reply, provider: str = "") -> Verdict:
    """The verdict on one reply.

    Args:
        provider: the account's preset, for what only one provider means by a code.

    Example:
        >>> judge(Reply("rcpt", 550, "5.1.1 no such user")).scope
        'recipient'
    """
    row = next(row for row in ROWS if row.provider in {"", provider} and row.fits(reply))
    if row.verdict.decision != "again":
        return row.verdict
    return replace(row.verdict, after=asked_wait(reply.text) or row.verdict.after)


def asked_wait(text: str) -> timedelta | None:
    """How long the server asks us to wait, at most an hour; None when it does not say."""
    found = _ASKED_WAIT.search(text)
    if not found or not int(found[1]):
        return None
    unit = timedelta(minutes=1) if found[2].lower().startswith("m") else timedelta(seconds=1)
    return min(int(found[1]) * unit, _LONGEST_ASKED_WAIT)


def _too_many_connections(reply: Reply) -> bool:
    return reply.code == 432 or bool(_CONNECTION_WORDS.search(reply.text))  # noqa: PLR2004  SMTP codes


def _day_is_used_up(reply: Reply) -> bool:
    if reply.enhanced == "4.5":  # 4.4.5 is a busy server
        return not reply.passing
    return bool(_DAY_WORDS.search(reply.text)) and _names_quota(reply)


def _is_connection_fault(reply: Reply) -> bool:
    passing = reply.passing and (reply.enhanced == "3.2" or reply.enhanced.startswith("4."))
    return reply.code == 421 or passing  # noqa: PLR2004  SMTP codes


def _is_login_fault(reply: Reply) -> bool:
    if reply.stage == "login" or reply.code in _LOGIN_CODES or reply.enhanced in _LOGIN_DETAILS:
        return True
    if _LOGIN_WORDS.search(reply.text):
        return True
    return reply.enhanced == "7.0" and (reply.code == 454 or reply.stage in {"connect", "mail"})  # noqa: PLR2004  SMTP codes


def _names_quota(reply: Reply) -> bool:
    """Words of the account's quota, not of the recipient's mailbox or of this message's size."""
    if _RELAY_WORDS.search(reply.text):
        return True
    return bool(_THROTTLE_WORDS.search(reply.text)) and not _is_mailbox(reply) and not _is_size(reply)


def _is_mailbox(reply: Reply) -> bool:
    if reply.enhanced in {"2.1", "2.2"}:
        return True
    return reply.stage == "rcpt" and (
        reply.code in {450, 451, 452, 552} or bool(_MAILBOX_WORDS.search(reply.text))
    )


def _is_size(reply: Reply) -> bool:
    return reply.enhanced in _SIZE_DETAILS or bool(_SIZE_WORDS.search(reply.text))


def _is_full_mailbox(reply: Reply) -> bool:
    """552 at RCPT is to be treated as 452 (RFC 5321, 4.5.3.1.10)."""
    if reply.enhanced == "2.2":
        return True
    return reply.code == 552 and reply.stage == "rcpt" and reply.enhanced != "3.4"  # noqa: PLR2004  SMTP codes


def _is_greylisting(reply: Reply) -> bool:
    return reply.passing and (reply.enhanced == "7.1" or bool(_GREYLIST_WORDS.search(reply.text)))


ROWS: tuple[Row, ...] = (
    Row(
        "x.2.2 other than at RCPT: the account's own mailbox is full",
        lambda it: it.enhanced == "2.2" and it.stage != "rcpt",
        Verdict("account", "wait", "day", keep_connection=False),
        provider="microsoft365",
    ),
    Row(
        "`not verified`: the account may not send as this sender",
        lambda it: not it.passing and bool(_UNVERIFIED_WORDS.search(it.text)),
        Verdict("sender", "dead"),
        provider="ses",
    ),
    Row(
        "432; `concurrent connections`",
        _too_many_connections,
        Verdict("account", "wait", "connections", keep_connection=False),
    ),
    Row(
        "5.4.5; a quota that is `daily`; `SubmissionQuota`",
        _day_is_used_up,
        Verdict("account", "wait", "day", keep_connection=False),
    ),
    Row(
        "x.7.28",
        lambda it: it.enhanced == "7.28",
        Verdict("account", "wait", "throttle", keep_connection=False),
    ),
    Row(
        "421; 4.3.2; 4.4.x",
        _is_connection_fault,
        Verdict("connection", "again", "fault", keep_connection=False),
    ),
    Row(
        "anything at login; 530, 534, 535, 538; 454 4.7.0; x.7.3 x.7.8 x.7.9 x.7.30 x.7.57 x.7.139; "
        "x.7.0 before RCPT; `too many login`",
        _is_login_fault,
        Verdict("account", "wait", "login", keep_connection=False),
    ),
    Row(
        "`throttl`, `quota`, `limit exceeded`, of no mailbox and no message's size",
        _names_quota,
        Verdict("account", "wait", "throttle", keep_connection=False),
    ),
    Row(
        "anything else at connect",
        lambda it: it.stage == "connect",
        Verdict("connection", "again", "fault", keep_connection=False),
    ),
    Row(
        "a full mailbox: x.2.2; 552 at RCPT without x.3.4",
        _is_full_mailbox,
        Verdict("recipient", "again"),
    ),
    Row(
        "greylisting: 4.7.1, `greylist`",
        _is_greylisting,
        Verdict("recipient", "again", after=_GREYLIST_WAIT),
    ),
    Row("any other 4yz at RCPT", lambda it: it.passing and it.stage == "rcpt", Verdict("recipient", "again")),
    Row("any other 4yz at MAIL", lambda it: it.passing and it.stage == "mail", Verdict("sender", "again")),
    Row("any other 4yz", lambda it: it.passing, Verdict("message", "again")),
    Row(
        "5.1.7 5.1.8, and any 5.7.x: the sender is not allowed, or not trusted",
        lambda it: it.enhanced in _SENDER_DETAILS or it.enhanced.startswith("7."),
        Verdict("sender", "dead"),
    ),
    Row(
        "5.1.0 5.1.1 5.1.2 5.1.3 5.1.4 5.1.6 5.1.10 5.2.0 5.2.1 5.4.4",
        lambda it: it.enhanced in _RECIPIENT_DETAILS,
        Verdict("recipient", "dead"),
    ),
    Row(
        "5.3.x 5.5.x 5.6.x",
        lambda it: it.enhanced.startswith(("3.", "5.", "6.")),
        Verdict("message", "dead"),
    ),
    Row("any other 5yz at MAIL", lambda it: it.stage == "mail", Verdict("sender", "dead")),
    Row("any other 5yz at RCPT", lambda it: it.stage == "rcpt", Verdict("recipient", "dead")),
    Row("any other 5yz", lambda _: True, Verdict("message", "dead")),
)
"""The first that fits decides."""


def table() -> str:
    """The rows as docs/mail.md shows them."""
    lines = ["| reply | whose fault | decision | connection |", "|---|---|---|---|"]
    for row in ROWS:
        where = f"{row.words} (`{row.provider}`)" if row.provider else row.words
        lines.append(f"| {where} | {row.verdict.scope} | {_decision(row.verdict)} | {_connection(row.verdict)} |")
    return "\n".join(lines)


def _decision(verdict: Verdict) -> str:
    words = {"again": "again", "wait": "wait, uncharged", "dead": "dead"}[verdict.decision]
    if verdict.after:
        words += f", after {verdict.after // timedelta(minutes=1)} min"
    return words + (f"; account: {verdict.trouble}" if verdict.trouble else "")


def _connection(verdict: Verdict) -> str:
    return "kept" if verdict.keep_connection else "closed"
