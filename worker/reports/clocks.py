"""Clocks of the database and of Redis: their difference, and the consequences when one of them is set.

All instants of a stored set are the database's: its SQL compares rows with ``:now``, and rows carry that clock.
Readers do not connect to the database. So a set stores how far the database's clock was ahead of Redis's when its
instants were taken, and a reader computes its age from Redis's clock, whatever the reader's own clock says, and
whatever happens to the database's clock later.

The fence compares instants of one clock. If that clock was set between two states, their
``pg_current_snapshot()`` show which is the later one: the one that sees everything that the other sees.
"""

from datetime import UTC, datetime, timedelta

from clocks import BOUND, SET_US, ClockReading, ServerClock, moment
from reports.document import microseconds
from reports.pace import KnownSet, snapshot_includes
from reports.store import NewSet
from worker.events import emit, event

_CLOCKS_APART = event("clocks.apart")
_CLOCKS_TOGETHER = event("clocks.together")
_CLOCK_SET = event("clock.set")

_TICK = timedelta(microseconds=1)


class Clocks:
    """Readings of both clocks by one worker.

    Args:
        bound: largest difference between the clocks that is not logged.
    """

    def __init__(self, *, bound: timedelta = BOUND) -> None:
        self._database = ServerClock()
        self._redis = ServerClock()
        self._bound_us = microseconds_of(bound)
        self._apart = False

    def note_database(self, reading: ClockReading) -> None:
        """Record a reading of the database's clock."""
        self._told("database", self._database.add_reading(reading))

    def note_redis(self, reading: ClockReading) -> None:
        """Record a reading of Redis's clock, and log when the clocks drift too far apart or agree again."""
        self._told("redis", self._redis.add_reading(reading))
        offset_us = self.offset_us
        if offset_us is not None and (abs(offset_us) > self._bound_us) != self._apart:
            self._apart = not self._apart
            emit(_CLOCKS_APART if self._apart else _CLOCKS_TOGETHER, database_ahead_s=_seconds(offset_us))

    @property
    def offset_us(self) -> int | None:
        """Database's clock minus Redis's in microseconds; None until both have been read."""
        database, redis = self._database.ahead_us, self._redis.ahead_us
        return None if database is None or redis is None else database - redis

    @property
    def cautious_offset_us(self) -> int | None:
        """The offset with the errors of both readings added, so that no age is reported too low.

        Each error is half a round trip, some 100 us; if the worker paused between request and response, it is
        as long as that.
        """
        offset_us = self.offset_us
        return None if offset_us is None else offset_us + self._database.error_us + self._redis.error_us

    def now(self) -> datetime:
        """Return the database's time; this machine's if the database has never answered."""
        now_us = self._database.now_us()
        return datetime.now(UTC) if now_us is None else moment(now_us)

    def _told(self, whose: str, step_us: int) -> None:
        if step_us:
            emit(_CLOCK_SET, clock=whose, by_s=_seconds(step_us))


def microseconds_of(span: timedelta) -> int:
    """Return a duration in microseconds."""
    return span // _TICK


def fence_instant(new: NewSet, last: KnownSet | None, *, database_kept: bool = False) -> datetime | None:
    """Return the instant by which the fence judges a new set; None if a later state may be stored.

    As a rule that is when its transaction began. If the offsets of the two sets differ, a clock was set in
    between, and the snapshots decide: a state that sees all of the stored one gets an instant after it. If each
    sees all of the other, Redis's clock decides, unless it was Redis's clock that was set.

    Args:
        database_kept: the database's clock has not been set since the new state was taken. Then a set that is
            stored with an earlier instant is earlier: a later one would have a later instant by the same clock.
    """
    began = new.began or new.as_of
    if last is None or not last.stored or last.offset is None or new.day:
        return began
    offset_us = new.meta.get("clock_offset_us")
    if not isinstance(offset_us, int) or abs(offset_us - microseconds_of(last.offset)) <= SET_US:
        return began
    visible = str(new.meta["snapshot"])
    sees, is_seen = snapshot_includes(visible, last.visible), snapshot_includes(last.visible, visible)
    if sees and is_seen:
        computed_us = int(str(new.meta["computed_us"])) - offset_us
        sees = computed_us > microseconds(last.at - last.offset)
        if not sees and database_kept and began > last.as_of:
            return began
    if sees:
        return max(began, last.as_of + _TICK, last.verified + _TICK)
    return None if is_seen else began


def ahead_of(new: NewSet, last: KnownSet | None) -> timedelta:
    """Return how far the stored set lies in the future of a new one, by the database's clock; normally zero."""
    if last is None or not last.stored:
        return timedelta(0)
    ahead = last.as_of - new.as_of
    return ahead if microseconds_of(ahead) > SET_US else timedelta(0)


def _seconds(us: int) -> float:
    return round(us / 1_000_000, 3)
