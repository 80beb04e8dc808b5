"""A reader process with its log in a file, clients that keep their connections, and what a worker would store."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from tests.support import eventually

ROOT = Path(__file__).resolve().parents[1]
REPORT = "momentus:{reports}:snapshot:default:general"
"""Where the documents of the tests are kept."""
FAULTS = (b"Traceback", b"never retrieved", b"was destroyed")
"""What no log of a reader in good order holds."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, its header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> str:
        """The name of the problem; empty for what is none."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        return str(json.loads(self.body)["type"]).rpartition(":")[2]

    @property
    def as_of(self) -> float:
        """Until when the data is known to be true, in seconds since 1970."""
        return datetime.fromisoformat(self.headers["as-of"]).timestamp()


def request(path: str, token: str = "", **headers: str) -> bytes:
    """The octets of a GET."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """The next answer on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return Reply(int(head[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0))))


class Client:
    """One connection, kept open for request after request, as browsers and proxies do."""

    def __init__(self, port: int, token: str = "") -> None:
        self._port = port
        self._token = token
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, **headers: str) -> Reply:
        """One request and its answer."""
        (reply,) = await self.get_many([path], **headers)
        return reply

    async def get_served(self, path: str, **headers: str) -> Reply:
        """The first answer that is no refusal for want of Redis, which a busy machine may give now and then."""
        while (reply := await self.get(path, **headers)).problem == "redis-unreachable":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return reply

    async def get_many(self, paths: list[str], **headers: str) -> list[Reply]:
        """Several requests in one write; the answers in their order."""
        reader, writer = await self.connect()
        writer.write(b"".join(request(path, self._token, **headers) for path in paths))
        async with asyncio.timeout(20):
            return [await read_reply(reader) for _ in paths]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection, made when there is none."""
        if self._ends is None:
            self._ends = await asyncio.open_connection("127.0.0.1", self._port)
        return self._ends

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ends is not None:
            self._ends[1].close()
            with suppress(OSError):
                await self._ends[1].wait_closed()


@asynccontextmanager
async def clients(port: int, tokens: Iterable[str]) -> AsyncIterator[list[Client]]:
    """A connected client for each token."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(Client(port, token)) for token in tokens]
        for client in found:
            await client.connect()
        yield found


@asynccontextmanager
async def reader_process(
    url: str, log: Path, *, python: Iterable[str] = ("-m", "reader"), **settings: str
) -> AsyncIterator[int]:
    """A reader as it is run; its port. It must end well, and its log must hold no fault."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *python, cwd=ROOT, env=_environment(url, settings), stdout=file, stderr=file
        )
    try:
        yield await eventually(lambda: _port(log), timeout=30)
    finally:
        process.terminate()
        code = await process.wait()
    assert code == 0, _logged(log)
    assert not [fault for fault in FAULTS if fault in _logged(log)], _logged(log)


class LastingReaders:
    """Readers that several tests share, one for each address and settings; a start costs more than most tests.

    Args:
        folder: for their logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[tuple[str, ...], tuple[subprocess.Popen[bytes], Path]] = {}

    async def port(self, url: str, **settings: str) -> int:
        """The port of a running reader with these settings."""
        which = (url, *(f"{name}={value}" for name, value in sorted(settings.items())))
        if which not in self._running:
            log = self._folder / f"reader-{len(self._running)}.log"
            with log.open("ab") as file:
                process = subprocess.Popen(  # noqa: ASYNC220  it outlives this test's loop
                    [sys.executable, "-m", "reader"],
                    cwd=ROOT,
                    env=_environment(url, settings),
                    stdout=file,
                    stderr=file,
                )
            self._running[which] = process, log
        _, log = self._running[which]
        return int(await eventually(lambda: _port(log), timeout=30))

    def end(self) -> None:
        """End them all. Each must end well, and its log must hold no fault."""
        for process, _ in self._running.values():
            process.terminate()
        codes = [process.wait(30) for process, _ in self._running.values()]
        logs = [_logged(log) for _, log in self._running.values()]
        assert codes == [0] * len(codes), logs
        assert not [log for log in logs if any(fault in log for fault in FAULTS)]


def _environment(url: str, settings: Mapping[str, str]) -> dict[str, str]:
    named = {"REDIS_URL": url, "READER__PORT": "0", "LOG_FORMAT": "json", **settings}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOMENTUS_")}
    return environment | {f"MOMENTUS_{name}": value for name, value in named.items()}


def _logged(log: Path) -> bytes:
    return log.read_bytes()


def _port(log: Path) -> int:
    """The port in the first line, once it is there."""
    first, ended, _ = _logged(log).partition(b"\n")
    return int(json.loads(first)["port"]) if ended else 0


def document(scope: int | str, path: Sequence[int | str], body: bytes, etag: str = "0" * 16) -> dict[str, bytes]:
    """The fields of one node's document."""
    head = {"etag": etag, "path": path, "as_of_us": 1_700_000_000_000_000}
    return {f"{scope}": body, f"head:{scope}": json.dumps(head).encode()}


def meta(
    *, age_s: float = 0, soft_s: float = 30, hard_s: float = 300, gen: int = 1, **more: Any
) -> dict[str, bytes]:
    """The field of a whole report's times and limits."""
    then = time.time_ns() // 1000 - int(age_s * 1_000_000)
    times = {
        "verified_us": then,
        "valid_until_us": None,
        "soft_ms": int(soft_s * 1000),
        "hard_ms": int(hard_s * 1000),
    }
    return {"_meta": json.dumps({"gen": gen, **times, "cost_ms": 10, **more}).encode()}
