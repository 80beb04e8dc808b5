"""The producer: what a backend holds. It owns no queue of its own; a job is in Redis or the call raised."""

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from redis.asyncio import Redis

from .compose import (
    BUDGET,
    NO_DELAY,
    REPORTS,
    Composer,
    check_refresh,
    debounce,
    naming,
    receipt,
    refresh_receipt,
    unusable_address,
)
from .keys import catalogue
from .link import Link
from .message import Message
from .queue import Queue
from .receipt import Receipt
from .takes import Takes


class Producer:
    """Hands work over to the workers, one round trip a call.

    Any number of tasks of one event loop may share it. It never buffers: when a call returns, Redis has
    the job; when it raises :class:`NotEnqueued`, sending it again with the same key cannot double it.

    Args:
        client: a link, or a redis-py asyncio client with ``decode_responses=False``; see :meth:`connect`.
        tenant: whose reports :meth:`refresh` means.
        budget: seconds within which Redis answers or the call raises; ``send_many`` has it for every thousand.
        confirm_replicas: how many replicas must have a job before a call returns; half of the budget is for
            their answer. Needs a link.
    """

    def __init__(
        self,
        client: Link | Redis,
        *,
        tenant: str = "default",
        budget: float = BUDGET,
        confirm_replicas: int = 0,
    ) -> None:
        self._composer = Composer(tenant)
        self._queue: Takes = Queue(client, budget=budget, confirm_replicas=confirm_replicas)

    @classmethod
    def connect(
        cls, url: str, *, tenant: str = "default", budget: float = BUDGET, confirm_replicas: int = 0
    ) -> Self:
        """A producer with a connection of its own; made at the first call, not here.

        Args:
            url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with the password in it if there is one;
                or ``sentinel://host:port,host:port/service/0`` for the primary that these sentinels name.
            confirm_replicas: with 1, what a call has returned survives the loss of the primary; without a
                replica in step every call raises :class:`NotConfirmed`.

        Raises:
            InvalidRequest: an address of another form.
        """
        try:
            link = Link(url)
        except ValueError:
            raise unusable_address() from None
        return cls(link, tenant=tenant, budget=budget, confirm_replicas=confirm_replicas)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._queue.close()

    async def send(self, message: Message, *, key: str | None = None, delay: timedelta = NO_DELAY) -> Receipt:
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
        entry = self._composer.entry(message, key, delay)
        with naming([key]):
            (taken,) = await self._queue.put(message.lane, [entry])
        return receipt(message, taken)

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
        batch = self._composer.batch(messages, keys)
        for lane, places in batch.chunks():
            with batch.telling(places):
                batch.took(places, await self._queue.put(lane, batch.entries(places)))
        return batch.receipts()

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
        check_refresh(report, scope)
        async with self._queue.within_budget():
            declared, entry = await self._queue.field(catalogue(self._composer.tenant), report)
            delay = debounce(report, declared=declared, entry=entry)
            return await self.request_refresh(report, scope=scope, delay=delay)

    async def request_refresh(self, report: str, *, scope: int | None, delay: timedelta) -> Receipt:
        """Queue the recompute of a report known to be declared; :meth:`refresh` is the call for backends."""
        entry = self._composer.refresh(report, scope=scope, delay=delay)
        return refresh_receipt(entry, new=await self._queue.put_latest(REPORTS, entry))
