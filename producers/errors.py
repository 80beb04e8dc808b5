"""Why nothing was queued. A message's own refusals (a bad address, a missing value) are the message's."""

from .receipt import Receipt


class ProducerError(Exception):
    """The root of this room's errors. The job that it is about was not queued, unless it says so.

    Attributes:
        index: which message of a batch, from 0, if it is about one; None for a single message.
        receipts: what earlier round trips of the same batch queued (one carries a thousand).
    """

    index: int | None = None

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.receipts: list[Receipt] = []


class InvalidRequest(ProducerError, ValueError):
    """A key, a delay or a report's name that cannot be used; the caller's to mend."""


class KeyConflict(ProducerError):
    """The key was used for another content within its window; a key names one piece of work."""

    def __init__(self, key: str, known_id: str) -> None:
        super().__init__(
            f"key {key!r} already names job {known_id} with other content; "
            "use a key that changes with the content, or send the same content again"
        )
        self.key = key
        self.known_id = known_id


class PayloadTooLarge(ProducerError):
    """A payload over the limit; store the data elsewhere and send a reference."""


class UnknownReport(InvalidRequest):
    """A refresh was asked for a report that no worker has declared."""


class NotEnqueued(ProducerError):
    """The queue could not take the job now. Sending it again with the same key cannot double it."""


class RedisUnavailable(NotEnqueued):
    """Redis is down, stalled, loading, failing over or read-only."""


class QueueFull(NotEnqueued):
    """Redis has reached its memory limit (maxmemory); workers can still drain it."""
