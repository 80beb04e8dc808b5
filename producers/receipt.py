"""Receipt of a queued message."""

from dataclasses import dataclass, field
from typing import Literal

Cancelled = Literal["cancelled", "stopping", "unknown"]
"""Result of a cancellation; see :meth:`Producer.cancel`."""
State = Literal["queued", "staged", "duplicate", "gathered"]
"""State of a receipt; see :class:`Receipt`."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Id of a message's job, and what the call did with the message.

    Attributes:
        id: permanent id of the job; the same key gives the same id within its window.
        kind: the job's kind, for example ``mail.send``.
        lane: the lane in which the job waits, for example ``mail.normal``.
        state: ``queued`` by this call, ``staged`` as a row of the ledger, ``duplicate`` of an earlier message, or
            ``gathered`` into a waiting digest.
    """

    id: str
    kind: str
    lane: str
    state: State


ResultState = Literal["pending", "done", "suppressed", "expired", "dead", "unknown"]
"""State of a result; see :class:`JobResult`."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """End of a job.

    Attributes:
        state: ``pending`` while it waits or runs; ``done``; ``suppressed``: not done, by an earlier request;
            ``expired``: not begun in time; ``dead``; ``unknown`` if it never existed, was cancelled, or ended
            longer ago than results are kept.
        value: what its handler returned, as JSON; None unless it is done.
        reason: the last error of a dead job; empty otherwise.
    """

    state: ResultState
    value: object = field(default=None, repr=False)
    reason: str = field(default="", repr=False)
