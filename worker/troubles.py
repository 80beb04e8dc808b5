"""Present troubles of this worker's parts, which its heartbeats carry so that operators see them.

A part that cannot do its work, and tries again by itself, notes why; it ends the note when it works again. A fault
of a single job does not count: the job's history has it.

    reports          the prober does not reach the database, so that no report is computed
    reports process  the worker's process for reports ended by itself
    ledger …         a part of the ledger does not reach Postgres or Redis, or cannot use the schema
    rights           the worker's user of Redis lacks a right

The words are error names and servers' messages without data (`reports.source_postgres.log_fields`).
"""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trouble:
    """Reason why a part does not work, and its beginning (running time of this process)."""

    error: str
    since: float = field(default_factory=time.monotonic)


TROUBLES: dict[str, Trouble] = {}
"""The troubles of this process, by part."""


def note_trouble(part: str, error: str) -> None:
    """Note why a part does not work; a fault that lasts keeps its start time."""
    before = TROUBLES.get(part)
    TROUBLES[part] = Trouble(error) if before is None else Trouble(error, before.since)


def end_trouble(part: str) -> None:
    """Note that a part works again, or ends."""
    TROUBLES.pop(part, None)
