"""The producer for code without asyncio: Flask, Django, scripts. What it writes is what :class:`Producer` writes.

It shares the composing, the scripts, the keys and the errors; only the waiting is its own. Threads may share
one, and so may the children of a fork (gunicorn's ``--preload``): each gets connections of its own.
"""

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from redis import Redis

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
from .deadline import open_pool
from .keys import catalogue
from .message import Message
from .receipt import Receipt
from .sync_queue import SyncQueue
from .takes import SyncTakes


class SyncProducer:
    """Hands work over to the workers, one round trip a call. Thread-safe and fork-safe.

    Args:
        client: a redis-py client with ``decode_responses=False``. One that :meth:`connect` did not make keeps
            its own timeouts, so give it some: ``socket_timeout`` and ``socket_connect_timeout``.
        tenant: whose reports :meth:`refresh` means.
        budget: seconds within which Redis answers or the call raises; ``send_many`` has it for every thousand.

    Example:
        with SyncProducer.connect("redis://127.0.0.1:6379/0") as producer:
            producer.send(Mail(to="ana@example.com", subject="Hola", text="Buenos días"), key="hello:ana")
    """

    def __init__(self, client: Redis, *, tenant: str = "default", budget: float = BUDGET) -> None:
        self._composer = Composer(tenant)
        self._queue: SyncTakes = SyncQueue(client, budget=budget)

    @classmethod
    def connect(cls, url: str, *, tenant: str = "default", budget: float = BUDGET) -> Self:
        """A producer with a pool of its own; a thread connects at its first call, not here.

        Args:
            url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with the password in it if there is one.

        Raises:
            InvalidRequest: an address of another form.
        """
        try:
            pool = open_pool(url)
        except ValueError:
            raise unusable_address() from None
        return cls(Redis.from_pool(pool), tenant=tenant, budget=budget)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._queue.close()

    def send(self, message: Message, *, key: str | None = None, delay: timedelta = NO_DELAY) -> Receipt:
        """Queue one message; arguments and errors are those of :meth:`Producer.send`."""
        entry = self._composer.entry(message, key, delay)
        with naming([key]):
            (taken,) = self._queue.put(message.lane, [entry])
        return receipt(message, taken)

    def send_many(self, messages: Sequence[Message], *, keys: Sequence[str] | None = None) -> list[Receipt]:
        """Queue many messages; arguments and errors are those of :meth:`Producer.send_many`."""
        batch = self._composer.batch(messages, keys)
        for lane, places in batch.chunks():
            with batch.telling(places):
                batch.took(places, self._queue.put(lane, batch.entries(places)))
        return batch.receipts()

    def refresh(self, report: str, *, scope: int | None = None) -> Receipt:
        """Say that a report's data changed; arguments and errors are those of :meth:`Producer.refresh`."""
        check_refresh(report, scope)
        with self._queue.within_budget():
            declared, entry = self._queue.field(catalogue(self._composer.tenant), report)
            delay = debounce(report, declared=declared, entry=entry)
            return self.request_refresh(report, scope=scope, delay=delay)

    def request_refresh(self, report: str, *, scope: int | None, delay: timedelta) -> Receipt:
        """Queue the recompute of a report known to be declared; :meth:`refresh` is the call for backends."""
        entry = self._composer.refresh(report, scope=scope, delay=delay)
        return refresh_receipt(entry, new=self._queue.put_latest(REPORTS, entry))
