"""What clients that ask on and never read cost a reader, as the system counts it: memory of the process."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.reader_process import REPORT, Client, document, meta, reader_process, request
from tests.support import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the system tells of memory in /proc")
KIB, MIB = 1024, 1024 * 1024
URL = "/v1/reports/general/1"
OF_ALL = 64 * MIB
"""The budget of all connections together (`reader.backlog`)."""


def readers() -> Iterator[Path]:
    """The directories in /proc of the readers that this process has started."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"\0-m\0reader\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield Path(f"/proc/{pid}")


def resident(process: Path) -> int:
    """Bytes of memory that the process holds."""
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * KIB


class Flood:
    """A client that sends as long as it may, and never reads."""

    def __init__(self, port: int, octets: bytes) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(0)
        self._octets = octets * (MIB // len(octets) + 1)
        self._refusals = 0
        self.is_over = False

    def pour(self) -> bool:
        """Send what may be sent; whether nothing has been taken for a while, or the connection is over."""
        try:
            self._refusals = self._refusals + 1 if self.socket.send(self._octets) == 0 else 0
        except BlockingIOError:
            self._refusals += 1
        except OSError:
            self.is_over = True
        return self.is_over or self._refusals > 50


async def test_a_reader_collects_garbage_once_it_is_loaded(valkey_url: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    lines = [
        "import gc, pathlib, runpy",
        "runpy.run_module('reader', run_name='__main__', alter_sys=True)",
        f"pathlib.Path({str(told)!r}).write_text(str(gc.isenabled()))",
    ]
    async with reader_process(valkey_url, tmp_path / "log", python=("-c", "\n".join(lines))):
        pass  # until it is told to stop
    assert told.read_text() == "True"


@pytest.mark.parametrize(
    ("access", "kib", "clients"),
    [
        ("open", 60, 25),
        ("open", 1, 25),
        *(
            pytest.param(*flood, marks=[pytest.mark.long, pytest.mark.timeout(300)])
            for flood in (("session", 1, 25), ("open", 60, 400), ("open", 1, 400), ("session", 1, 400))
        ),
    ],
)
async def test_a_client_that_asks_on_and_never_reads_costs_a_mebibyte_at_most_and_all_together_their_budget(
    valkey_url: str, tmp_path: Path, access: str, kib: int, clients: int
) -> None:
    """With large answers, with small ones, and without a session."""
    async with Redis.from_url(valkey_url) as redis:
        body = b'"' + b"x" * kib * KIB + b'"'
        await redis.hset(REPORT, mapping=document(1, [1], body) | meta(soft_s=3000, hard_s=3000))
    async with reader_process(valkey_url, tmp_path / "log", READER__ACCESS=access) as port:
        (process,) = readers()
        for _ in range(20):  # what a reader needs in any case
            async with Client(port) as client:
                await client.get_many([URL] * 50)
        before = resident(process)
        with ExitStack() as stack:
            floods = [Flood(port, request(URL)) for _ in range(clients)]
            for one in floods:
                stack.callback(one.socket.close)

            async def all_stand() -> bool:
                standing = [one.pour() for one in floods]
                await asyncio.sleep(0)
                return all(standing)

            await eventually(all_stand, timeout=120)
            grown = resident(process) - before
            each = f"{grown / clients / KIB:.0f} KiB for each of {clients}"
            assert grown <= min(clients * MIB, OF_ALL + 32 * MIB), each
            async with Client(port) as client:
                assert (await client.get("/healthz")).status == 200
