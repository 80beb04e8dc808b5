"""Checks of Postgres for reports: reachable, a standby, a paused replay, a stopped subscription, its clock."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from clocks import BOUND
from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from reports.connection_postgres import connect
from reports.source_postgres import DATABASE_FAULTS, log_fields

_SECONDS = 5
_WHERE = "postgres"
_LEAST_VERSION = 130_000
_SKEW_WARNING = 1.0
_ASK = """
SELECT
    current_setting('server_version_num')::int AS version,
    pg_is_in_recovery() AS standby,
    CASE WHEN pg_is_in_recovery() THEN
        extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
    END AS behind,
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE FALSE END AS paused,
    ARRAY(
        SELECT subscription.subname::text FROM pg_subscription AS subscription
        JOIN pg_database ON pg_database.oid = subscription.subdbid AND datname = current_database()
        WHERE NOT subscription.subenabled OR NOT pg_is_in_recovery() AND NOT EXISTS (
            SELECT FROM pg_stat_get_subscription(subscription.oid) AS process
            WHERE process.relid IS NULL AND process.pid IS NOT NULL
        )
        ORDER BY 1
    ) AS stopped
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresFacts:
    """Facts of Postgres; `fault` is set if it does not answer.

    Attributes:
        behind: seconds since the last commit that a standby has replayed.
        paused: True if its replay is paused.
        stopped: subscriptions of this database without a running apply process; on a standby, whose primary runs
            them, those that are disabled.
        ahead: seconds by which its clock is ahead of this machine's.
    """

    fault: str = ""
    version: int = 0
    standby: bool = False
    behind: float | None = None
    paused: bool = False
    stopped: tuple[str, ...] = ()
    ahead: float = 0.0


async def gather_postgres(dsn: str) -> PostgresFacts:
    """Read the facts of Postgres; a failure is returned as `fault`, without the address."""
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await connect(dsn, application="momentus-ops")
            try:
                row = await connection.fetchrow(_ASK)
                before = time.time()
                said = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
                ahead = said - (before + time.time()) / 2
            finally:
                await connection.close()
    except (*DATABASE_FAULTS, ValueError) as error:
        return PostgresFacts(fault=": ".join(log_fields(error).values()))
    if row is None:  # pragma: no cover  a SELECT without FROM has one row
        return PostgresFacts(fault="no answer")
    return PostgresFacts(**{**row, "stopped": tuple(row["stopped"])}, ahead=ahead)


def judge_postgres(facts: PostgresFacts, *, bound: timedelta = BOUND) -> Iterator[DoctorFinding]:
    """Judge the facts of Postgres.

    Args:
        bound: how far clocks may be apart.
    """
    if facts.fault:
        yield wrong("postgres.away", _WHERE, fault=facts.fault)
        return
    if facts.version < _LEAST_VERSION:
        yield wrong("postgres.old", _WHERE, version=facts.version // 10_000)
    elif facts.standby:
        yield from _judge_standby(facts)
    else:
        yield fine("postgres.right", _WHERE, version=facts.version // 10_000)
    yield _clock(facts.ahead, bound.total_seconds())
    for name in facts.stopped:
        yield wrong("postgres.subscription", _WHERE, name=name)


def _clock(ahead: float, bound: float) -> DoctorFinding:
    build = wrong if abs(ahead) > bound else warning if abs(ahead) > _SKEW_WARNING else fine
    code = "clock.postgres" if abs(ahead) > _SKEW_WARNING else "clock.postgres_right"
    return build(code, _WHERE, seconds=f"{ahead:+.1f}")


def _judge_standby(facts: PostgresFacts) -> Iterator[DoctorFinding]:
    if facts.paused:
        yield wrong("postgres.paused", _WHERE)
    elif facts.behind is None:
        yield warning("postgres.standby", _WHERE, behind="no commit since its start")
    else:
        yield warning("postgres.standby", _WHERE, behind=f"the last commit {facts.behind:,.0f} s ago")
