"""What a producer decides before and after it asks Redis; every producer shares it, and it does no I/O.

Here a message becomes an entry, everything that can be refused is refused, a long list is cut into chunks,
and what the queue said becomes receipts. A refusal leaves no trace: all is composed before the first is asked.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import orjson

from .entry import ConflictingKey, Entry, Taken
from .envelope import write_envelope
from .errors import InvalidRequest, KeyConflict, PayloadTooLarge, ProducerError, UnknownReport
from .identifier import Identifiers
from .keys import group_of
from .message import Message
from .receipt import Receipt

BUDGET = 0.1
"""Seconds: long for Redis, short for somebody who waits for a page."""
NO_DELAY = timedelta(0)
WINDOW = timedelta(days=7)
"""How long a key is remembered: longer than any retry may last."""
REFRESH = "report.refresh"
REPORTS = "reports"
"""The kind of a refresh, and its lane."""
_BATCH = 1000
_BATCH_OCTETS = 8 * 1024 * 1024
_KEY_LIMIT = 512
_REPORT = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_LONGEST_DELAY = timedelta(days=366)


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


class Composer:
    """Makes entries. Thread-safe, and safe in a forked process.

    Args:
        tenant: whose reports a refresh means.
        now: the clock that a message's date and age come from.
    """

    def __init__(self, tenant: str, *, now: Callable[[], datetime] = utc_now) -> None:
        self.tenant = tenant
        self._now = now
        self._identifiers, self._process = Identifiers(), os.getpid()

    def entry(self, message: Message, key: str | None = None, delay: timedelta = NO_DELAY) -> Entry:
        """A message as it goes in: everything that can be refused is refused here.

        Raises:
            ValueError: the message's own refusal, or :class:`InvalidRequest` for the key or the delay.
            PayloadTooLarge: over 256 KiB.
        """
        if not isinstance(delay, timedelta) or not NO_DELAY <= delay <= _LONGEST_DELAY:
            raise InvalidRequest(f"delay: must be a timedelta from 0 to {_LONGEST_DELAY.days} days, not {delay!r}")
        job_id = self._new_id(group_of(message.lane))
        now, delay_ms = self._now(), _milliseconds(delay)
        content = message.compose(job_id=job_id, now=now)
        payload = write_envelope(message.kind, content, enqueued_ms=_epoch_ms(now), delay_ms=delay_ms)
        if key is None:
            return Entry(job_id, payload, delay_ms)
        named, content_digest = _digest(_checked(key)), _digest(message.fingerprint())
        return Entry(job_id, payload, delay_ms, named, content_digest, _milliseconds(WINDOW))

    def batch(self, messages: Sequence[Message], keys: Sequence[str] | None) -> "Batch":
        """All of them composed, or the first refusal with its place in ``index``."""
        wanted: Sequence[str | None] = [None] * len(messages) if keys is None else keys
        if len(wanted) != len(messages):
            raise InvalidRequest(f"keys: {len(wanted)} keys for {len(messages)} messages; give one for each")
        return Batch(messages, wanted, self._entries(messages, wanted))

    def refresh(self, report: str, *, scope: int | None, delay: timedelta) -> Entry:
        """The recompute of a report known to be declared."""
        content = {"tenant": self.tenant, "report": report, "scope": scope}
        payload = write_envelope(REFRESH, content, enqueued_ms=_epoch_ms(self._now()))
        return Entry(f"{{{REPORTS}}}refresh:{self.tenant}:{report}", payload, _milliseconds(delay))

    def _entries(self, messages: Sequence[Message], keys: Sequence[str | None]) -> list[Entry]:
        entries = []
        for place, (message, key) in enumerate(zip(messages, keys, strict=True)):
            try:
                entries.append(self.entry(message, key))
            except (ValueError, PayloadTooLarge) as refusal:
                refusal.index = place  # type: ignore[union-attr]  # a message's refusal is any ValueError
                refusal.add_note(f"message {place} of {len(messages)}; none of them was queued")
                raise
        return entries

    def _new_id(self, group: str) -> str:
        if self._process != os.getpid():  # another thread of the parent may have held the old lock at the fork
            self._identifiers, self._process = Identifiers(), os.getpid()
        return self._identifiers.new(group)


class Batch:
    """The messages of one ``send_many``, and what the queue has said about them so far."""

    def __init__(self, messages: Sequence[Message], keys: Sequence[str | None], entries: Sequence[Entry]) -> None:
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

    def entries(self, places: Sequence[int]) -> list[Entry]:
        """The entries of one chunk."""
        return [self._entries[place] for place in places]

    def took(self, places: Sequence[int], taken: Sequence[Taken]) -> None:
        """Note what the queue said about one chunk."""
        for place, one in zip(places, taken, strict=True):
            self._receipts[place] = receipt(self._messages[place], one)

    def receipts(self) -> list[Receipt]:
        """Those that there are, in the caller's order."""
        return [self._receipts[place] for place in sorted(self._receipts)]

    @contextmanager
    def telling(self, places: Sequence[int]) -> Iterator[None]:
        """Errors of one chunk leave here with the message's place and with the receipts of earlier chunks."""
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


def receipt(message: Message, taken: Taken) -> Receipt:
    """What the caller gets for a message."""
    return Receipt(taken.id, message.kind, message.lane, "queued" if taken.new else "duplicate")


def refresh_receipt(entry: Entry, *, new: bool) -> Receipt:
    """What the caller gets for a refresh."""
    return Receipt(entry.id, REFRESH, REPORTS, "queued" if new else "duplicate")


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


def unusable_address() -> InvalidRequest:
    """For an address of another form; its own words may hold a part of the password."""
    return InvalidRequest(
        "url: must be redis://, rediss:// or unix://, with host, port, database; for asyncio also sentinel://"
    )


def _checked(key: str) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LIMIT:
        raise InvalidRequest(f"key: must be a text of 1 to {_KEY_LIMIT} characters that names this piece of work")
    return key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _milliseconds(duration: timedelta) -> int:
    return round(duration / timedelta(milliseconds=1))


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
