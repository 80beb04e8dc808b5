"""wrk against one server: what it says, and the processor time of the server and of Redis meanwhile."""

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from bench.reader_peers.browsers import as_line, heads

DISTINCT, FIXED = "distinct", "fixed"
_SCRIPTS = Path(__file__).parent
_FIXED_TOKENS = 50
_ATTEMPTS = 3
_REFUSED_PERCENT = 20.0
_SEEDS_APART = 1_000_000
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests of one server.

    Attributes:
        path: of a document, with a `%d` for its number.
        tokens: of sessions; the distinct requests are of so many browsers, the fixed ones carry them if `session`.
        kind: `distinct` or `fixed`.
    """

    url: str
    path: str
    tokens: Sequence[str]
    kind: str
    session: bool
    folder: Path

    def environment(self, seed: int) -> dict[str, str]:
        """Return what wrk's script reads; the same seed brings the same distinct requests."""
        tokens, browsers = self.folder / "tokens", self.folder / "browsers"
        if not browsers.exists():
            tokens.write_text("\n".join(self.tokens[:_FIXED_TOKENS] if self.session else []), "utf-8")
            browsers.write_text("\n".join(map(as_line, heads(self.tokens))), "utf-8")
        named = {"PATH": self.path, "TOKENS": str(tokens), "BROWSERS": str(browsers), "SEED": str(seed)}
        return {**os.environ, **{f"BENCH_{name}": value for name, value in named.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of a load; times in milliseconds, processor time in microseconds a request."""

    requests: int
    refused_percent: float
    a_second: float
    p50: float
    p99: float
    server_us: float
    redis_us: float


class Overloaded(Exception):
    """A server refused too much to be measured, because other programs held the processor."""


async def ask(load: Load, *, pid: int, redis: Redis, connections: int, seconds: float, seed: int) -> Answered:
    """Ask a server for so many seconds; again while refusals show that other programs held the processor.

    Raises:
        Overloaded: there were many refusals each time: the figure would be one of refusals.
    """
    asked: list[Answered] = []
    for attempt in range(_ATTEMPTS):
        asked.append(await _ask(load, pid, redis, connections, seconds, seed + attempt * _SEEDS_APART))
        if not asked[-1].refused_percent:
            break
    best = min(asked, key=lambda one: one.refused_percent)
    if best.refused_percent > _REFUSED_PERCENT:
        raise Overloaded(f"{best.refused_percent:.0f} % of the answers were refusals")
    return best


async def _ask(load: Load, pid: int, redis: Redis, connections: int, seconds: float, seed: int) -> Answered:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}", "--timeout", "20", "--latency"]
    script = str(_SCRIPTS / f"{load.kind}.lua")
    server, stored = processor_s(pid), await _redis_processor_s(redis)
    running = await asyncio.create_subprocess_exec(
        *command, "-s", script, load.url, stdout=asyncio.subprocess.PIPE, env=load.environment(seed)
    )
    said = (await running.communicate())[0].decode()
    if running.returncode or "Socket errors" in said:
        raise SystemExit(f"not every request was answered:\n{said}")
    requests = int(re.findall(r"(\d+) requests in", said)[0])
    refused = re.findall(r"Non-2xx or 3xx responses: (\d+)", said)
    return Answered(
        requests=requests,
        refused_percent=100 * int(refused[0]) / requests if refused else 0.0,
        a_second=float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]),
        p50=_milliseconds(said, "50%"),
        p99=_milliseconds(said, "99%"),
        server_us=(processor_s(pid) - server) / requests * 1e6,
        redis_us=(await _redis_processor_s(redis) - stored) / requests * 1e6,
    )


def processor_s(pid: int) -> float:
    """Return the processor time of a process and of its children, user and system, in seconds."""
    return sum(sum(map(int, _stat(one)[11:13])) for one in _with_children(pid)) / _TICKS


def resident_mib(pid: int) -> float:
    """Return the memory that a process holds."""
    return int(_stat(pid)[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; the second may have blanks."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(") ")[2].split()


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text("utf-8").split():
            yield from _with_children(int(child))


async def _redis_processor_s(redis: Redis) -> float:
    said = await redis.info("cpu")
    return float(said["used_cpu_user"]) + float(said["used_cpu_sys"])


def _milliseconds(said: str, share: str) -> float:
    number, unit = re.findall(rf"{share}\s+([\d.]+)([a-z]+)", said)[0]
    return float(number) * _UNITS[unit]
