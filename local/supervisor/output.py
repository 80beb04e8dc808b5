"""Output of a supervised process: passed to the log line by line; the last lines are kept for a message.

Each run has its own pipe for standard output and error together. Bytes that are not UTF-8 are replaced,
and an unfinished line is cut at a limit, so that no process can fill the supervisor's memory or stop its reader.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable

import background

Log = Callable[[str, str], None]
"""Function that takes a process's name and one line of its output."""

_LINE_LIMIT = 16_384
_REMEMBERED_LINES = 20


class Output:
    """The output of all runs of one process.

    Args:
        name: under which its lines are logged.
        log: takes them.
    """

    def __init__(self, name: str, log: Log) -> None:
        self._name = name
        self._log = log
        self._last_lines: deque[str] = deque(maxlen=_REMEMBERED_LINES)

    @property
    def last_lines(self) -> tuple[str, ...]:
        """Last lines of the output, oldest first."""
        return tuple(self._last_lines)

    async def read_pipe(self, file: int) -> None:
        """Take over this end of a pipe and read until the other end is closed."""
        with os.fdopen(file, "rb", buffering=0) as pipe:
            stream = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), pipe
            )
            try:
                await self._pass_on(stream)
            finally:
                transport.close()

    async def _pass_on(self, stream: asyncio.StreamReader) -> None:
        unfinished = b""
        while chunk := await stream.read(_LINE_LIMIT):
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            if len(unfinished) > _LINE_LIMIT:  # a line without an end must not fill the memory
                lines, unfinished = [*lines, unfinished], b""
            for line in lines:
                self._say(line)
        if unfinished:
            self._say(unfinished)

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self._last_lines.append(text)
        try:
            self._log(self._name, text)
        except Exception as error:  # noqa: BLE001  a log that fails must not leave the process with a full pipe
            background.note_fault(f"output of {self._name}", error)
