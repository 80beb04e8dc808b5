"""HTTP server of the page of metrics and of two probes: one small request, one response, and the connection ends.

    /metrics   the page
    /livez     200, or 503 with the reasons, one per line, for which the process should be started again
    /readyz    200, or 503 with the reasons for which it cannot work now

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
from functools import partial
from typing import Final

from hosts import AllowedHosts
from metrics.health import FindReasons, Health
from metrics.place import ListenPlace, remove_file

PATH: Final = "/metrics"
LIVE: Final = "/livez"
READY: Final = "/readyz"
_SECONDS: Final = 10
"""Time limit for a client to send its request, and to take the response."""
_HEAD_BYTES: Final = 16 * 1024
_PLAIN: Final = "text/plain; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

Answer = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Function that returns the content type and the page for a client's `Accept`."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def serve_page(
    answer: Answer, listening: socket.socket, place: ListenPlace, health: Health | None = None
) -> AsyncIterator[None]:
    """Serve page and probes on a listening socket until the end of the block; then remove its socket file."""
    hosts = AllowedHosts() if place.is_local and not place.path else None
    page = _Page(answer, health or Health(), hosts)
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

    def __init__(self, answer: Answer, health: Health, hosts: AllowedHosts | None) -> None:
        self._pages: dict[str, Callable[[str], Awaitable[tuple[int, str, bytes]]]] = {
            PATH: partial(_answer_page, answer),
            LIVE: partial(_answer_probe, health.find_deadly, "live"),
            READY: partial(_answer_probe, health.find_waiting, "ready"),
        }
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
        page = self._pages.get(rest.partition(" ")[0].partition("?")[0])
        if page is None:
            return _write(404, f"Only {', '.join(self._pages)} are here.\n")
        if method not in {"GET", "HEAD"}:
            return _write(405, "Only GET and HEAD are allowed.\n", "Allow: GET, HEAD\r\n")
        try:
            status, kind, body = await page(headers.get("accept", ""))
        except Exception:
            log.exception("the metrics could not be read")
            return _write(500, "The metrics could not be read; the log has the fault.\n")
        return _head(status, kind, len(body)) + (body if method == "GET" else b"")


async def _answer_page(answer: Answer, accept: str) -> tuple[int, str, bytes]:
    return 200, *await answer(accept)


async def _answer_probe(find_reasons: FindReasons, well: str, _: str) -> tuple[int, str, bytes]:
    reasons = await find_reasons()
    text = "".join(f"{reason}\n" for reason in reasons or [well])
    return (503 if reasons else 200), _PLAIN, text.encode()


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
