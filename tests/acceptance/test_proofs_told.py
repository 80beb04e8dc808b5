"""What operators are told of proofs: which boards are watched, why others are not, what their user may do."""

import argparse
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from ops.command import CommandResult, Tools
from ops.doctor.commands import DOCTOR
from ops.reports.check import check_reports
from ops.reports.install_postgres import install_triggers
from ops.reports.status import read_statuses
from tests.boards import SCHEMA

REPORT = """-- +++
-- name = "sales"
-- board = "shop"
-- scope = "node_id"
-- tree = "shops"
-- every = "1m"
-- sources = ["shop.nodes", "shop.orders"]
--
-- [freshness]
-- soft = "30s"
-- hard = "5m"
-- debounce = "0s"
--
-- [rollup]
-- amount = "sum"
-- +++
SELECT node_id, sum(amount) AS amount FROM shop.orders WHERE at <= :now GROUP BY node_id
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A database with a shop, a folder with one report, and the tools of an operator there."""

    tools: Tools
    database: "asyncpg.Connection[asyncpg.Record]"
    role: str

    @property
    def as_reader(self) -> Tools:
        """The same with a user of little rights."""
        address = self.tools.postgres_dsn.rpartition("@")[2]
        return replace(self.tools, postgres_dsn=f"postgresql://{self.role}:x@{address}")


@pytest.fixture
async def place(database: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    (tmp_path / "trees").mkdir()
    (tmp_path / "sales.sql").write_text(REPORT)
    (tmp_path / "trees" / "shops.sql").write_text("SELECT id, parent_id, name, kind FROM shop.nodes")
    role = "reader_" + database.rpartition("_")[2]
    connection = await asyncpg.connect(database)
    await connection.execute(SCHEMA)
    await connection.execute("INSERT INTO shop.orders (node_id, amount, at) VALUES (2, 5, now())")
    await connection.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA shop TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {role}"
    )
    async with Redis.from_url(valkey_url) as redis:
        tools = Tools(
            redis=redis, redis_url=valkey_url, postgres_dsn=database, reports_path=tmp_path, reports_shipped="off"
        )
        yield Place(tools, connection, role)
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await connection.close()


async def test_install_check_status_and_doctor_say_that_a_board_is_watched(place: Place) -> None:
    told = await said_by(install_triggers, place.tools, role=place.role)
    assert "board shop: watched" in told.text
    assert told.facts["boards"] == {"shop": {"proof": "marks", "why": [], "whole": []}}
    assert "board shop: watched" in (await said_by(check_reports, place.as_reader)).text
    assert (await said_by(read_statuses, place.as_reader)).facts["reports"][0]["proof"] == "marks"
    assert findings(await doctor(place.as_reader)) == {
        "postgres.right": "",
        "postgres.role": place.role,
        "reports.watched": "shop",
        "reports.none": "",
    }


async def test_each_of_them_says_why_a_board_is_not_watched(place: Place) -> None:
    await place.database.execute(
        "ALTER TABLE shop.orders RENAME TO o; CREATE MATERIALIZED VIEW shop.orders AS SELECT * FROM shop.o"
    )
    await place.database.execute(f"GRANT SELECT ON shop.orders TO {place.role}")
    why = "shop.orders is a materialized view, and REFRESH fires no trigger"
    told = await said_by(install_triggers, place.tools, role=place.role)
    assert (
        f"board shop: not watched, but proved unchanged while no transaction of the server ends ({why})"
        in told.text
    )
    assert why in (await said_by(check_reports, place.as_reader)).text
    answer = await said_by(read_statuses, place.as_reader)
    assert why in answer.text
    assert answer.facts["reports"][0]["proof"] == "snapshot"
    assert answer.facts["reports"][0]["unproved"] == (why,)
    assert why in findings(await doctor(place.as_reader))["reports.unwatched"]


async def test_hidden_rows_are_told_and_are_a_finding_where_nothing_is_left(place: Place) -> None:
    await said_by(install_triggers, place.tools, role=place.role)
    await place.database.execute("ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY")
    why = "row-level security may hide rows of shop.orders from this user"
    answer = await said_by(check_reports, place.as_reader)
    assert not answer.done
    assert f"not proved: computed at the pace of its `every` ({why})" in answer.text
    assert "the query returns no rows; row-level security may hide those of shop.orders" in answer.text
    assert why in findings(await doctor(place.as_reader))["reports.unproved"]
    assert why in (await said_by(install_triggers, place.tools, role=place.role)).text
    await place.database.execute("CREATE POLICY a_part ON shop.orders USING (node_id = 2)")
    answer = await said_by(check_reports, place.as_reader)
    assert answer.done
    assert why in answer.text


async def test_a_user_who_may_not_take_up_marks_is_told_of(place: Place) -> None:
    await said_by(install_triggers, place.tools, role="")
    why = "this user may not take up marks"
    assert why in (await said_by(check_reports, place.as_reader)).text
    assert why in (await said_by(read_statuses, place.as_reader)).text
    assert why in findings(await doctor(place.as_reader))["reports.unwatched"]


async def test_what_the_reports_user_may_do_besides_reading_is_told(place: Place) -> None:
    assert findings(await doctor(place.as_reader))["postgres.role"] == place.role
    await place.database.execute(
        f"GRANT pg_signal_backend, pg_read_server_files TO {place.role};"
        f"GRANT DELETE ON shop.orders TO {place.role}"
    )
    other = await asyncpg.connect(place.as_reader.postgres_dsn)
    assert findings(await doctor(place.as_reader))["postgres.role_may"].partition("; ")[2] == (
        "read files of the server, end sessions of other users, write to shop.orders, "
        "end the 1 other sessions of the same user"
    )
    await other.close()
    assert "postgres.superuser" in findings(await doctor(place.tools))


async def test_the_check_names_functions_and_sequences_whose_changes_nothing_tells_of(place: Place) -> None:
    await place.database.execute(
        "CREATE FUNCTION shop.paid(bigint) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT $1';"
        "CREATE FUNCTION shop.sent(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $1';"
        f"GRANT SELECT ON SEQUENCE shop.orders_id_seq TO {place.role}"
    )
    assert place.tools.reports_path is not None
    query = "SELECT node_id, sum(shop.paid(shop.sent(amount))) + max(length(pg_notify('a', '')::text)) AS amount"
    (place.tools.reports_path / "sales.sql").write_text(
        REPORT.replace("SELECT node_id, sum(amount) AS amount", query).replace(
            "WHERE at", "WHERE 0 < (SELECT last_value FROM shop.orders_id_seq) AND at"
        )
    )
    answer = await said_by(check_reports, place.as_reader)
    assert (
        "sales: calls shop.paid(): no plan shows the tables that it reads; name its tables in sources"
        in answer.text
    )
    assert "sales: calls shop.sent(): no plan shows its reads and effects" in answer.text
    assert "sales: calls pg_catalog.pg_notify(): its results and effects leave no mark" in answer.text
    assert "reads shop.orders_id_seq, but its changes would be missed" in answer.text
    assert "sum()" not in answer.text


async def doctor(tools: Tools) -> CommandResult:
    """What it says when only Postgres is to be looked at."""
    asked = argparse.Namespace(domain=[], selector=[], no_login=True, nameserver="")
    return await DOCTOR.act(tools, asked)


def findings(answer: CommandResult) -> dict[str, str]:
    """Code to the values in its words, of Postgres and reports."""
    return {
        one["code"]: "; ".join(str(value) for key, value in one["values"].items() if key != "version")
        for one in answer.facts["findings"]
        if one["code"].startswith(("postgres.", "reports."))
    }


async def said_by(command: Any, tools: Tools, **asked: Any) -> CommandResult:
    usual = {"path": None, "pin": False, "plan": False, "dry_run": False}
    answer: CommandResult = await command(tools, argparse.Namespace(**usual, **asked))
    return answer
