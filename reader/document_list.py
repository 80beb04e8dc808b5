"""Several documents of one report in one response, all of one stored set.

    GET /v1/reports/{report}?scopes=1,2,3        these nodes
    GET /v1/reports/{report}/{scope}/children    a node and its children, the node first; ?days=35 for closed days

A page that shows a node and its fifty children takes one request instead of fifty-one. The body is
`{"report", "documents", "absent", "left_out"}`: documents as they are stored, in the order of the request; nodes
without one; and nodes beyond the limits of a response, to be requested next. A node that the session may not
read is absent, as one that does not exist; for `children` the node itself is refused as in report.py. Age,
freshness and the refusal of a report that is too old are those of one document.

`children` adds `path`, the names of the nodes above that the session may read, and with `?days=` the node's
documents of its latest closed days, as `days`. So one request returns everything that a page shows of a node.

One HMGET reads all documents, so that they are from one instant. `children` takes two, because the children are
named in the node's document; if a set was stored between them, both are read again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter
from typing import Any

import orjson

from clocks import moment
from reader import problem
from reader.access import token_of
from reader.cache_control import bounds_of
from reader.encoding import takes_json, takes_plain
from reader.freshness import SECOND_US, FreshnessVerdict, of_report, retry_after_s
from reader.guard import Guard
from reader.live_session import find_session
from reader.message import Request, Response
from reader.preconditions import Condition, weigh_conditions
from reader.query import values_of
from reader.read_your_writes import awaited_transaction, is_visible
from reader.report import ReportResponder, refuse_unseen, time_taken, too_old
from reader.snapshot import Meta, SnapshotUnreadable, StoredScope
from reader.store import StoredReports
from sessions.node_ids import CHARACTERS, is_id_text

SCOPES_LIMIT = 200
"""Largest number of documents in one response."""
DAYS_LIMIT = 100
"""Largest number of closed days in one response."""
BYTES_LIMIT = 4 << 20
"""Bytes after which a response takes no further document."""
_ROUNDS = 3
"""Times that a node and its children are read until both are of one set."""
_SCOPES = re.compile(rf"{CHARACTERS}(?:(?:,|%2C){CHARACTERS})*", re.ASCII)
"""Pattern of a list of nodes; browsers and HTTP clients that build a query write its commas as %2C."""
_DAYS = re.compile(r"[0-9]{1,3}", re.ASCII)
_AHEAD = timedelta(days=1)
"""Time by which days of zones east of UTC may end before UTC's."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Request for several documents of a report.

    Attributes:
        scopes: the nodes; of `children`, the node alone.
        with_children: True if the children of the node are wanted too.
        days: number of days up to today; the closed ones among them are wanted.
    """

    report: str
    scopes: tuple[str, ...]
    with_children: bool = False
    days: int = 0


@dataclass(slots=True)
class DocumentList:
    """Documents of one stored set that a session may read; without `meta` the report was never computed.

    Attributes:
        absent: nodes without a document for this session.
        left_out: nodes beyond the limits of a response.
        path: id, name and kind of the nodes above, top first; None unless the children are wanted.
        days: documents of closed days by ISO date; None unless they are wanted.
    """

    meta: Meta | None
    found: dict[str, StoredScope] = field(default_factory=dict, repr=False)
    absent: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    path: list[dict[str, Any]] | None = field(default=None, repr=False)
    days: dict[str, StoredScope] | None = field(default=None, repr=False)

    @property
    def etag(self) -> str:
        """16 hex digits over the ETags of the documents and the nodes without one."""
        named = [f"{scope}:{one.head.etag}" for scope, one in self.found.items() if one.head]
        days = [f"{day}:{one.head.etag}" for day, one in (self.days or {}).items() if one.head]
        absent, left_out = ", ".join(self.absent), ", ".join(self.left_out)
        said = "\n".join([*named, f"absent [{absent}]", f"left out [{left_out}]", f"path {self.path}", *days])
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    def body(self, report: str) -> bytes:
        """The response's JSON; documents are copied as they are stored."""
        documents = b",".join(one.body or b"null" for one in self.found.values())
        rest: dict[str, Any] = {"absent": self.absent, "left_out": self.left_out}
        if self.path is not None:
            rest["path"] = self.path
        if self.days is not None:
            rest["days"] = {day: orjson.Fragment(one.body or b"null") for day, one in self.days.items()}
        return b'{"report":%b,"documents":[%b],%b' % (orjson.dumps(report), documents, orjson.dumps(rest)[1:])


def scopes_of(query: str) -> tuple[str, ...]:
    """Return the nodes of `?scopes=1,2,3`.

    Raises:
        ValueError: not given once, not a list of node ids, or more of them than a response has.

    >>> scopes_of("scopes=3,1,3"), scopes_of("scopes=3%2C1")
    (('3', '1'), ('3', '1'))
    """
    values = values_of(query, "scopes")
    if len(values) != 1 or not _SCOPES.fullmatch(values[0]):
        raise ValueError("scopes: give one list of node ids, as in ?scopes=1,2,3.")
    scopes = tuple(dict.fromkeys(values[0].replace("%2C", ",").split(",")))
    if len(scopes) > SCOPES_LIMIT:
        raise ValueError(f"scopes: {len(scopes)} nodes are too many; request at most {SCOPES_LIMIT} at once.")
    if wrong := next((scope for scope in scopes if not is_id_text(scope)), None):
        raise ValueError(f"scopes: {wrong} is not a node id.")
    return scopes


def days_of(query: str) -> int:
    """Return the number of days of `?days=35`; 0 without it.

    >>> days_of("days=35"), days_of("")
    (35, 0)

    Raises:
        ValueError: given twice, not a number, or more days than a response has.
    """
    values = values_of(query, "days")
    if not values:
        return 0
    if len(values) > 1 or not _DAYS.fullmatch(values[0]) or int(values[0]) > DAYS_LIMIT:
        raise ValueError(f"days: give one number of days up to {DAYS_LIMIT}, as in ?days=35.")
    return int(values[0])


def days_before(meta: Meta, count: int) -> list[str]:
    """Return the ISO dates for which closed days may exist, in ascending order."""
    last = (moment(meta.verified_us) + _AHEAD).date()
    return [(last - timedelta(days=back)).isoformat() for back in range(count, -1, -1)]


def gather_documents(
    scopes: Sequence[str], stored: Sequence[StoredScope], roots: AbstractSet[str] | None
) -> DocumentList:
    """Return what a session may read of stored scopes, within the limits of a response.

    Args:
        roots: the session's; None if every client may read.
    """
    found = DocumentList(stored[0].meta if stored else None)
    size = 0
    for scope, one in zip(scopes, stored, strict=True):
        if one.body is None or one.head is None or refuse_unseen(one, scope, roots):
            found.absent.append(scope)
        elif size > BYTES_LIMIT:
            found.left_out.append(scope)
        else:
            found.found[scope] = one
            size += len(one.body)
    return found


class DocumentListResponder:
    """Responder for requests for several documents.

    Args:
        guard: reads sessions; None lets any client read any report.
    """

    def __init__(self, store: StoredReports, reports: ReportResponder, guard: Guard | None) -> None:
        self._store = store
        self._reports = reports
        self._guard = guard

    async def response(self, request: Request, wanted: ListRequest) -> Response:
        """Return the response. Raises the errors of store and sessions."""
        began = perf_counter()
        roots: AbstractSet[str] | None = None
        if self._guard is not None:
            session = await find_session(self._guard, request)
            if session is None:
                return problem.refuse_token(token_given=token_of(request) is not None)
            roots = session.roots
        if not (takes_plain(request.header("accept-encoding")) and takes_json(request.header("accept"))):
            return problem.not_acceptable()
        documents = await self._read(wanted, roots)
        if isinstance(documents, Response):
            return documents
        if documents.meta is None:
            return await self._reports.refuse_absent(wanted.report)
        response = self._respond(request, wanted.report, documents, documents.meta)
        response.timing = time_taken("redis", began)
        return response

    async def _read(self, wanted: ListRequest, roots: AbstractSet[str] | None) -> DocumentList | Response:
        """Return the documents, or the refusal of the node whose children are wanted."""
        if not wanted.with_children:
            return gather_documents(
                wanted.scopes, await self._store.read_several(wanted.report, wanted.scopes), roots
            )
        (scope,) = wanted.scopes
        for _ in range(_ROUNDS):
            (node,) = await self._store.read_several(wanted.report, [scope])
            if node.meta is None:
                return DocumentList(None)
            refusal = refuse_unseen(node, scope, roots)
            if refusal or node.body is None or node.head is None:
                return refusal or problem.not_found()
            children = _children(node.body)
            first, above = [scope, *children[: SCOPES_LIMIT - 1]], node.head.path[:-1]
            days = days_before(node.meta, wanted.days) if wanted.days else []
            stored, closed = await asyncio.gather(  # in one write
                self._store.read_several(wanted.report, [*first, *above]),
                self._store.closed_days(wanted.report, scope, days),
            )
            if stored[0].meta and stored[0].meta.gen == node.meta.gen:
                break
        found = gather_documents(first, stored[: len(first)], roots)
        found.left_out += children[SCOPES_LIMIT - 1 :]
        found.path = [
            _named(one.body) for one in gather_documents(above, stored[len(first) :], roots).found.values()
        ]
        found.days = _latest(closed) if wanted.days else None
        return found

    def _respond(self, request: Request, report: str, documents: DocumentList, meta: Meta) -> Response:
        """Return the documents, or the refusal of a report that is too old, or not as the client wants it."""
        written = awaited_transaction(request.header("if-write-visible"))
        if written is not None and not is_visible(written, meta.visible):
            self._store.request_refresh(report)
            return problem.not_yet_visible(retry_after_s(meta))
        bounds = bounds_of(request.header("cache-control"))
        freshness = self._reports.judge_freshness(meta, bounds)
        if freshness.verdict is not FreshnessVerdict.FRESH:
            self._store.request_refresh(report)
        if freshness.verdict in {FreshnessVerdict.TOO_STALE, FreshnessVerdict.NOT_FRESH_ENOUGH}:
            any_of_them = StoredScope(body=None, head=None, gone_us=None, meta=meta, failure=None)
            return too_old(freshness, next(iter(documents.found.values()), any_of_them), bounds)
        headers = (*self._reports.common, ("etag", f'W/"{documents.etag}"'), *of_report(freshness, meta))
        age_s = freshness.age_us / SECOND_US
        weighed = weigh_conditions(request.fields, documents.etag, changed_s=None, dated=False)
        if weighed is Condition.FAILED:
            return problem.precondition_failed()
        if weighed is Condition.HELD:
            return Response(304, "not_modified", headers[1:], b"", age_s)
        return Response(200, freshness.verdict.value, headers, documents.body(report), age_s)


def _latest(days: Mapping[str, StoredScope]) -> dict[str, StoredScope]:
    """Return the latest days within the limit of a response, in order."""
    kept, size = [], 0
    for day, one in sorted(days.items(), reverse=True):
        size += len(one.body or b"")
        if size <= BYTES_LIMIT:
            kept.append((day, one))
    return dict(reversed(kept))


def _named(body: bytes | None) -> dict[str, Any]:
    """Return the id, names and kind of a document's node. Raises SnapshotUnreadable."""
    try:
        node = orjson.loads(body or b"")["data"]["node"]
        names = {"names": node["names"]} if "names" in node else {}
        return {"id": str(node["id"]), "name": node.get("name"), "kind": node.get("kind"), **names}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SnapshotUnreadable(f"stored document: does not name its node ({error!r})") from error


def _children(body: bytes) -> list[str]:
    """Return the children that a node's document names, in their order. Raises SnapshotUnreadable."""
    try:
        return [str(child) for child in orjson.loads(body)["data"]["node"]["children"]]
    except (ValueError, TypeError, KeyError) as error:
        raise SnapshotUnreadable(f"stored document: does not name its node's children ({error!r})") from error
