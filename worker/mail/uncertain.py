"""Decision about a mail whose delivery is uncertain. Pure functions.

RFC 1047 describes the case: the final dot was sent, and the worker did not get a reply. SMTP has no command to ask
for the outcome. Three facts limit the damage: every attempt sends the same bytes; a mail that one account may have
delivered is never sent through another account, which would make a second copy certain; and a provider with an
idempotency header drops the second copy for as long as it remembers the first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from jobs.mail.journal import read_line
from jobs.mail.stream import Stream

_DECISIONS = {"resend", "unparked", "revived"}
"""Journal outcomes by which an operator orders another attempt."""

IDEMPOTENT_FOR = timedelta(hours=24)
"""Time for which a provider remembers an idempotency header (Resend's documentation)."""


@dataclass(frozen=True, slots=True)
class UnknownDelivery:
    """An attempt that may have delivered the mail.

    Attributes:
        age: time since the mail was queued; the provider has known the mail for at most that long.
        idempotent: True if the account's provider drops a second copy.
    """

    age: timedelta
    idempotent: bool


def decide_after_unknown(unknown: UnknownDelivery, stream: Stream) -> Literal["resend", "hold"]:
    """Decide whether to send the mail again through the same account or to hold it for an operator.

    >>> decide_after_unknown(UnknownDelivery(timedelta(0), idempotent=True), Stream(name="code", uncertain="hold"))
    'resend'
    """
    if unknown.idempotent and unknown.age < IDEMPOTENT_FOR:
        return "resend"
    return stream.uncertain


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierDelivery:
    """The last attempt that may have delivered the mail.

    Attributes:
        account: the account of that attempt; "" if unknown.
        decided: True if an operator has since ordered another attempt.
    """

    account: str = ""
    decided: bool = False


def find_earlier(journal: Iterable[Mapping[str, Any]]) -> EarlierDelivery | None:
    """Find the last uncertain attempt in a mail's journal, or None.

    Every retry reads the journal: the claim reports a lost mark only once, and the worker that got the report may
    be lost in turn.

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
