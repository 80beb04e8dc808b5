"""Check-ins of employees on each working day of the last fourteen weeks, today included.

A day is the calendar day in the zone of `now`, so pass `now` in the organisation's zone. Weekends are empty,
except that today always has a check-in, or a dashboard shown on a Sunday would be blank. Most employees check in
once a day, some again later, a few at a node that is not their home. Ids rise with time, as in a table of a
running application.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate, pairwise
from random import Random

from local.organisation.people import Person
from local.organisation.tables import Row

WINDOW_DAYS = 96
WORKING_WEEKDAYS = range(5)
OPENS, BUSIEST, CLOSES = 7 * 3600, 9 * 3600, 19 * 3600  # seconds after local midnight
ATTENDANCE = 0.85
AWAY_SHARE = 0.08
REMOTE_SHARE = 0.3


def checkins(random: Random, people: list[Person], *, count: int, nodes: int, now: datetime) -> Iterator[Row]:
    """Yield exactly `count` rows in order of time, none after `now`; `people` may be empty if `count` is 0."""
    checkin_id = 0
    for day, of_the_day in zip(_days(now), _split(count, now), strict=True):
        start = _midnight(day, now)
        attendants = _attendants(random, people, start, of_the_day)
        for seconds, person in zip(_times(random, start, now, of_the_day), attendants, strict=True):
            checkin_id += 1
            node_id, kind = _place(random, person, nodes)
            yield (checkin_id, person.id, node_id, start + timedelta(seconds=seconds), kind)


def _days(now: datetime) -> list[date]:
    """Return the working days of the window, oldest first; the last one is today, on any weekday."""
    today = now.date()
    window = (today - timedelta(days=back) for back in range(WINDOW_DAYS - 1, 0, -1))
    return [day for day in window if day.weekday() in WORKING_WEEKDAYS] + [today]


def _midnight(day: date, now: datetime) -> datetime:
    return datetime.combine(day, time.min, now.tzinfo).astimezone(UTC)


def _elapsed(now: datetime) -> int:
    """Return the whole seconds of today that have passed."""
    return int((now - _midnight(now.date(), now)).total_seconds())


def _split(count: int, now: datetime) -> list[int]:
    """Return check-ins per day: equal shares, today's in proportion to its time, and at least one if any."""
    so_far = (_elapsed(now) - OPENS) / (CLOSES - OPENS)
    weights = [1.0] * (len(_days(now)) - 1) + [min(max(so_far, 0.0), 1.0)]
    for_today, to_share = min(count, 1), count - min(count, 1)
    total = sum(weights)
    marks = [0, *(round(to_share * part / total) for part in accumulate(weights))]
    shares = [after - before for before, after in pairwise(marks)]
    return [*shares[:-1], shares[-1] + for_today]


def _attendants(random: Random, people: list[Person], start: datetime, count: int) -> list[Person]:
    """Yield the employees who check in, in order: each of those present once, then some of them again."""
    if count == 0:
        return []
    staff = [person for person in people if person.works_throughout(start, start + timedelta(days=1))]
    present = random.sample(staff, min(count, max(1, round(len(staff) * ATTENDANCE))))
    return present + random.choices(present, k=count - len(present))


def _times(random: Random, start: datetime, now: datetime, count: int) -> list[int]:
    """Return seconds after `start` in rising order; a time after `now` is moved before it."""
    passed = int((now - start).total_seconds())
    drawn = (int(random.triangular(OPENS, CLOSES, BUSIEST)) for _ in range(count))
    return sorted(seconds if seconds <= passed else int(passed * random.random()) for seconds in drawn)


def _place(random: Random, person: Person, nodes: int) -> tuple[int, str]:
    """Return the node and the kind of one check-in."""
    chance = random.random()
    if chance < AWAY_SHARE:
        return 1 + int(nodes * random.random()), "visit"
    return person.home, "remote" if chance < AWAY_SHARE + REMOTE_SHARE else "office"
