"""Domains that a server refuses in words which may be about the whole account: few of their mails try it.

A relay that takes some domains and refuses one says "relay access denied", as one does that takes none. If every
mail to such a domain tried it, they would close the account for all others, again and again, since those that wait
longest come first when a pause is over. So after such a refusal the domain is set aside for a while: its mails
wait, and others show whether the account works. Then one of its mails tries again; the time doubles each time.

A domain's time begins when its next mail comes, which is after the account's pause if that was closed.

What can go wrong: all mails go to one domain. Then each pause is longer by that time, at most 2 min.
"""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

_LONGEST: Final = timedelta(minutes=2)
"""Over a minute: refusals further apart are not in a row for the breaker."""
_MOST: Final = 1000
"""Domains that are remembered."""


@dataclass(slots=True)
class _Refusal:
    """A domain's latest refusal.

    Attributes:
        reply: its stage and codes.
        wait: how long the domain is set aside.
        until: when that ends; None before the domain's next mail has come.
    """

    reply: str = field(repr=False)
    wait: timedelta
    until: float | None = None


class RefusedDomains:
    """The domains that are refused, as this worker saw it.

    Args:
        first: how long a domain is set aside after its first refusal.
    """

    def __init__(self, first: timedelta) -> None:
        self._first = first
        self._refused: dict[str, _Refusal] = {}

    def refused(self, domain: str, reply: str) -> bool:
        """A mail to this domain was; False when that is known, as of mails that were on their way together.

        Args:
            reply: its stage and codes. Its text may name the recipient of this mail, and others are told it.
        """
        before = self._refused.pop(domain, None)
        if before is not None and before.until is None:
            self._refused[domain] = before
            return False
        self._refused[domain] = _Refusal(reply, min(_LONGEST, 2 * before.wait) if before else self._first)
        if len(self._refused) > _MOST:
            del self._refused[next(iter(self._refused))]
        return True

    def accepted(self, domain: str) -> None:
        """A mail to this domain went out."""
        self._refused.pop(domain, None)

    def wait(self, domain: str) -> tuple[timedelta, str] | None:
        """How long a mail to this domain is to wait, and for which reply; None when it may go."""
        if (refusal := self._refused.get(domain)) is None:
            return None
        now = time.monotonic()
        is_over = refusal.until is not None and refusal.until <= now
        if refusal.until is None or is_over:
            refusal.until = now + refusal.wait.total_seconds()
        return None if is_over else (timedelta(seconds=refusal.until - now), refusal.reply)
