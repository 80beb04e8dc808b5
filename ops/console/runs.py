"""Changes of many jobs that run while operators watch: bulk changes and canary replays of this console.

    runs      until its jobs are dealt with
    stopped   by an operator, or because the console stops; repeat it to do the rest
    failed    a canary: a job failed again; or a store did not answer
    ended     all are dealt with

A run lives in the console's process. If that dies, the jobs that were changed stay changed, and the audit log
has the run's beginning alone. The same run is not begun twice at a time: the second operator is shown the first
one's.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from redis.exceptions import RedisError

from background import start_once
from ops.audit.log import AuditEntry, note_entry
from ops.command import CommandRefused, Tools
from ops.console.change import end_entry
from ops.jobs.bulk import BulkProgress, BulkTools
from ops.mail.key_ring import ring_of

State = Literal["runs", "stopped", "failed", "ended"]
Work = Callable[[BulkTools, BulkProgress], Awaitable[object]]
_MOST_KEPT = 50
_MOST_RUNNING = 4


@dataclass(slots=True)
class BulkRun:
    """A change of many jobs.

    Attributes:
        entry: its beginning in the audit log; its number is the run's.
        about: the same for two runs that would do the same.
        error: why it failed, "" otherwise.
    """

    entry: AuditEntry
    about: str
    progress: BulkProgress
    state: State = "runs"
    error: str = ""
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)


class BulkRuns:
    """The runs of this process, the latest last."""

    def __init__(self) -> None:
        self._runs: dict[str, BulkRun] = {}

    def find(self, number: str) -> BulkRun | None:
        """Return the run of this number, if it is kept."""
        return self._runs.get(number)

    def list(self) -> list[BulkRun]:
        """Return all kept runs, the newest first."""
        return list(self._runs.values())[::-1]

    async def begin(self, tools: Tools, entry: AuditEntry, about: str, total: int, work: Work) -> BulkRun:
        """Begin a run, or return the one that does the same.

        Raises:
            CommandRefused: too many are running.
            RedisError, OSError: the beginning cannot be noted; nothing is changed.
        """
        running = [one for one in self._runs.values() if one.state == "runs"]
        if known := next((one for one in running if one.about == about), None):
            return known
        if len(running) >= _MOST_RUNNING:
            raise CommandRefused(
                f"bulk: {len(running)} bulk changes are already running; wait for one to finish, or stop it"
            )
        run = BulkRun(entry, about, BulkProgress(total=total))
        self._keep(run)
        try:
            await note_entry(tools.redis, entry)
        except (RedisError, OSError):
            del self._runs[entry.number]
            raise
        run.task = start_once("bulk run", _work(run, tools, work))
        return run

    def _keep(self, run: BulkRun) -> None:
        over = [number for number, one in self._runs.items() if one.state != "runs"]
        for number in over[: max(0, len(self._runs) + 1 - _MOST_KEPT)]:
            del self._runs[number]
        self._runs[run.entry.number] = run

    async def stop_all(self) -> None:
        """Stop all runs after their current batch, and wait until they have noted it."""
        running = [one for one in self._runs.values() if one.state == "runs"]
        for one in running:
            one.progress.stopped = True
        await asyncio.gather(*(one.task for one in running if one.task), return_exceptions=True)


async def _work(run: BulkRun, tools: Tools, work: Work) -> None:
    try:
        async with _stores(tools) as stores:
            await work(replace(stores, number=run.entry.number), run.progress)
        run.state = "failed" if run.progress.failed else "stopped" if run.progress.stopped else "ended"
    except (RedisError, OSError, CommandRefused) as error:
        run.state, run.error = "failed", f"{type(error).__name__}: {error}"
    await end_entry(tools, run.entry, "done" if run.state == "ended" else "stopped", run_text(run))


def run_text(run: BulkRun) -> str:
    """Return what became of a run, for the audit log.

    >>> from ops.audit.log import begin_entry
    >>> entry = begin_entry(who="ana", way="token", role="admin", action="bulk-revive", target="dead", why="")
    >>> run_text(BulkRun(entry, "", BulkProgress(total=3), state="stopped"))
    'stopped: 0 of 3'
    """
    counts: Mapping[str, int] = run.progress.counts
    parts = [f"{run.state}: {run.progress.done} of {run.progress.total}"]
    parts += [f"{name} {count}" for name, count in sorted(counts.items())]
    parts += [f"failed again: {run.progress.failed}"] if run.progress.failed else []
    return ", ".join([*parts, *([run.error] if run.error else [])])


@asynccontextmanager
async def _stores(tools: Tools) -> AsyncIterator[BulkTools]:
    """Lend the stores of a change: Redis, and the ledger where there is one. Raises CommandRefused."""
    ring = ring_of(tools.mail)
    if not tools.postgres_dsn:
        yield BulkTools(redis=tools.redis, ring=ring)
        return
    from ops.jobs.ledger_jobs import open_ledger  # noqa: PLC0415  loads the driver of Postgres

    async with open_ledger(tools) as ledger:
        yield BulkTools(redis=tools.redis, ring=ring, ledger=ledger)
