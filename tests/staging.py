"""Libraries of Postgres as applications use them, and the rows that their transactions leave in the ledger.

psycopg, SQLAlchemy and Django are in an environment of their own: the client needs none of them. Tests of this
process have them at the end of their module path, applications run in the environment itself.
"""

from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from ledger.schema import install
from tests.django_environment import CLIENT_NEEDS, pins
from tests.environments import EnvironmentUnavailable, environment, import_from

LIBRARIES = ("psycopg[binary]==3.3.9", "sqlalchemy[asyncio]==2.0.44", "django==5.2.19")


def application_python() -> Path:
    """Return the interpreter of the environment; skips the test where it cannot be made."""
    try:
        return environment("staging", *LIBRARIES, *pins(*CLIENT_NEEDS))
    except EnvironmentUnavailable as reason:
        pytest.skip(str(reason))


def have_libraries() -> None:
    """Let this process import the libraries; skips the test where there are none."""
    import_from(application_python())


async def install_ledger(dsn: str, *backends: str) -> None:
    """Install the ledger; these roles may stage jobs."""
    connection = await asyncpg.connect(dsn)
    try:
        await install(connection, backends=backends)
    finally:
        await connection.close()


async def staged_rows(dsn: str) -> list[dict[str, Any]]:
    """Return the committed rows of jobs, all of them pending, by id, with the envelope decoded."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT jobs.* FROM momentus_ledger.jobs JOIN momentus_ledger.pending USING (id, day) ORDER BY id"
        )
        assert len(rows) == await connection.fetchval("SELECT count(*) FROM momentus_ledger.jobs")
    finally:
        await connection.close()
    return [{**row, "payload": orjson.loads(row["payload"])} for row in rows]
