"""Store of report sets, as refreshes use it: reading what is stored, and the atomic write.

No call takes the server longer than about two milliseconds, however large a set is, because other clients wait
meanwhile.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from redis.asyncio import Redis

from clocks import ClockReading, running_us
from reports import Report
from reports.compress import Compressor
from reports.declarations import Declarations
from reports.document import Document, microseconds, milliseconds
from reports.keepers import Keepers
from reports.keys import audit, changed, closed, prober, snapshot, staged, staging, wanted
from reports.last_set import ChangedDocuments, LastSet
from reports.memo import etags_of
from reports.node_ids import IdKind, NodeId, stored_id
from reports.off_loop import off_loop
from reports.pace import KnownSet, rest_ends
from reports.schema import document_schema
from reports.staging import is_direct, parts_of, size_of
from reports.waiting import WaitingReports

_SCRIPTS = Path(__file__).parent / "scripts"
_HEADS_AND_GONE = "[hg][eo][an][de]:*"
_FIELDS_AT_ONCE = 300
_ETAG_FIRST = b'{"etag":"'
_ETAG_ENDS = len(_ETAG_FIRST) + 16
_EPOCH = datetime.fromtimestamp(0, UTC)

_HEAD = ["_gen", "_costs", "_error", "_meta"]
"""Fields of a set besides its scopes."""
_MOST_NAMED = 20
"""Largest number of nodes that are stored for a difference."""
_TIME = "return redis.call('TIME')"
"""Script that reads the clock: with a key, a cluster's client sends it to the server that stores the reports."""
_STAGED_MS = 600_000
_SILENT_MS = 60_000
"""Time without a new part after which a staged set is abandoned; an active one gets several parts a second."""

_NEVER_SO_LONG_MS = 3_600_000
"""Longer than any lease of the prober; a longer one was taken before Redis's clock was set back."""


@dataclass(frozen=True, slots=True)
class FailureStreak:
    """Consecutive failures of a report: their number, and the pause that follows."""

    times: int = 0
    again: datetime | None = None
    at: datetime | None = None

    def rests(self, now: datetime) -> bool:
        """Return True if the pause has not ended, by the database's clock."""
        end = rest_ends(self.again, self.at, now)
        return end is not None and end > now


NOTHING_STORED = KnownSet(stored=False, as_of=_EPOCH, verified=_EPOCH)


@dataclass(frozen=True, slots=True)
class StoredSet:
    """Stored set of a report: its generation, the ETag of every scope, the cost of refreshes (ms), its failures.

    Attributes:
        last: the set as :meth:`ReportStore.read_known` returns it.
        gone: scopes that are stored as gone.
    """

    generation: int
    etags: Mapping[NodeId, str]
    costs: Sequence[float] = ()
    failure: FailureStreak = FailureStreak()
    last: KnownSet = NOTHING_STORED
    gone: frozenset[NodeId] = frozenset()


@dataclass(frozen=True, slots=True)
class SetChange:
    """Difference between the stored set and a new one."""

    changed: list[NodeId]
    gone: list[NodeId]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSet:
    """New set that a refresh stores for a report.

    Attributes:
        as_of: instant for which it is true, not before its state was taken.
        began: instant before its state was taken; None: ``as_of``.
        share: share of one database processor that its refreshes may use.
        costs: cost of the latest refreshes in ms, this one included.
        day: date of a closed day; empty: the current set.
        keep: time for which it is kept; zero: without limit.
        at_own_pace: True if its cost says nothing about the next refresh.
        stored: the stored set, if it need not be read again to find what changed.
        last: what this worker keeps of the new set; None: nothing.
    """

    report: str
    as_of: datetime
    documents: Mapping[NodeId, Document]
    meta: Mapping[str, object] = field(repr=False)
    began: datetime | None = None
    share: float = 1.0
    costs: Sequence[float] = ()
    day: str = ""
    keep: timedelta = timedelta(0)
    stored: StoredSet | None = None
    at_own_pace: bool = False
    last: LastSet | None = None


def etag_of(head: bytes) -> str:
    """Return the ETag in a document's head.

    This version writes it first, so that a thousand heads need no parser; other heads are parsed as JSON.

    >>> etag_of(b'{"etag":"00112233aabbccdd","path":[1]}') == etag_of(b'{"path": [1], "etag": "00112233aabbccdd"}')
    True
    """
    if head.startswith(_ETAG_FIRST) and head[_ETAG_ENDS : _ETAG_ENDS + 1] == b'"':
        return head[len(_ETAG_FIRST) : _ETAG_ENDS].decode()
    return str(orjson.loads(head)["etag"])


def set_change(stored: StoredSet, documents: Mapping[NodeId, Document]) -> SetChange:
    """Return the scopes to write and the scopes to remove."""
    if isinstance(documents, ChangedDocuments):
        return SetChange(list(documents.changed), [])
    changed_scopes = [scope for scope, etag in etags_of(documents).items() if stored.etags.get(scope) != etag]
    return SetChange(changed_scopes, sorted(stored.etags.keys() - documents.keys()))


class ReportStore:
    """Report sets of one tenant.

    Args:
        redis: a redis-py asyncio client with ``decode_responses=False``.
    """

    def __init__(self, redis: Redis, *, tenant: str) -> None:
        self._redis = redis
        self._tenant = tenant
        self._publish = redis.register_script((_SCRIPTS / "publish.lua").read_text(encoding="utf-8"))
        self._stage = redis.register_script((_SCRIPTS / "stage.lua").read_text(encoding="utf-8"))
        self._verify = redis.register_script((_SCRIPTS / "verify.lua").read_text(encoding="utf-8"))
        self._time = redis.register_script(_TIME)
        self.declarations = Declarations(redis, tenant=tenant)
        self.keepers = Keepers(redis, tenant=tenant)
        self.waiting = WaitingReports(redis, tenant=tenant)

    async def read_clock(self) -> ClockReading:
        """Read Redis's clock; on a cluster, that of the server that stores reports. Raises RedisError."""
        asked_us = running_us()
        seconds, microsecond = await self._time(keys=[prober(self._tenant)])
        return ClockReading(int(seconds) * 1_000_000 + int(microsecond), asked_us, running_us())

    async def declare_reports(self, reports: Mapping[str, Report]) -> None:
        """Declare these reports to producers and readers."""
        await self.declarations.declare({name: _entry(report) for name, report in reports.items()})

    async def read_set(self, report: str, *, day: str = "") -> StoredSet:
        """Return the stored set of a report, or of one of its closed days.

        The generation is read first: if a set is stored while the rest is read, the generation is the old one, and
        ``publish.lua`` returns ``moved``.
        """
        key = self._key(report, day)
        head = _head(*await self._redis.hmget(key, _HEAD))  # type: ignore[misc]
        if not head.generation:
            return head
        etags, gone = await self._scopes(key, head.last.ids)
        return replace(head, etags=etags, gone=gone)

    async def _scopes(self, key: str, kind: IdKind) -> tuple[dict[NodeId, str], frozenset[NodeId]]:
        """Return the ETag of every scope that has a document, and the scopes that are gone. Reads in parts."""
        etags: dict[NodeId, str] = {}
        gone: set[NodeId] = set()
        cursor = 0
        while True:
            cursor, found = await self._redis.hscan(key, cursor, match=_HEADS_AND_GONE, count=_FIELDS_AT_ONCE)
            for name, value in found.items():
                if name.startswith(b"head:"):
                    etags[stored_id(name[5:], kind)] = etag_of(value)
                elif name.startswith(b"gone:"):
                    gone.add(stored_id(name[5:], kind))
            if cursor == 0:
                return {scope: etag for scope, etag in etags.items() if scope not in gone}, frozenset(gone)

    async def publish_set(self, new: NewSet, stored: StoredSet, change: SetChange) -> str:
        """Store the new set: a small change by one call, a larger one in parts that become visible at once.

        Returns:
            ``stored``, ``superseded`` by a newer set, or ``moved``: compute the difference again.
        """
        key, attempt = self._key(new.report, new.day), secrets.token_hex(8)
        keys = [staged(self._tenant, new.report, attempt), key, staging(self._tenant)]
        written = await off_loop(lambda: _written(new, change), nodes=len(change.changed))
        fields = await self._put_together(keys, new, stored, change) if written is None else 0
        arguments: list[str | bytes | int] = [
            microseconds(new.as_of),
            microseconds(new.began or new.as_of),
            stored.generation,
            orjson.dumps(new.meta),
            orjson.dumps(new.costs),
            "" if new.day else changed(self._tenant),
            new.report,
            milliseconds(new.keep),
            fields,
            *(written or [0]),
        ]
        reply = await self._publish(keys=[keys[1], keys[0], keys[2]], args=arguments)
        state = str(reply[0].decode())
        if state != "stored" and fields:
            await self._redis.unlink(keys[0])
        return state

    async def _put_together(self, keys: Sequence[str], new: NewSet, stored: StoredSet, change: SetChange) -> int:
        """Stage the new set and return its number of fields. Compresses the next part while one is being sent."""
        parts = parts_of(new.documents, changed=change.changed, gone=change.gone, long_gone=stored.gone)
        shared = [_STAGED_MS, microseconds(new.as_of)]
        fields = 0
        following = off_loop(lambda: next(parts, None), nodes=len(new.documents))
        while (part := await following) is not None:
            following = off_loop(lambda: next(parts, None), nodes=len(new.documents))
            fields += int(await self._stage(keys=keys, args=[*shared, *part.arguments]))
        return fields

    async def remove_left_behind(self) -> int:
        """Remove staged sets that a worker abandoned. Returns their number.

        They would expire, but Redis 7 by default frees an expired key while all clients wait.
        """
        key = staging(self._tenant)
        removed = 0
        for name in await self._redis.smembers(key):  # type: ignore[misc]
            if await self._redis.pttl(name) < _STAGED_MS - _SILENT_MS:
                removed += await self._redis.unlink(name)
                await self._redis.srem(key, name)  # type: ignore[misc]
        return removed

    async def record_proof(
        self, report: str, known: KnownSet, *, at: datetime, offset_us: int | None = None, visible: str = ""
    ) -> bool:
        """Record that the known set is true as of an instant. Returns True if that moved ``verified_us`` forward.

        Args:
            offset_us: the database's clock minus Redis's at that instant; None: the stored value stays.
            visible: ``pg_current_snapshot()`` of that instant; empty: the stored value stays.
        """
        until = "" if known.valid_until is None else microseconds(known.valid_until)
        offset = "" if offset_us is None else offset_us
        arguments = [known.generation, microseconds(at), until, offset, visible]
        return bool(await self._verify(keys=[snapshot(self._tenant, report)], args=arguments))

    async def record_failure(self, report: str, *, at: datetime, error: str, failure: FailureStreak) -> None:
        """Store the error of a failed refresh beside the last good set, and the end of the pause."""
        entry: dict[str, object] = {"at_us": microseconds(at), "error": error, "times": failure.times}
        if failure.again is not None:
            entry["again_us"] = microseconds(failure.again)
        await self._redis.hset(self._key(report), "_error", orjson.dumps(entry))  # type: ignore[arg-type, misc]

    async def record_difference(self, report: str, nodes: Sequence[NodeId], *, at: datetime) -> None:
        """Count the nodes for which the query for some nodes disagreed with the whole."""
        key, at_us = audit(self._tenant, report), microseconds(at)
        last = orjson.dumps({"at_us": at_us, "nodes": list(nodes[:_MOST_NAMED])})
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(key, "different", len(nodes))
            pipe.hset(key, "last_different", last)  # type: ignore[arg-type]
            await pipe.execute()

    async def read_heads(self, reports: Sequence[str]) -> dict[str, StoredSet]:
        """Return the stored set of each of these reports without its scopes."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for report in reports:
                pipe.hmget(self._key(report), _HEAD)
            answers = await pipe.execute()
        return {report: _head(*answer) for report, answer in zip(reports, answers, strict=True)}

    async def read_known(self, reports: Sequence[str]) -> dict[str, KnownSet]:
        """Return what the next refresh of each of these reports depends on."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for report in reports:
                pipe.hmget(self._key(report), ["_meta", "_error"])
            answers = await pipe.execute()
        return {report: _known(*answer) for report, answer in zip(reports, answers, strict=True)}

    async def take_wishes(self, reports: Sequence[str]) -> set[str]:
        """Return the reports that readers found too old since the last call."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for report in reports:
                pipe.getdel(wanted(self._tenant, report))
            return {report for report, wish in zip(reports, await pipe.execute(), strict=True) if wish}

    async def running_jobs(self, job_ids: Sequence[str]) -> set[str]:
        """Return the jobs among these that a worker is running."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.exists(f"arq:in-progress:{job_id}")
            return {job_id for job_id, held in zip(job_ids, await pipe.execute(), strict=True) if held}

    async def take_prober_lease(
        self, worker: str, reports: Iterable[str], *, lasting: timedelta
    ) -> frozenset[str] | None:
        """Take or renew the prober's lease; return the reports that this worker probes, None if there are none.

        One worker probes all reports it has. Workers may have different reports: the first worker that has the
        remaining ones probes these, and so on. Two probers at once are harmless, only wasteful.

        Args:
            reports: reports that the worker has.
        """
        left, key = frozenset(reports), prober(self._tenant)
        while True:
            theirs = await self._lease(key, worker, left, lasting)
            if theirs is None:
                return left
            left -= theirs
            if not left:
                return None
            key = prober(self._tenant, min(left))

    async def _lease(
        self, key: str, worker: str, reports: frozenset[str], lasting: timedelta
    ) -> frozenset[str] | None:
        """Take or renew a lease; return None if this worker holds it, else the reports of the holder."""
        value = f"{worker} {' '.join(sorted(reports))}"
        if await self._redis.set(key, value, nx=True, px=milliseconds(lasting)):
            return None
        holder, *theirs = (await self._redis.get(key) or b"").decode().split(" ")
        if holder != worker:
            if await self._redis.pttl(key) > _NEVER_SO_LONG_MS:  # the clock has been set back since
                await self._redis.pexpire(key, milliseconds(lasting))
            return frozenset(theirs) or reports  # an earlier build stores none
        await self._redis.set(key, value, px=milliseconds(lasting))
        return None

    async def closed_days(self, report: str, days: Sequence[str]) -> set[str]:
        """Return the days among these that are closed."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for day in days:
                pipe.exists(self._key(report, day))
            return {day for day, there in zip(days, await pipe.execute(), strict=True) if there}

    async def remove_days(self, report: str, days: Sequence[str]) -> None:
        """Remove closed days. UNLINK frees their memory in the background."""
        await self._redis.unlink(*(self._key(report, day) for day in days))

    def _key(self, report: str, day: str = "") -> str:
        return closed(self._tenant, report, day) if day else snapshot(self._tenant, report)


def _written(new: NewSet, change: SetChange) -> list[str | bytes | int] | None:
    """Return the arguments of ``publish.lua`` for a small change; None if the change must be staged."""

    def size(scope: NodeId) -> int:
        return size_of(new.documents[scope]) if scope in new.documents else 0

    if not is_direct([*change.changed, *change.gone], size):
        return None
    compressor = Compressor()
    written: list[str | bytes | int] = [len(change.changed)]
    for scope in change.changed:
        document = new.documents[scope]
        variants = compressor.variants(document.body)
        written += [scope, document.body, document.head, variants.zstd, variants.gzip]
    return [*written, *change.gone]


def _entry(report: Report) -> bytes:
    return orjson.dumps(
        {
            "title": report.title,
            "titles": report.titles,
            "measures": report.rollup,
            "closed_days": report.keep // timedelta(days=1),
            "debounce_ms": milliseconds(report.debounce),
            "board": report.board or report.name,
            "schema": report.schema or document_schema(report, {}),
        }
    )


def _failure(entry: bytes | None) -> FailureStreak:
    if entry is None:
        return FailureStreak()
    fields = orjson.loads(entry)
    return FailureStreak(
        int(fields.get("times", 1)), _moment(fields.get("again_us")), _moment(fields.get("at_us"))
    )


def _head(generation: bytes | None, costs: bytes | None, error: bytes | None, meta: bytes | None) -> StoredSet:
    return StoredSet(int(generation or 0), {}, orjson.loads(costs or b"[]"), _failure(error), _known(meta, error))


def _known(meta: bytes | None, error: bytes | None) -> KnownSet:
    failure = _failure(error)
    if not meta:
        return replace(NOTHING_STORED, again=failure.again, failed=failure.at)
    fields = orjson.loads(meta)
    offset_us = fields.get("clock_offset_us")
    return KnownSet(
        generation=fields["gen"],
        as_of=_EPOCH + timedelta(microseconds=fields["as_of_us"]),
        verified=_EPOCH + timedelta(microseconds=fields["verified_us"]),
        valid_until=_moment(fields["valid_until_us"]),
        cost=timedelta(milliseconds=fields.get("cost_p95_ms", fields["cost_ms"])),
        debt=timedelta(milliseconds=fields.get("debt_ms", 0)),
        visible=fields["snapshot"],
        xid=fields.get("xid"),
        again=failure.again,
        failed=failure.at,
        computed=_moment(fields.get("computed_us")),
        catalogue=fields.get("catalogue"),
        ids=IdKind(fields.get("ids", IdKind.INTEGER)),
        distrusted=_moment(fields.get("distrusted_us")),
        distrusted_query=fields.get("distrusted_query", ""),
        offset=None if offset_us is None else timedelta(microseconds=offset_us),
    )


def _moment(microseconds_or_none: int | None) -> datetime | None:
    return None if microseconds_or_none is None else _EPOCH + timedelta(microseconds=microseconds_or_none)
