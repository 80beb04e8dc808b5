"""Report definition: one SQL file whose head says what its columns mean and how fresh it must be.

The head is TOML in SQL comments between two ``-- +++`` lines (`front_matter`). The query returns one row per node
with that node's **direct** rows only; the worker rolls the measures up over the tree (`rollups`).

Parameters of the query: ``:now`` (the instant the report is true for), ``:day_start`` and ``:day_end``
(the calendar day around it in the report's zone, 23 to 25 hours long), ``:zone`` (that zone's name), and
``:nodes`` (the ids of the requested nodes, `node_queries`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from reports.front_matter import HeadPlace, HeadTable, ReportError as ReportError, split_head
from reports.node_queries import NODES, find_nodes, names_nodes, read_node_columns, without_nodes
from reports.rollups import columns_of, read_rollups
from reports.titles import read_titles
from reports.tree_rules import ONE_ROOT, TreeFile, TreeRules, read_tree
from reports.zones import is_zone, read_zones, with_zones

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_PARAMETER = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'[^']*'|"[^"]*"|(?<![:\w]):([a-z_]+)\b""",
    re.DOTALL,
)
"""Pattern of a parameter; comments, strings and quoted names come first, so that they are skipped."""
_KEYS = {
    *("name", "title", "board", "scope", "tree", "every", "sources", "timezone", "window"),
    *("freshness", "budget", "history", "rollup", "numbers", "titles", "valid_until", "zones", "nodes"),
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
        parameters: names of these parameters, in that order.
        scope: column that holds the node's id.
        tree: query of the tree over which the measures are rolled up: id, parent_id, name, kind.
        rollup: roll-up of each measure, in the order in which documents show them.
        every: interval between refreshes while nothing proves the report unchanged.
        soft, hard: ages past which a document is stale, and past which it is refused.
        debounce: time for which changes are collected before a refresh.
        next_midnight: True if time changes the numbers at the organisation's midnight.
        board: name of the board, whose reports share one database state; empty: a board of its own.
        sources: tables, ``schema.table``, whose changes change its numbers; empty: not known.
        max_wait: longest time for which continuing changes may delay a refresh; at least debounce.
        max_db_share: share of one database processor that its refreshes may use; 0.01 is 1 %.
        valid_until: query for the next instant (timestamptz, or null) at which time itself changes the numbers;
            empty: none, except perhaps midnight. Written as ``sql`` is, with ``valid_until_parameters``.
        valid_until_column: column of ``sql`` whose earliest value is that instant, which saves the query; empty:
            none.
        timezone: IANA name of the zone of its days; empty: the organisation's.
        keep: time for which a closed day is kept; zero: days are not closed.
        window: time for which late rows may still change a closed day.
        zones: zones of columns whose timestamps have none, by column; ``sql`` converts them already.
        sql_of_nodes: the query for some nodes only, with ``sql_of_nodes_parameters``, of which one is
            ``nodes``; empty: the report is always computed whole.
        node_columns: column with the node for which a row counts, by source; a change of any other source may
            change every node.
        as_text: measures whose numbers are written as strings; with the scope's column, node ids as well.
        tree_rules: rules of the tree, and where they are declared.
        schema: pinned JSON Schema of its documents' ``data``; empty: none is pinned.
        place: file and lines of the definition, for errors.
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
    zones: Mapping[str, str] = field(default_factory=dict)
    sql_of_nodes: str = ""
    sql_of_nodes_parameters: tuple[str, ...] = ()
    node_columns: Mapping[str, str] = field(default_factory=dict)
    as_text: frozenset[str] = frozenset()
    tree_rules: TreeRules = ONE_ROOT
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False)
    titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)
    place: HeadPlace = field(default=HeadPlace(), compare=False)


def parse_report(
    source: str, *, file: str, trees: Mapping[str, str], schema: Mapping[str, Any] | None = None
) -> Report:
    """Parse a report from the text of its file.

    Args:
        file: name of the file, for errors.
        trees: queries of the trees by name.
        schema: pinned JSON Schema of its documents' ``data``.

    Raises:
        ReportError: names the file, the line and the key at fault, and what is allowed.
    """
    head, query = split_head(source, file)
    head.only(_KEYS)
    freshness = head.table("freshness", _FRESHNESS)
    budget, history = _section(head, "budget", _BUDGET), _section(head, "history", _HISTORY)
    name, column = _name(head, "name"), _column(head)
    rollup, tree = read_rollups(head.table("rollup")), _tree(head, trees)
    report = Report(
        name=name,
        title=head.text("title", name),
        sql="",
        parameters=(),
        scope=head.text("scope"),
        tree=tree.sql,
        tree_rules=tree.rules,
        rollup=rollup,
        every=head.duration("every"),
        soft=freshness.duration("soft"),
        hard=freshness.duration("hard"),
        debounce=freshness.duration("debounce"),
        next_midnight=head.values.get("valid_until") == "next_midnight",
        board=_name(head, "board", name),
        sources=_sources(head),
        max_wait=freshness.duration("max_wait", freshness.duration("debounce")),
        max_db_share=budget.share("max_db_share", "1%"),
        valid_until_column=column,
        timezone=_zone(head),
        keep=_keep(history),
        window=head.duration("window", timedelta(0)),
        zones=read_zones(_section(head, "zones", {*columns_of(rollup), *([column] if column else [])})),
        as_text=_as_text(head, {*rollup, head.text("scope")}),
        schema=schema or {},
        titles=read_titles(_section(head, "titles"), rollup),
        place=head.place,
    )
    return _with_bounds_checked(_with_queries(report, head, query))


def _with_queries(report: Report, head: HeadTable, query: str) -> Report:
    """Return the report with its query for all nodes, the one for some, and the one for its validity."""
    node_columns = read_node_columns(_section(head, "nodes"), report.sources, report.tree)
    whole, of_nodes = _texts(head, query, node_columns)
    sql, parameters = _statement(report, whole)
    column = report.valid_until_column
    until, until_parameters = (_EARLIEST.format(column, sql), parameters) if column else _expression(head)
    report = replace(
        report, sql=sql, parameters=parameters, valid_until=until, valid_until_parameters=until_parameters
    )
    if not of_nodes or "sql" in report.rollup.values():  # that roll-up needs the rows of whole subtrees
        return report
    sql_of_nodes, names = _statement(report, of_nodes)
    return replace(report, node_columns=node_columns, sql_of_nodes=sql_of_nodes, sql_of_nodes_parameters=names)


def _texts(head: HeadTable, query: str, node_columns: Mapping[str, str]) -> tuple[str, str]:
    """Return the query for all nodes, and the one for some; the latter is empty if the file declares none.

    ``[nodes]`` and ``:nodes`` need each other: either alone would have no effect, and its author would not know.
    """
    if not node_columns:
        if fault := find_nodes(query, head.place):
            raise fault
        return query, ""
    if not names_nodes(query, head.place):
        raise head.error_at(
            "nodes", "has no effect without :nodes; write WHERE node_id = ANY(:nodes) where the query selects rows"
        )
    return without_nodes(query), query


def _statement(report: Report, query: str) -> tuple[str, tuple[str, ...]]:
    """Return a query with the declared zones and numbered parameters, and the parameters' names."""
    column = report.valid_until_column
    sql, parameters = bind_parameters(query, report.place, (*PARAMETERS, NODES))
    return with_zones(
        sql, [report.scope, *columns_of(report.rollup), *([column] if column else [])], report.zones
    ), parameters


def _section(head: HeadTable, key: str, known: set[str] | None = None) -> HeadTable:
    """Return an optional table of the head; empty if the file omits it."""
    return head.table(key, known) if key in head.values else HeadTable(head.place, {}, key)


def _as_text(head: HeadTable, known: set[str]) -> frozenset[str]:
    """Return the measures whose numbers are written as strings; with the scope's column, node ids as well."""
    numbers = _section(head, "numbers", known)
    for measure, form in numbers.values.items():
        if form not in {"number", "text"}:
            raise numbers.error_at(measure, f"{form!r} must be 'number' or 'text'")
    return frozenset(measure for measure, form in numbers.values.items() if form == "text")


def _sources(head: HeadTable) -> tuple[str, ...]:
    value = head.values.get("sources", [])
    if not isinstance(value, list):
        raise head.error_at("sources", 'must be a list of tables, ["schema.table", ...]')
    for table in value:
        if not isinstance(table, str) or not _TABLE.match(table):
            raise head.error_at("sources", f"{table!r} must be a table with its schema, like sales.orders")
    return tuple(dict.fromkeys(value))


def _zone(head: HeadTable) -> str:
    value = head.text("timezone", "")
    if value and not is_zone(value):
        raise head.error_at("timezone", f"{value!r} must be an IANA time zone, like Europe/Madrid")
    return value


def _keep(history: HeadTable) -> timedelta:
    if not history.values:
        return timedelta(0)
    if history.values.get("close") != "daily":
        raise history.error_at("close", "must be 'daily'")
    return history.duration("keep")


def _name(head: HeadTable, key: str, default: str | None = None) -> str:
    name = head.text(key, default)
    if not _NAME.match(name):
        raise head.error_at(
            key, f"{name!r} must be a lower-case letter and up to 63 lower-case letters, digits or _"
        )
    return name


def _tree(head: HeadTable, trees: Mapping[str, str]) -> TreeFile:
    name = str(head.values.get("tree") or head.text("tree"))
    if name not in trees:
        known = ", ".join(sorted(trees)) or "none"
        raise head.error_at("tree", f"trees/{name}.sql does not exist beside the report; allowed: {known}")
    return read_tree(trees[name], f"trees/{name}.sql")


def _column(head: HeadTable) -> str:
    """Return the column of the report's query that says when time changes its rows; empty if there is none."""
    found = _COLUMN.match(str(head.values.get("valid_until", "")).strip())
    return found[1] if found else ""


def _expression(head: HeadTable) -> tuple[str, tuple[str, ...]]:
    """Return the query for the next instant at which time changes the numbers; empty if a keyword says it."""
    value = str(head.values.get("valid_until", "change")).strip().rstrip(";")
    if value in {"change", "next_midnight"}:
        return "", ()
    if " " not in value and "(" not in value:
        allowed = "'next_midnight', 'change', 'column NAME' or SQL for one timestamptz"
        raise head.error_at("valid_until", f"{value!r} must be {allowed}")
    query = value if value.lower().startswith(("select", "with")) else f"SELECT {value}"
    place = HeadPlace(head.place.file, query=head.place.lines.get("valid_until", 1))
    if find_nodes(query, place):
        reason = 'cannot use :nodes, because it is about all nodes; write valid_until = "column NAME"'
        raise head.error_at("valid_until", reason)
    return bind_parameters(query, place)


def bind_parameters(
    query: str, place: HeadPlace, known: tuple[str, ...] = PARAMETERS
) -> tuple[str, tuple[str, ...]]:
    """Replace named parameters by numbered ones; casts, comments and strings stay. Raises ReportError."""
    if not query:
        raise ReportError(
            f"{place.file}:{place.query}",
            "has no query below its front matter; write one",
        )
    found = [match for match in _PARAMETER.finditer(query) if match[1]]
    for match in found:
        if match[1] not in known:
            line = place.query + query[: match.start()].count("\n")
            told = ", :".join(known)
            raise ReportError(f"{place.file}:{line}: :{match[1]}", f"is not a parameter; allowed: :{told}")
    names = tuple(dict.fromkeys(match[1] for match in found))
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}" if match[1] else match[0], query), names


def _with_bounds_checked(report: Report) -> Report:
    refuse = report.place.error_at
    if not timedelta(0) < report.soft < report.hard:
        raise refuse("freshness.soft", "must be over 0 and below freshness.hard")
    if not timedelta(0) < report.every <= report.hard:
        raise refuse("every", "must be over 0 and at most freshness.hard")
    if report.debounce > report.soft:
        raise refuse("freshness.debounce", "must be at most freshness.soft")
    if report.max_wait < report.debounce:
        raise refuse("freshness.max_wait", "must be at least freshness.debounce")
    return report
