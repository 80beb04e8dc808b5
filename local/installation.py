"""A whole installation on one machine: its processes, their order, and the addresses they use.

Configured servers are used; the others are embedded. `./run up` and `./run demo` are two ways to run it,
the acceptance tests a third.

    Valkey, Postgres  ->  the mail sink  ->  the worker  ->  the reader  ->  the console
"""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import orjson

from local.embedded.folders import open_directory
from local.embedded.ports import free_port, require_free
from local.embedded.postgres import Postgres
from local.embedded.valkey import Valkey
from local.supervisor.process import Process
from local.supervisor.ready import http_ok
from producers.keys import LaneKeys
from producers.link.client import connect

GENERAL_MANAGER = "#/management/1"
"""Place in the managers' page: the management report of the invented organisation's first node."""
_RUNNING = "running.json"
_GROUPS = (LaneKeys("mail.normal"), LaneKeys("reports"))
"""Keys of the groups to which a worker may send heartbeats; one for reports alone sends to the second only."""


async def _leave_as_it_is(_dsn: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationPlan:
    """The configuration of an installation, as plain values.

    Attributes:
        data_dir: data of the embedded servers.
        redis_url, postgres_dsn, mail_host: configured servers; None embeds one.
        durable: embedded data must survive a power failure.
        grace: longest time that the worker may take to stop.
        sink_delay: time that the embedded sink takes for each mail, shortest and longest, in seconds.
        environment: for this project's processes, besides the addresses that they need.
    """

    data_dir: Path
    redis_url: str | None = None
    postgres_dsn: str | None = None
    mail_host: str | None = None
    reader_host: str = "127.0.0.1"
    reader_port: int = 0
    console_host: str = "127.0.0.1"
    console_port: int = 0
    sink_smtp_port: int = 0
    sink_http_port: int = 0
    durable: bool = True
    grace: timedelta = timedelta(seconds=30)
    sink_delay: tuple[float, float] = (0.0, 0.0)
    environment: Mapping[str, str] = field(default_factory=dict)
    before_worker: Callable[[str], Awaitable[None]] = field(default=_leave_as_it_is)
    """Called with the Postgres DSN when Postgres runs; fills an embedded database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The processes to run, and their addresses."""

    plan: InstallationPlan
    processes: list[Process]
    redis_url: str
    postgres_dsn: str

    @property
    def links(self) -> Mapping[str, str]:
        """Pages for users, by name."""
        plan = self.plan
        sink = {} if plan.mail_host else {"mails": f"http://127.0.0.1:{plan.sink_http_port}/"}
        reader = f"http://{_address(plan.reader_host)}:{plan.reader_port}"
        return (
            {"page": f"{reader}/"}
            | sink
            | {
                "reader": f"{reader}/v1/reports/management/1",
                "console": f"http://{_address(plan.console_host)}:{plan.console_port}/",
            }
        )


def _address(host: str) -> str:
    """Return the host as an address for a browser on this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound: a server on every address is on this machine too
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def assemble_installation(plan: InstallationPlan) -> Installation:
    """Return the processes of a plan.

    Raises:
        EmbeddedError: no binary for a server, an unusable directory, or a port in use.
    """
    plan = _with_ports(plan)
    _require_ports(plan)
    processes = []
    redis_url, postgres_dsn = plan.redis_url, plan.postgres_dsn
    if redis_url is None:
        valkey = Valkey.in_directory(plan.data_dir / "valkey")
        processes.append(valkey.process())
        redis_url = valkey.url
    if postgres_dsn is None:
        postgres = Postgres.in_directory(plan.data_dir / "postgres", durable=plan.durable)
        processes.append(postgres.process())
        postgres_dsn = postgres.dsn
    if plan.mail_host is None:
        processes.append(_sink(plan))
    processes += [
        _worker(plan, redis_url, postgres_dsn),
        _reader(plan, redis_url),
        _console(plan, redis_url),
    ]
    return Installation(plan=plan, processes=processes, redis_url=redis_url, postgres_dsn=postgres_dsn)


def write_addresses(installation: Installation, folder: Path) -> Path:
    """Write the servers' addresses to the data directory, for the ops commands; readable by its owner alone.

    Raises:
        DataDirectoryError: the folder cannot be written.
    """
    path = open_directory(folder) / _RUNNING
    path.unlink(missing_ok=True)
    content = {
        "redis_url": installation.redis_url,
        "postgres_dsn": installation.postgres_dsn,
        "links": dict(installation.links),
    }
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(orjson.dumps(content))
    return path


def worker_ready(redis_url: str) -> Callable[[int], Awaitable[bool]]:
    """Return a check that the worker with a pid has sent its heartbeat."""

    async def ready(pid: int) -> bool:
        async with connect(redis_url) as redis:
            for keys in _GROUPS:
                known = await redis.zrange(keys.workers, 0, -1)
                beats = [await redis.get(keys.worker(worker.decode())) for worker in known]
                if any(orjson.loads(beat)["pid"] == pid for beat in beats if beat):
                    return True
        return False

    return ready


def _with_ports(plan: InstallationPlan) -> InstallationPlan:
    return replace(
        plan,
        reader_port=plan.reader_port or free_port(),
        console_port=plan.console_port or free_port(),
        sink_smtp_port=plan.sink_smtp_port or free_port(),
        sink_http_port=plan.sink_http_port or free_port(),
    )


def _require_ports(plan: InstallationPlan) -> None:
    require_free(plan.reader_port, server="the reader", setting="MOMENTUS_READER__PORT")
    require_free(plan.console_port, server="the console", setting="MOMENTUS_CONSOLE__PORT")
    if plan.mail_host is None:
        require_free(plan.sink_smtp_port, server="the mail sink", setting="MOMENTUS_SINK__SMTP_PORT")
        require_free(plan.sink_http_port, server="the mail sink's page", setting="MOMENTUS_SINK__HTTP_PORT")


def _sink(plan: InstallationPlan) -> Process:
    shortest, longest = plan.sink_delay
    ports = ["--smtp-port", str(plan.sink_smtp_port), "--http-port", str(plan.sink_http_port)]
    delay = ["--delay-min", str(shortest), "--delay-max", str(longest)]
    return Process(
        name="sink",
        argv=[sys.executable, "-m", "local.sink", *ports, *delay],
        ready=http_ok(plan.sink_http_port),
    )


def _worker(plan: InstallationPlan, redis_url: str, postgres_dsn: str) -> Process:
    environment = {"MOMENTUS_REDIS_URL": redis_url, "MOMENTUS_POSTGRES_DSN": postgres_dsn}
    if plan.mail_host is None:
        environment |= {
            "MOMENTUS_MAIL__HOST": "127.0.0.1",
            "MOMENTUS_MAIL__PORT": str(plan.sink_smtp_port),
            "MOMENTUS_MAIL__TLS": "off",
        }
    return Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment={**plan.environment, **environment},
        prepare=partial(plan.before_worker, postgres_dsn),
        ready=worker_ready(redis_url),
        drain=plan.grace + timedelta(seconds=10),
    )


def _reader(plan: InstallationPlan, redis_url: str) -> Process:
    environment = {"MOMENTUS_REDIS_URL": redis_url, "MOMENTUS_READER__PORT": str(plan.reader_port)}
    return Process(
        name="reader",
        argv=[sys.executable, "-m", "reader"],
        environment={**plan.environment, **environment},
        ready=http_ok(plan.reader_port, host=plan.reader_host),
    )


def _console(plan: InstallationPlan, redis_url: str) -> Process:
    environment = {"MOMENTUS_REDIS_URL": redis_url, "MOMENTUS_CONSOLE__PORT": str(plan.console_port)}
    return Process(
        name="console",
        argv=[sys.executable, "-m", "ops", "console"],
        environment={**plan.environment, **environment},
        ready=http_ok(plan.console_port, host=plan.console_host),
    )


def remove_addresses(path: Path) -> None:
    """Remove the file of addresses."""
    with suppress(OSError):
        path.unlink()
