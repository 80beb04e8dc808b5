"""Trees as applications store them: documents equal independent SQL, and what is no tree keeps the last set."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from reports import Report
from reports.keys import snapshot
from reports.tree_rules import HANG, LEAVE_OUT, TreeRules
from tests.boards import Shop, report, shop
from worker.reports.audit import Auditor, audit_report
from worker.reports.history import close_days
from worker.reports.refresh import refresh_board

NODES = 40
FOREST = TreeRules(several_roots=True)
SCHEMA = """
CREATE SCHEMA IF NOT EXISTS trees;
CREATE TABLE trees.base (number int PRIMARY KEY, above int, archived_at timestamp);
CREATE TABLE trees.nodes AS SELECT number AS plain, above AS plain_above, {id} AS id, {above} AS parent_id,
    archived_at, 'N' || number AS name, 'unit' AS kind FROM trees.base;
CREATE TABLE trees.closure AS WITH RECURSIVE up AS (
    SELECT plain, id, id AS ancestor, plain AS at, plain_above AS above FROM trees.nodes
    UNION ALL
    SELECT up.plain, up.id, nodes.id, nodes.plain, nodes.plain_above
    FROM up JOIN trees.nodes ON nodes.plain = up.above
) SELECT id, ancestor FROM up;
CREATE TABLE trees.orders AS
    SELECT id AS node_id, (plain * 37) % 101 AS amount FROM trees.nodes WHERE plain % 3 <> 0;
"""
IDS = {
    "integer": ("{0}", int),
    "uuid": ("md5({0}::text)::uuid", str),
    "text": ("'u-' || {0}", str),
}
WAYS = {
    "parent_id": "SELECT id, parent_id, name, kind FROM trees.nodes",
    "path": """
        SELECT id, name, kind, (
            SELECT string_agg(above.plain::text, '/' ORDER BY above.plain) || '/'
            FROM trees.closure JOIN trees.nodes AS above ON above.id = ancestor WHERE closure.id = nodes.id
        ) AS path FROM trees.nodes""",
    "ancestors": """
        SELECT nodes.id, name, kind, array_agg(ancestor) AS ancestors
        FROM trees.nodes JOIN trees.closure USING (id) GROUP BY nodes.id, name, kind""",
}
EXPECTED = """
    SELECT closure.ancestor::text AS id, coalesce(sum(amount), 0)::int AS amount
    FROM trees.closure LEFT JOIN trees.orders ON orders.node_id = closure.id GROUP BY 1
"""
"""Totals by the closure table, without any of our code."""


def of_trees(sql: str, rules: TreeRules = FOREST, **changes: Any) -> Report:
    return report(
        "trees",
        sql="SELECT node_id, sum(amount) AS amount FROM trees.orders GROUP BY node_id",
        parameters=(),
        tree=sql,
        tree_rules=rules,
        sources=("trees.nodes", "trees.orders"),
        **changes,
    )


async def plant(
    database: "asyncpg.Connection[asyncpg.Record]", kind: str, parents: Mapping[int, int | None]
) -> None:
    """Fill the tables with a tree whose ids are of this kind."""
    await database.execute("DROP SCHEMA IF EXISTS trees CASCADE")
    form, _ = IDS[kind]
    base, _, rest = SCHEMA.format(id=form.format("number"), above=form.format("above")).partition(
        ";\nCREATE TABLE trees.nodes"
    )
    await database.execute(base)
    await database.executemany("INSERT INTO trees.base (number, above) VALUES ($1, $2)", list(parents.items()))
    await database.execute("CREATE TABLE trees.nodes" + rest)


def a_forest(seed: int) -> dict[int, int | None]:
    dice = random.Random(seed)  # noqa: S311  a test's
    return {
        number: dice.choice([None, *range(1, number)]) if number > 1 else None for number in range(1, NODES + 1)
    }


async def refreshed(it: Shop, one: Report) -> str:
    """Refresh a report, and return the error if it failed."""
    refresher = replace(it.refresher, reports={one.name: one})
    await it.redis.hdel(snapshot("default", one.name), "_error")
    return (await refresh_board(refresher, refresher.boards["shop"])).failed.get(one.name, "")


async def documents(it: Shop) -> dict[str, Any]:
    names = [
        name
        for name in await it.redis.hkeys(snapshot("default", "trees"))
        if b":" not in name and name[:1] != b"_"
    ]
    return {name.decode(): await it.field(name.decode(), "trees") for name in names}


@pytest.mark.parametrize("kind", IDS)
async def test_documents_of_trees_of_every_kind_equal_independent_sql(
    database: str, valkey_url: str, kind: str
) -> None:
    async with shop(database, valkey_url) as it:
        await plant(it.database, kind, a_forest(len(kind)))
        expected = {row["id"]: row["amount"] for row in await it.database.fetch(EXPECTED)}
        kept = {}
        for way, sql in WAYS.items():
            assert await refreshed(it, of_trees(sql)) == "", way
            found = await documents(it)
            assert {name: one["data"]["total"]["amount"] for name, one in found.items()} == expected, way
            kept[way] = found
        parents = {
            row[0]: row[1] for row in await it.database.fetch("SELECT id::text, parent_id::text FROM trees.nodes")
        }
        for name, one in found.items():
            node, shown = one["data"]["node"], IDS[kind][1]
            assert one["scope"] == node["id"] == shown(name)
            assert node["path"][-2:] == [shown(it) for it in (parents[name], name) if it is not None]
        assert {str(root) for root in (await it.meta("trees"))["roots"]} == {
            name for name, parent in parents.items() if parent is None
        }
        bodies = [{name: one["data"] for name, one in found.items()} for found in kept.values()]
        assert bodies[0] == bodies[1] == bodies[2]


@pytest.mark.parametrize("kind", ["uuid", "text"])
async def test_an_audit_of_ids_of_every_kind_finds_what_is_stored(
    database: str, valkey_url: str, kind: str
) -> None:
    async with shop(database, valkey_url) as it:
        await plant(it.database, kind, a_forest(5))
        for one in (of_trees(WAYS["parent_id"]), of_trees(WAYS["ancestors"])):
            assert await refreshed(it, one) == ""
            auditor = Auditor(replace(it.refresher, reports={"trees": one}, outbox=None), it.redis)
            finding = await audit_report(auditor, one, nodes=NODES)
            assert (finding.audited > NODES // 2, finding.wrong) == (True, ())


async def test_ids_that_change_their_type_are_refused_and_the_last_set_stays(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await plant(it.database, "integer", a_forest(1))
        assert await refreshed(it, of_trees(WAYS["parent_id"])) == ""
        before = await documents(it)
        assert "ids" not in await it.meta("trees"), "as before there were others"
        await plant(it.database, "uuid", a_forest(1))
        await refreshed(it, of_trees(WAYS["parent_id"]))  # the server refuses the plan of the former columns
        refusal = await refreshed(it, of_trees(WAYS["parent_id"]))
        assert "were integer and are now uuid" in refusal
        assert "reports forget" in refusal
        assert await documents(it) == before
        await it.redis.delete(snapshot("default", "trees"))
        assert await refreshed(it, of_trees(WAYS["parent_id"])) == ""
        assert (await it.meta("trees"))["ids"] == "uuid"


async def test_nodes_that_come_and_go_are_gone_and_back_with_their_text_ids(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await plant(it.database, "text", {1: None, 2: 1, 3: 2})
        one = of_trees(WAYS["parent_id"])
        await refreshed(it, one)
        await it.database.execute("DELETE FROM trees.nodes WHERE id = 'u-3'; DELETE FROM trees.orders")
        await refreshed(it, one)
        assert await it.redis.hexists(snapshot("default", "trees"), "gone:u-3")
        await it.database.execute("INSERT INTO trees.nodes (id, parent_id, name) VALUES ('u-3', 'u-1', 'N')")
        await refreshed(it, one)
        assert (await documents(it))["u-3"]["data"]["node"]["path"] == ["u-1", "u-3"]
        assert not await it.redis.hexists(snapshot("default", "trees"), "gone:u-3")


async def test_deleted_nodes_are_left_out_and_those_below_hang_where_the_tree_says(
    database: str, valkey_url: str
) -> None:
    parents = a_forest(9)
    sql = "SELECT id, parent_id, name, kind, archived_at IS NOT NULL AS deleted FROM trees.nodes"
    async with shop(database, valkey_url) as it:
        await plant(it.database, "uuid", parents)
        await it.database.execute("UPDATE trees.nodes SET archived_at = now() WHERE plain % 4 = 2")
        is_dead = "bool_or(a.plain % 4 = 2)"
        for rules, kept in ((HANG, f"NOT {is_dead} FILTER (WHERE a.id = d.id)"), (LEAVE_OUT, f"NOT {is_dead}")):
            assert await refreshed(it, of_trees(sql, replace(FOREST, orphans=rules))) == ""
            living = f"""
                SELECT d.id FROM trees.closure d JOIN trees.nodes a ON a.id = d.ancestor
                GROUP BY d.id HAVING {kept}
            """  # noqa: S608  ours
            expected = await it.database.fetch(f"""
                WITH living AS ({living})
                SELECT closure.ancestor::text AS id, coalesce(sum(amount), 0)::int AS amount
                FROM trees.closure JOIN living AS below ON below.id = closure.id
                JOIN living AS top ON top.id = closure.ancestor
                LEFT JOIN trees.orders ON node_id = closure.id GROUP BY 1
            """)  # noqa: S608  ours
            found = {name: one["data"]["total"]["amount"] for name, one in (await documents(it)).items()}
            assert found == {row["id"]: row["amount"] for row in expected}, rules
        refusal = await refreshed(it, of_trees(sql, replace(FOREST, orphans="refuse")))
        assert "which is deleted" in refusal


async def test_an_ltree_is_a_path_and_names_come_by_language(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        try:
            await it.database.execute("CREATE EXTENSION ltree")
        except asyncpg.PostgresError:  # this server has no extensions: a type that is sent as text, as ltree is
            await it.database.execute("CREATE TYPE ltree AS ENUM ('a', 'a.b', 'a.b.c')")
        sql = """
            SELECT path::text AS id, path, NULL::text AS kind,
                CASE WHEN path <> 'a.b' THEN '{"es": "Ventas", "en_US": "Sales"}'::jsonb END AS name
            FROM (VALUES ('a'::ltree), ('a.b'), ('a.b.c')) AS nodes (path)
        """
        one = of_trees(sql, TreeRules(languages=("en", "es")))
        one = replace(one, sql="SELECT 'a.b.c' AS node_id, 3 AS amount", sources=())
        assert await refreshed(it, one) == ""
        found = await documents(it)
        assert found["a"]["data"]["total"] == {"amount": 3}
        assert found["a.b.c"]["data"]["node"] == {
            "id": "a.b.c",
            "name": "Sales",
            "kind": None,
            "path": ["a", "a.b", "a.b.c"],
            "children": [],
            "names": {"en": "Sales", "es": "Ventas"},
        }
        assert found["a.b"]["data"]["node"]["name"] == "a.b"


async def test_closed_days_of_text_ids_are_kept_as_others_are(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        await plant(it.database, "uuid", {1: None, 2: 1})
        one = of_trees(WAYS["parent_id"], keep=timedelta(days=3))
        assert await refreshed(it, one) == ""
        refresher = replace(it.refresher, reports={"trees": one})
        now = await it.database.fetchval("SELECT now()")
        for stored in (1, 0):
            assert await close_days(refresher, refresher.boards["shop"], now=now) == stored
