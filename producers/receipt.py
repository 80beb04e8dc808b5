"""What a caller gets for a message that was queued."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Receipt:
    """The job's id, and whether this call made it.

    Attributes:
        id: names the job for ever; the same key gives the same id within its window.
        state: ``queued`` by this call, or ``duplicate`` of an earlier one.
    """

    id: str
    kind: str
    lane: str
    state: Literal["queued", "duplicate"]
