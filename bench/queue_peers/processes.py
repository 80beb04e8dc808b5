"""A peer's scripts as processes, under the supervisor: none outlives its measurement, whatever happens.

Each worker of a measurement has a file of its own for its jobs' starts, in a folder made for that measurement.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from tempfile import mkdtemp

from bench.queue_peers.contract import WIDTH
from bench.queue_peers.figures import read_nanoseconds
from bench.queue_peers.install import Installed
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor

_LOOK = 0.02
_DRAIN = timedelta(seconds=2)
_LAST_LINES = 20


class PeerFailed(Exception):
    """A peer's script ended, or did not do its work in time; the message is its last line."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how a peer's scripts run.

    Attributes:
        folder: holds the files of the measurement.
        job_seconds: how long each job takes.
    """

    installed: Installed
    folder: Path
    url: str
    job_seconds: float = 0

    @classmethod
    def below(cls, scratch: Path, installed: Installed, url: str, *, job_seconds: float = 0) -> "Place":
        """A place with an empty folder."""
        return cls(installed, Path(mkdtemp(dir=scratch)), url, job_seconds)

    def process(self, name: str, script: str, *arguments: str) -> Process:
        """The process of one script, not started; its file for starts is called `name`.stamps."""
        return Process(
            name=name,
            argv=self.installed.command(script, *arguments),
            environment=self.installed.environment
            | {
                "BENCH_REDIS_URL": self.url,
                "BENCH_STAMPS": str(self._stamps(name if script == "worker" else "worker-0")),
                "BENCH_JOB_SECONDS": f"{self.job_seconds:g}",
            },
            cwd=self.folder,
            restart=RestartPolicy.NEVER,
            drain=_DRAIN,
        )

    def starts(self, name: str) -> list[int]:
        """When each job of this worker started, so far."""
        return read_nanoseconds(self._stamps(name).read_bytes()) if self.announced(name) else []

    def started(self, name: str) -> int:
        """How many jobs of this worker have started; cheap."""
        return self._stamps(name).stat().st_size // WIDTH if self.announced(name) else 0

    def announced(self, name: str) -> bool:
        """Whether the worker's libraries are loaded."""
        return self._stamps(name).exists()

    def _stamps(self, name: str) -> Path:
        return self.folder / f"{name}.stamps"


class Workers:
    """The running workers of one measurement, named worker-0, worker-1 and so on."""

    def __init__(self, place: Place, count: int, running: Supervisor, lines: Sequence[str]) -> None:
        self._place = place
        self._running = running
        self._names = [f"worker-{number}" for number in range(count)]
        self._lines = lines

    async def reach(self, count: int, *, within: float) -> None:
        """Wait until so many jobs have started.

        Raises:
            PeerFailed: a worker has ended, or it took longer than `within` seconds.
        """
        try:
            async with asyncio.timeout(within):
                while self._started() < count:
                    self._refuse_ended()
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            raise PeerFailed(f"{self._started()} of {count} jobs started within {within:g} s") from None

    def starts(self) -> list[list[int]]:
        """When the jobs started, in nanoseconds, a list for each worker."""
        return [self._place.starts(name) for name in self._names]

    async def kill(self) -> None:
        """SIGKILL to the first worker and all its children; returns when they are gone."""
        (name, *_) = self._names
        self._running.send_signal(name, SIGKILL)
        await self._running.wait_exit(name)

    def _started(self) -> int:
        return sum(map(self._place.started, self._names))

    def _refuse_ended(self) -> None:
        if any(map(self._running.runs_over, self._names)):
            raise PeerFailed(_last(self._lines, "a worker ended and said nothing"))


@asynccontextmanager
async def workers(place: Place, count: int = 1) -> AsyncIterator[Workers]:
    """Workers from `async with` to its end, when they are stopped or killed."""
    lines: list[str] = []
    arguments = place.installed.peer.worker
    processes = [place.process(f"worker-{number}", "worker", *arguments) for number in range(count)]
    async with Supervisor(processes, log=lambda _name, line: _keep(lines, line)) as running:
        yield Workers(place, count, running, lines)


async def produce(place: Place, mode: str, count: int, *, within: float) -> list[int]:
    """Run the producer to its end; its figures in nanoseconds.

    Raises:
        PeerFailed: it failed, or took longer than `within` seconds.
    """
    peer = place.installed.peer
    out = place.folder / f"{mode}.out"
    arguments = [mode, str(count), str(out), f"{peer.rest:g}", *peer.producer]
    lines: list[str] = []
    process = place.process("producer", "producer", *arguments)
    async with Supervisor([process], log=lambda _name, line: _keep(lines, line)) as running:
        try:
            code = await asyncio.wait_for(running.wait_exit("producer"), within)
        except TimeoutError:
            raise PeerFailed(f"the producer was not done within {within:g} s") from None
    if code:
        raise PeerFailed(_last(lines, f"the producer exited with code {code} and said nothing"))
    return read_nanoseconds(out.read_bytes())


def _keep(lines: list[str], line: str) -> None:
    if line.strip():
        lines[:] = [*lines[-_LAST_LINES:], line.strip()]


def _last(lines: Sequence[str], otherwise: str) -> str:
    return lines[-1] if lines else otherwise
