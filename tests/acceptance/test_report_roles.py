"""Refreshes as a database user with few rights and settings of its own: they work, or the reason is in words."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from producers import Producer
from reports.catalogue_postgres import Proof
from reports.connection_postgres import connect
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.triggers import install_script
from tests.boards import Shop, shop
from tests.own_postgres import machine_binaries, own_postgres
from tests.support import eventually
from worker.reports.prober import Prober
from worker.reports.refresh import refresh_board

FORMER_GRANTS = """
REVOKE ALL ON ALL TABLES IN SCHEMA momentus FROM {role};
GRANT SELECT, DELETE ON momentus.dirty TO {role};
GRANT SELECT, INSERT, UPDATE ON momentus.boards TO {role};
"""
SETTINGS = {
    "writes nothing by default": "ALTER ROLE {role} SET default_transaction_read_only = on",
    "is in a database that does so": "ALTER DATABASE {database} SET default_transaction_read_only = on",
    "has an empty search path": "ALTER ROLE {role} SET search_path = ''",
    "has a search path of its own tables first": "ALTER ROLE {role} SET search_path = shop, pg_catalog",
    "waits for no lock": "ALTER ROLE {role} SET lock_timeout = '1ms'",
    "errs on row-level security": "ALTER ROLE {role} SET row_security = off",
    "is serializable": "ALTER ROLE {role} SET default_transaction_isolation = serializable",
    "is installed by a former release": FORMER_GRANTS,
}
MISSING = {
    "USAGE ON SCHEMA momentus": "USAGE on schema momentus",
    "SELECT ON momentus.dirty": "SELECT on momentus.dirty",
    "DELETE ON momentus.dirty": "DELETE on momentus.dirty",
    "INSERT ON momentus.boards": "INSERT on momentus.boards",
    "UPDATE ON momentus.boards": "UPDATE on momentus.boards",
}
SLOW = "SELECT node_id, sum(amount) AS amount FROM shop.orders, pg_sleep(0.05) WHERE at <= $1 GROUP BY node_id"
REFUSES_MARKS = """
CREATE FUNCTION momentus.refuse() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'not on a Sunday'; END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON momentus.boards EXECUTE FUNCTION momentus.refuse();
"""


@dataclass(frozen=True, slots=True)
class Reader:
    """A role with SELECT on the shop, and the shop of the database's owner."""

    role: str
    dsn: str
    owner: Shop
    url: str

    async def run(self, sql: str) -> None:
        """As the owner."""
        await self.owner.database.execute(sql.format(role=self.role, database=urlsplit(self.dsn).path[1:]))

    @asynccontextmanager
    async def work(self, parameters: str = "") -> AsyncIterator[Shop]:
        """The shop with a refresher and a prober of the reader's."""
        dsn = self.dsn + (("&" if "?" in self.dsn else "?") + parameters if parameters else "")
        former = self.owner.refresher
        source = Source(dsn, statement_timeout=timedelta(seconds=10))
        outbox = Outbox(dsn, tenant=former.tenant, boards=former.boards)
        refresher = replace(former, source=source, outbox=outbox)
        try:
            async with Producer.connect(self.url, budget=5) as producer:
                yield replace(self.owner, refresher=refresher, prober=Prober(refresher, producer))
        finally:
            await source.close()
            await outbox.close()


@pytest.fixture
async def reader(database: str, valkey_url: str) -> AsyncIterator[Reader]:
    async with installed(database, valkey_url) as it:
        yield it


@asynccontextmanager
async def installed(database: str, valkey_url: str) -> AsyncIterator[Reader]:
    """A reader for whom the database marks what changes, as the documentation says."""
    role = f"reader_{secrets.token_hex(4)}"
    async with shop(database, valkey_url) as owner:
        address = urlsplit(database)
        dsn = address._replace(netloc=f"{role}:x@{address.netloc.rpartition('@')[2]}").geturl()
        it = Reader(role, dsn, owner, valkey_url)
        await it.run(
            "CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA shop TO {role};"
            "GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {role}"
        )
        await owner.database.execute(install_script("default", owner.refresher.boards, role=role))
        yield it
        await it.run("DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("setting", SETTINGS)
async def test_a_reader_takes_up_marks_whatever_settings_it_has(reader: Reader, setting: str) -> None:
    await reader.run(SETTINGS[setting])
    await reader.owner.order(5)
    async with reader.work() as it:
        assert (await proof(it)).kind == "marks"
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert (outcome.failed, outcome.marks) == ({}, 1)
        assert await it.total() == 5
        await eventually(it.proved)


async def test_a_time_limit_of_the_role_ends_neither_a_report_nor_a_look(reader: Reader) -> None:
    await reader.run("ALTER ROLE {role} SET statement_timeout = '20ms'")
    await reader.owner.order(5)
    slow = replace(reader.owner.refresher.reports["sales"], sql=SLOW)
    async with reader.work() as it:
        refresher = replace(it.refresher, reports={"sales": slow})
        assert (await refresh_board(refresher, refresher.boards["shop"])).failed == {}
    connection = await connect(reader.dsn, application="momentus-test", command_timeout=5)
    await connection.fetchval("SELECT pg_sleep(0.05)")
    await connection.close()


@pytest.mark.long
async def test_on_the_machines_own_server_a_reader_takes_up_marks_whatever_settings_it_has(
    valkey_url: str,
) -> None:
    async with (
        own_postgres([], binaries=machine_binaries()) as (database,),
        installed(database, valkey_url) as reader,
    ):
        for setting in SETTINGS.values():
            await reader.run(setting)
        await test_a_reader_takes_up_marks_whatever_settings_it_has(reader, "is serializable")
        await test_a_time_limit_of_the_role_ends_neither_a_report_nor_a_look(reader)


@pytest.mark.parametrize("right", MISSING)
async def test_a_reader_that_may_not_take_up_marks_refreshes_without_and_the_missing_right_is_named(
    reader: Reader, right: str
) -> None:
    await reader.run(f"REVOKE {right} FROM {{role}}")
    await reader.owner.order(5)
    async with reader.work() as it:
        assert (await proof(it)).kind == "snapshot"
        assert f"it lacks {MISSING[right]}; run ./run ops reports install" in "; ".join((await proof(it)).why)
        assert (await refresh_board(it.refresher, it.refresher.boards["shop"])).failed == {}
        assert await it.total() == 5


async def test_marks_that_the_database_refuses_for_a_reason_of_its_own_stop_no_refresh(reader: Reader) -> None:
    await reader.run(REFUSES_MARKS)
    await reader.owner.order(5)
    async with reader.work() as it:
        assert (await refresh_board(it.refresher, it.refresher.boards["shop"])).failed == {}
        assert await it.total() == 5
        assert (await proof(it)).why == ("marks cannot be taken up: not on a Sunday",)


async def test_a_database_that_lets_nobody_in_is_the_error_of_each_report_in_its_own_words(
    reader: Reader,
) -> None:
    await reader.run("ALTER ROLE {role} CONNECTION LIMIT 0")
    assert "too many connections for role" in await error(reader)
    await reader.run("ALTER ROLE {role} CONNECTION LIMIT -1; REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    assert "permission denied for database" in await error(reader)
    await reader.run("GRANT CONNECT ON DATABASE {database} TO PUBLIC; REVOKE SELECT ON shop.orders FROM {role}")
    assert "permission denied for table orders" in await error(reader)
    assert "standby" in await error(reader, "target_session_attrs=standby")


async def error(reader: Reader, parameters: str = "") -> str:
    """What is stored as the report's error after a refresh, which does not raise."""
    await reader.owner.redis.flushdb()
    async with reader.work(parameters) as it:
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        return str((await it.field("_error"))["error"])


async def proof(it: Shop) -> Proof:
    assert it.refresher.outbox is not None
    return (await it.refresher.outbox.catalogue()).proof("shop")
