"""Outcome of a mail for each of its several recipients, kept until the job is done.

    accepted     a server took the mail for it; it is never sent again
    refused      a server refused it for good, with its code; it is never sent again
    suppressed   on the suppression list, looked up at every attempt; not stored
    waiting      everything else: the next attempt goes to these alone

One attempt is one SMTP transaction, so a recipient that is refused for now waits while others get the mail. What
is settled is stored before the attempt ends, while its effect mark stands: if the worker dies in between, the next
claim counts the mail as uncertain, so a second copy is never uncounted. If Redis does not answer, the attempt ends
as uncertain for the same reason.

A mail to one recipient has none of this: its job's outcome is its recipient's.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from jobs.mail.recipients import envelope_of
from producers.keys import mail_recipients
from producers.link import Link
from producers.suppression import Suppression
from worker.engine import TryLater
from worker.engine.batch import ANSWER_SECONDS
from worker.mail.smtp.reply import Refusal, Verdict

_LIFE_MS = 90 * 86_400_000
"""Time for which a dead mail may be revived and still skip the recipients that have it."""
_SOON = timedelta(seconds=1)
_CLOSED_MS = 86_400_000
ACCEPTED = "accepted"


@dataclass(slots=True)
class Recipients:
    """Recipients of one mail.

    Attributes:
        places: address to its place in the mail, such as ``cc[0]``; places are stored and shown, not addresses.
        settled: place to outcome, of earlier attempts and this one.
        suppressed: place to the reason, of this attempt.
        stored: True if Redis has any of it.
    """

    job_id: str
    places: Mapping[str, str] = field(repr=False)
    settled: dict[str, str] = field(default_factory=dict)
    suppressed: dict[str, Suppression] = field(default_factory=dict)
    stored: bool = False

    @classmethod
    def of_mail(cls, mail: Mapping[str, object], job_id: str) -> "Recipients":
        """Return the recipients of a frozen mail, none of them settled."""
        return cls(job_id, envelope_of(mail))

    @property
    def left(self) -> tuple[str, ...]:
        """Addresses that still wait for the mail."""
        return tuple(
            address
            for address, place in self.places.items()
            if place not in self.settled and place not in self.suppressed
        )

    @property
    def accepted(self) -> tuple[str, ...]:
        """Addresses for which a server took the mail."""
        return tuple(address for address, place in self.places.items() if self.settled.get(place) == ACCEPTED)

    async def load_settled(self, link: Link | None) -> None:
        """Read what earlier attempts settled.

        Raises:
            RedisError, OSError: Redis did not answer.
        """
        if link is not None:
            stored: Mapping[bytes, bytes] | list[bytes] = await link.call("HGETALL", mail_recipients(self.job_id))
            pairs = stored.items() if isinstance(stored, Mapping) else zip(stored[::2], stored[1::2], strict=True)
            self.settled = {place.decode(): outcome.decode() for place, outcome in pairs}
            self.stored = bool(self.settled)

    def settle(self, addresses: Iterable[str], outcome: str) -> None:
        """Record an outcome that no later attempt changes."""
        for address in addresses:
            self.settled[self.places[address]] = outcome

    async def store_settled(self, link: Link | None) -> None:
        """Store what is settled, durably before the attempt ends.

        Raises:
            RedisError, OSError: Redis did not confirm it.
        """
        if link is None:
            raise ConnectionError("no connection to Redis")
        key = mail_recipients(self.job_id)
        pairs = [part for pair in self.settled.items() for part in pair]
        async with asyncio.timeout(ANSWER_SECONDS):
            self.stored = True
            await link.call("HSET", key, *pairs)
            await link.call("PEXPIRE", key, _LIFE_MS)

    async def close(self, link: Link | None) -> None:
        """Let what was stored expire soon, since no recipient is left.

        It stays until the job's outcome is recorded, so that a worker's death before that repeats no earlier copy.
        If no recipient has the mail, it is deleted at once, so that a dead mail that is revived goes to all.
        """
        if link is None or not self.stored:
            return
        key = mail_recipients(self.job_id)
        await (link.call("PEXPIRE", key, _CLOSED_MS) if self.accepted else link.call("DEL", key))

    def report(self) -> dict[str, str]:
        """Return place and outcome of each recipient, in the order of the mail."""
        reasons = {place: f"suppressed {found.reason}" for place, found in self.suppressed.items()}
        return {place: {**reasons, **self.settled}.get(place, "waiting") for place in self.places.values()}


def refused_outcome(reply: Refusal) -> str:
    """Return the stored outcome of a recipient that was refused for good: its code, without the server's words."""
    enhanced = f" {reply.code // 100}.{reply.enhanced}" if reply.enhanced else ""
    return f"refused {reply.code}{enhanced}"


def retry_refused(words: str, verdicts: Iterable[Verdict], *, progress: bool) -> TryLater:
    """Return the retry for the recipients that a server refused for now.

    It costs an attempt if any of the refusals would cost one for a mail to one recipient. All wait as long as the
    longest
    wait: the mail is one job. A server that takes fewer recipients at a time (452, RFC 5321, 4.5.3.1.10) gets the
    others at once, as long as each transaction takes some.
    """
    given = list(verdicts)
    charged = any(one.decision != "wait" for one in given)
    after = max((one.after for one in given if one.after is not None), default=None)
    if not charged and progress and after is None and all(one.scope == "connection" for one in given):
        return TryLater(words, after=_SOON, charged=False)
    return TryLater(words, after=after, charged=charged, bounded=not charged)
