"""Whatever runs beside the work goes on after a fault that nobody foresaw, is counted, and is shown."""

import ast
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from structlog.testing import capture_logs

import background
from jobs import Mail
from ledger import schema
from local.sink.smtp import MailSink
from ops.command import Tools
from ops.depth.read import read_depth
from ops.depth.table import depth_table
from ops.doctor.checks_queue import judge_depth
from ops.metrics.counted import SlowCounts
from producers import Producer
from producers.link import Link
from reader import __main__ as reader_process
from reader.hints import Hints
from reader.http.socket import bind_socket
from settings import MailSettings as MailSettings, ReaderSettings, Settings, WorkerSettings
from tests.notes import LANE, Note, running
from tests.reader_process import read_reply, request
from tests.sources import nodes, parsed
from tests.support import OwnValkey, eventually
from worker import __main__ as worker_process
from worker.engine import Cron, LaneSlots, Schedule, Worker
from worker.engine.cron import CronClock
from worker.engine.exit_deadline import ExitDeadline
from worker.engine.handler import handler
from worker.own_jobs.load import OwnJobs

ROOT = Path(background.__file__).parent
ACCOUNTS = """
[accounts.main]
host = "127.0.0.1"
port = {port}
tls = "off"
sender_domains = ["example.com"]
connections = 1
"""


@cache
def call_sites(*names: str) -> set[tuple[str, str]]:
    """File and function of every call of `background.<name>` in the product."""
    found = set()
    for room in ("worker", "reader", "metrics", "ops", "producers", "sessions"):
        for file in (ROOT / room).rglob("*.py"):
            source = file.read_text(encoding="utf-8")
            for function in nodes(parsed(file)) if any(name in source for name in names) else ():
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    found |= {(str(file.relative_to(ROOT)), function.name) for _ in _calls(function, names)}
    return found


def _calls(function: ast.AST, names: tuple[str, ...]) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        function_called = node.func if isinstance(node, ast.Call) else None
        if isinstance(function_called, ast.Attribute) and function_called.attr in names:
            yield from [node] if ast.unparse(function_called.value) == "background" else []


@pytest.fixture(autouse=True)
def _no_faults_and_short_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.01)
    background.FAULTS.clear()
    yield
    background.FAULTS.clear()


class FailingOnce:
    """Every background task fails before its first step, and is then run as it is.

    Attributes:
        sites: file and function that began one which runs after its fault.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sites: set[tuple[str, str]] = set()
        self._keep = background.keep_running
        monkeypatch.setattr(background, "keep_running", self.keep)

    def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> Awaitable[None]:
        frame, failed = sys._getframe(1), False
        while frame.f_code.co_filename == background.__file__ or frame.f_code.co_name.startswith("<"):
            frame = frame.f_back or frame
        site = str(Path(frame.f_code.co_filename).relative_to(ROOT)), frame.f_code.co_name

        async def once() -> None:
            nonlocal failed
            if not failed:
                failed = True
                raise ZeroDivisionError("injected")
            self.sites.add(site)
            await run()

        return self._keep(name, once)


async def test_every_background_task_of_worker_and_reader_goes_on_after_a_fault(
    valkey_url: str, database: str, smtp_sink: MailSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(ACCOUNTS.format(port=smtp_sink.port))
    monkeypatch.setattr(
        ExitDeadline, "watch_signal", lambda *_: None
    )  # this process goes on when the worker has ended
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")  # as a service manager asks for signs of life
    failing = FailingOnce(monkeypatch)
    await install_ledger(database)
    settings = Settings(
        redis_url=SecretStr(valkey_url),
        postgres_dsn=SecretStr(database),
        mail=MailSettings(accounts=accounts, sender="Momentus <no-reply@example.com>"),
        reader=ReaderSettings(access="open", copy_mib=1),
        worker=WorkerSettings(promises="mail.bulk:1h:99"),
    )
    worker = asyncio.create_task(worker_process._work(settings, OwnJobs()))
    async with Producer.connect(valkey_url, budget=5) as producer:
        await producer.send(Mail(to="ana@example.com", subject="Hola", text="Hola"))
    wanted = {
        (file, function)
        for file, function in call_sites("start_task", "keep_running")
        if file.startswith("worker/")
    }
    prober = ("worker/reports/duties.py", "_refresher")  # with mails beside, it is in a process of its own
    await eventually(lambda: failing.sites >= wanted - {prober})
    await stopped(worker)
    assert set(background.FAULTS.values()) == {1}
    background.FAULTS.clear()
    monkeypatch.delenv("WATCHDOG_USEC")  # seen above; the processes below would each count another fault of it
    before, failing.sites = failing.sites, set()
    parts = {
        site for site in before if site[0] == "worker/engine/worker.py"
    }  # they begin once signals are handled
    reports = asyncio.create_task(
        worker_process._work(settings.model_copy(update={"mail": MailSettings()}), OwnJobs())
    )
    await eventually(lambda: failing.sites >= {prober, *parts})
    await stopped(reports)
    failing.sites |= before
    await read_once(settings, valkey_url, lambda: ("reader/connection.py", "_adopt") in failing.sites)
    async with Redis.from_url(valkey_url) as redis:
        counts = SlowCounts(Tools(redis=redis, redis_url=valkey_url))
        async with counts.keep_counting():
            await eventually(lambda: ("ops/metrics/counted.py", "keep_counting") in failing.sites)
    assert failing.sites == call_sites("start_task", "keep_running")
    assert set(background.FAULTS.values()) == {1}


async def install_ledger(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await schema.install(connection)
    await connection.close()


async def stopped(process: "asyncio.Task[None]") -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await process


async def read_once(settings: Settings, url: str, beats: Callable[[], bool]) -> None:
    """A reader that is asked once, until its connection gives signs of life."""
    hints, listening = Hints(), bind_socket("127.0.0.1", 0, shared=False)
    reader, changes = reader_process._reader(settings, url, hints), reader_process._listening_to(settings, hints)
    serving = asyncio.create_task(reader_process._serve(reader, listening, shared=False, changes=changes))

    async def asked() -> bool:
        with suppress(OSError):
            answer, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(request("/v1/reports/management/1"))
            await read_reply(answer)
            writer.close()
        return beats()

    await eventually(asked)
    await stopped(serving)


async def test_a_fault_of_the_lease_thread_is_survived_and_shown_by_depth_and_doctor(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take(_: dict[str, object], text: str) -> None:
        del text

    broken = iter([KeyError("pairs")])
    held = Worker._held

    def fail_once(self: Worker, lanes: object) -> object:
        for fault in broken:
            raise fault
        return held(self, lanes)  # type: ignore[arg-type]

    monkeypatch.setattr(Worker, "_held", fail_once)
    worker = Worker(
        [handler(take, kind=Note.kind)], redis_url=valkey_url, lanes=[LaneSlots(LANE, 1)], handle_signals=False
    )
    async with Redis.from_url(valkey_url) as redis, running(worker):

        async def told() -> bool:
            depth = await read_depth(redis, tenant="default")
            return bool(depth.workers and depth.workers[0].faults == {"lease renewal": 1})

        await eventually(told)
        depth = await read_depth(redis, tenant="default")
    assert "background tasks failed and were restarted: lease renewal 1 times" in depth_table(depth)
    assert "worker.faults" in {finding.code for finding in judge_depth(depth)}


async def test_a_task_that_keeps_failing_is_begun_again_with_pauses_that_grow() -> None:
    began: list[float] = []

    async def fail() -> None:
        began.append(asyncio.get_running_loop().time())
        raise RuntimeError("Ana <ana@example.com>")

    with capture_logs() as lines:
        task = background.start_task("failing", fail)
        await eventually(lambda: len(began) >= 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert background.FAULTS["failing"] == len(lines) >= 4
    assert lines[0]["error"] == "RuntimeError"
    assert "test_background.py" in lines[0]["where"]
    assert "ana@example.com" not in str(lines)
    assert began[4] - began[3] > began[1] - began[0]


async def test_a_cancellation_that_a_library_let_escape_does_not_end_a_task_for_good() -> None:
    runs: list[int] = []

    async def escaped() -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            raise asyncio.CancelledError

    await background.start_task("library", escaped)
    assert (runs, background.FAULTS["library"]) == ([0, 1], 1)


async def test_one_cron_that_fails_leaves_the_others_their_clock(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_second = Schedule(second=range(60))
    good, bad = (
        Cron(name=name, schedule=every_second, kind=Note.kind, lane=LANE, payload={"text": name}, overlap=True)
        for name in ("good", "bad")
    )
    request_tick = CronClock.request_tick

    async def refuse_one(self: CronClock, cron: Cron, tick: object) -> int:
        if cron is bad:
            raise KeyError(cron.name)
        return await request_tick(self, cron, tick)  # type: ignore[arg-type]

    monkeypatch.setattr(CronClock, "request_tick", refuse_one)
    link = Link(valkey_url)
    clock = asyncio.create_task(CronClock(link, [bad, good]).run())
    async with Redis.from_url(valkey_url) as redis:
        await eventually(lambda: redis.exists("arq:queue:{mail}:mail.normal"))
        await eventually(lambda: background.FAULTS["cron bad"] > 1)
    clock.cancel()
    await asyncio.gather(clock, return_exceptions=True)
    await link.close()
    assert background.FAULTS["cron good"] == 0


async def test_a_clock_whose_redis_comes_later_ticks_when_it_is_there(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    await valkey.stop()
    cron = Cron(
        name="tidy", schedule=Schedule(second=range(60)), kind=Note.kind, lane=LANE, payload={"text": "tidy"}
    )
    link = Link(valkey.url)
    with capture_logs() as lines:
        clock = asyncio.create_task(CronClock(link, [cron]).run())
        await eventually(lambda: [one for one in lines if one["event_name"] == "clock.failed"])
        await valkey.start()
        async with Redis.from_url(valkey.url) as redis:
            await eventually(lambda: redis.exists("arq:queue:{mail}:mail.normal"))
    clock.cancel()
    await asyncio.gather(clock, return_exceptions=True)
    await link.close()
    assert not background.FAULTS


async def test_a_task_that_lost_a_cancellation_is_cancelled_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `asyncio.wait_for` of Python 3.11 loses one that comes together with the result."""
    monkeypatch.setattr(background, "CANCEL_AGAIN", 0.01)
    lost = 0

    async def lose_two() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost > 2:
                    raise

    async def fail() -> None:
        raise RuntimeError

    losing, failing = background.start_task("losing", lose_two), asyncio.create_task(fail())
    await asyncio.sleep(0)
    await background.stop_tasks(losing, failing)
    assert (lost, losing.cancelled(), failing.done()) == (3, True, True)
    assert not background.FAULTS
