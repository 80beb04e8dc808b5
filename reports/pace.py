"""Decisions, without I/O, on when a board is refreshed and when a stored set counts as proved.

    cold        a report is not stored                              at once
    failed      its last refresh failed                             after the pause
    time        time itself changes its numbers                     at that instant
    changed     marks wait: ``debounce`` after the last of them, and at most ``max_wait`` after the first;
                or, where there are no triggers, a writing transaction has ended
    taken_up    marks were taken up for a set that is not here      at once
    catalogue   the catalogue's digest of the board's tables has changed since it was computed
    replayed    a standby has replayed commits since
    unverified  a transaction ended and left no mark                MAX_UNVERIFIED after the last refresh; not
                while marks wait; transactions of other boards' refreshes do not count
    wanted      a reader found it too old, and nothing proves it    at once
    clocks      the database's clock or Redis's has been set since, so its age is not known
    clock       nothing has proved it true for as long as ``every``

Only the first two and ``taken_up`` may come sooner than the budget allows: a board whose refreshes take c of the
database's time (95 % take less) and may use the share s of one processor is refreshed at most every c / s in the
long run. The share of half a minute may be used ahead, so that a change after a quiet period is seen at once.
Under more change than that its age grows, and readers see the age.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from clocks import SET_US, ClockReading
from reports.boards import Board
from reports.node_ids import IdKind
from reports.triggers import board_key

AHEAD = timedelta(seconds=30)
"""Time whose share of the database may be used ahead."""
SHARE = 0.05
"""Part of one database processor, for all boards of a tenant together."""
MAX_UNVERIFIED = timedelta(minutes=15)
"""Longest time for which triggers alone prove a set: restores and disabled triggers leave no marks."""
_SET = timedelta(microseconds=SET_US)


@dataclass(frozen=True, slots=True)
class MarkTimes:
    """Instants of the first and the last of a board's waiting marks."""

    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Probe:
    """Result of one query of the database.

    Attributes:
        at: the database's ``now()``; every change acknowledged before it is visible to the probe.
        visible: the database's ``pg_current_snapshot()``.
        marks: waiting marks by the board's key; boards without marks are absent.
        taken: instant as of which each board's marks were last taken up, by the board's key.
        catalogue: digest of the catalogue by the name of each board that can be proved; None if the catalogue was
            not queried in this state.
        replayed: on a standby, the time of the last commit that it shows.
        reading: reading of the database's clock.
        offset: the database's clock minus Redis's; None if not known.
    """

    at: datetime
    visible: str
    marks: Mapping[str, MarkTimes] = field(default_factory=dict)
    taken: Mapping[str, datetime] = field(default_factory=dict)
    catalogue: Mapping[str, str] | None = None
    replayed: datetime | None = None
    reading: ClockReading | None = None
    offset: timedelta | None = None

    @property
    def behind(self) -> timedelta:
        """Lag of a standby's state behind the clock; zero on a primary."""
        return timedelta(0) if self.replayed is None else max(timedelta(0), self.at - self.replayed)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSet:
    """Stored set of a report, as far as the next refresh depends on it.

    Attributes:
        stored: False if no set is stored.
        cost: database time that 95 % of its refreshes do not exceed.
        debt: database time used by refreshes and not yet paid off by time without one, as of ``as_of``.
        xid: transaction id of the refresh, if it wrote.
        again: end of the pause after a failure; ``failed`` is the instant of the failure.
        computed: instant of its computation, by the database's clock; None: ``as_of``, which is earlier on a
            standby.
        catalogue: digest of the catalogue's rows about its board; None: nothing proves it.
        offset: the database's clock minus Redis's when the instants were taken; None: not measured.
        ids: type of its nodes' ids.
        distrusted: instant at which the query for some nodes disagreed with the whole; None: it did not.
        distrusted_query: digest of that query.
    """

    stored: bool = True
    generation: int = 0
    as_of: datetime
    verified: datetime
    valid_until: datetime | None = None
    cost: timedelta = timedelta(0)
    debt: timedelta = timedelta(0)
    visible: str = ""
    xid: int | None = None
    again: datetime | None = None
    failed: datetime | None = None
    computed: datetime | None = None
    catalogue: str | None = None
    offset: timedelta | None = None
    ids: IdKind = IdKind.INTEGER
    distrusted: datetime | None = None
    distrusted_query: str = ""

    @property
    def at(self) -> datetime:
        """Instant at which it was computed, by the database's clock."""
        return self.computed or self.as_of


@dataclass(frozen=True, slots=True)
class Decision:
    """Instant and reason of a board's next refresh, and its reports that are proved true as of the probe."""

    due: datetime
    why: str
    proved: tuple[str, ...]


def refresh_interval(board: Board, known: Mapping[str, KnownSet]) -> timedelta:
    """Return the interval at which refreshes under continuous change stay within the board's budget."""
    cost = sum((one.cost for one in known.values()), timedelta(0))
    return max(board.debounce, cost / board.max_db_share)


def debt_after(debt: timedelta, *, rested: timedelta, share: float, cost: timedelta) -> timedelta:
    """Return the debt after one more refresh: time without a refresh pays off the share of its length.

    >>> second = timedelta(seconds=1)
    >>> debt_after(second, rested=50 * second, share=0.01, cost=second) / second
    1.5
    """
    return max(timedelta(0), debt - rested * share) + cost


def _earliest(board: Board, known: Mapping[str, KnownSet], seen: Probe, stretch: float) -> datetime:
    """Return the instant from which the budget allows the next refresh."""
    stored = [one for one in known.values() if one.stored]
    if not stored:
        return seen.at
    share = board.max_db_share / max(1.0, stretch)
    use = sum((one.debt + one.cost for one in stored), timedelta(0))
    latest = min(seen.at, max(one.at for one in stored))  # an instant in the future: the clock was set back
    return latest + max(timedelta(0), use - AHEAD * share) / share


def stretch_of(boards: Mapping[str, Board], known: Mapping[str, Mapping[str, KnownSet]], *, share: float) -> float:
    """Return the factor by which all intervals grow so that the tenant's boards together stay within its share."""
    use = 0.0
    for name, board in boards.items():
        cost = sum((one.cost for one in known[name].values()), timedelta(0))
        use += cost / refresh_interval(board, known[name]) if cost else 0.0
    return max(1.0, use / share)


def decide_all(
    boards: Mapping[str, Board],
    known: Mapping[str, KnownSet],
    seen: Probe,
    *,
    tenant: str,
    watched: Collection[str],
    wanted: Collection[str],
    share: float = SHARE,
) -> dict[str, Decision]:
    """Decide on the next refresh of each board of a tenant.

    Args:
        known: stored sets of all reports of these boards by name.
        watched: names of the boards whose every change leaves a mark.
        wanted: reports that readers found too old.
        share: share of one database processor that all of them together may use.
    """
    of_board = {
        name: {report.name: known[report.name] for report in board.reports} for name, board in boards.items()
    }
    stretch = stretch_of(boards, of_board, share=share)
    ours = frozenset(one.xid for one in known.values() if one.xid is not None)
    return {
        name: decide_refresh(
            board,
            of_board[name],
            seen,
            board_key(tenant, name),
            watched=name in watched,
            wanted=any(report.name in wanted for report in board.reports),
            stretch=stretch,
            ours=ours,
        )
        for name, board in boards.items()
    }


def decide_refresh(
    board: Board,
    known: Mapping[str, KnownSet],
    seen: Probe,
    key: str,
    *,
    watched: bool,
    wanted: bool,
    stretch: float = 1.0,
    ours: frozenset[int] = frozenset(),
) -> Decision:
    """Decide on the next refresh of a board.

    Args:
        known: stored sets of its reports by name.
        key: key of the board in the marks.
        watched: True if each change of the board leaves a mark.
        wanted: True if a reader found one of its reports too old.
        ours: transactions of other boards' latest refreshes, which change nothing that a report shows.
    """
    digest = (seen.catalogue or {}).get(board.name)
    proved = tuple(name for name, one in known.items() if _is_proved(one, seen, key, digest, watched=watched))
    earliest = _earliest(board, known, seen, stretch)
    reasons = list(_reasons(board, known, seen, key, watched=watched, earliest=earliest, ours=ours))
    if wanted and len(proved) < len(known) and any(_has_new(one, seen) for one in known.values()):
        reasons.append((max(earliest, seen.at), "wanted"))
    due, why = min(reasons, default=(datetime.max.replace(tzinfo=seen.at.tzinfo), "never"))
    return Decision(due, why, proved)


def _has_new(one: KnownSet, seen: Probe) -> bool:
    """Return True if a refresh may show new numbers; a standby that has replayed nothing since has none."""
    return seen.replayed is None or seen.replayed > one.verified


def _is_proved(one: KnownSet, seen: Probe, key: str, digest: str | None, *, watched: bool) -> bool:
    """Return True if a refresh would store the same set now."""
    if not one.stored or (one.valid_until is not None and one.valid_until <= seen.at):
        return False
    if digest is None or one.catalogue != digest or _is_of_another_clock(one, seen):
        return False
    if not watched:
        return one.visible == seen.visible
    taken = seen.taken.get(key)
    return key not in seen.marks and taken is not None and one.as_of >= taken


def _reasons(
    board: Board,
    known: Mapping[str, KnownSet],
    seen: Probe,
    key: str,
    *,
    watched: bool,
    earliest: datetime,
    ours: frozenset[int],
) -> Iterator[tuple[datetime, str]]:
    working = [one for one in known.values() if one.again is None]
    rests = (rest_ends(one.again, one.failed, seen.at) for one in known.values())
    yield from ((end, "failed") for end in rests if end is not None)
    yield from ((seen.at, "cold") for one in working if not one.stored)
    stored = [one for one in working if one.stored]
    until = [one.valid_until + seen.behind for one in stored if one.valid_until is not None]
    yield from ((max(earliest, one), "time") for one in until)
    yield from ((max(earliest, max(one.verified, one.at) + board.every), "clock") for one in stored)
    if any(_is_of_another_clock(one, seen) for one in stored):
        yield max(earliest, seen.at), "clocks"
    if seen.replayed is not None:
        if any(_has_new(one, seen) for one in stored):
            yield max(earliest, seen.at), "replayed"
        return
    if seen.catalogue is not None and any(one.catalogue != seen.catalogue.get(board.name) for one in stored):
        yield max(earliest, seen.at), "catalogue"
    if watched:
        yield from _by_marks(board, stored, seen, key, earliest=earliest, ours=ours)
    elif any(one.visible != seen.visible for one in stored):
        yield max(earliest, seen.at), "changed"


def _by_marks(
    board: Board, stored: list[KnownSet], seen: Probe, key: str, *, earliest: datetime, ours: frozenset[int]
) -> Iterator[tuple[datetime, str]]:
    marks = seen.marks.get(key)
    if marks:
        due = min(marks.last + board.debounce, marks.first + board.max_wait)
        yield max(earliest, min(due, seen.at) if marks.first > seen.at + _SET else due), "changed"
    taken = seen.taken.get(key)
    for one in stored:
        if taken is None or one.as_of < taken:
            yield seen.at, "taken_up"
        elif not marks and not only_ended(one.visible, seen.visible, one.xid, *ours):
            # With marks, a refresh for this reason would precede the end of their debounce.
            yield max(earliest, one.at + MAX_UNVERIFIED), "unverified"


def _is_of_another_clock(one: KnownSet, seen: Probe) -> bool:
    """Return True if a clock has been set since: the set's instants cannot be compared with the probe's."""
    if one.offset is None or seen.offset is None:
        return one.at > seen.at + _SET
    return abs(one.offset - seen.offset) > _SET


def rest_ends(again: datetime | None, failed: datetime | None, now: datetime) -> datetime | None:
    """Return the end of the pause after a failure; now, if a clock was set back since the failure.

    >>> noon, hour = datetime(2026, 11, 28, 12), timedelta(hours=1)
    >>> [rest_ends(noon + hour, noon, now).hour for now in (noon, noon - hour)]
    [13, 11]
    """
    if again is None or failed is None or failed <= now + _SET:
        return again
    return now


def snapshot_includes(later: str, earlier: str) -> bool:
    """Return True if one ``pg_current_snapshot()`` sees everything that another of the same server sees.

    >>> snapshot_includes("10:12:11", "10:11:10"), snapshot_includes("10:11:10", "10:12:11")
    (True, False)
    """
    try:
        (after, running), (before, former) = _parsed(later), _parsed(earlier)
    except ValueError:
        return False
    return after >= before and {xid for xid in running if xid < before} <= former


def only_ended(earlier: str, later: str, *xids: int | None) -> bool:
    """Return True if no other transaction ended between two ``pg_current_snapshot()`` of one server.

    >>> only_ended("10:10:", "10:11:", 10), only_ended("10:10:", "10:12:", 10)
    (True, False)
    """
    before, after = _parsed(earlier), _parsed(later)
    if after[0] < before[0] or after[0] - before[0] > len(xids) + len(after[1]):
        return False  # another server, or more transactions than these
    newly = (before[1] | set(range(before[0], after[0]))) - after[1]
    return newly <= {*xids}


def _parsed(snapshot: str) -> tuple[int, set[int]]:
    """Return xmax, and the running transactions below it."""
    _, ends, running = snapshot.split(":")
    return int(ends), {int(xid) for xid in running.split(",") if xid}
