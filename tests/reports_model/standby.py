"""Stored reports of a standby under random use: it lags, is paused, catches up, and nothing of it is ever proved.

Each write is worth a power of two, so a total says which writes are in it. After every step:

    true        every write that was acknowledged before ``verified_us`` is in, and none that began after ``as_of``
    visible     whoever asks for a transaction by ``If-Write-Visible`` and is told that it is in, finds it
    forward     generation, ``as_of`` and ``verified_us`` never go back
    not proved  ``verified_us`` moves with a new generation alone
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import asyncpg
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reader.read_your_writes import is_visible
from tests.boards import ORDER, Shop, shop
from tests.standby import replay
from worker.reports.refresh import refresh_board

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK = "SELECT clock_timestamp()"


@dataclass(frozen=True, slots=True)
class Write:
    """One order; `acknowledged` is None until its transaction has ended."""

    amount: int
    xid: int
    began: datetime
    acknowledged: datetime | None = None


class StandbyLab:
    """A shop on a standby, and writers on its primary; all in it happens when `do` is called."""

    def __init__(self, primary: str, second: str, url: str) -> None:
        self.primary, self._second, self._url = primary, second, url
        self.steps = self.refreshes = 0
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self.do(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._close())
        self._runner.__exit__(None, None, None)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(asyncio.wait_for(work, 30))

    async def _open(self) -> None:
        async with shop(self.primary, self._url):
            pass  # makes the tables
        self.writer, self.slow_writer = [await asyncpg.connect(self.primary) for _ in range(2)]
        await replay(self.primary, self._second)
        self._entered = shop(self._second, self._url)
        self.there: Shop = await self._entered.__aenter__()

    async def _close(self) -> None:
        await self._entered.__aexit__(None, None, None)
        await self.writer.close()
        await self.slow_writer.close()

    async def clear(self) -> None:
        """As at the start."""
        await self.writer.execute("TRUNCATE shop.orders")
        await self.catch_up()
        await self.there.redis.flushall()

    async def catch_up(self) -> None:
        """Have all replayed that was written."""
        await self.there.database.execute("SELECT pg_wal_replay_resume()")
        await replay(self.primary, self._second)


class StandbyMachine(RuleBasedStateMachine):
    """The steps."""

    def __init__(self, lab: StandbyLab) -> None:
        super().__init__()
        self.lab = lab
        self.writes: list[Write] = []
        self.slow: Write | None = None
        self.former: dict[str, Any] = {}

    @initialize()
    def begin(self) -> None:
        self.lab.do(self.lab.clear())
        self.refresh()

    def teardown(self) -> None:
        if self.slow is not None:
            self.lab.do(self.lab.slow_writer.execute("ROLLBACK"))

    @rule()
    def somebody_writes(self) -> None:
        write = self.lab.do(self._written(self.lab.writer))
        self.writes.append(self._committed(write, self.lab.writer))

    @rule()
    def somebody_writes_slowly(self) -> None:
        """A transaction that wrote before others and commits after them."""
        if self.slow is None:
            self.slow = self.lab.do(self._written(self.lab.slow_writer))
            return
        self.writes.append(self._committed(self.slow, self.lab.slow_writer))
        self.slow = None

    @rule()
    def replay_stands_still(self) -> None:
        self.lab.do(self.lab.there.database.execute("SELECT pg_wal_replay_pause()"))

    @rule()
    def replay_goes_on(self) -> None:
        self.lab.do(self.lab.there.database.execute("SELECT pg_wal_replay_resume()"))

    @rule()
    def all_is_replayed(self) -> None:
        self.lab.do(self.lab.catch_up())

    @rule()
    def refresh(self) -> None:
        self.lab.refreshes += 1
        it = self.lab.there
        outcome = self.lab.do(refresh_board(it.refresher, it.refresher.boards["shop"]))
        assert not outcome.failed, outcome.failed

    @rule()
    def all_is_replayed_and_stored(self) -> None:
        """What was committed and replayed is in what is stored then."""
        self.all_is_replayed()
        self.refresh()
        if self.writes:
            assert self._total() == sum(write.amount for write in self.writes)

    @rule()
    def probe(self) -> None:
        look = self.lab.do(self.lab.there.prober.probe_once())
        assert look.decisions["shop"].proved == ()

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        self.lab.steps += 1
        meta = self.lab.do(self._meta())
        if meta is None:
            return
        self._require_forward(meta)
        total, verified, as_of = self._total(), _instant(meta["verified_us"]), _instant(meta["as_of_us"])
        for write in self.writes:
            inside = bool(total & write.amount)
            assert inside or write.acknowledged is None or write.acknowledged > verified, "it was acknowledged"
            assert not inside or write.began <= as_of, "it is of the future"
            assert inside or not is_visible(write.xid, meta["snapshot"]), "it was said to be there"
        if self.slow is not None:
            assert not total & self.slow.amount
            assert not is_visible(self.slow.xid, meta["snapshot"])

    def _require_forward(self, meta: dict[str, Any]) -> None:
        if self.former:
            for name in ("gen", "as_of_us", "verified_us"):
                assert meta[name] >= self.former[name], f"{name} went back"
            proved = meta["verified_us"] > self.former["verified_us"] and meta["gen"] == self.former["gen"]
            assert not proved, "nothing proves what a standby shows"
        self.former = meta

    async def _meta(self) -> dict[str, Any] | None:
        meta = await self.lab.there.field("_meta")
        return None if meta is None else dict(meta)

    def _total(self) -> int:
        return int(self.lab.do(self.lab.there.total()))

    def _committed(self, write: Write, connection: Any) -> Write:
        self.lab.do(connection.execute("COMMIT"))
        return replace(write, acknowledged=self.lab.do(self.lab.writer.fetchval(_CLOCK)))

    async def _written(self, connection: Any) -> Write:
        """An order in a transaction that is open still."""
        began = await connection.fetchval(_CLOCK)
        await connection.execute("BEGIN")
        amount = 1 << len(self.writes) + (self.slow is not None)
        await connection.execute(ORDER, 2, amount, None)
        return Write(amount, int(await connection.fetchval("SELECT pg_current_xact_id()::text")), began)


def _instant(number: int) -> datetime:
    return _EPOCH + timedelta(microseconds=number)
