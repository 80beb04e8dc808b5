"""`./run ops` and `./run up` inside the tests' own process: the same entry, settings and exit codes.

It saves Python's start.

What only a process can show (signals, a pipe that closes, what the exit code becomes) is tested with a process.
"""

import asyncio
import io
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest.mock import patch

from local.__main__ import main as local_main
from ops.__main__ import main

_Entry = Callable[[Sequence[str]], int]
_ONE_AT_A_TIME = threading.Lock()
"""The environment belongs to the whole process."""


async def run_ops(*words: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of one command.

    Args:
        words: the command and its arguments.
        variables: settings without their ``MOMENTUS_``; none but these are set.

    Example:
        code, out, err = await run_ops("depth", "--json", REDIS_URL=valkey_url)
    """
    return await asyncio.to_thread(_run, main, words, variables)  # it brings its own event loop


async def refused_installation(*words: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of `up` or `demo` that ends before it starts anything.

    Args:
        words: as for `run_ops`.
        variables: as for `run_ops`.
    """
    return await asyncio.to_thread(_run, local_main, words, variables)


def _run(entry: _Entry, words: tuple[str, ...], variables: Mapping[str, str]) -> tuple[int, str, str]:
    settings = {f"MOMENTUS_{name}": value for name, value in variables.items()}
    with _ONE_AT_A_TIME, patch.dict(os.environ, settings):
        out, err = _OfThisThread(sys.stdout), _OfThisThread(sys.stderr)
        with redirect_stdout(out), redirect_stderr(err):
            code = _code(entry, words)
    return code, out.written(), err.written()


def _code(entry: _Entry, words: tuple[str, ...]) -> int:
    try:
        return entry(words)
    except SystemExit as ended:
        return int(ended.code or 0)


class _OfThisThread:
    """A stream that keeps what the command writes; a worker that the test runs beside it writes where it did.

    A logger that is made meanwhile keeps this stream for good. So it never leads to another one of its kind, and
    once the command is over it is no more than the stream of the others.

    Args:
        others: where that is.
    """

    def __init__(self, others: Any) -> None:
        self._others: Any = others._others if isinstance(others, _OfThisThread) else others
        self._command: int | None = threading.get_ident()
        self._kept = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # as strict about characters as a real one

    def _stream(self) -> Any:
        return self._kept if threading.get_ident() == self._command else self._others

    def write(self, text: str) -> int:
        return int(self._stream().write(text))

    def flush(self) -> None:
        self._stream().flush()

    def isatty(self) -> bool:
        return False

    def written(self) -> str:
        """All that the command wrote; it is over."""
        self._command = None
        self._kept.seek(0)
        return self._kept.read()
