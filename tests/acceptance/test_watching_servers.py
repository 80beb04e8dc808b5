"""What two servers do to each other, and what one does to itself: no set is proved by that which was lost."""

import struct
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from local.supervisor.supervisor import Supervisor
from ops.doctor.postgres import gather_postgres, judge_postgres
from reports.document import microseconds
from reports.source_postgres import DATABASE_FAULTS
from tests.boards import Shop, report, shop
from tests.faulty_proxy import FaultyProxy
from tests.own_postgres import crash, machine_binaries, own_postgres
from tests.report_worker import sales_worker, shows
from tests.standby import replay, standby
from tests.support import eventually
from worker.reports.audit import AuditFinding, Auditor, audit_report
from worker.reports.history import close_days
from worker.reports.refresh import refresh_board

both_servers = pytest.mark.parametrize(
    "machine",
    [pytest.param(False, id="embedded"), pytest.param(True, id="machine", marks=pytest.mark.long)],
)
SUBSCRIBED_ELSEWHERE = (
    "CREATE SUBSCRIPTION away CONNECTION 'host=127.0.0.1 port=1' PUBLICATION theirs "
    "WITH (connect = false, slot_name = 'theirs')"
)
SYNCED = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"
FOREIGN = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '127.0.0.1', port '{port}', dbname 'postgres');
CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (user 'momentus', password '{password}');
DROP TABLE shop.orders;
CREATE FOREIGN TABLE shop.orders (node_id bigint, amount bigint, at timestamptz)
    SERVER elsewhere OPTIONS (schema_name 'shop', table_name 'orders');
"""


@both_servers
async def test_what_a_crash_takes_away_is_not_proved_by_what_was_there_before(
    valkey_url: str,
    machine: bool,  # noqa: FBT001  a parameter
) -> None:
    """Neither a transaction nor the server's start tells of it: an unlogged table is empty all the same."""
    async with own_postgres([], binaries=binaries(machine=machine)) as (dsn,):
        async with shop(dsn, valkey_url) as it:
            await it.database.execute("ALTER TABLE shop.orders SET UNLOGGED")
            await it.install()
            await it.order(5)
            await refreshed(it)
            await eventually(it.proved)
        await crash(dsn)
        async with shop(dsn, valkey_url) as it:
            decision = (await it.prober.probe_once()).decisions["shop"]
            assert (decision.proved, decision.why) == ((), "catalogue")
            await refreshed(it)
            assert await it.total() == 0
            await eventually(it.proved)


@both_servers
async def test_a_subscribed_table_is_never_called_proved_and_shows_what_arrives(
    valkey_url: str,
    capfd: pytest.CaptureFixture[str],
    machine: bool,  # noqa: FBT001  a parameter
) -> None:
    async with (
        own_postgres(["wal_level=logical"], [], binaries=binaries(machine=machine)) as (first, second),
        shop(first, valkey_url, tenant="first") as publisher,
        shop(second, valkey_url) as it,
    ):
        await publisher.database.execute("CREATE PUBLICATION theirs FOR TABLE shop.orders")
        await it.database.execute(f"CREATE SUBSCRIPTION ours CONNECTION '{first}' PUBLICATION theirs")
        await it.install()
        assert "none: shop.orders is filled by a logical subscription" in await proof(it)
        await eventually(lambda: it.database.fetchval(SYNCED))
        await publisher.order(5)
        await eventually(lambda: it.database.fetchval("SELECT count(*) = 1 FROM shop.orders"))
        await refreshed(it)
        assert (await it.prober.probe_once()).decisions["shop"].proved == ()
        await publisher.order(1000)
        await eventually(lambda: it.database.fetchval("SELECT count(*) = 2 FROM shop.orders"))
        decision = (await it.prober.probe_once()).decisions["shop"]
        assert (decision.proved, decision.why) == ((), "changed")
        await refreshed(it)
        assert await it.total() == 1005
        await it.database.execute("ALTER SUBSCRIPTION ours DISABLE")
        await refreshed(it)
        before = await it.meta()
        await publisher.order(70)
        assert await grows_old(it, before)
        told = capfd.readouterr().out
        assert "board.unproved" in told
        assert "board.watched" not in told
        assert await found_by_the_doctor(second) == {"postgres.right", "postgres.subscription"}
        await it.database.execute("ALTER SUBSCRIPTION ours ENABLE")
        await eventually(lambda: it.database.fetchval("SELECT count(*) = 3 FROM shop.orders"))
        await it.database.execute("DROP SUBSCRIPTION ours")
        assert await proof(it) == "marks"


async def test_a_foreign_table_is_never_called_proved_and_shows_by_every(valkey_url: str) -> None:
    """And so does a board without sources in a database that has one."""
    nowhere = report("nowhere", board="nowhere", sources=())
    async with (
        own_postgres([], [], binaries=machine_binaries()) as (first, second),
        shop(first, valkey_url, tenant="there") as there,
        shop(second, valkey_url, report(), nowhere) as it,
    ):
        parts = urlsplit(first)
        await it.database.execute(FOREIGN.format(port=parts.port, password=unquote(parts.password or "")))
        await it.install()
        assert "none: shop.orders is a foreign table" in await proof(it)
        assert "the database has shop.orders, which is foreign" in await proof(it, "nowhere")
        await there.order(5)
        for board in ("shop", "nowhere"):
            await refreshed(it, board)
        before = await it.meta()
        await there.order(1000)
        assert await grows_old(it, before)
        assert (await it.prober.probe_once()).decisions["nowhere"].proved == ()
        await refreshed(it)
        assert await it.total() == 1005


async def test_a_promoted_standby_of_the_address_is_watched_and_believes_nothing_of_the_former_primary(
    valkey_url: str,
) -> None:
    async with standby() as (primary, second), FaultyProxy(urlsplit(primary).port or 0) as way:
        async with shop(of_both(way.port, second), valkey_url) as it:
            await it.install()
            await it.order(5)
            await refreshed(it)
            await eventually(it.proved)
            await replay(primary, second)
            await way.refuse()
            with pytest.raises(DATABASE_FAULTS):
                await it.prober.probe_once()
            assert "Connect call failed" in (await failure(it))["sales"]
            assert await it.total() == 5, "the last good set stays"
            await execute(second, "SELECT pg_promote()")
            await it.rest_ends()
            decision = (await it.prober.probe_once()).decisions["shop"]
            assert (decision.proved, decision.why) == ((), "failed")
            await refreshed(it)
            assert await it.proof() == "marks"
            await eventually(it.proved)
            await execute(second, "INSERT INTO shop.orders (node_id, amount, at) VALUES (2, 70, now())")
            assert (await it.prober.probe_once()).decisions["shop"].why == "changed"
            await refreshed(it)
            assert await it.total() == 75
        async with shop(primary, valkey_url) as it:  # the address is put back
            decision = (await it.prober.probe_once()).decisions["shop"]
            assert (decision.proved, decision.why) == ((), "catalogue")


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_worker_goes_on_at_the_promoted_standby_when_its_primary_falls_silent(
    valkey_url: str, tmp_path: Path
) -> None:
    """As when a machine loses its power: connections stay open, no word comes, and new ones get no answer."""
    async with (
        standby() as (primary, second),
        FaultyProxy(urlsplit(primary).port or 0) as way,
        shop(primary, valkey_url) as it,
    ):
        await it.install()
        await it.order(5)
        async with Supervisor([sales_worker(valkey_url, of_both(way.port, second), tmp_path)]):
            await eventually(lambda: shows(it, 5), timeout=30)
            await replay(primary, second)
            way.stall()
            await execute(second, "SELECT pg_promote()")
            await execute(second, "INSERT INTO shop.orders (node_id, amount, at) VALUES (2, 70, now())")
            await eventually(lambda: shows(it, 75), timeout=120)
            way.let_pass()


async def test_a_day_is_closed_when_a_standby_has_replayed_its_end_and_an_audit_there_compares_nothing(
    valkey_url: str,
) -> None:
    declared = report(keep=timedelta(days=3))
    async with standby() as (primary, second), shop(primary, valkey_url, declared, tenant="first") as it:
        await it.order(5)
        await replay(primary, second)
        async with shop(second, valkey_url, declared) as there:
            midnight = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
            zone = zone_with_midnight_at(midnight)
            refresher = replace(there.refresher, zone=zone)
            await refreshed(there)
            await there.database.execute("SELECT pg_wal_replay_pause()")
            await it.order(7)
            await eventually(lambda: datetime.now(UTC) > midnight)
            await it.order(1)
            board = refresher.boards["shop"]
            tomorrow = midnight + timedelta(seconds=1)
            assert await close_days(refresher, board, now=tomorrow) == 0, "its end has not been replayed"
            assert await found_by_the_doctor(second) == {"postgres.paused"}
            await there.database.execute("SELECT pg_wal_replay_resume()")
            await replay(primary, second)
            assert await close_days(refresher, board, now=tomorrow) == 1
            await it.database.execute(SUBSCRIBED_ELSEWHERE)
            await replay(primary, second)
            assert await found_by_the_doctor(second) == {"postgres.standby", "postgres.subscription"}
            await it.database.execute("ALTER SUBSCRIPTION away ENABLE")
            await replay(primary, second)
            assert await found_by_the_doctor(second) == {"postgres.standby"}, "its primary runs the subscription"
            keys = [key async for key in there.redis.scan_iter("*closed*")]
            closed = await there.redis.hget(keys[0], "1")
            assert b'"amount":12' in closed, closed
            auditor = Auditor(refresher, there.redis)
            assert await audit_report(auditor, declared) == AuditFinding()


def zone_with_midnight_at(instant: datetime) -> ZoneInfo:
    """A zone of a fixed offset, whose day ends at an instant (RFC 8536)."""
    offset = -(instant.hour * 3600 + instant.minute * 60 + instant.second)
    head = struct.pack(">4s16x6l", b"TZif", 0, 0, 0, 0, 1, 4)
    return ZoneInfo.from_file(BytesIO(head + struct.pack(">lbb", offset, 0, 0) + b"TST\0"), key="Test")


async def grows_old(it: Shop, before: Mapping[str, Any]) -> bool:
    """Whether a look neither proves what is stored nor asks for it before its time."""
    look = await it.prober.probe_once()
    after = await it.meta()
    decision = look.decisions["shop"]
    due = microseconds(decision.due) - int(str(before["as_of_us"]))
    return decision.proved == () and after["verified_us"] == before["verified_us"] and due == 60_000_000


def of_both(port: int, second: str) -> str:
    """The address of a port on this machine and of a second server, of which the primary is wanted."""
    there = urlsplit(second)
    user = there.netloc.rpartition("@")[0]
    hosts = f"{user}@127.0.0.1:{port},127.0.0.1:{there.port}"
    return there._replace(netloc=hosts, query="target_session_attrs=primary").geturl()


async def failure(it: Shop) -> Mapping[str, str]:
    """The errors of a refresh, by report."""
    return (await refresh_board(it.refresher, it.refresher.boards["shop"])).failed


def binaries(*, machine: bool) -> Path | None:
    return machine_binaries() if machine else None


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


async def found_by_the_doctor(dsn: str) -> set[str]:
    """What it says of a server, its clock left aside."""
    found = {one.code for one in judge_postgres(await gather_postgres(dsn))}
    return {code for code in found if code.startswith("postgres.")}


async def refreshed(it: Shop, board: str = "shop") -> None:
    outcome = await refresh_board(it.refresher, it.refresher.boards[board])
    assert not outcome.failed, outcome.failed


async def proof(it: Shop, board: str = "shop") -> str:
    assert it.refresher.outbox is not None
    it.refresher.outbox.forget_catalogue()
    found = (await it.refresher.outbox.catalogue()).proof(board)
    return ": ".join([found.kind, *found.why])
