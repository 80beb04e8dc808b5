"""Boards: reports that are computed together, so that all their numbers come from one database state."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from reports.calls import names_of_calls
from reports.definition import Report


@dataclass(frozen=True, slots=True)
class Board:
    """Reports that are refreshed in one transaction.

    Example:
        >>> [board.name for board in boards_of({}).values()]
        []
    """

    name: str
    reports: tuple[Report, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Tables whose changes change a report of the board; empty if one of its reports declares no sources."""
        if not all(report.sources for report in self.reports):
            return ()
        return tuple(sorted({table for report in self.reports for table in report.sources}))

    @property
    def node_columns(self) -> Mapping[str, tuple[str, ...]]:
        """Columns with the nodes for which rows count, by source, as its reports declare them."""
        found: dict[str, set[str]] = {}
        for report in self.reports:
            for source, column in report.node_columns.items():
                found.setdefault(source, set()).add(column)
        return {source: tuple(sorted(columns)) for source, columns in sorted(found.items())}

    @property
    def is_kept(self) -> bool:
        """True if a worker that refreshed it need not compute the whole the next time."""
        return any(report.sql_of_nodes for report in self.reports)

    @property
    def named_with_reports(self) -> str:
        """Name with those of its reports: workers may have different reports of one board."""
        return "+".join([self.name, *sorted(report.name for report in self.reports)])

    @property
    def calls(self) -> tuple[str, ...]:
        """Names of the functions that its queries may call, in lower case."""
        queries = {sql for report in self.reports for sql in (report.sql, report.tree, report.valid_until)}
        return tuple(sorted({name for sql in queries for name in names_of_calls(sql)}))

    @property
    def debounce(self) -> timedelta:
        """Time for which changes are collected: the shortest debounce of its reports."""
        return min(report.debounce for report in self.reports)

    @property
    def max_wait(self) -> timedelta:
        """Longest time for which continuing changes may delay a refresh."""
        return max(self.debounce, min(report.max_wait for report in self.reports))

    @property
    def max_db_share(self) -> float:
        """Share of one database processor that the board's refreshes may use: the sum over its reports."""
        return sum(report.max_db_share for report in self.reports)

    @property
    def soft(self) -> timedelta:
        """Age at which the first of its reports becomes stale."""
        return min(report.soft for report in self.reports)

    @property
    def every(self) -> timedelta:
        """Interval between refreshes while nothing proves the board unchanged."""
        return min(report.every for report in self.reports)


def boards_of(reports: Mapping[str, Report]) -> Mapping[str, Board]:
    """Return the boards of these reports by name."""
    members: dict[str, list[Report]] = {}
    for report in reports.values():
        members.setdefault(report.board or report.name, []).append(report)
    return {name: Board(name, tuple(of_board)) for name, of_board in members.items()}
