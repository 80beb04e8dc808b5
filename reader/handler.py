"""The routes: from a request to an answer.

    GET, HEAD  /v1/reports/{report}/{scope}   one node's document (report.py)
    GET, HEAD  /healthz                       the process runs
    GET, HEAD  /readyz                        and Redis answers
    GET, HEAD  /metrics                       counters
    OPTIONS    any of them, or *              what is allowed

It speaks RSGI by shape alone (a scope with method, path and headers; a protocol that takes one response),
so no server is imported here. No request is answered with a stack trace; a fault of ours is logged and
answered with 500.
"""

from __future__ import annotations

import logging
import re
from typing import Protocol

from reader import problem
from reader.message import Answer, Headers, Request
from reader.metrics import Metrics
from reader.report import Reports
from reader.snapshot import SnapshotUnreadable
from reader.store import Store, StoreUnavailable
from sessions import SessionsUnavailable

SCOPE_LIMIT = 2**63 - 1
"""The largest bigint; every node id fits."""

WITHOUT_LENGTH = {204, 304}
"""Answers of these have no body by definition, and so no length to state (RFC 9110, 8.6)."""

_REPORT = re.compile(r"/v1/reports/([a-z][a-z0-9_]{0,63})/([1-9][0-9]{0,18})", re.ASCII)
_TEXT = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


class Fields(Protocol):
    """The headers of a request, as RSGI gives them."""

    def items(self) -> list[tuple[str, str]]:
        """Names in lower case and values; a name may repeat."""


class Scope(Protocol):
    """A request, as RSGI gives it: the parts read here."""

    method: str
    path: str

    @property
    def headers(self) -> Fields:
        """Its headers."""


class Response(Protocol):
    """Where the answer goes, as RSGI gives it: the parts used here."""

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Answer without a body."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer with a body."""


class Reader:
    """The whole reader but its socket."""

    def __init__(self, store: Store, reports: Reports) -> None:
        self._store = store
        self._reports = reports
        self._metrics = Metrics()

    async def __rsgi__(self, scope: Scope, response: Response) -> None:
        """Serve one request."""
        request = Request(method=scope.method, path=scope.path, headers=tuple(scope.headers.items()))
        answer = await self.answer(request)
        headers = list(answer.headers)
        if answer.status not in WITHOUT_LENGTH:
            headers.append(("content-length", str(len(answer.body))))
        if request.method == "HEAD" or not answer.body:
            response.response_empty(answer.status, headers)
        else:
            response.response_bytes(answer.status, headers, answer.body)

    async def answer(self, request: Request) -> Answer:
        """The answer to any request at all. Never raises."""
        try:
            answer = await self._route(request)
        except (StoreUnavailable, SessionsUnavailable):
            answer = problem.unreachable()
        except SnapshotUnreadable as error:
            log.error("%s", error)  # noqa: TRY400  what is stored matters, not where we noticed
            answer = problem.refuse(problem.UNREADABLE, "The worker and the reader differ in their format.")
        except Exception:
            log.exception("a request was not answered as it should be")
            answer = problem.refuse(problem.INTERNAL, "A fault of the reader; its log has the details.")
        self._metrics.count(answer)
        return answer

    async def _route(self, request: Request) -> Answer:
        report = _REPORT.fullmatch(request.path)
        if report and int(report[2]) > SCOPE_LIMIT:
            return problem.not_found()
        if not (report or request.path in {"/healthz", "/readyz", "/metrics"} or _asks_server(request)):
            return problem.not_found()
        if request.method == "OPTIONS":
            return Answer(status=204, outcome="options", headers=(("allow", problem.ALLOW),))
        if request.method not in {"GET", "HEAD"}:
            return problem.method_not_allowed()
        if report:
            return await self._reports.answer(request, report[1], int(report[2]))
        return await self._page(request.path)

    async def _page(self, path: str) -> Answer:
        if path == "/metrics":
            return _text("metrics", self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        if path == "/readyz":
            await self._store.ping()
            return _text("ready", "ready\n")
        return _text("health", "ok\n")


def _asks_server(request: Request) -> bool:
    """`OPTIONS *` asks about the server as a whole (RFC 9110, 9.3.7)."""
    return (request.method, request.path) == ("OPTIONS", "*")


def _text(outcome: str, body: str, content_type: str = _TEXT) -> Answer:
    headers: Headers = (
        ("content-type", content_type),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    )
    return Answer(status=200, outcome=outcome, headers=headers, body=body.encode())
