"""A process of `refresher.py`, seen from the one that measures."""

import asyncio
import json
import os
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from reports.triggers import uninstall_script

_HERE = Path(__file__).parent
_LONGEST_ANSWER = 1 << 20


class RefreshingProcess:
    """Asks a refresher and returns its answers."""

    def __init__(self, questions: StreamWriter, answers: StreamReader) -> None:
        self._questions, self._answers = questions, answers

    async def ask(self, do: str, **words: str) -> dict[str, Any]:
        """Have something done. Raises SystemExit if the process has ended."""
        self._questions.write(json.dumps({"do": do, **words}).encode() + b"\n")
        await self._questions.drain()
        line = await self._answers.readline()
        if not line:
            raise SystemExit("a refresher has ended, see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def refreshing_process(
    dsn: str, url: str, tenant: str, *, way: str, checkout: Path = _HERE.parents[1]
) -> AsyncIterator[RefreshingProcess]:
    """Run a refresher of a checkout; its tenant's triggers are installed meanwhile.

    Args:
        way: ``some``: as the reports are declared; ``whole``: without their queries for some nodes.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(_HERE / "refresher.py"), dsn, url, tenant, way),
        stdin=PIPE,
        stdout=PIPE,
        limit=_LONGEST_ANSWER,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )
    if process.stdin is None or process.stdout is None:
        raise TypeError("pipes were asked for")
    try:
        refresher = RefreshingProcess(process.stdin, process.stdout)
        await refresher.ask("install")
        yield refresher
    finally:
        process.stdin.close()
        await process.wait()
    await _uninstall(dsn, tenant)


async def _uninstall(dsn: str, tenant: str) -> None:
    """Remove the tenant's triggers, so that no later write pays for them."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(uninstall_script(tenant))
    await connection.close()
