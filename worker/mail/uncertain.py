"""What to do when nobody knows whether the server took a mail: a pure decision.

The window is RFC 1047's: the final dot was on its way, and no reply came, or nobody was left to hear it. SMTP has
no way to ask. Three things are certain all the same: every attempt sends the same octets; an attempt by another
account would be a second mail for certain if the first arrived, so it is never made; and a provider that knows an
idempotency header drops the second copy by itself, for as long as it remembers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from jobs.mail.journal import read_line
from jobs.mail.stream import Stream

_DECISIONS = {"resend", "unparked", "revived"}
"""What people say when they want it sent once more."""

IDEMPOTENT_FOR = timedelta(hours=24)
"""How long a provider with an idempotency header remembers it (Resend's documentation)."""


@dataclass(frozen=True, slots=True)
class UnknownDelivery:
    """An attempt that may have delivered the mail.

    Attributes:
        age: since the mail was queued: at least as long as the provider has had to forget it.
        idempotent: whether that account's provider drops a second copy.
    """

    age: timedelta
    idempotent: bool


def after_unknown(unknown: UnknownDelivery, stream: Stream) -> Literal["resend", "hold"]:
    """Send it again by the same account, or leave it to people.

    >>> after_unknown(UnknownDelivery(timedelta(0), idempotent=True), Stream(name="code", uncertain="hold"))
    'resend'
    """
    if unknown.idempotent and unknown.age < IDEMPOTENT_FOR:
        return "resend"
    return stream.uncertain


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierDelivery:
    """The last attempt that may have delivered the mail.

    Attributes:
        account: by which it was made; "" when nobody knows.
        decided: whether people have said since that the mail is to go out once more.
    """

    account: str = ""
    decided: bool = False


def find_earlier(journal: Iterable[Mapping[str, Any]]) -> EarlierDelivery | None:
    """What the journal says of such an attempt; None when there was none.

    It is asked at every retry, because the journal is what lasts: the claim tells of a lost mark only once, and
    whoever was told may be lost in turn.

    >>> find_earlier([{"outcome": "uncertain", "reason": "main: lease lost"}, {"outcome": "retry", "reason": ""}])
    EarlierDelivery(account='main', decided=False)
    """
    earlier: EarlierDelivery | None = None
    for entry in journal:
        if entry.get("outcome") == "uncertain":
            line = read_line(str(entry.get("reason", "")))
            earlier = EarlierDelivery(account=line.account if line else "")
        elif earlier and entry.get("outcome") in _DECISIONS:
            earlier = replace(earlier, decided=True)
    return earlier
