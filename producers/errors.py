"""Errors of producers. An invalid message (a bad address, a missing value) raises its own errors."""

from .receipt import Receipt


class ProducerError(Exception):
    """Base class of a producer's errors. The job was not queued, unless the error says otherwise.

    Attributes:
        index: position from 0 of the message in its batch; None for a single message.
        receipts: receipts of the messages that earlier round trips of the same batch queued (a thousand each).
    """

    index: int | None = None

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.receipts: list[Receipt] = []


class InvalidRequest(ProducerError, ValueError):
    """An invalid argument, such as a key, a delay or a report's name; the caller must change it."""


class KeyConflict(ProducerError):
    """The key is in use for other content; a key identifies one piece of work."""

    def __init__(self, key: str, known_id: str) -> None:
        super().__init__(
            f"key: {key!r} already identifies job {known_id} with other content; "
            "use a key that changes with the content, or send the same content again"
        )
        self.key = key
        self.known_id = known_id


class PayloadTooLarge(ProducerError):
    """The payload is over the limit; store the data elsewhere and send a reference."""


class UnknownReport(InvalidRequest):
    """A refresh names a report that no worker has declared."""


class NotEnqueued(ProducerError):
    """The queue could not take the job now. Sending again with the same key cannot queue a second job."""


class RedisUnavailable(NotEnqueued):
    """Redis is down, stalled, loading, failing over or read-only."""


class QueueFull(NotEnqueued):
    """Redis has reached its memory limit (maxmemory); workers can still drain it."""


class LedgerUnavailable(NotEnqueued):
    """The ledger in Postgres cannot take the job: it is not installed, or the connection may not write to it.

    The statement failed, and with it the connection's transaction: roll it back.
    """
