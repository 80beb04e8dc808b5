"""The routes: from a request to an answer.

    GET, HEAD  /v1/reports/{report}/{scope}   one node's document (report.py); ?at=2026-11-20 as a day was closed
    GET        /v1/events?report={report}     hints that it has changed (hints.py)
    GET, HEAD  /openapi.json                  what can be asked
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
from datetime import UTC, date
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import parse_qs

import orjson

from reader import problem
from reader.access import token_of
from reader.cors import Origins
from reader.guard import Guard
from reader.hints import Hints, Stream
from reader.message import Answer, Fields, Headers, Request
from reader.metrics import Metrics
from reader.openapi import describe
from reader.report import Reports
from reader.snapshot import SnapshotUnreadable
from reader.store import Store, StoreUnavailable
from sessions import SessionsUnavailable

SCOPE_LIMIT = 2**63 - 1
"""The largest bigint; every node id fits."""

WITHOUT_LENGTH = {204, 304}
"""Answers of these have no body by definition, and so no length to state (RFC 9110, 8.6)."""

EVENTS = "/v1/events"
_PAGES = {"/healthz", "/readyz", "/metrics", "/openapi.json", EVENTS}
_REPORT = re.compile(r"/v1/reports/([a-z][a-z0-9_]{0,63})/([1-9][0-9]{0,18})", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_TEXT = "text/plain; charset=utf-8"
_STREAM: list[tuple[str, str]] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
]

log = logging.getLogger(__name__)


class Scope(Protocol):
    """A request, as RSGI gives it: the parts read here."""

    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> Fields:
        """Its headers."""


class Response(Protocol):
    """Where the answer goes, as RSGI gives it: the parts used here."""

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Answer without a body."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer with a body."""

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Stream:
        """Begin an answer that is sent in parts."""


class Reader:
    """The whole reader but its socket.

    Args:
        guard: knows who may see what; None lets everybody read everything.
    """

    def __init__(
        self,
        store: Store,
        reports: Reports,
        guard: Guard | None = None,
        *,
        hints: Hints | None = None,
        origins: Origins | None = None,
    ) -> None:
        self._store = store
        self._reports = reports
        self._guard = guard
        self._hints = hints or Hints()
        self._origins = origins or Origins()
        self._metrics = Metrics()

    async def __rsgi__(self, scope: Scope, response: Response) -> None:
        """Serve one request."""
        request = Request(method=scope.method, path=scope.path, query=scope.query_string, fields=scope.headers)
        if request.path == EVENTS and request.method == "GET":
            await self._follow(request, response)
            return
        answer = await self.answer(request)
        headers = list(answer.headers)
        if answer.status not in WITHOUT_LENGTH:
            headers.append(("content-length", str(len(answer.body))))
        if request.method == "HEAD" or not answer.body:
            response.response_empty(answer.status, headers)
        else:
            response.response_bytes(answer.status, headers, answer.body)

    async def answer(self, request: Request) -> Answer:
        """The answer to any request but one for hints. Never raises."""
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
        if self._origins:
            granted = self._origins.headers(request.header("origin"))
            answer.headers = (*answer.headers, *granted, ("vary", "Origin"))
        return answer

    async def _route(self, request: Request) -> Answer:
        report = _REPORT.fullmatch(request.path)
        if report and int(report[2]) > SCOPE_LIMIT:
            return problem.not_found()
        if not (report or request.path in _PAGES or _asks_server(request)):
            return problem.not_found()
        if request.method == "OPTIONS":
            granted = self._origins.preflight(request, problem.ALLOW)
            return Answer(status=204, outcome="options", headers=(("allow", problem.ALLOW), *granted))
        if request.method not in {"GET", "HEAD"}:
            return problem.method_not_allowed()
        if not report:
            return await self._page(request)
        day = _day(request)
        return (
            day if isinstance(day, Answer) else await self._reports.answer(request, report[1], int(report[2]), day)
        )

    async def _page(self, request: Request) -> Answer:
        match request.path:
            case "/metrics":
                return _text("metrics", self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
            case "/readyz":
                await self._store.ping()
                return _text("ready", "ready\n")
            case "/openapi.json":
                described = describe(await self._store.catalogue(), guarded=self._guard is not None)
                return _text("openapi", orjson.dumps(described).decode(), "application/json")
            case "/healthz":
                return _text("health", "ok\n")
        return _text("hints", "", "text/event-stream") if request.method == "HEAD" else problem.not_found()

    # Hints

    async def _follow(self, request: Request, response: Response) -> None:
        """A stream of hints, or the refusal of one."""
        try:
            refusal = await self._refuse_hints(request)
        except (StoreUnavailable, SessionsUnavailable):
            refusal = problem.unreachable()
        if refusal is not None:
            self._metrics.count(refusal)
            length = ("content-length", str(len(refusal.body)))
            response.response_bytes(refusal.status, [*refusal.headers, length], refusal.body)
            return
        self._metrics.count(Answer(status=200, outcome="hints"))
        granted = self._origins.headers(request.header("origin"))
        stream = response.response_stream(200, [*_STREAM, *granted])
        await self._hints.follow(parse_qs(request.query)["report"][0], stream)

    async def _refuse_hints(self, request: Request) -> Answer | None:
        if self._guard is not None:
            token = token_of(request)
            session = await self._guard.ask(token) if token else None
            roots = await self._guard.roots(token, session) if token and session else None
            if roots is None:
                return problem.unauthorised(token_given=bool(token))
        names = parse_qs(request.query).get("report", [])
        if len(names) != 1 or not _NAME.fullmatch(names[0]) or not await self._store.declared(names[0]):
            return problem.not_found()
        return problem.too_many_streams() if self._hints.full else None


def _day(request: Request) -> str | Answer:
    """The closed day that is asked for as `?at=` or by Accept-Datetime (RFC 7089), empty for now."""
    wanted = parse_qs(request.query).get("at", []) if request.query else []
    try:
        if wanted:
            return date.fromisoformat(wanted[-1]).isoformat()
        if moment := request.header("accept-datetime"):
            return parsedate_to_datetime(moment).astimezone(UTC).date().isoformat()
    except (ValueError, OverflowError):
        named = "at" if wanted else "Accept-Datetime"
        return problem.bad_request(f"{named} is not a date: write ?at=2026-11-20, or an HTTP date in the header.")
    return ""


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
