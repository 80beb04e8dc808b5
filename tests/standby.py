"""A primary and its streaming standby, from the embedded binaries on free ports."""

import asyncio
import pwd
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg

from local.embedded.binaries import server_user
from local.embedded.postgres import Postgres
from local.supervisor.supervisor import Supervisor
from tests.ready_cluster import postgres_from_copy
from tests.support import eventually, scratch_directory


@asynccontextmanager
async def standby(binaries: Path | None = None) -> AsyncIterator[tuple[str, str]]:
    """The two servers' addresses; the first one's changes are replayed by the second.

    Args:
        binaries: of other servers than the embedded ones.
    """
    with scratch_directory() as scratch:
        primary = postgres_from_copy(scratch / "primary", binaries=binaries)
        second = Postgres.in_directory(scratch / "standby", durable=False)
        second = replace(second, password=primary.password, binaries=primary.binaries)
        async with Supervisor([primary.process("primary")], scratch=scratch):
            await asyncio.to_thread(_copy, primary, second)
            async with Supervisor([second.process("standby")]):
                yield primary.dsn, second.dsn


async def replay(primary: str, second: str) -> None:
    """Wait until the standby has replayed all that the primary has written."""
    first, other = await asyncpg.connect(primary), await asyncpg.connect(second)
    try:
        await first.execute("SELECT pg_logical_emit_message(true, 'tests', '')")  # a commit flushes all before it
        written = await first.fetchval("SELECT pg_current_wal_flush_lsn()::text")
        there = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
        await eventually(lambda: other.fetchval(there, written), timeout=30)
    finally:
        await first.close()
        await other.close()


def _copy(primary: Postgres, second: Postgres) -> None:
    user = server_user()
    command = [str(primary.binaries / "pg_basebackup"), "-d", primary.dsn, "-D", str(second.data / "cluster")]
    subprocess.run(
        [*command, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
        check=True,
        cwd="/",
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
        extra_groups=None if user is None else [],
        capture_output=True,
    )
