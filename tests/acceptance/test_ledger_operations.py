"""`./run ops db` and `./run ops ledger` on a real database: schema, records, agreement with Redis, retention."""

import asyncio
import json
import os
import secrets
import stat
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from ledger.schema import LATEST
from ops.command import CommandRefused, Tools
from ops.database_postgres import open_database
from producers.suppression import digest_of
from tests.command_line import run_ops
from tests.ledgers import ledger_of
from tests.support import eventually

EPOCH = date(1970, 1, 1)
LIVE, ENDED = "momentus:{mail}:ledger", "momentus:{mail}:ended"


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with ledger_of(database) as connection:
        yield connection


def today() -> date:
    return datetime.now(UTC).date()


async def insert_job(ledger: asyncpg.Connection, job_id: str, **columns: Any) -> None:
    """Insert a job that a relay has handed over; `state` ends it, `pending` keeps it."""
    state, pending = columns.pop("state", ""), columns.pop("pending", False)
    row = {"day": today(), "id": job_id, "lane": "mail.normal", "kind": "mail.send", "payload": b"{}"} | columns
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await ledger.execute(
        f"INSERT INTO momentus_ledger.jobs ({', '.join(row)}) VALUES ({places})",  # noqa: S608  names of this file
        *row.values(),
    )
    if state:
        await ledger.execute(
            "INSERT INTO momentus_ledger.ends (day, id, state, attempt, account, reply) "
            "VALUES ($1, $2, $3, 1, 'main', $4)",
            row["day"],
            job_id,
            state,
            "250 2.0.0 OK",
        )
    if pending:
        await ledger.execute("INSERT INTO momentus_ledger.pending (id, day) VALUES ($1, $2)", job_id, row["day"])


async def ops(dsn: str, *words: str, **variables: str) -> tuple[int, Any]:
    """Exit code of a command, and its facts."""
    code, out, err = await run_ops(*words, "--json", POSTGRES_DSN=dsn, **variables)
    return code, json.loads(out) if out else err


# ---- db


async def test_an_installation_can_be_checked_and_removed(database: str) -> None:
    code, facts = await ops(database, "db", "check")
    assert (code, facts["number"]) == (1, None)
    assert (await ops(database, "db", "install"))[0] == 0
    code, facts = await ops(database, "db", "check")
    assert (code, facts["number"], facts["latest"]) == (0, LATEST, LATEST)
    assert (await ops(database, "db", "uninstall"))[0] == 0
    assert (await ops(database, "db", "uninstall"))[0] == 1


@pytest.mark.parametrize("command", ["install", "uninstall"])
async def test_a_dry_run_prints_what_would_run_and_changes_nothing(database: str, command: str) -> None:
    code, out, _ = await run_ops("db", command, "--dry-run", POSTGRES_DSN=database)
    assert code == 0
    assert out.startswith("BEGIN READ WRITE;\nSET LOCAL lock_timeout = '1s';\n"), "no lock is waited for longer"
    assert out.rstrip().endswith("COMMIT;")
    assert (await ops(database, "db", "check"))[1]["number"] is None


async def test_the_script_of_a_dry_run_installs_without_a_configured_database(database: str) -> None:
    _, script, _ = await run_ops("db", "install", "--dry-run")
    connection = await asyncpg.connect(database)
    await connection.execute(script)
    await connection.close()
    assert (await ops(database, "db", "check"))[0] == 0


async def test_an_upgrade_runs_what_is_missing_and_keeps_the_rights_of_roles(database: str) -> None:
    names = [f"test_{one}_{secrets.token_hex(4)}" for one in ("backend", "worker")]
    async with ledger_of(database) as connection:
        await connection.execute("".join(f"CREATE ROLE {name};" for name in names))
        try:
            assert (await ops(database, "db", "install", "--backend", names[0], "--worker", names[1]))[0] == 0
            # As the first migration alone leaves it.
            await connection.execute(
                "DROP FUNCTION momentus_ledger.stage_mail, momentus_ledger.stage, momentus_ledger.new_id, "
                "momentus_ledger.recipients_of, momentus_ledger.drop_day, momentus_ledger.forget, "
                "momentus_ledger.has_ended; "
                "ALTER TABLE momentus_ledger.effects DROP COLUMN counted, DROP COLUMN token; "
                "UPDATE momentus_ledger.version SET number = 1"
            )
            code, facts = await ops(database, "db", "check")
            assert code == 1
            assert "./run ops db upgrade" in facts["fault"]
            code, facts = await ops(database, "db", "upgrade")
            assert (code, facts["before"], facts["backends"], facts["workers"]) == (0, 1, names[:1], names[1:])
            await connection.execute(f"SET ROLE {names[0]}")
            await connection.execute("SELECT momentus_ledger.stage_mail('ana@example.com', 'Hola', 'Buenos días')")
        finally:
            await connection.execute("RESET ROLE; DROP SCHEMA momentus_ledger CASCADE")
            await connection.execute("".join(f"DROP ROLE {name};" for name in names))


async def test_a_schema_of_a_newer_deployment_is_refused_by_every_command(
    database: str, ledger: asyncpg.Connection, valkey_url: str, tmp_path: Path
) -> None:
    await ledger.execute("UPDATE momentus_ledger.version SET number = 99")
    refused = [
        *(["db", "install"], ["db", "upgrade"], ["db", "uninstall"], ["ledger", "list"], ["ledger", "show", "x"]),
        *(["ledger", "check"], ["ledger", "retain", "--older-than", "9d"]),
        ["ledger", "export", str(tmp_path / "x")],
    ]
    for words in refused:
        code, err = await ops(database, *words, REDIS_URL=valkey_url)
        assert code == 2, words
        assert "momentus_ledger.version: 99 is newer" in err
    code, facts = await ops(database, "db", "check")
    assert code == 1
    assert "99 is newer" in facts["fault"]


async def test_without_a_ledger_or_a_database_a_command_names_what_is_missing(database: str) -> None:
    code, err = await ops(database, "ledger", "list")
    assert code == 2
    assert "./run ops db install" in err
    code, err = await ops(database, "db", "upgrade")
    assert code == 2
    assert "./run ops db install" in err
    code, _, err = await run_ops("db", "check")
    assert code == 2
    assert "MOMENTUS_POSTGRES_DSN" in err


async def test_a_lock_that_somebody_holds_ends_a_command_with_nothing_changed(
    database: str, ledger: asyncpg.Connection
) -> None:
    async with ledger.transaction():
        await ledger.execute("SELECT FROM momentus_ledger.jobs")
        code, err = await ops(database, "db", "uninstall")
    assert code == 2
    assert "could not get a lock within 1 s" in err
    assert (await ops(database, "db", "check"))[0] == 0


async def test_a_role_without_the_right_is_refused_in_words_of_the_database(
    database: str, ledger: asyncpg.Connection
) -> None:
    role, password = f"test_{secrets.token_hex(4)}", secrets.token_hex(16)
    await ledger.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    parts = urlsplit(database)
    dsn = parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
    try:
        for words in (("db", "uninstall"), ("db", "install"), ("ledger", "list")):
            code, err = await ops(dsn, *words)
            assert code == 2
            assert "MOMENTUS_POSTGRES_DSN: permission denied" in err
            assert password not in err
    finally:
        await ledger.execute(f"DROP ROLE {role}")


async def test_an_unknown_role_is_named_and_nothing_is_installed(database: str) -> None:
    code, err = await ops(database, "db", "install", "--backend", "nobody; DROP TABLE x")
    assert code == 2
    assert "nobody; DROP TABLE x" in err
    assert (await ops(database, "db", "check"))[1]["number"] is None


async def test_a_ledger_with_live_jobs_is_removed_only_when_told_so(
    database: str, ledger: asyncpg.Connection
) -> None:
    await insert_job(ledger, "{mail}a")
    code, err = await ops(database, "db", "uninstall")
    assert code == 2
    assert "1 jobs have not ended" in err
    assert (await ops(database, "db", "uninstall", "--discard-live"))[0] == 0


async def test_a_job_that_is_staged_while_the_ledger_is_being_removed_is_seen(
    database: str, ledger: asyncpg.Connection
) -> None:
    async with ledger.transaction():
        await insert_job(ledger, "{mail}a", pending=True)
        removing = asyncio.create_task(ops(database, "db", "uninstall"))
        await eventually(lambda: ledger.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    code, err = await removing
    assert code == 2
    assert "1 jobs have not ended" in err


async def test_what_is_no_fault_of_the_database_is_not_told_as_one(
    database: str, ledger: asyncpg.Connection, redis: Redis
) -> None:
    tools = Tools(redis=redis, redis_url="", postgres_dsn=database)
    with pytest.raises(FileNotFoundError):
        async with open_database(tools):
            raise FileNotFoundError("a file")
    with pytest.raises(CommandRefused, match="MOMENTUS_POSTGRES_DSN"):
        await _lose_connection(tools, ledger)
    with pytest.raises(CommandRefused, match="MOMENTUS_POSTGRES_DSN: the connection was lost"):
        await _lose_connection(tools, ledger, ConnectionResetError("as a transport tells it"))


async def _lose_connection(tools: Tools, ledger: asyncpg.Connection, error: OSError | None = None) -> None:
    async with open_database(tools) as connection:
        await ledger.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await eventually(connection.is_closed)
        if error is not None:
            raise error
        await connection.fetchval("SELECT 1")


# ---- ledger list, show, export


async def ids(dsn: str, *options: str) -> list[str]:
    code, facts = await ops(dsn, "ledger", "list", *options)
    assert code == (0 if facts["jobs"] else 1)
    return [one["id"] for one in facts["jobs"]]


async def test_records_are_found_by_recipient_template_state_and_time(
    database: str, ledger: asyncpg.Connection
) -> None:
    long_ago = datetime(2026, 1, 15, 12, tzinfo=UTC)
    await insert_job(ledger, "{mail}old", day=long_ago.date(), staged_at=long_ago, state="dead")
    await insert_job(ledger, "{mail}ana", recipients=[digest_of("ana@example.com")], state="done")
    await insert_job(ledger, "{mail}task", template="task_assigned", pending=True)
    assert await ids(database, "--to", "Ana@EXAMPLE.com") == ["{mail}ana"]
    assert await ids(database, "--template", "task_assigned") == ["{mail}task"]
    assert await ids(database, "--state", "dead") == ["{mail}old"]
    assert await ids(database, "--state", "staged") == await ids(database, "--state", "live") == ["{mail}task"]
    assert await ids(database, "--state", "queued") == []
    assert await ids(database, "--until", "2026-01-15T12:00:01") == ["{mail}old"]
    assert await ids(database, "--until", "2026-01-15T12:00:00") == []
    assert set(await ids(database, "--since", "1d")) == {"{mail}ana", "{mail}task"}
    assert await ids(database) == ["{mail}task", "{mail}ana", "{mail}old"]
    assert await ids(database, "--limit", "1") == ["{mail}task"]


async def test_a_record_is_told_though_its_row_names_times_that_no_calendar_has(
    database: str, ledger: asyncpg.Connection
) -> None:
    job_id = await ledger.fetchval("SELECT momentus_ledger.stage_mail('ana@example.com', 'Cierre', 'Hoy')")
    for column in ("due_at", "expires_at", "staged_at"):
        await ledger.execute(f"UPDATE momentus_ledger.jobs SET {column} = '10000-01-01'")  # noqa: S608  ours
    for words in (("list",), ("show", job_id)):
        code, out, err = await run_ops("ledger", *words, POSTGRES_DSN=database, REDIS_URL="redis://127.0.0.1:1")
        assert (code, err) == (0, "")
        assert job_id in out


@pytest.mark.parametrize(
    "words",
    [("--to", "ana"), ("--since", "yesterday"), ("--state", "gone"), ("--limit", "0"), ("--since", "99999d9")],
)
async def test_a_wrong_filter_is_refused(database: str, words: tuple[str, str]) -> None:
    code, _, err = await run_ops("ledger", "list", *words, POSTGRES_DSN=database)
    assert code == 2
    assert words[0] in err


async def test_one_record_is_shown_with_its_last_words_and_effects(
    database: str, ledger: asyncpg.Connection
) -> None:
    await insert_job(ledger, "{mail}a", state="done", recipients=[digest_of("ana@example.com")])
    await ledger.execute(
        "INSERT INTO momentus_ledger.effects (day, id, attempt, note) VALUES ($1, '{mail}a', 1, 'dot')", today()
    )
    code, out, _ = await run_ops("ledger", "show", "{mail}a", POSTGRES_DSN=database)
    assert code == 0
    for word in ("done", "main", "250 2.0.0 OK", digest_of("ana@example.com"), "dot"):
        assert word in out
    code, facts = await ops(database, "ledger", "show", "{mail}b")
    assert (code, facts["job"]) == (1, None)


async def test_an_export_has_a_line_for_each_job_in_a_new_file_of_ones_own(
    database: str, ledger: asyncpg.Connection, tmp_path: Path
) -> None:
    for number in range(3):
        await insert_job(ledger, f"{{mail}}{number}", day=today() - timedelta(days=number), state="done")
    file = tmp_path / "jobs.jsonl"
    code, facts = await ops(database, "ledger", "export", str(file), "--state", "done")
    assert (code, facts["jobs"]) == (0, 3)
    assert {json.loads(line)["id"] for line in file.read_text().splitlines()} == {"{mail}0", "{mail}1", "{mail}2"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, err = await ops(database, "ledger", "export", str(file))
    assert code == 2
    assert "FILE" in err


LIMITED = (
    "import resource, runpy, sys;"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
    "sys.argv[0] = 'ops'; runpy.run_module('ops', run_name='__main__')"
)
"""The commands in a process that can write no file of more bytes."""


async def test_an_export_that_finds_no_room_leaves_no_part_of_a_file(
    database: str, ledger: asyncpg.Connection, tmp_path: Path
) -> None:
    await ledger.execute(
        "INSERT INTO momentus_ledger.jobs (day, id, lane, kind, payload) SELECT $1, '{mail}' || n, 'mail.bulk', "
        "'mail.send', '' FROM generate_series(1, 500) AS n",
        today(),
    )
    file = tmp_path / "jobs.jsonl"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-c", LIMITED, "ledger", "export", str(file)),
        env={**os.environ, "MOMENTUS_POSTGRES_DSN": database},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 2, err
    assert f"FILE: {file} cannot be written: File too large" in err.decode()
    assert not file.exists()


async def test_records_are_told_in_spanish(
    database: str, ledger: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_job(ledger, "{mail}a", state="dead")
    monkeypatch.setenv("LC_ALL", "es_MX.UTF-8")
    _, out, _ = await run_ops("ledger", "list", POSTGRES_DSN=database)
    assert "PLANTILLA" in out
    assert "muerto" in out


# ---- ledger check


async def check(dsn: str, url: str) -> tuple[int, dict[str, Any], set[tuple[str, str]]]:
    code, facts = await ops(dsn, "ledger", "check", REDIS_URL=url)
    return code, facts, {(one["id"], one["fault"]) for one in facts["disagreements"]}


async def test_stores_that_agree_are_counted(
    database: str, ledger: asyncpg.Connection, redis: Redis, valkey_url: str
) -> None:
    day = (today() - EPOCH).days
    await insert_job(ledger, "{mail}pending", pending=True)
    await insert_job(ledger, "{mail}pushed", pending=True)  # a relay has pushed it and not yet said so
    await insert_job(ledger, "{mail}live")
    await insert_job(ledger, "{mail}unrecorded")
    await insert_job(ledger, "{mail}done", state="done")
    await insert_job(ledger, "{mail}revived", state="dead")
    await redis.hset(LIVE, mapping={"{mail}live": day, "{mail}pushed": day, "{mail}revived": day})
    await redis.hset(ENDED, "{mail}unrecorded", json.dumps({"day": day, "state": "done"}))
    code, facts, faults = await check(database, valkey_url)
    assert (code, faults) == (0, set())
    counts = ("jobs", "ended", "pending", "live", "unrecorded")
    assert [facts[name] for name in counts] == [6, 2, 2, 3, 1]


async def test_each_job_about_which_the_stores_disagree_is_named(
    database: str, ledger: asyncpg.Connection, redis: Redis, valkey_url: str
) -> None:
    day = (today() - EPOCH).days
    await insert_job(ledger, "{mail}lost")
    await insert_job(ledger, "by hand")
    await insert_job(ledger, "{mail}over", state="done")
    await ledger.execute(
        "INSERT INTO momentus_ledger.ends (day, id, state) VALUES ($1, '{mail}none', 'done')", today()
    )
    await ledger.execute("INSERT INTO momentus_ledger.pending (id, day) VALUES ('{mail}void', $1)", today())
    await redis.hset(LIVE, mapping={"{mail}over": day, "{mail}stray": day, "{mail}elsewhere": day - 400})
    await redis.hset(LIVE, mapping={"{mail}no number": "x", "{mail}no day": 10**9})
    code, _, faults = await check(database, valkey_url)
    assert code == 1
    assert faults == {
        *(("{mail}lost", "lost"), ("by hand", "lost"), ("{mail}over", "ended"), ("{mail}none", "no job")),
        *(("{mail}void", "no job"), ("{mail}stray", "stray"), ("{mail}elsewhere", "stray")),
        *(("{mail}no number", "stray"), ("{mail}no day", "stray")),
    }
    _, out, _ = await run_ops("ledger", "check", POSTGRES_DSN=database, REDIS_URL=valkey_url)
    assert "{mail}lost" in out


async def test_a_comparison_reads_more_than_one_batch(
    database: str, ledger: asyncpg.Connection, redis: Redis, valkey_url: str
) -> None:
    day = (today() - EPOCH).days
    await ledger.execute(
        "INSERT INTO momentus_ledger.jobs (day, id, lane, kind, payload) SELECT $1, '{mail}' || n, 'mail.bulk', "
        "'mail.send', '' FROM generate_series(1, 2500) AS n",
        today(),
    )
    await redis.hset(LIVE, mapping={f"{{mail}}{number}": day for number in range(2, 2501)})
    code, facts, faults = await check(database, valkey_url)
    assert (code, faults) == (1, {("{mail}1", "lost")})
    assert (facts["jobs"], facts["live"]) == (2500, 2499)


async def test_a_comparison_since_a_day_counts_and_names_jobs_of_these_days_alone(
    database: str, ledger: asyncpg.Connection, redis: Redis, valkey_url: str
) -> None:
    day = (today() - EPOCH).days
    for name, age in (("new", 0), ("old", 9)):
        on = today() - timedelta(days=age)
        for what in ("lost", "live", "over"):
            await insert_job(ledger, f"{{mail}}{what} {name}", day=on)
        await insert_job(ledger, f"{{mail}}pending {name}", day=on, pending=True)
        await insert_job(ledger, f"{{mail}}done {name}", day=on, state="done")
        await redis.hset(LIVE, f"{{mail}}live {name}", str(day - age))
        await redis.hset(LIVE, f"{{mail}}stray {name}", str(day - age))
        await redis.hset(ENDED, f"{{mail}}over {name}", json.dumps({"day": day - age, "state": "done"}))
    await redis.hset(ENDED, "{mail}junk", "junk")
    counts = ("jobs", "ended", "pending", "live", "unrecorded")
    for since, times in (("2d", 1), ("30d", 2)):
        code, facts = await ops(database, "ledger", "check", "--since", since, REDIS_URL=valkey_url)
        assert (code, [facts[name] for name in counts]) == (1, [5 * times, times, times, 2 * times, times])
        named = {(one["id"], one["fault"]) for one in facts["disagreements"]}
        assert named == {
            (f"{{mail}}{fault} {name}", fault) for fault in ("lost", "stray") for name in ("new", "old")[:times]
        }
    _, facts = await ops(database, "ledger", "check", REDIS_URL=valkey_url)
    assert [facts[name] for name in counts] == [10, 2, 2, 4, 3]
    _, facts = await ops(database, "ledger", "reconcile", "--since", "2d", REDIS_URL=valkey_url)
    assert facts["returned"] == ["{mail}lost new"]
    _, facts = await ops(database, "ledger", "reconcile", REDIS_URL=valkey_url)
    assert facts["returned"] == ["{mail}lost old"]


async def test_depth_counts_the_jobs_of_the_ledger_in_redis(redis: Redis, valkey_url: str) -> None:
    await redis.hset(LIVE, mapping={"{mail}a": 1, "{mail}b": 1})
    await redis.hset(ENDED, "{mail}c", "{}")
    code, out, _ = await run_ops("depth", "--json", REDIS_URL=valkey_url)
    assert (code, json.loads(out)["ledger"]) == (0, [{"group": "mail", "live": 2, "unrecorded": 1}])
    _, out, _ = await run_ops("depth", REDIS_URL=valkey_url)
    assert "mail: 2 live jobs are in the ledger too, 1 have ended" in out


async def test_a_lost_job_is_handed_over_again_and_the_others_stay_as_they_are(
    database: str, ledger: asyncpg.Connection, redis: Redis, valkey_url: str
) -> None:
    await insert_job(ledger, "{mail}lost")
    await insert_job(ledger, "{mail}live")
    await insert_job(ledger, "{mail}done", state="done")
    await redis.hset(LIVE, mapping={"{mail}live": (today() - EPOCH).days})
    code, facts = await ops(database, "ledger", "reconcile", REDIS_URL=valkey_url)
    assert (code, facts["returned"]) == (0, ["{mail}lost"])
    assert await ids(database, "--state", "staged") == ["{mail}lost"]
    code, facts = await ops(database, "ledger", "reconcile", REDIS_URL=valkey_url)
    assert (code, facts["returned"]) == (1, [])


# ---- ledger retain


async def days(ledger: asyncpg.Connection) -> set[date]:
    return {row["day"] for row in await ledger.fetch("SELECT DISTINCT day FROM momentus_ledger.jobs")}


async def test_old_days_are_removed_as_a_whole_once_their_jobs_have_ended(
    database: str, ledger: asyncpg.Connection
) -> None:
    old, busy, distant = (today() - timedelta(days=number) for number in (10, 11, 900))
    await ledger.execute(
        "".join(
            f"CREATE TABLE momentus_ledger.{table}_{day:%Y_%m_%d} PARTITION OF momentus_ledger.{table} "
            f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}');"
            for table in ("jobs", "ends", "effects")
            for day in (old, busy)
        )
    )
    for day in (old, busy, distant, today()):
        await insert_job(ledger, f"{{mail}}{day}", day=day, state="done")
    await insert_job(ledger, "{mail}live", day=busy)
    retain = ("ledger", "retain", "--older-than", "9d")
    code, facts = await ops(database, *retain, "--dry-run")
    assert [one["outcome"] for one in facts["days"]] == ["removed", "live", "removed"]
    assert await days(ledger) == {old, busy, distant, today()}
    code, facts = await ops(database, *retain)
    assert code == 1, "a day stays"
    assert await days(ledger) == {busy, today()}
    assert await ledger.fetchval("SELECT to_regclass($1)", f"momentus_ledger.jobs_{old:%Y_%m_%d}") is None
    await ledger.execute(
        "INSERT INTO momentus_ledger.ends (day, id, state) VALUES ($1, '{mail}live', 'done')", busy
    )
    assert (await ops(database, *retain))[0] == 0
    assert await days(ledger) == {today()}
    assert await ledger.fetchval("SELECT count(*) FROM momentus_ledger.ends") == 1


async def test_a_day_stays_while_a_transaction_that_has_staged_is_open_and_goes_with_it(
    database: str, ledger: asyncpg.Connection
) -> None:
    day = today() - timedelta(days=10)
    await ledger.execute(
        f"CREATE TABLE momentus_ledger.jobs_{day:%Y_%m_%d} PARTITION OF momentus_ledger.jobs "
        f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
    )
    await insert_job(ledger, "{mail}old", day=day, state="done")
    retain = ("ledger", "retain", "--older-than", "9d")
    async with ledger.transaction():
        await insert_job(ledger, "{mail}new", pending=True)
        code, facts = await ops(database, *retain)
        assert (code, [one["outcome"] for one in facts["days"]]) == (1, ["locked"])
        await insert_job(ledger, "{mail}newer", pending=True)
    assert await days(ledger) == {day, today()}
    assert (await ops(database, *retain))[0] == 0
    assert await days(ledger) == {today()}


async def test_a_day_whose_lock_is_taken_stays_and_is_told(database: str, ledger: asyncpg.Connection) -> None:
    day = today() - timedelta(days=10)
    await insert_job(ledger, "{mail}a", day=day, state="done")
    async with ledger.transaction():
        await ledger.execute("LOCK TABLE momentus_ledger.jobs_default IN SHARE MODE")
        code, facts = await ops(database, "ledger", "retain", "--older-than", "9d")
    assert (code, [one["outcome"] for one in facts["days"]]) == (1, ["locked"])
    assert await days(ledger) == {day}


async def test_what_is_younger_than_two_days_cannot_be_removed(database: str, ledger: asyncpg.Connection) -> None:
    code, _, err = await run_ops("ledger", "retain", "--older-than", "1d", POSTGRES_DSN=database)
    assert code == 2
    assert "at least 2d" in err
    with pytest.raises(asyncpg.InvalidParameterValueError, match="too recent"):
        await ledger.fetchval("SELECT momentus_ledger.drop_day($1)", today() - timedelta(days=1))


# ---- mail forget


async def forget(dsn: str, url: str) -> tuple[int, dict[str, Any]]:
    return await ops(dsn, "mail", "forget", "Ana@example.com", REDIS_URL=url)


async def test_a_person_is_erased_from_the_record_and_the_others_are_not(
    database: str, ledger: asyncpg.Connection, valkey_url: str
) -> None:
    ana, luis = digest_of("ana@example.com"), digest_of("luis@example.com")
    await insert_job(ledger, "{mail}a", recipients=[ana, luis], state="done")
    await insert_job(ledger, "{mail}b", recipients=[luis], state="done")
    code, facts = await forget(database, valkey_url)
    assert (code, facts["recorded"], facts["live"]) == (0, 1, 0)
    rows = await ledger.fetch(
        "SELECT payload, recipients, reply FROM momentus_ledger.jobs JOIN momentus_ledger.ends USING (day, id) "
        "ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [(b"", [luis], ""), (b"{}", [luis], "250 2.0.0 OK")]
    assert (await forget(database, valkey_url))[1]["recorded"] == 0


async def test_a_mail_that_redis_has_not_taken_is_cancelled_and_one_under_way_is_told(
    database: str, ledger: asyncpg.Connection, valkey_url: str
) -> None:
    ana = [digest_of("ana@example.com")]
    await insert_job(ledger, "{mail}staged", recipients=ana, pending=True)
    await insert_job(ledger, "{mail}queued", recipients=ana)
    code, facts = await forget(database, valkey_url)
    assert (code, facts["recorded"], facts["live"]) == (1, 1, 1)
    assert await ids(database, "--state", "cancelled") == ["{mail}staged"]
    await ledger.execute(
        "INSERT INTO momentus_ledger.ends (day, id, state) VALUES ($1, '{mail}queued', 'done')", today()
    )
    code, facts = await forget(database, valkey_url)
    assert (code, facts["recorded"], facts["live"]) == (0, 1, 0)
    assert await ledger.fetchval("SELECT count(*) FROM momentus_ledger.pending") == 0


async def test_a_staged_mail_that_may_have_been_sent_before_stays_uncertain_when_it_is_erased(
    database: str, ledger: asyncpg.Connection, valkey_url: str
) -> None:
    for name in ("sent", "new"):
        await insert_job(ledger, f"{{mail}}{name}", recipients=[digest_of("ana@example.com")], pending=True)
    for attempt in (1, 2):
        await ledger.execute(
            "INSERT INTO momentus_ledger.effects (day, id, attempt, note) VALUES ($1, '{mail}sent', $2, 'main')",
            today(),
            attempt,
        )
    assert (await forget(database, valkey_url))[1]["recorded"] == 2
    ends = await ledger.fetch("SELECT id, state, attempt, uncertain FROM momentus_ledger.ends ORDER BY id")
    assert [tuple(end) for end in ends] == [
        ("{mail}new", "cancelled", 0, False),
        ("{mail}sent", "cancelled", 2, True),
    ]


async def test_a_person_is_forgotten_where_no_ledger_is_installed(database: str, valkey_url: str) -> None:
    assert (await forget(database, valkey_url))[0] == 0


async def test_a_mail_that_a_worker_hands_over_now_is_told_and_not_waited_for(
    database: str, ledger: asyncpg.Connection, valkey_url: str
) -> None:
    await insert_job(ledger, "{mail}a", recipients=[digest_of("ana@example.com")], pending=True)
    async with ledger.transaction():
        await ledger.execute("SELECT FROM momentus_ledger.pending FOR UPDATE")
        code, facts = await forget(database, valkey_url)
    assert (code, facts["recorded"], facts["live"]) == (1, 0, 1)
    assert await ids(database, "--state", "staged") == ["{mail}a"]
