"""Declared reports: which reports the workers have, and the removal of reports that no worker declares.

    declared     by a worker within the last minute: listed, computed, served
    withdrawn    by none for a minute in which a worker was looking: not listed, not served; what is stored is kept
                 aside for a day, and is back as soon as a worker declares the report again
    forgotten    a day later, or at once by ``ops reports forget``: nothing of it is stored

Workers of one tenant may have different reports, for example during a rollout: each declares its own, and none
removes those of another. While no worker runs nothing is withdrawn, and stored reports grow older.

The path of a node that left the tree is kept, so that users who could read the node get 410 and not 404: for a
month, and for the latest 10,000 nodes of a report.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from redis.asyncio import Redis

from producers.keys import catalogue
from reports.keys import SINCE, audit, closed, declared, snapshot, staged, staging, wanted, withdrawn

_SCRIPTS = Path(__file__).parent / "scripts"

UNDECLARED = timedelta(seconds=60)
"""Time without a declaration after which a report is withdrawn; a restart takes less."""
ASIDE = timedelta(days=1)
"""Time for which the stored set of a withdrawn report is kept."""
GONE = timedelta(days=30)
"""Time for which readers answer that a node was removed."""
GONE_MOST = 10_000
"""Largest number of removed nodes of a report for which readers say so."""

_DAYS = 3660
"""Number of days back for which closed days are removed; older ones expire by their own time to live."""
_AT_ONCE = 500
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Reports that a sweep withdrew, and reports that it forgot."""

    withdrawn: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()


class Declarations:
    """Declared reports of one tenant.

    Args:
        redis: a redis-py asyncio client with ``decode_responses=False``.
    """

    def __init__(self, redis: Redis, *, tenant: str) -> None:
        self._redis = redis
        self._tenant = tenant
        self._declare, self._restore, self._withdraw, self._forget_gone = (
            redis.register_script((_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8"))
            for name in ("declare", "restore", "withdraw", "forget_gone")
        )
        self._time = redis.register_script("return redis.call('TIME')")  # see store.py for why by script

    async def declare(self, entries: Mapping[str, bytes]) -> None:
        """Declare the reports of a worker, and restore the stored sets of those that were withdrawn."""
        if not entries:
            return
        keys = [catalogue(self._tenant), declared(self._tenant)]
        arguments: list[str | bytes] = [part for pair in entries.items() for part in pair]
        for name in await self._declare(keys=keys, args=arguments):
            report = name.decode()
            key = snapshot(self._tenant, report)
            await self._restore(keys=[withdrawn(self._tenant, report), key])
            now_us = (await self._now() - _EPOCH) // timedelta(microseconds=1)
            await self._redis.hsetnx(key, SINCE, str(now_us))  # type: ignore[misc]  # typed for both clients

    async def is_declared(self, report: str) -> bool:
        """Return True if a worker declares this report, or did within the last minute."""
        return bool(await self._redis.hexists(catalogue(self._tenant), report))  # type: ignore[misc]

    async def was_declared(self, report: str) -> bool:
        """Return True if a worker ever declared this report and it has not been forgotten."""
        return await self._redis.zscore(declared(self._tenant), report) is not None

    async def declared_ago(self, report: str) -> timedelta | None:
        """Return the time since a worker last declared the report; None if it is withdrawn or unknown."""
        score = await self._redis.zscore(declared(self._tenant), report)
        if score is None or score < 0:
            return None
        return max(timedelta(0), await self._now() - _EPOCH - timedelta(milliseconds=score))

    async def sweep(self, ours: Iterable[str]) -> SweepResult:
        """Withdraw reports that no worker declared for a minute; forget those withdrawn a day ago.

        Args:
            ours: reports of the calling worker, which must have held the prober's lease for `UNDECLARED`.
        """
        listed = set(await self._redis.hkeys(catalogue(self._tenant)))  # type: ignore[misc]
        noted = set(await self._redis.zrange(declared(self._tenant), 0, -1))
        gone, forgotten = [], []
        for report in sorted({name.decode() for name in listed | noted} - set(ours)):
            for_ms = await self.withdraw(report)
            if for_ms == 0:
                gone.append(report)
            elif for_ms >= ASIDE / timedelta(milliseconds=1):
                await self.forget(report)
                forgotten.append(report)
        return SweepResult(tuple(gone), tuple(forgotten))

    async def withdraw(self, report: str, *, undeclared: timedelta = UNDECLARED) -> int:
        """Withdraw a report that no worker has declared for this long.

        Returns:
            0 if this call withdrew it, else milliseconds since then, at least 1; -1 if a worker has declared it.
        """
        keys = [key(self._tenant, report) for key in (snapshot, withdrawn, wanted)]
        arguments: list[str | int] = [report, undeclared // timedelta(milliseconds=1)]
        return int(
            await self._withdraw(keys=[catalogue(self._tenant), declared(self._tenant), *keys], args=arguments)
        )

    async def forget(self, report: str) -> int:
        """Remove everything stored about a report, closed days included. Returns the number of keys removed."""
        today = (await self._now()).date() + timedelta(days=1)
        days = [(today - timedelta(days=number)).isoformat() for number in range(_DAYS)]
        keys = [key(self._tenant, report) for key in (snapshot, withdrawn, wanted, audit)]
        keys += [closed(self._tenant, report, day) for day in days]
        await self._redis.hdel(catalogue(self._tenant), report)  # type: ignore[misc]
        removed = 0
        for piece in _pieces(keys):
            removed += int(await self._redis.unlink(*piece))
        prefix = staged(self._tenant, report, "").encode()
        for name in await self._redis.smembers(staging(self._tenant)):  # type: ignore[misc]
            if name.startswith(prefix):
                removed += int(await self._redis.unlink(name))
                await self._redis.srem(staging(self._tenant), name)  # type: ignore[misc]
        await self._redis.zrem(declared(self._tenant), report)
        return removed

    async def forget_gone(self, report: str, *, most: int = GONE_MOST) -> int:
        """Forget nodes that left the tree long ago, or beyond the latest. Returns their number."""
        key = snapshot(self._tenant, report)
        gone = [
            (int(at), name.removeprefix(b"gone:"))
            async for name, at in self._redis.hscan_iter(key, match="gone:*", count=1000)
        ]
        oldest = (await self._now() - GONE - _EPOCH) // timedelta(microseconds=1)
        latest = sorted(gone, reverse=True)
        former = [one for number, one in enumerate(latest) if number >= most or one[0] < oldest]
        forgotten = 0
        for piece in _pieces(former):
            arguments: list[bytes | int] = [part for at, scope in piece for part in (scope, at)]
            forgotten += int(await self._forget_gone(keys=[key], args=arguments))
        return forgotten

    async def _now(self) -> datetime:
        seconds, microseconds = await self._time(keys=[declared(self._tenant)])
        return _EPOCH + timedelta(seconds=int(seconds), microseconds=int(microseconds))


T = TypeVar("T")


def _pieces(things: Sequence[T]) -> Iterable[Sequence[T]]:
    return (things[at : at + _AT_ONCE] for at in range(0, len(things), _AT_ONCE))
