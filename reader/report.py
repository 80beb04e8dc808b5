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
from collections.abc import Callable, Set as AbstractSet
from dataclasses import dataclass
from time import perf_counter, time_ns

from reader import problem
from reader.access import allowed, token_of
from reader.bounds import Bounds, bounds_of
from reader.encoding import choose, takes_json, takes_plain
from reader.freshness import (
    SECOND_US,
    Freshness,
    Verdict,
    as_of,
    headers_of,
    http_date,
    judge,
    matches,
    retry_after_s,
)
from reader.guard import Guard
from reader.message import Answer, Headers, Request
from reader.snapshot import Failure, Head, Meta, Snapshot
from reader.store import Store, StoreUnavailable
from reader.visible import is_visible, transaction

WARMING_RETRY_S = 5
PATIENCE_S = 0.3
"""How long a client with a bound waits for a refresh that is under way."""
_LOOK_AGAIN_S = 0.02
_CLOSED_DAY_S = 300
"""How long a closed day may be reused unasked: late rows may still restate it."""

_TYPED: Headers = (
    ("content-type", "application/json"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-site"),
)
_NOBODY: AbstractSet[int] = frozenset()


def now_us() -> int:
    """This machine's clock, in microseconds since 1970."""
    return time_ns() // 1000


@dataclass(slots=True)
class Seen:
    """What a look found: the asker's roots (None: no session), the snapshot, and where it came from."""

    roots: AbstractSet[int] | None
    snapshot: Snapshot
    source: str


class Reports:
    """Answers for reports.

    Args:
        guard: knows who may see what; None lets everybody read everything.
    """

    def __init__(self, store: Store, guard: Guard | None, *, clock: Callable[[], int] = now_us) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        vary = "Accept-Encoding, Authorization, Cookie" if guard else "Accept-Encoding"
        self._common: Headers = (*_TYPED, ("vary", vary))

    async def answer(self, request: Request, report: str, scope: int, day: str = "") -> Answer:
        """The report's document for one node, or why not. Raises what the store and the sessions raise.

        Args:
            day: an ISO date: the document as that day was closed.
        """
        began = perf_counter()
        token = token_of(request) if self._guard else ""
        if token is None:
            return problem.unauthorised(token_given=False)
        accepted = request.header("accept-encoding")
        key = self._store.key(report, day)
        seen = await self._look(token, key, scope, choose(accepted))
        refusal = await self._refusal(request, accepted, report, scope, day, seen)
        if refusal is not None:
            return refusal
        bounds = bounds_of(request.header("cache-control"))
        written = transaction(request.header("if-write-visible"))
        if day:
            return self._closed(request, seen.snapshot)
        freshness = self._judge(seen.snapshot, bounds)
        if freshness.verdict is Verdict.NOT_FRESH_ENOUGH or not _sees(written, seen.snapshot):
            seen.snapshot, freshness = await self._await_fresher(key, scope, choose(accepted), bounds, written)
            if freshness.verdict is not Verdict.TOO_STALE and not _sees(written, seen.snapshot):
                return problem.not_yet_visible(retry_after_s(_meta(seen.snapshot)))
        if freshness.verdict is not Verdict.FRESH and seen.source != "memory":
            await self._store.want(report)
        if freshness.verdict is Verdict.TOO_STALE or freshness.verdict is Verdict.NOT_FRESH_ENOUGH:
            return _too_old(freshness, _meta(seen.snapshot), seen.snapshot.failure, bounds)
        return self._serve(request, seen, freshness, perf_counter() - began)

    # Looking

    async def _look(self, token: str, key: str, scope: int, encoding: str) -> Seen:
        """Roots and snapshot, by the copy where it is proven, else by Redis, else as they are remembered."""
        roots = self._guard.current(token) if self._guard else _NOBODY
        snapshot = self._store.current(key, scope, encoding)
        if roots is not None and snapshot is not None:
            return Seen(roots, snapshot, "copy")
        try:
            return await self._ask(token, roots, key, scope, encoding)
        except StoreUnavailable:
            roots = self._guard.remembered(token) if self._guard else _NOBODY
            snapshot = self._store.remembered(key, scope, encoding)
            if roots is None or snapshot is None:
                raise
            return Seen(roots, snapshot, "memory")

    async def _ask(self, token: str, roots: AbstractSet[int] | None, key: str, scope: int, encoding: str) -> Seen:
        session = await self._guard.ask(token) if self._guard and roots is None else None
        asked = await self._store.ask(key, scope, encoding)
        try:
            if self._guard and roots is None:
                roots = await self._guard.roots(token, session) if session else None
        except BaseException:
            asked.reply.cancel()
            raise
        return Seen(roots, await self._store.snapshot(asked), "redis")

    async def _await_fresher(
        self, key: str, scope: int, encoding: str, bounds: Bounds, written: int | None
    ) -> tuple[Snapshot, Freshness]:
        """The snapshot once it meets the client's conditions, or as it is when patience ends."""
        ends = asyncio.get_running_loop().time() + (0 if bounds.only_if_cached else PATIENCE_S)
        while True:
            snapshot = await self._store.snapshot(await self._store.ask(key, scope, encoding))
            freshness = self._judge(snapshot, bounds)
            met = freshness.verdict is not Verdict.NOT_FRESH_ENOUGH and _sees(written, snapshot)
            if met or snapshot.body is None or asyncio.get_running_loop().time() >= ends:
                return snapshot, freshness
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _judge(self, snapshot: Snapshot, bounds: Bounds) -> Freshness:
        return judge(_meta(snapshot), self._clock(), bounds)

    # Refusing

    async def _refusal(
        self, request: Request, accepted: str, report: str, scope: int, day: str, seen: Seen
    ) -> Answer | None:
        """The answer of the first door that stays shut, or None."""
        snapshot = seen.snapshot
        if self._guard and seen.roots is None:
            return problem.unauthorised(token_given=True)
        if snapshot.meta is None:
            return problem.not_found() if day else await self._absent(report)
        refusal = _unseen(snapshot, scope, seen.roots if self._guard else None)
        if refusal or snapshot.head is None or snapshot.body is None:
            return refusal or problem.not_found()
        if not (snapshot.encoding or takes_plain(accepted)) or not takes_json(request.header("accept")):
            return problem.not_acceptable()
        return None

    async def _absent(self, report: str) -> Answer:
        """A cold cache is not an absent resource: what is declared will come."""
        if not await self._store.declared(report):
            return problem.not_found()
        await self._store.want(report)
        return problem.refuse(
            problem.WARMING,
            "The report is declared and waits for its first computation.",
            headers=(("retry-after", str(WARMING_RETRY_S)),),
        )

    # Serving

    def _serve(self, request: Request, seen: Seen, freshness: Freshness, seconds: float) -> Answer:
        snapshot = seen.snapshot
        if seen.source == "memory":
            freshness.verdict = Verdict.STALE
        headers = headers_of(freshness, _meta(snapshot), _head(snapshot))
        if seen.source == "memory":
            headers = (*headers, ("cache-status", "reports; hit; detail=redis-unreachable"))
        timing = ("server-timing", f"{seen.source};dur={seconds * 1000:.2f}")
        headers = (*self._common, *headers, timing)
        return _document(request, snapshot, freshness.verdict.value, headers, freshness.age_us / SECOND_US)

    def _closed(self, request: Request, snapshot: Snapshot) -> Answer:
        """A closed day changes only when late rows are written into it, within the report's window."""
        head, meta = _head(snapshot), _meta(snapshot)
        headers: Headers = (
            *self._common,
            ("etag", f'W/"{head.etag}"'),
            ("memento-datetime", http_date(meta.verified_us)),
            ("as-of", as_of(meta.verified_us)),
            ("cache-control", f"private, max-age={_CLOSED_DAY_S}"),
        )
        return _document(request, snapshot, "closed_day", headers, None)


def _document(request: Request, snapshot: Snapshot, outcome: str, headers: Headers, age_s: float | None) -> Answer:
    if matches(request.header("if-none-match"), _head(snapshot).etag):
        return Answer(status=304, outcome="not_modified", headers=headers[1:], age_s=age_s)
    if snapshot.encoding:
        headers = (*headers, ("content-encoding", snapshot.encoding))
    return Answer(status=200, outcome=outcome, headers=headers, body=snapshot.body or b"", age_s=age_s)


def _sees(written: int | None, snapshot: Snapshot) -> bool:
    return written is None or is_visible(written, _meta(snapshot).visible)


def _meta(snapshot: Snapshot) -> Meta:
    assert snapshot.meta is not None  # noqa: S101  the second door
    return snapshot.meta


def _head(snapshot: Snapshot) -> Head:
    assert snapshot.head is not None  # noqa: S101  the third door
    return snapshot.head


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
