"""HTTP client of a manager, as small as possible: one keep-alive connection to the reader."""

import asyncio
import http.client
import time
from typing import Any, Self

import orjson


class Browser:
    """Client that reads documents over HTTP; an async context manager.

    Args:
        port: the reader's, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connection.close()

    async def document(self, node_id: int) -> dict[str, Any] | None:
        """Return the management report of one node; None if it does not exist yet."""
        status, body = await asyncio.to_thread(self._get, node_id)
        return orjson.loads(body) if status == http.HTTPStatus.OK else None

    async def time_reads(self, nodes: list[int]) -> list[float]:
        """Read each node once and return the milliseconds of each read."""
        return await asyncio.to_thread(lambda: [self._timed(node) for node in nodes])

    def _timed(self, node_id: int) -> float:
        began = time.perf_counter()
        status, _ = self._get(node_id)
        elapsed = (time.perf_counter() - began) * 1000
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"reader: status {status} for node {node_id}; expected 200 or 404")
        return elapsed

    def _get(self, node_id: int) -> tuple[int, bytes]:
        self._connection.request("GET", f"/v1/reports/management/{node_id}")
        answer = self._connection.getresponse()
        return answer.status, answer.read()
