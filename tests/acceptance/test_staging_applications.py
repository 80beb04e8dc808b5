"""Applications of ten lines, with the built wheel: their data and mails are committed together, or neither."""

import subprocess
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from producers.keys import LaneKeys
from tests.environments import client_site
from tests.staging import application_python, install_ledger, staged_rows
from tests.support import eventually

PLACE = Path(__file__).parents[1] / "staging_applications"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_site(tmp_path_factory.mktemp("staging"))


@pytest.fixture
async def tasks(database: str) -> str:
    """A database with a table of the application beside the ledger."""
    await install_ledger(database)
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE tasks (id serial PRIMARY KEY, name text NOT NULL)")
    await connection.close()
    return database


async def number_of_tasks(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM tasks"))
    finally:
        await connection.close()


def run(site: Path, library: str, *arguments: str, name: str = "by") -> list[str]:
    """Run an application; its lines of output."""
    done = subprocess.run(
        [application_python(), "-W", "error", PLACE / f"{name}_{library}.py", *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


TIMES = {"psycopg": 1, "django": 3, "sqlalchemy": 1}
"""How often each assigns the task."""
LIBRARIES = ["psycopg", "django", pytest.param("sqlalchemy", marks=pytest.mark.long)]
"""In one process, sessions of SQLAlchemy and all other connections are in `test_staging`."""


@pytest.mark.timeout(600)  # the first run makes the environment
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_commit_leaves_the_task_and_its_mail(
    library: str, site: Path, tasks: str, valkey_url: str, redis: Redis
) -> None:
    run(site, library, tasks, valkey_url, "commit")
    rows = await staged_rows(tasks)
    assert (len(rows), await number_of_tasks(tasks)) == (TIMES[library], TIMES[library])
    assert {row["payload"]["k"]["to"] for row in rows} == {"ana@example.com"}
    assert await eventually(lambda: redis.llen(LaneKeys("mail.normal").staged)) == 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_rollback_leaves_neither(library: str, site: Path, tasks: str, valkey_url: str) -> None:
    told = run(site, library, tasks, valkey_url, "rollback")
    assert (await staged_rows(tasks), await number_of_tasks(tasks)) == ([], 0)
    if library == "django":
        is_told_what_it_must_do(*told)


def is_told_what_it_must_do(autocommit: str, unknown: str, other: str, handler: str, failed: str) -> None:
    """An application on Django, of each connection that is no good."""
    assert "Django connection is in autocommit" in autocommit
    assert "transaction.atomic()" in autocommit
    assert "'nowhere' is not in DATABASES, which has default, other" in unknown
    assert "Django's database 'other' is sqlite" in other
    assert "connections['default']" in handler
    assert "transaction of the Django connection has failed" in failed


ADDRESSES = ["ana@example.com", "ana@example.com", "eva@example.com", "leo@example.com"]
ADDRESSES += ["noa@example.com", "zoe@example.com"]
"""The last two by ``send_on_commit``."""


async def staged_addresses(dsn: str) -> list[str]:
    return sorted(row["payload"]["k"]["to"] for row in await staged_rows(dsn))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("ending", "tasks_left"), [("commit", 1), ("alone", 1), ("rollback", 0)])
async def test_djangos_mails_at_level_ledger_are_rows_of_its_transaction(
    site: Path, tasks: str, valkey_url: str, redis: Redis, ending: str, tasks_left: int
) -> None:
    at_once, unknown, on_commit = run(site, "django", tasks, valkey_url, "ledger", ending, name="mail_by")
    assert at_once == "1", "send_on_commit stages its mail before the commit"
    assert await staged_addresses(tasks) == ADDRESSES * tasks_left
    assert await number_of_tasks(tasks) == tasks_left
    assert await redis.zcard(LaneKeys("mail.normal").queue) == 0
    assert "must be redis, fallback or ledger, not 'sometimes'" in unknown
    assert on_commit.startswith("ON_COMMIT: leave it out")


@pytest.mark.timeout(600)
async def test_djangos_mails_at_level_fallback_are_rows_while_redis_is_away(
    site: Path, tasks: str, valkey_url: str, redis: Redis
) -> None:
    at_once, *_ = run(site, "django", tasks, "redis://127.0.0.1:1/0", "fallback", "commit", name="mail_by")
    assert at_once == "0", "send_on_commit sends its mail after the commit"
    assert await staged_addresses(tasks) == ADDRESSES
    run(site, "django", tasks, valkey_url, "fallback", "alone", name="mail_by")
    assert await redis.zcard(LaneKeys("mail.normal").queue) == len(ADDRESSES)
    assert await staged_addresses(tasks) == ADDRESSES
