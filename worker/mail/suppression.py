"""Whether an address may be written to, asked before every mail; and what a server's refusal adds to the list.

One look by the address's digest; mails that ask at about the same time share one command. An empty list is not
asked again for a second, which is how long the first entry ever may take to count.

What can go wrong: Redis away. A mail whose list cannot be read does not go: it waits, uncharged, like everything
else while Redis is away.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from redis.exceptions import RedisError

from jobs.mail.mailbox import Weight, weigh_reply
from producers.keys import MAIL_SUPPRESSION
from producers.link import Link
from producers.suppression import Suppression, Weighed, blocking, digest_of, read_reasons, weigh_refusal
from worker.engine.batch import CallBatcher
from worker.mail.smtp.errors import unanswered
from worker.mail.smtp.reply import Refusal

_EMPTY_FOR = 1.0
"""Seconds."""
_NO_MAILBOX = {550, 551, 553}
_PERMANENT = 500


class SuppressionList:
    """The list of addresses that are not written to.

    Args:
        link: to Redis.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._look: CallBatcher[str, bytes | None] = CallBatcher(self._ask)
        self._empty_until = 0.0

    async def find(self, address: str, *, stream: str, essential: bool) -> Suppression | None:
        """The reason for which a mail does not go to this address; None when it may.

        Args:
            essential: the mail passes over a wish (``unsubscribed``), never over a mailbox that is not there.

        Raises:
            TryLater: Redis did not answer; nothing was sent, and no attempt is counted.
        """
        if time.monotonic() < self._empty_until:
            return None
        try:
            found = await self._look.submit(digest_of(address))
            if not found:
                return None
            now = await self._now()
        except (RedisError, OSError) as error:
            raise unanswered("the suppression list", error) from error
        return blocking(read_reasons(found, now=now), stream=stream, essential=essential)

    async def _now(self) -> datetime:
        """By the clock that reasons end by; asked for addresses on the list alone."""
        seconds, _ = await self._link.call("TIME")
        return datetime.fromtimestamp(int(seconds), UTC)

    async def _ask(self, digests: Sequence[str]) -> Sequence[bytes | None]:
        found: list[bytes | None] = await self._link.call("HMGET", MAIL_SUPPRESSION, *digests)
        if not any(found) and await self._link.call("HLEN", MAIL_SUPPRESSION) == 0:
            self._empty_until = time.monotonic() + _EMPTY_FOR
        return found

    async def learn(self, address: str, reply: Refusal, *, account: str, job_id: str) -> Weighed:
        """Let a refusal at RCPT count against the address, unless many are refused at once.

        Raises:
            RedisError, OSError: Redis did not answer.
        """
        self._empty_until = 0.0
        call, weight = self._link.call, weigh(reply)
        return await weigh_refusal(call, address, weight, by="worker", account=account, evidence=job_id)


def weigh(reply: Refusal) -> Weight:
    """What a refusal says of the mailbox itself; only a permanent one at RCPT can say anything.

    >>> weigh(Refusal("rcpt", 550, "5.1.1 no such user")), weigh(Refusal("rcpt", 550, "5.7.1 refused by policy"))
    ('hard', 'none')
    """
    if reply.stage != "rcpt" or reply.code < _PERMANENT:
        return "none"
    status = f"5.{reply.enhanced}" if reply.enhanced else ""
    return weigh_reply(status, reply.text, names_mailbox=reply.code in _NO_MAILBOX)
