"""Response to a request for one report: checks in a fixed order, before the body is used.

    1  the session exists                   else 401 (503 if Redis is unreachable and it is not in the cache)
    2  the report has a snapshot            else 503 warming if it is declared, 404 if it is not
    3  the session may read the node        else 404, the same as for a node that never existed
    4  the node still exists                else 410
    5  the client accepts a stored form     else 406
    6  the data is fresh enough             else 503, or 504 for `only-if-cached`
    7  the client does not have it          else 304

A request that fails the third check learns nothing from other methods or conditions: they all come after it.
Session and snapshot are requested in one write and awaited together.

If the bounds of a client (`max-age`, `min-fresh`, `If-Write-Visible`) are not met, the reader requests a
refresh and waits for it for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from functools import lru_cache
from time import perf_counter

from reader import problem
from reader.access import RequestTokens, credentials_of, may_read
from reader.cache_control import NO_BOUNDS, CacheBounds, bounds_of
from reader.encoding import choose_encoding, takes_json, takes_plain
from reader.freshness import (
    SECOND_US,
    Freshness,
    FreshnessVerdict,
    Standings,
    as_of,
    http_date,
    is_dated,
    judge_freshness,
    of_document,
    of_report,
    retry_after_s,
)
from reader.guard import Guard
from reader.lookup import LookupResult, Lookups, ReportRequest
from reader.message import Fields, Headers, Request, Response
from reader.preconditions import CONDITIONS, Condition, weigh_conditions
from reader.read_your_writes import awaited_transaction, is_visible
from reader.snapshot import Head, Meta, StoredScope
from reader.store import StoredReports

WARMING_RETRY_S = 5
PATIENCE_S = 0.3
"""Timeout of a client with bounds that waits for a refresh."""
WRITE_PATIENCE_S = 1.5
"""Timeout of a client that waits for its write: workers check the database once a second."""
WAITING_LIMIT = 200
"""Largest number of clients that wait at a time; others get a response at once."""
_LOOK_AGAIN_S = 0.02
_RARELY_S = 0.1
_CLOSED_DAY_S = 300
"""Seconds for which a closed day may be reused without a request: late rows may still change it."""

_TYPED: Headers = (
    ("content-type", "application/json"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-site"),
)

_FRESH = FreshnessVerdict.FRESH.value
_NOBODYS = RequestTokens("")


class ReportResponder:
    """Responder for reports.

    Args:
        guard: reads sessions; None lets any client read any report.
    """

    def __init__(self, store: StoredReports, guard: Guard | None) -> None:
        self._store = store
        self._guard = guard
        self.clock = store.clock
        self._standings = Standings(self.clock.doubt)
        self._waiting = 0
        self.lookups = Lookups(store, guard)
        vary = "Accept-Encoding, Authorization, Cookie" if guard else "Accept-Encoding"
        self.common: Headers = (*_TYPED, ("vary", vary))
        """Headers of every response with documents."""

    def read_request(self, request: Request, report: str, scope: str, day: str) -> ReportRequest | Response:
        """Return the request for a document, or the challenge if it has no credentials.

        Args:
            day: an ISO date for the document of that closed day; empty for the current one.
        """
        found = credentials_of(request) if self._guard else _NOBODYS
        if found is None:
            return problem.refuse_token(token_given=False)
        accepted = request.fields.get_joined("accept-encoding")
        plain = _is_plain(request.fields)
        if not plain:
            try:
                awaited_transaction(request.header("if-write-visible"))
            except ValueError as error:
                return problem.bad_request(str(error))
        key = self._store.key(report, day)
        return ReportRequest(
            *(request.fields, report, scope, day, found.token, key, accepted, choose_encoding(accepted)),
            plain,
            request.fields.has_any(CONDITIONS),
            cookie=found.cookie,
            passed_over=found.passed_over,
        )

    async def response(self, report_request: ReportRequest) -> Response:
        """Return the response, waiting if necessary. Raises the errors of store and sessions."""
        result = self.lookups.find_cached(report_request) or await self.lookups.find_result(report_request)
        if report_request.cookie and result.roots is None:
            return await self.response(report_request.by_cookie())
        response = self.conclude_lookup(report_request, result)
        return (
            _with_challenge(report_request, await self._wait(report_request, result))
            if response is None
            else response
        )

    def conclude_lookup(self, report_request: ReportRequest, result: LookupResult) -> Response | None:
        """Return the refusal of the first check that fails, or the document; None if that requires waiting."""
        if self._guard and result.roots is None:
            return None if report_request.cookie else problem.refuse_token(token_given=True)
        response = self._conclude(report_request, result)
        return _with_challenge(report_request, response) if response and report_request.passed_over else response

    def _conclude(self, report_request: ReportRequest, result: LookupResult) -> Response | None:
        snapshot = result.snapshot
        if snapshot.meta is None:
            return problem.not_found() if report_request.day and result.is_computed else None
        refusal = self._refusal(report_request, result)
        if refusal is not None:
            return refusal
        if report_request.day:
            return self._closed(report_request, snapshot)
        if report_request.plain:
            return self._plainly(report_request, result)
        return self._by_age(report_request, result)

    # Checks

    def _refusal(self, report_request: ReportRequest, result: LookupResult) -> Response | None:
        snapshot = result.snapshot
        refusal = refuse_unseen(snapshot, report_request.scope, result.roots if self._guard else None)
        if refusal or snapshot.head is None or snapshot.body is None:
            return refusal or problem.not_found()
        if not (snapshot.encoding or takes_plain(report_request.accepted)):
            return problem.not_acceptable()
        if report_request.plain or takes_json(report_request.fields.get_joined("accept")):
            return None
        return problem.not_acceptable()

    def _plainly(self, report_request: ReportRequest, result: LookupResult) -> Response:
        """Respond to a client without bounds; what its headers say about the report is the same for a second."""
        snapshot, meta = result.snapshot, _meta(result.snapshot)
        now_us = self.clock.now_us() + meta.clock_offset_us
        standing = self._standings.standing_at(meta, now_us)
        if standing.verdict is not FreshnessVerdict.FRESH or result.source == "memory":
            return self._judged(report_request, result, self.judge_freshness(meta, NO_BOUNDS), NO_BOUNDS)
        headers = self._headers(_head(snapshot), meta, standing.headers)
        age_s = max(0, now_us - meta.verified_us) / SECOND_US
        response = _document(report_request, snapshot, _FRESH, headers, age_s)
        response.timing = time_taken(result.source, result.began)
        return response

    def _by_age(self, report_request: ReportRequest, result: LookupResult) -> Response | None:
        """Respond to a conditional request; return None if its conditions may be met after a wait."""
        if not _sees(awaited_transaction(report_request.fields.get_joined("if-write-visible")), result.snapshot):
            return None
        bounds = bounds_of(report_request.fields.get_joined("cache-control"))
        freshness = self.judge_freshness(_meta(result.snapshot), bounds)
        if freshness.verdict is FreshnessVerdict.NOT_FRESH_ENOUGH:
            return None
        return self._judged(report_request, result, freshness, bounds)

    def judge_freshness(self, meta: Meta, bounds: CacheBounds) -> Freshness:
        """Return the freshness by the clock of the report's instants."""
        now_us = self.clock.now_us() + meta.clock_offset_us
        return judge_freshness(meta, now_us, bounds, self.clock.doubt(meta, now_us))

    def _judged(
        self, report_request: ReportRequest, result: LookupResult, freshness: Freshness, bounds: CacheBounds
    ) -> Response:
        """Return the document or the refusal of an old one; request a refresh if it is not fresh."""
        if freshness.doubt:
            self.clock.doubts[freshness.doubt] += 1
        if freshness.verdict is not FreshnessVerdict.FRESH and result.source != "memory":
            self._store.request_refresh(report_request.report)
        if freshness.verdict in {FreshnessVerdict.TOO_STALE, FreshnessVerdict.NOT_FRESH_ENOUGH}:
            return too_old(freshness, result.snapshot, bounds)
        return self._serve(report_request, result, freshness)

    # Waiting

    async def _wait(self, report_request: ReportRequest, result: LookupResult) -> Response:
        """Respond to a request for a report that was never computed, or wait for the refresh that it needs."""
        if result.snapshot.meta is None:
            return await self.refuse_absent(report_request.report)
        bounds = bounds_of(report_request.fields.get_joined("cache-control"))
        written = awaited_transaction(report_request.fields.get_joined("if-write-visible"))
        self._store.request_refresh(report_request.report)
        result = await self._await_fresher(report_request, bounds, written)
        snapshot = result.snapshot
        if self._guard and result.roots is None:
            return problem.refuse_token(token_given=True)
        if snapshot.meta is None:
            return await self.refuse_absent(report_request.report)
        refusal = self._refusal(report_request, result)
        if refusal is not None:
            return refusal
        freshness = self.judge_freshness(_meta(snapshot), bounds)
        if freshness.verdict is not FreshnessVerdict.TOO_STALE and not _sees(written, snapshot):
            return problem.not_yet_visible(retry_after_s(_meta(snapshot)))
        return self._judged(report_request, result, freshness, bounds)

    async def _await_fresher(
        self, report_request: ReportRequest, bounds: CacheBounds, written: int | None
    ) -> LookupResult:
        """Return the report once it meets the client's conditions, or its state at the timeout.

        Each lookup reads the session too, which may end meanwhile.
        """
        patience_s, pause_s = (PATIENCE_S if written is None else WRITE_PATIENCE_S), _LOOK_AGAIN_S
        ends = asyncio.get_running_loop().time() + (0 if bounds.only_if_cached else patience_s)
        while True:
            result = await self.lookups.fetch_result(report_request)
            snapshot = result.snapshot
            if snapshot.meta is None or snapshot.body is None or (self._guard and result.roots is None):
                return result
            freshness = self.judge_freshness(snapshot.meta, bounds)
            met = freshness.verdict is not FreshnessVerdict.NOT_FRESH_ENOUGH and _sees(written, snapshot)
            if met or asyncio.get_running_loop().time() >= ends or self._waiting >= WAITING_LIMIT:
                return result
            self._waiting += 1
            try:
                await asyncio.sleep(pause_s)
            finally:
                self._waiting -= 1
            pause_s = min(1.3 * pause_s, _RARELY_S)

    async def refuse_absent(self, report: str) -> Response:
        """Refuse a report without a snapshot: warming if it is declared, since a worker will compute it."""
        if not await self._store.is_declared(report):
            return problem.not_found()
        self._store.request_refresh(report)
        return problem.refuse(
            problem.WARMING,
            "The report is declared but not computed yet; retry later.",
            headers=(("retry-after", str(WARMING_RETRY_S)),),
        )

    # Serving

    def _serve(self, report_request: ReportRequest, result: LookupResult, freshness: Freshness) -> Response:
        snapshot = result.snapshot
        verdict, meta = freshness.verdict, _meta(snapshot)
        headers = of_report(freshness, meta)
        if result.source == "memory":
            verdict, headers = FreshnessVerdict.STALE, _as_memory(headers)
        headers = self._headers(_head(snapshot), meta, headers)
        response = _document(report_request, snapshot, verdict.value, headers, freshness.age_us / SECOND_US)
        response.timing = time_taken(result.source, result.began)
        return response

    def _headers(self, head: Head, meta: Meta, of_the_report: Headers) -> Headers:
        return self.common + of_document(head.etag, head.as_of_us, is_dated(head, meta)) + of_the_report

    def _closed(self, report_request: ReportRequest, snapshot: StoredScope) -> Response:
        """Return the document of a closed day, which only late rows within the report's window change."""
        head, meta = _head(snapshot), _meta(snapshot)
        headers: Headers = (
            *self.common,
            ("etag", f'W/"{head.etag}"'),
            ("memento-datetime", http_date(meta.verified_us)),
            ("as-of", as_of(meta.verified_us)),
            ("cache-control", f"private, max-age={_CLOSED_DAY_S}"),
        )
        return _document(report_request, snapshot, "closed_day", headers, None)


def _with_challenge(report_request: ReportRequest, response: Response) -> Response:
    """Add the challenge if the Bearer has no session and the cookie replaced it."""
    if report_request.passed_over:
        response.headers = (*response.headers, problem.INVALID_TOKEN)
    return response


def _document(
    report_request: ReportRequest, snapshot: StoredScope, outcome: str, headers: Headers, age_s: float | None
) -> Response:
    """Return the document, or 304 or 412 by its conditions. A closed day has no date of its last change."""
    weighed = _weighed(report_request, snapshot) if report_request.conditional else Condition.MET
    if weighed is Condition.FAILED:
        return problem.precondition_failed()
    if weighed is Condition.HELD:
        return Response(304, "not_modified", headers[1:], b"", age_s)
    if snapshot.encoding:
        headers = (*headers, ("content-encoding", snapshot.encoding))
    return Response(200, outcome, headers, snapshot.body or b"", age_s)


def _weighed(report_request: ReportRequest, snapshot: StoredScope) -> Condition:
    head = _head(snapshot)
    changed_s = None if report_request.day else head.as_of_us // SECOND_US
    dated = is_dated(head, _meta(snapshot))
    return weigh_conditions(report_request.fields, head.etag, changed_s=changed_s, dated=dated)


def _as_memory(headers: Headers) -> Headers:
    """Return the headers of a document served while Redis is unreachable: stale at any age, with its source."""
    replaced = {
        "freshness": FreshnessVerdict.STALE.value,
        "cache-status": "reports; hit; detail=redis-unreachable",
    }
    return tuple([(name, replaced.get(name, value)) for name, value in headers])


def _is_plain(fields: Fields) -> bool:
    """Return True if the client accepts JSON, of any age that the report allows."""
    if fields.get_joined("if-write-visible") or not takes_json(fields.get_joined("accept")):
        return False
    return bounds_of(fields.get_joined("cache-control")) is NO_BOUNDS


def time_taken(source: str, began: float) -> str:
    """Return the value of Server-Timing: the source of a document, and the milliseconds since `began`."""
    return _in_words(source, int((perf_counter() - began) * 100_000))


@lru_cache(maxsize=1024)
def _in_words(source: str, hundredths_ms: int) -> str:
    return f"{source};dur={hundredths_ms / 100:.2f}"


def _sees(written: int | None, snapshot: StoredScope) -> bool:
    return written is None or is_visible(written, _meta(snapshot).visible)


def _meta(snapshot: StoredScope) -> Meta:
    assert snapshot.meta is not None  # noqa: S101  check 2
    return snapshot.meta


def _head(snapshot: StoredScope) -> Head:
    assert snapshot.head is not None  # noqa: S101  check 3
    return snapshot.head


def refuse_unseen(snapshot: StoredScope, scope: str, roots: AbstractSet[str] | None) -> Response | None:
    """Return the refusal of a node that is removed or that the session may not read, else None.

    A removed node whose path was not kept is shown as removed only to sessions that have it as a root.
    """
    path = snapshot.head.path if snapshot.head else (scope,)
    if roots is not None and not may_read(roots, path):
        return problem.not_found()
    if snapshot.gone_us is None:
        return None
    return problem.refuse(problem.GONE, f"The node was removed before {as_of(snapshot.gone_us)}.")


def too_old(freshness: Freshness, snapshot: StoredScope, bounds: CacheBounds) -> Response:
    """Return the refusal of a report because of its age, with its times and Retry-After."""
    kind, detail, status = _reason(freshness, bounds)
    meta, failure = _meta(snapshot), snapshot.failure
    return problem.refuse(
        kind,
        detail,
        status=status,
        headers=(("retry-after", str(retry_after_s(meta))),),
        as_of=as_of(meta.verified_us),
        age=freshness.age_us // SECOND_US,
        clock_in_doubt=freshness.doubt or None,
        last_error={"at": as_of(failure.at_us), "error": failure.error} if failure else None,
    )


def _reason(freshness: Freshness, bounds: CacheBounds) -> tuple[problem.Problem, str, int]:
    """Return the problem, its detail and its status."""
    age = freshness.age_us // SECOND_US
    if freshness.verdict is FreshnessVerdict.TOO_STALE:
        detail = f"The data was last known to be true {age} s ago; `Cache-Control: max-stale` returns it anyway."
        return problem.TOO_STALE, detail, problem.TOO_STALE.status
    detail = f"Cache-Control: the data is {age} s old, within the report's limits but not within yours."
    return problem.NOT_FRESH_ENOUGH, detail, 504 if bounds.only_if_cached else 503
