"""Safety modes, which decide where a mail may go, so that copied production data reaches no real user. Pure.

    live       to its own recipient
    redirect   to one address that takes every mail; the original recipient is in a header and in the subject
    hold       not sent: the mail lanes are held, and a mail that is claimed nevertheless goes back
    sink       to the server on this machine that keeps every mail (settings.py refuses any other host)

With ``allowed_domains``, in every mode but ``hold``, only recipients in those domains get their mail. Mails to
other domains are redirected if a redirect address is set, else given up with a reason that names the setting. In
``redirect`` only listed domains are allowed; in ``live`` and ``sink`` an empty list allows all domains.

A mail with several recipients goes whole: to all of them, or if one may not get it to the redirect address alone.

The decision is made for every mail, from settings that the worker read at its start.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from jobs.mail.header_block import header_block
from jobs.mail.letter import Letter
from jobs.mail.recipients import envelope_of

Mode = Literal["live", "redirect", "hold", "sink"]

HOLD_REASON = "MOMENTUS_MAIL__MODE=hold: nothing leaves; set another mode and restart the workers"
"""Tells a hold made by this mode from a hold made by an operator."""

_SUBJECT_LIMIT = 255
_UNNAMED = "bcc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """Safety settings of the worker.

    Attributes:
        redirect_to: the address that gets the mails that may not go to their own recipient; empty for none.
        allowed_domains: in lower case; a domain includes its subdomains.

    Raises:
        ValueError: mode ``redirect`` without ``redirect_to``.
    """

    mode: Mode = "sink"
    redirect_to: str = field(default="", repr=False)
    allowed_domains: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.mode == "redirect" and not self.redirect_to:
            raise ValueError("MOMENTUS_MAIL__REDIRECT_TO: is empty; MOMENTUS_MAIL__MODE=redirect needs an address")


@dataclass(frozen=True, slots=True)
class DirectDelivery:
    """Decision that the mail goes to its own recipient."""


@dataclass(frozen=True, slots=True)
class Redirection:
    """Decision that the mail goes to another address instead of its recipient."""

    to: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ModeHold:
    """Decision that the mail waits, uncharged; ``reason`` names the setting."""

    reason: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ModeRefusal:
    """Decision that the mail is given up; ``reason`` names the setting and contains no address."""

    reason: str = field(repr=False)


DeliveryDecision = DirectDelivery | Redirection | ModeHold | ModeRefusal
_DIRECT = DirectDelivery()


def decide_delivery(recipient: str, safety: Safety) -> DeliveryDecision:
    """Decide where a mail to this address goes.

    >>> decide_delivery("ana@example.com", Safety(mode="redirect", redirect_to="all@test.example"))
    Redirection(to='all@test.example')
    """
    if safety.mode == "hold":
        return ModeHold(HOLD_REASON)
    if _is_allowed(recipient, safety):
        return _DIRECT
    if safety.redirect_to:
        return Redirection(safety.redirect_to)
    domain = recipient.rpartition("@")[2].lower()
    return ModeRefusal(
        f"MOMENTUS_MAIL__ALLOWED_DOMAINS: does not list {domain}, and MOMENTUS_MAIL__REDIRECT_TO is not set; "
        "add the domain or set a redirect address"
    )


def decide_all(recipients: Iterable[str], safety: Safety) -> DeliveryDecision:
    """Decide where a mail to these addresses goes: to none of them if one may not get it."""
    for one in recipients:
        decided = decide_delivery(one, safety)
        if decided is not _DIRECT:
            return decided
    return _DIRECT


def redirect_mail(frozen: Mapping[str, object], to: str) -> Mapping[str, object]:
    """Return the frozen mail addressed to ``to``, with the original recipient in front of its subject."""
    subject = f"[{_label(frozen)}] {frozen['subject']}"
    kept = {name: value for name, value in frozen.items() if name not in {"cc", "bcc"}}
    return {**kept, "to": to, "subject": subject[:_SUBJECT_LIMIT]}


def original_recipients(frozen: Mapping[str, object]) -> str:
    """Return the recipients that a redirected mail would have shown, for ``X-Original-To``; never those of Bcc."""
    shown = [address for address, place in envelope_of(frozen).items() if not place.startswith("bcc")]
    return ",\r\n ".join(shown) or _UNNAMED


def _label(frozen: Mapping[str, object]) -> str:
    """Return the first recipient that the mail shows, and how many more there are."""
    places = envelope_of(frozen)
    first = next((address for address, place in places.items() if not place.startswith("bcc")), _UNNAMED)
    return first if len(places) == 1 else f"{first} +{len(places) - 1}"


def add_original_recipient(letter: Letter, recipient: object) -> Letter:
    """Return the letter with an ``X-Original-To`` field on top, where servers put their trace fields.

    Raises:
        UnsafeHeader: the recipient is not a plain address; the mail is not sent.
    """
    head = header_block([("X-Original-To", str(recipient))])
    return replace(letter, content=head + letter.content)


def _is_allowed(recipient: str, safety: Safety) -> bool:
    if not safety.allowed_domains:
        return safety.mode != "redirect" or recipient.lower() == safety.redirect_to.lower()
    labels = recipient.rpartition("@")[2].lower().split(".")
    return any(".".join(labels[start:]) in safety.allowed_domains for start in range(len(labels)))
