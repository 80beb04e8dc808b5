"""Employees of an invented company: homes, roles, comings and goings, and the other teams they belong to.

A few nodes hold many people and many hold none, as in real organisations. The first person has been there
longest and never leaves, so there is an employee to check in on any day. Handles are pseudonyms.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from local.organisation.tables import Row

TENURE = timedelta(days=8 * 365)
LEFT_SHARE = 0.08
MAINTAINER_SHARE = 0.03
HOME_SKEW = 1.5  # Pareto exponent of node sizes: the lower, the more people belong to the largest nodes
HANDLE_BITS = 40


@dataclass(frozen=True, slots=True)
class Person:
    """One employee, with the fields that check-ins and tasks need."""

    id: int
    home: int
    handle: str
    role: str
    joined_at: datetime
    left_at: datetime | None

    def row(self) -> Row:
        """Return the row of `employees`."""
        return (self.id, self.home, self.handle, self.role, self.joined_at, self.left_at)

    def works_throughout(self, start: datetime, end: datetime) -> bool:
        """Return True if the person was employed from before `start` until after `end`."""
        return self.joined_at < start and (self.left_at is None or self.left_at > end)


def hire_people(random: Random, *, employees: int, nodes: int, now: datetime) -> list[Person]:
    """Return people with ids 1 to `employees` in order of joining, at homes among the nodes 1 to `nodes`."""
    weights = [random.paretovariate(HOME_SKEW) for _ in range(nodes)]
    homes = random.choices(range(1, nodes + 1), weights, k=employees)
    handles = _handles(random, employees)
    led: set[int] = set()
    return [
        Person(
            id=number,
            home=home,
            handle=handle,
            role=_role(random, home, led),
            joined_at=now - worked,
            left_at=_left_at(random, now, worked) if number > 1 else None,
        )
        for number, (home, handle, worked) in enumerate(
            zip(homes, handles, _tenures(random, employees), strict=True), start=1
        )
    ]


def _tenures(random: Random, employees: int) -> list[timedelta]:
    """Return how long ago each person joined, longest first."""
    longest = int(TENURE.total_seconds())
    later = sorted((int(longest * random.random() ** 1.5) for _ in range(employees - 1)), reverse=True)
    return [timedelta(seconds=seconds) for seconds in ([longest, *later] if employees else [])]


def _left_at(random: Random, now: datetime, worked: timedelta) -> datetime | None:
    if random.random() >= LEFT_SHARE:
        return None
    return now - timedelta(seconds=int(worked.total_seconds() * random.random()))


def _role(random: Random, home: int, led: set[int]) -> str:
    """Return the role: the first person of a node leads it; `led` holds the nodes that have their lead."""
    if home not in led:
        led.add(home)
        return "lead"
    return "maintainer" if random.random() < MAINTAINER_SHARE else "member"


def _handles(random: Random, employees: int) -> Iterator[str]:
    """Yield handles, distinct by construction: an odd factor permutes the numbers below a power of two."""
    factor, start = random.getrandbits(HANDLE_BITS) | 1, random.getrandbits(HANDLE_BITS)
    for number in range(employees):
        yield f"u{(start + number * factor) % (1 << HANDLE_BITS):010x}"


def memberships(random: Random, people: list[Person], *, count: int, nodes: int) -> Iterator[Row]:
    """Yield exactly `count` seats on nodes other than the home, no seat twice; at most `nodes - 1` per person."""
    each, left_over = divmod(count, len(people)) if people else (0, 0)
    with_one_more = set(random.sample(range(len(people)), left_over))
    for index, person in enumerate(people):
        for other in random.sample(range(1, nodes), each + (index in with_one_more)):
            node_id = other + (other >= person.home)  # skips the home
            yield (person.id, node_id, "maintainer" if random.random() < MAINTAINER_SHARE else "member")
