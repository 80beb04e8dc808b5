"""A worker does what it has servers and slots for, and leaves the rest to others."""

import asyncio
import sys
from collections.abc import Mapping
from datetime import timedelta

import asyncpg
import pytest
from redis.asyncio import Redis

from jobs import Mail
from local.installation import worker_ready
from local.organisation.postgres import install_schema
from local.sink.smtp import MailSink
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from ops.depth.read import Depth, LaneDepth, read_depth
from producers import Producer
from reports.keys import snapshot
from tests.command_line import run_ops
from tests.support import eventually


def worker(name: str, url: str, settings: Mapping[str, str]) -> Process:
    return Process(
        name=name,
        argv=[sys.executable, "-m", "worker"],
        environment={"MOMENTUS_REDIS_URL": url, **{f"MOMENTUS_{key}": value for key, value in settings.items()}},
        ready=worker_ready(url),
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=20),
    )


async def test_a_worker_without_a_mail_server_computes_reports_and_leaves_mails_to_one_that_has(
    database: str, valkey_url: str, smtp_sink: MailSink
) -> None:
    connection = await asyncpg.connect(database)
    await install_schema(connection)
    await connection.close()
    async with (
        Redis.from_url(valkey_url) as redis,
        Producer.connect(valkey_url, budget=5) as producer,
        Supervisor([worker("reports", valkey_url, {"POSTGRES_DSN": database})]),
    ):
        await eventually(lambda: redis.hlen(snapshot("default", "blockers")), timeout=30)
        await producer.send(Mail(to="ana@example.com", subject="Hola", text="Hola"))
        depth = await read_depth(redis, tenant="default")
        assert (lane(depth, "mail.normal").workers, lane(depth, "mail.normal").ready) == (0, 1)
        assert lane(depth, "reports").workers == 1
        found = (await run_ops("doctor", "--no-login", REDIS_URL=valkey_url))[1]
        assert "1 jobs are ready and no live worker serves the lane" in found
        assert "MOMENTUS_MAIL__HOST" in found
        mail = {"MAIL__HOST": "127.0.0.1", "MAIL__PORT": str(smtp_sink.port), "MAIL__TLS": "off"}
        async with Supervisor([worker("mails", valkey_url, mail)]):
            await smtp_sink.mailbox.wait_for(1)


def lane(depth: Depth, name: str) -> LaneDepth:
    found = depth.lane(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {"MOMENTUS_POSTGRES_DSN": "postgresql://x/y", "MOMENTUS_WORKER__REPORTS_SLOTS": "0"},
        pytest.param({}, marks=pytest.mark.long),
    ],
    ids=["without slots", "nothing"],
)
async def test_a_worker_that_could_do_nothing_says_what_to_name(
    valkey_url: str, settings: Mapping[str, str]
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "worker",
        env={"MOMENTUS_REDIS_URL": valkey_url, **settings},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"MOMENTUS_MAIL__HOST, MOMENTUS_POSTGRES_DSN and MOMENTUS_WORKER__JOBS: none is set" in said
