"""The producer: what a backend holds. It owns no queue of its own; a job is in Redis or the call raised."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import orjson
from redis.asyncio import Redis

from .envelope import write_envelope
from .errors import InvalidRequest, KeyConflict, PayloadTooLarge, ProducerError, UnknownReport
from .identifier import Identifiers
from .keys import catalogue, group_of
from .link import Link
from .message import Message
from .queue import ConflictingKey, Entry, Queue, Taken
from .receipt import Receipt

WINDOW = timedelta(days=7)
"""How long a key is remembered: longer than any retry may last."""
_BATCH = 1000
_BATCH_OCTETS = 8 * 1024 * 1024
_KEY_LIMIT = 512
_REPORT = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_NO_DELAY = timedelta(0)
_LONGEST_DELAY = timedelta(days=366)
_BUDGET = 0.1


class Producer:
    """Hands work over to the workers, one round trip a call.

    Any number of tasks of one event loop may share it. It never buffers: when a call returns, Redis has
    the job; when it raises :class:`NotEnqueued`, sending it again with the same key cannot double it.

    Args:
        client: a link, or a redis-py asyncio client with ``decode_responses=False``; see :meth:`connect`.
        tenant: whose reports :meth:`refresh` means.
        budget: seconds within which Redis answers or the call raises; ``send_many`` has it for every thousand.
    """

    def __init__(self, client: Link | Redis, *, tenant: str = "default", budget: float = _BUDGET) -> None:
        self._tenant = tenant
        self._queue = Queue(client, budget=budget)
        self._identifiers = Identifiers()

    @classmethod
    def connect(cls, url: str, *, tenant: str = "default", budget: float = _BUDGET) -> Self:
        """A producer with a connection of its own; made at the first call, not here.

        Args:
            url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with the password in it if there is one.

        Raises:
            InvalidRequest: an address of another form.
        """
        try:
            link = Link(url)
        except ValueError:  # its words may hold a part of the password
            raise InvalidRequest(
                "url: must be redis://, rediss:// or unix://, with host, port, database"
            ) from None
        return cls(link, tenant=tenant, budget=budget)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._queue.close()

    async def send(self, message: Message, *, key: str | None = None, delay: timedelta = _NO_DELAY) -> Receipt:
        """Queue one message.

        Args:
            key: names this piece of work for seven days. The same key with the same content gives the
                first receipt's id and queues nothing.
            delay: how long to wait before it may run, by Redis's clock.

        Raises:
            ValueError: the message's own refusal (for a mail: :class:`jobs.MailError`), or
                :class:`InvalidRequest` for the key or the delay.
            KeyConflict: the key stands for other content.
            PayloadTooLarge: over 256 KiB.
            NotEnqueued: Redis did not take it within the budget.
        """
        entry = self._entry(message, key, delay)
        try:
            (taken,) = await self._queue.put(message.lane, [entry])
        except ConflictingKey as found:
            raise KeyConflict(str(key), found.known_id) from None
        return _receipt(message, taken)

    async def send_many(self, messages: Sequence[Message], *, keys: Sequence[str] | None = None) -> list[Receipt]:
        """Queue many messages, a thousand in one round trip, each thousand all or nothing.

        Every message is composed before the first is queued, so a refusal queues none.

        Args:
            keys: one per message, in the same order.

        Raises:
            ValueError, PayloadTooLarge: as :meth:`send`, with the message's place in ``index``.
            KeyConflict: as :meth:`send`, with ``index``; its thousand was not queued, and ``receipts`` holds
                those of the thousands before.
            NotEnqueued: as :meth:`send`; ``receipts`` holds those of the thousands before.
        """
        wanted: Sequence[str | None] = [None] * len(messages) if keys is None else keys
        if len(wanted) != len(messages):
            raise InvalidRequest(f"keys: {len(wanted)} keys for {len(messages)} messages; give one for each")
        entries = self._entries(messages, wanted)
        receipts: dict[int, Receipt] = {}
        try:
            for lane, places in _chunks(messages, entries):
                taken = await self._put_chunk(lane, places, entries, wanted)
                receipts |= {
                    place: _receipt(messages[place], one) for place, one in zip(places, taken, strict=True)
                }
        except ProducerError as error:
            error.receipts = [receipts[place] for place in sorted(receipts)]
            raise
        return [receipts[place] for place in range(len(messages))]

    async def refresh(self, report: str, *, scope: int | None = None) -> Receipt:
        """Say that a report's data changed. Debounced: many calls make one recompute.

        The recompute starts after the report's declared debounce and sees every write that was committed
        before this call. Calls made while it runs lead to one more.

        Args:
            report: a declared report's name.
            scope: the node whose rows changed, if known; told to people, not needed by the recompute.

        Raises:
            InvalidRequest: a scope that is no node id.
            UnknownReport: the workers have declared their reports and this is none of them.
            NotEnqueued: Redis did not take it within the budget.
        """
        _check_report(report)
        _check_scope(scope)
        async with self._queue.within_budget():
            declared, entry = await self._queue.field(catalogue(self._tenant), report)
            if declared and entry is None:
                raise UnknownReport(f"report: {report!r} is not declared by any worker; check its name")
            debounce_ms = orjson.loads(entry)["debounce_ms"] if entry else 0
            return await self.request_refresh(report, scope=scope, delay=timedelta(milliseconds=debounce_ms))

    async def request_refresh(self, report: str, *, scope: int | None, delay: timedelta) -> Receipt:
        """Queue the recompute of a report known to be declared; :meth:`refresh` is the call for backends."""
        job_id = f"{{reports}}refresh:{self._tenant}:{report}"
        content = {"tenant": self._tenant, "report": report, "scope": scope}
        payload = write_envelope("report.refresh", content, enqueued_ms=_now_ms())
        new = await self._queue.put_latest("reports", Entry(job_id, payload, _milliseconds(delay)))
        return Receipt(job_id, "report.refresh", "reports", "queued" if new else "duplicate")

    def _entries(self, messages: Sequence[Message], keys: Sequence[str | None]) -> list[Entry]:
        entries = []
        for place, (message, key) in enumerate(zip(messages, keys, strict=True)):
            try:
                entries.append(self._entry(message, key, _NO_DELAY))
            except (ValueError, PayloadTooLarge) as refusal:
                refusal.index = place  # type: ignore[union-attr]  # a message's refusal is any ValueError
                refusal.add_note(f"message {place} of {len(messages)}; none of them was queued")
                raise
        return entries

    def _entry(self, message: Message, key: str | None, delay: timedelta) -> Entry:
        """A message as it goes in: everything that can be refused is refused here."""
        if not isinstance(delay, timedelta) or not _NO_DELAY <= delay <= _LONGEST_DELAY:
            raise InvalidRequest(f"delay: must be a timedelta from 0 to {_LONGEST_DELAY.days} days, not {delay!r}")
        job_id = self._identifiers.new(group_of(message.lane))
        content = message.compose(job_id=job_id, now=datetime.now(UTC))
        payload = write_envelope(message.kind, content, enqueued_ms=_now_ms(), delay_ms=_milliseconds(delay))
        if key is None:
            return Entry(job_id, payload, _milliseconds(delay))
        return Entry(
            job_id,
            payload,
            _milliseconds(delay),
            _digest(_checked(key)),
            _digest(message.fingerprint()),
            _milliseconds(WINDOW),
        )

    async def _put_chunk(
        self, lane: str, places: Sequence[int], entries: Sequence[Entry], keys: Sequence[str | None]
    ) -> list[Taken]:
        try:
            return await self._queue.put(lane, [entries[place] for place in places])
        except ConflictingKey as found:
            place = places[found.index]
            conflict = KeyConflict(str(keys[place]), found.known_id)
            conflict.index = place
            raise conflict from None


def _receipt(message: Message, taken: Taken) -> Receipt:
    return Receipt(taken.id, message.kind, message.lane, "queued" if taken.new else "duplicate")


def _chunks(messages: Sequence[Message], entries: Sequence[Entry]) -> Iterator[tuple[str, list[int]]]:
    """Lane and places, at most a thousand and eight MiB at a time, so that no script holds Redis for long."""
    for lane in dict.fromkeys(message.lane for message in messages):
        run: list[int] = []
        octets = 0
        for place in (place for place, message in enumerate(messages) if message.lane == lane):
            size = len(entries[place].payload)
            if run and (len(run) == _BATCH or octets + size > _BATCH_OCTETS):
                yield lane, run
                run, octets = [], 0
            run.append(place)
            octets += size
        yield lane, run


def _checked(key: str) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LIMIT:
        raise InvalidRequest(f"key: must be a text of 1 to {_KEY_LIMIT} characters that names this piece of work")
    return key


def _check_report(name: str) -> None:
    if not isinstance(name, str) or not _REPORT.match(name):
        raise UnknownReport("report: a report's name is lower-case letters, digits and _, at most 64; check it")


def _check_scope(scope: int | None) -> None:
    if scope is None:
        return
    if not isinstance(scope, int) or isinstance(scope, bool) or not 0 < scope < 2**63:
        raise InvalidRequest("scope: must be a node's id, a whole number from 1 to 2^63 - 1")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _milliseconds(duration: timedelta) -> int:
    return round(duration / timedelta(milliseconds=1))


def _now_ms() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)
