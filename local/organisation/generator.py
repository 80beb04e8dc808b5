"""Generator of an organisation of any size, the same every time for the same size, seed and instant.

Pure: no clock, no global randomness, no I/O. Every table draws from its own stream, seeded by the seed and
the table's name, so tables can be walked in any order, any number of times, and one at a time. Check-ins,
tasks and blockers are made while they are walked; only nodes and people are kept in memory.

Impossible sizes (`SizeError`, naming the field) and a `now` without a zone are refused.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from random import Random

from local.organisation.checkins import checkins
from local.organisation.errors import InstantError, SizeError
from local.organisation.people import Person, hire_people, memberships
from local.organisation.tables import Organisation, TableRows
from local.organisation.tree import grow_tree
from local.organisation.work import TaskOwners, blockers, tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationSize:
    """Rows per table, and the greatest number of levels below the root.

    The default is a company of 5,000 employees with fourteen weeks of check-ins. Raises `SizeError`.

    >>> OrganisationSize(nodes=7_000, employees=50_000, memberships=60_000, checkins=4_800_000).depth
    14
    """

    nodes: int = 700
    depth: int = 14
    employees: int = 5_000
    memberships: int = 6_000
    tasks: int = 60_000
    checkins: int = 480_000
    blockers: int = 40_000

    def __post_init__(self) -> None:
        for field in fields(self):
            self._require_count(field.name)
        if self.nodes == 0:
            raise SizeError("nodes", 0, "give 1 or more, for the root")
        if self.depth == 0 and self.nodes > 1:
            raise SizeError("depth", 0, "give 1 or more; only a lone root has no level below it")
        if self.checkins and not self.employees:
            raise SizeError("checkins", self.checkins, "give employees too; only they can check in")
        seats = self.employees * (self.nodes - 1)
        if self.memberships > seats:
            raise SizeError(
                "memberships",
                self.memberships,
                f"give at most {seats}, one for each pair of an employee and a node other than the home",
            )

    def _require_count(self, field: str) -> None:
        value = getattr(self, field)
        if type(value) is not int or value < 0:
            raise SizeError(field, value, "give a whole number, 0 or more")


def generate_organisation(size: OrganisationSize, *, seed: int, now: datetime) -> Organisation:
    """Return an organisation of exactly `size`, as it stands at `now`.

    `now` is aware and best given in the organisation's zone: its calendar days and office hours are taken
    from it. Every instant is in UTC, in whole seconds, and not after `now`, except due dates.
    Raises `InstantError`.

    >>> from datetime import UTC, datetime
    >>> tiny = OrganisationSize(nodes=3, depth=2, employees=4, memberships=1, tasks=5, checkins=9, blockers=2)
    >>> organisation = generate_organisation(tiny, seed=7, now=datetime(2026, 3, 4, 16, 30, tzinfo=UTC))
    >>> [len(rows) for _, rows in organisation.tables()]
    [3, 4, 1, 5, 9, 2]
    """
    if now.utcoffset() is None:
        raise InstantError("now")
    instant = now.astimezone(UTC).replace(microsecond=0)
    local = instant.astimezone(now.tzinfo)  # as local clocks showed it: no day has a local time that was skipped
    nodes = grow_tree(_stream(seed, "nodes"), nodes=size.nodes, depth=size.depth)
    people = hire_people(_stream(seed, "employees"), employees=size.employees, nodes=size.nodes, now=instant)
    return Organisation(
        nodes=TableRows.held(nodes),
        employees=TableRows(size.employees, lambda: (person.row() for person in people)),
        memberships=_memberships(size, seed, people),
        tasks=_tasks(size, seed, people, instant),
        checkins=_checkins(size, seed, people, local),
        blockers=_blockers(size, seed, people, instant),
    )


def _stream(seed: int, table: str) -> Random:
    """Return a table's own random stream; a text seed gives the same numbers in every process."""
    return Random(f"{seed}:{table}")  # noqa: S311  invented rows, not secrets


def _desk(seed: int, people: list[Person], nodes: int) -> TaskOwners:
    """Return the same owners for tasks and blockers, so that a blocker agrees with its task."""
    return TaskOwners.of(_stream(seed, "desk"), people, nodes)


def _memberships(size: OrganisationSize, seed: int, people: list[Person]) -> TableRows:
    return TableRows(
        size.memberships,
        lambda: memberships(_stream(seed, "memberships"), people, count=size.memberships, nodes=size.nodes),
    )


def _tasks(size: OrganisationSize, seed: int, people: list[Person], now: datetime) -> TableRows:
    desk = _desk(seed, people, size.nodes)
    return TableRows(size.tasks, lambda: tasks(_stream(seed, "tasks"), desk, count=size.tasks, now=now))


def _checkins(size: OrganisationSize, seed: int, people: list[Person], now: datetime) -> TableRows:
    return TableRows(
        size.checkins,
        lambda: checkins(_stream(seed, "checkins"), people, count=size.checkins, nodes=size.nodes, now=now),
    )


def _blockers(size: OrganisationSize, seed: int, people: list[Person], now: datetime) -> TableRows:
    desk = _desk(seed, people, size.nodes)
    return TableRows(
        size.blockers,
        lambda: blockers(_stream(seed, "blockers"), desk, count=size.blockers, tasks=size.tasks, now=now),
    )
