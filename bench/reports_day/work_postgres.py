"""The database's own work: processor time of the backends that serve clients, as the kernel counts it.

Time on the clock would hold waiting and the way there and back; of a short query that is most of it. Linux only,
on the database's own machine. Parallel workers are processes that come and go, so they are switched off.
"""

from pathlib import Path
from typing import Any, Self

import asyncpg

_ALONE = "ALTER DATABASE postgres SET max_parallel_workers_per_gather = 0"
_BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Work:
    """Counts from one moment to the next; use it as an async context, before the connections that are counted."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Any = None
        self._began: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        self._connection = await asyncpg.connect(self._dsn)
        await self._connection.execute(_ALONE)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def begin(self) -> None:
        """Count from now on."""
        self._began = await self._spent()

    async def ms(self) -> float:
        """Since `begin`, of all connections that were there then and are there now."""
        ended = await self._spent()
        return sum(ended[pid] - began for pid, began in self._began.items() if pid in ended) / 1_000_000

    async def _spent(self) -> dict[int, int]:
        """Nanoseconds on a processor, by process."""
        pids = [row["pid"] for row in await self._connection.fetch(_BACKENDS)]
        return {pid: _nanoseconds(pid) for pid in pids}


def _nanoseconds(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])
