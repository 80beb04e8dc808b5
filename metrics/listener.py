"""HTTP server of the page of metrics: one small request, one response, and the connection ends.

It refuses another path (404) and another method (405), and, where only this machine reaches it, a foreign `Host`
(421): a page on the web may point its own name at 127.0.0.1 (DNS rebinding). A client that does not finish its
request in time is dropped. A fault while the metrics are read is a 500 without its message, and is logged.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from hosts import AllowedHosts
from metrics.place import ListenPlace, remove_file

PATH: Final = "/metrics"
_SECONDS: Final = 10
"""For a client to send its request, and to take the response."""
_HEAD_BYTES: Final = 16 * 1024
_PLAIN: Final = "text/plain; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    500: "Internal Server Error",
}

Answer = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Returns the content type and the page for a client's `Accept`."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def serve_page(answer: Answer, listening: socket.socket, place: ListenPlace) -> AsyncIterator[None]:
    """Serve the page on a listening socket until the end of the block; then remove its socket file."""
    page = _Page(answer, AllowedHosts() if place.is_local and not place.path else None)
    server = await asyncio.start_server(page.serve, sock=listening, limit=_HEAD_BYTES)
    try:
        yield
    finally:
        server.close()
        remove_file(place)


class _Page:
    """The page.

    Args:
        hosts: accepted host names; None for any.
    """

    def __init__(self, answer: Answer, hosts: AllowedHosts | None) -> None:
        self._answer = answer
        self._hosts = hosts

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(_SECONDS):
                writer.write(await self._response(await _read_head(reader)))
                await writer.drain()
        writer.close()

    async def _response(self, head: str | None) -> bytes:
        if head is None:
            return _write(400, "The request cannot be read.\n")
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if self._hosts is not None and not self._hosts.allows(headers.get("host", "")):
            return _write(421, "This server answers to the names of this machine only.\n")
        if rest.partition(" ")[0].partition("?")[0] != PATH:
            return _write(404, f"Only {PATH} is here.\n")
        if method not in {"GET", "HEAD"}:
            return _write(405, "Only GET and HEAD are allowed.\n", "Allow: GET, HEAD\r\n")
        try:
            kind, page = await self._answer(headers.get("accept", ""))
        except Exception:
            log.exception("the metrics could not be read")
            return _write(500, "The metrics could not be read; the log has the fault.\n")
        return _head(200, kind, len(page)) + (page if method == "GET" else b"")


async def _read_head(reader: asyncio.StreamReader) -> str | None:
    """Return the head of a request; None if it is too long."""
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        return None


def _write(status: int, text: str, headers: str = "") -> bytes:
    return _head(status, _PLAIN, len(text), headers) + text.encode()


def _head(status: int, kind: str, length: int, headers: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
        f"{headers}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")
