"""The promises of a board's refresh: one database state, faults kept apart, variants of the same octets."""

import asyncio
import gzip
from datetime import timedelta
from typing import Any

import orjson
import pytest
import zstandard

from reports.compress import SMALLEST
from reports.keys import changed, snapshot
from tests.boards import Shop, report, shop
from tests.support import eventually
from worker.engine import TryLater
from worker.reports.refresh import refresh_board, refresh_report

BROKEN = "SELECT node_id, sum(nothing) AS amount FROM shop.orders GROUP BY node_id"
LONG_NAME = "UPDATE shop.nodes SET name = repeat('Norte ', $1) WHERE id = 2"
COUNTING = "SELECT node_id, count(*) AS amount FROM shop.orders WHERE at <= $1 GROUP BY node_id"


async def refreshed(it: Shop) -> Any:
    return await refresh_board(it.refresher, it.refresher.boards["shop"])


async def test_all_reports_of_a_board_are_of_one_database_state(database: str, valkey_url: str) -> None:
    slow = report("counted", sql=COUNTING + " HAVING pg_sleep(0.3) IS NOT NULL")
    async with shop(database, valkey_url, slow, report()) as it:
        await it.order(5)
        running = asyncio.create_task(refreshed(it))
        await eventually(lambda: at_work(it))
        await it.order(7)
        await running
        assert (await it.total("counted"), await it.total("sales")) == (1, 5)
        metas = [await it.meta(name) for name in ("counted", "sales")]
    assert len({(one["as_of_us"], one["snapshot"]) for one in metas}) == 1


async def at_work(it: Shop) -> Any:
    return await it.database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )


@pytest.mark.parametrize("proof", ["marks", "snapshot"])
async def test_a_report_that_fails_keeps_its_last_good_set_and_harms_no_other(
    database: str, valkey_url: str, proof: str
) -> None:
    async with shop(database, valkey_url, report(), report("counted", sql=COUNTING)) as it:
        if proof == "marks":
            await it.install()
        await it.order(5)
        await refreshed(it)
        proved = (await it.meta("counted"))["verified_us"]
        await it.order(7)
    async with shop(database, valkey_url, report("counted", sql=BROKEN), report()) as it:
        outcome = await refreshed(it)
        assert list(outcome.failed) == ["counted"]
        assert "UndefinedColumnError" in (await it.field("_error", "counted"))["error"]
        assert (await it.total("counted"), await it.total("sales")) == (1, 12)
        await it.prober.probe_once()
        assert (await it.meta("counted"))["verified_us"] == proved
        resting = await refreshed(it)
        assert resting.resting == ("counted",)
    async with shop(database, valkey_url, report("counted", sql=COUNTING), report()) as it:
        await eventually(lambda: mended(it))
        assert await it.total("counted") == 2


async def mended(it: Shop) -> bool:
    await refreshed(it)
    return await it.field("_error", "counted") is None


async def test_a_report_that_runs_too_long_is_ended_and_the_others_are_stored(
    database: str, valkey_url: str
) -> None:
    endless = report("counted", sql=COUNTING + " HAVING pg_sleep(60) IS NOT NULL")
    async with shop(database, valkey_url, endless, report()) as it:
        await it.order(5)
        running = asyncio.create_task(refresh_report({"refresher": it.refresher}, "default", "sales"))
        await eventually(lambda: at_work(it))
        await it.database.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        )
        with pytest.raises(TryLater, match="counted: QueryCanceledError"):
            await running
        assert await it.total("sales") == 5


async def test_variants_are_the_bodys_octets_and_go_with_it(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        await it.order(5)
        await it.database.execute(LONG_NAME, SMALLEST)
        await refreshed(it)
        body, packed, zipped, small = await fields(it, "2", "2:zstd", "2:gzip", "3:gzip")
        assert zstandard.ZstdDecompressor().decompress(packed) == gzip.decompress(zipped) == body
        assert small is None
        await it.database.execute(LONG_NAME, 1)
        await refreshed(it)
        assert await fields(it, "2:zstd", "2:gzip") == [None, None]
        await it.database.execute(LONG_NAME, SMALLEST)
        await refreshed(it)
        await it.database.execute("DELETE FROM shop.orders; DELETE FROM shop.nodes WHERE id = 2")
        await refreshed(it)
        assert await fields(it, "2", "2:zstd", "2:gzip") == [None, None, None]


async def fields(it: Shop, *names: str) -> list[Any]:
    return list(await it.redis.hmget(snapshot("default", "sales"), list(names)))


async def test_each_store_is_announced_with_its_generation(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it, it.redis.pubsub() as heard:
        await heard.subscribe(changed("default"))
        await refreshed(it)
        message = await eventually(lambda: heard.get_message(ignore_subscribe_messages=True, timeout=1))
        assert orjson.loads(message["data"]) == {"report": "sales", "gen": 1}


async def test_what_refreshes_cost_is_kept_with_the_set(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        for _ in range(3):
            await refreshed(it)
        costs = await it.field("_costs")
        assert len(costs) == 3
        assert (await it.meta())["cost_p95_ms"] == max(costs)


async def test_a_validity_that_lies_in_the_past_is_refused(database: str, valkey_url: str) -> None:
    past = report(valid_until="SELECT $1::timestamptz - interval '1 second'", valid_until_parameters=("now",))
    async with shop(database, valkey_url, past) as it:
        outcome = await refreshed(it)
    assert "later than :now" in outcome.failed["sales"]


async def test_days_are_closed_after_midnight_and_late_rows_change_them_within_the_window(
    database: str, valkey_url: str
) -> None:
    kept = report(keep=timedelta(days=30), window=timedelta(days=3))
    async with shop(database, valkey_url, kept) as it:
        days = [
            str(await it.database.fetchval(f"SELECT (now() AT TIME ZONE 'UTC')::date - {back}")) for back in (1, 2)
        ]
        await it.order(5, at=await instant(it, days[1]))
        await it.order(7, at=await instant(it, days[0]))
        await refresh_report({"refresher": it.refresher}, "default", "sales")
        assert [await closed_total(it, day) for day in days] == [12, 5]
        await it.order(100, at=await instant(it, days[1]))
        await refresh_report({"refresher": it.refresher}, "default", "sales")
        assert [await closed_total(it, day) for day in days] == [12, 5]
        await it.redis.delete(f"momentus:{{reports}}:closed:default:sales:{days[0]}")  # as on the next day
        await refresh_report({"refresher": it.refresher}, "default", "sales")
        assert [await closed_total(it, day) for day in days] == [112, 105]
        assert 0 < await it.redis.pttl(f"momentus:{{reports}}:closed:default:sales:{days[1]}") < 30 * 86_400_000


async def instant(it: Shop, day: str) -> Any:
    return await it.database.fetchval("SELECT ($1 || ' 12:00+00')::timestamptz", day)


async def closed_total(it: Shop, day: str) -> int:
    octets = await it.redis.hget(f"momentus:{{reports}}:closed:default:sales:{day}", "1")
    return int(orjson.loads(octets or b"")["data"]["total"]["amount"])
