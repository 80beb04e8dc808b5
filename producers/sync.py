"""The producer for code without asyncio: Flask, Django, scripts. What it writes is what :class:`Producer` writes.

It shares the composing, the scripts, the keys and the errors; only the waiting is its own. Threads may share
one, and so may the children of a fork (gunicorn's ``--preload``): each gets connections of its own.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Literal, Self

from redis import Redis

from .collapse import Collapsible, Gathering
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
from .keys import catalogue
from .link.sync import SyncLinks
from .message import Message, Seal
from .receipt import Cancelled, Receipt
from .suppression import (
    EVERYTHING,
    Reason,
    Refusal,
    Weighed,
    refusal_answer,
    refusal_question,
    suppress_question,
    unsuppress_question,
)
from .sync_queue import SyncQueue
from .takes import SyncTakes
from .terms import NO_DELAY, Terms


class SyncProducer:
    """Hands work over to the workers, one round trip a call. Thread-safe and fork-safe.

    Args:
        client: links, or a redis-py client with ``decode_responses=False``; see :meth:`connect`. Such a client
            keeps its own timeouts, so give it some: ``socket_timeout`` and ``socket_connect_timeout``.
        tenant: whose reports :meth:`refresh` means.
        budget: seconds within which Redis answers or the call raises; ``send_many`` has it for every thousand.
        confirm_replicas, seal: as of :class:`Producer`.

    Example:
        with SyncProducer.connect("redis://127.0.0.1:6379/0") as producer:
            producer.send(Mail(to="ana@example.com", subject="Hola", text="Buenos días"), key="hello:ana")
    """

    def __init__(
        self,
        client: SyncLinks | Redis,
        *,
        tenant: str = "default",
        budget: float = BUDGET,
        confirm_replicas: int = 0,
        seal: Seal | None = None,
    ) -> None:
        self._composer = Composer(tenant, seal=seal)
        self._queue: SyncTakes = SyncQueue(client, budget=budget, confirm_replicas=confirm_replicas)

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
        """A producer with connections of its own; a thread connects at its first call, not here.

        Args:
            url, confirm_replicas: as of :meth:`Producer.connect`.

        Raises:
            InvalidRequest: an address of another form.
        """
        try:
            links = SyncLinks(url)
        except ValueError as error:
            raise unusable_address(error) from None
        return cls(links, tenant=tenant, budget=budget, confirm_replicas=confirm_replicas, seal=seal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._queue.close()

    def send(
        self,
        message: Message,
        *,
        key: str | None = None,
        delay: timedelta = NO_DELAY,
        at: datetime | None = None,
        expires: datetime | timedelta | None = None,
        limit: str | None = None,
    ) -> Receipt:
        """Queue one message; arguments and errors are those of :meth:`Producer.send`."""
        entry = self._composer.entry(message, key, Terms(delay, at, expires, limit))
        with naming([key]):
            (taken,) = self._queue.put(message.lane, [entry])
        return receipt(message, taken)

    def send_many(
        self,
        messages: Sequence[Message],
        *,
        keys: Sequence[str] | None = None,
        at: datetime | None = None,
        expires: datetime | timedelta | None = None,
        limit: str | None = None,
    ) -> list[Receipt]:
        """Queue many messages; arguments and errors are those of :meth:`Producer.send_many`."""
        batch = self._composer.batch(messages, keys, Terms(at=at, expires=expires, limit=limit))
        for together in batch.rounds():
            chunks = [(lane, batch.entries(places)) for lane, places in together]
            batch.took(together, self._queue.put_many(chunks))
        return batch.receipts()

    def send_digest(self, digest: Collapsible, *, key: str | None = None) -> Receipt:
        """Put one item into a digest; arguments and errors are those of :meth:`Producer.send_digest`."""
        gathering = Gathering(self._composer, digest, key)
        with naming([key]):
            return self._queue.gather(gathering)

    def cancel(self, job_id: str) -> Cancelled:
        """Take back what was sent; arguments and errors are those of :meth:`Producer.cancel`."""
        return self._queue.cancel(check_id(job_id))

    def suppress(
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
            producer.suppress("ana@example.com", "unsubscribed", scope="stream:bulk", by="web")
        """
        asked = suppress_question(address, reason, by=by, scope=scope, lasting=lasting, evidence=evidence)
        return bool(self._queue.suppression(asked))

    def weigh_refusal(
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

        Arguments and answers are those of :func:`producers.suppression.weigh_refusal`.

        Raises:
            InvalidRequest: no such weight.
            NotEnqueued: Redis did not answer within the budget; asking again does no harm.

        Example:
            producer.weigh_refusal("ana@example.com", by="webhook", evidence="event-17")
        """
        asked = refusal_question(
            address, weight, by=by, account=account, handed_over_ms=handed_over_ms, evidence=evidence
        )
        return refusal_answer(weight, self._queue.suppression(asked))

    def unsuppress(self, digest: str, *, by: str, reason: str = "", scope: str = "") -> int:
        """Take reasons off the list; how many there were.

        Arguments are those of :func:`producers.suppression.unsuppress`.

        Raises:
            NotEnqueued: Redis did not answer within the budget; asking again does no harm.
        """
        return self._queue.suppression(unsuppress_question(digest, by=by, reason=reason, scope=scope))

    def refresh(self, report: str, *, scope: int | None = None) -> Receipt:
        """Say that a report's data changed; arguments and errors are those of :meth:`Producer.refresh`."""
        check_refresh(report, scope)
        with self._queue.within_budget():
            declared, entry = self._queue.field(catalogue(self._composer.tenant), report)
            delay = debounce(report, declared=declared, entry=entry)
            return self.request_refresh(report, scope=scope, delay=delay, board=board_of(entry))

    def request_refresh(
        self, report: str, *, scope: int | None, delay: timedelta, board: str | None = None
    ) -> Receipt:
        """Queue the recompute of a report known to be declared; :meth:`refresh` is the call for backends."""
        entry = self._composer.refresh(report, scope=scope, delay=delay, board=board)
        return refresh_receipt(entry, new=self._queue.put_latest(REPORTS, entry))
