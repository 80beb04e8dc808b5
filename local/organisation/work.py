"""Tasks and blockers of the last two years: mostly closed, the open ones mostly recent, some overdue.

Both are spread evenly over the span in order of id, so a row's position gives its age. The owner of task number N
follows from N alone (see `TaskOwners`), so a blocker agrees with its task although neither table is kept in
memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from local.organisation.people import Person
from local.organisation.tables import Row

SPAN = timedelta(days=730)
UNASSIGNED_SHARE = 0.05
DUE_SHARE = 0.8
DUE_DAYS = (3, 120)
ABANDONED_SHARE, FRESH_SHARE, FRESHNESS = 0.01, 0.8, 8  # see _is_open
STARTED_SHARE = 0.55
CANCELLED_SHARE = 0.12
OPEN_BLOCKER_SHARE = 0.02
OPEN_BLOCKERS_AMONG = 5  # open blockers are among the last fifth
ON_TASK_SHARE = 0.7
UNSIGNED_SHARE = 0.03
BLOCKED_SECONDS = 3 * 86_400  # mean time until a blocker is closed
BLOCKER_KINDS = ("approval", "dependency", "incident", "resource", "supplier")


@dataclass(frozen=True, slots=True)
class TaskOwners:
    """The owners of tasks: people in a shuffled circle; in an empty company no owner, and any node in turn."""

    people: list[Person]
    nodes: int

    @classmethod
    def of(cls, random: Random, people: list[Person], nodes: int) -> "TaskOwners":
        """Shuffle the circle with `random`, so that neighbouring tasks lie on different nodes."""
        return cls(random.sample(people, len(people)), nodes)

    def owner(self, number: int) -> Person | None:
        """Return the person responsible for task (or blocker) `number`."""
        return self.people[number % len(self.people)] if self.people else None

    def node(self, number: int) -> int:
        """Return the node of task (or blocker) `number`: its owner's home."""
        owner = self.owner(number)
        return owner.home if owner else 1 + number % self.nodes


def tasks(random: Random, desk: TaskOwners, *, count: int, now: datetime) -> Iterator[Row]:
    """Yield exactly `count` rows with ids from 1; only `due_at` may lie after `now`."""
    for task_id in range(1, count + 1):
        position = (task_id - random.random()) / count
        owner = desk.owner(task_id)
        created_at = _begun_at(now, position, owner)
        due_at = created_at + timedelta(days=random.randint(*DUE_DAYS)) if random.random() < DUE_SHARE else None
        status, closed_at = _outcome(random, created_at, now, position)
        assignee_id = owner.id if owner and random.random() >= UNASSIGNED_SHARE else None
        yield (task_id, desk.node(task_id), assignee_id, created_at, due_at, status, closed_at)


def _instant(now: datetime, position: float) -> datetime:
    """Return the instant at `position` of the span (0 its start, 1 now), in whole seconds."""
    return now - timedelta(seconds=int(SPAN.total_seconds() * (1 - position)))


def _begun_at(now: datetime, position: float, owner: Person | None) -> datetime:
    """Return the instant at `position`, but no work is older than its owner's employment."""
    begun_at = _instant(now, position)
    return max(begun_at, owner.joined_at) if owner else begun_at


def _outcome(random: Random, created_at: datetime, now: datetime, position: float) -> tuple[str, datetime | None]:
    if _is_open(random, position):
        return ("in_progress" if random.random() < STARTED_SHARE else "open"), None
    took = int((now - created_at).total_seconds() * random.random() ** 2)
    status = "cancelled" if random.random() < CANCELLED_SHARE else "done"
    return status, created_at + timedelta(seconds=took)


def _is_open(random: Random, position: float) -> bool:
    """Return True for an open task: a few are abandoned at any age; the others are mostly recent."""
    return random.random() < ABANDONED_SHARE + FRESH_SHARE * position**FRESHNESS


def blockers(random: Random, desk: TaskOwners, *, count: int, tasks: int, now: datetime) -> Iterator[Row]:
    """Yield exactly `count` rows with ids from 1, 2 % of them open, most on one of the `tasks` tasks."""
    still_open = _open_blockers(random, count)
    for blocker_id in range(1, count + 1):
        position = (blocker_id - random.random()) / count
        task_id = _blocked_task(random, tasks, position)
        number = task_id or random.randrange(1 << 32)
        owner = desk.owner(number)
        opened_at = _begun_at(now, position, owner)
        closed_at = None if blocker_id in still_open else _closed_at(random, opened_at, now)
        kind = BLOCKER_KINDS[blocker_id * 7 % len(BLOCKER_KINDS)]
        employee_id = owner.id if owner and random.random() >= UNSIGNED_SHARE else None
        yield (blocker_id, desk.node(number), employee_id, task_id, opened_at, closed_at, kind)


def _open_blockers(random: Random, count: int) -> set[int]:
    wanted = round(count * OPEN_BLOCKER_SHARE)
    recent = max(wanted, count // OPEN_BLOCKERS_AMONG)
    return set(random.sample(range(count - recent + 1, count + 1), wanted))


def _blocked_task(random: Random, tasks: int, position: float) -> int | None:
    """Return a task from not long before the blocker, or None for a blocker without a task."""
    before = int(tasks * position)
    if before == 0 or random.random() >= ON_TASK_SHARE:
        return None
    return before - int(before * random.random() / 10)


def _closed_at(random: Random, opened_at: datetime, now: datetime) -> datetime:
    stood = timedelta(seconds=int(random.expovariate(1 / BLOCKED_SECONDS)))
    return min(opened_at + stood, now)
