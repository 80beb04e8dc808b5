"""Tables of a source that leave no mark when they change, decided from the facts of ``sql/sources.sql``.

A fault is written "kind name"; ``reports/catalogue_postgres.py`` has the words for operators. The same rules find
tables whose marks name no nodes, although the triggers of a new install would name them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from reports.triggers import MARK_DIRTY, WatchedSource, mark_nodes

_INSERT, _DELETE, _UPDATE, _TRUNCATE = 4, 8, 16, 32
"""Bits of ``pg_trigger.tgtype``."""
_ROWS = _INSERT | _DELETE | _UPDATE
_EVERY = _ROWS | _TRUNCATE


@dataclass(frozen=True, slots=True)
class SourceState:
    """State of one source for one board.

    Attributes:
        source: the source.
        board: the board's key.
        faults: "kind name" of each table that leaves no mark, or a wrong one; empty: each change leaves one.
        whole: tables whose marks name no nodes, although those of a new install would.
        digest: changes with the catalogue rows of the source's tables, and with its faults.
    """

    source: str
    board: str
    faults: tuple[str, ...]
    whole: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class _Mark:
    """Mark of one board by one trigger: the events after which it is left, and the column that it notes."""

    events: int
    board: str
    source: str | None
    column: str


def judge_sources(wanted: Iterable[WatchedSource], rows: Sequence[Mapping[str, Any]]) -> list[SourceState]:
    """Return the state of each source for each of its boards, in order."""
    columns: dict[tuple[str, str], list[str]] = {}
    for one in wanted:
        columns.setdefault((one.source, one.board), []).append(one.column)
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        tables.setdefault(row["source"], []).append(row)
    return [_state(*pair, tables[pair[0]], names) for pair, names in sorted(columns.items())]


def _state(source: str, board: str, tables: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> SourceState:
    tables = sorted(tables, key=lambda row: row["oid"] or 0)
    faults = [_fault(row, board, columns) for row in tables]
    whole = [
        row["name"]
        for row, fault in zip(tables, faults, strict=True)
        if not fault and _names_too_few(row, board, columns)
    ]
    written = ",".join(
        " ".join([row["written"], *([fault] if fault else [])]) for row, fault in zip(tables, faults, strict=True)
    )
    digest = md5(written.encode(), usedforsecurity=False).hexdigest()
    return SourceState(source, board, tuple(sorted(filter(None, faults))), tuple(sorted(whole)), digest)


def _fault(row: Mapping[str, Any], board: str, columns: Sequence[str]) -> str:
    if row["oid"] is None:
        return f"absent {row['source']}"
    if row["kind"] is not None:
        return f"{row['kind']} {row['name']}"
    if not row["functions"]:
        return f"unmarked {row['name']}"
    if row["apart"] and any(function != MARK_DIRTY for function in row["functions"]):
        return f"collecting {row['name']}"
    return "" if _covers(row, board, columns) else f"former {row['name']}"


def _covers(row: Mapping[str, Any], board: str, columns: Sequence[str]) -> bool:
    """Return True if each event leaves a mark for each column, and none names nodes of another column.

    A table without the column is covered: its marks name no nodes. So is a column without reports.
    """
    marks = list(_marks(row, board))
    right = {column for column in columns if column in row["notable"] or column not in row["columns"]} | {""}
    if "" not in columns and any(mark.column not in right for mark in marks):
        return False
    return all(
        _events(mark for mark in marks if not column or mark.column in {"", column}) == _EVERY
        for column in columns
    )


def _names_too_few(row: Mapping[str, Any], board: str, columns: Sequence[str]) -> bool:
    """Return True if marks could name nodes of a column, and do not."""
    if row["apart"]:
        return False
    marks, handed = list(_marks(row, board)), _handed(row)
    return any(
        _events(mark for mark in marks if mark.column == column) & handed != handed
        for column in columns
        if column in row["notable"]
    )


def _handed(row: Mapping[str, Any]) -> int:
    """Return the events for which a trigger of the table gets all rows."""
    return _ROWS & ~_UPDATE if row["partitioned"] else _ROWS


def _events(marks: Iterable[_Mark]) -> int:
    events = 0
    for mark in marks:
        events |= mark.events
    return events


def _marks(row: Mapping[str, Any], board: str) -> Iterator[_Mark]:
    """Yield the marks that the table's triggers leave for the source and the board."""
    for mark in _all_marks(row):
        if mark.board == board and mark.source in {None, row["source"]}:
            yield mark


def _all_marks(row: Mapping[str, Any]) -> Iterator[_Mark]:
    for function, written, events in zip(row["functions"], row["arguments"], row["events"], strict=True):
        arguments = written.decode(errors="replace").split("\0")[:-1]
        if function == MARK_DIRTY:
            yield from (_Mark(events, board, None, "") for board in arguments)
            continue
        for board, source, column in zip(arguments[::3], arguments[1::3], arguments[2::3], strict=True):
            if not column or function == mark_nodes(column):
                yield _Mark(events & _handed(row), board, source, column)
