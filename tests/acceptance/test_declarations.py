"""Which reports there are follows from what workers declare; what none declares is withdrawn, then forgotten."""

import argparse
from collections.abc import AsyncIterator
from datetime import timedelta

import orjson
import pytest
from redis.asyncio import Redis

from ops.command import CommandRefused, Tools
from ops.depth.report_freshness import read_reports
from ops.reports.forget import forget_reports
from producers.keys import catalogue
from reports.declarations import ASIDE, Declarations, SweepResult
from reports.keys import audit, closed, declared, prober, snapshot, staged, staging, wanted, withdrawn
from reports.store import ReportStore
from tests.boards import report, shop
from tests.support import eventually
from worker.engine import GiveUp, TryLater
from worker.reports.refresh import refresh_report

TENANT = "declared"
JOB = f"arq:job:{{reports}}refresh:{TENANT}:shop"
MINUTE_MS, DAY_MS = 60_000, ASIDE // timedelta(milliseconds=1)


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url) as client:
        yield client
        await client.unlink(*[key async for key in client.scan_iter(match=f"momentus:*:{TENANT}*")], "none")


@pytest.fixture
def declarations(redis: Redis) -> Declarations:
    return Declarations(redis, tenant=TENANT)


async def store(redis: Redis, name: str) -> None:
    """All that may be stored of a report."""
    await redis.hset(snapshot(TENANT, name), mapping={"1": "{}", "_gen": 7, "_meta": "{}"})
    await redis.hset(staged(TENANT, name, "a"), mapping={"1": "{}"})
    await redis.sadd(staging(TENANT), staged(TENANT, name, "a"))
    await redis.hset(closed(TENANT, name, "2026-11-20"), mapping={"1": "{}"})
    await redis.set(wanted(TENANT, name), "1")
    await redis.hset(audit(TENANT, name), mapping={"audited": 1})


async def age(redis: Redis, name: str, ms: int) -> None:
    """Let time pass since a report was last declared or was withdrawn."""
    score = await redis.zscore(declared(TENANT), name)
    assert score is not None
    await redis.zadd(declared(TENANT), {name: score - ms if score > 0 else score + ms})


async def keys_of(redis: Redis, name: str) -> set[str]:
    return {key.decode() async for key in redis.scan_iter(match=f"momentus:*:{TENANT}:{name}*")}


async def listed(redis: Redis) -> set[str]:
    return {name.decode() for name in await redis.hkeys(catalogue(TENANT))}


async def test_workers_with_different_reports_take_out_nothing_of_each_other(
    redis: Redis, declarations: Declarations
) -> None:
    await store(redis, "old")
    before = await keys_of(redis, "old")
    for _ in range(3):
        await declarations.declare({"old": b"1", "both": b"1"})
        await declarations.declare({"new": b"1", "both": b"2"})
        assert await declarations.sweep({"new", "both"}) == SweepResult()
        assert await declarations.sweep({"old", "both"}) == SweepResult()
    assert await listed(redis) == {"old", "new", "both"}
    assert await keys_of(redis, "old") == before


async def test_a_report_that_no_worker_declares_is_withdrawn_and_a_day_later_forgotten(
    redis: Redis, declarations: Declarations
) -> None:
    await declarations.declare({"old": b"1", "new": b"1"})
    await store(redis, "old")
    await age(redis, "old", MINUTE_MS)
    assert await declarations.sweep({"new"}) == SweepResult(withdrawn=("old",))
    assert await listed(redis) == {"new"}
    assert await keys_of(redis, "old") == {
        withdrawn(TENANT, "old"),
        closed(TENANT, "old", "2026-11-20"),
        audit(TENANT, "old"),
        staged(TENANT, "old", "a"),
    }
    assert [one.report for one in await read_reports(redis, tenant=TENANT, now_us=0)] == ["new"]
    assert await declarations.sweep({"new"}) == SweepResult(), "it is withdrawn already"
    await age(redis, "old", DAY_MS)
    assert await declarations.sweep({"new"}) == SweepResult(forgotten=("old",))
    assert await keys_of(redis, "old") == set()
    assert await redis.zrange(declared(TENANT), 0, -1) == [b"new"]


async def test_what_is_stored_after_a_report_was_withdrawn_is_withdrawn_as_well(
    redis: Redis, declarations: Declarations
) -> None:
    """A worker that was stopped in the middle of a refresh, and went on."""
    await declarations.declare({"old": b"1"})
    await age(redis, "old", MINUTE_MS)
    assert await declarations.withdraw("old") == 0
    assert await declarations.withdraw("old") >= 1, "also within the same millisecond"
    await store(redis, "old")
    await declarations.sweep(set())
    assert not await redis.exists(snapshot(TENANT, "old"), wanted(TENANT, "old"))


async def test_a_report_that_is_declared_again_goes_on_where_it_was(
    redis: Redis, declarations: Declarations
) -> None:
    await declarations.declare({"old": b"1"})
    await store(redis, "old")
    await age(redis, "old", MINUTE_MS)
    await declarations.sweep(set())
    await declarations.declare({"old": b"1"})
    assert await redis.hget(snapshot(TENANT, "old"), "_gen") == b"7"
    assert not await redis.exists(withdrawn(TENANT, "old"))
    assert await declarations.sweep(set()) == SweepResult()


async def test_a_failure_noted_of_a_withdrawn_report_takes_nothing_from_its_set(
    redis: Redis, declarations: Declarations
) -> None:
    await declarations.declare({"old": b"1"})
    await store(redis, "old")
    await age(redis, "old", MINUTE_MS)
    await declarations.sweep(set())
    await redis.hset(snapshot(TENANT, "old"), "_error", "{}")
    await declarations.sweep(set())
    assert not await redis.exists(snapshot(TENANT, "old"))
    await redis.hset(snapshot(TENANT, "old"), "_error", "{}")
    await declarations.declare({"old": b"1"})
    assert await redis.hget(snapshot(TENANT, "old"), "_gen") == b"7"


async def test_a_newer_set_is_not_replaced_by_one_that_was_withdrawn(
    redis: Redis, declarations: Declarations
) -> None:
    await redis.hset(withdrawn(TENANT, "old"), "_gen", "7")
    await redis.hset(snapshot(TENANT, "old"), mapping={"_gen": "8", "_meta": "{}"})
    await declarations.declare({"old": b"1"})
    assert await redis.hget(snapshot(TENANT, "old"), "_gen") == b"8"
    assert not await redis.exists(withdrawn(TENANT, "old"))


async def test_what_a_former_version_listed_has_a_minute_from_when_it_is_seen(
    redis: Redis, declarations: Declarations
) -> None:
    await redis.hset(catalogue(TENANT), "old", "1")
    assert await declarations.sweep(set()) == SweepResult()
    assert await listed(redis) == {"old"}
    await age(redis, "old", MINUTE_MS)
    assert await declarations.sweep(set()) == SweepResult(withdrawn=("old",))


async def test_a_removed_node_is_told_of_for_a_month_and_one_that_is_back_stays(
    redis: Redis, declarations: Declarations
) -> None:
    key = snapshot(TENANT, "tree")
    now = (await redis.time())[0] * 1_000_000
    month = 31 * 86_400 * 1_000_000
    gone = {"gone:1": now - month, "gone:2": now, "gone:3": now - 1, "gone:4": now - 2}
    await redis.hset(key, mapping={f"head:{scope}": "{}" for scope in range(1, 6)} | {"5": "{}"})
    await redis.hset(key, mapping=gone)
    assert await declarations.forget_gone("tree", most=2) == 2
    assert sorted(await redis.hkeys(key)) == [b"5", b"gone:2", b"gone:3", b"head:2", b"head:3", b"head:5"]


# The command


def asked(*names: str, all_: bool = False) -> argparse.Namespace:
    return argparse.Namespace(names=list(names), all=all_)


@pytest.fixture
def tools(redis: Redis, valkey_url: str) -> Tools:
    return Tools(redis=redis, redis_url=valkey_url, tenant=TENANT)


async def test_the_command_forgets_at_once_what_no_worker_declares(
    redis: Redis, tools: Tools, declarations: Declarations
) -> None:
    await declarations.declare({"old": b"1", "kept": b"1"})
    for name in ("old", "kept", "orphan"):
        await store(redis, name)
    before = await keys_of(redis, "kept")
    with pytest.raises(CommandRefused, match="a worker declares kept"):
        await forget_reports(tools, asked("kept", "orphan"))
    await age(redis, "old", MINUTE_MS)
    assert (await forget_reports(tools, asked())).facts == {"undeclared": ["old", "orphan"]}
    assert (await forget_reports(tools, asked("old"))).facts == {"removed": {"old": 5}}
    assert (await forget_reports(tools, asked(all_=True))).facts == {"removed": {"orphan": 5}}
    assert not (await forget_reports(tools, asked())).done
    assert await keys_of(redis, "old") == await keys_of(redis, "orphan") == set()
    assert await keys_of(redis, "kept") == before
    assert await listed(redis) == {"kept"}


async def test_a_tenant_that_no_worker_serves_is_forgotten_as_a_whole(
    redis: Redis, tools: Tools, declarations: Declarations
) -> None:
    await declarations.declare({"one": b"1", "two": b"1"})
    await redis.hset(snapshot(f"{TENANT}x", "one"), "1", "another tenant's")
    for name in ("one", "two"):
        await store(redis, name)
        await age(redis, name, MINUTE_MS)
    assert (await forget_reports(tools, asked(all_=True))).done
    left = {key.decode() async for key in redis.scan_iter(match=f"momentus:*:{TENANT}*")}
    assert left == {snapshot(f"{TENANT}x", "one")}


# The worker


async def test_a_refresh_waits_for_the_worker_that_has_its_report_and_ends_when_none_has_it_any_longer(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url, report()) as it:
        tenant, context = it.refresher.tenant, {"refresher": it.refresher}
        declarations = it.refresher.store.declarations
        with pytest.raises(GiveUp, match="not declared"):
            await refresh_report(context, tenant, "other")
        await declarations.declare({"other": b"1"})
        with pytest.raises(TryLater, match="another worker") as told:
            await refresh_report(context, tenant, "other")
        assert not told.value.charged
        assert told.value.after == timedelta(seconds=0.2)
        with pytest.raises(TryLater, match="another worker") as told:
            await refresh_report({**context, "age": timedelta(seconds=9)}, tenant, "other")
        assert told.value.after == timedelta(seconds=9), "the wait does not grow"
        with pytest.raises(TryLater, match="of that tenant") as told:
            await refresh_report({**context, "age": timedelta(days=1)}, "another", "sales")
        assert told.value.after == timedelta(seconds=30), "the wait grows without end"
        assert await declarations.withdraw("other", undeclared=timedelta(0)) == 0
        assert await refresh_report(context, tenant, "other") == {"withdrawn": "other"}


async def test_a_worker_withdraws_what_none_declares_once_it_has_looked_on_for_a_minute(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url, report()) as it:
        tenant = it.refresher.tenant
        await it.refresher.store.declarations.declare({"former": b"1"})
        key = declared(tenant)
        await it.redis.zincrby(key, -2 * MINUTE_MS, "former")
        await it.prober._cycle()
        assert set(await it.redis.hkeys(catalogue(tenant))) == {b"sales", b"former"}
        it.prober._sweep_at = 0
        await it.prober._cycle()
        assert set(await it.redis.hkeys(catalogue(tenant))) == {b"sales"}


async def test_a_set_names_the_tree_that_it_is_of(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url, report()) as it:

        async def tree() -> str:
            await refresh_report({"refresher": it.refresher}, it.refresher.tenant, "sales")
            meta = await it.redis.hget(snapshot(it.refresher.tenant, "sales"), "_meta")
            return str(orjson.loads(meta)["tree"])

        first = await tree()
        await it.database.execute("INSERT INTO shop.orders (node_id, amount, at) VALUES (2, 5, now())")
        assert await tree() == first, "other numbers, the same tree"
        await it.database.execute("UPDATE shop.nodes SET parent_id = 2 WHERE id = 3")
        moved = await tree()
        assert moved != first
        await it.database.execute("DELETE FROM shop.nodes WHERE id = 3")
        assert await tree() not in {first, moved}


# Who looks


async def test_a_report_that_the_prober_lacks_is_looked_after_by_a_worker_that_has_it(redis: Redis) -> None:
    store = ReportStore(redis, tenant=TENANT)

    async def lead(worker: str, *reports: str) -> list[str] | None:
        mine = await store.take_prober_lease(worker, reports, lasting=timedelta(minutes=1))
        return None if mine is None else sorted(mine)

    assert await lead("first", "both") == ["both"]
    assert await lead("same", "both") is None
    assert await lead("more", "both", "new", "other") == ["new", "other"]
    assert await lead("less", "new") is None
    assert await lead("last", "new", "own") == ["own"]
    assert await lead("more", "both", "new", "other") == ["new", "other"]
    await redis.set(prober(TENANT), "former")  # a former build notes no reports
    assert await lead("more", "both", "new", "other") is None


async def test_a_worker_without_reports_that_looks_leaves_those_of_others_to_them(redis: Redis) -> None:
    store = ReportStore(redis, tenant=TENANT)
    assert await store.take_prober_lease("none", (), lasting=timedelta(minutes=1)) == frozenset()
    assert await store.take_prober_lease("some", ("new",), lasting=timedelta(minutes=1)) == frozenset({"new"})


async def test_a_report_that_only_one_worker_has_is_computed_while_another_looks(
    database: str, valkey_url: str, redis: Redis
) -> None:
    """Of a board that both have, so that the wrong worker could take the job and leave the report out."""
    async with (
        shop(database, valkey_url, report("sales"), tenant=TENANT) as first,
        shop(database, valkey_url, report("sales"), report("returns"), tenant=TENANT) as second,
    ):
        await first.prober._cycle()
        await refresh_report({"refresher": first.refresher}, TENANT, "sales")
        await redis.unlink(JOB)
        await second.prober._cycle()
        job = await redis.get(JOB)
        assert job is not None, "nobody asked for the report"
        assert b"returns" in job
        with pytest.raises(TryLater, match="another worker"):
            await refresh_report({"refresher": first.refresher}, TENANT, "returns")
        await refresh_report({"refresher": second.refresher}, TENANT, "returns")
        former = await second.meta("returns")
        await first.prober._cycle()

        async def is_proved_again() -> bool:
            await second.prober._cycle()
            return bool((await second.meta("returns"))["verified_us"] > former["verified_us"])

        await eventually(is_proved_again)  # a transaction of the server itself may put that off
