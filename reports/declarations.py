"""Which reports there are, by what workers declare; and what becomes of those that no worker declares any longer.

    declared     by a worker within the last minute: listed, computed, served
    withdrawn    by none for a minute in which a worker was looking: not listed, not served; what is stored is kept
                 aside for a day, and is back as soon as a worker declares the report again
    forgotten    a day later, or at once by ``ops reports forget``: nothing is stored of it

Workers of one tenant may have different reports, as while a new version is rolled out: each notes which it has,
and none takes out what another has. While no worker runs nothing is withdrawn; what is stored grows old.

Of a node that left the tree its path is kept, so that those who could read it are told; for a month, and of the
latest ten thousand.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from redis.asyncio import Redis

from producers.keys import catalogue
from reports.keys import audit, closed, declared, snapshot, staged, staging, wanted, withdrawn

_SCRIPTS = Path(__file__).parent / "scripts"

UNDECLARED = timedelta(seconds=60)
"""For how long no worker must have declared a report before it is withdrawn; a restart takes less."""
ASIDE = timedelta(days=1)
"""For how long what is stored of a withdrawn report is kept."""
GONE = timedelta(days=30)
"""For how long it is said of a node that it was removed."""
GONE_MOST = 10_000
"""Nodes of a report of which that is said."""

_DAYS = 3660
"""Closed days are looked for as far back; older ones end by their own time to live."""
_AT_ONCE = 500
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Reports that were withdrawn, and such that were forgotten."""

    withdrawn: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()


class Declarations:
    """The declared reports of one tenant.

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
        self._time = redis.register_script("return redis.call('TIME')")  # of the very server, on a cluster as well

    async def declare(self, entries: Mapping[str, bytes]) -> None:
        """Tell which reports a worker has; what was set aside of one that was withdrawn is back."""
        if not entries:
            return
        keys = [catalogue(self._tenant), declared(self._tenant)]
        arguments: list[str | bytes] = [part for pair in entries.items() for part in pair]
        for name in await self._declare(keys=keys, args=arguments):
            report = name.decode()
            await self._restore(keys=[withdrawn(self._tenant, report), snapshot(self._tenant, report)])

    async def is_declared(self, report: str) -> bool:
        """Whether some worker has this report, or had it a moment ago."""
        return bool(await self._redis.hexists(catalogue(self._tenant), report))  # type: ignore[misc]

    async def was_declared(self, report: str) -> bool:
        """Whether a worker had this report once, and it was not forgotten since."""
        return await self._redis.zscore(declared(self._tenant), report) is not None

    async def declared_ago(self, report: str) -> timedelta | None:
        """When a worker last declared the report; None: none does, or it was withdrawn."""
        score = await self._redis.zscore(declared(self._tenant), report)
        if score is None or score < 0:
            return None
        return max(timedelta(0), await self._now() - _EPOCH - timedelta(milliseconds=score))

    async def sweep(self, ours: Iterable[str]) -> SweepResult:
        """Withdraw what no worker has declared for a minute, and forget what was withdrawn a day ago.

        Args:
            ours: the reports of the worker that asks; it must have been looking for `UNDECLARED`.
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
        """Withdraw a report that no worker has declared for so long.

        Returns:
            For how long it has been withdrawn, in ms; -1: a worker has declared it.
        """
        keys = [key(self._tenant, report) for key in (snapshot, withdrawn, wanted)]
        arguments: list[str | int] = [report, undeclared // timedelta(milliseconds=1)]
        return int(
            await self._withdraw(keys=[catalogue(self._tenant), declared(self._tenant), *keys], args=arguments)
        )

    async def forget(self, report: str) -> int:
        """Remove all that is stored of a report, its closed days included. Returns how many keys there were."""
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
        """Forget the nodes of a report that left the tree long ago, and all but the latest. Returns how many."""
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
