"""What operators are told of clocks that are apart, and of time zones that mean two things."""

import struct
import zoneinfo
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest

from ops.reports.zones_postgres import compare_zones, zone_data_of, zone_probes
from tests.boards import SCHEMA
from tests.command_line import run_ops
from tests.moved_clocks import move_database

SALES = """-- +++
-- name = "sales"
-- scope = "node_id"
-- tree = "nodes"
-- every = "1m"
-- timezone = "{zone}"
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
MADRID = b"CET-1CEST,M3.5.0,M10.5.0/3"
A_WEEK_EARLIER = b"CET-1CEST,M3.4.0,M10.5.0/3"


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def folder(connection: Any, tmp_path: Path) -> Path:
    await connection.execute(SCHEMA)
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees/nodes.sql").write_text("SELECT id, parent_id, name, kind FROM shop.nodes\n")
    (tmp_path / "sales.sql").write_text(SALES.format(zone="Europe/Madrid"))
    return tmp_path


def zone_file(rule: bytes) -> bytes:
    """A zone by the rule alone, as its compiler writes it (RFC 9636)."""
    header = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    body = struct.pack(">lbb", 3600, 0, 0) + b"CET\0"
    return (header + body) * 2 + b"\n" + rule + b"\n"


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Path]:
    """A folder of zone data that Python looks at first."""
    found = tmp_path / "zoneinfo"
    (found / "Europe").mkdir(parents=True)
    former = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[str(found), *former])
    ZoneInfo.clear_cache()
    yield found
    zoneinfo.reset_tzpath(to=former)
    ZoneInfo.clear_cache()


async def test_zone_data_that_agree_are_no_fault(connection: Any, ours: Path) -> None:
    (ours / "Europe/Madrid").write_bytes(zone_file(MADRID))
    now = datetime.now(UTC)
    assert not await compare_zones(connection, ["Europe/Madrid", "UTC", "Asia/Kolkata", "America/Lima"], now)
    assert not await compare_zones(connection, [], now)


async def test_the_first_instant_at_which_zone_data_differ_is_told_with_both_sources(
    connection: Any, ours: Path
) -> None:
    """One government has moved the change of the clocks by a week, and only one side has heard of it."""
    (ours / "Europe/Madrid").write_bytes(zone_file(A_WEEK_EARLIER))
    (fault,) = await compare_zones(connection, ["UTC", "Europe/Madrid"], datetime(2026, 11, 28, tzinfo=UTC))
    assert fault.at == datetime(2026, 3, 22, 1, tzinfo=UTC)
    assert (fault.python_offset, fault.server_offset) == (timedelta(hours=2), timedelta(hours=1))
    for said in ("2026-03-22 01:00 UTC", "Europe/Madrid", "+02:00", "+01:00", str(ours), "PostgreSQL"):
        assert said in fault.words


async def test_a_zone_that_only_the_server_changes_is_found_on_the_day(connection: Any, ours: Path) -> None:
    (ours / "Europe/Madrid").write_bytes(zone_file(b"CET-1"))
    (fault,) = await compare_zones(connection, ["Europe/Madrid"], datetime(2027, 12, 28, tzinfo=UTC))
    assert fault.at == datetime(2027, 3, 29, tzinfo=UTC)


async def test_a_zone_that_the_server_does_not_know_is_told(connection: Any, ours: Path) -> None:
    (ours / "Europe/Atlantis").write_bytes(zone_file(MADRID))
    (fault,) = await compare_zones(connection, ["Europe/Atlantis"], datetime.now(UTC))
    assert fault.server_offset is None
    assert "does not know the time zone Europe/Atlantis" in fault.words


def test_both_sides_of_each_change_are_asked_about() -> None:
    asked = dict(zone_probes("Australia/Lord_Howe", datetime(2026, 11, 28, tzinfo=UTC)))
    change = int(datetime(2026, 4, 4, 15, tzinfo=UTC).timestamp())
    assert (asked[change - 1], asked[change]) == (11 * 3600, 10 * 3600 + 1800)
    assert zone_data_of("Australia/Lord_Howe")


async def test_check_names_the_report_s_key_and_the_doctor_the_zone(
    folder: Path, ours: Path, database: str, valkey_url: str
) -> None:
    (ours / "Europe/Madrid").write_bytes(zone_file(A_WEEK_EARLIER))
    where = {"REDIS_URL": valkey_url, "POSTGRES_DSN": database, "REPORTS__PATH": str(folder)}
    where["REPORTS__SHIPPED"] = "off"
    code, out, _ = await run_ops("reports", "check", "--json", **where)
    (finding,) = orjson.loads(out)["findings"]
    assert code == 1
    assert finding["where"].endswith("sales.sql:6: timezone")
    assert "Europe/Madrid" in finding["fault"]
    assert "tzdata" in finding["remedy"]
    _, out, _ = await run_ops("doctor", "--json", **where)
    (told,) = [one for one in orjson.loads(out)["findings"] if one["code"] == "zones.differ"]
    assert (told["severity"], told["where"]) == ("warning", "Europe/Madrid")


@pytest.mark.parametrize(("ahead", "severity"), [(600, "wrong"), (-5, "warning"), (0, "fine")])
async def test_the_doctor_and_status_tell_of_a_database_whose_clock_is_off(
    folder: Path, connection: Any, database: str, valkey_url: str, ahead: int, severity: str
) -> None:
    await move_database(connection, ahead)
    where = {"REDIS_URL": valkey_url, "POSTGRES_DSN": database, "REPORTS__PATH": str(folder)}
    where["REPORTS__SHIPPED"] = "off"
    _, out, _ = await run_ops("doctor", "--json", **where)
    (told,) = [one for one in orjson.loads(out)["findings"] if one["code"].startswith("clock.postgres")]
    assert told["severity"] == severity
    _, out, _ = await run_ops("reports", "status", "--json", **where)
    assert round(orjson.loads(out)["clocks"]["the database"]) == ahead
    _, out, _ = await run_ops("reports", "status", **where)
    assert ("the clock of the database is +600.0 s from Redis's" in out) == (ahead == 600)
