"""Producers for the tests of a backend: in memory, without Redis, with every refusal of the real ones.

They compose, check and answer by the same code as :class:`Producer` and :class:`SyncProducer`, and are of their
types; only what replies is another. What they refuse to be: a worker. A handler runs once, at once, in the test's
own task or thread; what it raises reaches the test, and nothing is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any, Self, cast

from ..compose import BUDGET, unusable_address, utc_now
from ..digest import DigestItem
from ..link import Argument
from ..link.address import read_address
from ..link.budget import Budget, Words
from ..link.links import Caller
from ..link.sync import Calls, SyncLinks
from ..message import Seal
from ..operation import Operation, Result
from ..producer import Producer
from ..queue import Queue
from ..receipt import Receipt
from ..sync import SyncProducer
from ..sync_queue import SyncQueue
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


class _Memory(Caller):
    """A way to the memory instead of one to Redis."""

    def __init__(self, memory: MemoryQueue) -> None:
        self._memory = memory

    def of(self, tag: str) -> Self:
        """Itself: it has one way for all keys."""
        del tag
        return self

    async def call(self, *command: Argument) -> Any:  # noqa: ANN401  a reply is whatever Redis says
        """The memory's reply to a command."""
        return self._memory.call(*command)

    def within(self, seconds: float, tag: str, words: Words | None = None) -> Budget:
        """Nothing takes long."""
        del tag
        return Budget(seconds, None, words)

    async def close(self) -> None:
        """Nothing is open."""


class _Recording(Queue):
    """The queue over a memory; after each call the jobs that are due run."""

    def __init__(self, memory: MemoryQueue, work: Callable[[], Awaitable[None]]) -> None:
        super().__init__(_Memory(memory), budget=BUDGET)
        self._work = work

    def within_budget(self, tag: str) -> AbstractAsyncContextManager[None]:
        """Nothing takes long, and a handler may."""
        del tag
        return nullcontext()

    async def carry(self, operation: Operation[Result]) -> Result:
        result = await super().carry(operation)
        await self._work()
        return result

    async def carry_all(self, operations: Sequence[Operation[Result]]) -> list[Result | Exception]:
        results = await asyncio.gather(*map(super().carry, operations), return_exceptions=True)
        await self._work()
        return cast("list[Result | Exception]", results)

    async def gather(self, gathering: DigestItem) -> Receipt:
        receipt = await super().gather(gathering)
        await self._work()
        return receipt


class _SyncMemory(SyncLinks, Calls):
    """The same without asyncio."""

    def __init__(self, memory: MemoryQueue) -> None:
        self._memory = memory

    def of(self, tag: str) -> Calls:
        """Itself."""
        del tag
        return self

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The memory's replies to commands."""
        return [self._memory.call(*command) for command in commands]

    def close(self) -> None:
        """Nothing is open."""


class _SyncRecording(SyncQueue):
    """The same without asyncio."""

    def __init__(self, memory: MemoryQueue, work: Callable[[], None]) -> None:
        super().__init__(_SyncMemory(memory), budget=BUDGET)
        self._work = work

    @contextmanager
    def within_budget(self, tag: str) -> Iterator[None]:
        """Nothing takes long, and a handler may."""
        del tag
        yield

    def carry(self, operation: Operation[Result]) -> Result:
        result = super().carry(operation)
        self._work()
        return result

    def carry_all(self, operations: Sequence[Operation[Result]]) -> list[Result | Exception]:
        results = super().carry_all(operations)
        self._work()
        return results


def _check_address(url: str) -> None:
    try:
        read_address(url)
    except ValueError as error:
        raise unusable_address(error) from None


def _arrival(memory: MemoryQueue, duration: timedelta) -> datetime:
    if duration < timedelta(0):
        raise ValueError(f"duration: time goes forward, so it cannot be {duration!r}")
    return memory.now + duration
