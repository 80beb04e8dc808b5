"""What is promised of stored reports, under concurrency, on a real Postgres (docs/reports.md, P1 to P6).

Writers commit after random delays, so that marks and transaction numbers become visible out of their order.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count, pairwise
from typing import Any

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from producers import Producer
from reader.read_your_writes import is_visible
from reports.document import microseconds
from reports.store import ReportStore
from reports.triggers import uninstall_script
from tests.boards import ORDER, Shop, report, shop
from tests.support import eventually
from worker.engine import TryLater
from worker.reports.prober import Prober
from worker.reports.refresh import refresh_board

WRITERS, WRITES = 8, 6
BOTH = (
    report(),
    report("counted", sql="SELECT node_id, count(*) AS amount FROM shop.orders GROUP BY node_id", parameters=()),
)


OF_NODES = tuple(
    replace(
        one,
        sql_of_nodes=one.sql.replace("GROUP BY", f"{word} node_id = ANY({place}) GROUP BY"),
        sql_of_nodes_parameters=(*one.parameters, "nodes"),
        node_columns={"shop.orders": "node_id"},
    )
    for one, word, place in zip(BOTH, ("AND", "WHERE"), ("$2", "$1"), strict=True)
)
"""The same, whose refreshes ask for the nodes that marks name."""


@dataclass
class Written:
    """Every write: its transaction, and the database's time after its commit was acknowledged.

    Attributes:
        enough: True once refreshes have been seen in between; the writers go on until then.
    """

    acknowledged: dict[int, int] = field(default_factory=dict)
    enough: bool = False


async def write(dsn: str, written: Written, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  delays, not secrets
    connection = await asyncpg.connect(dsn)
    try:
        for number in count():
            if number >= WRITES and written.enough:
                return
            async with connection.transaction():
                await connection.execute(ORDER, 2, 1, None)
                xid = int(await connection.fetchval("SELECT pg_current_xact_id()::text::bigint"))
                await asyncio.sleep(chance.uniform(0, 0.05))  # the transaction stays open, as other people's do
            written.acknowledged[xid] = microseconds(await connection.fetchval("SELECT clock_timestamp()"))
    finally:
        await connection.close()


@asynccontextmanager
async def working(it: Shop, *, refreshers: int = 1) -> AsyncIterator[None]:
    """A prober that looks without pause, and refreshes of what it asks for, several at once."""

    async def go_on() -> None:
        while True:
            with suppress(TryLater):
                look = await it.prober.probe_once()
                if look.asked:
                    await refresh_board(it.refresher, it.refresher.boards["shop"])

    tasks = [asyncio.create_task(go_on()) for _ in range(refreshers)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("proof", ["marks", "marks that name nodes", "snapshot"])
@pytest.mark.parametrize("refreshers", [1, 3])
async def test_a_reader_is_never_told_of_a_state_that_was_not_and_finds_every_write_acknowledged_before_it(
    database: str, valkey_url: str, proof: str, refreshers: int
) -> None:
    written, seen = Written(), list[tuple[dict[str, Any], int]]()
    async with shop(database, valkey_url, *(OF_NODES if "nodes" in proof else BOTH)) as it:
        if proof != "snapshot":
            await it.install()
        await it.order(0)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        async with working(it, refreshers=refreshers):
            writers = [asyncio.create_task(write(database, written, seed)) for seed in range(WRITERS)]
            while not all(writer.done() for writer in writers):
                seen.append(await answer(it))
                written.enough = len({meta["gen"] for meta, _ in seen}) > 2
            await asyncio.gather(*writers)
            await eventually(lambda: all_in(it, written))
            seen.append(await answer(it))
    for meta, amount in seen:
        visible = {xid for xid in written.acknowledged if is_visible(xid, meta["snapshot"])}
        assert amount == len(visible)  # P1, P6: exactly the writes of the snapshot that it names
        due = {xid for xid, at in written.acknowledged.items() if at < meta["verified_us"]}
        assert due <= visible  # P2, P4: nothing that was acknowledged before it counts as verified is missing
    for earlier, later in pairwise(seen):  # P3
        for name in ("gen", "as_of_us", "verified_us"):
            assert later[0][name] >= earlier[0][name]
    assert len({meta["gen"] for meta, _ in seen}) > 2  # refreshes did happen meanwhile


async def answer(it: Shop) -> tuple[dict[str, Any], int]:
    """Meta and the root's amount of one instant, as a reader takes them."""
    body, meta = await it.redis.hmget("momentus:{reports}:snapshot:default:sales", ["1", "_meta"])
    return orjson.loads(meta), int(orjson.loads(body)["data"]["total"]["amount"])


async def all_in(it: Shop, written: Written) -> bool:
    return await it.total() == len(written.acknowledged)


async def test_an_idle_board_is_proved_each_time_and_never_computed(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url, *BOTH) as it:
        await it.install()
        await it.order(5)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        before = await it.meta()
        looks = [await it.prober.probe_once() for _ in range(5)]
        after = await it.meta()
    assert [look.asked for look in looks] == [()] * 5
    assert after["verified_us"] == microseconds(looks[-1].at)
    assert (after["as_of_us"], after["gen"]) == (before["as_of_us"], before["gen"])


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO shop.orders (node_id, amount, at) VALUES (3, 1, now())",
        "UPDATE shop.orders SET amount = 9",
        "DELETE FROM shop.orders",
        "TRUNCATE shop.orders",
        "UPDATE shop.nodes SET parent_id = 3 WHERE id = 2",
    ],
)
async def test_every_kind_of_change_marks_the_board_once_its_transaction_is_over(
    database: str, valkey_url: str, change: str
) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        await it.order(5)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        async with it.database.transaction():
            await it.database.execute(change)
            assert (await it.prober.probe_once()).asked == ()
        assert (await it.prober.probe_once()).decisions["shop"].why == "changed"
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert outcome.marks == 1
        await eventually(it.proved)


async def test_marks_come_back_when_the_set_could_not_be_stored(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        await it.order(5)
        publish = it.refresher.store.publish_set

        async def superseded(*_: Any) -> str:
            return "superseded"

        it.refresher.store.publish_set = superseded  # type: ignore[assignment]
        assert (await refresh_board(it.refresher, it.refresher.boards["shop"])).marks == 1
        it.refresher.store.publish_set = publish  # type: ignore[method-assign]
        assert (await refresh_board(it.refresher, it.refresher.boards["shop"])).marks == 1


async def test_a_worker_that_dies_after_storing_leaves_the_marks_for_one_more_refresh(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        await it.order(5)
        publish, stored = it.refresher.store.publish_set, asyncio.Event()

        async def then_die(*arguments: Any) -> str:
            state = await publish(*arguments)
            stored.set()
            await asyncio.Event().wait()
            return state

        it.refresher.store.publish_set = then_die  # type: ignore[assignment]
        dying = asyncio.create_task(refresh_board(it.refresher, it.refresher.boards["shop"]))
        await stored.wait()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        it.refresher.store.publish_set = publish  # type: ignore[method-assign]
        assert await it.total() == 5
        assert (await it.prober.probe_once()).decisions["shop"].proved == ()
        assert (await refresh_board(it.refresher, it.refresher.boards["shop"])).marks == 1
        await eventually(it.proved)


async def test_what_a_paused_worker_stores_into_an_emptied_redis_is_never_called_verified(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        old = await it.meta()
        document = await it.redis.hgetall("momentus:{reports}:snapshot:default:sales")
        await it.order(5)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        await it.redis.flushall()
        await it.redis.hset("momentus:{reports}:snapshot:default:sales", mapping=document)
        look = await it.prober.probe_once()
        assert (look.decisions["shop"].why, look.asked) == ("taken_up", ("shop",))
        assert (await it.meta())["verified_us"] == old["verified_us"]


async def test_verified_never_goes_back_nor_past_its_validity_nor_to_another_generation(
    database: str, valkey_url: str
) -> None:
    soon = report(valid_until="SELECT $1::timestamptz + interval '1 hour'", valid_until_parameters=("now",))
    async with shop(database, valkey_url, soon) as it:
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        known = (await it.refresher.store.read_known(["sales"]))["sales"]
        assert not await it.refresher.store.record_proof("sales", known, at=known.as_of - timedelta(seconds=1))
        assert await it.refresher.store.record_proof("sales", known, at=known.as_of + timedelta(days=1))
        assert (await it.meta())["verified_us"] == (await it.meta())["valid_until_us"]
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert not await it.refresher.store.record_proof("sales", known, at=known.as_of + timedelta(days=1))


async def test_what_was_proved_of_one_generation_is_not_believed_of_the_next(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        known = (await it.refresher.store.read_known(["sales"]))["sales"]
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        after = await it.meta()
        assert not await it.refresher.store.record_proof("sales", known, at=known.as_of + timedelta(days=1))
        assert await it.meta() == after


async def test_a_user_who_may_only_read_gets_the_same_promises_without_triggers(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        name = "reader_" + database.rpartition("_")[2]
        await it.database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA shop TO {name}")
        await it.database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {name}")
        host = database.rpartition("@")[2]
        try:
            async with shop(f"postgresql://{name}:x@{host}", valkey_url) as reading:
                assert reading.refresher.outbox is not None
                assert not (await reading.refresher.outbox.catalogue()).usable
                await refresh_board(reading.refresher, reading.refresher.boards["shop"])
                await it.order(5)
                assert (await reading.prober.probe_once()).decisions["shop"].proved == ()
                await refresh_board(reading.refresher, reading.refresher.boards["shop"])
                assert await reading.total() == 5
        finally:
            await it.database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


async def test_a_trigger_that_is_missing_or_disabled_is_noticed_and_named(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        await it.database.execute("ALTER TABLE shop.nodes DISABLE TRIGGER momentus_default")
        async with shop(database, valkey_url) as again:
            assert again.refresher.outbox is not None
            found = await again.refresher.outbox.catalogue()
    assert (found.watched, found.faulty, found.usable) == (frozenset(), ("shop.nodes",), True)


async def test_uninstalling_leaves_nothing_and_another_tenants_triggers_alone(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as ours, shop(database, valkey_url, tenant="north") as theirs:
        await ours.install()
        await theirs.install()
        await ours.order(5)
        assert await ours.database.fetchval("SELECT count(*) FROM momentus.dirty") == 2
        await ours.database.execute(uninstall_script("default"))
        assert await ours.database.fetchval("SELECT count(*) FROM momentus.dirty") == 1
        await ours.database.execute(uninstall_script("north"))
        assert await ours.database.fetchval("SELECT to_regnamespace('momentus')") is None
        await ours.order(5)


async def test_a_slow_tenant_delays_no_refresh_of_another(database: str, valkey_url: str) -> None:
    sums = "SELECT node_id, sum(amount) AS amount FROM shop.orders GROUP BY node_id"
    endless = report(sql=f"{sums} HAVING pg_sleep(60) IS NOT NULL", parameters=())
    async with shop(database, valkey_url, endless, tenant="slow") as slow, shop(database, valkey_url) as quick:
        await quick.order(5)
        stuck = [
            asyncio.create_task(refresh_board(slow.refresher, slow.refresher.boards["shop"])) for _ in range(2)
        ]
        await slow.prober.probe_once()
        async with working(quick):
            await eventually(lambda: has(quick, 5))
            await quick.order(7)
            await eventually(lambda: has(quick, 12))
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def has(it: Shop, amount: int) -> bool:
    return bool(await it.field("_meta")) and await it.total() == amount


async def test_one_prober_at_a_time_looks_and_another_takes_over(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as redis:
        store = ReportStore(redis, tenant="default")
        assert await store.take_prober_lease("a", ["sales"], lasting=timedelta(seconds=3))
        assert await store.take_prober_lease("a", ["sales"], lasting=timedelta(seconds=3))
        assert not await store.take_prober_lease("b", ["sales"], lasting=timedelta(seconds=3))
        await redis.delete("momentus:{reports}:prober:default")
        assert await store.take_prober_lease("b", ["sales"], lasting=timedelta(seconds=3))


async def test_the_prober_goes_on_when_redis_was_emptied_and_asks_for_everything(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it, Producer.connect(valkey_url, budget=5) as producer:
        looking = asyncio.create_task(Prober(it.refresher, producer).run())
        job = "arq:job:{reports}refresh:default:shop"
        await eventually(lambda: it.redis.exists(job))
        await it.redis.flushall()
        await eventually(lambda: it.redis.exists(job))
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
