"""The producer: what a backend holds. It owns no queue of its own; a job is in Redis or the call raised."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Literal, Self

from redis.asyncio import Redis

from .compose import (
    BUDGET,
    REPORTS,
    Composer,
    board_of,
    check_id,
    check_refresh,
    debounce,
    naming,
    receipt,
    refresh_receipt,
    unusable_address,
)
from .digest import Collapsible, DigestItem
from .entry import cancel, enqueue, enqueue_latest
from .keys import catalogue, tag_of
from .link.links import Links
from .message import Message, Seal
from .queue import Queue
from .receipt import Cancelled, Receipt
from .send_options import NO_DELAY, SendOptions
from .suppression import EVERYTHING, Reason, Refusal, Weighed, addition, refusal, removal


class Producer:
    """Hands work over to the workers, one round trip a call.

    Any number of tasks of one event loop may share it. It never buffers: when a call returns, Redis has
    the job; when it raises :class:`NotEnqueued`, sending it again with the same key cannot double it.

    Args:
        client: links, or a redis-py client with ``decode_responses=False``; see :meth:`connect`.
        tenant: whose reports :meth:`refresh` means.
        budget: seconds within which Redis answers or the call raises; ``send_many`` has it for every thousand.
        confirm_replicas: how many replicas must have a job before a call returns; half of the budget is for
            their answer. Needs links.
        seal: hides mails from whoever can read Redis: a ``jobs.mail.seal.KeyRing`` that the workers have too.
    """

    def __init__(
        self,
        client: Links | Redis,
        *,
        tenant: str = "default",
        budget: float = BUDGET,
        confirm_replicas: int = 0,
        seal: Seal | None = None,
    ) -> None:
        self._composer = Composer(tenant, seal=seal)
        self._queue = Queue(client, budget=budget, confirm_replicas=confirm_replicas)

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
        """A producer with a connection of its own; made at the first call, not here.

        Args:
            url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with the password in it if there is one;
                ``sentinel://host:port,host:port/service/0`` for the primary that these sentinels name;
                ``cluster://host:port,host:port`` for a cluster to which these nodes belong.
            confirm_replicas: with 1, what a call has returned survives the loss of the primary; without a
                replica in step every call raises :class:`NotConfirmed`.

        Raises:
            InvalidRequest: an address of another form.
        """
        try:
            links = Links(url)
        except ValueError as error:
            raise unusable_address(error) from None
        return cls(links, tenant=tenant, budget=budget, confirm_replicas=confirm_replicas, seal=seal)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._queue.close()

    # Every call below stands in `producers/sync.py` too, without asyncio: `python -m tests.twins` writes it there.

    async def send(
        self,
        message: Message,
        *,
        key: str | None = None,
        delay: timedelta = NO_DELAY,
        at: datetime | None = None,
        expires: datetime | timedelta | None = None,
        limit: str | None = None,
    ) -> Receipt:
        """Queue one message.

        Args:
            key: names this piece of work for seven days, and as long as its job is not over. The same key with
                the same content gives the first receipt's id and queues nothing.
            delay: how long to wait before it may run, by Redis's clock.
            at: the instant from which it may run, instead of a delay; aware, at most 366 days away. One that
                has passed means now.
            expires: until when it is worth running: an aware instant, or how long from when Redis takes it, by
                Redis's clock. A job that has not begun an attempt by then ends as ``expired``.
            limit: the key of a limit that it counts against, like ``customer:42``.

        Raises:
            ValueError: the message's own refusal (for a mail: :class:`jobs.MailError`), or
                :class:`InvalidRequest` for the key or the terms.
            KeyConflict: the key stands for other content.
            PayloadTooLarge: over 256 KiB.
            NotEnqueued: Redis did not take it within the budget.
        """
        entry = self._composer.entry(message, key, SendOptions(delay, at, expires, limit))
        with naming([key]):
            (taken,) = await self._queue.carry(enqueue(message.lane, [entry]))
        return receipt(message, taken)

    async def send_many(
        self,
        messages: Sequence[Message],
        *,
        keys: Sequence[str] | None = None,
        at: datetime | None = None,
        expires: datetime | timedelta | None = None,
        limit: str | None = None,
    ) -> list[Receipt]:
        """Queue many messages, a thousand in one round trip; of a thousand those of one lane all or none.

        Every message is composed before the first is queued, so a refusal queues none.

        Args:
            keys: one per message, in the same order.
            at, expires, limit: as :meth:`send`, for all of them.

        Raises:
            ValueError, PayloadTooLarge: as :meth:`send`, with the message's place in ``index``.
            KeyConflict: as :meth:`send`, with ``index``; those of its thousand and lane were not queued, and
                ``receipts`` holds what was.
            NotEnqueued: as :meth:`send`; ``receipts`` holds what was queued for certain.
        """
        batch = self._composer.batch(messages, keys, SendOptions(at=at, expires=expires, limit=limit))
        for together in batch.rounds():
            chunks = [enqueue(lane, batch.entries(places)) for lane, places in together]
            answers = await self._queue.carry_all(chunks)
            batch.took(together, answers)
        return batch.receipts()

    async def send_digest(self, digest: Collapsible, *, key: str | None = None) -> Receipt:
        """Put one item into a digest: what is sent under its collapse key within its window goes out as one job.

        The first item opens the digest, which goes out when the window ends; the items after it join. A hundred
        items, or 64 KiB of values, are the most for one; the next item opens another.

        Args:
            key: names this item for seven days, as of :meth:`send`.

        Returns:
            The digest's receipt: ``queued`` for the first item, ``gathered`` for one that joined, ``duplicate``
            for one that is in already by its key.

        Raises:
            ValueError: the item's own refusal, or :class:`InvalidRequest` for the key.
            KeyConflict: the key stands for other content.
            PayloadTooLarge: over 256 KiB.
            NotEnqueued: Redis did not take it within the budget.
        """
        gathering = DigestItem(self._composer, digest, key)
        with naming([key]):
            return await self._queue.gather(gathering)

    async def cancel(self, job_id: str) -> Cancelled:
        """Take back what was sent: a waiting job is taken out for good, a running one is told to stop.

        Its key stays taken: sending again under the same key queues nothing.

        Args:
            job_id: of the receipt.

        Returns:
            ``cancelled``: it will not run. ``stopping``: it runs; its worker stops it within a few seconds, and
            what it has done until then is done. ``unknown``: nothing to take back; it has ended, or never was.

        Raises:
            InvalidRequest: no id of a job that a producer sent.
            NotEnqueued: Redis did not answer within the budget; ask again, it is done at most once.
        """
        return await self._queue.carry(cancel(check_id(job_id)))

    async def suppress(
        self,
        address: str,
        reason: Reason,
        *,
        by: str,
        scope: str = EVERYTHING,
        lasting: timedelta | Literal["usual"] | None = "usual",
        evidence: str = "",
    ) -> bool:
        """Do not write to this address any more; False when that stood already.

        Arguments are those of :func:`producers.suppression.suppress`.

        Raises:
            InvalidRequest: no such reason, or a scope of another form.
            NotEnqueued: Redis did not answer within the budget; asking again does no harm.

        Example:
            await producer.suppress("ana@example.com", "unsubscribed", scope="stream:bulk", by="web")
        """
        adding = addition(address, reason, by=by, scope=scope, lasting=lasting, evidence=evidence)
        return await self._queue.carry(adding)

    async def weigh_refusal(
        self,
        address: str,
        weight: Refusal = "hard",
        *,
        by: str,
        account: str = "",
        handed_over_ms: int | None = None,
        evidence: str = "",
    ) -> Weighed:
        """Let a server's refusal of an address count, unless it is one of many.

        Arguments and results are those of :func:`producers.suppression.weigh_refusal`.

        Raises:
            InvalidRequest: no such weight.
            NotEnqueued: Redis did not answer within the budget; asking again does no harm.

        Example:
            await producer.weigh_refusal("ana@example.com", by="webhook", evidence="event-17")
        """
        weighing = refusal(
            address, weight, by=by, account=account, handed_over_ms=handed_over_ms, evidence=evidence
        )
        return await self._queue.carry(weighing)

    async def unsuppress(self, digest: str, *, by: str, reason: str = "", scope: str = "") -> int:
        """Take reasons off the list; how many there were.

        Arguments are those of :func:`producers.suppression.unsuppress`.

        Raises:
            NotEnqueued: Redis did not answer within the budget; asking again does no harm.
        """
        return await self._queue.carry(removal(digest, by=by, reason=reason, scope=scope))

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
        key = catalogue(self._composer.tenant)
        async with self._queue.within_budget(tag_of(key)):
            declared, entry = await self._queue.field(key, report)
            delay = debounce(report, declared=declared, entry=entry)
            return await self.request_refresh(report, scope=scope, delay=delay, board=board_of(entry))

    async def request_refresh(
        self, report: str, *, scope: int | None, delay: timedelta, board: str | None = None
    ) -> Receipt:
        """Queue the recompute of a report known to be declared; :meth:`refresh` is the call for backends.

        Args:
            board: the reports that are recomputed together with it; left out, it is alone on its board.
        """
        entry = self._composer.refresh(report, scope=scope, delay=delay, board=board)
        return refresh_receipt(entry, new=await self._queue.carry(enqueue_latest(REPORTS, entry)))
