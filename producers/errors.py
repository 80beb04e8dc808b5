"""Why nothing was queued. A message's own refusals (a bad address, a missing value) are the message's."""


class ProducerError(Exception):
    """The root of this room's errors. When one is raised, the call has queued nothing unless it says so."""


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
    """The queue could not take the job now. Sending it again with the same key cannot double it.

    Attributes:
        receipts: what earlier calls of the same batch already queued (one call carries a thousand).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.receipts: list[object] = []


class RedisUnavailable(NotEnqueued):
    """Redis is down, stalled, loading, failing over or read-only."""


class QueueFull(NotEnqueued):
    """Redis has reached its memory limit (maxmemory); workers can still drain it."""
