"""Receipt of a queued message."""

from dataclasses import dataclass
from typing import Literal

Cancelled = Literal["cancelled", "stopping", "unknown"]
"""Result of a cancellation; see :meth:`Producer.cancel`."""
State = Literal["queued", "duplicate", "gathered"]
"""State of a receipt; see :class:`Receipt`."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Id of a message's job, and what the call did with the message.

    Attributes:
        id: permanent id of the job; the same key gives the same id within its window.
        kind: the job's kind, for example ``mail.send``.
        lane: the lane in which the job waits, for example ``mail.normal``.
        state: ``queued`` by this call, ``duplicate`` of an earlier message, or ``gathered`` into a waiting digest.
    """

    id: str
    kind: str
    lane: str
    state: State
