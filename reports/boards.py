"""Boards: reports that are computed together, so that all their numbers are of one database state."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from reports.definition import Report


@dataclass(frozen=True, slots=True)
class Board:
    """The reports that are refreshed in one transaction.

    Example:
        >>> [board.name for board in boards_of({}).values()]
        []
    """

    name: str
    reports: tuple[Report, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The tables whose changes concern it; empty as soon as one of its reports does not name its own."""
        if not all(report.sources for report in self.reports):
            return ()
        return tuple(sorted({table for report in self.reports for table in report.sources}))

    @property
    def debounce(self) -> timedelta:
        """How long changes are collected: the most impatient report decides."""
        return min(report.debounce for report in self.reports)

    @property
    def max_wait(self) -> timedelta:
        """How long changes that keep coming may put a refresh off."""
        return max(self.debounce, min(report.max_wait for report in self.reports))

    @property
    def max_db_share(self) -> float:
        """The part of one processor of the database that its refreshes may use: its reports' parts together."""
        return sum(report.max_db_share for report in self.reports)

    @property
    def soft(self) -> timedelta:
        """The age at which the first of its reports is stale."""
        return min(report.soft for report in self.reports)

    @property
    def every(self) -> timedelta:
        """The pace at which it is refreshed where nothing proves it unchanged."""
        return min(report.every for report in self.reports)


def boards_of(reports: Mapping[str, Report]) -> Mapping[str, Board]:
    """Every board by name."""
    members: dict[str, list[Report]] = {}
    for report in reports.values():
        members.setdefault(report.board or report.name, []).append(report)
    return {name: Board(name, tuple(of_board)) for name, of_board in members.items()}
