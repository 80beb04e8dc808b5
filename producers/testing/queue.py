"""The queue of a test: in memory, on a clock that moves only when it is told to.

It keeps the promises of the two scripts: all entries of a lane or none, a key stands for one content for its
window, at most one refresh of a report runs and one waits, and the latest payload wins. A job waits, runs
(when there is a handler for its kind) and is done; without a handler it waits for ever, as without a worker.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush

import orjson

from ..collapse import Addition, Found, Gathering
from ..compose import Composer
from ..entry import Asked, Chunk, ConflictingKey, Entry, Taken
from ..envelope import read_envelope
from ..keys import group_of
from ..message import Message
from ..receipt import Cancelled, Receipt
from ..terms import Times
from .suppression import MemorySuppression


@dataclass(frozen=True, slots=True)
class Sent:
    """One job that was queued. A duplicate of an earlier one is not another.

    Attributes:
        payload: what the worker would get, as it comes out of JSON.
        due: when it may run, by the recorder's clock.
        expires: until when it is worth running, or None.
        limit: the key of the limit that it counts against, if one was named.
        key: the caller's key, if there was one.
        message: what was sent; None for a refresh.
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
        """Whom a mail goes to, in the form in which it travels; None for what has no ``to``."""
        return self.payload.get("to")

    @property
    def template(self) -> object:
        """The template that a mail was made from; None without one."""
        return getattr(self.message, "template", None)


class RecordingComposer(Composer):
    """Composes as every producer does, and remembers for each job what it was made from."""

    asked: dict[str, tuple[Message, str | None]]

    def at(
        self, message: Message, key: str | None, now: datetime, times: Times, *, limit: str, job_id: str = ""
    ) -> Entry:
        """As :meth:`Composer.at`."""
        entry = super().at(message, key, now, times, limit=limit, job_id=job_id)
        self.asked[entry.id] = message, key
        return entry


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a key stands for.

    Attributes:
        until: its window; a job that is not over keeps it longer.
    """

    fingerprint: str = field(repr=False)
    id: str
    until: datetime


class MemoryQueue:
    """What Redis would hold. Thread-safe.

    Args:
        kinds: those that have a handler.
        reports: the declared reports with their debounce; None when no worker has declared any yet.
        now: where the clock stands first; aware.
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
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget every job and every key; the clock stays where it is."""
        with self._lock:
            for kept in (self.sent, self.cancelled, self.expired):
                kept.clear()
            self.composer.asked = {}
            self._standing: dict[tuple[str, str], _Standing] = {}
            self._waiting: dict[str, Sent] = {}
            self._running: set[str] = set()
            self._following: dict[str, Sent] = {}
            self._digests: dict[str, Addition] = {}
            self._suppressed = MemorySuppression()
            self._due: list[tuple[datetime, int, str]] = []

    def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        """As ``enqueue.lua``.

        Raises:
            ConflictingKey: a key stands for other content; nothing was queued.
        """
        with self._lock:
            wanted = [self.composer.asked.pop(entry.id) for entry in entries]
            standing = self._stand(group_of(lane), entries)
            taken = []
            for entry, (message, key) in zip(entries, wanted, strict=True):
                first = standing[entry.key].id if entry.key else entry.id
                taken.append(Taken(first, first == entry.id))
                if first == entry.id:
                    self._add(replace(self._job(lane, entry), message=message, key=key))
            self._standing |= {(group_of(lane), key): one for key, one in standing.items()}
            return taken

    def put_many(self, chunks: Sequence[Chunk]) -> list[list[Taken] | Exception]:
        """As ``enqueue.lua`` for each lane."""
        return [self._put_result(*chunk) for chunk in chunks]

    def _put_result(self, lane: str, entries: Sequence[Entry]) -> list[Taken] | Exception:
        try:
            return self.put(lane, entries)
        except ConflictingKey as conflict:
            return conflict

    def gather(self, gathering: Gathering) -> Receipt:
        """As ``collapse.lua``, seen first and with nobody else at it.

        Raises:
            ConflictingKey: the key stands for another item.
        """
        with self._lock:
            found = self._found(gathering.name)
            addition = gathering.addition(found)
            entry, place = addition.entry, (group_of(gathering.lane), addition.entry.key)
            message, _ = self.composer.asked.pop(entry.id)
            for known in self._stand(place[0], [entry]).values():
                if known is self._standing.get(place):
                    return gathering.receipt("duplicate", known.id)
                self._standing[place] = known
            job = replace(self._job(gathering.lane, entry), message=message)
            self._digests[gathering.name] = addition
            if entry.id == found.id:
                self._replace(self._waiting[entry.id], job)
                return gathering.receipt("gathered", entry.id)
            self._add(job)
            return gathering.receipt("queued", entry.id)

    def put_latest(self, lane: str, entry: Entry) -> bool:
        """As ``enqueue_latest.lua``; whether the id was not waiting yet."""
        with self._lock:
            job = self._job(lane, entry)
            if job.id in self._running:
                earlier = self._following.get(job.id, job)
                self._following[job.id] = replace(job, due=min(job.due, earlier.due))
                return True
            waiting = self._waiting.get(job.id)
            if waiting is None:
                self._add(job)
                return True
            self._replace(waiting, replace(job, due=min(job.due, waiting.due)))
            return False

    def cancel(self, job_id: str) -> Cancelled:
        """As ``take_out.lua``; a handler that runs is not stopped, its test is told."""
        with self._lock:
            if job_id in self._running:
                return "stopping"
            job = self._waiting.pop(job_id, None)
            if job is None:
                return "unknown"
            self.cancelled.append(job)
            return "cancelled"

    def suppression(self, asked: Asked) -> int:
        """As ``suppress.lua``."""
        with self._lock:
            return self._suppressed.change(asked, self.now)

    def field(self, _key: str, report: str) -> tuple[bool, bytes | None]:
        """The catalogue's entry of a report, as a worker writes it."""
        if self._reports is None or report not in self._reports:
            return self._reports is not None, None
        return True, orjson.dumps({"debounce_ms": round(self._reports[report] / timedelta(milliseconds=1))})

    def next_due(self) -> datetime | None:
        """When the next job that has a handler may run."""
        with self._lock:
            while self._due and not self._is_waiting(*self._due[0]):
                heappop(self._due)
            return self._due[0][0] if self._due else None

    def take(self) -> Sent | None:
        """The next job that has a handler and whose time has come; it runs until :meth:`done`."""
        with self._lock:
            due = self.next_due()
            if due is None or due > self.now:
                return None
            _, _, job_id = heappop(self._due)
            job = self._waiting.pop(job_id)
            if job.expires is not None and job.expires <= self.now:
                self.expired.append(job)
                return self.take()
            self._running.add(job_id)
            return job

    def done(self, job: Sent) -> None:
        """It has run; what was asked for meanwhile waits now."""
        with self._lock:
            self._running.discard(job.id)
            if following := self._following.pop(job.id, None):
                self._add(following)

    def _stand(self, group: str, entries: Sequence[Entry]) -> dict[str, _Standing]:
        """What each key of these stands for, once they are in."""
        standing: dict[str, _Standing] = {}
        for index, entry in enumerate(entries):
            if entry.key:
                known = standing.get(entry.key) or self._known(group, entry)
                if known.fingerprint != entry.fingerprint:
                    raise ConflictingKey(index, known.id)
                standing[entry.key] = known
        return standing

    def _known(self, group: str, entry: Entry) -> _Standing:
        known = self._standing.get((group, entry.key))
        if known is not None and (known.until > self.now or self._is_unfinished(known.id)):
            return known
        return _Standing(entry.fingerprint, entry.id, self.now + timedelta(milliseconds=entry.window_ms))

    def _is_unfinished(self, job_id: str) -> bool:
        return job_id in self._waiting or job_id in self._running

    def _job(self, lane: str, entry: Entry) -> Sent:
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

    def _found(self, name: str) -> Found:
        """The digest that waits under this name."""
        latest = self._digests.get(name)
        waiting = self._waiting.get(latest.entry.id) if latest else None
        if latest is None or waiting is None or waiting.due <= self.now:
            return Found()
        left_ms = round((waiting.due - self.now) / timedelta(milliseconds=1))
        return Found(waiting.id, left_ms, latest.count, latest.items)

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
        """Not so when a refresh was moved to an earlier time: it has another place then."""
        job = self._waiting.get(job_id)
        return job is not None and job.due == due


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
