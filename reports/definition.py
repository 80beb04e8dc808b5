"""A report: one SQL file whose head says what its columns mean and how fresh it must be.

The head is TOML in SQL comments between two ``-- +++`` lines (`front_matter`). The query returns one row per node
with that node's **direct** rows only; the worker rolls the measures up over the tree (`rollups`).

Parameters of the query: ``:now`` (the instant the report is true for), ``:day_start`` and ``:day_end``
(the calendar day around it in the report's zone, 23 to 25 hours long), ``:zone`` (that zone's name).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reports.front_matter import HeadPlace, HeadTable, ReportError as ReportError, split
from reports.rollups import read_rollups

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_PARAMETER = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'[^']*'|"[^"]*"|(?<![:\w]):([a-z_]+)\b""",
    re.DOTALL,
)
"""A parameter; before it, so that they are stepped over, comments, texts and quoted names."""
_KEYS = {
    *("name", "title", "board", "scope", "tree", "every", "sources", "timezone", "window"),
    *("freshness", "budget", "history", "rollup", "numbers", "valid_until"),
}
_FRESHNESS = {"soft", "hard", "debounce", "max_wait"}
_BUDGET = {"max_db_share"}
_HISTORY = {"close", "keep"}
_COLUMN = re.compile(r"column ([a-z_][a-z0-9_]{0,62})\Z")
_EARLIEST = "SELECT min({}) FROM (\n{}\n) AS rows"
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}\Z")
PARAMETERS = ("now", "day_start", "day_end", "zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A declared report.

    Attributes:
        name: the wire name, in URLs and keys.
        sql: the query with ``$1``, ``$2``, … in place of its parameters.
        parameters: their names, in that order.
        scope: the column that holds the node's id.
        tree: the query of the tree that the measures are rolled up over: id, parent_id, name, kind.
        rollup: measure to roll-up, in the order in which documents show them.
        every: how often the clock asks for a refresh.
        soft, hard: younger than soft is fresh; older than hard is not served.
        debounce: how long changes are collected before a refresh.
        next_midnight: whether the numbers change by themselves at the organisation's midnight.
        board: reports of one board are of one database state; empty: alone on a board of its own name.
        sources: the tables, ``schema.table``, whose changes change its numbers; empty: not known.
        max_wait: how long changes that keep coming may put a refresh off; never less than debounce.
        max_db_share: the part of one processor of the database that its refreshes may use; 0.01 is 1 %.
        valid_until: an expression or query for the next instant (timestamptz, or null) at which time itself
            changes the numbers; empty: there is none but perhaps midnight. As ``sql``, with
            ``valid_until_parameters``.
        valid_until_column: the column of ``sql`` whose earliest value that is, so that who has the rows need not
            ask; empty: it is none.
        timezone: of its days, an IANA name; empty: the organisation's.
        keep: how long each day's close is kept; zero: days are not closed.
        window: how far back late rows may change a closed day.
        as_text: measures whose numbers are texts of digits; with the scope's column: the ids of nodes as well.
        tree_name: the file of the tree, without its folder and ending.
        schema: the pinned JSON Schema of its documents' ``data``; empty: none is pinned.
        place: where all this is written.
    """

    name: str
    title: str
    sql: str
    parameters: tuple[str, ...]
    scope: str
    tree: str
    rollup: Mapping[str, str]
    every: timedelta
    soft: timedelta
    hard: timedelta
    debounce: timedelta
    next_midnight: bool
    board: str = ""
    sources: tuple[str, ...] = ()
    max_wait: timedelta = timedelta(0)
    max_db_share: float = 0.01
    valid_until: str = ""
    valid_until_parameters: tuple[str, ...] = ()
    valid_until_column: str = ""
    timezone: str = ""
    keep: timedelta = timedelta(0)
    window: timedelta = timedelta(0)
    as_text: frozenset[str] = frozenset()
    tree_name: str = field(default="", compare=False)
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False)
    place: HeadPlace = field(default=HeadPlace(), compare=False)


def parse_report(
    source: str, *, file: str, trees: Mapping[str, str], schema: Mapping[str, Any] | None = None
) -> Report:
    """The report in a file's text.

    Args:
        file: its name, for errors.
        trees: the queries of the trees by name.
        schema: the pinned JSON Schema of its documents' ``data``.

    Raises:
        ReportError: with the file, the line and the key at fault, and what is allowed.
    """
    head, query = split(source, file)
    head.only(_KEYS)
    freshness = head.table("freshness", _FRESHNESS)
    budget, history = _section(head, "budget", _BUDGET), _section(head, "history", _HISTORY)
    sql, parameters = bind(query, head.place)
    column = _column(head)
    valid_until = (_EARLIEST.format(column, sql), parameters) if column else _expression(head)
    debounce = freshness.duration("debounce")
    name = _name(head, "name")
    rollup = read_rollups(head.table("rollup"))
    report = Report(
        name=name,
        title=head.text("title", name),
        sql=sql,
        parameters=parameters,
        scope=head.text("scope"),
        tree=_tree(head, trees),
        rollup=rollup,
        every=head.duration("every"),
        soft=freshness.duration("soft"),
        hard=freshness.duration("hard"),
        debounce=debounce,
        next_midnight=head.values.get("valid_until") == "next_midnight",
        board=_name(head, "board", name),
        sources=_sources(head),
        max_wait=freshness.duration("max_wait", debounce),
        max_db_share=budget.share("max_db_share", "1%"),
        valid_until=valid_until[0],
        valid_until_parameters=valid_until[1],
        valid_until_column=column,
        timezone=_zone(head),
        keep=_keep(history),
        window=head.duration("window", timedelta(0)),
        as_text=_as_text(head, {*rollup, head.text("scope")}),
        tree_name=str(head.values["tree"]),
        schema=schema or {},
        place=head.place,
    )
    _check_bounds(report)
    return report


def _section(head: HeadTable, key: str, known: set[str]) -> HeadTable:
    """A table that may be left out."""
    return head.table(key, known) if key in head.values else HeadTable(head.place, {}, key)


def _as_text(head: HeadTable, known: set[str]) -> frozenset[str]:
    """The measures whose numbers are texts; with the scope's column, the ids of nodes."""
    numbers = _section(head, "numbers", known)
    for measure, form in numbers.values.items():
        if form not in {"number", "text"}:
            raise numbers.refuse(measure, f"{form!r} must be 'number' or 'text'")
    return frozenset(measure for measure, form in numbers.values.items() if form == "text")


def _sources(head: HeadTable) -> tuple[str, ...]:
    value = head.values.get("sources", [])
    if not isinstance(value, list):
        raise head.refuse("sources", 'must be a list of tables, ["schema.table", ...]')
    for table in value:
        if not isinstance(table, str) or not _TABLE.match(table):
            raise head.refuse("sources", f"{table!r} must be a table with its schema, like sales.orders")
    return tuple(dict.fromkeys(value))


def _zone(head: HeadTable) -> str:
    value = head.text("timezone", "")
    try:
        return ZoneInfo(value).key if value else ""
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise head.refuse("timezone", f"{value!r} is no IANA time zone, like Europe/Madrid") from None


def _keep(history: HeadTable) -> timedelta:
    if not history.values:
        return timedelta(0)
    if history.values.get("close") != "daily":
        raise history.refuse("close", "must be 'daily'")
    return history.duration("keep")


def _name(head: HeadTable, key: str, default: str | None = None) -> str:
    name = head.text(key, default)
    if not _NAME.match(name):
        raise head.refuse(key, f"{name!r} must be lower-case letters, digits and _, at most 64")
    return name


def _tree(head: HeadTable, trees: Mapping[str, str]) -> str:
    name = str(head.values.get("tree") or head.text("tree"))
    if name not in trees:
        known = ", ".join(sorted(trees)) or "none"
        raise head.refuse("tree", f"there is no trees/{name}.sql beside the report; there are: {known}")
    return trees[name]


def _column(head: HeadTable) -> str:
    """The column of the report's own query that says when time changes its rows; empty: none does."""
    found = _COLUMN.match(str(head.values.get("valid_until", "")).strip())
    return found[1] if found else ""


def _expression(head: HeadTable) -> tuple[str, tuple[str, ...]]:
    """The query for the next instant at which time itself changes the numbers; empty when a word says it."""
    value = str(head.values.get("valid_until", "change")).strip().rstrip(";")
    if value in {"change", "next_midnight"}:
        return "", ()
    if " " not in value and "(" not in value:
        allowed = "'next_midnight', 'change', 'column NAME' or SQL for one timestamptz"
        raise head.refuse("valid_until", f"{value!r} must be {allowed}")
    query = value if value.lower().startswith(("select", "with")) else f"SELECT {value}"
    return bind(query, HeadPlace(head.place.file, query=head.place.lines.get("valid_until", 1)))


def bind(query: str, place: HeadPlace, known: tuple[str, ...] = PARAMETERS) -> tuple[str, tuple[str, ...]]:
    """Named parameters become numbered ones; casts, comments and texts stay as they are. Raises ReportError."""
    if not query:
        raise ReportError(f"{place.file}:{place.query}", "holds no query below its front matter")
    found = [match for match in _PARAMETER.finditer(query) if match[1]]
    for match in found:
        if match[1] not in known:
            line = place.query + query[: match.start()].count("\n")
            told = ", :".join(known)
            raise ReportError(f"{place.file}:{line}: :{match[1]}", f"is no parameter; there are :{told}")
    names = tuple(dict.fromkeys(match[1] for match in found))
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}" if match[1] else match[0], query), names


def _check_bounds(report: Report) -> None:
    refuse = report.place.refuse
    if not timedelta(0) < report.soft < report.hard:
        raise refuse("freshness.soft", "must be over 0 and below freshness.hard")
    if not timedelta(0) < report.every <= report.hard:
        raise refuse("every", "must be over 0 and at most freshness.hard, or readers find it old")
    if report.debounce > report.soft:
        raise refuse("freshness.debounce", "must not be over freshness.soft")
    if report.max_wait < report.debounce:
        raise refuse("freshness.max_wait", "must not be below freshness.debounce")
