"""The worker's side of the suppression list: a lookup before every mail, and entries from servers' refusals.

A lookup uses the address's digest, and lookups at about the same time share one command. After an empty list the
worker does not query for a second, so the first entry ever counts after at most a second.

What can go wrong: Redis is down. While the list cannot be read, mails wait, uncharged, as all work does while
Redis is down.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from redis.exceptions import RedisError

from jobs.mail.mailbox import Weight, weigh_reply
from producers.keys import MAIL_SUPPRESSION
from producers.link import Link
from producers.suppression import Suppression, Weighed, blocking_reason, digest_of, read_reasons, weigh_refusal
from worker.engine.batch import CallBatcher
from worker.mail.smtp.errors import retry_without_redis
from worker.mail.smtp.reply import Refusal

_EMPTY_FOR = 1.0
"""Seconds without a query after the list was found empty."""
_NO_MAILBOX = {550, 551, 553}
_PERMANENT = 500


class SuppressionList:
    """List of the addresses that get no mail.

    Args:
        link: connection to Redis.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lookups: CallBatcher[str, bytes | None] = CallBatcher(self._query)
        self._empty_until = 0.0

    async def find_reason(self, address: str, *, stream: str, essential: bool) -> Suppression | None:
        """Return the reason for which this address is suppressed, or None if the mail may go.

        Args:
            essential: True if the mail ignores ``unsubscribed``; a missing mailbox always counts.

        Raises:
            TryLater: Redis did not answer; the mail was not sent, and no attempt is counted.
        """
        if time.monotonic() < self._empty_until:
            return None
        try:
            found = await self._lookups.submit(digest_of(address))
            if not found:
                return None
            now = await self._read_time()
        except (RedisError, OSError) as error:
            raise retry_without_redis("the suppression list", error) from error
        return blocking_reason(read_reasons(found, now=now), stream=stream, essential=essential)

    async def _read_time(self) -> datetime:
        """Return Redis's time, by which reasons expire; read only for addresses on the list."""
        seconds, _ = await self._link.call("TIME")
        return datetime.fromtimestamp(int(seconds), UTC)

    async def _query(self, digests: Sequence[str]) -> Sequence[bytes | None]:
        found: list[bytes | None] = await self._link.call("HMGET", MAIL_SUPPRESSION, *digests)
        if not any(found) and await self._link.call("HLEN", MAIL_SUPPRESSION) == 0:
            self._empty_until = time.monotonic() + _EMPTY_FOR
        return found

    async def record_refusal(self, address: str, reply: Refusal, *, account: str, job_id: str) -> Weighed:
        """Count a refusal at RCPT against the address, unless many recipients are refused at once.

        Raises:
            RedisError, OSError: Redis did not answer.
        """
        self._empty_until = 0.0
        call, weight = self._link.call, classify_refusal(reply)
        return await weigh_refusal(call, address, weight, by="worker", account=account, evidence=job_id)


def classify_refusal(reply: Refusal) -> Weight:
    """Classify a refusal by what it says about the mailbox; anything but a permanent refusal at RCPT is ``none``.

    >>> classify_refusal(Refusal("rcpt", 550, "5.1.1 no such user"))
    'hard'
    >>> classify_refusal(Refusal("rcpt", 550, "5.7.1 refused by policy"))
    'none'
    """
    if reply.stage != "rcpt" or reply.code < _PERMANENT:
        return "none"
    status = f"5.{reply.enhanced}" if reply.enhanced else ""
    return weigh_reply(status, reply.text, names_mailbox=reply.code in _NO_MAILBOX)
