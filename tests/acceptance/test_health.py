"""Probes and the service manager's notices of real processes, while what they need comes and goes."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from arq import func

from jobs import NamedJob
from local.embedded.ports import free_port
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from metrics.service_manager import send_notice
from producers import Producer
from tests.support import OwnValkey, eventually
from worker.engine import LaneSlots, Worker
from worker.health import health_of

BLOCKING = """
import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from momentus_client.jobs import Job, handles

@dataclass
class Blocking(Job, kind="loop.block"): ...

@dataclass
class Waiting(Job, kind="job.wait"): ...

@handles(Blocking)
async def block(job):
    Path({began!r}).touch()
    while not Path({ends!r}).exists():
        time.sleep(0.01)

@handles(Waiting)
async def wait(job):
    Path({began!r}).touch()
    while not Path({ends!r}).exists():
        await asyncio.sleep(0.01)
"""
UNREADY = "Redis does not answer"
Valkeys = Callable[..., Awaitable[OwnValkey]]


async def probe(port: int, path: str) -> tuple[int, str]:
    """Status and text of a probe."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    finally:
        writer.close()
    return int(head.split()[1]), body


def answers(port: int, path: str, status: int, text: str) -> Callable[[], Awaitable[bool]]:
    async def answered() -> bool:
        with suppress(OSError, IndexError):
            found, body = await probe(port, path)
            return found == status and text in body
        return False

    return answered


@asynccontextmanager
async def started(
    words: str, settings: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[Supervisor]:
    process = Process(
        name="it",
        argv=[sys.executable, "-m", *words.split()],
        environment={f"MOMENTUS_{name}": value for name, value in settings.items()} | dict(environment or {}),
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=30),
    )
    async with Supervisor([process]) as supervisor:
        yield supervisor


def own_jobs(folder: Path) -> dict[str, str]:
    """Settings of a worker for jobs that go on until the file `ends` is there."""
    module = BLOCKING.format(began=str(folder / "began"), ends=str(folder / "ends"))
    (folder / "blocking.py").write_text(module, encoding="utf-8")
    return {"WORKER__JOBS": "blocking", "WORKER__JOBS_FOLDER": str(folder)}


def mailing(url: str, **more: str) -> dict[str, str]:
    """Settings of a worker for mails, of which there are none."""
    return {"REDIS_URL": url, "MAIL__HOST": "127.0.0.1", "MAIL__PORT": "1", "MAIL__TLS": "off", **more}


async def _send_nothing(*_: Any, **__: Any) -> None: ...


class Manager:
    """A service manager's end of the notices: a datagram socket in a folder."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.settimeout(0)
        self._heard: list[str] = []

    def environment(self, *, watchdog_ms: int = 0) -> dict[str, str]:
        """What it gives to a process."""
        asked = {"WATCHDOG_USEC": str(watchdog_ms * 1000)} if watchdog_ms else {}
        return {"NOTIFY_SOCKET": self.address, **asked}

    def heard(self) -> list[str]:
        """The lines of all notices so far."""
        with suppress(BlockingIOError):
            while True:
                self._heard += self._socket.recv(4096).decode().split("\n")
        return self._heard

    def forget(self) -> None:
        """Drop what was heard so far."""
        self.heard()
        self._heard = []

    async def hears(self, words: str) -> None:
        """Wait for a line with these words."""
        await eventually(lambda: any(words in line for line in self.heard()), timeout=30)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", pytest.param("abstract", marks=pytest.mark.long)])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}/notify")
    yield manager
    manager.close()


# ---- probes


@pytest.mark.parametrize(
    ("words", "place", "status", "manager"),
    [
        ("worker", "METRICS__WORKER", UNREADY, "abstract"),
        ("reader", "METRICS__READER", UNREADY, "path"),
        ("ops console", "CONSOLE__PORT", "STATUS=ready", "path"),
        pytest.param("worker", "METRICS__WORKER", UNREADY, "path", marks=pytest.mark.long),
        pytest.param("reader", "METRICS__READER", UNREADY, "abstract", marks=pytest.mark.long),
        pytest.param("ops console", "CONSOLE__PORT", "STATUS=ready", "abstract", marks=pytest.mark.long),
    ],
    indirect=["manager"],
)
async def test_probes_and_service_manager_hear_of_a_start_a_frozen_redis_on_which_it_lives_on_and_a_stop(
    own_valkey: Valkeys, manager: Manager, words: str, place: str, status: str
) -> None:
    valkey, port = await own_valkey(), free_port()
    settings = mailing(valkey.url, READER__PORT="0", **{place: str(port)})
    async with started(words, settings, manager.environment(watchdog_ms=100)) as supervisor:
        await eventually(answers(port, "/readyz", 200, "ready"), timeout=30)
        await manager.hears("WATCHDOG=1")
        assert manager.heard()[0] == "READY=1"
        await manager.hears("STATUS=ready")
        valkey.pause()
        await eventually(answers(port, "/readyz", 503, UNREADY), timeout=30)
        assert await probe(port, "/livez") == (200, "live\n")
        await manager.hears(status)
        manager.forget()
        await manager.hears("WATCHDOG=1")
        valkey.resume()
        await eventually(answers(port, "/readyz", 200, "ready"), timeout=30)
        await manager.hears("STATUS=ready" if status == UNREADY else "WATCHDOG=1")
        supervisor.send_signal("it", signal.SIGTERM)
        await manager.hears("STOPPING=1")
        assert await supervisor.wait_exit("it") == 0


async def test_the_page_of_metrics_is_unready_with_the_reason_while_redis_is_frozen_and_lives_on(
    own_valkey: Valkeys,
) -> None:
    valkey, port = await own_valkey(), free_port()
    async with started(f"ops metrics --listen {port}", {"REDIS_URL": valkey.url}):
        await eventually(answers(port, "/readyz", 200, "ready"), timeout=30)
        valkey.pause()
        await eventually(answers(port, "/readyz", 503, UNREADY), timeout=30)
        assert await probe(port, "/livez") == (200, "live\n")
        valkey.resume()
        await eventually(answers(port, "/readyz", 200, "ready"), timeout=30)


async def test_a_worker_for_reports_without_its_database_is_unready_and_says_so_but_at_no_other_path(
    valkey_url: str,
) -> None:
    port, nowhere = free_port(), free_port()
    dsn = f"postgresql://momentus@127.0.0.1:{nowhere}/momentus"
    async with started("worker", {"REDIS_URL": valkey_url, "POSTGRES_DSN": dsn, "METRICS__WORKER": str(port)}):
        await eventually(answers(port, "/readyz", 503, "reports: "), timeout=30)
        assert await probe(port, "/livez") == (200, "live\n")
        assert await probe(port, "/livez/x") == (404, "Only /metrics, /livez, /readyz are here.\n")


async def test_no_probe_nor_manager_hears_of_a_worker_with_a_blocked_loop_and_one_that_stops_is_unready_to_its_end(
    valkey_url: str, producer: Producer, tmp_path: Path, manager: Manager
) -> None:
    port = free_port()
    settings = {"REDIS_URL": valkey_url, "METRICS__WORKER": str(port), **own_jobs(tmp_path)}
    async with started("worker", settings, manager.environment(watchdog_ms=100)) as supervisor:
        await manager.hears("WATCHDOG=1")
        await producer.send(NamedJob("loop.block"))
        await eventually((tmp_path / "began").exists, timeout=30)
        manager.forget()
        asked = asyncio.create_task(probe(port, "/livez"))
        assert not (await asyncio.wait([asked], timeout=1))[0]
        assert manager.heard() == []
        (tmp_path / "ends").touch()
        assert await asked == (200, "live\n")
        await manager.hears("WATCHDOG=1")
        for file in ("began", "ends"):
            (tmp_path / file).unlink()
        await producer.send(NamedJob("job.wait"))
        await eventually((tmp_path / "began").exists, timeout=30)
        supervisor.send_signal("it", signal.SIGTERM)
        await eventually(answers(port, "/readyz", 503, "is stopping"), timeout=30)
        assert await probe(port, "/livez") == (200, "live\n")
        (tmp_path / "ends").touch()
        assert await supervisor.wait_exit("it") == 0


async def test_a_worker_whose_leases_are_no_longer_being_renewed_is_to_be_started_again(valkey_url: str) -> None:
    worker = Worker(
        [func(_send_nothing, name="mail")],
        redis_url=valkey_url,
        lanes=[LaneSlots("mail.normal", 1)],
        handle_signals=False,
    )
    assert await health_of(worker).find_deadly() == []
    for shard in worker.shards:
        shard.renewal.tried_at = time.monotonic() - 31
    assert await health_of(worker).find_deadly() == [
        "mail: the leases are not being renewed: the last try was 31 s ago"
    ]
    await worker.close()


# ---- the service manager


async def test_a_worker_that_finds_no_redis_at_its_start_runs_for_its_service_manager(manager: Manager) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    async with started("worker", mailing(nowhere), manager.environment()):
        await manager.hears("READY=1")
        assert not any("WATCHDOG" in line for line in manager.heard()), "nothing asked for signs of life"


@pytest.mark.parametrize("manager", ["path", "abstract"], indirect=True)
def test_a_service_manager_that_is_gone_or_deaf_stops_no_work(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    for _ in range(1000):
        send_notice("WATCHDOG=1")
    manager.close()
    send_notice("STOPPING=1")
    assert manager
