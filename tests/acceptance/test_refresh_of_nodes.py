"""A refresh that asks for the nodes that changes have named stores what a computation of the whole would store."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from reports import Report
from reports.keys import audit
from reports.refresh_scope import Why
from reports.tree_rules import LEAVE_OUT, TreeRules
from tests.boards import Shop, report, shop
from worker.engine import TryLater
from worker.reports.refresh import refresh_board, refresh_report


def query(where: str, amount: str = "sum(amount) AS amount") -> str:
    """The direct rows of nodes."""
    return f"SELECT node_id, {amount} FROM shop.orders WHERE {where} GROUP BY node_id"  # noqa: S608  ours


WHOLE, SOME = query("node_id IS NOT NULL AND at <= $1"), query("node_id = ANY($2) AND at <= $1")
MOVE = "UPDATE shop.nodes SET parent_id = 3 WHERE id = 2"


def keyed(name: str = "sales", **changes: Any) -> Report:
    """The sum of orders, which can be asked for some nodes."""
    declared: dict[str, Any] = {
        "sql": WHOLE,
        "sql_of_nodes": SOME,
        "sql_of_nodes_parameters": ("now", "nodes"),
        "node_columns": {"shop.orders": "node_id"},
    }
    return report(name, **(declared | changes))


async def refresh(it: Shop) -> dict[str, object]:
    """The facts of the report, of a refresh that stored it."""
    outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
    assert outcome.failed == {}
    return outcome.reports["sales"]


@pytest.fixture
async def it(database: str, valkey_url: str) -> Any:
    async with shop(database, valkey_url, keyed()) as it:
        await it.install()
        await it.order(5)
        await it.order(1, node=3)
        assert (await refresh(it))["computed"] is Why.FIRST
        yield it


async def test_only_the_nodes_of_changed_rows_are_asked_for_and_their_documents_written(it: Shop) -> None:
    await it.order(7)
    facts = await refresh(it)
    assert (facts["computed"], facts["changed"]) == (Why.NODES, 2)
    assert [await it.total(node=node) for node in (1, 2, 3)] == [13, 12, 1]


async def test_a_row_that_moves_between_nodes_changes_both(it: Shop) -> None:
    await it.database.execute("UPDATE shop.orders SET node_id = 3 WHERE node_id = 2")
    assert (await refresh(it))["computed"] is Why.NODES
    assert [await it.total(node=node) for node in (1, 2, 3)] == [6, 0, 6]


async def test_a_change_that_changes_no_number_writes_no_document_and_the_set_counts_as_newer(it: Shop) -> None:
    before = await it.meta()
    await it.database.execute("UPDATE shop.orders SET amount = amount")
    facts = await refresh(it)
    assert (facts["computed"], facts["changed"]) == (Why.NODES, 0)
    assert (await it.meta())["as_of_us"] > before["as_of_us"]


CHANGES: dict[str, tuple[Why, Callable[[Shop], Awaitable[Any]]]] = {
    "a node moves": (Why.EVERYTHING, lambda it: it.database.execute(MOVE)),
    "a table is emptied": (Why.CATALOGUE, lambda it: it.database.execute("TRUNCATE shop.orders")),
    "a node comes with its order": (
        Why.EVERYTHING,
        lambda it: it.database.execute("INSERT INTO shop.nodes VALUES (4, 3, 'west', 'shop')"),
    ),
    "a column changes its type": (
        Why.CATALOGUE,
        lambda it: it.database.execute("ALTER TABLE shop.orders ALTER amount TYPE numeric"),
    ),
    "Redis is emptied": (Why.STORED, lambda it: it.redis.flushall()),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_the_whole_is_computed_where_nodes_are_not_enough(it: Shop, change: str) -> None:
    why, make = CHANGES[change]
    await make(it)
    await it.order(2, node=3)
    assert (await refresh(it))["computed"] is why
    rows = await it.database.fetch("SELECT coalesce(sum(amount), 0) AS amount FROM shop.orders")
    assert await it.total() == rows[0]["amount"]
    await it.order(3)
    assert (await refresh(it))["computed"] is Why.NODES
    assert await it.total() == rows[0]["amount"] + 3


async def test_after_another_workers_refresh_the_whole_is_computed_once(it: Shop, valkey_url: str) -> None:
    await it.order(7)
    async with shop(it.dsn, valkey_url, keyed()) as other:
        assert (await refresh(other))["computed"] is Why.FIRST
        await it.order(1)
        assert (await refresh(it))["computed"] is Why.TAKEN_UP
        await it.order(1)
        assert (await refresh(it))["computed"] is Why.NODES
    assert await it.total() == 15


async def test_a_refresh_that_took_up_nothing_computes_the_whole_and_tells_what_left_no_mark(it: Shop) -> None:
    await it.order(100)
    await it.database.execute("TRUNCATE momentus.dirty")  # as if the table had been restored from a dump
    assert (await refresh(it))["computed"] is Why.UNASKED
    assert await it.total() == 106
    assert await it.redis.hget(audit("default", "sales"), "different") == b"2"


async def test_what_is_rolled_back_after_it_was_computed_is_not_taken_for_stored(
    it: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another connection ends the refresh's transaction before its commit: the marks come back."""
    await it.order(7)
    publish = it.refresher.store.publish_set

    async def publish_and_lose(*given: Any) -> str:
        state = await publish(*given)
        await it.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'momentus-refresh'"
        )
        return state

    with monkeypatch.context() as losing:
        losing.setattr(it.refresher.store, "publish_set", publish_and_lose)
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
    assert outcome.failed
    await it.rest_ends()
    await it.order(1)
    assert (await refresh(it))["computed"] is Why.FIRST
    assert await it.total() == 14


async def test_a_node_whose_instant_is_reached_is_asked_for_without_a_mark(database: str, valkey_url: str) -> None:
    columns = (
        "coalesce(sum(amount) FILTER (WHERE at <= $1), 0) AS amount, min(at) FILTER (WHERE at > $1) AS changes_at"
    )
    by_column = keyed(
        sql=query("node_id IS NOT NULL", columns),
        sql_of_nodes=query("node_id = ANY($2)", columns),
        valid_until="SELECT min(changes_at) FROM (SELECT 1) AS never",
        valid_until_column="changes_at",
    )
    async with shop(database, valkey_url, by_column) as it:
        await it.install()
        await it.order(1, node=3)
        due = await it.database.fetchval("SELECT clock_timestamp() + interval '2 s'")
        await it.order(9, at=due)
        await refresh(it)
        assert [await it.total(), (await it.meta())["valid_until_us"]] == [1, round(due.timestamp() * 1e6)]
        await it.database.execute("SELECT pg_sleep_until($1)", due + timedelta(milliseconds=1))
        facts = await refresh(it)
        assert (facts["computed"], facts["changed"]) == (Why.NODES, 2)
        assert [await it.total(), (await it.meta())["valid_until_us"]] == [10, None]


WRONG = {
    "gives other rows": query("node_id = ANY($1)", "sum(amount) + 1 AS amount"),
    "forgets a row": query("node_id = ANY($1) AND id > 1"),
}


@pytest.mark.parametrize("way", WRONG)
async def test_a_query_that_gives_something_else_than_the_whole_is_found_told_mended_and_left(
    database: str, valkey_url: str, way: str
) -> None:
    wrong = keyed(sql_of_nodes=WRONG[way], sql_of_nodes_parameters=("nodes",))
    async with shop(database, valkey_url, wrong) as given:
        it = replace(given, refresher=replace(given.refresher, whole_every=timedelta(0)))
        await it.install()
        await it.order(5)
        await refresh(it)
        await it.order(7)
        assert (await refresh(it))["computed"] is Why.COMPARED
        assert await it.total() == 12
        meta = await it.meta()
        assert meta["distrusted_us"] == meta["computed_us"]
        assert await it.redis.hget(audit("default", "sales"), "different") == b"2"
        await it.order(1)
        assert (await refresh(it))["computed"] is Why.DISTRUSTED
        assert await it.total() == 13
        async with shop(database, valkey_url, wrong) as other:
            await it.order(1)
            assert (await refresh(other))["computed"] is Why.DISTRUSTED
        async with shop(database, valkey_url, keyed()) as mended:
            await refresh(mended)
            await it.order(1)
            assert (await refresh(mended))["computed"] is Why.NODES
            assert "distrusted_us" not in await it.meta()


FAILING = {
    "ignores its parameter": query("$1::bigint[] IS NOT NULL"),
    "cannot be run": query("node_id::text = ANY($1::uuid[])"),
    "takes ids of another type": query("node_id::text = ANY($1)"),
}


@pytest.mark.parametrize("way", FAILING)
async def test_a_query_for_some_nodes_that_fails_by_itself_is_told_once_and_the_whole_computed(
    database: str, valkey_url: str, way: str
) -> None:
    async with shop(
        database, valkey_url, keyed(sql_of_nodes=FAILING[way], sql_of_nodes_parameters=("nodes",))
    ) as it:
        await it.install()
        await it.order(5)
        await refresh(it)
        await it.order(7, node=3)
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert list(outcome.failed) == ["sales"]
        await it.rest_ends()
        assert (await refresh(it))["computed"] is Why.DISTRUSTED
        assert await it.total() == 12


async def test_a_row_without_a_node_counts_for_none_and_no_node_is_asked_for(it: Shop) -> None:
    await it.order(7, node=None)
    facts = await refresh(it)
    assert (facts["computed"], facts["changed"]) == (Why.NODES, 0)
    await it.database.execute("UPDATE shop.orders SET node_id = 3 WHERE node_id IS NULL")
    assert (await refresh(it))["computed"] is Why.NODES
    assert [await it.total(node=node) for node in (1, 2, 3)] == [13, 5, 8]


async def test_a_table_for_which_only_another_report_of_the_board_declares_a_column_concerns_all_nodes(
    database: str, valkey_url: str
) -> None:
    """A report counts the orders of each node's customers, wherever they ordered."""
    of_customers = (
        "SELECT home AS node_id, sum(amount) AS amount FROM shop.customers JOIN shop.orders ON at = born "
        "WHERE home {} GROUP BY home"
    )
    bought = keyed(
        "bought",
        sql=of_customers.format("IS NOT NULL"),
        sql_of_nodes=of_customers.format("= ANY($1)"),
        parameters=(),
        sql_of_nodes_parameters=("nodes",),
        sources=("shop.customers", "shop.nodes", "shop.orders"),
        node_columns={"shop.customers": "home"},
    )
    async with shop(database, valkey_url, keyed(), bought) as it:
        day = await it.database.fetchval("SELECT timestamptz '2026-11-01'")
        await it.database.execute("CREATE TABLE shop.customers (home bigint, born timestamptz)")
        await it.database.execute("INSERT INTO shop.customers VALUES (3, $1)", day)
        await it.install()
        await it.order(5, at=day)
        await refresh(it)
        await it.order(7, node=2, at=day)
        assert (await refresh(it))["computed"] is Why.NODES
        assert [await it.total("bought", node=node) for node in (1, 2, 3)] == [12, 0, 12]


UUIDS = """
CREATE TABLE shop.places (id uuid PRIMARY KEY, parent_id uuid, name text, kind text);
INSERT INTO shop.places VALUES ('d5a0c1f2-0000-4000-8000-00000000000a', NULL, 'all', 'shop');
CREATE TABLE shop.tickets (place text);
"""
FORMS = ("D5A0C1F2-0000-4000-8000-00000000000A", "{d5a0c1f2-0000-4000-8000-00000000000a}")


@pytest.mark.parametrize("written", FORMS)
async def test_an_id_in_another_form_is_not_taken_for_one_that_the_tree_leaves_out(
    database: str, valkey_url: str, written: str
) -> None:
    counted = "SELECT place::uuid AS node_id, count(*) AS amount FROM shop.tickets WHERE place::uuid {} GROUP BY 1"
    tickets = keyed(
        tree="SELECT id, parent_id, name, kind FROM shop.places",
        tree_rules=TreeRules(orphans=LEAVE_OUT),
        sql=counted.format("IS NOT NULL"),
        sql_of_nodes=counted.format("= ANY($1)"),
        parameters=(),
        sql_of_nodes_parameters=("nodes",),
        sources=("shop.places", "shop.tickets"),
        node_columns={"shop.tickets": "place"},
    )
    async with shop(database, valkey_url, tickets) as it:
        await it.database.execute(UUIDS)
        await it.install()
        await refresh(it)
        await it.database.execute("INSERT INTO shop.tickets VALUES ($1)", "d5a0c1f2-0000-4000-8000-00000000000b")
        assert (await refresh(it))["computed"] is Why.NODES
        await it.database.execute("INSERT INTO shop.tickets VALUES ($1)", written)
        assert (await refresh(it))["computed"] is Why.UNKNOWN_NODE
        stored = await it.field("d5a0c1f2-0000-4000-8000-00000000000a")
        assert stored["data"]["total"] == {"amount": 1}


@pytest.fixture
async def ascii_database(postgres_dsn: str) -> AsyncIterator[str]:
    """A database that takes any bytes for text."""
    name = f"test_{secrets.token_hex(8)}"
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    yield urlsplit(postgres_dsn)._replace(path=f"/{name}").geturl()
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def test_a_node_that_is_not_utf_8_holds_up_no_report_of_its_board(
    ascii_database: str, valkey_url: str
) -> None:
    counted = "SELECT 1::bigint AS node_id, count(*) AS amount FROM shop.notes WHERE place {}"
    notes = keyed(
        "notes",
        sql=counted.format("IS NOT NULL"),
        sql_of_nodes=counted.format("= ANY($1::text[])"),
        parameters=(),
        sql_of_nodes_parameters=("nodes",),
        sources=("shop.nodes", "shop.notes"),
        node_columns={"shop.notes": "place"},
    )
    async with shop(ascii_database, valkey_url, keyed(), notes) as it:
        await it.database.execute("CREATE TABLE shop.notes (place text)")
        await it.install()
        await refresh(it)
        await it.database.execute(r"INSERT INTO shop.notes VALUES (E'M\xe1laga'), (repeat(E'\xc3\xa1', 40))")
        await it.order(5)
        assert (await refresh(it))["computed"] is Why.NODES
        assert [await it.total(), await it.total("notes")] == [5, 2]


async def test_a_former_installation_s_marks_lead_to_the_whole(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url, report()) as former:
        await former.install()
    async with shop(database, valkey_url, keyed()) as it:
        await it.order(5)
        await refresh(it)
        await it.order(7)
        assert (await refresh(it))["computed"] is Why.EVERYTHING
        assert await it.total() == 12


async def test_a_change_of_more_documents_than_one_call_stores_is_swapped_in_at_once(
    database: str, valkey_url: str
) -> None:
    """A chain: each node below the last one; a single order changes them all."""
    async with shop(database, valkey_url, keyed()) as it:
        await it.database.execute(
            "INSERT INTO shop.nodes SELECT n, n - 1, 'link', 'shop' FROM generate_series(4, 600) AS n"
        )
        await it.install()
        await it.order(1, node=600)
        await refresh(it)
        await it.order(2, node=600)
        facts = await refresh(it)
        assert (facts["computed"], facts["changed"]) == (Why.NODES, 599)
        assert [await it.total(node=node) for node in (1, 2, 3, 300, 600)] == [3, 0, 3, 3, 3]


async def test_an_installation_without_the_column_of_nodes_is_read(database: str, valkey_url: str) -> None:
    """A worker of this build beside tables that the former one made."""
    async with shop(database, valkey_url, report()) as it:
        await it.install()
        await it.database.execute("ALTER TABLE momentus.dirty DROP COLUMN nodes")
        await it.order(5)
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert (outcome.failed, outcome.marks) == ({}, 1)


async def test_a_board_goes_to_the_worker_that_keeps_its_sets_until_that_one_is_gone(
    it: Shop, valkey_url: str
) -> None:
    """Other workers leave its refreshes to it; it need not compute the whole."""

    def job(of: Shop, age: float = 0.0) -> Awaitable[dict[str, object]]:
        context = {"refresher": of.refresher, "age": timedelta(seconds=age)}
        return refresh_report(context, of.refresher.tenant, "sales")

    async with shop(it.dsn, valkey_url, keyed()) as other:
        await it.order(1)
        await job(it)
        with pytest.raises(TryLater, match="another worker keeps its sets") as left:
            await job(other, age=2)
        assert (left.value.after, left.value.charged) == (timedelta(milliseconds=500), False)
        await it.order(1)
        assert (await job(it))["reports"]["sales"]["computed"] is Why.NODES  # type: ignore[index]
        await it.refresher.store.keepers.release_boards()
        await it.order(1)
        assert (await job(other))["reports"]["sales"]["computed"] is Why.FIRST  # type: ignore[index]
        with pytest.raises(TryLater):
            await job(it)
        assert await job(it, age=10)  # the other one has not come
        assert await it.total() == 9
