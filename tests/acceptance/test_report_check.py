"""Bad reports are found before a worker tries, each with its line and what to do; and none harms a good set."""

import argparse
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from ops.command import CommandRefused, CommandResult, Tools
from ops.reports.check import check_reports
from reports import load_reports
from reports.keys import snapshot
from reports.source_postgres import Source
from reports.store import ReportStore
from worker.engine import TryLater
from worker.reports.refresh import refresh_report
from worker.reports.refresh_context import RefreshContext

SHOPS = """
CREATE SCHEMA retail;
CREATE TABLE retail.shops (shop_id integer PRIMARY KEY, region integer, title text, level text);
CREATE TABLE retail.orders (
    id bigint GENERATED ALWAYS AS IDENTITY, shop integer, amount numeric, late boolean, note text,
    opened_at timestamptz
);
INSERT INTO retail.shops VALUES (1, NULL, 'All', 'country'), (2, 1, 'Norte', 'region'), (3, 2, 'Uno', 'shop');
INSERT INTO retail.orders (shop, amount, late, note, opened_at) VALUES
    (2, 10, false, 'a', now() - interval '2 days'), (3, 5.5, true, 'b', now() - interval '1 day');
"""
TREE = "SELECT shop_id AS id, region AS parent_id, title AS name, level AS kind\nFROM retail.shops\n"
HEAD = """-- +++
-- name = "orders"
-- scope = "shop"
-- tree = "shops"
-- every = "1m"
-- sources = ["retail.shops", "retail.orders"]
--
-- [freshness]
-- soft = "30s"
-- hard = "5m"
-- debounce = "0s"
--
-- [rollup]
-- orders = "sum"
-- amount = "sum"
-- late = "any"
-- oldest = "top 5 by opened_at asc"
-- median = "sql"
-- +++
"""
QUERY = """SELECT
    shop,
    count(*) AS orders,
    sum(amount) AS amount,
    bool_or(late) AS late,
    jsonb_agg(jsonb_build_object('id', id, 'opened_at', opened_at)) AS oldest,
    1.5::numeric AS median
FROM retail.orders
WHERE opened_at <= :now
GROUP BY shop
"""


@pytest.fixture
async def shops(database: str, tmp_path: Path) -> AsyncIterator["Shops"]:
    connection = await asyncpg.connect(database)
    await connection.execute(SHOPS)
    (tmp_path / "trees").mkdir()
    it = Shops(database, tmp_path, connection)
    it.write()
    yield it
    await connection.close()


class Shops:
    """Somebody's own small database, and their folder of reports."""

    def __init__(self, dsn: str, folder: Path, connection: Any) -> None:
        self.dsn, self.folder, self.connection = dsn, folder, connection

    def write(self, head: str = HEAD, query: str = QUERY, tree: str = TREE) -> None:
        (self.folder / "orders.sql").write_text(head + query)
        (self.folder / "trees" / "shops.sql").write_text(tree)

    async def check(self, *, dsn: str | None = None, pin: bool = False, seconds: float = 30) -> CommandResult:
        tools = Tools(
            redis=Redis(),
            redis_url="",
            postgres_dsn=self.dsn if dsn is None else dsn,
            statement_timeout=timedelta(seconds=seconds),
        )
        return await check_reports(tools, argparse.Namespace(path=self.folder, pin=pin, plan=False))


async def test_a_folder_of_somebodys_own_tables_is_checked_and_computed(shops: Shops, valkey_url: str) -> None:
    answer = await shops.check()
    assert answer.done, answer.text
    assert answer.facts["reports"]["orders"]["tables"] == ["retail.orders", "retail.shops"]
    report = load_reports(shops.folder)["orders"]
    source = Source(shops.dsn, statement_timeout=timedelta(seconds=30))
    async with Redis.from_url(valkey_url) as redis:
        refresher = RefreshContext(
            "own", {"orders": report}, source, ReportStore(redis, tenant="own"), ZoneInfo("UTC")
        )
        await refresh_report({"refresher": refresher}, "own", "orders")
        data = orjson.loads(await redis.hget(snapshot("own", "orders"), "1"))["data"]
    await source.close()
    assert data["node"] == {"id": 1, "name": "All", "kind": "country", "path": [1], "children": [2]}
    assert {**data["total"], "oldest": [one["id"] for one in data["total"]["oldest"]]} == {
        "orders": 2,
        "amount": 15.5,
        "late": True,
        "oldest": [1, 2],
        "median": None,
    }


def changed(old: str, new: str) -> str:
    assert old in QUERY
    return QUERY.replace(old, new)


BAD_QUERIES = {
    "an unknown column": (changed("bool_or(late)", "bool_or(lait)"), ":24", "lait", "orders.late"),
    "a syntax error": (changed("GROUP BY", "GROUP BI"), ":29", "syntax error", "fix the query"),
    "a scope twice": (
        changed("    shop,", "    2 AS shop,"),
        ":3: scope",
        "occurs twice",
        "group the query by shop",
    ),
    "an unknown scope": (changed("    shop,", "    shop + 7 AS shop,"), ":3: scope", "not in the tree", "join"),
    "a null scope": (changed("    shop,", "    nullif(shop, 2) AS shop,"), ":3: scope", "node null", "join"),
    "a scope of text": (changed("    shop,", "    shop::text AS shop,"), ":3: scope", "is text", "bigint"),
    "a null measure": (
        changed("sum(amount)", "nullif(sum(amount), 10)"),
        ":15: rollup.amount",
        "NULL",
        "coalesce",
    ),
    "not a number": (changed("sum(amount)", "'NaN'::numeric"), ":15: rollup.amount", "NaN", "fixed"),
    "a misnamed measure": (
        changed("AS amount", "AS amounts"),
        ":15: rollup.amount",
        "no column",
        "mean 'amounts'",
    ),
    "a sum of texts": (
        changed("sum(amount)", "min(note)"),
        ":15: rollup.amount",
        "does not fit",
        "cast to a number",
    ),
    "any of numbers": (changed("bool_or(late)", "count(*)"), ":16: rollup.late", "does not fit", "condition"),
    "a top of texts": (
        changed("jsonb_agg(jsonb_build_object('id', id, 'opened_at', opened_at))", "min(note)"),
        ":17: rollup.oldest",
        "does not fit",
        "jsonb_agg",
    ),
    "an interval": (changed("1.5::numeric", "interval '1 day'"), ":18: rollup.median", "does not fit", "cast it"),
    "a timestamp without zone": (
        changed("1.5::numeric", "timestamp '2026-01-01'"),
        ":18: rollup.median",
        "does not fit",
        "AT TIME ZONE",
    ),
    "an instant beside a timestamp": (
        changed("opened_at <= :now", "opened_at::timestamp <= :now"),
        ":28",
        ":now is an instant",
        "AT TIME ZONE",
    ),
    "the date of UTC": (
        changed("opened_at <= :now", "opened_at::date <= :now::date"),
        ":28",
        ":now is an instant",
        "AT TIME ZONE :zone)::date",
    ),
    "rows without zone": (
        changed("'opened_at', opened_at", "'opened_at', opened_at::timestamp"),
        ":17: rollup.oldest",
        "is not an instant",
        "AT TIME ZONE",
    ),
    "a year that has no form": (
        changed("1.5::numeric", "'10000-01-01'::timestamptz"),
        ":18: rollup.median",
        "10000-01-01",
        "fixed",
    ),
    "the server's clock": (changed(":now", "now()"), ":28", "server's clock", ":day_start"),
    "a day without end": (changed(":now", ":day_end"), ":1: valid_until", "only changes of data", "next_midnight"),
    "an unnamed table": (
        changed("WHERE", "CROSS JOIN (SELECT FROM retail.notes) AS n WHERE"),
        ":6: sources",
        "retail.notes",
        "add",
    ),
}


async def test_a_bad_query_is_found_with_its_line_and_a_remedy(shops: Shops) -> None:
    await shops.connection.execute("CREATE TABLE retail.notes (id integer); INSERT INTO retail.notes VALUES (1)")
    for name, (query, where, fault, remedy) in BAD_QUERIES.items():
        shops.write(query=query)
        answer = await shops.check()
        assert not answer.done, name
        lines = [f"{one['where']}: {one['fault']}; {one['remedy']}" for one in answer.facts["findings"]]
        assert [line for line in lines if f"orders.sql{where}" in line and fault in line and remedy in line], lines
        assert len({one["where"] for one in answer.facts["findings"]}) == 1, lines


BAD_HEADS = {
    "a misspelt key": (("-- soft", "-- sfot"), "orders.sql:9: freshness.sfot", "did you mean 'soft'"),
    "a misspelt roll-up": (
        ('amount = "sum"', 'amount = "summ"'),
        "orders.sql:15: rollup.amount",
        "must be one of",
    ),
    "a tree that is not there": (('"shops"', '"shop"'), "orders.sql:4: tree", "allowed: shops"),
    "no TOML": (('every = "1m"', "every = 1m"), "orders.sql:5", "not TOML"),
    "a source that is not there": (("retail.orders", "retail.order"), "orders.sql:6: sources", "is not a table"),
    "a past validity": (
        ("-- sources", "-- valid_until = \"now() - interval '1 s'\"\n-- sources"),
        "orders.sql:6: valid_until",
        "after :now",
    ),
    "a validity that fails": (
        ("-- sources", '-- valid_until = "nonsense(1)"\n-- sources'),
        ":6: valid_until",
        "nonsense",
    ),
    "a zone of a number": (
        ("-- [rollup]", '-- [zones]\n-- amount = "UTC"\n-- [rollup]'),
        "orders.sql:17: rollup.amount",
        "[zones] is for columns of timestamp",
    ),
    "a zone of the ids": (
        ("-- [rollup]", '-- [zones]\n-- shop = "UTC"\n-- [rollup]'),
        "orders.sql:14: zones.shop",
        "is not a known key",
    ),
    "too dear a report": (
        ("-- [rollup]", '-- [budget]\n-- max_db_share = "0.000001%"\n-- [rollup]'),
        "orders.sql:14: budget.max_db_share",
        "allow ",
    ),
}


async def test_a_bad_head_is_found_with_its_line_and_a_remedy(shops: Shops) -> None:
    (shops.folder / "other.sql").write_text(HEAD.replace('"orders"', '"other"', 1) + QUERY)
    for name, ((old, new), where, words) in BAD_HEADS.items():
        assert old in HEAD
        shops.write(head=HEAD.replace(old, new))
        answer = await shops.check()
        assert not answer.done, name
        lines = answer.text.splitlines()
        assert [line for line in lines if where in line and words in line], lines
        assert "other" in answer.facts["reports"]


async def test_a_zone_of_an_instant_is_to_be_removed_and_not_declared_once_more(shops: Shops) -> None:
    head = HEAD.replace("-- [rollup]", '-- [zones]\n-- median = "UTC"\n-- [rollup]')
    shops.write(head=head, query=QUERY.replace("1.5::numeric", "max(opened_at)"))
    (finding,) = (await shops.check()).facts["findings"]
    assert finding["where"] == "orders.sql:20: rollup.median"
    assert (
        "a timestamptz or a date, not a timestamp without time zone; remove it from [zones] (UTC)"
        in finding["fault"]
    )


BAD_TREES = {
    "a slash": (
        "SELECT shop_id || '/x' AS id, region || '/x' AS parent_id, '' AS name, '' AS kind",
        "id: '1/x' contains '/'",
    ),
    "other ids than rows": (
        "SELECT shop_id::text AS id, region::text AS parent_id, '' AS name, '' AS kind",
        "is integer, but the tree's ids are text; cast it to text",
    ),
    "numeric ids": (
        "SELECT shop_id::numeric AS id, region AS parent_id, '' AS name, '' AS kind",
        "of the type numeric",
    ),
    "an empty label": (
        "SELECT shop_id AS id, region || '//' || shop_id AS path, '' AS name, '' AS kind",
        "path of node 1 is null",
    ),
    "names by language": (
        "SELECT shop_id AS id, region AS parent_id, '{}'::jsonb AS name, '' AS kind",
        "write languages =",
    ),
    "a name that is a number": (
        "SELECT shop_id AS id, region AS parent_id, 1 AS name, '' AS kind",
        "has the name 1; it must be text",
    ),
    "no parents": (
        "SELECT shop_id AS id, title AS name, '' AS kind",
        "it must return id, parent_id (or path, or ancestors)",
    ),
}


async def test_faults_of_a_trees_columns_are_found_with_what_to_write(shops: Shops) -> None:
    for name, (tree, words) in BAD_TREES.items():
        shops.write(tree=f"{tree} FROM retail.shops")
        answer = await shops.check()
        assert [one for one in answer.facts["findings"] if words in one["fault"]], (name, answer.facts["findings"])


async def test_nodes_and_rows_that_the_rules_leave_out_and_nodes_without_a_name_are_noted(shops: Shops) -> None:
    rules = '-- +++\n-- orphans = "leave out"\n-- +++\n'
    columns = (
        "shop_id AS id, region AS parent_id, nullif(title, 'All') AS name, '' AS kind, shop_id = 2 AS deleted"
    )
    tree = f"{rules}SELECT {columns}"
    shops.write(tree=f"{tree} FROM retail.shops")
    answer = await shops.check()
    assert answer.done, answer.text
    for words in (
        "2 nodes are deleted or left out by the tree's rule for orphans, like 2, 3",
        "rows of 2 nodes do not count, because these are not in the tree, like 2, 3",
        "1 nodes have no name and are shown by their id, like 1",
    ):
        assert f"orders: {words}" in answer.facts["notes"]
    shops.write(tree=f"{tree.replace('leave out', 'refuse')} FROM retail.shops")
    (finding,) = (await shops.check()).facts["findings"]
    assert finding["where"] == "trees/shops.sql:4"
    assert "node 3 has the parent 2, which is deleted" in finding["fault"]


async def test_what_a_tree_declares_or_returns_to_no_effect_is_noted(shops: Shops) -> None:
    for head, columns, words in (
        ("", "region AS parent_id, shop_id = 9 AS deleted", "column deleted is not read, and deleted nodes count"),
        ('languages = ["es"]', "region AS parent_id", "declares languages, but name is text"),
        ('separator = "."', "region AS parent_id", "declares a separator, but returns no path"),
        ('roots = "several"', "'a.' || shop_id AS path", "all 3 are roots; check parent_id, or the separator"),
    ):
        rules = f"-- +++\n-- {head}\n-- +++\n" if head else ""
        query = f"SELECT shop_id AS id, title AS name, '' AS kind, {columns}"
        shops.write(tree=f"{rules}{query} FROM retail.shops")
        answer = await shops.check()
        assert answer.done, answer.text
        assert [one for one in answer.facts["notes"] if words in one], (words, answer.facts["notes"])


async def test_a_tree_that_is_none_is_found(shops: Shops) -> None:
    for damage, words in (
        ("INSERT INTO retail.shops VALUES (9, NULL, 'x', 'y')", "must have one root"),
        ("UPDATE retail.shops SET region = 9 WHERE shop_id = 9", "cycle"),
    ):
        await shops.connection.execute(damage)
        answer = await shops.check()
        assert [one["where"] for one in answer.facts["findings"]] == ["trees/shops.sql:1"]
        assert words in answer.text


async def test_json_will_do_where_jsonb_does(shops: Shops) -> None:
    assert (await shops.check(pin=True)).done
    shops.write(query=QUERY.replace("jsonb_", "json_"))
    answer = await shops.check()
    assert answer.done, answer.text


async def test_a_query_that_runs_too_long_is_ended_and_found(shops: Shops) -> None:
    shops.write(query=QUERY.replace("WHERE", "CROSS JOIN pg_sleep(9) WHERE"))
    answer = await shops.check(seconds=0.2)
    assert "ran longer than the statement timeout" in answer.text
    assert "MOMENTUS_REPORTS__STATEMENT_TIMEOUT" in answer.text


async def test_a_breaking_change_of_the_pinned_document_is_found_and_an_added_measure_is_none(
    shops: Shops,
) -> None:
    assert (await shops.check(pin=True)).done
    assert (shops.folder / "orders.schema.json").exists()
    assert load_reports(shops.folder)["orders"].schema["properties"]["total"]["required"][0] == "orders"
    shops.write(
        head=HEAD.replace('-- median = "sql"', '-- median = "sql"\n-- most = "max"'),
        query=QUERY.replace("1.5", "max(amount) AS most, 1.5"),
    )
    assert (await shops.check()).done
    shops.write(head=HEAD.replace('-- median = "sql"\n', ""), query=QUERY.replace("count(*)", "1.5::float"))
    answer = await shops.check()
    told = [(one["where"], one["fault"]) for one in answer.facts["findings"]]
    assert [where for where, _ in told] == ["orders.sql:14: rollup.orders", "orders.sql:13: rollup.median"]
    assert "was integer and is number" in told[0][1]
    assert "is gone" in told[1][1]
    assert (await shops.check(pin=True)).done
    assert (await shops.check()).done


async def test_without_a_database_the_files_are_read_all_the_same(shops: Shops) -> None:
    shops.write(head=HEAD.replace("-- soft", "-- sfot"))
    answer = await shops.check(dsn="")
    assert "did you mean 'soft'" in answer.text
    assert "no query was tested" in answer.text
    with pytest.raises(CommandRefused, match="does not answer"):
        await shops.check(dsn="postgresql://nobody@127.0.0.1:1/none")


BAD_ROWS = [
    "a scope twice",
    "an unknown scope",
    "a null scope",
    "a null measure",
    "not a number",
    "a sum of texts",
]


async def test_bad_rows_never_reach_the_last_good_set(shops: Shops, valkey_url: str) -> None:
    report = load_reports(shops.folder)["orders"]
    source = Source(shops.dsn, statement_timeout=timedelta(seconds=30))
    async with Redis.from_url(valkey_url) as redis:
        store = ReportStore(redis, tenant="bad")
        refresher = RefreshContext("bad", {"orders": report}, source, store, ZoneInfo("UTC"))
        await refresh_report({"refresher": refresher}, "bad", "orders")
        good = await redis.hgetall(snapshot("bad", "orders"))
        for name in BAD_ROWS:
            shops.write(query=BAD_QUERIES[name][0])
            worse = replace(refresher, reports={"orders": load_reports(shops.folder)["orders"]})
            with pytest.raises(TryLater, match="InvalidRows"):
                await refresh_report({"refresher": worse}, "bad", "orders")
            await redis.hdel(snapshot("bad", "orders"), "_error")
            assert await redis.hgetall(snapshot("bad", "orders")) == good, name
    await source.close()


async def test_numbers_that_javascript_reads_otherwise_are_named_until_they_are_texts(shops: Shops) -> None:
    await shops.connection.execute("INSERT INTO retail.shops VALUES (4, 2, 'Far', 'shop')")
    shops.write(query=QUERY.replace("sum(amount)", "sum(amount) + 123456789012345678.123456789"))
    told = (await shops.check()).text
    assert "orders.sql:15: rollup.amount: JavaScript may read 2" in told
    assert 'amount = "text" under [numbers]' in told
    shops.write(query=QUERY.replace("sum(amount)", "1e300::numeric"))
    assert f"rollup.amount: JavaScript may read 2{39 * '0'}... (node 1)" in (await shops.check()).text
    shops.write(
        head=HEAD.replace("-- [rollup]", '-- [numbers]\n-- amount = "text"\n-- [rollup]'),
        query=QUERY.replace("sum(amount)", "sum(amount) + 123456789012345678.123456789"),
    )
    answer = await shops.check(pin=True)
    assert "JavaScript" not in answer.text
    schema = load_reports(shops.folder)["orders"].schema["properties"]["total"]["properties"]["amount"]
    assert schema == {"type": "string"}
    shops.write(head=HEAD.replace("-- [rollup]", '-- [numbers]\n-- amount = "octal"\n-- [rollup]'))
    assert "numbers.amount: 'octal' must be 'number' or 'text'" in (await shops.check()).text
