"""Accepted mails of a sink: the last `keep` of them whole, and the count of each Message-ID.

The counts reach back to the start, beyond the mails still kept (about 200 bytes for each Message-ID), so that
a duplicate is found however late it arrives. Deleting mails changes no count.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence

from local.sink.contents import read_contents
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
        self._keep = keep
        self._mails: dict[int, CaughtMail] = {}
        self._texts: dict[int, str] = {}
        self._times: Counter[str] = Counter()
        self._accepted = 0
        self._arrival = asyncio.Event()

    @property
    def mails(self) -> Sequence[CaughtMail]:
        """Mails still kept."""
        return tuple(self._mails.values())

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
        return self._mails.get(number)

    def find_mails(self, words: str) -> Sequence[CaughtMail]:
        """Return the mails in which each of these words occurs, in any case: all of them for none.

        The search covers subject, envelope, Message-ID, body and names of attachments.
        """
        wanted = words.casefold().split()
        return [mail for mail in self.mails if all(word in self._text(mail) for word in wanted)]

    def delete_mails(self, numbers: Collection[int]) -> int:
        """Delete these mails; return how many of them were still kept."""
        return sum([self._drop_mail(number) for number in numbers])

    def keep_mail(self, sender: str, recipients: list[str], raw: bytes) -> CaughtMail:
        """Keep a mail and wake the waiting tasks."""
        self._accepted += 1
        mail = catch_mail(self._accepted, sender, recipients, raw)
        self._mails[mail.number] = mail
        if len(self._mails) > self._keep:
            self._drop_mail(next(iter(self._mails)))
        if mail.message_id:
            self._times[mail.message_id] += 1
        self._arrival.set()
        self._arrival = asyncio.Event()
        return mail

    async def wait_for(self, count: int, *, timeout: float = 10.0) -> Sequence[CaughtMail]:  # noqa: ASYNC109  tests read well this way
        """Wait until `count` mails arrived since the start; return those still kept.

        Raises:
            TimeoutError: fewer arrived within `timeout` seconds; the message has the number.
        """
        try:
            async with asyncio.timeout(timeout):
                while self._accepted < count:
                    await self._arrival.wait()
        except TimeoutError:
            raise TimeoutError(f"only {self._accepted} of {count} mails arrived within {timeout:g} s") from None
        return self.mails

    def _drop_mail(self, number: int) -> bool:
        self._texts.pop(number, None)
        return self._mails.pop(number, None) is not None

    def _text(self, mail: CaughtMail) -> str:
        """Return the text in which words are searched; it is read at the first search."""
        if mail.number not in self._texts:
            contents = read_contents(mail.raw)
            names = [one.name for one in contents.attachments]
            fields = [mail.subject, mail.sender, *mail.recipients, mail.message_id, *names, contents.text]
            self._texts[mail.number] = "\n".join(fields).casefold()
        return self._texts[mail.number]
