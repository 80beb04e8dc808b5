"""Producers for a backend's tests: in memory, without Redis, with the same checks and errors as the real ones.

They are subclasses of :class:`Producer` and :class:`SyncProducer` and share their code; only the replies come from
memory instead of Redis. They are not workers: a handler runs once, at once, in the test's own task or thread; its
errors reach the test, and there are no retries.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any, Generic, Self, TypeVar, cast

from ..compose import BUDGET, Composer, unusable_address, utc_now
from ..digest import DigestItem
from ..entry import JobEntry, enqueue
from ..levels import LevelSender
from ..link import Argument
from ..link.address import read_address
from ..link.budget import TimeBudget, Words
from ..link.links import Caller
from ..link.sync import Calls, SyncLinks
from ..message import Seal
from ..operation import Operation, Result
from ..producer import Producer
from ..queue import Queue
from ..receipt import Receipt
from ..sync import SyncProducer
from ..sync_levels import SyncLevelSender
from ..sync_queue import SyncQueue
from .queue import MemoryQueue, Sent as Sent
from .recorder import Recorder

Payload = dict[str, Any]
Handler = Callable[[Payload], Awaitable[object]]
SyncHandler = Callable[[Payload], object]
AnyHandler = TypeVar("AnyHandler")
_NOT_A_COROUTINE = "must be a coroutine function (async def); SyncRecordingProducer takes plain ones"
_NOT_PLAIN = "must be a plain function; RecordingProducer takes coroutine functions"


class _RecordingBase(Recorder, Generic[AnyHandler]):
    """Base class of both recording producers."""

    _composer: Composer
    _queue: Any

    def __init__(
        self,
        *,
        handlers: Mapping[str, AnyHandler] | None = None,
        reports: Mapping[str, timedelta] | None = None,
        tenant: str = "default",
        now: datetime | None = None,
    ) -> None:
        # Not super().__init__: it would make a queue in Redis.
        self._handlers = dict(handlers or {})
        self._memory = MemoryQueue(self._handlers, reports, now or utc_now(), tenant)
        self._composer = self._memory.composer
        self._queue = self._new_queue()
        self._levels = self._new_levels()

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
        """Return a recording producer without handlers. Only ``tenant`` is used; the address is checked."""
        del budget, confirm_replicas, seal
        _check_address(url)
        return cls(tenant=tenant)

    def _new_queue(self) -> Any:  # noqa: ANN401  either class's own
        raise NotImplementedError

    def _new_levels(self) -> Any:  # noqa: ANN401  as above
        raise NotImplementedError


class RecordingProducer(_RecordingBase[Handler], Producer):
    """:class:`Producer` for tests that records jobs instead of sending them to Redis.

    Args:
        handlers: for each kind, the coroutine function that gets the payload when the job is due: at once, or in
            :meth:`travel`. Kinds without a handler are only recorded.
        reports: the declared reports with their debounce; by default every report's name is accepted.
        tenant: tenant of the reports.
        now: start of the clock; aware.

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

    async def travel(self, duration: timedelta) -> None:
        """Advance the clock and run the jobs that become due, in order, each at its own time.

        Raises:
            ValueError: the duration is below zero.
            Exception: an error of a handler; the clock then shows that job's time.
        """
        until = _arrival(self._memory, duration)
        while (due := self._memory.next_due()) is not None and due <= until:
            self._memory.now = max(self._memory.now, due)
            await self._work()
        self._memory.now = until

    def _new_queue(self) -> "_RecordingQueue":
        return _RecordingQueue(self._memory, self._work)

    def _new_levels(self) -> LevelSender:
        return _RecordingSender(self._memory, self._queue)

    async def _work(self) -> None:
        while job := self._memory.take_due_job():
            value = None
            try:
                begun = self._handlers[job.kind](dict(job.payload))
                if not inspect.isawaitable(begun):
                    raise TypeError(f"handlers[{job.kind!r}]: {_NOT_A_COROUTINE}")
                value = await begun
            finally:
                self._memory.mark_done(job, value)


class SyncRecordingProducer(_RecordingBase[SyncHandler], SyncProducer):
    """:class:`RecordingProducer` without ``await``, with plain functions as handlers; a :class:`SyncProducer`.

    Example:
        >>> from jobs import Mail
        >>> producer = SyncRecordingProducer()
        >>> receipt = producer.send(Mail(to="ana@example.com", subject="Hola", text="Ya"), key="hello")
        >>> producer.assert_sent(to="eva@example.com")
        Traceback (most recent call last):
        AssertionError: wanted: at least one job with to 'eva@example.com'; found: 0 of 1 sent
          mail.send in mail.normal, to 'ana@example.com', key 'hello'
    """

    def travel(self, duration: timedelta) -> None:
        """Advance the clock, as :meth:`RecordingProducer.travel` does."""
        until = _arrival(self._memory, duration)
        while (due := self._memory.next_due()) is not None and due <= until:
            self._memory.now = max(self._memory.now, due)
            self._work()
        self._memory.now = until

    def _new_queue(self) -> "_SyncRecordingQueue":
        return _SyncRecordingQueue(self._memory, self._work)

    def _new_levels(self) -> SyncLevelSender:
        return _SyncRecordingSender(self._memory, self._queue)

    def _work(self) -> None:
        while job := self._memory.take_due_job():
            value = None
            try:
                value = self._handlers[job.kind](dict(job.payload))
                if inspect.iscoroutine(value):
                    value.close()
                    raise TypeError(f"handlers[{job.kind!r}]: {_NOT_PLAIN}")
            finally:
                self._memory.mark_done(job, value)


class _MemoryLinks(Caller):
    """Links that call the memory queue instead of Redis."""

    def __init__(self, memory: MemoryQueue) -> None:
        self._memory = memory

    def of(self, tag: str) -> Self:
        """Return itself: it serves all keys."""
        del tag
        return self

    async def call(self, *command: Argument) -> Any:  # noqa: ANN401  a reply has any type
        """Return the memory queue's reply to a command."""
        return self._memory.call(*command)

    def within(self, seconds: float, tag: str, words: Words | None = None) -> TimeBudget:
        """Return a budget without a link, because memory replies at once."""
        del tag
        return TimeBudget(seconds, None, words)

    async def close(self) -> None:
        """Do nothing: there are no connections."""


class _RecordingQueue(Queue):
    """Queue in memory; it runs due jobs after each call."""

    def __init__(self, memory: MemoryQueue, work: Callable[[], Awaitable[None]]) -> None:
        super().__init__(_MemoryLinks(memory), budget=BUDGET)
        self._work = work

    def within_budget(self, tag: str) -> AbstractAsyncContextManager[None]:
        """Return a context without a deadline, because a handler may take longer than a budget."""
        del tag
        return nullcontext()

    async def run(self, operation: Operation[Result]) -> Result:
        result = await super().run(operation)
        await self._work()
        return result

    async def run_all(self, operations: Sequence[Operation[Result]]) -> list[Result | Exception]:
        results = await asyncio.gather(*map(super().run, operations), return_exceptions=True)
        await self._work()
        return cast("list[Result | Exception]", results)

    async def add_item(self, gathering: DigestItem) -> Receipt:
        receipt = await super().add_item(gathering)
        await self._work()
        return receipt


class _RecordingSender(LevelSender):
    """Levels in memory: a row is recorded at once, whatever its connection and even if it never commits."""

    def __init__(self, memory: MemoryQueue, queue: Queue) -> None:
        super().__init__(queue, budget=BUDGET)
        self._memory = memory

    def _writer(self, connection: object) -> Any:  # noqa: ANN401  none is used
        return connection

    async def _insert(self, writer: object, entries: Sequence[JobEntry], *, alone: bool) -> None:
        del writer, alone
        for lane, together in _by_lane(entries).items():
            with self._memory.naming_key(together):
                await self._redis.run(enqueue(lane, together))


class _SyncMemoryLinks(SyncLinks, Calls):
    """Links for threads that call the memory queue instead of Redis."""

    def __init__(self, memory: MemoryQueue) -> None:
        self._memory = memory

    def of(self, tag: str) -> Calls:
        """Return itself: it serves all keys."""
        del tag
        return self

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Return the memory queue's replies to commands."""
        return [self._memory.call(*command) for command in commands]

    def close(self) -> None:
        """Do nothing: there are no connections."""


class _SyncRecordingQueue(SyncQueue):
    """Queue in memory without asyncio; it runs due jobs after each call."""

    def __init__(self, memory: MemoryQueue, work: Callable[[], None]) -> None:
        super().__init__(_SyncMemoryLinks(memory), budget=BUDGET)
        self._work = work

    @contextmanager
    def within_budget(self, tag: str) -> Iterator[None]:
        """Return a context without a deadline, because a handler may take longer than a budget."""
        del tag
        yield

    def run(self, operation: Operation[Result]) -> Result:
        result = super().run(operation)
        self._work()
        return result

    def run_all(self, operations: Sequence[Operation[Result]]) -> list[Result | Exception]:
        results = super().run_all(operations)
        self._work()
        return results


class _SyncRecordingSender(SyncLevelSender):
    """Levels in memory without asyncio, as :class:`_RecordingSender`."""

    def __init__(self, memory: MemoryQueue, queue: SyncQueue) -> None:
        super().__init__(queue)
        self._memory = memory

    def _writer(self, connection: object) -> Any:  # noqa: ANN401  none is used
        return connection

    def _insert(self, writer: object, entries: Sequence[JobEntry], *, alone: bool) -> None:
        del writer, alone
        for lane, together in _by_lane(entries).items():
            with self._memory.naming_key(together):
                self._redis.run(enqueue(lane, together))


def _by_lane(entries: Sequence[JobEntry]) -> dict[str, list[JobEntry]]:
    """Return entries of messages by their lane."""
    lanes: dict[str, list[JobEntry]] = {}
    for one in entries:
        if one.origin is not None:
            lanes.setdefault(one.origin[0].lane, []).append(one)
    return lanes


def _check_address(url: str) -> None:
    try:
        read_address(url)
    except ValueError as error:
        raise unusable_address(error) from None


def _arrival(memory: MemoryQueue, duration: timedelta) -> datetime:
    if not isinstance(duration, timedelta) or duration < timedelta(0):
        raise ValueError(f"duration: must be a timedelta of at least 0, not {duration!r}")
    return memory.now + duration
