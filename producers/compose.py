"""What a producer decides before and after it asks Redis; every producer shares it, and it does no I/O.

Here a message becomes an entry, everything that can be refused is refused, a long list is cut into chunks,
and what the queue said becomes receipts. A refusal leaves no trace: all is composed before the first is asked.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import orjson

from .entry import ConflictingKey, EntryReceipt, JobEntry
from .envelope import write_envelope
from .errors import InvalidRequest, KeyConflict, PayloadTooLarge, ProducerError, UnknownReport
from .identifier import Identifiers
from .keys import group_of
from .message import Message, Seal, life_of, moment_of, version_of
from .receipt import Receipt
from .send_options import NO_DELAY as NO_DELAY, SendOptions, SendTimes, epoch_ms, milliseconds

BUDGET = 0.1
"""Seconds: long for Redis, short for somebody who waits for a page."""
WINDOW = timedelta(days=7)
"""How long a key is remembered: longer than any retry may last."""
REFRESH = "report.refresh"
REPORTS = "reports"
"""The kind of a refresh, and its lane."""
AT_ONCE = SendOptions()
"""As soon as there is room, and however late."""
_BATCH = 1000
_BATCH_OCTETS = 8 * 1024 * 1024
_KEY_LIMIT = 512
_JOB_ID = re.compile(r"\{[a-z][a-z0-9_]*\}.{1,255}\Z")
_REPORT = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


class Composer:
    """Makes entries. Thread-safe, and safe in a forked process.

    Args:
        tenant: whose reports a refresh means.
        now: the clock that a message's date and age come from.
        seal: hides what is private of a payload; None: it travels as it is.
    """

    def __init__(self, tenant: str, *, now: Callable[[], datetime] = utc_now, seal: Seal | None = None) -> None:
        self.tenant = tenant
        self._seal = seal
        self._now = now
        self._identifiers, self._process = Identifiers(), os.getpid()

    def entry(
        self, message: Message, key: str | None = None, terms: SendOptions = AT_ONCE, *, job_id: str = ""
    ) -> JobEntry:
        """A message as it goes in: everything that can be refused is refused here.

        Args:
            job_id: of the job that it takes the place of; left out, it is a new one.

        Raises:
            ValueError: the message's own refusal, or :class:`InvalidRequest` for the key or the terms.
            PayloadTooLarge: over 256 KiB.
        """
        now = self._now()
        return self.at(message, key, now, terms.times(now), limit=terms.limit or "", job_id=job_id)

    def at(
        self, message: Message, key: str | None, now: datetime, times: SendTimes, *, limit: str, job_id: str = ""
    ) -> JobEntry:
        """As :meth:`entry`, of a moment and on terms worked out for it; one moment serves a whole list."""
        job_id = job_id or self._new_id(group_of(message.lane))
        content = message.compose(job_id=job_id, now=moment_of(message, now, times))
        payload = write_envelope(
            message.kind,
            self.sealed(content, kind=message.kind, job_id=job_id),
            enqueued_ms=times.asked_ms,
            delay_ms=times.wait_ms,
            expires_ms=times.expires_ms,
            payload_version=version_of(message),
        )
        entry = JobEntry(job_id, payload, times.delay_ms, at_ms=times.at_ms, limit=limit)
        entry.expires_in_ms = times.expires_in_ms
        if times.expires_ms is None and times.expires_in_ms is None:
            entry.life_ms = _life_ms(message)
        return keyed(entry, key, message)

    def batch(
        self, messages: Sequence[Message], keys: Sequence[str] | None, terms: SendOptions = AT_ONCE
    ) -> "Batch":
        """All of them composed on the same terms, or the first refusal with its place in ``index``."""
        wanted: Sequence[str | None] = [None] * len(messages) if keys is None else keys
        if len(wanted) != len(messages):
            raise InvalidRequest(f"keys: {len(wanted)} keys for {len(messages)} messages; give one for each")
        return Batch(messages, wanted, self._entries(messages, wanted, terms))

    def refresh(self, report: str, *, scope: int | None, delay: timedelta, board: str | None = None) -> JobEntry:
        """The recompute of the board that a report known to be declared is on; left out, its own."""
        content = {"tenant": self.tenant, "report": report, "scope": scope}
        payload = write_envelope(REFRESH, content, enqueued_ms=epoch_ms(self._now()))
        return JobEntry(f"{{{REPORTS}}}refresh:{self.tenant}:{board or report}", payload, milliseconds(delay))

    def _entries(
        self, messages: Sequence[Message], keys: Sequence[str | None], terms: SendOptions
    ) -> list[JobEntry]:
        now, entries = self._now(), []
        times, limit = terms.times(now), terms.limit or ""  # refused here, terms are no single message's fault
        for place, (message, key) in enumerate(zip(messages, keys, strict=True)):
            try:
                entries.append(self.at(message, key, now, times, limit=limit))
            except (ValueError, PayloadTooLarge) as refusal:
                refusal.index = place  # type: ignore[union-attr]  # a message's refusal is any ValueError
                refusal.add_note(f"message {place} of {len(messages)}; none of them was queued")
                raise
        return entries

    def sealed(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """As it may lie in Redis."""
        return payload if self._seal is None else self._seal.seal(payload, kind=kind, job_id=job_id)

    def opened(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """What :meth:`sealed` made, before it did."""
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


def keyed(entry: JobEntry, key: str | None, content: _HasFingerprint) -> JobEntry:
    """The entry under its caller's key, if there is one.

    Raises:
        InvalidRequest: no text, or too long.
    """
    if key is None:
        return entry
    named, content_digest = _digest(_checked(key)), _digest(content.fingerprint())
    return replace(entry, key=named, fingerprint=content_digest, window_ms=milliseconds(WINDOW))


class Batch:
    """The messages of one ``send_many``, and what the queue has said about them so far."""

    def __init__(
        self, messages: Sequence[Message], keys: Sequence[str | None], entries: Sequence[JobEntry]
    ) -> None:
        self._messages = messages
        self._keys = keys
        self._entries = entries
        self._receipts: dict[int, Receipt] = {}

    def chunks(self) -> Iterator[tuple[str, list[int]]]:
        """Lane and places, at most a thousand and eight MiB at a time, so that no script holds Redis for long."""
        lanes = [message.lane for message in self._messages]
        for lane in dict.fromkeys(lanes):
            run: list[int] = []
            octets = 0
            for place in (place for place, one in enumerate(lanes) if one == lane):
                size = len(self._entries[place].payload)
                if run and (len(run) == _BATCH or octets + size > _BATCH_OCTETS):
                    yield lane, run
                    run, octets = [], 0
                run.append(place)
                octets += size
            yield lane, run

    def rounds(self) -> Iterator[list[tuple[str, list[int]]]]:
        """Chunks of different lanes that go together: again at most a thousand and eight MiB."""
        together: list[tuple[str, list[int]]] = []
        count = octets = 0
        for lane, places in self.chunks():
            size = sum(len(self._entries[place].payload) for place in places)
            if together and (count + len(places) > _BATCH or octets + size > _BATCH_OCTETS):
                yield together
                together, count, octets = [], 0, 0
            together.append((lane, places))
            count, octets = count + len(places), octets + size
        if together:
            yield together

    def entries(self, places: Sequence[int]) -> list[JobEntry]:
        """The entries of one chunk."""
        return [self._entries[place] for place in places]

    def took(
        self, together: Sequence[tuple[str, Sequence[int]]], answers: Sequence[list[EntryReceipt] | Exception]
    ) -> None:
        """Note what the queue said about the chunks of one round.

        Raises:
            ProducerError: the first that was not queued, with the receipts of all that were.
        """
        for (_, places), answer in zip(together, answers, strict=True):
            if not isinstance(answer, Exception):
                for place, one in zip(places, answer, strict=True):
                    self._receipts[place] = receipt(self._messages[place], one)
        for (_, places), answer in zip(together, answers, strict=True):
            if isinstance(answer, Exception):
                with self._telling(places):
                    raise answer

    def receipts(self) -> list[Receipt]:
        """Those that there are, in the caller's order."""
        return [self._receipts[place] for place in sorted(self._receipts)]

    @contextmanager
    def _telling(self, places: Sequence[int]) -> Iterator[None]:
        """An error of one chunk leaves here with the message's place and the receipts of all that was queued."""
        try:
            with naming(self._keys, places):
                yield
        except ProducerError as error:
            error.receipts = self.receipts()
            raise


@contextmanager
def naming(keys: Sequence[str | None], places: Sequence[int] | None = None) -> Iterator[None]:
    """A conflict that the queue found leaves here with the caller's key, and its place if it is one of many."""
    try:
        yield
    except ConflictingKey as found:
        place = None if places is None else places[found.index]
        conflict = KeyConflict(str(keys[place or 0]), found.known_id)
        conflict.index = place
        raise conflict from None


def receipt(message: Message, taken: EntryReceipt) -> Receipt:
    """What the caller gets for a message."""
    return Receipt(taken.id, message.kind, message.lane, "queued" if taken.new else "duplicate")


def refresh_receipt(entry: JobEntry, *, new: bool) -> Receipt:
    """What the caller gets for a refresh."""
    return Receipt(entry.id, REFRESH, REPORTS, "queued" if new else "duplicate")


def check_id(job_id: str) -> str:
    """The id, if a producer may have made it.

    Raises:
        InvalidRequest: it names no group of lanes.
    """
    if not isinstance(job_id, str) or not _JOB_ID.match(job_id):
        raise InvalidRequest(f"job_id: {job_id!r} is not the id of a receipt, like {{mail}}01kt0…")
    return job_id


def check_refresh(report: str, scope: int | None) -> None:
    """Refuse what no catalogue could hold.

    Raises:
        UnknownReport, InvalidRequest: naming the argument.
    """
    if not isinstance(report, str) or not _REPORT.match(report):
        raise UnknownReport("report: a report's name is lower-case letters, digits and _, at most 64; check it")
    if scope is None:
        return
    if not isinstance(scope, int) or isinstance(scope, bool) or not 0 < scope < 2**63:
        raise InvalidRequest("scope: must be a node's id, a whole number from 1 to 2^63 - 1")


def debounce(report: str, *, declared: bool, entry: bytes | None) -> timedelta:
    """How long a refresh waits. Before any worker has declared its reports, every name may be right.

    Args:
        declared: whether there is a catalogue at all.
        entry: the report's entry in it.

    Raises:
        UnknownReport: there is a catalogue without it.
    """
    if declared and entry is None:
        raise UnknownReport(f"report: {report!r} is not declared by any worker; check its name")
    return timedelta(milliseconds=orjson.loads(entry)["debounce_ms"] if entry else 0)


def board_of(entry: bytes | None) -> str | None:
    """The board that a report is on by its entry in the catalogue; None: its own, or not known yet."""
    return orjson.loads(entry).get("board") if entry else None


def unusable_address(error: ValueError) -> InvalidRequest:
    """For what :func:`.link.address.read_address` refuses; its words hold nothing of the password."""
    return InvalidRequest(f"url: {error}")


def _checked(key: str) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LIMIT:
        raise InvalidRequest(f"key: must be a text of 1 to {_KEY_LIMIT} characters that names this piece of work")
    return key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
