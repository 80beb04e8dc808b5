"""A backend that asks for mails without pause: python -m tests.failure_backend FILE LEVEL REDIS POSTGRES REPLICAS.

Each mail has a subject of its own, which is its key too, and is asked for until it is accepted. Only then is the
line `SUBJECT<tab>ID` in the file, and on the disk: whatever ends this process, what stands there was promised. At
level `ledger` each fifth transaction is rolled back; its mail must never arrive.
"""

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

import asyncpg

from jobs import Mail
from producers import NotEnqueued, Producer, Receipt

ROLLED_BACK = "rolled back"
_PAUSE = 0.01
_AWAY = (NotEnqueued, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class _RollBack(Exception):
    """Ends a transaction without its mail."""


class Backend:
    """One producer and one connection, which is opened again when it was lost."""

    def __init__(self, producer: Producer, level: str, dsn: str) -> None:
        self._producer, self._level, self._dsn = producer, level, dsn
        self._connection: asyncpg.Connection | None = None

    async def ask(self, subject: str) -> Receipt | None:
        """Ask for a mail until it is accepted; None if its transaction was rolled back."""
        while True:
            try:
                return await self._ask_once(subject)
            except _RollBack:
                return None
            except _AWAY:
                await asyncio.sleep(_PAUSE)

    async def _ask_once(self, subject: str) -> Receipt:
        mail = Mail(to="ana@example.com", subject=subject, text="Hola")
        if self._level == "redis":
            return await self._producer.send(mail, key=subject)
        connection = await self._connected()
        if self._level == "fallback":
            return await self._producer.send(mail, key=subject, level="fallback", connection=connection)
        async with connection.transaction():
            receipt = await self._producer.send(mail, key=subject, level="ledger", connection=connection)
            if subject.startswith(ROLLED_BACK):
                raise _RollBack
        return receipt

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._dsn)
        return self._connection


async def ask_without_pause(file: Path, level: str, url: str, dsn: str, replicas: str) -> None:
    """Ask for mails until the process ends."""
    with file.open("a", encoding="utf-8") as accepted:
        async with Producer.connect(url, confirm_replicas=int(replicas)) as producer:
            backend = Backend(producer, level, dsn)
            for number in count():
                is_rolled_back = level == "ledger" and number % 5 == 4
                subject = f"{ROLLED_BACK if is_rolled_back else 'mail'} {os.getpid()} {number}"
                if receipt := await backend.ask(subject):
                    accepted.write(f"{subject}\t{receipt.id}\n")
                    accepted.flush()
                    os.fsync(accepted.fileno())
                await asyncio.sleep(_PAUSE)


if __name__ == "__main__":
    asyncio.run(ask_without_pause(Path(sys.argv[1]), *sys.argv[2:]))
