"""The look at one report for one asker: their roots and the snapshot, of one moment.

    by the copy     where it is proven; without a wait
    by Redis        both in one write, awaited together
    by memory       as it last was, when Redis is away

A closed day is looked at together with how its node stands today: that decides who may read it.

A look at a session and a variant that were met before is three plain reads, packed once. Whatever else it may take
(a session to be loaded, a variant that is not there, a connection to be made) is `look`'s, which waits.
"""

from __future__ import annotations

from collections.abc import Callable, Set as AbstractSet
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from reader.connection import StoreUnavailable
from reader.guard import Guard, KnownToken
from reader.message import Request
from reader.snapshot import StoredScope, under
from reader.store import PendingLookup, StoredReports

_NOBODY: AbstractSet[int] = frozenset()
"""The roots where nobody needs any."""


@dataclass(slots=True)
class ReportRequest:
    """What is asked for, and as whom.

    Attributes:
        day: an ISO date: the document as that day was closed; empty for now.
        token: empty where everybody may read everything.
        accepted: the client's Accept-Encoding; `encoding` is the stored variant that it takes.
        plain: whether the client states no conditions of its own.
        cookie: the token to try when the first opens no session; empty without one.
        passed_over: whether a Bearer that opens no session gave way to the cookie.
    """

    request: Request
    report: str
    scope: int
    day: str
    token: str = field(repr=False)
    key: str
    accepted: str
    encoding: str
    plain: bool
    cookie: str = field(default="", repr=False)
    passed_over: bool = False

    def by_cookie(self) -> ReportRequest:
        """The same with the cookie's token."""
        return replace(self, token=self.cookie, cookie="", passed_over=True)


@dataclass(slots=True)
class LookupResult:
    """What a look found: the asker's roots (None: no session), the snapshot, where it came from, and since when.

    Attributes:
        began: when the look began, on `perf_counter`.
        is_computed: whether the report stands as it is now; of one that does not no day is served.
    """

    roots: AbstractSet[int] | None
    snapshot: StoredScope
    source: str
    began: float
    is_computed: bool = True


class Lookup:
    """A look under way: takes the replies as they come, and tells once, when all are there or none will come."""

    __slots__ = ("_left", "_tell", "asked", "began", "known", "replies", "roots")

    def __init__(
        self,
        asked: PendingLookup,
        roots: AbstractSet[int] | None,
        known: KnownToken | None,
        tell: Callable[[Lookup], None],
    ) -> None:
        self.asked = asked
        self.roots = roots
        self.known = known
        self.replies: list[Any] = []
        self.began = perf_counter()
        self._left = 1 if known is None else 3
        self._tell = tell

    def done(self) -> bool:
        """Whether nothing more is waited for."""
        return not self._left

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply is whatever Redis says
        """The next reply."""
        self.replies.append(reply)
        self._left -= 1
        if not self._left:
            self._tell(self)

    def set_exception(self, _error: Exception, /) -> None:
        """There will be none."""
        self.replies = []
        self._left = 0
        self._tell(self)


class Lookups:
    """The ways to look.

    Args:
        guard: knows who may see what; None lets everybody read everything.
    """

    def __init__(self, store: StoredReports, guard: Guard | None) -> None:
        self._store = store
        self._guard = guard

    def recall(self, question: ReportRequest) -> LookupResult | None:
        """Out of the copy, if it is provably current."""
        if not self._store.proven:
            return None
        began = perf_counter()
        snapshot = self._store.current(question.key, question.scope, question.encoding)
        if snapshot is not None and question.day:
            today = self._store.current_standing(question.report, question.scope)
            snapshot = None if today is None else under(snapshot, today)
        if snapshot is None:
            return None
        roots = _NOBODY if self._guard is None else self._guard.current(question.token)
        return None if roots is None else LookupResult(roots, snapshot, "copy", began)

    def begin(self, question: ReportRequest, tell: Callable[[Lookup], None]) -> bool:
        """Ask Redis for what was met before; `tell` hears when `read` may be called. False: nothing was asked."""
        if question.day:
            return False
        roots, known = self._current_roots(question), None
        if self._guard is not None and roots is None:
            known = self._guard.known(question.token)
            if known is None:
                return False
        asked = self._store.asking(question.key, question.scope, question.encoding)
        look = Lookup(asked, roots, known, tell)
        if known is None:
            return self._store.send(asked.command, look, 1)
        return self._store.send(known.commands + asked.command, look, 3)

    def read(self, look: Lookup) -> LookupResult | None:
        """What the replies say; None when it takes more than these.

        Raises:
            SnapshotUnreadable, SessionsUnavailable: what is stored is not in the agreed format.
        """
        replies, look.replies = look.replies, []  # the look itself may be held until its deadline
        if not replies or type(replies[-1]) is not list:
            return None
        roots = look.roots
        if self._guard is not None and look.known is not None:
            record, epoch, _ = replies
            if type(record) is list:
                roots = self._guard.read(look.known, record, epoch, look.asked.generation)
        if roots is None:
            return None
        snapshot = self._store.read(look.asked, replies[-1])
        return None if snapshot is None else LookupResult(roots, snapshot, "redis", look.began)

    async def look(self, question: ReportRequest) -> LookupResult:
        """Out of Redis whatever it takes, or as it is remembered.

        Raises:
            StoreUnavailable, SessionsUnavailable, SnapshotUnreadable: neither is to be had.
        """
        began = perf_counter()
        try:
            return await self.ask(question)
        except StoreUnavailable:
            roots = self._guard.remembered(question.token) if self._guard else _NOBODY
            snapshot = self._store.remembered(question.key, question.scope, question.encoding)
            if snapshot is not None and question.day:
                today = self._store.remembered_standing(question.report, question.scope)
                snapshot = None if today is None else under(snapshot, today)
            if roots is None or snapshot is None:
                raise
            return LookupResult(roots, snapshot, "memory", began)

    def _current_roots(self, question: ReportRequest) -> AbstractSet[int] | None:
        if self._guard is None:
            return _NOBODY
        return self._guard.current(question.token) if self._store.proven else None

    async def ask(self, question: ReportRequest) -> LookupResult:
        """Out of Redis, whatever it takes.

        Raises:
            StoreUnavailable, SessionsUnavailable, SnapshotUnreadable: it is not to be had.
        """
        roots, began = self._current_roots(question), perf_counter()
        session = await self._guard.ask(question.token) if self._guard and roots is None else None
        standing = await self._store.ask_standing(question.report, question.scope) if question.day else None
        asked, reply = await self._store.ask(question.key, question.scope, question.encoding)
        try:
            if self._guard and roots is None:
                roots = await self._guard.roots(question.token, session) if session else None
        except BaseException:
            reply.cancel()
            if standing is not None:
                standing[1].cancel()
            raise
        snapshot = await self._store.snapshot(asked, reply)
        if standing is None:
            return LookupResult(roots, snapshot, "redis", began)
        today = await self._store.standing(*standing)
        return LookupResult(roots, under(snapshot, today), "redis", began, is_computed=today.meta is not None)
