"""To whom each mail went, as a digest, for as long as a bounce of it may come; and how many recipients were taken.

A bounce names a Message-ID and an address. Whoever received a mail knows its Message-ID and can write a bounce
that names somebody else; so a bounce counts against an address only if that mail went to it. About 120 octets a
mail, in one hash a day that expires as a whole. Beside it stands how many recipients each domain and each account
took in every minute, so that many refusals can be told from a server that refuses everybody (`doubt.lua`).

It is noted when a mail's final dot is about to follow, beside the mark: what nobody knows to be accepted may come
back too. The notes of many mails are one call of a script, and no mail waits for it.

What can go wrong: Redis away, or the worker ends, before the note is written. Then a bounce of that mail is listed
as unknown, and nobody is suppressed by it.
"""

import asyncio
from functools import cache
from pathlib import Path

from redis.exceptions import RedisError

import background
from producers.keys import MAIL_SENT
from producers.link import Argument, Link
from producers.link.script import Script, read_script
from producers.suppression import digest_of, domain_of
from worker.engine.batch import ANSWER_SECONDS
from worker.events import emit, event

_MAIL_UNNOTED = event("mail.unnoted")

DAY = 86_400
_MOST = 500
"""Mails of one call."""
_WORDS = 4
DIGEST_LENGTH = 32
"""Hexadecimal digits kept: 128 bits, enough that nobody finds another address for one."""


class SentRegister:
    """Notes of mails that are handed over.

    Args:
        link: to Redis.
        days: how long a bounce may come; 0: mails are only counted, and every bounce is unknown.
    """

    def __init__(self, link: Link, *, days: int) -> None:
        self._link = link
        self._life_ms = (days + 1) * DAY * 1000 if days else 0
        self._waiting: list[str] = []
        self._writing: asyncio.Task[None] | None = None

    def note(self, message_id: str, recipient: str, account: str) -> None:
        """Note one, soon. A fault of Redis is logged and goes no further: the mail is not to suffer from it."""
        self._waiting += message_id, digest_of(recipient)[:DIGEST_LENGTH], domain_of(recipient), account
        if self._writing is None:
            self._writing = background.once("notes of sent mails", self._write())

    async def written(self) -> None:
        """Wait until all notes are in Redis, or given up."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _write(self) -> None:
        try:
            while self._waiting:
                notes, self._waiting = self._waiting[: _WORDS * _MOST], self._waiting[_WORDS * _MOST :]
                await self._write_some(notes)
        finally:
            self._writing = None

    async def _write_some(self, notes: list[str]) -> None:
        arguments: list[Argument] = [self._life_ms, *notes]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await _script().run(self._link.call, [MAIL_SENT], arguments)
        except (RedisError, OSError) as error:
            emit(_MAIL_UNNOTED, error=type(error).__name__, mails=len(notes) // _WORDS)


@cache
def _script() -> Script:
    return Script(read_script(Path(__file__).parent / "scripts", "note_sent"))
