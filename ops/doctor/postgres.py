"""Whether Postgres answers, and is one that can be written to."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from ops.doctor.finding import Finding, fine, warning, wrong
from reports.connection_postgres import connect
from reports.source_postgres import DATABASE_FAULTS

_SECONDS = 5
_WHERE = "postgres"
_LEAST_VERSION = 130_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresFacts:
    """What it says; `fault` is why it does not."""

    fault: str = ""
    version: int = 0
    standby: bool = False


async def gather_postgres(dsn: str) -> PostgresFacts:
    """Ask; a fault is a fact too, and holds nothing of the address."""
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await connect(dsn, application="momentus-ops")
            try:
                row = await connection.fetchrow(
                    "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby"
                )
            finally:
                await connection.close()
    except (*DATABASE_FAULTS, ValueError) as error:
        return PostgresFacts(fault=type(error).__name__)
    return (
        PostgresFacts(version=row["version"], standby=row["standby"]) if row else PostgresFacts(fault="no answer")
    )


def judge_postgres(facts: PostgresFacts) -> Iterator[Finding]:
    """What it means."""
    if facts.fault:
        yield wrong("postgres.away", _WHERE, fault=facts.fault)
        return
    if facts.version < _LEAST_VERSION:
        yield wrong("postgres.old", _WHERE, version=facts.version // 10_000)
    elif facts.standby:
        yield warning("postgres.standby", _WHERE)
    else:
        yield fine("postgres.right", _WHERE, version=facts.version // 10_000)
