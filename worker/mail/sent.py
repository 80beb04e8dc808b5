"""To whom each mail went, as a digest, for as long as a bounce of it may come.

A bounce names a Message-ID and an address. Whoever received a mail knows its Message-ID and can write a bounce
that names somebody else; so a bounce counts against an address only if that mail went to it. About 100 octets a
mail, in one hash a day that expires as a whole.

It is noted when a mail's final dot is about to follow, beside the mark: what nobody knows to be accepted may come
back too. The notes of many mails are one command, and no mail waits for it.

What can go wrong: Redis away, or the worker ends, before the note is written. Then a bounce of that mail is listed
as unknown, and nobody is suppressed by it.
"""

import asyncio
import time

from redis.exceptions import RedisError

import background
from producers.keys import mail_sent
from producers.link import Link
from producers.suppression import digest_of
from worker.engine.together import ANSWER_SECONDS
from worker.events import emit, event

_MAIL_UNNOTED = event("mail.unnoted")

DAY = 86_400
_MOST = 500
"""Mails of one command."""
DIGEST_LENGTH = 32
"""Hexadecimal digits kept: 128 bits, enough that nobody finds another address for one."""


class SentRegister:
    """Notes of mails that are handed over.

    Args:
        link: to Redis.
        days: how long a bounce may come; 0: nothing is noted, and every bounce is unknown.
    """

    def __init__(self, link: Link, *, days: int) -> None:
        self._link = link
        self._days = days
        self._living = ""
        self._waiting: list[str] = []
        self._writing: asyncio.Task[None] | None = None

    def note(self, message_id: str, recipient: str) -> None:
        """Note one, soon. A fault of Redis is logged and goes no further: the mail is not to suffer from it."""
        if not self._days:
            return
        self._waiting += message_id, digest_of(recipient)[:DIGEST_LENGTH]
        if self._writing is None:
            self._writing = background.once("notes of sent mails", self._write())

    async def written(self) -> None:
        """Wait until all notes are in Redis, or given up."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _write(self) -> None:
        try:
            while self._waiting:
                notes, self._waiting = self._waiting[: 2 * _MOST], self._waiting[2 * _MOST :]
                await self._write_some(notes)
        finally:
            self._writing = None

    async def _write_some(self, notes: list[str]) -> None:
        key = mail_sent(int(time.time()) // DAY)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._link.call("HSET", key, *notes)
                if self._living != key:
                    await self._link.call("EXPIRE", key, (self._days + 1) * DAY, "NX")
                    self._living = key
        except (RedisError, OSError) as error:
            emit(_MAIL_UNNOTED, error=type(error).__name__, mails=len(notes) // 2)
