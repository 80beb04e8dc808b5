"""Where a mail may go: the decision that keeps a copy of production's data from writing to real people. Pure.

    live       as it is addressed
    redirect   to one address that takes everything; the first recipient is in a header and in the subject
    hold       nowhere: the mail lanes are held, and a mail that is claimed all the same goes back
    sink       to the server on this machine that keeps everything (settings.py refuses any other host)

With ``allowed_domains`` only those are written to as addressed, whatever the mode but ``hold``; all others are
redirected where there is an address for that, else given up with a reason that names the setting. In ``redirect``
no domain is allowed unless it is listed, in ``live`` and ``sink`` all are when none is listed.

Nothing here is a default that could be forgotten: the decision is made for every mail, from values that one worker
read at its start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from jobs.mail.header import header_block
from jobs.mail.letter import Letter

Mode = Literal["live", "redirect", "hold", "sink"]

HOLD_REASON = "MOMENTUS_MAIL__MODE=hold: nothing leaves; set another mode and restart the workers"
"""How a hold of ours is known from one that people made."""

_SUBJECT_LIMIT = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """What the settings allow.

    Attributes:
        redirect_to: the address that takes what may not go where it is addressed; empty for none.
        allowed_domains: in lower case; a domain stands for its subdomains too.
    """

    mode: Mode = "sink"
    redirect_to: str = field(default="", repr=False)
    allowed_domains: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.mode == "redirect" and not self.redirect_to:
            raise ValueError("MOMENTUS_MAIL__MODE=redirect needs MOMENTUS_MAIL__REDIRECT_TO")


@dataclass(frozen=True, slots=True)
class DirectDelivery:
    """It goes where it is addressed."""


@dataclass(frozen=True, slots=True)
class Redirection:
    """It goes to this address instead."""

    to: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ModeHold:
    """It waits, uncharged; ``reason`` names the setting."""

    reason: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ModeRefusal:
    """It is given up; ``reason`` names the setting, and no address."""

    reason: str = field(repr=False)


Way = DirectDelivery | Redirection | ModeHold | ModeRefusal
_DIRECT = DirectDelivery()


def way_of(recipient: str, safety: Safety) -> Way:
    """Where a mail to this address goes.

    >>> way_of("ana@example.com", Safety(mode="redirect", redirect_to="all@test.example"))
    Redirection(to='all@test.example')
    """
    if safety.mode == "hold":
        return ModeHold(HOLD_REASON)
    if _is_allowed(recipient, safety):
        return _DIRECT
    if safety.redirect_to:
        return Redirection(safety.redirect_to)
    domain = recipient.rpartition("@")[2].lower()
    return ModeRefusal(f"MOMENTUS_MAIL__ALLOWED_DOMAINS does not have {domain}, and there is no __REDIRECT_TO")


def redirected(frozen: Mapping[str, object], to: str) -> Mapping[str, object]:
    """A frozen mail that goes to somebody else: the subject tells for whom it was."""
    subject = f"[{frozen['to']}] {frozen['subject']}"
    return {**frozen, "to": to, "subject": subject[:_SUBJECT_LIMIT]}


def with_original(letter: Letter, recipient: object) -> Letter:
    """The letter with the header that names its first recipient; on top, as other servers' marks are.

    Raises:
        UnsafeHeader: the recipient is no plain address; such a mail does not leave.
    """
    head = header_block([("X-Original-To", str(recipient))])
    return replace(letter, content=head + letter.content)


def _is_allowed(recipient: str, safety: Safety) -> bool:
    if not safety.allowed_domains:
        return safety.mode != "redirect" or recipient.lower() == safety.redirect_to.lower()
    labels = recipient.rpartition("@")[2].lower().split(".")
    return any(".".join(labels[start:]) in safety.allowed_domains for start in range(len(labels)))
