"""Producers for the tests of a backend: in memory, without Redis, with every refusal of the real ones.

They compose, check and answer by the same code as :class:`Producer` and :class:`SyncProducer`, and are of their
types; only the queue is another. What they refuse to be: a worker. A handler runs once, at once, in the test's
own task or thread; what it raises reaches the test, and nothing is tried again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any, Self

from ..collapse import Gathering
from ..compose import BUDGET, unusable_address, utc_now
from ..entry import Chunk, Entry, Taken
from ..link.address import read_address
from ..message import Seal
from ..producer import Producer
from ..receipt import Cancelled, Receipt
from ..sync import SyncProducer
from .queue import MemoryQueue, Sent as Sent
from .recorder import Recorder

Payload = dict[str, Any]
Handler = Callable[[Payload], Awaitable[object]]
SyncHandler = Callable[[Payload], object]


class RecordingProducer(Recorder, Producer):
    """A :class:`Producer` that records.

    Args:
        handlers: for a kind, the coroutine function that gets the payload when the job is due: at once, or in
            :meth:`travel`. Kinds without one are recorded only.
        reports: the declared reports with their debounce; left out, every report's name is taken.
        now: where the clock starts; aware.

    Example:
        >>> import asyncio
        >>> from datetime import timedelta
        >>> from jobs import Mail
        >>> async def test_a_reminder_follows_after_a_day():
        ...     outbox = []
        ...     async def deliver(mail):
        ...         outbox.append(mail["subject"])
        ...     producer = RecordingProducer(handlers={"mail.send": deliver})
        ...     await producer.send(Mail(to="ana@example.com", subject="Hola", text="Ya"), key="hello")
        ...     reminder = Mail(to="ana@example.com", subject="Recordatorio", text="Hoy")
        ...     await producer.send(reminder, delay=timedelta(days=1))
        ...     assert outbox == ["Hola"]
        ...     await producer.travel(timedelta(days=1))
        ...     assert outbox == ["Hola", "Recordatorio"]
        ...     producer.assert_sent(kind="mail.send", to="ana@example.com", count=2)
        >>> asyncio.run(test_a_reminder_follows_after_a_day())
    """

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler] | None = None,
        reports: Mapping[str, timedelta] | None = None,
        tenant: str = "default",
        now: datetime | None = None,
    ) -> None:
        # Not super().__init__: it would make a queue in Redis.
        self._handlers = dict(handlers or {})
        self._memory = MemoryQueue(self._handlers, reports, now or utc_now(), tenant)
        self._composer = self._memory.composer
        self._queue = _Recording(self._memory, self._work)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        tenant: str = "default",
        budget: float = BUDGET,
        confirm_replicas: int = 0,
        seal: Seal | None = None,
    ) -> Self:
        """One without handlers; the address is checked and not used, nothing takes long, and nothing is sealed."""
        del budget, confirm_replicas, seal
        _check_address(url)
        return cls(tenant=tenant)

    async def travel(self, duration: timedelta) -> None:
        """Move the clock; jobs that come due on the way run in their order, each at its own time.

        Raises:
            ValueError: a duration below zero.
            Exception: what a handler raised; the clock stands at that job's time.
        """
        until = _arrival(self._memory, duration)
        while (due := self._memory.next_due()) is not None and due <= until:
            self._memory.now = max(self._memory.now, due)
            await self._work()
        self._memory.now = until

    async def _work(self) -> None:
        while job := self._memory.take():
            try:
                await self._handlers[job.kind](dict(job.payload))
            finally:
                self._memory.done(job)


class SyncRecordingProducer(Recorder, SyncProducer):
    """A :class:`SyncProducer` that records: :class:`RecordingProducer` without ``await``, for plain handlers.

    Example:
        >>> from jobs import Mail
        >>> producer = SyncRecordingProducer()
        >>> receipt = producer.send(Mail(to="ana@example.com", subject="Hola", text="Ya"), key="hello")
        >>> producer.assert_sent(to="eva@example.com")
        Traceback (most recent call last):
        AssertionError: wanted: at least one job with to 'eva@example.com'; found: 0 of 1 sent
          mail.send in mail.normal, to 'ana@example.com', key 'hello'
    """

    def __init__(
        self,
        *,
        handlers: Mapping[str, SyncHandler] | None = None,
        reports: Mapping[str, timedelta] | None = None,
        tenant: str = "default",
        now: datetime | None = None,
    ) -> None:
        # Not super().__init__: it would make a queue in Redis.
        self._handlers = dict(handlers or {})
        self._memory = MemoryQueue(self._handlers, reports, now or utc_now(), tenant)
        self._composer = self._memory.composer
        self._queue = _SyncRecording(self._memory, self._work)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        tenant: str = "default",
        budget: float = BUDGET,
        confirm_replicas: int = 0,
        seal: Seal | None = None,
    ) -> Self:
        """One without handlers; the address is checked and not used, nothing takes long, and nothing is sealed."""
        del budget, confirm_replicas, seal
        _check_address(url)
        return cls(tenant=tenant)

    def travel(self, duration: timedelta) -> None:
        """Move the clock, as :meth:`RecordingProducer.travel`."""
        until = _arrival(self._memory, duration)
        while (due := self._memory.next_due()) is not None and due <= until:
            self._memory.now = max(self._memory.now, due)
            self._work()
        self._memory.now = until

    def _work(self) -> None:
        while job := self._memory.take():
            try:
                self._handlers[job.kind](dict(job.payload))
            finally:
                self._memory.done(job)


class _Recording:
    """The memory as a queue for asyncio; after each call the jobs that are due run."""

    def __init__(self, memory: MemoryQueue, work: Callable[[], Awaitable[None]]) -> None:
        self._memory = memory
        self._work = work

    async def close(self) -> None:
        """Nothing is open."""

    @asynccontextmanager
    async def within_budget(self, _: str) -> AsyncIterator[None]:
        """Nothing takes long, and a handler may."""
        yield

    async def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        taken = self._memory.put(lane, entries)
        await self._work()
        return taken

    async def put_many(self, chunks: Sequence[Chunk]) -> list[list[Taken] | Exception]:
        answers = self._memory.put_many(chunks)
        await self._work()
        return answers

    async def gather(self, gathering: Gathering) -> Receipt:
        receipt = self._memory.gather(gathering)
        await self._work()
        return receipt

    async def put_latest(self, lane: str, entry: Entry) -> bool:
        new = self._memory.put_latest(lane, entry)
        await self._work()
        return new

    async def cancel(self, job_id: str) -> Cancelled:
        return self._memory.cancel(job_id)

    async def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        return self._memory.field(key, field)


class _SyncRecording:
    """The same without asyncio."""

    def __init__(self, memory: MemoryQueue, work: Callable[[], None]) -> None:
        self._memory = memory
        self._work = work
        self.field = memory.field
        self.cancel = memory.cancel
        self.suppression = memory.suppression

    def close(self) -> None:
        """Nothing is open."""

    @contextmanager
    def within_budget(self) -> Iterator[None]:
        """Nothing takes long, and a handler may."""
        yield

    def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        taken = self._memory.put(lane, entries)
        self._work()
        return taken

    def put_many(self, chunks: Sequence[Chunk]) -> list[list[Taken] | Exception]:
        answers = self._memory.put_many(chunks)
        self._work()
        return answers

    def gather(self, gathering: Gathering) -> Receipt:
        receipt = self._memory.gather(gathering)
        self._work()
        return receipt

    def put_latest(self, lane: str, entry: Entry) -> bool:
        new = self._memory.put_latest(lane, entry)
        self._work()
        return new


def _check_address(url: str) -> None:
    try:
        read_address(url)
    except ValueError as error:
        raise unusable_address(error) from None


def _arrival(memory: MemoryQueue, duration: timedelta) -> datetime:
    if duration < timedelta(0):
        raise ValueError(f"duration: time goes forward, so it cannot be {duration!r}")
    return memory.now + duration
