"""One attempt of a backend's own job, as its handler sees it."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

_NOTE_LIMIT = 200


def check_progress(done: float, total: float, note: str) -> None:
    """Validate the progress that a handler reports.

    Raises:
        ValueError: a number out of range, or an invalid note.
    """
    if not (math.isfinite(done) and math.isfinite(total) and done >= 0 and total > 0):
        raise ValueError(
            f"progress: done ({done!r}) must be finite and at least 0, total ({total!r}) finite and above 0"
        )
    if len(note) > _NOTE_LIMIT or not note.isprintable():
        raise ValueError(
            f"progress: note ({len(note)} characters) must be one printable line of at most {_NOTE_LIMIT}"
        )


def _nothing(done: float, total: float, note: str = "") -> None:
    del done, total, note


async def _begun(note: str = "") -> bool:
    del note
    return True


@dataclass(slots=True, kw_only=True)  # not frozen: that triples the cost of making one
class Run:
    """One attempt of a job. The worker makes it; a test of a handler may make its own, ``Run()``.

    Attributes:
        id: the job's id, the same in every attempt.
        attempt: number of this attempt, from 1.
        lane: the lane in which it waited.
        worker: id of the worker that runs it, as in ``ops depth``.
        queued_at: when it was queued; aware.
        uncertain: True if an earlier attempt began an effect with an unknown outcome.
        progress: call it with done, total and a note, at any rate; ``ops why`` shows it. Raises ValueError.
        begin_effect: stores the mark of an effect that cannot be undone, with a note; after False the effect must
            not happen. Await it in a coroutine; for a plain function it returns the bool itself.
        is_stopped: returns True once the attempt was told to stop: cancelled, timed out or shut down. A coroutine
            is cancelled then, a child process killed; a function in a thread must check.

    Example:
        @handles(Import)
        def import_rows(job: Import, run: Run) -> int:
            for done, row in enumerate(rows):
                if run.is_stopped():
                    raise TryLater("stopped", charged=False)
                run.progress(done, len(rows), "rows")
    """

    id: str = "{jobs}test"
    attempt: int = 1
    lane: str = "jobs"
    worker: str = "test"
    queued_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    uncertain: bool = False
    progress: Callable[..., None] = field(default=_nothing, repr=False)
    begin_effect: Callable[..., Awaitable[bool] | bool] = field(default=_begun, repr=False)
    is_stopped: Callable[[], bool] = field(default=lambda: False, repr=False)
