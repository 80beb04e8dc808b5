"""The ledger's schema is installed once, refused when it is newer, and removed without a trace."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest

from ledger.schema import (
    AHEAD,
    LATEST,
    MIGRATIONS,
    SchemaMissing,
    SchemaNewer,
    SchemaOlder,
    check,
    install,
    make_partitions,
    read_state,
    uninstall,
)
from tests.ledgers import ledger_of


@pytest.fixture
async def plain(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


def today() -> date:
    return datetime.now(UTC).date()


async def made(connection: asyncpg.Connection, ahead: int) -> int:
    """How many tables were made until so many days ahead."""
    return int(await connection.fetchval("SELECT momentus_ledger.make_partitions($1)", ahead))


def test_migrations_are_numbered_without_a_gap() -> None:
    assert list(MIGRATIONS) == list(range(1, LATEST + 1))


async def test_a_database_without_a_ledger_says_so(plain: asyncpg.Connection) -> None:
    with pytest.raises(SchemaMissing, match="ops db install"):
        await check(plain)


async def test_an_installation_can_be_repeated(database: str) -> None:
    async with ledger_of(database) as connection:
        await install(connection)
        state = await check(connection)
        assert (state.number, state.last_day) == (LATEST, today() + timedelta(days=AHEAD))


async def test_a_schema_of_a_newer_deployment_is_refused_by_its_number(database: str) -> None:
    async with ledger_of(database) as connection:
        await connection.execute("UPDATE momentus_ledger.version SET number = 99")
        with pytest.raises(SchemaNewer, match="99 is newer"):
            await check(connection)
        with pytest.raises(SchemaNewer, match="99 is newer"):
            await install(connection)


async def test_an_older_schema_is_to_be_upgraded(database: str) -> None:
    async with ledger_of(database) as connection:
        await connection.execute("UPDATE momentus_ledger.version SET number = 0")
        with pytest.raises(SchemaOlder, match="ops db upgrade"):
            await check(connection)


async def test_an_uninstallation_leaves_nothing(database: str) -> None:
    async with ledger_of(database) as connection:
        await uninstall(connection)
        assert (await read_state(connection)).number is None
        left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'momentus%'"
        assert await connection.fetchval(left) == 0


async def test_a_failed_installation_leaves_nothing_and_no_transaction(plain: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.UndefinedObjectError, match="nobody"):
        await install(plain, backends=["nobody"])
    assert not plain.is_in_transaction()
    assert (await read_state(plain)).number is None


async def test_a_row_goes_to_the_partition_of_its_day_and_that_of_a_distant_day_is_kept_too(database: str) -> None:
    async with ledger_of(database) as connection:
        for day in (today(), date(2099, 1, 1)):
            await connection.execute(
                "INSERT INTO momentus_ledger.jobs (day, id, lane, kind, payload) VALUES ($1, 'a', 'l', 'k', '{}')",
                day,
            )
        rows = await connection.fetch(
            "SELECT tableoid::regclass::text AS part FROM momentus_ledger.jobs ORDER BY day"
        )
        assert [row["part"] for row in rows] == [
            f"momentus_ledger.jobs_{today():%Y_%m_%d}",
            "momentus_ledger.jobs_default",
        ]


async def test_partitions_are_made_ahead_beside_a_writer_and_never_twice(database: str) -> None:
    async with ledger_of(database) as connection:
        assert await make_partitions(connection) == 0
        writer = await asyncpg.connect(database)
        async with writer.transaction():
            await writer.execute(
                "INSERT INTO momentus_ledger.jobs (day, id, lane, kind, payload) VALUES ($1, 'a', 'l', 'k', '{}')",
                today(),
            )
            assert await made(connection, AHEAD + 1) == 3
        await writer.close()
        assert (await check(connection)).last_day == today() + timedelta(days=AHEAD + 1)


async def test_a_day_whose_rows_are_already_kept_elsewhere_gets_no_partition(database: str) -> None:
    async with ledger_of(database) as connection:
        await connection.execute(
            "INSERT INTO momentus_ledger.ends (day, id, state) VALUES ($1, 'a', 'done')",
            today() + timedelta(days=AHEAD + 1),
        )
        assert await made(connection, AHEAD + 1) == 2


async def test_of_two_workers_that_make_partitions_at_once_one_does_it_and_neither_waits(database: str) -> None:
    async with ledger_of(database) as first:
        second = await asyncpg.connect(database)
        async with first.transaction():
            assert await made(first, AHEAD + 1) == 3
            assert await made(second, AHEAD + 1) == 0
        assert await made(second, AHEAD + 1) == 0
        await second.close()


@pytest.mark.parametrize("ahead", [-1, 61])
async def test_partitions_are_not_made_for_years(database: str, ahead: int) -> None:
    async with ledger_of(database) as connection:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=r"^ahead: "):
            await made(connection, ahead)


@pytest.mark.parametrize("day", ["infinity", "-infinity", "0044-03-15 BC", "1969-12-31", "10000-01-01"])
@pytest.mark.parametrize("columns", ["jobs (day, id, lane, kind, payload)", "ends (day, id, state)"])
async def test_a_day_that_no_envelope_can_name_is_refused(database: str, day: str, columns: str) -> None:
    values = "'a', 'l', 'k', ''" if columns.startswith("jobs") else "'a', 'done'"
    async with ledger_of(database) as connection:
        with pytest.raises(asyncpg.CheckViolationError, match="day_is_from_1970_to_9999"):
            await connection.execute(f"INSERT INTO momentus_ledger.{columns} VALUES ('{day}', {values})")  # noqa: S608  ours


async def test_a_database_in_another_encoding_than_utf8_is_refused_by_name(database: str) -> None:
    name = f"test_{secrets.token_hex(8)}"
    administrator = await asyncpg.connect(database)
    await administrator.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    connection = await asyncpg.connect(urlsplit(database)._replace(path=f"/{name}").geturl())
    try:
        with pytest.raises(asyncpg.RaiseError, match="server_encoding: is LATIN1"):
            await install(connection)
        assert (await read_state(connection)).number is None
    finally:
        await connection.close()
        await administrator.execute(f"DROP DATABASE {name}")
        await administrator.close()


async def test_while_the_default_partition_has_rows_one_day_is_made_at_a_time(database: str) -> None:
    async with ledger_of(database) as connection:
        await connection.execute(
            "INSERT INTO momentus_ledger.jobs (day, id, lane, kind, payload) "
            "VALUES ('2099-01-01', 'a', 'l', 'k', '')"
        )
        for number in (1, 2):
            assert await made(connection, AHEAD + 2) == 3
            assert (await check(connection)).last_day == today() + timedelta(days=AHEAD + number)
        await connection.execute("DELETE FROM momentus_ledger.jobs")
        assert await made(connection, AHEAD + 4) == 6
