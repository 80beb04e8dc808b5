"""Checks of what reports read: marks that no refresh takes up, and tables without a row.

Marks wait for a moment: until the debounce has passed and the load budget allows a refresh. Those older than the
soft limit of their board pile up: no worker refreshes it, or its refreshes fail. A table without a row is only
suspicious: reports over it show zeros, which may be true.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from ops.durations import duration_text
from reports.boards import Board
from reports.connection_postgres import Connection, connect
from reports.source_postgres import DATABASE_FAULTS
from reports.triggers import board_key, quote_identifier

_SECONDS = 5
_ABSENT = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.InsufficientPrivilegeError)
_SHORTEST = timedelta(minutes=1)
_MARKS = """
SELECT board, count(*) AS marks, extract(epoch FROM now() - min(at))::float8 AS age
FROM (SELECT board, at FROM momentus.dirty LIMIT 1000000) AS waiting
GROUP BY board
"""


@dataclass(frozen=True, slots=True)
class WaitingMarks:
    """A board's waiting marks, at most a million, and the age of the oldest."""

    count: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Waiting marks by the board's key, and sources without a row."""

    marks: Mapping[str, WaitingMarks]
    empty: tuple[str, ...]


async def gather_sources(dsn: str, boards: Iterable[Board]) -> SourceFacts | None:
    """Read the facts of the boards' sources; None if the database does not answer in time."""
    sources = sorted({source for board in boards for report in board.reports for source in report.sources})
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await connect(dsn, application="momentus-ops")
            try:
                empty = [source for source in sources if await _is_empty(connection, source)]
                return SourceFacts(await _read_marks(connection), tuple(empty))
            finally:
                await connection.close()
    except (*DATABASE_FAULTS, ValueError):
        return None


def judge_sources(facts: SourceFacts, *, tenant: str, boards: Mapping[str, Board]) -> Iterator[DoctorFinding]:
    """Judge the marks of a tenant's boards, and the sources of its reports."""
    keys = {board_key(tenant, board.name): board for board in boards.values()}
    found = list(_judge_marks(facts.marks, keys, prefix=board_key(tenant, "")))
    yield from found
    if facts.marks and not found:
        yield fine("marks.taken_up", "postgres", marks=sum(one.count for one in facts.marks.values()))
    for source in facts.empty:
        reports = [one.name for board in boards.values() for one in board.reports if source in one.sources]
        yield warning("source.empty", f"table {source}", reports=", ".join(sorted(reports)))


def _judge_marks(
    marks: Mapping[str, WaitingMarks], boards: Mapping[str, Board], *, prefix: str
) -> Iterator[DoctorFinding]:
    for key, one in sorted(marks.items()):
        board = boards.get(key)
        values = {"marks": one.count, "age": duration_text(one.age.total_seconds())}
        if board is None and key.startswith(prefix) and one.age > _SHORTEST:
            yield warning("marks.unclaimed", f"board {key.removeprefix(prefix)}", **values)
        elif board is not None and one.age > max(board.soft, _SHORTEST):
            yield wrong("marks.pile_up", f"board {board.name}", **values)


async def _is_empty(connection: Connection, source: str) -> bool:
    """Return True if a table exists, may be read, and has no row."""
    name = ".".join(quote_identifier(part) for part in source.split(".", 1))
    try:
        return not await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})")  # noqa: S608  quoted above
    except _ABSENT:  # the report's own finding says so
        return False


async def _read_marks(connection: Connection) -> dict[str, WaitingMarks]:
    try:
        rows = await connection.fetch(_MARKS)
    except _ABSENT:
        return {}
    return {row["board"]: WaitingMarks(row["marks"], timedelta(seconds=row["age"])) for row in rows}
