"""Routes: from a request to a response.

    GET, HEAD  /v1/reports/{report}/{scope}   one node's document (report.py); ?at=2026-11-20 for a closed day
    GET, HEAD  /v1/reports/{report}?scopes=1,2,3        documents of several nodes (document_list.py)
    GET, HEAD  /v1/reports/{report}/{scope}/children    a node's document and those of its children
    GET, HEAD  /v1/reports                              the reports, and the nodes at which the client begins
    GET        /v1/events?report={report}     hints that it has changed (hints.py)
    GET, HEAD  /openapi.json                  description of the routes
    GET, HEAD  /healthz                       the process runs
    GET, HEAD  /readyz                        Redis replies
    GET, HEAD  /metrics                       counters
    GET, HEAD  / and /page/{version}/{name}   the page for managers (page/files.py)
    OPTIONS    any of them, or *              the allowed methods

No server is imported here: a request is a value, and an `Exchange` (a protocol) takes its response. Most requests
need no task: they are served at once from the cache, or when Redis's replies arrive. A response never contains a
stack trace; an error of the reader is logged and gets 500.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date
from email.utils import parsedate_to_datetime
from functools import partial
from time import perf_counter
from typing import Protocol

import orjson

from hosts import AllowedHosts
from metrics.health import Health
from reader import problem
from reader.access import token_of
from reader.cors import Origins
from reader.document_list import DocumentListResponder, ListRequest, days_of, scopes_of
from reader.events import UNAVAILABLE, Events
from reader.guard import Guard
from reader.hints import EventStream, Hints
from reader.live_session import find_session
from reader.lookup import Lookup, ReportRequest
from reader.memo import memo
from reader.message import Headers, Request, Response
from reader.metrics import Metrics
from reader.openapi import describe_api
from reader.page.files import PageFiles
from reader.query import values_of
from reader.read_your_writes import awaited_transaction
from reader.report import ReportResponder
from reader.report_list import ReportListResponder
from reader.snapshot import SnapshotUnreadable
from reader.store import StoredReports
from sessions.node_ids import CHARACTERS, is_id_text

EVENTS = "/v1/events"

_PAGES = {"/healthz", "/readyz", "/metrics", "/openapi.json", EVENTS, "/v1/reports"}
_PROBES = {"/healthz", "/readyz"}
_READING = {"GET", "HEAD"}
_REPORT = re.compile(rf"/v1/reports/([a-z][a-z0-9_]{{0,63}})/({CHARACTERS})", re.ASCII)
_LIST = re.compile(rf"/v1/reports/([a-z][a-z0-9_]{{0,63}})(?:/({CHARACTERS})/children)?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TEXT = "text/plain; charset=utf-8"
_STREAM: Headers = (
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-accel-buffering", "no"),  # nginx would buffer hints
)

log = logging.getLogger(__name__)


class EndingStream(EventStream, Protocol):
    """A response that is sent in parts."""

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call this function when the client has closed the connection."""

    def end(self) -> None:
        """End the response."""


class Exchange(Protocol):
    """One request and the way to respond to it."""

    @property
    def request(self) -> Request:
        """The request."""

    def respond(self, response: Response) -> None:
        """Send the response."""

    def respond_in_parts(self, status: int, headers: Headers) -> EndingStream:
        """Send the head of a response that is sent in parts."""


class Reader:
    """The reader without its sockets.

    Args:
        guard: reads sessions; None lets any client read any report.
        hosts: accepted host names; None for any. Health probes may use any name.
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
        self._lists = DocumentListResponder(store, reports, guard)
        self._report_list = ReportListResponder(store, guard)
        self._events = Events(store, guard, self._hints)
        self._origins = origins or Origins()
        self._hosts = hosts
        self._page_files = PageFiles()
        self._metrics = Metrics(reports.clock)
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, exchange: Exchange) -> None:
        """Respond to a request: now, when Redis has replied, or from a task. Never raises."""
        request = exchange.request
        if request.path == EVENTS and request.method == "GET":
            self._run(self._follow(exchange))
            return
        began = perf_counter()
        try:
            found = request.found or self._route(request)
            if isinstance(found, ListRequest):
                response = None
            elif isinstance(found, ReportRequest):
                request.found = found
                result = self._reports.lookups.find_cached(found)
                if result is None and self._reports.lookups.send_lookup(
                    found, partial(self._conclude, found, exchange, began)
                ):
                    return
                response = self._reports.conclude_lookup(found, result) if result else None
            else:
                response = found
        except Exception as error:  # noqa: BLE001  logged there
            response = _fault(error)
        self._finish(exchange, response, began)

    def _conclude(self, request: ReportRequest, exchange: Exchange, began: float, lookup: Lookup) -> None:
        """Respond after the last reply of Redis, or without any. Never raises: no caller could handle it."""
        try:
            result = self._reports.lookups.read_result(lookup)
            response = self._reports.conclude_lookup(request, result) if result else None
        except Exception as error:  # noqa: BLE001  logged there
            response = _fault(error)
        self._finish(exchange, response, began)

    def _finish(self, exchange: Exchange, response: Response | None, began: float) -> None:
        """Send the response; without one, start again in a task that can wait."""
        if response is None:
            self._run(self._serve_waiting(exchange, began))
            return
        try:
            exchange.respond(self._noted(exchange.request, response))
        except Exception as error:  # noqa: BLE001  logged there
            exchange.respond(_fault(error))
        self._metrics.response_times.observe(perf_counter() - began)

    async def _serve_waiting(self, exchange: Exchange, began: float) -> None:
        exchange.respond(await self.response(exchange.request))
        self._metrics.response_times.observe(perf_counter() - began)

    def _run(self, serving: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(serving)
        self._tasks.add(task)  # the event loop holds only a weak reference
        task.add_done_callback(self._tasks.discard)

    async def response(self, request: Request) -> Response:
        """Return the response to any request except one for hints. Never raises."""
        try:
            found = self._route(request)
            if isinstance(found, ReportRequest):
                found = await self._reports.response(found)
            elif isinstance(found, ListRequest):
                found = await self._lists.response(request, found)
            response = found or await self._page(request)
        except Exception as error:  # noqa: BLE001  logged there
            response = _fault(error)
        return self._noted(request, response)

    def _noted(self, request: Request, response: Response) -> Response:
        self._metrics.count_response(response)
        if self._origins:
            response.headers = self._origins.grant(response.headers, request.header("origin"))
        return response

    def _route(self, request: Request) -> ReportRequest | ListRequest | Response | None:
        """Return the request for one or more documents, a response, or None for a page that takes waiting."""
        if self._is_misdirected(request):
            return problem.refuse_host()
        named = _named(request.path)
        listed = None if named else _LIST.fullmatch(request.path)
        known = named or listed or request.path in _PAGES or _asks_server(request)
        file = None if known else self._page_files.find(request.path)
        if not (known or file):
            return problem.not_found()
        if request.method not in _READING:
            return self._other_method(request)
        if file:
            return file.response(request)
        if listed:
            return _list_request(request, listed[1], listed[2])
        return self._document_request(request, *named) if named else None

    def _other_method(self, request: Request) -> Response:
        if request.method != "OPTIONS":
            return problem.method_not_allowed()
        granted = self._origins.preflight(request, problem.ALLOW)
        return Response(204, "options", (("allow", problem.ALLOW), *granted))

    def _document_request(self, request: Request, report: str, scope: str) -> ReportRequest | Response:
        day = _day(request)
        return day if isinstance(day, Response) else self._reports.read_request(request, report, scope, day)

    def _is_misdirected(self, request: Request) -> bool:
        if self._hosts is None or request.path in _PROBES:
            return False
        return not self._hosts.allows(request.host)

    async def _page(self, request: Request) -> Response:
        match request.path:
            case "/metrics":
                kind, body = await self.read_metrics(request.header("accept"))
                return _text("metrics", body.decode(), kind)
            case "/readyz":
                untracked = await self._store.ping_redis()
                notes = (
                    [f"without a copy, because Redis refused CLIENT TRACKING: {untracked}"] if untracked else []
                )
                return _text("ready", "; ".join(["ready", *notes, *self._reports.clock.doubt_texts()]) + "\n")
            case "/openapi.json":
                return await self._described(request)
            case "/v1/reports":
                return await self._report_list.response(request)
            case "/healthz":
                return _text("health", "ok\n")
        return _text("hints", "", "text/event-stream") if request.method == "HEAD" else problem.not_found()

    async def _described(self, request: Request) -> Response:
        """Return the OpenAPI description; for a session without roots it names no reports."""
        catalogue = await self._store.read_catalogue()
        if self._guard is not None:
            session = await find_session(self._guard, request)
            if session is None:
                return problem.refuse_token(token_given=token_of(request) is not None)
            catalogue = catalogue if session.roots else {}
        described = describe_api(catalogue, guarded=self._guard is not None)
        return _text("openapi", orjson.dumps(described).decode(), "application/json")

    # Metrics and health

    @property
    def health(self) -> Health:
        """The health of this process: it is ready while Redis replies, as `/readyz` says."""
        return Health(find_waiting=self._find_waiting)

    async def _find_waiting(self) -> Sequence[str]:
        try:
            await self._store.ping_redis()
        except UNAVAILABLE as error:
            return [f"Redis does not answer: {type(error).__name__}"]
        return ()

    async def read_metrics(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the page of this process's metrics."""
        return self._metrics.write_page(accept)

    def measure_loop(self) -> AbstractAsyncContextManager[None]:
        """Measure the event loop's delay until the end of the block."""
        return self._metrics.lag.measure()

    # Hints

    def end_streams(self) -> None:
        """End all streams of hints, because the process stops."""
        self._hints.close()

    async def _follow(self, exchange: Exchange) -> None:
        """Respond with a stream of hints, or with a refusal."""
        request = exchange.request
        try:
            admission = (
                problem.refuse_host()
                if self._is_misdirected(request)
                else await self._events.admit_client(request)
            )
        except UNAVAILABLE:
            admission = None
        except Exception as error:  # noqa: BLE001  logged there
            admission = _fault(error)
        if isinstance(admission, Response):
            exchange.respond(self._noted(request, admission))
            return
        self._metrics.count_response(Response(status=200, outcome=self._events.outcome(admission)))
        headers = self._origins.grant(_STREAM, request.header("origin")) if self._origins else _STREAM
        stream = exchange.respond_in_parts(200, headers)
        if (task := asyncio.current_task()) is not None:
            stream.when_gone(task.cancel)  # frees its place at once
        try:
            await self._events.send_hints(request, admission, stream)
        finally:
            stream.end()


def _fault(error: Exception) -> Response:
    """Return the refusal for an error, and log it."""
    if isinstance(error, UNAVAILABLE):
        return problem.refuse_unreachable()
    if isinstance(error, SnapshotUnreadable):
        log.error("%s", error)
        return problem.refuse(
            problem.UNREADABLE, "The worker and the reader have different versions; run the same version."
        )
    log.error("request: failed because of an error in the reader", exc_info=error)
    return problem.refuse(problem.INTERNAL, "The reader failed; its log has the details.")


@memo(4 << 20)
def _named(path: str) -> tuple[str, str] | None:
    """Return report and scope of a path, or None if it is not the path of a document."""
    found = _REPORT.fullmatch(path)
    return (found[1], found[2]) if found and is_id_text(found[2]) else None


def _list_request(request: Request, report: str, parent: str | None) -> ListRequest | Response:
    """Return the request for several documents, or the refusal of a query that names none."""
    if parent and not is_id_text(parent):
        return problem.not_found()
    try:
        awaited_transaction(request.header("if-write-visible"))
        if values_of(request.query, "at"):  # today's documents would pass for those of that day
            return problem.bad_request("at: applies to one node only, as in /v1/reports/sales/17?at=2026-11-20.")
        if parent:
            return ListRequest(report, (parent,), with_children=True, days=days_of(request.query))
        return ListRequest(report, scopes_of(request.query))
    except ValueError as error:
        return problem.bad_request(str(error))


def _day(request: Request) -> str | Response:
    """Return the closed day of `?at=` or Accept-Datetime (RFC 7089), empty without either, or a refusal."""
    wanted = values_of(request.query, "at") if request.query else []
    if len(wanted) > 1:
        return problem.bad_request(f"at: given {len(wanted)} times; give one day.")
    try:
        if wanted:
            return date.fromisoformat(wanted[0] if _DAY.fullmatch(wanted[0]) else "").isoformat()
        if moment := request.fields.get_joined("accept-datetime"):
            return parsedate_to_datetime(moment).astimezone(UTC).date().isoformat()
    except (ValueError, OverflowError):
        named = "at" if wanted else "Accept-Datetime"
        return problem.bad_request(f"{named}: not a date; write ?at=2026-11-20, or an HTTP date in the header.")
    return ""


def _asks_server(request: Request) -> bool:
    """Return True for `OPTIONS *`, which refers to the server as a whole (RFC 9110, 9.3.7)."""
    return (request.method, request.path) == ("OPTIONS", "*")


def _text(outcome: str, body: str, content_type: str = _TEXT) -> Response:
    headers: Headers = (
        ("content-type", content_type),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    )
    return Response(status=200, outcome=outcome, headers=headers, body=body.encode())
