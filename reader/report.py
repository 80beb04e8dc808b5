"""One report for one asker: the doors a request passes before a body is touched.

    1  a session that lives        else 401 (503 when Redis is away: nobody is let in on a guess)
    2  a snapshot of the report    else 503 warming when it is declared, 404 when it is not
    3  a node within their reach   else 404, the same as for a node that never existed
    4  a node that still exists    else 410
    5  data young enough           else 503, or 504 for `only-if-cached`
    6  not already held            else 304

Whoever is stopped at the third door learns nothing by trying other methods or conditions: they all come
after it.
"""

from __future__ import annotations

from collections.abc import Callable, Set as AbstractSet
from time import perf_counter, time_ns

from reader import problem
from reader.access import allowed, roots_of, token_of
from reader.bounds import Bounds, bounds_of
from reader.freshness import (
    SECOND_US,
    Freshness,
    Verdict,
    as_of,
    headers_of,
    judge,
    matches,
    retry_after_s,
)
from reader.message import Answer, Headers, Request
from reader.snapshot import Failure, Head, Meta, Snapshot
from reader.store import Store
from sessions import Sessions

WARMING_RETRY_S = 5


def now_us() -> int:
    """This machine's clock, in microseconds since 1970."""
    return time_ns() // 1000


class Reports:
    """Answers for reports. Without `sessions`, everybody may read everything."""

    def __init__(self, store: Store, sessions: Sessions | None, *, clock: Callable[[], int] = now_us) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock
        self._vary: Headers = (("vary", "Authorization, Cookie"),) if sessions else ()

    async def answer(self, request: Request, report: str, scope: int) -> Answer:
        """The report's document for one node, or why not. Raises what the store and the sessions raise."""
        began = perf_counter()
        roots = await self._roots(request)
        if isinstance(roots, Answer):
            return roots
        snapshot = await self._store.snapshot(report, scope)
        if snapshot.meta is None:
            return await self._absent(report)
        refusal = _unseen(snapshot, scope, roots)
        if refusal or snapshot.head is None or snapshot.body is None:
            return refusal or problem.not_found()
        bounds = bounds_of(request.header("cache-control"))
        freshness = judge(snapshot.meta, self._clock(), bounds)
        if freshness.verdict in {Verdict.TOO_STALE, Verdict.NOT_FRESH_ENOUGH}:
            return _too_old(freshness, snapshot.meta, snapshot.failure, bounds)
        timing = ("server-timing", f"redis;dur={(perf_counter() - began) * 1000:.2f}")
        headers = (*headers_of(freshness, snapshot.meta, snapshot.head), *self._vary, timing)
        return _serve(request, snapshot.head, snapshot.body, freshness, headers)

    async def _roots(self, request: Request) -> AbstractSet[int] | Answer | None:
        """The asker's roots, None where everybody may read everything, or the answer that sends them away."""
        if self._sessions is None:
            return None
        token = token_of(request)
        session = await self._sessions.load(token) if token else None
        return roots_of(session.data) if session else problem.unauthorised(token_given=bool(token))

    async def _absent(self, report: str) -> Answer:
        """A cold cache is not an absent resource: what is declared will come."""
        if not await self._store.declared(report):
            return problem.not_found()
        return problem.refuse(
            problem.WARMING,
            "The report is declared and waits for its first computation.",
            headers=(("retry-after", str(WARMING_RETRY_S)),),
        )


def _unseen(snapshot: Snapshot, scope: int, roots: AbstractSet[int] | None) -> Answer | None:
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


def _serve(request: Request, head: Head, body: bytes, freshness: Freshness, headers: Headers) -> Answer:
    age_s = freshness.age_us / SECOND_US
    if matches(request.header("if-none-match"), head.etag):
        return Answer(status=304, outcome="not_modified", headers=headers, age_s=age_s)
    typed = (("content-type", "application/json"), ("x-content-type-options", "nosniff"), *headers)
    return Answer(status=200, outcome=freshness.verdict.value, headers=typed, body=body, age_s=age_s)


def _too_old(freshness: Freshness, meta: Meta, failure: Failure | None, bounds: Bounds) -> Answer:
    """Refused for its age: with what is known of it, and when to ask again."""
    kind, detail, status = _reason(freshness, bounds)
    return problem.refuse(
        kind,
        detail,
        status=status,
        headers=(("retry-after", str(retry_after_s(meta))),),
        as_of=as_of(meta.verified_us),
        age=freshness.age_us // SECOND_US,
        last_error={"at": as_of(failure.at_us), "error": failure.error} if failure else None,
    )


def _reason(freshness: Freshness, bounds: Bounds) -> tuple[problem.Problem, str, int]:
    """Which refusal, in which words, with which status."""
    age = freshness.age_us // SECOND_US
    if freshness.verdict is Verdict.TOO_STALE:
        detail = f"It was last known to be true {age} s ago; `Cache-Control: max-stale` shows it all the same."
        return problem.TOO_STALE, detail, problem.TOO_STALE.status
    detail = f"It is {age} s old: within the report's limits, but not within yours."
    return problem.NOT_FRESH_ENOUGH, detail, 504 if bounds.only_if_cached else 503
