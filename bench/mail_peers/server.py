"""Postfix's smtp-sink for the length of a measurement: it takes every mail and throws it away."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from local.embedded.ports import free_port
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor

_BACKLOG = 500
_BESIDE_THE_PATH = "/usr/sbin:/usr/local/sbin"


def find_tool(name: str) -> str | None:
    """Where one of Postfix's programs is; Debian keeps them out of users' PATH."""
    return shutil.which(name) or shutil.which(name, path=_BESIDE_THE_PATH)


@asynccontextmanager
async def smtp_sink(tool: str, *, seconds: int = 0) -> AsyncIterator[int]:
    """Its port.

    Args:
        tool: where smtp-sink is.
        seconds: how long it takes for each mail.
    """
    port = free_port()

    async def listens(_pid: int) -> bool:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True

    slow = ["-w", str(seconds)] if seconds else []
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    argv = [tool, *user, *slow, "-m", str(_BACKLOG), f"127.0.0.1:{port}", str(_BACKLOG)]
    process = Process(name="smtp-sink", argv=argv, ready=listens, restart=RestartPolicy.NEVER)
    async with Supervisor([process]):
        yield port
