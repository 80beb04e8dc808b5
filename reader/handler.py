"""The routes: from a request to an answer.

    GET, HEAD  /v1/reports/{report}/{scope}   one node's document (report.py); ?at=2026-11-20 as a day was closed
    GET        /v1/events?report={report}     hints that it has changed (hints.py)
    GET, HEAD  /openapi.json                  what can be asked
    GET, HEAD  /healthz                       the process runs
    GET, HEAD  /readyz                        and Redis answers
    GET, HEAD  /metrics                       counters
    OPTIONS    any of them, or *              what is allowed

No server is imported here: a request is a value, and where its answer goes an `Exchange` by shape alone. Most
requests are answered without a task of their own: at once, when the copy holds what it takes, or else when the
replies of Redis come in. No request is answered with a stack trace; a fault of ours is logged and answered with
500.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, date
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Protocol

import orjson

from hosts import AllowedHosts
from reader import problem
from reader.access import token_of
from reader.cors import Origins
from reader.events import UNAVAILABLE, Events
from reader.guard import Guard
from reader.hints import EventStream, Hints
from reader.live_session import find_asker
from reader.lookup import Lookup, ReportRequest
from reader.memo import memo
from reader.message import Headers, Request, Response
from reader.metrics import Metrics
from reader.openapi import describe
from reader.query import values_of
from reader.report import ReportResponder
from reader.snapshot import SnapshotUnreadable
from reader.store import StoredReports

SCOPE_LIMIT = 2**63 - 1
"""The largest bigint; every node id fits."""

EVENTS = "/v1/events"
_PAGES = {"/healthz", "/readyz", "/metrics", "/openapi.json", EVENTS}
_PROBES = {"/healthz", "/readyz"}
_READING = {"GET", "HEAD"}
_REPORT = re.compile(r"/v1/reports/([a-z][a-z0-9_]{0,63})/([1-9][0-9]{0,18})", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TEXT = "text/plain; charset=utf-8"
_STREAM: Headers = (
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-accel-buffering", "no"),  # nginx would hold hints back until it has a buffer full of them
)

log = logging.getLogger(__name__)


class EndingStream(EventStream, Protocol):
    """An answer that is sent in parts."""

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call this once the client has gone."""

    def end(self) -> None:
        """That was all."""


class Exchange(Protocol):
    """One request, and where its answer goes."""

    @property
    def request(self) -> Request:
        """What was asked."""

    def respond(self, answer: Response) -> None:
        """Answer it."""

    def respond_in_parts(self, status: int, headers: Headers) -> EndingStream:
        """Begin an answer that is sent in parts."""


class Reader:
    """The whole reader but its socket.

    Args:
        guard: knows who may see what; None lets everybody read everything.
        hosts: the names to answer to; None for any. Probes of whoever watches over this process come by any.
    """

    def __init__(
        self,
        store: StoredReports,
        reports: ReportResponder,
        guard: Guard | None = None,
        *,
        hints: Hints | None = None,
        origins: Origins | None = None,
        hosts: AllowedHosts | None = None,
    ) -> None:
        self._store = store
        self._reports = reports
        self._guard = guard
        self._hints = hints or Hints()
        self._events = Events(store, guard, self._hints)
        self._origins = origins or Origins()
        self._hosts = hosts
        self._metrics = Metrics(reports.clock)
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, exchange: Exchange) -> None:
        """Answer a request: now, when Redis has replied, or from a task of its own. Never raises."""
        request = exchange.request
        if request.path == EVENTS and request.method == "GET":
            self._run(self._follow(exchange))
            return
        try:
            found = request.found or self._route(request)
            if isinstance(found, ReportRequest):
                request.found = found
                seen = self._reports.looks.recall(found)
                if seen is None and self._reports.looks.begin(found, partial(self._told, found, exchange)):
                    return
                answer = self._reports.conclude(found, seen) if seen else None
            else:
                answer = found
        except Exception as error:  # noqa: BLE001  logged there
            answer = _fault(error)
        self._finish(exchange, answer)

    def _told(self, question: ReportRequest, exchange: Exchange, look: Lookup) -> None:
        """Redis has replied, or will not. Never raises: nobody above could do anything about it."""
        try:
            seen = self._reports.looks.read(look)
            answer = self._reports.conclude(question, seen) if seen else None
        except Exception as error:  # noqa: BLE001  logged there
            answer = _fault(error)
        self._finish(exchange, answer)

    def _finish(self, exchange: Exchange, answer: Response | None) -> None:
        """Send the answer; without one, start over in a task that can wait."""
        if answer is None:
            self._run(self._serve_waiting(exchange))
            return
        try:
            exchange.respond(self._noted(exchange.request, answer))
        except Exception as error:  # noqa: BLE001  logged there
            exchange.respond(_fault(error))

    async def _serve_waiting(self, exchange: Exchange) -> None:
        exchange.respond(await self.answer(exchange.request))

    def _run(self, serving: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(serving)
        self._tasks.add(task)  # the loop alone would not keep it
        task.add_done_callback(self._tasks.discard)

    async def answer(self, request: Request) -> Response:
        """The answer to any request but one for hints. Never raises."""
        try:
            found = self._route(request)
            if isinstance(found, ReportRequest):
                found = await self._reports.answer(found)
            answer = found or await self._page(request)
        except Exception as error:  # noqa: BLE001  logged there
            answer = _fault(error)
        return self._noted(request, answer)

    def _noted(self, request: Request, answer: Response) -> Response:
        self._metrics.count(answer)
        if self._origins:
            answer.headers = self._origins.grant(answer.headers, request.header("origin"))
        return answer

    def _route(self, request: Request) -> ReportRequest | Response | None:
        """The question for a report, the answer to what is none, or None for a page that takes waiting."""
        if self._is_misdirected(request):
            return problem.misdirected()
        named = _named(request.path)
        if not (named or request.path in _PAGES or _asks_server(request)):
            return problem.not_found()
        if request.method == "OPTIONS":
            granted = self._origins.preflight(request, problem.ALLOW)
            return Response(204, "options", (("allow", problem.ALLOW), *granted))
        if request.method not in _READING:
            return problem.method_not_allowed()
        if not named:
            return None
        day = _day(request)
        return day if isinstance(day, Response) else self._reports.question(request, *named, day)

    def _is_misdirected(self, request: Request) -> bool:
        if self._hosts is None or request.path in _PROBES:
            return False
        return not self._hosts.allows(request.host)

    async def _page(self, request: Request) -> Response:
        match request.path:
            case "/metrics":
                return _text("metrics", self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
            case "/readyz":
                untracked = await self._store.ping()
                told = [f"without a copy, because CLIENT TRACKING was refused: {untracked}"] if untracked else []
                return _text("ready", "; ".join(["ready", *told, *self._reports.clock.words()]) + "\n")
            case "/openapi.json":
                return await self._described(request)
            case "/healthz":
                return _text("health", "ok\n")
        return _text("hints", "", "text/event-stream") if request.method == "HEAD" else problem.not_found()

    async def _described(self, request: Request) -> Response:
        """The description, for who may read what it names; a session without roots may read nothing."""
        catalogue = await self._store.catalogue()
        if self._guard is not None:
            asker = await find_asker(self._guard, request)
            if asker is None:
                return problem.unauthorised(token_given=token_of(request) is not None)
            catalogue = catalogue if asker.roots else {}
        described = describe(catalogue, guarded=self._guard is not None)
        return _text("openapi", orjson.dumps(described).decode(), "application/json")

    # Hints

    def end_streams(self) -> None:
        """Let all streams of hints end, because the process does."""
        self._hints.close()

    async def _follow(self, exchange: Exchange) -> None:
        """A stream of hints, or the refusal of one."""
        request = exchange.request
        try:
            admission = (
                problem.misdirected() if self._is_misdirected(request) else await self._events.admit(request)
            )
        except UNAVAILABLE:
            admission = None
        except Exception as error:  # noqa: BLE001  logged there
            admission = _fault(error)
        if isinstance(admission, Response):
            exchange.respond(self._noted(request, admission))
            return
        self._metrics.count(Response(status=200, outcome=self._events.outcome(admission)))
        headers = self._origins.grant(_STREAM, request.header("origin")) if self._origins else _STREAM
        stream = exchange.respond_in_parts(200, headers)
        if (task := asyncio.current_task()) is not None:
            stream.when_gone(task.cancel)  # so that its place is free at once
        try:
            await self._events.run(request, admission, stream)
        finally:
            stream.end()


def _fault(error: Exception) -> Response:
    """The refusal for what went wrong."""
    if isinstance(error, UNAVAILABLE):
        return problem.unreachable()
    if isinstance(error, SnapshotUnreadable):
        log.error("%s", error)
        return problem.refuse(problem.UNREADABLE, "The worker and the reader differ in their format.")
    log.error("a request was not answered as it should be", exc_info=error)
    return problem.refuse(problem.INTERNAL, "A fault of the reader; its log has the details.")


@memo(4 << 20)
def _named(path: str) -> tuple[str, int] | None:
    """Report and scope out of a path."""
    found = _REPORT.fullmatch(path)
    return (found[1], int(found[2])) if found and int(found[2]) <= SCOPE_LIMIT else None


def _day(request: Request) -> str | Response:
    """The closed day that is asked for as `?at=` or by Accept-Datetime (RFC 7089), empty for now."""
    wanted = values_of(request.query, "at")
    if len(wanted) > 1:
        return problem.bad_request(f"at: given {len(wanted)} times; give one day.")
    try:
        if wanted:
            return date.fromisoformat(wanted[0] if _DAY.fullmatch(wanted[0]) else "").isoformat()
        if moment := request.header("accept-datetime"):
            return parsedate_to_datetime(moment).astimezone(UTC).date().isoformat()
    except (ValueError, OverflowError):
        named = "at" if wanted else "Accept-Datetime"
        return problem.bad_request(f"{named}: is not a date; write ?at=2026-11-20, or an HTTP date in the header.")
    return ""


def _asks_server(request: Request) -> bool:
    """`OPTIONS *` asks about the server as a whole (RFC 9110, 9.3.7)."""
    return (request.method, request.path) == ("OPTIONS", "*")


def _text(outcome: str, body: str, content_type: str = _TEXT) -> Response:
    headers: Headers = (
        ("content-type", content_type),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    )
    return Response(status=200, outcome=outcome, headers=headers, body=body.encode())
