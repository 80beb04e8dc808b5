"""Every value that the server can send has a form in documents, or fails its report alone, by column and node."""

from dataclasses import replace
from typing import Any

import pytest

from reports import Report
from reports.keys import snapshot
from reports.zones import with_zones
from tests.boards import Shop, report, shop
from worker.reports.refresh import refresh_board


def showing(value: str, how: str = "max", **changes: Any) -> Report:
    """A report whose column of node 2 is this value, and NULL for node 1."""
    sql = f"SELECT node_id, {value} AS x FROM (VALUES (2)) AS one (node_id) UNION ALL SELECT 1, NULL"  # noqa: S608
    return report("shown", sql=sql, parameters=(), rollup={"x": how}, **changes)


REFUSED = {
    "timestamptz 'infinity'": ("max", "infinite", 2),
    "timestamptz '-infinity'": ("min", "infinite", 2),
    "timestamptz '0044-03-15 BC'": ("max", "timestamptz '0044-03-15", 2),
    "timestamptz '10000-01-01'": ("max", "timestamptz '10000-01-01", 2),
    "ARRAY[timestamptz '10000-01-01']": ("sql", "timestamptz[]", 2),
    "ARRAY[timestamptz 'infinity']": ("sql", "infinite", 2),
    "timestamp '2026-01-01'": ("max", "AT TIME ZONE", None),
    "timestamp 'infinity'": ("max", "AT TIME ZONE", None),
    "date 'infinity'": ("max", "date 'infinity'", 2),
    "date '0044-03-15 BC'": ("min", "date '0044-03-15 BC'", 2),
    "date '10000-01-01'": ("max", "date '10000-01-01'", 2),
    "numeric 'NaN'": ("max", "NaN", 2),
    "float8 'infinity'": ("max", "Infinity", 2),
    "numeric '1e400'": ("max", "1E+400", 2),
    "interval '1 day'": ("max", "extract(epoch", None),
    "interval '100000000 years'": ("max", "extract(epoch", None),
    "time '24:00'": ("max", "cast it to text", None),
    "money '12.34'": ("max", "numeric", None),
    "'\\x00ff'::bytea": ("max", "encode", None),
    "'{}'::jsonb": ("sql", "->>", None),
    "int4range(1, 5)": ("sql", "cannot be shown", 2),
    "tstzrange('10000-01-01', NULL)": ("sql", "tstzrange", 2),
    "ROW(1, 2)": ("sql", "cannot be shown", 2),
    "inet '10.0.0.1'": ("sql", "cannot be shown", 2),
    "point '(1,2)'": ("sql", "cannot be shown", 2),
    "B'101'": ("sql", "cannot be shown", 2),
    "ARRAY[[1, 2], [3, 4]]": ("sql", "cannot be shown", 2),
    """'{"a": 1, "a": 2}'::json""": ("sums", "twice", 2),
    "'[1]'::jsonb": ("sums", "JSON object", 2),
}


async def refused(it: Shop, broken: Report) -> str:
    """What a refresh says of a report, whose sibling is stored."""
    reports = {"sales": report(), "shown": broken}
    await it.redis.delete(snapshot("default", "shown"), snapshot("default", "sales"))
    refresher = replace(it.refresher, reports=reports)
    outcome = await refresh_board(refresher, refresher.boards["shop"])
    assert outcome.reports["sales"]["state"] == "stored"
    error = await it.field("_error", "shown")
    assert (error["error"], error["times"]) == (outcome.failed["shown"], 1)
    assert error["again_us"] > error["at_us"], "it rests"
    again = await refresh_board(refresher, refresher.boards["shop"])
    assert again.resting == ("shown",)
    return outcome.failed["shown"]


async def test_a_value_without_a_form_fails_its_report_alone_by_column_and_node(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await it.order(5)
        for value, (how, words, node) in REFUSED.items():
            broken = showing(value, how)
            told = await refused(it, broken)
            assert told.startswith("InvalidRows: x: "), (value, told)
            assert words in told, (value, told)
            assert ("(node 2)" in told) == (node == 2), (value, told)


async def test_a_measure_that_two_columns_of_the_query_have_is_refused(database: str, valkey_url: str) -> None:
    broken = report("shown", sql="SELECT 1 AS node_id, 2 AS x, 3 AS x", parameters=(), rollup={"x": "sum"})
    async with shop(database, valkey_url) as it:
        assert "x: the query returns two columns" in await refused(it, broken)


SHOWN = {
    "timestamptz '9999-12-31 23:59:59.999999Z'": b'"9999-12-31T23:59:59.999999Z"',
    "date '9999-12-31'": b'"9999-12-31"',
    "date '0001-01-01'": b'"0001-01-01"',
    "0.1::float4": b"0.1",
    "153229.16::numeric": b"153229.16",
    "123456789012345678.123456789": b"123456789012345678.123456789",
    "9223372036854775807": b"9223372036854775807",
    "'12:00'::time::text": b'"12:00:00"',
    "true": b"true",
    "'a'::name": b'"a"',
    "'6F9619FF-8B86-D011-B42D-00CF4FC964FF'::uuid": b'"6f9619ff-8b86-d011-b42d-00cf4fc964ff"',
}


async def test_a_value_with_a_form_is_shown_as_the_server_writes_it(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        for value, form in SHOWN.items():
            refresher = replace(it.refresher, reports={"shown": showing(value)})
            outcome = await refresh_board(refresher, refresher.boards["shop"])
            assert not outcome.failed, (value, outcome.failed)
            body = await it.redis.hget(snapshot("default", "shown"), "1")
            assert b'"total":{"x":%b}' % form in body, body


async def test_an_error_that_nobody_foresaw_fails_one_report_and_lets_it_rest(
    database: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    async with shop(database, valkey_url, report(), report("other")) as it:
        monkeypatch.setattr("worker.reports.computed_set.compute_documents", broken)
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert outcome.failed == dict.fromkeys(("sales", "other"), "RecursionError: too deep")
        assert (await refresh_board(it.refresher, it.refresher.boards["shop"])).resting == ("sales", "other")


async def test_an_infinite_validity_never_ends(database: str, valkey_url: str) -> None:
    until = "SELECT timestamptz 'infinity'"
    async with shop(database, valkey_url, report(valid_until=until)) as it:
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert (await it.meta())["valid_until_us"] is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jsonb '{}'", "->>"),
        ("7", "has the name 7"),
        ("'a' AS name, 'b'", "the tree's query returns two columns named 'name'; rename one"),
    ],
)
async def test_a_nodes_name_that_is_no_text_is_refused(
    database: str, valkey_url: str, name: str, words: str
) -> None:
    broken = report("shown", tree=f"SELECT id, parent_id, {name} AS name, kind FROM shop.nodes")  # noqa: S608  ours
    async with shop(database, valkey_url) as it:
        await it.order(5)
        assert words in await refused(it, broken)


async def test_an_instant_compared_with_a_timestamp_without_zone_is_refused_by_name(
    database: str, valkey_url: str
) -> None:
    sql = "SELECT node_id, 1 AS x FROM shop.orders WHERE at::timestamp <= $1"
    broken = report("shown", sql=sql, rollup={"x": "sum"})
    async with shop(database, valkey_url) as it:
        await it.order(5)
        told = await refused(it, broken)
        assert ":now is an instant" in told
        assert "AT TIME ZONE" in told


async def test_ids_and_numbers_are_texts_where_the_report_says_so(database: str, valkey_url: str) -> None:
    node = 2**53 + 1
    sql = f"SELECT {node} AS node_id, 0.10 AS amount, jsonb_build_object('a', {node}) AS ids"
    rollup = {"amount": "sum", "ids": "sums"}
    told = report(sql=sql, parameters=(), rollup=rollup, as_text=frozenset({"node_id", "amount", "ids"}))
    async with shop(database, valkey_url, told) as it:
        await it.database.execute("INSERT INTO shop.nodes VALUES ($1, 1, 'far', 'shop')", node)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        document = await it.field(str(node))
    assert document["scope"] == document["data"]["node"]["id"] == str(node)
    assert document["data"]["node"]["path"] == ["1", str(node)]
    assert document["data"]["total"] == {"amount": "0.10", "ids": {"a": str(node)}}


async def test_the_same_number_with_more_digits_is_written_again(database: str, valkey_url: str) -> None:
    sql = "SELECT node_id, max(price) AS price FROM shop.prices GROUP BY node_id"
    priced = report(sql=sql, parameters=(), rollup={"price": "sum"})
    async with shop(database, valkey_url, priced) as it:
        await it.database.execute("CREATE TABLE shop.prices (node_id bigint, price numeric)")
        for price in ("1.5", "1.50"):
            await it.database.execute("DELETE FROM shop.prices")
            await it.database.execute(f"INSERT INTO shop.prices VALUES (2, {price})")  # noqa: S608  ours
            await refresh_board(it.refresher, it.refresher.boards["shop"])
            body = await it.redis.hget(snapshot("default", "sales"), "1")
            assert b'"price":%b}' % price.encode() in body


AUTUMN = ("2026-10-25 01:59:59", "2026-10-25 02:30:00", "2026-10-25 03:00:00", "2026-03-29 02:30:00")
"""Local times in Madrid around the change of clocks: one that exists twice, and one that does not exist."""


async def test_a_timestamp_without_zone_is_the_instant_of_its_declared_zone(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        for local in AUTUMN:
            sql = f"SELECT 1 AS node_id, timestamp '{local}' AS x"
            assert "declare that under [zones]" in await refused(
                it, report("shown", sql=sql, parameters=(), rollup={"x": "max"})
            )
            zones = {"x": "Europe/Madrid"}
            zoned = with_zones(sql, ["node_id", "x"], zones)
            one = report("shown", sql=zoned, parameters=(), rollup={"x": "max"}, zones=zones)
            expected = await it.database.fetchval(f"SELECT timestamp '{local}' AT TIME ZONE 'Europe/Madrid'")
            await it.redis.delete(snapshot("default", "shown"))
            refresher = replace(it.refresher, reports={"shown": one})
            assert (await refresh_board(refresher, refresher.boards["shop"])).failed == {}
            shown = (await it.field("1", "shown"))["data"]["total"]["x"]
            assert shown == expected.isoformat().replace("+00:00", "Z")
        for value, words in {
            "now()": "x: is a timestamptz or a date, not a timestamp without time zone; remove it from [zones]",
            "date '2026-01-01'": "x: is a timestamptz or a date, not a timestamp without time zone",
            "7": "x: is integer; [zones] is for columns of timestamp without time zone",
        }.items():
            zoned = with_zones(f"SELECT 1 AS node_id, {value} AS x", ["node_id", "x"], {"x": "UTC"})
            odd = report("shown", sql=zoned, parameters=(), rollup={"x": "max"}, zones={"x": "UTC"})
            assert words in await refused(it, odd)


async def test_an_average_with_its_weight_is_that_of_all_rows_below(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        for node, amount in ((1, 7), (2, 1), (2, 2), (3, 90)):
            await it.order(amount, node=node)
        sql = "SELECT node_id, count(*) AS orders, avg(amount) AS mean FROM shop.orders GROUP BY node_id"
        one = report("shown", sql=sql, parameters=(), rollup={"orders": "sum", "mean": "avg by orders"})
        refresher = replace(it.refresher, reports={"shown": one})
        assert (await refresh_board(refresher, refresher.boards["shop"])).failed == {}
        shown = {node: (await it.field(str(node), "shown"))["data"] for node in (1, 2)}
        assert shown[1]["total"] == {"orders": 4, "mean": 25}
        assert shown[1]["own"] == {"orders": 1, "mean": 7}
        assert shown[2]["total"]["mean"] == 1.5
