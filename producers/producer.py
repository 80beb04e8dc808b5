"""Producer for asyncio."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self
from uuid import UUID

from .compose import (
    BUDGET,
    REPORTS,
    Composer,
    board_of,
    check_id,
    check_refresh,
    debounce_of,
    naming_conflict,
    receipt_of,
    refresh_receipt,
    unusable_address,
)
from .description import JobDescription, describe
from .digest import Collapsible, DigestItem
from .entry import cancel, enqueue, enqueue_latest, result
from .keys import catalogue, tag_of
from .message import Message, Seal
from .receipt import Cancelled, JobResult, Receipt
from .send_options import NO_DELAY, SendOptions
from .staging.level import Level
from .suppression import EVERYTHING, Reason, Refusal, Weighed, addition, refusal, removal
from .tracing import send_span

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from .link.links import Links


class Producer:
    """Client that queues jobs in Redis for the workers, one round trip per call.

    Any number of tasks of one event loop may share it. It never buffers: when a call returns, Redis has
    the job. After :class:`NotEnqueued`, send again with the same key: this cannot queue a second job.

    Args:
        client: links, or a redis-py client with ``decode_responses=False``; see :meth:`connect`.
        tenant: tenant of the reports that :meth:`refresh` names.
        budget: seconds after which a call without a reply raises; ``send_many`` has it for each thousand messages.
        confirm_replicas: number of replicas that must have a job before a call returns; half of the budget is
            for their confirmation. Needs links, as :meth:`connect` makes them.
        seal: encrypts mails, so that users of Redis cannot read them: a ``jobs.mail.seal.KeyRing`` that the
            workers have too.
    """

    def __init__(
        self,
        client: "Links | Redis",
        *,
        tenant: str = "default",
        budget: float = BUDGET,
        confirm_replicas: int = 0,
        seal: Seal | None = None,
    ) -> None:
        from .levels import LevelSender  # noqa: PLC0415  as below
        from .queue import Queue  # noqa: PLC0415  loads redis-py, which is most of an import

        self._composer = Composer(tenant, seal=seal)
        self._queue = Queue(client, budget=budget, confirm_replicas=confirm_replicas)
        self._levels = LevelSender(self._queue, budget=budget)

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
        """Return a producer with its own connections, which open at the first call.

        Args:
            url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with the password if there is one;
                ``sentinel://host:port,host:port/service/0`` for the primary that these sentinels name;
                ``cluster://host:port,host:port`` for a cluster to which these nodes belong.
            confirm_replicas: with 1, a job that a call has queued survives the loss of the primary; without a
                replica in sync every call raises :class:`NotConfirmed`.

        Raises:
            InvalidRequest: the address is malformed.
        """
        from .link.links import Links  # noqa: PLC0415  as above

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
        await self._levels.close()
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
        level: Level = "redis",
        connection: object = None,
    ) -> Receipt:
        """Queue one message.

        Args:
            key: identifies this piece of work for seven days, and as long as its job is unfinished. Sending the
                same content with the same key again returns the first receipt's id and queues nothing.
            delay: time before the job may run, by Redis's clock.
            at: instant from which the job may run, instead of a delay; aware, at most 366 days away. A past
                instant means now.
            expires: end of the time in which the job is worth running: an aware datetime, or a timedelta from when
                Redis takes the job, by Redis's clock. A job without an attempt by then ends as ``expired``.
            limit: key of a limit that the job counts against, like ``customer:42``.
            level: ``redis``: Redis has the job. ``ledger``: a row in the transaction of ``connection``, from which
                a worker has Redis take the job after the commit; its times count by this machine's clock.
                ``fallback``: Redis has it, or a row if Redis does not take it within half of the budget.
            connection: at the levels ``ledger`` and ``fallback``, the caller's own connection to Postgres: of
                asyncpg, psycopg 3 or SQLAlchemy, or the alias of a database of Django (``SyncProducer``).

        Returns:
            A receipt: ``queued``, ``duplicate`` of an earlier message with this key, or ``staged`` as a row. The
            key of a row is looked up when Redis takes the job.

        Raises:
            ValueError: the message cannot be composed (a mail raises :class:`jobs.MailError`), or
                :class:`InvalidRequest`: the key, an option or the connection is invalid.
            KeyConflict: the key is in use for other content.
            PayloadTooLarge: the payload is over 256 KiB.
            NotEnqueued: Redis did not take the job within the budget, nor, at level ``fallback``, Postgres.
            LedgerUnavailable: the database has no ledger, or the connection may not write to it.
            Exception: at level ``ledger``, other errors of Postgres as the connection's library raises them.

        Example:
            async with connection.transaction():
                await connection.execute("UPDATE tasks SET assignee = $1 WHERE id = $2", assignee, task)
                await producer.send(mail, level="ledger", connection=connection)
        """
        with send_span(message) as note:
            entry = self._composer.entry(message, key, SendOptions(delay, at, expires, limit))
            if level != "redis" or connection is not None:
                return note(await self._levels.send(message, key, entry, level, connection))
            with naming_conflict([key]):
                (taken,) = await self._queue.run(enqueue(message.lane, [entry]))
            return note(receipt_of(message, taken))

    async def send_many(
        self,
        messages: Sequence[Message],
        *,
        keys: Sequence[str] | None = None,
        at: datetime | None = None,
        expires: datetime | timedelta | None = None,
        limit: str | None = None,
        level: Level = "redis",
        connection: object = None,
    ) -> list[Receipt]:
        """Queue many messages, a thousand per round trip.

        All messages are composed before the first is queued, so an invalid message queues none. Messages of one
        lane in the same thousand are queued all together or not at all.

        Args:
            keys: one per message, in the same order.
            at, expires, limit: as in :meth:`send`, for all messages.
            level, connection: as in :meth:`send`; a thousand rows are one statement.

        Raises:
            ValueError, PayloadTooLarge: as in :meth:`send`; ``index`` is the message's position.
            KeyConflict: as in :meth:`send`, with ``index``; no message of its lane and thousand was queued, and
                ``receipts`` holds the messages that were.
            NotEnqueued: as in :meth:`send`; ``receipts`` holds the messages known to be queued.
        """
        with send_span(messages):
            batch = self._composer.batch(messages, keys, SendOptions(at=at, expires=expires, limit=limit))
            if level != "redis" or connection is not None:
                await self._levels.send_batch(batch, level, connection)
                return batch.receipts()
            for together in batch.rounds():
                chunks = [enqueue(lane, batch.entries(places)) for lane, places in together]
                answers = await self._queue.run_all(chunks)
                batch.record_replies(together, answers)
            return batch.receipts()

    async def send_digest(self, digest: Collapsible, *, key: str | None = None) -> Receipt:
        """Add one item to a digest: all items with one collapse key within one window become one job.

        The first item opens the digest, whose job runs when the window ends; later items join it. A digest holds
        at most 100 items and 64 KiB of values; the next item opens another digest.

        Args:
            key: identifies this item for seven days, as in :meth:`send`.

        Returns:
            The digest's receipt: ``queued`` for the first item, ``gathered`` for an item that joined,
            ``duplicate`` for an item whose key was used before.

        Raises:
            ValueError: the item cannot be composed, or :class:`InvalidRequest`: the key is invalid.
            KeyConflict: the key is in use for other content.
            PayloadTooLarge: the payload is over 256 KiB.
            NotEnqueued: Redis did not take the item within the budget.
        """
        with send_span(digest) as note, naming_conflict([key]):
            return note(await self._queue.add_item(DigestItem(self._composer, digest, key)))

    async def cancel(self, job_id: str) -> Cancelled:
        """Cancel a job: remove it from the queue if it waits, stop it if it runs.

        Its key stays in use: sending again with the same key queues nothing.

        Args:
            job_id: the receipt's id.

        Returns:
            ``cancelled``: the job will not run. ``stopping``: it is running; its worker stops it within a few
            seconds, and its effects until then remain. ``unknown``: the job has ended or never existed.

        Raises:
            InvalidRequest: not the id of a job that a producer sent.
            NotEnqueued: Redis did not reply within the budget; repeat the call, it takes effect at most once.
        """
        return await self._queue.run(cancel(check_id(job_id)))

    async def result(self, job_id: str) -> JobResult:
        """Return how a job ended, while workers keep its result (by default for an hour).

        Args:
            job_id: the receipt's id.

        Raises:
            InvalidRequest: not the id of a job that a producer sent.
            NotEnqueued: Redis did not reply within the budget; the call may be repeated.

        Example:
            result = await producer.result(receipt.id)
            if result.state == "done": print(result.value)
        """
        return await self._queue.run(result(check_id(job_id)))

    async def describe(self, job_id: str) -> JobDescription:
        """Return what is known about a job of your own kind: its state, attempts, payload and end.

        Args:
            job_id: the receipt's id.

        Raises:
            InvalidRequest: not the id of such a job.
            NotEnqueued: Redis did not reply within the budget; the call may be repeated.

        Example:
            job = await producer.describe(receipt.id)
            print(job.state, job.attempt, [event.reason for event in job.events])
        """
        return await self._queue.run(describe(check_id(job_id)))

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
        """Stop mail to an address. Returns False if the suppression list already held this reason.

        Arguments are those of :func:`producers.suppression.suppress`.

        Raises:
            InvalidRequest: the reason is unknown, or the scope malformed.
            NotEnqueued: Redis did not reply within the budget; the call may be repeated.

        Example:
            await producer.suppress("ana@example.com", "unsubscribed", scope="stream:bulk", by="web")
        """
        adding = addition(address, reason, by=by, scope=scope, lasting=lasting, evidence=evidence)
        return await self._queue.run(adding)

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
        """Count a server's refusal against an address, unless the server refuses many at once.

        Arguments and results are those of :func:`producers.suppression.weigh_refusal`.

        Raises:
            InvalidRequest: an unknown weight.
            NotEnqueued: Redis did not reply within the budget; the call may be repeated.
        """
        weighing = refusal(
            address, weight, by=by, account=account, handed_over_ms=handed_over_ms, evidence=evidence
        )
        return await self._queue.run(weighing)

    async def unsuppress(self, digest: str, *, by: str, reason: str = "", scope: str = "") -> int:
        """Remove reasons from the suppression list and return their number.

        Arguments are those of :func:`producers.suppression.unsuppress`.

        Raises:
            NotEnqueued: Redis did not reply within the budget; the call may be repeated.
        """
        return await self._queue.run(removal(digest, by=by, reason=reason, scope=scope))

    async def refresh(self, report: str, *, scope: int | str | UUID | None = None) -> Receipt:
        """Request the recompute of a report whose data changed. Debounced: many calls lead to one recompute.

        The recompute starts after the report's declared debounce and sees every write that was committed
        before this call. Calls made while it runs lead to one more recompute.

        Args:
            report: name of a declared report.
            scope: id of the node whose rows changed, if known; shown to operators, not needed by the recompute.

        Raises:
            InvalidRequest: the scope is not a node id.
            UnknownReport: the workers have declared their reports, and this one is not among them.
            NotEnqueued: Redis did not take the request within the budget.
        """
        check_refresh(report, scope)
        key = catalogue(self._composer.tenant)
        async with self._queue.within_budget(tag_of(key)):
            declared, entry = await self._queue.read_field(key, report)
            delay = debounce_of(report, declared=declared, entry=entry)
            return await self.request_refresh(report, scope=scope, delay=delay, board=board_of(entry))

    async def request_refresh(
        self, report: str, *, scope: int | str | UUID | None, delay: timedelta, board: str | None = None
    ) -> Receipt:
        """Queue the recompute of a report known to be declared; backends call :meth:`refresh` instead.

        Args:
            board: board of reports that are recomputed together; by default the report is alone on its board.
        """
        with send_span(report, REPORTS) as note:
            entry = self._composer.refresh(report, scope=scope, delay=delay, board=board)
            new = await self._queue.run(enqueue_latest(REPORTS, entry))
            return note(refresh_receipt(entry, new=new))
