"""A worker that does anything beside reports computes them in a process of its own."""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from os import kill
from pathlib import Path

import pytest

from jobs import Mail
from local.sink.smtp import MailSink
from local.supervisor.process import ProcessFailed
from local.supervisor.supervisor import Supervisor
from ops.depth.read import read_depth
from producers import Producer
from tests.boards import Shop, shop
from tests.report_worker import sales_worker, shows
from tests.support import eventually, is_running


def with_mails(sink: MailSink) -> Mapping[str, str]:
    return {
        "MOMENTUS_MAIL__HOST": "127.0.0.1",
        "MOMENTUS_MAIL__PORT": str(sink.port),
        "MOMENTUS_MAIL__TLS": "off",
        "MOMENTUS_WORKER__LEASE": "1s",
        "MOMENTUS_WORKER__LEASE_RENEW": "300ms",
    }


@asynccontextmanager
async def working(
    database: str, url: str, sink: MailSink, folder: Path
) -> AsyncIterator[tuple[Supervisor, Shop, int]]:
    """A worker for mails and reports, its shop, and the pid of its process for reports, once a set is stored."""
    async with shop(database, url) as it:
        await it.order(5)
        worker = sales_worker(url, database, folder)
        worker = replace(worker, environment={**worker.environment, **with_mails(sink)})
        async with Supervisor([worker]) as running:
            await eventually(lambda: shows(it, 5))
            yield running, it, await reporter(it)


async def reporter(it: Shop, *but: int) -> int:
    """The pid of the only live worker with the lane of reports, and no other lane, which is none of these."""

    async def found() -> int:
        workers = (await read_depth(it.redis, tenant="default")).workers
        pids = [one.pid for one in workers if "reports" in one.lanes and one.pid not in but]
        assert all(set(one.lanes) == {"reports"} for one in workers if "reports" in one.lanes)
        return pids[0] if pids else 0

    return int(await eventually(found))


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
async def test_reports_have_a_process_apart_from_mails_which_is_started_again_and_ends_before_its_worker(
    database: str, valkey_url: str, smtp_sink: MailSink, tmp_path: Path, number: signal.Signals
) -> None:
    async with (
        working(database, valkey_url, smtp_sink, tmp_path) as (running, it, pid),
        Producer.connect(valkey_url, budget=5) as producer,
    ):
        assert pid != running.pid("worker")
        await producer.send(Mail(to="ana@example.com", subject="Hola", text="Hola"))
        await smtp_sink.mailbox.wait_for(1)
        await it.order(7)
        await eventually(lambda: shows(it, 12))
        kill(pid, signal.SIGKILL)
        another = await reporter(it, pid)
        await it.order(7)
        await eventually(lambda: shows(it, 19), timeout=40)
        assert is_running(running.pid("worker"))
        running.send_signal("worker", number)
        assert await running.wait_exit("worker") == 0
        assert not is_running(another)


async def test_the_process_for_reports_does_not_outlive_a_killed_worker(
    database: str, valkey_url: str, smtp_sink: MailSink, tmp_path: Path
) -> None:
    async with working(database, valkey_url, smtp_sink, tmp_path) as (running, _, pid):
        running.send_signal("worker", signal.SIGKILL)
        await running.wait_exit("worker")
        await eventually(lambda: not is_running(pid))


async def test_a_worker_with_a_wrong_report_file_does_not_start(
    database: str, valkey_url: str, smtp_sink: MailSink, tmp_path: Path
) -> None:
    worker = sales_worker(valkey_url, database, tmp_path)
    (tmp_path / "sales.sql").write_text("SELECT 1", encoding="utf-8")
    worker = replace(worker, environment={**worker.environment, **with_mails(smtp_sink)})
    with pytest.raises(ProcessFailed, match=r"code 2 before it was ready[\s\S]*sales\.sql"):
        async with Supervisor([worker]):
            pass
