"""One report for one asker: the doors a request passes before a body is touched.

    1  a session that lives        else 401 (503 when Redis is away and no copy can vouch for it)
    2  a snapshot of the report    else 503 warming when it is declared, 404 when it is not
    3  a node within their reach   else 404, the same as for a node that never existed
    4  a node that still exists    else 410
    5  a form the client takes     else 406
    6  data young enough           else 503, or 504 for `only-if-cached`
    7  not already held            else 304

Whoever is stopped at the third door learns nothing by trying other methods or conditions: they all come
after it. Session and snapshot are asked for in one write and awaited together.

A client with a bound of its own (`max-age`, `min-fresh`, `If-Write-Visible`) that is not met makes the report
wanted, and waits a moment for the refresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from functools import lru_cache
from time import perf_counter

from reader import problem
from reader.access import RequestTokens, allowed, credentials_of
from reader.cache_control import NO_BOUNDS, CacheBounds, bounds_of
from reader.encoding import choose, takes_json, takes_plain
from reader.freshness import (
    SECOND_US,
    Freshness,
    FreshnessVerdict,
    Standings,
    as_of,
    http_date,
    is_dated,
    judge,
    of_document,
    of_report,
    retry_after_s,
)
from reader.guard import Guard
from reader.lookup import LookupResult, Lookups, ReportRequest
from reader.message import Headers, Request, Response
from reader.preconditions import CONDITIONS, Condition, weigh
from reader.read_your_writes import is_visible, transaction
from reader.snapshot import Head, Meta, StoredScope
from reader.store import StoredReports

WARMING_RETRY_S = 5
PATIENCE_S = 0.3
"""How long a client with a bound waits for a refresh that is under way."""
WRITE_PATIENCE_S = 1.5
"""How long one waits whose write is to be in: the database is looked at once a second."""
WAITING_LIMIT = 200
"""Clients who wait at a time; others are told at once."""
_LOOK_AGAIN_S = 0.02
_RARELY_S = 0.1
_CLOSED_DAY_S = 300
"""How long a closed day may be reused unasked: late rows may still restate it."""

_TYPED: Headers = (
    ("content-type", "application/json"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-site"),
)

_NOBODYS = RequestTokens("")


class ReportResponder:
    """Answers for reports.

    Args:
        guard: knows who may see what; None lets everybody read everything.
    """

    def __init__(self, store: StoredReports, guard: Guard | None) -> None:
        self._store = store
        self._guard = guard
        self.clock = store.clock
        self._standings = Standings(self.clock.doubt)
        self._waiting = 0
        self.looks = Lookups(store, guard)
        vary = "Accept-Encoding, Authorization, Cookie" if guard else "Accept-Encoding"
        self._common: Headers = (*_TYPED, ("vary", vary))

    def question(self, request: Request, report: str, scope: int, day: str) -> ReportRequest | Response:
        """What is asked and as whom, or the challenge for who does not say.

        Args:
            day: an ISO date: the document as that day was closed; empty for now.
        """
        found = credentials_of(request) if self._guard else _NOBODYS
        if found is None:
            return problem.unauthorised(token_given=False)
        accepted = request.header("accept-encoding")
        plain = _states_nothing(request)
        if not plain:
            try:
                transaction(request.header("if-write-visible"))
            except ValueError as error:
                return problem.bad_request(str(error))
        key = self._store.key(report, day)
        return ReportRequest(
            *(request, report, scope, day, found.token, key, accepted, choose(accepted), plain),
            cookie=found.cookie,
            passed_over=found.passed_over,
        )

    async def answer(self, question: ReportRequest) -> Response:
        """The answer, however long it takes. Raises what the store and the sessions raise."""
        seen = self.looks.recall(question) or await self.looks.look(question)
        if question.cookie and seen.roots is None:
            return await self.answer(question.by_cookie())
        answer = self.conclude(question, seen)
        return _with_challenge(question, await self._wait(question, seen)) if answer is None else answer

    def conclude(self, question: ReportRequest, seen: LookupResult) -> Response | None:
        """The answer of the first door that stays shut, or the document; None when that takes waiting."""
        if self._guard and seen.roots is None:
            return None if question.cookie else problem.unauthorised(token_given=True)
        answer = self._conclude(question, seen)
        return _with_challenge(question, answer) if answer and question.passed_over else answer

    def _conclude(self, question: ReportRequest, seen: LookupResult) -> Response | None:
        snapshot = seen.snapshot
        if snapshot.meta is None:
            return problem.not_found() if question.day and seen.is_computed else None
        refusal = self._refusal(question, seen)
        if refusal is not None:
            return refusal
        if question.day:
            return self._closed(question, snapshot)
        if question.plain:
            return self._plainly(question, seen)
        return self._by_age(question, seen)

    # Judging

    def _refusal(self, question: ReportRequest, seen: LookupResult) -> Response | None:
        snapshot = seen.snapshot
        refusal = _unseen(snapshot, question.scope, seen.roots if self._guard else None)
        if refusal or snapshot.head is None or snapshot.body is None:
            return refusal or problem.not_found()
        if not (snapshot.encoding or takes_plain(question.accepted)):
            return problem.not_acceptable()
        if question.plain or takes_json(question.request.header("accept")):
            return None
        return problem.not_acceptable()

    def _plainly(self, question: ReportRequest, seen: LookupResult) -> Response:
        """For who states no conditions: what there is to say to them of a document is the same for a second."""
        snapshot, meta = seen.snapshot, _meta(seen.snapshot)
        now_us = self.clock.now_us() + meta.clock_offset_us
        standing = self._standings.at(meta, now_us)
        if standing.verdict is not FreshnessVerdict.FRESH or seen.source == "memory":
            return self._judged(question, seen, self._judge(meta, NO_BOUNDS), NO_BOUNDS)
        head = _head(snapshot)
        name = (head.etag, head.as_of_us, snapshot.encoding)
        said = standing.said.get(name)
        if said is None:
            said = self._headers(head, meta, standing.headers, snapshot.encoding)
            standing.keep(name, said)
        age_s = max(0, now_us - meta.verified_us) / SECOND_US
        return Response(200, standing.verdict.value, said, snapshot.body or b"", age_s, _timing(seen))

    def _by_age(self, question: ReportRequest, seen: LookupResult) -> Response | None:
        """For who states conditions; None when they may be met by waiting."""
        if not _sees(transaction(question.request.header("if-write-visible")), seen.snapshot):
            return None
        bounds = bounds_of(question.request.header("cache-control"))
        freshness = self._judge(_meta(seen.snapshot), bounds)
        if freshness.verdict is FreshnessVerdict.NOT_FRESH_ENOUGH:
            return None
        return self._judged(question, seen, freshness, bounds)

    def _judge(self, meta: Meta, bounds: CacheBounds) -> Freshness:
        """By the clock that stamped it."""
        now_us = self.clock.now_us() + meta.clock_offset_us
        return judge(meta, now_us, bounds, self.clock.doubt(meta, now_us))

    def _judged(
        self, question: ReportRequest, seen: LookupResult, freshness: Freshness, bounds: CacheBounds
    ) -> Response:
        """The document with its label, or the refusal of one that is too old; what is not fresh is wished for."""
        if freshness.doubt:
            self.clock.doubts[freshness.doubt] += 1
        if freshness.verdict is not FreshnessVerdict.FRESH and seen.source != "memory":
            self._store.want(question.report)
        if freshness.verdict in {FreshnessVerdict.TOO_STALE, FreshnessVerdict.NOT_FRESH_ENOUGH}:
            return _too_old(freshness, seen.snapshot, bounds)
        return self._serve(question, seen, freshness)

    # Waiting

    async def _wait(self, question: ReportRequest, seen: LookupResult) -> Response:
        """For a report that was never computed, or for the refresh that this client needs."""
        if seen.snapshot.meta is None:
            return await self._absent(question.report)
        bounds = bounds_of(question.request.header("cache-control"))
        written = transaction(question.request.header("if-write-visible"))
        self._store.want(question.report)
        seen = await self._await_fresher(question, bounds, written)
        snapshot = seen.snapshot
        if self._guard and seen.roots is None:
            return problem.unauthorised(token_given=True)
        if snapshot.meta is None:
            return await self._absent(question.report)
        refusal = self._refusal(question, seen)
        if refusal is not None:
            return refusal
        freshness = self._judge(_meta(snapshot), bounds)
        if freshness.verdict is not FreshnessVerdict.TOO_STALE and not _sees(written, snapshot):
            return problem.not_yet_visible(retry_after_s(_meta(snapshot)))
        return self._judged(question, seen, freshness, bounds)

    async def _await_fresher(
        self, question: ReportRequest, bounds: CacheBounds, written: int | None
    ) -> LookupResult:
        """The report once it meets the client's conditions, or as it is when patience ends.

        Each look asks for the session as well: it may end meanwhile.
        """
        patience_s, pause_s = (PATIENCE_S if written is None else WRITE_PATIENCE_S), _LOOK_AGAIN_S
        ends = asyncio.get_running_loop().time() + (0 if bounds.only_if_cached else patience_s)
        while True:
            seen = await self.looks.ask(question)
            snapshot = seen.snapshot
            if snapshot.meta is None or snapshot.body is None or (self._guard and seen.roots is None):
                return seen
            freshness = self._judge(snapshot.meta, bounds)
            met = freshness.verdict is not FreshnessVerdict.NOT_FRESH_ENOUGH and _sees(written, snapshot)
            if met or asyncio.get_running_loop().time() >= ends or self._waiting >= WAITING_LIMIT:
                return seen
            self._waiting += 1
            try:
                await asyncio.sleep(pause_s)
            finally:
                self._waiting -= 1
            pause_s = min(1.3 * pause_s, _RARELY_S)

    async def _absent(self, report: str) -> Response:
        """A cold cache is not an absent resource: what is declared will come."""
        if not await self._store.declared(report):
            return problem.not_found()
        self._store.want(report)
        return problem.refuse(
            problem.WARMING,
            "The report is declared and waits for its first computation.",
            headers=(("retry-after", str(WARMING_RETRY_S)),),
        )

    # Serving

    def _serve(self, question: ReportRequest, seen: LookupResult, freshness: Freshness) -> Response:
        snapshot = seen.snapshot
        verdict, meta = freshness.verdict, _meta(snapshot)
        headers = of_report(freshness, meta)
        if seen.source == "memory":
            verdict, headers = FreshnessVerdict.STALE, _as_memory(headers)
        headers = self._headers(_head(snapshot), meta, headers)
        answer = _document(question, snapshot, verdict.value, headers, freshness.age_us / SECOND_US)
        answer.timing = _timing(seen)
        return answer

    def _headers(self, head: Head, meta: Meta, of_the_report: Headers, encoding: str = "") -> Headers:
        coded: Headers = (("content-encoding", encoding),) if encoding else ()
        named = of_document(head.etag, head.as_of_us, is_dated(head, meta))
        return (*self._common, *named, *of_the_report, *coded)

    def _closed(self, question: ReportRequest, snapshot: StoredScope) -> Response:
        """A closed day changes only when late rows are written into it, within the report's window."""
        head, meta = _head(snapshot), _meta(snapshot)
        headers: Headers = (
            *self._common,
            ("etag", f'W/"{head.etag}"'),
            ("memento-datetime", http_date(meta.verified_us)),
            ("as-of", as_of(meta.verified_us)),
            ("cache-control", f"private, max-age={_CLOSED_DAY_S}"),
        )
        return _document(question, snapshot, "closed_day", headers, None)


def _with_challenge(question: ReportRequest, answer: Response) -> Response:
    """Say that a Bearer opened nothing, where it gave way to the cookie."""
    if question.passed_over:
        answer.headers = (*answer.headers, problem.INVALID_TOKEN)
    return answer


def _document(
    question: ReportRequest, snapshot: StoredScope, outcome: str, headers: Headers, age_s: float | None
) -> Response:
    """The document, unless the client's conditions say otherwise. A closed day has no date of its last change."""
    head = _head(snapshot)
    changed_s = None if question.day else head.as_of_us // SECOND_US
    weighed = weigh(question.request, head.etag, changed_s=changed_s, dated=is_dated(head, _meta(snapshot)))
    if weighed is Condition.FAILED:
        return problem.precondition_failed()
    if weighed is Condition.HELD:
        return Response(304, "not_modified", headers[1:], b"", age_s)
    if snapshot.encoding:
        headers = (*headers, ("content-encoding", snapshot.encoding))
    return Response(200, outcome, headers, snapshot.body or b"", age_s)


def _as_memory(headers: Headers) -> Headers:
    """Said of a document while Redis is away: stale, whatever its age, and where it is from."""
    said = {"freshness": FreshnessVerdict.STALE.value, "cache-status": "reports; hit; detail=redis-unreachable"}
    return tuple([(name, said.get(name, value)) for name, value in headers])


def _states_nothing(request: Request) -> bool:
    """Whether the client takes JSON as it is now, whatever its age, and has none yet."""
    unconditional = not any(map(request.header, (*CONDITIONS, "if-write-visible"))) and takes_json(
        request.header("accept")
    )
    return unconditional and bounds_of(request.header("cache-control")) is NO_BOUNDS


def _timing(seen: LookupResult) -> str:
    return _in_words(seen.source, int((perf_counter() - seen.began) * 100_000))


@lru_cache(maxsize=1024)
def _in_words(source: str, hundredths_ms: int) -> str:
    return f"{source};dur={hundredths_ms / 100:.2f}"


def _sees(written: int | None, snapshot: StoredScope) -> bool:
    return written is None or is_visible(written, _meta(snapshot).visible)


def _meta(snapshot: StoredScope) -> Meta:
    assert snapshot.meta is not None  # noqa: S101  the second door
    return snapshot.meta


def _head(snapshot: StoredScope) -> Head:
    assert snapshot.head is not None  # noqa: S101  the third door
    return snapshot.head


def _unseen(snapshot: StoredScope, scope: int, roots: AbstractSet[int] | None) -> Response | None:
    """The answer when this node is out of reach or removed; None when it may be looked at.

    A removed node whose path was not kept is shown as removed to those who have it as a root, and to nobody
    else.
    """
    path = snapshot.head.path if snapshot.head else (scope,)
    if roots is not None and not allowed(roots, path):
        return problem.not_found()
    if snapshot.gone_us is None:
        return None
    return problem.refuse(problem.GONE, f"The node was removed; seen at {as_of(snapshot.gone_us)}.")


def _too_old(freshness: Freshness, snapshot: StoredScope, bounds: CacheBounds) -> Response:
    """Refused for its age: with what is known of it, and when to ask again."""
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
    """Which refusal, in which words, with which status."""
    age = freshness.age_us // SECOND_US
    if freshness.verdict is FreshnessVerdict.TOO_STALE:
        detail = f"It was last known to be true {age} s ago; `Cache-Control: max-stale` shows it all the same."
        return problem.TOO_STALE, detail, problem.TOO_STALE.status
    detail = f"It is {age} s old: within the report's limits, but not within yours."
    return problem.NOT_FRESH_ENOUGH, detail, 504 if bounds.only_if_cached else 503
