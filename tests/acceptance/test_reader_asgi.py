"""The reader behind a server that speaks ASGI gives the answers that its own process gives."""

from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

from reader.asgi import Application
from reader.connection import Connection
from reader.handler import Reader
from reader.report import ReportResponder
from reader.store import StoredReports

LONG = timedelta(seconds=10)
"""For a reply on a busy machine."""


class Exchange:
    """One request to an application, and what it sent."""

    def __init__(self, *received: dict[str, Any]) -> None:
        self._received = list(received)
        self.sent: list[MutableMapping[str, Any]] = []

    async def receive(self) -> MutableMapping[str, Any]:
        return self._received.pop(0)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)


async def answered(valkey_url: str, method: str, path: str) -> list[MutableMapping[str, Any]]:
    connection = Connection(valkey_url, deadline=LONG)
    store = StoredReports(connection, tenant="default")
    exchange = Exchange()
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [(b"Accept", b"*/*")]}
    await Application(Reader(store, ReportResponder(store, None)))(scope, exchange.receive, exchange.send)
    await connection.close()
    return exchange.sent


async def test_an_answer_has_its_status_its_headers_and_its_body(valkey_url: str) -> None:
    start, body = await answered(valkey_url, "GET", "/healthz")
    assert start["status"] == 200
    assert (b"content-length", b"3") in start["headers"]
    assert body["body"] == b"ok\n"


async def test_a_head_request_is_answered_without_a_body_and_with_its_length(valkey_url: str) -> None:
    start, body = await answered(valkey_url, "HEAD", "/healthz")
    assert (b"content-length", b"3") in start["headers"]
    assert body["body"] == b""


async def test_what_does_not_exist_is_a_problem_document(valkey_url: str) -> None:
    start, body = await answered(valkey_url, "GET", "/v1/reports/none/1")
    assert start["status"] == 404
    assert b"not-found" in body["body"]


async def test_the_server_may_start_and_stop_it(valkey_url: str) -> None:
    exchange = Exchange({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    store = StoredReports(Connection(valkey_url, deadline=LONG), tenant="default")
    application = Application(Reader(store, ReportResponder(store, None)))
    await application({"type": "lifespan"}, exchange.receive, exchange.send)
    assert [message["type"] for message in exchange.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
