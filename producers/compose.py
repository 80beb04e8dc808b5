"""Composition of entries and receipts: the code of every producer before and after a call of Redis. No I/O.

It turns messages into entries, rejects invalid arguments, splits long lists into chunks, and turns the queue's
replies into receipts. An invalid message has no effect: all messages are composed before the first one is sent.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

import orjson

from .entry import ConflictingKey, EntryReceipt, JobEntry
from .envelope import write_envelope
from .errors import InvalidRequest, KeyConflict, PayloadTooLarge, ProducerError, UnknownReport
from .identifier import Identifiers, is_job_id
from .keys import group_of
from .message import Message, Seal, check_message, id_of, life_of, limit_of, moment_of, version_of
from .node_ids import ALLOWED, LONGEST, fault_of, is_node_id
from .receipt import Receipt
from .send_options import NO_DELAY as NO_DELAY, SendOptions, SendTimes, epoch_ms, milliseconds
from .tracing import trace_fields

BUDGET = 0.1
"""Default budget of a call in seconds: long for Redis, short for a user who waits for a page."""
WINDOW = timedelta(days=7)
"""Time for which a key is remembered: longer than any job may be retried."""
REFRESH = "report.refresh"
REPORTS = "reports"
"""The kind of a refresh, and its lane."""
AT_ONCE = SendOptions()
"""Options of a job that may start now and does not expire."""
_BATCH = 1000
_BATCH_BYTES = 8 * 1024 * 1024
_KEY_LIMIT = 512
_REPORT = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


def utc_now() -> datetime:
    """Return the time of this machine's clock."""
    return datetime.now(UTC)


class Composer:
    """Composer of entries. Thread-safe, and safe in a forked process.

    Args:
        tenant: tenant of the reports that a refresh names.
        now: clock from which a message's date and age come.
        seal: encrypts the private parts of payloads; None: payloads are stored in plain text.
    """

    def __init__(self, tenant: str, *, now: Callable[[], datetime] = utc_now, seal: Seal | None = None) -> None:
        self.tenant = tenant
        self._seal = seal
        self._now = now
        self._identifiers, self._process = Identifiers(), os.getpid()

    def entry(
        self,
        message: Message,
        key: str | None = None,
        terms: SendOptions = AT_ONCE,
        *,
        job_id: str = "",
    ) -> JobEntry:
        """Compose the entry of a message.

        Args:
            job_id: id of the job that the entry replaces; by default a new id.

        Raises:
            ValueError: the message cannot be composed, or :class:`InvalidRequest`: the key or an option is
                invalid.
            PayloadTooLarge: the payload is over 256 KiB.
        """
        now = self._now()
        times, limit = terms.times(now), terms.limit or ""
        return self.entry_at(message, key, now, times, limit=limit, job_id=job_id)

    def entry_at(
        self,
        message: Message,
        key: str | None,
        now: datetime,
        times: SendTimes,
        *,
        limit: str,
        job_id: str = "",
    ) -> JobEntry:
        """Compose an entry as :meth:`entry` does, for times that were computed before; a list shares them."""
        check_message(message)
        job_id = job_id or id_of(message) or self._new_id(group_of(message.lane))
        content = message.compose(job_id=job_id, now=moment_of(message, now, times))
        payload = write_envelope(
            message.kind,
            self.sealed(content, kind=message.kind, job_id=job_id),
            enqueued_ms=times.asked_ms,
            delay_ms=times.wait_ms,
            expires_ms=times.expires_ms,
            payload_version=version_of(message),
            trace=trace_fields(),
        )
        entry = JobEntry(job_id, payload, times.delay_ms, at_ms=times.at_ms, limit=limit or limit_of(message))
        entry.expires_in_ms = times.expires_in_ms
        if times.expires_ms is None and times.expires_in_ms is None:
            entry.life_ms = _life_ms(message)
        entry.origin = message, content, times
        return with_key(entry, key, message)

    def batch(
        self,
        messages: Sequence[Message],
        keys: Sequence[str] | None,
        terms: SendOptions = AT_ONCE,
    ) -> "Batch":
        """Compose all messages with the same options; an error carries its message's position in ``index``."""
        if not _is_list(messages):
            raise InvalidRequest(f"messages: must be a list, not a value of type {type(messages).__name__}")
        if keys is not None and not _is_list(keys):
            raise InvalidRequest("keys: must be a list with a key for each message")
        wanted: Sequence[str | None] = [None] * len(messages) if keys is None else keys
        if len(wanted) != len(messages):
            raise InvalidRequest(f"keys: {len(wanted)} keys for {len(messages)} messages; give one for each")
        return Batch(messages, wanted, self._entries(messages, wanted, terms))

    def refresh(
        self, report: str, *, scope: int | str | UUID | None, delay: timedelta, board: str | None = None
    ) -> JobEntry:
        """Compose the recompute of a declared report's board; by default a board of its own."""
        content = {
            "tenant": self.tenant,
            "report": report,
            "scope": str(scope) if isinstance(scope, UUID) else scope,
        }
        payload = write_envelope(REFRESH, content, enqueued_ms=epoch_ms(self._now()), trace=trace_fields())
        return JobEntry(f"{{{REPORTS}}}refresh:{self.tenant}:{board or report}", payload, milliseconds(delay))

    def _entries(
        self, messages: Sequence[Message], keys: Sequence[str | None], terms: SendOptions
    ) -> list[JobEntry]:
        now, entries = self._now(), []
        times, limit = terms.times(now), terms.limit or ""  # before the loop: an invalid option has no index
        for place, (message, key) in enumerate(zip(messages, keys, strict=True)):
            try:
                entries.append(self.entry_at(message, key, now, times, limit=limit))
            except (ValueError, PayloadTooLarge) as refusal:
                refusal.index = place  # type: ignore[union-attr]  # a message's refusal is any ValueError
                refusal.add_note(f"message {place} of {len(messages)}; none of them was queued")
                raise
        return entries

    def sealed(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """Return a payload as Redis may store it."""
        return payload if self._seal is None else self._seal.seal(payload, kind=kind, job_id=job_id)

    def opened(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """Return the payload that :meth:`sealed` was given."""
        return payload if self._seal is None else self._seal.open(payload, kind=kind, job_id=job_id)

    def _new_id(self, group: str) -> str:
        if self._process != os.getpid():  # another thread of the parent may have held the old lock at the fork
            self._identifiers, self._process = Identifiers(), os.getpid()
        return self._identifiers.new(group)


class _HasFingerprint(Protocol):
    def fingerprint(self) -> str: ...


def _life_ms(message: Message) -> int | None:
    life = life_of(message)
    return None if life is None else milliseconds(life)


def with_key(entry: JobEntry, key: str | None, content: _HasFingerprint) -> JobEntry:
    """Return the entry with its caller's key; unchanged without a key.

    Raises:
        InvalidRequest: the key is not a text, or too long.
    """
    if key is None:
        return entry
    named, content_digest = _digest(_checked(key)), _digest(content.fingerprint())
    return replace(entry, key=named, fingerprint=content_digest, window_ms=milliseconds(WINDOW))


Chunk = tuple[str, list[int]]
"""A lane, and the positions of some of its messages in a batch."""


class Batch:
    """Messages of one ``send_many``, with the receipts so far."""

    def __init__(
        self, messages: Sequence[Message], keys: Sequence[str | None], entries: Sequence[JobEntry]
    ) -> None:
        self._messages = messages
        self._keys = keys
        self._entries = entries
        self._receipts: dict[int, Receipt] = {}

    def chunks(self) -> Iterator[Chunk]:
        """Yield lane and positions, at most 1000 and 8 MiB at a time, so that no script blocks Redis for long."""
        lanes = [message.lane for message in self._messages]
        for lane in dict.fromkeys(lanes):
            run: list[int] = []
            total = 0
            for place in (place for place, one in enumerate(lanes) if one == lane):
                size = len(self._entries[place].payload)
                if run and (len(run) == _BATCH or total + size > _BATCH_BYTES):
                    yield lane, run
                    run, total = [], 0
                run.append(place)
                total += size
            yield lane, run

    def rounds(self) -> Iterator[list[Chunk]]:
        """Yield the chunks of each round trip: again at most 1000 messages and 8 MiB."""
        together: list[Chunk] = []
        count = total = 0
        for lane, places in self.chunks():
            size = sum(len(self._entries[place].payload) for place in places)
            if together and (count + len(places) > _BATCH or total + size > _BATCH_BYTES):
                yield together
                together, count, total = [], 0, 0
            together.append((lane, places))
            count, total = count + len(places), total + size
        if together:
            yield together

    def entries(self, places: Sequence[int]) -> list[JobEntry]:
        """Return the entries of one chunk."""
        return [self._entries[place] for place in places]

    def record_replies(self, together: Sequence[Chunk], answers: Sequence[list[EntryReceipt] | Exception]) -> None:
        """Record the queue's replies to the chunks of one round.

        Raises:
            ProducerError: the first chunk's error, with the receipts of all messages that were queued.
        """
        for (_, places), answer in zip(together, answers, strict=True):
            if not isinstance(answer, Exception):
                for place, one in zip(places, answer, strict=True):
                    self._receipts[place] = receipt_of(self._messages[place], one)
        for (_, places), answer in zip(together, answers, strict=True):
            if isinstance(answer, Exception):
                with self._with_receipts(places):
                    raise answer

    def record_staged(self, together: Sequence[Chunk]) -> None:
        """Record that rows of these chunks were inserted into the ledger."""
        for _, places in together:
            for place in places:
                self._receipts[place] = staged_receipt(self._messages[place], self._entries[place])

    def receipts(self) -> list[Receipt]:
        """Return the receipts so far, in the caller's order."""
        return [self._receipts[place] for place in sorted(self._receipts)]

    @contextmanager
    def naming_receipts(self) -> Iterator[None]:
        """Add the receipts so far to an error."""
        try:
            yield
        except ProducerError as error:
            error.receipts = self.receipts()
            raise

    @contextmanager
    def _with_receipts(self, places: Sequence[int]) -> Iterator[None]:
        """Add the message's position and the receipts so far to an error of one chunk."""
        with self.naming_receipts(), naming_conflict(self._keys, places):
            yield


@contextmanager
def naming_conflict(keys: Sequence[str | None], places: Sequence[int] | None = None) -> Iterator[None]:
    """Turn the queue's conflict into a KeyConflict with the caller's key, and its position in a batch."""
    try:
        yield
    except ConflictingKey as found:
        place = None if places is None else places[found.index]
        conflict = KeyConflict(str(keys[place or 0]), found.known_id)
        conflict.index = place
        raise conflict from None


def receipt_of(message: Message, taken: EntryReceipt) -> Receipt:
    """Return the receipt of a message."""
    return Receipt(taken.id, message.kind, message.lane, "queued" if taken.new else "duplicate")


def staged_receipt(message: Message, entry: JobEntry) -> Receipt:
    """Return the receipt of a message that became a row of the ledger."""
    return Receipt(entry.id, message.kind, message.lane, "staged")


def refresh_receipt(entry: JobEntry, *, new: bool) -> Receipt:
    """Return the receipt of a refresh."""
    return Receipt(entry.id, REFRESH, REPORTS, "queued" if new else "duplicate")


def check_id(job_id: str) -> str:
    """Return the id if it has the form of a producer's job ids.

    Raises:
        InvalidRequest: the id is malformed.
    """
    if not isinstance(job_id, str) or not is_job_id(job_id):
        raise InvalidRequest(f"job_id: {job_id!r} is not a job id; give the id of a receipt, like {{mail}}01kt0…")
    return job_id


def check_refresh(report: str, scope: int | str | UUID | None) -> None:
    """Check the form of a refresh's arguments.

    Raises:
        UnknownReport: no report can have a name of this form.
        InvalidRequest: the scope is not a node id.
    """
    if not isinstance(report, str) or not _REPORT.match(report):
        raise UnknownReport("report: must be a report's name, at most 64 lower-case letters, digits and _")
    if scope is None or isinstance(scope, UUID) or is_node_id(scope):
        return
    fault = f"{scope[:LONGEST]!a} {fault_of(scope)}" if isinstance(scope, str) else "must be a node's id"
    raise InvalidRequest(f"scope: {fault}; {ALLOWED}")


def debounce_of(report: str, *, declared: bool, entry: bytes | None) -> timedelta:
    """Return the debounce of a report. Until a worker has declared its reports, every name is accepted.

    Args:
        declared: True if there is a catalogue.
        entry: the report's entry in the catalogue.

    Raises:
        UnknownReport: the catalogue does not have the report.
    """
    if declared and entry is None:
        raise UnknownReport(f"report: {report!r} is not declared by any worker; check its name")
    return timedelta(milliseconds=orjson.loads(entry)["debounce_ms"] if entry else 0)


def board_of(entry: bytes | None) -> str | None:
    """Return the board in a report's catalogue entry; None: a board of its own, or not known yet."""
    return orjson.loads(entry).get("board") if entry else None


def unusable_address(error: ValueError) -> InvalidRequest:
    """Return the error for an address that :func:`.link.address.read_address` rejects, without its password."""
    return InvalidRequest(f"url: {error}")


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _checked(key: str) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LIMIT:
        raise InvalidRequest(f"key: must be a string of 1 to {_KEY_LIMIT} characters that identifies the work")
    return key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
