"""What is promised of stored reports, wherever in a refresh something else comes in between (docs/reports.md).

The order is forced: at the n-th point where a refresh waits, another connection does its work to the end. Every n
is tried, with marks in the database and without.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from reader.read_your_writes import is_visible
from reports.document import Document, microseconds
from reports.node_ids import NodeId
from reports.store import NewSet, ReportStore, set_change
from tests.boards import Shop, report, shop
from tests.reports_model.interrupt import interrupted
from worker.engine import TryLater
from worker.reports.refresh import BoardOutcome, refresh_board
from worker.reports.refresh_context import publish_set

TIMELESS = report(sql="SELECT node_id, sum(amount) AS amount FROM shop.orders GROUP BY node_id", parameters=())
DOCUMENT = Document("0" * 16, b"{}", orjson.dumps({"etag": "0" * 16}))
MOST = 60
"""More points than a refresh has."""


@dataclass
class History:
    """Every write: its transaction, and the time after its commit was acknowledged; and the last look."""

    it: Shop
    acknowledged: dict[int, int] = field(default_factory=dict)
    former: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("gen", "as_of_us", "verified_us"), 0))

    async def write(self) -> None:
        await self.it.database.fetchval("SELECT 1")  # what was sent before has arrived
        xid = await self.it.order(1)
        self.acknowledged[xid] = microseconds(await self.it.database.fetchval("SELECT clock_timestamp()"))

    async def require_promises(self) -> None:
        """P1, P2, P3 and P6 of what a reader would get now."""
        body, meta = map(orjson.loads, await self.it.redis.hmget(STORED, ["1", "_meta"]))
        visible = {xid for xid in self.acknowledged if is_visible(xid, meta["snapshot"])}
        assert body["data"]["total"]["amount"] == len(visible), "the numbers are not of the snapshot they name"
        due = {xid for xid, at in self.acknowledged.items() if at < meta["verified_us"]}
        assert due <= visible, "a write is missing that was acknowledged before the set counts as verified"
        assert all(meta[name] >= former for name, former in self.former.items()), "something went back"
        self.former = {name: meta[name] for name in self.former}


STORED = "momentus:{reports}:snapshot:default:sales"


@pytest.mark.parametrize("proof", ["marks", "snapshot"])
async def test_a_write_that_comes_in_anywhere_is_in_the_numbers_of_every_snapshot_that_sees_it(
    database: str, valkey_url: str, proof: str
) -> None:
    async with shop(database, valkey_url) as it:
        if proof == "marks":
            await it.install()
        history = await prepared(it)
        for point in range(1, MOST):
            reached = await refreshed(it, at=point, meanwhile=history.write)
            await history.require_promises()
            await it.prober.probe_once()
            await history.require_promises()
            if not reached:
                break
    assert 5 < point < MOST - 1


@pytest.mark.parametrize("step", [8, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
@pytest.mark.parametrize("proof", ["marks", "snapshot"])
async def test_of_two_refreshes_at_once_the_older_state_never_replaces_the_newer(
    database: str, valkey_url: str, proof: str, step: int
) -> None:
    """The long run tries every pair of points; the ordinary one every point of each, in an eighth of the pairs."""
    async with shop(database, valkey_url, TIMELESS) as it, shop(database, valkey_url, TIMELESS) as another:
        if proof == "marks":
            await it.install()
        await prepared(another)
        history = await prepared(it)
        for first in range(1, MOST):
            for second in range(1 + first % step, MOST, step):
                reached = await both_refreshed(history, another, first, second)
                if not reached[1]:
                    break
            if not reached[0]:
                break
    assert 5 < first < MOST - 1


async def test_a_node_that_comes_back_is_stored_though_its_tombstone_was_stored_meanwhile(valkey_url: str) -> None:
    with_it: dict[NodeId, Document] = dict.fromkeys((1, 2), DOCUMENT)
    without: dict[NodeId, Document] = {1: DOCUMENT}
    async with Redis.from_url(valkey_url) as ours, Redis.from_url(valkey_url) as theirs:
        store, other = ReportStore(ours, tenant="default"), ReportStore(theirs, tenant="default")
        for point in range(1, MOST):
            reached = asyncio.Event()
            await ours.flushall()
            await publish_set(other, new_set(1, with_it))

            async def the_node_is_gone(reached: asyncio.Event = reached) -> None:
                reached.set()
                await publish_set(other, new_set(2, without))

            stored: Any = interrupted(store.read_set("sales"), at=point, meanwhile=the_node_is_gone)
            last = new_set(3, with_it)
            if await store.publish_set(last, found := await stored, set_change(found, with_it)) == "moved":
                await publish_set(store, last)
            assert await ours.hmget(STORED, ["2", "gone:2"]) == [DOCUMENT.body, None]
            if not reached.is_set():
                break
    assert 1 < point < MOST - 1


def new_set(second: int, documents: Mapping[NodeId, Document]) -> NewSet:
    times = {"as_of_us": second * 1_000_000, "verified_us": second * 1_000_000, "valid_until_us": None}
    meta = {**times, "cost_ms": 1.0, "snapshot": "1:1:"}
    return NewSet(report="sales", as_of=datetime.fromtimestamp(second, UTC), documents=documents, meta=meta)


async def both_refreshed(history: History, another: Shop, first: int, second: int) -> tuple[bool, bool]:
    """One stops at a point, another begins and stops, a write is acknowledged, the first ends, the other goes on.

    Whether the two came to their points.
    """
    it, gate, other = history.it, asyncio.Event(), list[asyncio.Task[bool]]()

    async def begin_another() -> None:
        reached = asyncio.Event()

        async def wait() -> None:
            reached.set()
            await gate.wait()

        other.append(asyncio.create_task(refreshed(another, at=second, meanwhile=wait)))
        waiting = asyncio.create_task(reached.wait())
        await asyncio.wait({other[0], waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await history.write()

    reached = await refreshed(it, at=first, meanwhile=begin_another)
    await history.require_promises()
    await it.prober.probe_once()
    await history.require_promises()
    gate.set()
    reached_too = bool(other) and await other[0]
    await history.require_promises()
    return reached, reached_too


async def prepared(it: Shop) -> History:
    """All connections are made, and a set is stored."""
    it.refresher.source._timeouts[1] = "20ms"  # who stands still may hold the board's row
    await it.prober.probe_once()
    await refreshed(it)
    await it.prober.probe_once()
    return History(it)


async def refreshed(it: Shop, *, at: int = 0, meanwhile: Callable[[], Awaitable[None]] | None = None) -> bool:
    """Whether the refresh came to that point."""
    came = False

    async def note() -> None:
        nonlocal came
        came = True
        if meanwhile is not None:
            await meanwhile()

    work: Any = interrupted(refresh_board(it.refresher, it.refresher.boards["shop"]), at=at, meanwhile=note)
    with suppress(TryLater):
        outcome: BoardOutcome = await work
        assert not outcome.failed
    return came
