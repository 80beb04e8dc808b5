"""Queue for tests: in memory, with a clock that only the test advances.

It replies to the commands of a producer as Redis does, and keeps the guarantees of the scripts: all entries of a
lane or none; a key identifies one content for its window; at most one refresh of a report runs and one waits, and
the latest payload wins. A job waits, runs (if its kind has a handler) and is done.
"""

import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any

import orjson

from ..compose import Composer
from ..digest import PendingDigest
from ..entry import ConflictingKey, JobEntry
from ..envelope import read_envelope, write_envelope
from ..errors import KeyConflict
from ..keys import group_of
from ..link import Argument
from ..message import Message
from ..operation import script_named
from ..send_options import SendTimes, epoch_ms
from .suppression import MemorySuppression


@dataclass(frozen=True, slots=True)
class Sent:
    """A queued job of a recording producer; duplicates are not recorded.

    Attributes:
        id: the job's id, as in its receipt.
        kind: the job's kind.
        lane: the lane in which it waits.
        payload: the payload that a worker would get, decoded from JSON.
        due: time from which it may run, by the recorder's clock.
        expires: time at which it expires, or None.
        limit: key of the limit that it counts against, or None.
        key: the caller's key, or None.
        message: the message that was sent; None for a refresh.
    """

    id: str
    kind: str
    lane: str
    payload: dict[str, object] = field(repr=False)
    due: datetime
    key: str | None = None
    message: Message | None = field(default=None, compare=False)
    expires: datetime | None = None
    limit: str | None = None

    @property
    def to(self) -> object:
        """The payload's ``to``: the mail's recipient as stored in the job; None for other jobs."""
        return self.payload.get("to")

    @property
    def template(self) -> object:
        """The mail's template, or None."""
        return getattr(self.message, "template", None)


class RecordingComposer(Composer):
    """Composer that also records the message and key of each job."""

    asked: dict[str, tuple[Message, str | None]]

    def entry_at(
        self,
        message: Message,
        key: str | None,
        now: datetime,
        times: SendTimes,
        **options: Any,  # noqa: ANN401  those of the method behind this
    ) -> JobEntry:
        """Compose an entry as :meth:`Composer.entry_at` does, and record its message and key."""
        entry = super().entry_at(message, key, now, times, **options)
        self.asked[entry.id] = message, key
        return entry


@dataclass(frozen=True, slots=True)
class _UsedKey:
    """Record of a used key: the job and content that it identifies.

    Attributes:
        until: end of the key's window; an unfinished job keeps the key longer.
    """

    fingerprint: str = field(repr=False)
    id: str
    until: datetime


class MemoryQueue:
    """Queue in memory, in place of Redis. Thread-safe.

    Args:
        kinds: kinds that have a handler.
        reports: the declared reports with their debounce; None if no worker has declared any yet.
        now: start of the clock; aware.
    """

    def __init__(
        self, kinds: Collection[str], reports: Mapping[str, timedelta] | None, now: datetime, tenant: str
    ) -> None:
        self.now = now
        self.sent: list[Sent] = []
        self.cancelled: list[Sent] = []
        self.expired: list[Sent] = []
        self.composer = RecordingComposer(tenant, now=lambda: self.now)
        self._kinds = kinds
        self._reports = reports
        self._scripts = {
            script_named(name).digest: run
            for name, run in (
                ("enqueue", self._enqueue),
                ("enqueue_latest", self._enqueue_latest),
                ("collapse", self._collapse),
                ("take_out", self._take_out),
                ("result", self._result),
                ("describe", self._describe),
                ("suppress", self._suppress),
            )
        }
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget all jobs and keys; the clock stays."""
        with self._lock:
            for kept in (self.sent, self.cancelled, self.expired):
                kept.clear()
            self.composer.asked = {}
            self._standing: dict[tuple[str, str], _UsedKey] = {}
            self._waiting: dict[str, Sent] = {}
            self._running: set[str] = set()
            self._following: dict[str, Sent] = {}
            self._results: dict[str, bytes] = {}
            self._digests: dict[str, PendingDigest] = {}
            self._suppressed = MemorySuppression()
            self._due: list[tuple[datetime, int, str]] = []

    def call(self, *command: Argument) -> Any:  # noqa: ANN401  a reply has any type
        """Return the reply of Redis to a producer's command."""
        with self._lock:
            match command:
                case ("EVALSHA", digest, int(number), *words):
                    return self._scripts[str(digest)]([*words[:number]], [*words[number:]])
                case ("EXISTS", _):
                    return int(self._reports is not None)
                case ("HGET", _, report) if report in (self._reports or {}):
                    return orjson.dumps({"debounce_ms": _milliseconds((self._reports or {})[str(report)])})
        return None

    @contextmanager
    def naming_key(self, entries: Sequence[JobEntry]) -> Iterator[None]:
        """Turn a conflict of these entries, which are not queued yet, into a KeyConflict with the caller's key."""
        keys = [self.composer.asked[one.id][1] for one in entries]
        try:
            yield
        except ConflictingKey as found:
            raise KeyConflict(str(keys[found.index]), found.known_id) from None

    def _enqueue(self, _keys: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Queue entries as ``enqueue.lua`` does."""
        lane, _, *words = arguments
        entries = [_entry(*words[at : at + 7]) for at in range(0, len(words), 7)]
        wanted = [self.composer.asked.pop(entry.id) for entry in entries]
        try:
            standing = self._stand(group_of(lane), entries)
        except ConflictingKey as conflict:
            return [b"conflict", conflict.index, conflict.known_id.encode()]
        reply: list[Any] = [b"queued"]
        for place, (entry, (message, key)) in enumerate(zip(entries, wanted, strict=True)):
            first = standing[entry.key].id if entry.key else entry.id
            if first == entry.id:
                self._add(replace(self._job(lane, entry), message=message, key=key))
            else:
                reply += [place, first.encode()]
        self._standing |= {(group_of(lane), key): one for key, one in standing.items()}
        return reply

    def _collapse(self, keys: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Add an item to a digest as ``collapse.lua`` does."""
        lane, _, seen_id, seen_count, job_id, payload, window_ms, count, items, *words = arguments
        key, fingerprint, key_window_ms, life_ms, *_ = words
        message, _ = self.composer.asked.pop(job_id)
        found = self._found(keys[-1])
        delay_ms = found.left_ms if job_id == found.id else window_ms
        entry = JobEntry(job_id, payload, delay_ms, key, fingerprint, key_window_ms, life_ms=life_ms or None)
        place = group_of(lane), key
        known = self._known(place[0], entry) if key else None
        if known is not None and known is self._standing.get(place):
            same = known.fingerprint == fingerprint
            return [b"duplicate" if same else b"conflict", known.id.encode()]
        if (found.id, found.count) != (seen_id, seen_count):
            return [b"other", found.id.encode(), found.left_ms, found.count, found.items]
        if known is not None:
            self._standing[place] = known
        job = replace(self._job(lane, entry), message=message)
        self._digests[keys[-1]] = PendingDigest(job_id, 0, count, items)
        if job_id != found.id:
            self._add(job)
            return [b"queued", job_id.encode()]
        self._replace(self._waiting[job_id], job)
        return [b"gathered", job_id.encode()]

    def _enqueue_latest(self, _keys: Sequence[Any], arguments: Sequence[Any]) -> bytes:
        """Queue a recompute as ``enqueue_latest.lua`` does."""
        lane, _, job_id, payload, delay_ms = arguments
        job = self._job(lane, JobEntry(job_id, payload, delay_ms))
        if job.id in self._running:
            earlier = self._following.get(job.id, job)
            self._following[job.id] = replace(job, due=min(job.due, earlier.due))
            return b"next"
        waiting = self._waiting.get(job.id)
        if waiting is None:
            self._add(job)
            return b"queued"
        self._replace(waiting, replace(job, due=min(job.due, waiting.due)))
        return b"duplicate"

    def _take_out(self, _keys: Sequence[Any], arguments: Sequence[Any]) -> list[bytes]:
        """Remove a job as ``take_out.lua`` does; a running handler is not stopped, but the reply says so."""
        _, job_id, *_ = arguments
        if job_id in self._running:
            return [b"stopping", b""]
        job = self._waiting.pop(job_id, None)
        if job is None:
            return [b"unknown", b""]
        self.cancelled.append(job)
        return [b"gone", job.lane.encode()]

    def _result(self, keys: Sequence[Any], _arguments: Sequence[Any]) -> list[Any]:
        """Read a result as ``result.lua`` does: what a kind's handler returned."""
        job_id = str(keys[0]).removeprefix("arq:result:")
        return [self._results.get(job_id), int(self._is_unfinished(job_id))]

    def _describe(self, keys: Sequence[Any], _arguments: Sequence[Any]) -> list[Any]:
        """Read a job as ``describe.lua`` does; handlers have one attempt and no history here."""
        job_id = str(keys[0]).removeprefix("arq:job:")
        job = next((one for one in self.sent if one.id == job_id and self._is_unfinished(job_id)), None)
        payload = None if job is None else write_envelope(job.kind, job.payload, enqueued_ms=epoch_ms(self.now))
        token = b"memory-1:1" if job_id in self._running else None
        return [payload, self._results.get(job_id), token, None, []]

    def _suppress(self, _keys: Sequence[Any], arguments: Sequence[Any]) -> int:
        """Change the suppression list as ``suppress.lua`` does."""
        return self._suppressed.apply_call(arguments, self.now)

    def next_due(self) -> datetime | None:
        """Return the due time of the next job with a handler, or None."""
        with self._lock:
            while self._due and not self._is_waiting(*self._due[0]):
                heappop(self._due)
            return self._due[0][0] if self._due else None

    def take_due_job(self) -> Sent | None:
        """Take the next due job with a handler, or None; it counts as running until :meth:`mark_done`."""
        with self._lock:
            due = self.next_due()
            if due is None or due > self.now:
                return None
            _, _, job_id = heappop(self._due)
            job = self._waiting.pop(job_id)
            if job.expires is not None and job.expires <= self.now:
                self.expired.append(job)
                return self.take_due_job()
            self._running.add(job_id)
            return job

    def mark_done(self, job: Sent, value: object = None) -> None:
        """Mark a job as done with what its handler returned, and queue the recompute requested meanwhile."""
        with self._lock:
            self._running.discard(job.id)
            now = epoch_ms(self.now)
            end = {"t": 1, "f": job.kind, "et": now, "st": now, "ft": now, "s": True, "r": value}
            self._results[job.id] = orjson.dumps(end, default=str)
            if following := self._following.pop(job.id, None):
                self._add(following)

    def _stand(self, group: str, entries: Sequence[JobEntry]) -> dict[str, _UsedKey]:
        """Return the record of each key of these entries once they are queued."""
        standing: dict[str, _UsedKey] = {}
        for index, entry in enumerate(entries):
            if entry.key:
                known = standing.get(entry.key) or self._known(group, entry)
                if known.fingerprint != entry.fingerprint:
                    raise ConflictingKey(index, known.id)
                standing[entry.key] = known
        return standing

    def _known(self, group: str, entry: JobEntry) -> _UsedKey:
        known = self._standing.get((group, entry.key))
        if known is not None and (known.until > self.now or self._is_unfinished(known.id)):
            return known
        return _UsedKey(entry.fingerprint, entry.id, self.now + timedelta(milliseconds=entry.window_ms))

    def _is_unfinished(self, job_id: str) -> bool:
        return job_id in self._waiting or job_id in self._running

    def _job(self, lane: str, entry: JobEntry) -> Sent:
        envelope = read_envelope(entry.payload)
        due = self.now + timedelta(milliseconds=entry.delay_ms)
        if entry.at_ms is not None:
            due = max(self.now, _moment(entry.at_ms))
        expires = None if envelope.expires_ms is None else _moment(envelope.expires_ms)
        if entry.expires_in_ms is not None:
            expires = self.now + timedelta(milliseconds=entry.expires_in_ms)
        elif entry.life_ms is not None:
            expires = due + timedelta(milliseconds=entry.life_ms)
        return Sent(
            entry.id, envelope.kind, lane, envelope.payload, due, expires=expires, limit=entry.limit or None
        )

    def _found(self, key: str) -> PendingDigest:
        """Return the pending digest under a key, or an empty one."""
        latest = self._digests.get(key)
        waiting = self._waiting.get(latest.id) if latest else None
        if latest is None or waiting is None or waiting.due <= self.now:
            return PendingDigest()
        left_ms = round((waiting.due - self.now) / timedelta(milliseconds=1))
        return PendingDigest(waiting.id, left_ms, latest.count, latest.items)

    def _replace(self, waiting: Sent, job: Sent) -> None:
        self.sent[max(place for place, one in enumerate(self.sent) if one is waiting)] = job
        self._wait(job)

    def _add(self, job: Sent) -> None:
        self.sent.append(job)
        self._wait(job)

    def _wait(self, job: Sent) -> None:
        self._waiting[job.id] = job
        if job.kind in self._kinds:
            heappush(self._due, (job.due, len(self.sent), job.id))

    def _is_waiting(self, due: datetime, _order: int, job_id: str) -> bool:
        """Return True if the job still waits at this time; a refresh may have been moved to an earlier one."""
        job = self._waiting.get(job_id)
        return job is not None and job.due == due


_DUE = re.compile(r"(@?)(-?[0-9]+)(?: ([xl])([0-9]+))?")


def _entry(
    job_id: str, payload: bytes, due: int | str, key: str, fingerprint: str, window_ms: int, limit: str
) -> JobEntry:
    """Decode an entry from the script's arguments."""
    found = _DUE.fullmatch(str(due))
    assert found is not None  # noqa: S101  as `JobEntry.due` writes it
    entry = JobEntry(job_id, payload, 0, key, fingerprint, window_ms, limit=limit)
    number, span = int(found[2]), int(found[4] or 0)
    entry.delay_ms, entry.at_ms = (0, number) if found[1] else (number, None)
    entry.expires_in_ms, entry.life_ms = span if found[3] == "x" else None, span if found[3] == "l" else None
    return entry


def _milliseconds(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
