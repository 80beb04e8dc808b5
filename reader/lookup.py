"""Lookup of one report for one session: the session's roots and the snapshot, of one moment.

    copy      from the cache, if it is proven; without waiting
    redis     both in one write, awaited together
    memory    the last known state, while Redis is unreachable

A closed day is looked up together with today's standing of its node, which decides who may read it.

The lookup of a known token and a known variant is three plain reads, packed at once (see `send_lookup`).
Every other case (a session to load, an absent variant, a connection to open) waits in `find_result`.
"""

from __future__ import annotations

from collections.abc import Callable, Set as AbstractSet
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from reader.connection import StoreUnavailable
from reader.guard import Guard, KnownToken
from reader.message import Fields
from reader.snapshot import StoredScope, with_path_of
from reader.store import PendingLookup, StoredReports

_NOBODY: AbstractSet[str] = frozenset()
"""The roots used without sessions."""


@dataclass(slots=True)
class ReportRequest:
    """Request for one document, with its credentials.

    Attributes:
        fields: header fields of the request.
        day: an ISO date for the document of that closed day; empty for the current one.
        token: token of the session; empty if no session is needed.
        key: Redis key of the report.
        accepted: the client's Accept-Encoding; `encoding` is the stored variant chosen by it.
        plain: True if the client takes JSON of any age within the report's limits, as most do.
        conditional: True if the response depends on what the client has.
        cookie: the token to try if the first has no session; empty if there is no second.
        passed_over: True if the Bearer has no session and the cookie replaced it.
    """

    fields: Fields = field(repr=False)
    report: str
    scope: str
    day: str
    token: str = field(repr=False)
    key: str
    accepted: str
    encoding: str
    plain: bool
    conditional: bool
    cookie: str = field(default="", repr=False)
    passed_over: bool = False

    def by_cookie(self) -> ReportRequest:
        """Return the request with the token from the cookie."""
        return replace(self, token=self.cookie, cookie="", passed_over=True)


@dataclass(slots=True)
class LookupResult:
    """Result of a lookup.

    Attributes:
        roots: roots of the session; None if there is no session.
        source: `copy`, `redis` or `memory`.
        began: start of the lookup by `perf_counter`.
        is_computed: True if the report exists today; a day of another report is not served.
    """

    roots: AbstractSet[str] | None
    snapshot: StoredScope
    source: str
    began: float
    is_computed: bool = True


class Lookup:
    """Lookup under way: collects the replies, and calls back once, after the last reply or without any."""

    __slots__ = ("_left", "_tell", "began", "known", "pending", "replies", "roots")

    def __init__(
        self,
        pending: PendingLookup,
        roots: AbstractSet[str] | None,
        known: KnownToken | None,
        tell: Callable[[Lookup], None],
    ) -> None:
        self.pending = pending
        self.roots = roots
        self.known = known
        self.replies: list[Any] = []
        self.began = perf_counter()
        self._left = 1 if known is None else 3
        self._tell = tell

    def done(self) -> bool:
        """Return True if no reply is awaited."""
        return not self._left

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply has any type
        """Take the next reply."""
        self.replies.append(reply)
        self._left -= 1
        if not self._left:
            tell, self._tell = self._tell, _tell_nobody  # the lookup may be referenced until its deadline
            tell(self)

    def set_exception(self, _error: Exception, /) -> None:
        """Call back without replies: there will be none."""
        self.replies = []
        self._left = 0
        tell, self._tell = self._tell, _tell_nobody
        tell(self)


def _tell_nobody(_lookup: Lookup) -> None:
    """Do nothing: the lookup has ended."""


class Lookups:
    """Lookups in the cache, in Redis and in memory.

    Args:
        guard: reads sessions; None lets any client read any report.
    """

    def __init__(self, store: StoredReports, guard: Guard | None) -> None:
        self._store = store
        self._guard = guard

    def find_cached(self, request: ReportRequest) -> LookupResult | None:
        """Return the result from the cache if it is provably current, else None."""
        if not self._store.proven:
            return None
        began = perf_counter()
        snapshot = self._store.current_document(request.key, request.scope, request.encoding)
        if snapshot is not None and request.day:
            today = self._store.current_standing(request.report, request.scope)
            snapshot = None if today is None else with_path_of(snapshot, today)
        if snapshot is None:
            return None
        roots = _NOBODY if self._guard is None else self._guard.current_roots(request.token)
        return None if roots is None else LookupResult(roots, snapshot, "copy", began)

    def send_lookup(self, request: ReportRequest, tell: Callable[[Lookup], None]) -> bool:
        """Send the lookup of a known token and variant; `tell` is called once the replies can be read.

        Returns:
            False if the lookup takes more than that; then nothing was sent.
        """
        if request.day:
            return False
        roots, known = self._current_roots(request), None
        if self._guard is not None and roots is None:
            known = self._guard.known_token(request.token)
            if known is None:
                return False
        pending = self._store.lookup_of(request.key, request.scope, request.encoding)
        lookup = Lookup(pending, roots, known, tell)
        if known is None:
            return self._store.send_packed(pending.command, lookup, 1)
        return self._store.send_packed(known.commands + pending.command, lookup, 3)

    def read_result(self, lookup: Lookup) -> LookupResult | None:
        """Return the result of the replies, or None if they do not suffice.

        Raises:
            SnapshotUnreadable, SessionsUnavailable: the stored value is not in the agreed format.
        """
        replies, lookup.replies = lookup.replies, []  # as in Lookup
        if not replies or type(replies[-1]) is not list:
            return None
        roots = lookup.roots
        if self._guard is not None and lookup.known is not None:
            record, epoch, _ = replies
            if type(record) is list:
                roots = self._guard.read_roots(lookup.known, record, epoch, lookup.pending.generation)
        if roots is None:
            return None
        snapshot = self._store.read_snapshot(lookup.pending, replies[-1])
        return None if snapshot is None else LookupResult(roots, snapshot, "redis", lookup.began)

    async def find_result(self, request: ReportRequest) -> LookupResult:
        """Return the result from Redis, or from memory while Redis is unreachable.

        Raises:
            StoreUnavailable, SessionsUnavailable, SnapshotUnreadable: neither is available.
        """
        began = perf_counter()
        try:
            return await self.fetch_result(request)
        except StoreUnavailable:
            roots = self._guard.remembered_roots(request.token) if self._guard else _NOBODY
            snapshot = self._store.remembered_document(request.key, request.scope, request.encoding)
            if snapshot is not None and request.day:
                today = self._store.remembered_standing(request.report, request.scope)
                snapshot = None if today is None else with_path_of(snapshot, today)
            if roots is None or snapshot is None:
                raise
            return LookupResult(roots, snapshot, "memory", began)

    def _current_roots(self, request: ReportRequest) -> AbstractSet[str] | None:
        if self._guard is None:
            return _NOBODY
        return self._guard.current_roots(request.token) if self._store.proven else None

    async def fetch_result(self, request: ReportRequest) -> LookupResult:
        """Return the result from Redis, sending as many commands as are needed.

        Raises:
            StoreUnavailable, SessionsUnavailable, SnapshotUnreadable: it is not available.
        """
        roots, began = self._current_roots(request), perf_counter()
        session = await self._guard.send_query(request.token) if self._guard and roots is None else None
        standing = await self._store.send_standing_lookup(request.report, request.scope) if request.day else None
        pending, reply = await self._store.send_lookup(request.key, request.scope, request.encoding)
        try:
            if self._guard and roots is None:
                roots = await self._guard.roots(request.token, session) if session else None
        except BaseException:
            reply.cancel()
            if standing is not None:
                standing[1].cancel()
            raise
        snapshot = await self._store.fetch_snapshot(pending, reply)
        if standing is None:
            return LookupResult(roots, snapshot, "redis", began)
        today = await self._store.standing(*standing)
        return LookupResult(
            roots, with_path_of(snapshot, today), "redis", began, is_computed=today.meta is not None
        )
