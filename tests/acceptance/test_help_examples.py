"""Every example in the help of a command is run where it has something to do: on a queue, a database, a folder."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from redis.asyncio import Redis

import local.__main__ as local_commands
import ops.__main__ as ops_commands
from jobs import Mail
from ledger import schema
from local.embedded.ports import free_port
from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema, load_rows
from local.sink.__main__ import parser as sink_parser
from ops.depth.read import read_depth
from ops.mail.uncertain import list_uncertain
from producers import Producer
from producers.keys import LaneKeys
from reports import load_reports
from reports.source_postgres import Source
from reports.store import ReportStore
from sessions import Sessions
from tests.command_line import run_ops
from tests.name_server import name_server
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.crons import write_crons
from worker.engine import GiveUp, LaneSlots, Park, Worker
from worker.engine.handler import handler
from worker.fleet_keys import schedules_key
from worker.mail.erase import erase_cron
from worker.reports.refresh import refresh_report
from worker.reports.refresh_context import RefreshContext

ROOT = Path(__file__).resolve().parents[2]
WORKER = "9f3c2a71d04e5b68"
PERSON = "ana@example.com"
FINDINGS = {
    "acknowledge-loss",
    "doctor --domain example.com",
    "ledger reconcile",
    "ledger retain --older-than 400d --dry-run",
    "reports forget old_report",
}
"""Examples that end with 1 here: nothing was lost, or is so old; no records of the domain; no such report."""
SIZE = OrganisationSize(nodes=30, depth=4, employees=60, memberships=5, tasks=90, checkins=900, blockers=120)


def examples(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The examples in the help of a parser and of those below it, as they are typed."""
    text = parser.epilog or ""
    if "example" in text.lower():
        yield text.partition(":")[2].partition("  (")[0].strip()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in dict.fromkeys(action.choices.values()):
                yield from examples(below)


OPS = [one.removeprefix("./run ops ") for one in examples(ops_commands._parser())]
LASTING = {
    "depth --watch --every 5": "LANE",
    "console": "the console listens",
    "metrics --listen 9313": "/metrics",
    "python -m local.sink --delay-min 2 --delay-max 3": "Catching mail",
}
"""Examples that last until Ctrl-C, with what they print."""
FIRST_WORDS = {
    "jobs": {
        *("why", "dead", "parked", "unpark", "revive", "discard", "edit", "cancel"),
        *("pause", "resume", "hold", "release", "acknowledge-loss", "audit", "jobs", "undo"),
    },
    "limit": {"limit"},
    "mail": {"mail"},
    "reports": {"reports"},
    "ledger": {"db", "ledger"},
    "workers": {"workers", "schedules"},
    "sessions": {"sessions"},
    "installation": {"acl", "settings", "doctor"},
}
"""Of the examples that end, those that have one test, by their first words."""


def of(group: str) -> list[str]:
    """The examples of a group; those that leave less behind come last."""
    found = [one for one in OPS if one not in LASTING and one.split()[0] in FIRST_WORDS[group]]
    return sorted(found, key=lambda one: one.startswith("revive"))


def test_there_is_a_test_for_each_example() -> None:
    grouped = [one for group in FIRST_WORDS for one in of(group)]
    assert sorted([*OPS, *examples(sink_parser())]) == sorted([*grouped, *LASTING])
    assert len(OPS) >= 46
    installation = (ROOT / "tests/acceptance/test_installation.py").read_text(encoding="utf-8")
    for example in examples(local_commands._parser()):  # run there, with less data
        assert ", ".join(f'"{word}"' for word in example.split()[1:]) in installation


async def run_examples(
    group: str,
    url: str,
    *,
    ids: Mapping[str, str] | None = None,
    told: Mapping[str, str] | None = None,
    **settings: str,
) -> dict[str, str]:
    """Run the examples of a group, and return what each prints; each must end well.

    Args:
        ids: job to put in the place of the shortened id, by the command's last word before it.
        told: what stands for a folder or an address of the examples here, by its text.
        settings: further settings.
    """
    printed: dict[str, str] = {}
    for example in of(group):
        typed = example.partition(" | ")[0].partition(" > ")[0]
        for text, here in (told or {}).items():
            typed = typed.replace(text, here)
        words = [word if "…" not in word else (ids or {})[typed.split(" '")[0]] for word in shlex.split(typed)]
        code, printed[example], err = await run_ops(*words, REDIS_URL=url, **settings)
        assert (code, err) == (1 if example in FINDINGS else 0, ""), f"{example}: {printed[example]} {err}"
    return printed


async def define(url: str, limit: str) -> None:
    """Define a limit; a worker does so with those of its accounts."""
    assert (await run_ops("limit", "set", limit, "--rate", "10/1m", REDIS_URL=url))[0] == 0


async def obey(context: dict[str, Any], **frozen: Any) -> None:
    """What the worker does with a mail: as its subject says."""
    del context
    if frozen["subject"] == "uncertain":
        raise Park("the reply was lost", why="uncertain", uncertain=True)
    raise GiveUp("no such person")


@pytest.fixture
async def left(valkey_url: str, redis: Redis, producer: Producer) -> dict[str, str]:
    """Ids of jobs that a worker has left behind, by what has become of them."""

    async def send(subject: str) -> str:
        return (await producer.send(Mail(to=PERSON, subject=subject, text="Hoy"))).id

    async def worked() -> bool:
        lane = (await read_depth(redis, tenant="default")).lane(LANE)
        return lane is not None and (lane.dead, lane.parked) == (3, 2)

    found = {name: await send(name) for name in ("discard", "edit", "revive", "uncertain")}
    removed = (await producer.send(Mail(to=PERSON, subject="removed", text="Hoy"))).id
    _, out, _ = await run_ops("discard", removed, "--json", REDIS_URL=valkey_url)
    found["undo"] = json.loads(out)["number"]
    found["unpark"] = (await producer.send(Note("of a kind that nobody has"))).id
    worker = Worker(
        [handler(obey, kind=Mail.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 5)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
    )
    async with running(worker):
        await eventually(worked)
    return found | {"why": await send("waits"), "cancel": await send("waits too")}


async def test_each_example_about_jobs_and_lanes_does_something(valkey_url: str, left: dict[str, str]) -> None:
    undo = {f"undo {WORKER}": f"undo {left['undo']}"}
    printed = await run_examples("jobs", valkey_url, ids=left, told=undo)
    assert left["discard"] in printed["dead mail.normal"]
    assert left["unpark"] in printed["parked mail.normal"]


async def test_each_example_about_limits_does_something(valkey_url: str) -> None:
    await define(valkey_url, "customer:42")
    printed = await run_examples("limit", valkey_url)
    assert "customer:42" in printed["limit list"]


async def test_each_example_about_workers_does_something(valkey_url: str, redis: Redis) -> None:
    keys, facts = LaneKeys("mail"), {"host": "h", "pid": 1, "lanes": {}, "state": "runs"}
    await redis.set(keys.worker(WORKER), json.dumps(facts))
    await redis.zadd(keys.workers, {WORKER: 1})
    await redis.set(schedules_key(keys, WORKER), write_crons([erase_cron()]))
    printed = await run_examples("workers", valkey_url)
    assert WORKER in printed["workers list"]
    assert "mail.erase" in printed["schedules list"]


async def test_each_example_about_mails_does_something(
    valkey_url: str,
    redis: Redis,
    producer: Producer,
    left: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "bounces"
    (folder / "new").mkdir(parents=True)
    ids = {"mail trace": left["edit"], "mail resolve": left["uncertain"]}
    assert (await list_uncertain(redis, limit=9))[1] == 1
    await define(valkey_url, "account:main")
    assert await producer.suppress("luis@example.com", "hard_bounce", by="test")
    await run_examples("mail", valkey_url, ids=ids, told={"/var/mail/bounces": str(folder)})
    assert "Cierre" in (tmp_path / "task.html").read_text(encoding="utf-8")


async def test_each_example_about_reports_does_something(
    valkey_url: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-reports").mkdir()
    (tmp_path / "dashboard.sql").write_text("SELECT count(*) FROM organisation.blockers WHERE node_id = :node")
    connection = await asyncpg.connect(database)
    await install_schema(connection)
    await load_rows(connection, generate_organisation(SIZE, seed=3, now=datetime.now(UTC)))
    async with Redis.from_url(valkey_url) as redis:
        source = Source(database, statement_timeout=timedelta(seconds=30))
        store = ReportStore(redis, tenant="default")
        refresher = RefreshContext("default", load_reports(), source, store, ZoneInfo("UTC"))
        await store.declare_reports(refresher.reports)
        for board in ("activity", "management"):
            await refresh_report({"refresher": refresher}, "default", board)
        await source.close()
    printed = await run_examples("reports", valkey_url, POSTGRES_DSN=database)
    await connection.execute(printed["reports install --dry-run | psql"])
    await connection.execute(printed["reports uninstall --dry-run"])
    await connection.close()


async def test_each_example_about_the_ledger_does_something(
    valkey_url: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    connection = await asyncpg.connect(database)
    await schema.install(connection)
    staged = await connection.fetchval("SELECT momentus_ledger.stage_mail($1, 'Cierre', 'Hoy')", "ana@example.com")
    role = await connection.fetchval("SELECT current_user")
    told = {"--backend app --worker momentus": f"--backend {role} --worker {role}"}
    printed = await run_examples(
        "ledger", valkey_url, ids={"ledger show": staged}, told=told, POSTGRES_DSN=database
    )
    assert staged in printed["ledger list --to ana@example.com --since 30d"]
    await connection.execute(printed["db uninstall --dry-run"])
    await connection.close()


async def test_each_example_about_sessions_does_something(valkey_url: str) -> None:
    sessions = Sessions.connect(valkey_url)
    await sessions.create("u-17", {"roots": [1]}, label="Firefox")
    await sessions.close()
    printed = await run_examples("sessions", valkey_url)
    assert "Firefox" in printed["sessions list u-17"]
    assert "wallboard" in printed["sessions tokens"]


async def test_each_example_about_an_installation_does_something(valkey_url: str, tmp_path: Path) -> None:
    async with name_server({}) as server:
        told = {"/etc/momentus/redis": str(tmp_path), "example.com": f"example.com --nameserver {server}"}
        printed = await run_examples("installation", valkey_url, told=told)
    assert "user momentus-producer on" in printed["acl --passwords /etc/momentus/redis > users.acl"]


@pytest.mark.parametrize("example", LASTING)
def test_each_example_that_lasts_begins_and_ends_with_ctrl_c(
    example: str, valkey_url: str, tmp_path: Path
) -> None:
    words = (
        example.removeprefix("python -m ").split() if example.startswith("python") else ["ops", *example.split()]
    )
    ports = ["--smtp-port", str(free_port()), "--http-port", str(free_port())] if "sink" in example else []
    ports += ["--listen", "0"] if "--listen" in example else []
    environment = {
        **os.environ,
        "MOMENTUS_REDIS_URL": valkey_url,
        "MOMENTUS_CONSOLE__PORT": "0",
        "MOMENTUS_DATA_DIR": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", *words, *ports],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as started:
        try:
            assert started.stdout is not None
            assert any(LASTING[example] in line for line in started.stdout)
        finally:
            started.send_signal(signal.SIGINT)
        assert "Traceback" not in started.stdout.read()
    assert started.returncode == 0
