"""A report that answers otherwise for some nodes than for all is found before a worker believes it."""

import argparse
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from ops.command import CommandResult, Tools
from ops.reports.check import check_reports

SHOPS = """
CREATE SCHEMA retail;
CREATE TABLE retail.shops (shop_id integer PRIMARY KEY, region integer, title text);
CREATE TABLE retail.orders (
    id bigint PRIMARY KEY, shop integer, amount numeric, late boolean, opened_at timestamptz
);
INSERT INTO retail.shops SELECT id, nullif(id / 2, 0), 'Shop ' || id FROM generate_series(1, 30) AS id;
INSERT INTO retail.orders
SELECT id, 1 + id * 7 % 24, id % 13, id % 5 = 0, now() - id % 3 * interval '1 day'
FROM generate_series(1, 200) AS id;
"""
TREE = "SELECT shop_id AS id, region AS parent_id, title AS name, '' AS kind FROM retail.shops\n"
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
-- [nodes]
-- "retail.orders" = "shop"
--
-- [rollup]
-- orders = "sum"
-- amount = "sum"
-- late = "any"
-- oldest_at = "min"
-- oldest = "of oldest_at"
-- +++
"""
QUERY = """SELECT
    shop,
    count(*) AS orders,
    sum(amount) AS amount,
    bool_or(late) AS late,
    min(opened_at) AS oldest_at,
    (array_agg(id ORDER BY opened_at, id))[1] AS oldest
FROM retail.orders
WHERE shop = ANY(:nodes) AND opened_at <= :now
GROUP BY shop
"""
RANKED = QUERY.replace("count(*) AS", "row_number() OVER (ORDER BY shop) AS")
QUERY_LINE = HEAD.count("\n") + 1
ALONE = "(SELECT count(DISTINCT shop) FROM retail.orders WHERE shop = ANY(:nodes)) = 1"
"""Condition of a query that looks at how many nodes it is asked for."""


class Shops:
    """A small database, and a folder with a report of it."""

    def __init__(self, dsn: str, folder: Path, connection: Any) -> None:
        self.dsn, self.folder, self.connection = dsn, folder, connection

    async def check(self, query: str = QUERY, *, head: str = HEAD, tree: str = TREE) -> CommandResult:
        (self.folder / "orders.sql").write_text(head + query)
        (self.folder / "trees" / "shops.sql").write_text(tree)
        tools = Tools(redis=Redis(), redis_url="", postgres_dsn=self.dsn, statement_timeout=timedelta(seconds=30))
        return await check_reports(tools, argparse.Namespace(path=self.folder, pin=False, plan=False))


@pytest.fixture
async def shops(database: str, tmp_path: Path) -> AsyncIterator[Shops]:
    connection = await asyncpg.connect(database)
    await connection.execute(SHOPS)
    (tmp_path / "trees").mkdir()
    yield Shops(database, tmp_path, connection)
    await connection.close()


def changed(old: str, new: str) -> str:
    assert old in QUERY
    return QUERY.replace(old, new)


def lines(answer: CommandResult) -> list[str]:
    return [f"{one['where']}: {one['fault']}; {one['remedy']}" for one in answer.facts["findings"]]


async def test_a_right_report_passes_and_its_cost_for_one_node_is_told(shops: Shops) -> None:
    answer = await shops.check()
    assert answer.done, answer.text
    assert answer.facts["reports"]["orders"]["one_node_ms"] > 0
    assert ", for one node in " in answer.text
    told = "orders: a change of retail.shops computes all nodes; any other change, only those affected"
    assert told in answer.facts["notes"]


WRONG = {
    "the nodes are ignored": (
        changed("ANY(:nodes)", "ANY(:nodes) OR true"),
        f":{QUERY_LINE}: the query for some nodes returns a row for node ",
        "which was not requested; write = ANY(:nodes) wherever it selects rows",
    ),
    "rows of others decide": (
        changed("GROUP BY", f"AND NOT {ALONE} GROUP BY"),
        f":{QUERY_LINE}: the query for some nodes returns no row for node ",
        "but the query for all nodes does; write",
    ),
    "places among all nodes": (
        f"SELECT * FROM (\n{RANKED}) AS rows WHERE orders < 5",  # noqa: S608  ours
        f":{QUERY_LINE}: the query for some nodes returns a row for node ",
        "but the query for all nodes does not; write",
    ),
    "a row twice": (
        f"SELECT rows.* FROM (\n{QUERY}) AS rows, generate_series(1, CASE WHEN {ALONE} THEN 2 ELSE 1 END)",  # noqa: S608  ours
        f":{QUERY_LINE}: the query for some nodes returns several rows for node ",
        "group the query by shop",
    ),
    "a share of all": (
        changed("sum(amount)", "sum(amount) / (SELECT sum(amount) FROM retail.orders WHERE shop = ANY(:nodes))"),
        ":18: rollup.amount: the query for some nodes returns a different amount for node ",
        "let a row follow from its node's own rows alone",
    ),
    "one of equal rows": (
        changed("ORDER BY opened_at, id", f"ORDER BY opened_at, CASE WHEN {ALONE} THEN -id ELSE id END"),
        ":21: rollup.oldest: the query for some nodes chooses a different oldest for node ",
        "let the order decide, as in ORDER BY opened_at, id",
    ),
    "a float's last digits": (
        changed("sum(amount)", f"sum(amount)::float8 + CASE WHEN {ALONE} THEN 1e-13 ELSE 0 END"),
        ":18: rollup.amount: the query for some nodes returns amount for node ",
        "with different last digits than the query for all nodes; sum and average numeric",
    ),
    "texts for integers": (
        changed("shop = ANY", "shop::text = ANY"),
        f":{QUERY_LINE}: :nodes is text[], but the tree's ids are of the type integer; ",
        "or cast it, as in node_id::bigint = ANY(:nodes)",
    ),
    "integers that are too small": (
        changed("shop = ANY(:nodes)", "shop = ANY(:nodes::smallint[])"),
        f":{QUERY_LINE}: :nodes is int2[], which cannot have the tree's id 70000; ",
        "node_id::bigint = ANY(:nodes)",
    ),
    "a type that is not compared": (
        changed("ANY(:nodes)", "ANY(:nodes::text[])"),
        f":{QUERY_LINE + 8}: operator does not exist: integer = text; ",
        "",
    ),
}


async def test_a_query_that_answers_otherwise_for_some_nodes_is_found_with_what_to_write(shops: Shops) -> None:
    await shops.connection.execute("INSERT INTO retail.shops VALUES (70000, 1, 'Far')")
    for name, (query, fault, remedy) in WRONG.items():
        answer = await shops.check(query)
        found = [line for line in lines(answer) if f"orders.sql{fault}" in line and remedy in line]
        assert found, (name, lines(answer))


async def test_the_instant_of_the_next_change_is_compared_as_well(shops: Shops) -> None:
    head = HEAD.replace("-- [freshness]", '-- valid_until = "column ends"\n-- [freshness]')
    ends = f":now::timestamptz + CASE WHEN {ALONE} THEN interval '1 h' ELSE interval '2 h' END AS ends"
    answer = await shops.check(changed("count(*) AS orders", f"count(*) AS orders, {ends}"), head=head)
    (line,) = lines(answer)
    assert line.startswith(
        "orders.sql:8: valid_until: the query for some nodes returns a different ends for node "
    )


async def test_a_column_that_is_not_there_is_found(shops: Shops) -> None:
    answer = await shops.check(head=HEAD.replace('= "shop"\n--\n', '= "shop_id"\n--\n'))
    (line,) = lines(answer)
    assert line == (
        "orders.sql:14: nodes.retail.orders: retail.orders has no column 'shop_id'; "
        "name the one with the node's id"
    )


async def test_a_table_that_the_tree_reads_through_a_view_is_found(shops: Shops) -> None:
    await shops.connection.execute("CREATE VIEW retail.places AS SELECT * FROM retail.shops")
    head = HEAD.replace('-- "retail.orders"', '-- "retail.shops" = "shop_id"\n-- "retail.orders"')
    answer = await shops.check(head=head, tree=TREE.replace("retail.shops", "retail.places"))
    (line,) = lines(answer)
    assert line.startswith("orders.sql:14: nodes.retail.shops: is read by the tree's query, and a change")


async def test_a_table_that_is_read_in_whole_for_one_node_is_noted_with_the_index_that_would_serve(
    shops: Shops,
) -> None:
    def read_whole(answer: CommandResult) -> list[str]:
        return [note for note in answer.facts["notes"] if "reads rows of all nodes" in note]

    run = shops.connection.execute
    await run("ANALYZE retail.orders")
    assert read_whole(await shops.check()) == []  # 200 rows are read in no time
    await run("INSERT INTO retail.orders SELECT id, id % 24, 1 FROM generate_series(1000, 3000) AS id")
    await run("ANALYZE retail.orders")
    (note,) = read_whole(await shops.check())
    assert note == (
        "orders: asked for one node, the query reads rows of all nodes in retail.orders; "
        "an index on retail.orders (shop) would serve"
    )
    await run("CREATE INDEX ON retail.orders (shop, opened_at)")
    assert read_whole(await shops.check()) == []
    (note,) = read_whole(await shops.check(changed("shop = ANY", "shop + 0 = ANY")))
    assert note.endswith("although an index begins with shop; write = ANY(:nodes) where it reads them")


async def test_a_partitioned_table_is_noted_by_its_own_name(shops: Shops) -> None:
    run = shops.connection.execute
    await run("ALTER TABLE retail.orders RENAME TO former")
    await run("CREATE TABLE retail.orders (LIKE retail.former) PARTITION BY LIST (late)")
    for name, late in (("early", "false"), ("late", "true")):
        await run(f"CREATE TABLE retail.{name} PARTITION OF retail.orders FOR VALUES IN ({late})")
    await run(
        "INSERT INTO retail.orders SELECT id, 1 + id % 24, 1, id % 5 = 0, now() FROM generate_series(1, 3000) id"
    )
    await run("ANALYZE retail.orders")
    told = "orders: asked for one node, the query reads rows of all nodes in retail.orders; an index on"
    assert [note for note in (await shops.check()).facts["notes"] if note.startswith(told)]
    await run("CREATE INDEX ON retail.orders (shop)")
    answer = await shops.check()
    assert answer.done, answer.text
    assert not [note for note in answer.facts["notes"] if "reads rows of all nodes" in note]


@pytest.mark.parametrize(
    ("head", "query", "words"),
    [
        (HEAD.replace('"of oldest_at"', '"sql"'), QUERY, "the roll-up of oldest is sql"),
        (
            HEAD.replace('-- [nodes]\n-- "retail.orders" = "shop"\n', ""),
            changed("shop = ANY(:nodes) AND", ""),
            "it has no [nodes], so no change tells which nodes it affects",
        ),
    ],
)
async def test_a_report_that_is_computed_whole_is_no_fault_and_the_reason_is_told(
    shops: Shops, head: str, query: str, words: str
) -> None:
    answer = await shops.check(query, head=head)
    assert answer.done, answer.text
    assert f"orders: any change computes all nodes: {words}" in answer.facts["notes"]
    assert answer.facts["reports"]["orders"]["one_node_ms"] is None
