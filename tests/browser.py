"""A real Chromium with one page, which tells the test what it has met; skipped where there is none."""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from local.embedded.ports import free_port
from tests.chromium import FLAGS, find_chromium

_TELL = "const tell = (what) => fetch('/told', {method: 'POST', body: JSON.stringify(what)});"


@dataclass
class Page:
    """A page and what it has told.

    Attributes:
        script: runs in it; `tell(value)` tells a value.
    """

    port: int
    script: str = ""
    told: list[Any] = field(default_factory=list)

    def origin(self, host: str = "127.0.0.1") -> str:
        """Its origin under a name of this machine; each name is an origin of its own."""
        return f"http://{host}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
            if head.startswith("post /told"):
                self.told.append(json.loads(await reader.readexactly(length)))
            body = f"<!doctype html><script>{_TELL}{self.script}</script>".encode()
            told = f"content-type: text/html\r\ncontent-length: {len(body)}\r\nconnection: close"
            writer.write(f"HTTP/1.1 200 OK\r\n{told}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def page() -> AsyncIterator[Page]:
    """A page that is served; `browse` opens it."""
    one = Page(free_port())
    async with await asyncio.start_server(one._serve, "127.0.0.1", one.port):
        yield one


@asynccontextmanager
async def browse(one: Page, host: str = "127.0.0.1") -> AsyncIterator[None]:
    """Open the page in a browser of its own, under this name."""
    program = find_chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(program, *FLAGS, f"--user-data-dir={profile}", f"{one.origin(host)}/"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
