"""Register of sent mails: a digest of each mail's recipient, and counts of the recipients that servers accepted.

A bounce names a Message-ID and an address. Every recipient of a mail knows its Message-ID and can write a bounce
that names another address; so a bounce counts against an address only if that mail went to it. A note takes about
120 bytes, in one hash per day that expires as a whole after the time in which a bounce may come. The counts of
recipients by domain, by account and by minute show whether a server refuses every recipient (`doubt.lua`).

The note is written together with the mark, just before the final dot: a mail with an unknown outcome may bounce
too. The notes of many mails are written by one call of a script, and no mail waits for that call.

What can go wrong: Redis is down, or the worker ends, before the note is written. Then a bounce of that mail is
listed as unknown and suppresses no address.
"""

import asyncio
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from redis.exceptions import RedisError

import background
from producers.keys import MAIL_SENT
from producers.link import Argument, Link
from producers.link.script import Script, read_script
from producers.suppression import digest_of, domain_of
from worker.engine.batch import ANSWER_SECONDS
from worker.engine.gathering import wait_while_busy
from worker.events import emit, event

_MAIL_UNNOTED = event("mail.unnoted")

DAY = 86_400
_BATCH = 500
"""Mails per call of the script."""
_FIELDS = 4
_ROUNDS = 32
"""Rounds of the event loop in which notes gather in a busy worker: some milliseconds of other work."""
DIGEST_LENGTH = 32
"""Hexadecimal digits kept: 128 bits, enough that no second address with the same digest can be found."""


class SentRegister:
    """Register of the mails that were handed to a server.

    Args:
        link: connection to Redis.
        days: days in which a bounce is expected; with 0 mails are only counted, and every bounce is unknown.
    """

    def __init__(self, link: Link, *, days: int) -> None:
        self._link = link
        self._life_ms = (days + 1) * DAY * 1000 if days else 0
        self._waiting: list[str] = []
        self._writing: asyncio.Task[None] | None = None

    def note_mail(self, message_id: str, recipient: str, account: str) -> None:
        """Queue a note of one mail. A Redis error is only logged, so that it does not stop the mail."""
        self._queue(message_id, digest_of(recipient)[:DIGEST_LENGTH], domain_of(recipient), account)

    def note_several(
        self, message_id: str, recipients: Sequence[str], account: str, *, earlier: Sequence[str]
    ) -> None:
        """Queue a note of a mail to several recipients, which names those of earlier attempts too."""
        digests = ",".join(digest_of(one)[:DIGEST_LENGTH] for one in (*recipients, *earlier))
        self._queue(message_id, digests, ",".join(map(domain_of, recipients)), account)

    def _queue(self, message_id: str, digests: str, domains: str, account: str) -> None:
        self._waiting += message_id, digests, domains, account
        if self._writing is None:
            self._writing = background.start_once("notes of sent mails", self._write_notes())

    async def wait_for_notes(self) -> None:
        """Wait until all notes are stored in Redis or have failed."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _write_notes(self) -> None:
        try:
            while self._waiting:
                notes, self._waiting = self._waiting[: _FIELDS * _BATCH], self._waiting[_FIELDS * _BATCH :]
                await self._write_batch(notes)
                if self._waiting:
                    await wait_while_busy(rounds=_ROUNDS)
        finally:
            self._writing = None

    async def _write_batch(self, notes: list[str]) -> None:
        arguments: list[Argument] = [self._life_ms, *notes]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await _script().run(self._link.call, [MAIL_SENT], arguments)
        except (RedisError, OSError) as error:
            emit(_MAIL_UNNOTED, error=type(error).__name__, mails=len(notes) // _FIELDS)


@cache
def _script() -> Script:
    return Script(read_script(Path(__file__).parent / "scripts", "note_sent"))
