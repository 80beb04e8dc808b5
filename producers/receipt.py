"""What a caller gets for a message that was queued."""

from dataclasses import dataclass
from typing import Literal

Cancelled = Literal["cancelled", "stopping", "unknown"]
"""What came of taking a job back; see :meth:`Producer.cancel`."""
State = Literal["queued", "duplicate", "gathered"]
"""What a call did with a message; see :class:`Receipt`."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The job's id, and whether this call made it.

    Attributes:
        id: names the job for ever; the same key gives the same id within its window.
        state: ``queued`` by this call, ``duplicate`` of an earlier one, or ``gathered`` into a digest that waits.
    """

    id: str
    kind: str
    lane: str
    state: State
