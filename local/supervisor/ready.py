"""Readiness checks for `Process.ready`."""

import asyncio
from collections.abc import Awaitable, Callable


def http_ok(port: int, path: str = "/healthz", *, host: str = "127.0.0.1") -> Callable[[int], Awaitable[bool]]:
    """Return a check that GET `path` on this port of this machine answers 200.

    Args:
        host: the address that the server listens on, which may be every address (``0.0.0.0``, ``::``).

    Example:
        Process(name="reader", argv=[...], ready=http_ok(8080, "/readyz"))
    """

    async def ready(_pid: int) -> bool:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode("ascii"))
            status = await reader.readline()
            return status.split(b" ")[1:2] == [b"200"]
        finally:
            writer.close()

    return ready
