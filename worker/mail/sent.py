"""To whom each mail went, as a digest, for as long as a bounce of it may come.

A bounce names a Message-ID and an address. Whoever received a mail knows its Message-ID and can write a bounce
that names somebody else; so a bounce counts against an address only if that mail went to it. About 100 octets a
mail, in one hash a day that expires as a whole.

What can go wrong: Redis away, or the worker ends, between the server's word and this note. Then a bounce of that
mail is listed as unknown, and nobody is suppressed by it.
"""

import time
from collections.abc import Sequence

from redis.exceptions import RedisError

from producers.keys import mail_sent
from producers.link import Link
from producers.suppression import digest_of
from worker.engine.together import Together
from worker.events import emit

DAY = 86_400
DIGEST_LENGTH = 32
"""Hexadecimal digits kept: 128 bits, enough that nobody finds another address for one."""


class SentRegister:
    """Notes of accepted mails.

    Args:
        link: to Redis.
        days: how long a bounce may come; 0: nothing is noted, and every bounce is unknown.
    """

    def __init__(self, link: Link, *, days: int) -> None:
        self._link = link
        self._days = days
        self._living = ""
        self._write: Together[tuple[str, str], None] = Together(self._note_all)

    async def note(self, message_id: str, recipient: str) -> None:
        """Note one. A fault of Redis is logged and goes no further: the mail is accepted, and must end as such."""
        if not self._days:
            return
        try:
            await self._write.answer((message_id, digest_of(recipient)[:DIGEST_LENGTH]))
        except (RedisError, OSError) as error:
            emit("mail.unnoted", error=type(error).__name__)

    async def _note_all(self, notes: Sequence[tuple[str, str]]) -> Sequence[None]:
        key = mail_sent(int(time.time()) // DAY)
        await self._link.call("HSET", key, *(part for note in notes for part in note))
        if self._living != key:
            await self._link.call("EXPIRE", key, (self._days + 1) * DAY, "NX")
            self._living = key
        return [None] * len(notes)
