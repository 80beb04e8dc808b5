"""The mails a sink accepted: the last `keep` of them whole, and how often each Message-ID came.

The counts reach back to the start, beyond the mails still kept (about 200 bytes for each Message-ID), so that
a duplicate is seen however late it comes.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence

from local.sink.mail import CaughtMail, catch_mail


class Mailbox:
    """Accepted mails, oldest first.

    Args:
        keep: how many mails are kept; older ones are forgotten but stay counted.

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
        """Those still kept."""
        return tuple(self._mails)

    @property
    def accepted(self) -> int:
        """How many came since the start."""
        return self._accepted

    @property
    def duplicates(self) -> dict[str, int]:
        """Message-IDs accepted more than once, with how often. Mails without one are not counted."""
        return {message_id: times for message_id, times in self._times.items() if times > 1}

    def times(self, message_id: str) -> int:
        """How often this Message-ID was accepted."""
        return self._times[message_id]

    def mail(self, number: int) -> CaughtMail | None:
        """The mail of that number, if still kept."""
        return next((mail for mail in self._mails if mail.number == number), None)

    def add(self, sender: str, recipients: list[str], raw: bytes) -> CaughtMail:
        """Keep a mail and wake those who wait for it."""
        self._accepted += 1
        mail = catch_mail(self._accepted, sender, recipients, raw)
        self._mails.append(mail)
        if mail.message_id:
            self._times[mail.message_id] += 1
        self._arrival.set()
        self._arrival = asyncio.Event()
        return mail

    async def wait_for(self, count: int, *, timeout: float = 10.0) -> Sequence[CaughtMail]:  # noqa: ASYNC109  the reader's words
        """Wait until `count` mails came since the start; those still kept.

        Raises:
            TimeoutError: fewer came within `timeout` seconds; the message says how many.
        """
        try:
            async with asyncio.timeout(timeout):
                while self._accepted < count:
                    await self._arrival.wait()
        except TimeoutError:
            raise TimeoutError(f"{self._accepted} of {count} mails came within {timeout:g} s") from None
        return self.mails
