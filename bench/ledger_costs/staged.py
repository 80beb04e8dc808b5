"""Mails to stage, as a backend has them, and as rows that were made ahead."""

from datetime import datetime

import asyncpg

from jobs import Mail
from producers.compose import Composer
from producers.send_options import SendOptions
from producers.staging.asyncpg_rows import AsyncpgRows
from producers.staging.row import Value, row_of

LANE = "mail.normal"
ROWS_TOGETHER = 1000
"""Rows of one statement, as `send_many` has them."""
_TEXT = "Ha recibido una tarea nueva. " * 26
"""With it an envelope has about 1 KiB."""

Row = dict[str, Value]


def mail(number: int) -> Mail:
    """Return a mail whose envelope has about 1 KiB."""
    return Mail(to=f"ana{number}@example.com", subject=f"Tarea {number}", text=_TEXT)


def rows(count: int, *, now: datetime | None = None) -> list[Row]:
    """Return rows of so many new mails, of now or of another instant."""
    composer = Composer("default") if now is None else Composer("default", now=lambda: now)
    options = SendOptions()
    return [row_of(composer.entry(mail(number), None, options)) for number in range(count)]


async def stage(connection: "asyncpg.Connection[asyncpg.Record]", made: list[Row]) -> None:
    """Stage rows in one transaction, a thousand in a statement, without a token."""
    writer = AsyncpgRows(connection)
    async with connection.transaction():
        for at in range(0, len(made), ROWS_TOGETHER):
            await writer.insert(made[at : at + ROWS_TOGETHER], alone=False)
