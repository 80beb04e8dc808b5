"""Accepted mails of a sink: the last `keep` of them whole, and the count of each Message-ID.

The counts reach back to the start, beyond the mails still kept (about 200 bytes for each Message-ID), so that
a duplicate is found however late it arrives.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence

from local.sink.mail import CaughtMail, catch_mail


class Mailbox:
    """Accepted mails, oldest first.

    Args:
        keep: number of mails kept; older ones are dropped but stay counted.

    Example:
        await mailbox.wait_for(100)
        assert not mailbox.duplicates
    """

    def __init__(self, *, keep: int = 1000) -> None:
        self._mails: deque[CaughtMail] = deque(maxlen=keep)
        self._times: Counter[str] = Counter()
        self._accepted = 0
        self._arrival = asyncio.Event()

    @property
    def mails(self) -> Sequence[CaughtMail]:
        """Mails still kept."""
        return tuple(self._mails)

    @property
    def accepted(self) -> int:
        """Number of mails since the start."""
        return self._accepted

    @property
    def duplicates(self) -> dict[str, int]:
        """Message-IDs accepted more than once, with their count. Mails without one are not counted."""
        return {message_id: times for message_id, times in self._times.items() if times > 1}

    def times(self, message_id: str) -> int:
        """Return how often this Message-ID was accepted."""
        return self._times[message_id]

    def mail(self, number: int) -> CaughtMail | None:
        """Return the mail of that number, if still kept."""
        return next((mail for mail in self._mails if mail.number == number), None)

    def keep_mail(self, sender: str, recipients: list[str], raw: bytes) -> CaughtMail:
        """Keep a mail and wake the waiting tasks."""
        self._accepted += 1
        mail = catch_mail(self._accepted, sender, recipients, raw)
        self._mails.append(mail)
        if mail.message_id:
            self._times[mail.message_id] += 1
        self._arrival.set()
        self._arrival = asyncio.Event()
        return mail

    async def wait_for(self, count: int, *, timeout: float = 10.0) -> Sequence[CaughtMail]:  # noqa: ASYNC109  a test reads well so
        """Wait until `count` mails arrived since the start; return those still kept.

        Raises:
            TimeoutError: fewer arrived within `timeout` seconds; the message has the number.
        """
        try:
            async with asyncio.timeout(timeout):
                while self._accepted < count:
                    await self._arrival.wait()
        except TimeoutError:
            raise TimeoutError(f"{self._accepted} of {count} mails arrived within {timeout:g} s") from None
        return self.mails
