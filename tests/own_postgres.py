"""Postgres servers of one test's own: of the embedded binaries, or of those that are installed on this machine."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from local.embedded.postgres import Postgres
from local.supervisor.process import Process
from local.supervisor.supervisor import Supervisor
from tests.ready_cluster import postgres_from_copy
from tests.support import eventually, scratch_directory


def machine_binaries() -> Path:
    """The folder of the programs of Debian's packages; the test is skipped where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no Postgres is installed on this machine")
    return found[-1].parent


@asynccontextmanager
async def own_postgres(*options: list[str], binaries: Path | None = None) -> AsyncIterator[list[str]]:
    """As many servers as there are lists of options (``name=value``); their addresses."""
    with scratch_directory() as scratch:
        servers = [
            Postgres.in_directory(scratch / str(number), durable=False) for number in range(1, len(options))
        ]
        servers = [replace(one, binaries=binaries or one.binaries) for one in servers]
        servers.insert(0, postgres_from_copy(scratch / "0", binaries=binaries))
        processes = [_with(one.process(one.data.name), given) for one, given in zip(servers, options, strict=True)]
        async with Supervisor(processes, scratch=scratch):
            yield [one.dsn for one in servers]


def _with(process: Process, options: list[str]) -> Process:
    return replace(process, argv=[*process.argv, *(part for option in options for part in ("-c", option))])


async def crash(dsn: str) -> None:
    """Kill a session's process; the server ends all other sessions, replays its log and goes on by itself."""
    victim = await asyncpg.connect(dsn)
    before = await victim.fetchval("SELECT pg_postmaster_start_time()")
    os.kill(victim.get_server_pid(), signal.SIGKILL)
    await eventually(victim.is_closed, timeout=30)
    assert await eventually(lambda: _started(dsn), timeout=30) == before, "the server was to go on, not to start"


async def _started(dsn: str) -> object:
    try:
        connection = await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError):
        return None
    try:
        return await connection.fetchval("SELECT pg_postmaster_start_time()")
    finally:
        await connection.close()
