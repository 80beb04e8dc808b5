"""What tests share beside fixtures: waiting for a condition, and real servers with handles to break them.

Servers for a whole session run under the product's own supervisor in a thread with its own event loop, since
each test has a loop of its own. Whatever ends the tests, SIGKILL included, the supervisor's reaper ends the
servers and removes their directory.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isawaitable
from pathlib import Path
from typing import Any, Self

from local.supervisor.process import Process
from local.supervisor.supervisor import Supervisor

_PLENTY = 4 << 30
"""Octets."""


async def eventually(
    condition: Callable[[], Any],
    *,
    timeout: float = 25.0,  # noqa: ASYNC109  only a busy machine needs so long
    every: float = 0.01,
) -> Any:
    """Wait until the condition, plain or async, is true (or not empty), and return what it returned.

    Args:
        condition: asked again and again; an exception it raises fails the test at once.
        timeout: seconds until the test fails instead.
        every: seconds between two questions at first; later a twentieth of the time that has passed.

    Example:
        await eventually(lambda: len(mails) == 100)
    """
    began = time.monotonic()
    while True:
        answer = condition()
        found = await answer if isawaitable(answer) else answer
        if found:
            return found
        passed = time.monotonic() - began
        if passed > timeout:
            raise AssertionError(f"still {found!r} after {timeout:g} s: {condition}")
        await asyncio.sleep(max(every, passed / 20))


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended; one that ended counts as gone before it is reaped."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True).stdout  # noqa: S607  ps is where it is
    return bool(state.strip()) and not state.startswith(b"Z")


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A new directory that a server under another user can enter, removed afterwards.

    Hand it to `Supervisor(scratch=...)` to have it removed even if the tests are killed.
    """
    directory = Path(tempfile.mkdtemp(prefix="momentus-test-", dir=_memory()))
    try:
        directory.chmod(0o711)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # the supervisor may have been first


def _memory() -> Path | None:
    """The file system in memory if it has plenty of room: a new database takes a tenth of its time on a disk."""
    shared = Path("/dev/shm")  # noqa: S108  as scratch of Linux
    has_room = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > _PLENTY
    return shared if has_room else None


class Servers:
    """A supervisor in a thread of its own, for servers that outlive one test's event loop."""

    def __init__(self, processes: Sequence[Process], scratch: Path) -> None:
        self.supervisor = Supervisor(processes, scratch=scratch)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self.supervisor.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self.supervisor.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnValkey:
    """A Valkey of one test's own, to be broken at will. Its data survives every one of these."""

    url: str
    port: int
    directory: Path
    running: Supervisor

    @property
    def pid(self) -> int:
        """The number of the server's process."""
        return self.running.pid("valkey")

    async def kill(self) -> None:
        """SIGKILL, and it stays away until `start`; what it has answered so far is in its file.

        Syncing each second, a server whose disk is slow answers up to two seconds before it writes, and what it
        has not written dies with it.
        """
        await eventually(self._has_written)
        self.running.send_signal("valkey", signal.SIGKILL)
        await self.running.wait_exit("valkey")

    async def stop(self) -> None:
        """An orderly stop; it stays away until `start`."""
        await self.running.stop("valkey")

    async def start(self) -> None:
        """Bring it back on the same port and data; returns when it answers."""
        await self.running.stop("valkey")
        await self.running.start("valkey")

    async def restart(self) -> None:
        """SIGKILL and back."""
        await self.kill()
        await self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing is answered, until `resume`."""
        self.running.send_signal("valkey", signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self.running.send_signal("valkey", signal.SIGCONT)

    async def _has_written(self) -> bool:
        """Whether nothing waits to be written; one without a file has nothing to write."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"INFO persistence\r\nQUIT\r\n")
            answer = await reader.read()
        finally:
            writer.close()
        return b"aof_buffer_length:0\r" in answer or b"aof_buffer_length" not in answer


def ask_valkey(port: int, command: str) -> bytes:
    """One command to an unprotected server and its answer's first line, without a client library."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(f"{command}\r\n".encode("ascii"))
        return answer.readline().rstrip()
