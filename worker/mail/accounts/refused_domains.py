"""Domains set aside after a refusal that may be about the whole account, so that few of their mails try it.

A relay that refuses one domain says "relay access denied", as does a relay that refuses all. If every mail to such
a domain were tried, they would close the account for all others again and again, because the mails that wait
longest come first after a pause. So after such a refusal the domain is set aside: its mails wait, while others
show whether the account works. Then one of its mails tries again; the time doubles each time.

A domain's time starts when its next mail comes, which is after the account's pause if the account was closed.

What can go wrong: all mails go to one domain. Then each pause is longer by that time, at most 2 min.
"""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

_LONGEST: Final = timedelta(minutes=2)
"""Longest time aside: over a minute, so that the breaker does not count such refusals as in a row."""
_MOST: Final = 1000
"""Largest number of domains that are kept."""


@dataclass(slots=True)
class _DomainRefusal:
    """Latest refusal of a domain.

    Attributes:
        reply: stage and codes of the reply.
        wait: time for which the domain is set aside.
        until: end of that time, in seconds of the monotonic clock; None before the domain's next mail has come.
    """

    reply: str = field(repr=False)
    wait: timedelta
    until: float | None = None


class RefusedDomains:
    """Domains whose mails this worker's server refused.

    Args:
        first: time for which a domain is set aside after its first refusal.
    """

    def __init__(self, first: timedelta) -> None:
        self._first = first
        self._refused: dict[str, _DomainRefusal] = {}

    def __len__(self) -> int:
        return len(self._refused)

    def record_refusal(self, domain: str, reply: str) -> bool:
        """Record a refused mail; False if the domain's refusal is known, as for mails sent at the same time.

        Args:
            reply: stage and codes, without the text: it may name this mail's recipient, and other mails' reasons
                repeat it.
        """
        before = self._refused.pop(domain, None)
        if before is not None and before.until is None:
            self._refused[domain] = before
            return False
        self._refused[domain] = _DomainRefusal(reply, min(_LONGEST, 2 * before.wait) if before else self._first)
        if len(self._refused) > _MOST:
            del self._refused[next(iter(self._refused))]
        return True

    def record_acceptance(self, domain: str) -> None:
        """Forget the domain's refusal, because a mail to it went out."""
        self._refused.pop(domain, None)

    def find_wait(self, domain: str) -> tuple[timedelta, str] | None:
        """Return how long a mail to this domain must wait, and the reply that causes it; None if it may go."""
        if (refusal := self._refused.get(domain)) is None:
            return None
        now = time.monotonic()
        is_over = refusal.until is not None and refusal.until <= now
        if refusal.until is None or is_over:
            refusal.until = now + refusal.wait.total_seconds()
        return None if is_over else (timedelta(seconds=refusal.until - now), refusal.reply)
