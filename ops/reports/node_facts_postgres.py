"""A database's facts about a query for some nodes: its rows against those for all, its plan, its parameter."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import orjson

from ops.reports.node_rows import RowDifference, compare_rows, draw_sets, node_of
from reports import Report
from reports.node_ids import IdKind, NodeId
from reports.tree import Tree
from reports.values_postgres import describe_query

_COLUMNS = """
SELECT
    named.source,
    named.name,
    attribute.attnum IS NOT NULL AS there,
    relation.reltuples::float8 AS rows,
    EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = relation.oid AND indkey[0] = attribute.attnum AND indisvalid
    ) AS indexed
FROM unnest($1::text[], $2::text[]) AS named (source, name)
JOIN pg_class AS relation ON relation.oid = to_regclass(named.source)
LEFT JOIN pg_attribute AS attribute
    ON attribute.attrelid = relation.oid AND attname = named.name AND attnum > 0 AND NOT attisdropped
ORDER BY named.source
"""
_ROOTS = """
SELECT named.read, namespace.nspname || '.' || relation.relname AS source
FROM unnest($1::text[]) AS named (read)
JOIN pg_class AS read ON read.oid = to_regclass(named.read)
JOIN pg_class AS relation ON relation.oid = coalesce(pg_partition_root(read.oid), read.oid)
JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
"""
_INDEX_USED = "SELECT set_config('enable_seqscan', 'off', true)"
_NAME = re.compile(r"[\w$]+")
_NAME_OF_ANY = re.compile(r'(?<![\w$])([\w$]+)"? = ANY')
"""Names that a plan's conditions compare with an array."""
_RANGES = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_FIT = {
    IdKind.INTEGER: frozenset(_RANGES),
    IdKind.UUID: frozenset({"uuid", "text", "varchar"}),
}
_NEVER_TEXTS = frozenset(
    {*_RANGES, "uuid", "numeric", "float4", "float8", "bool", "date", "timestamptz", "timestamp"}
)


@dataclass(frozen=True, slots=True)
class NodeColumn:
    """Column of a source with the node for which a row counts.

    Attributes:
        exists: False if the table has no such column.
        is_indexed: True if an index begins with it.
        rows: rows of the table as the planner estimates them; negative: unknown.
    """

    source: str
    name: str
    exists: bool
    is_indexed: bool
    rows: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """Facts about a report's query for some nodes.

    Attributes:
        misfit: why ``:nodes`` cannot hold the ids of the tree; empty if it can.
        columns: the declared columns.
        filtered: declared sources whose rows it reads for all nodes, and drops those not requested.
        unfiltered: declared sources whose rows it reads for all nodes, without the condition on the column.
        differences: the first of each kind and column.
        one_ms: duration for a single node, the median; None: not run.
    """

    misfit: str = ""
    columns: tuple[NodeColumn, ...] = ()
    filtered: frozenset[str] = frozenset()
    unfiltered: frozenset[str] = frozenset()
    differences: tuple[RowDifference, ...] = ()
    one_ms: float | None = None


async def examine_nodes(
    connection: Any,  # noqa: ANN401  the driver's
    report: Report,
    tree: Tree,
    rows: Sequence[Mapping[str, Any]],
    arguments: Mapping[str, object],
) -> NodeFacts:
    """Query some nodes and compare. The caller's transaction is left with other planner settings.

    Args:
        rows: the report's rows for all nodes, in the same state.
        arguments: values of the other parameters.

    Raises:
        DATABASE_FAULTS: the database refused the query.
        InvalidRows: a value cannot be read.
    """
    names = report.sql_of_nodes_parameters
    described = await describe_query(connection, report.sql_of_nodes)
    columns = await _columns(connection, report)
    if misfit := nodes_misfit(described.parameters[names.index("nodes")], tree.kind, list(tree.nodes)):
        return NodeFacts(misfit=misfit, columns=columns)
    types = dict(zip(described.names, described.types, strict=True))
    whole = {node_of(row, report.scope): row for row in rows}
    found: dict[tuple[str, str], RowDifference] = {}
    took = []
    for asked in draw_sets(tree.nodes, whole.keys()):
        values = _values(names, arguments, asked)
        began = time.perf_counter()
        of_nodes = await connection.fetch(report.sql_of_nodes, *values)
        if len(asked) == 1:
            took.append((time.perf_counter() - began) * 1000)
        for one in compare_rows(report, types, whole, of_nodes, set(asked)):
            found.setdefault((one.kind, one.column), one)
    scans = await _scans(connection, report, _values(names, arguments, list(tree.nodes)[:1]))
    return NodeFacts(
        columns=columns,
        filtered=frozenset(source for source, reaches in scans if reaches),
        unfiltered=frozenset(source for source, reaches in scans if not reaches),
        differences=tuple(found.values()),
        one_ms=median(took) if took else None,
    )


def nodes_misfit(of_type: str, kind: IdKind, ids: Sequence[NodeId]) -> str:
    """Return why a parameter of this type cannot hold these ids; empty if it can.

    >>> nodes_misfit("int8[]", IdKind.INTEGER, [1]), nodes_misfit("uuid[]", IdKind.UUID, [])
    ('', '')
    """
    item = of_type.removesuffix("[]")
    fits = item in _FIT[kind] if kind in _FIT else item not in _NEVER_TEXTS
    if not fits:
        return f":nodes is {of_type}, but the tree's ids are of the type {kind}"
    most = _RANGES.get(item)
    beyond = next((one for one in ids if most and isinstance(one, int) and not -most <= one < most), None)
    return "" if beyond is None else f":nodes is {of_type}, which cannot have the tree's id {beyond}"


def _values(names: Sequence[str], arguments: Mapping[str, object], nodes: list[NodeId]) -> list[object]:
    values = {**arguments, "nodes": nodes}
    return [values[name] for name in names]


async def _columns(connection: Any, report: Report) -> tuple[NodeColumn, ...]:  # noqa: ANN401  the driver's
    declared = report.node_columns
    return tuple(
        NodeColumn(row["source"], row["name"], row["there"], row["indexed"], row["rows"])
        for row in await connection.fetch(_COLUMNS, list(declared), list(declared.values()))
    )


async def _scans(connection: Any, report: Report, values: list[object]) -> set[tuple[str, bool]]:  # noqa: ANN401  the driver's
    """Return the declared sources whose rows of all nodes are read although the planner prefers any index.

    The flag is True if those rows are dropped at once by their column.
    """
    await connection.execute(_INDEX_USED)
    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON, VERBOSE) {report.sql_of_nodes}", *values)
    scans = list(_scans_of(orjson.loads(explained)[0]["Plan"]))
    rows = await connection.fetch(_ROOTS, sorted({scan["table"] for scan in scans}))
    sources = {row["read"]: row["source"] for row in rows}
    found = set()
    for scan in scans:
        source = sources.get(scan["table"], "")
        column = report.node_columns.get(source)
        if column and column not in _NAME.findall(scan["index"]):
            found.add((source, column in _NAME_OF_ANY.findall(scan["filter"])))
    return found


def _scans_of(plan: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the table of each scan, quoted for to_regclass, with its conditions within an index and beside it."""
    if "Relation Name" in plan:
        conditions = [one.get("Index Cond", "") for one in (plan, *_below(plan))]
        table = f'"{plan["Schema"]}"."{plan["Relation Name"]}"'
        yield {"table": table, "index": " ".join(conditions), "filter": plan.get("Filter", "")}
        return
    for below in plan.get("Plans", ()):
        yield from _scans_of(below)


def _below(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for below in plan.get("Plans", ()):
        yield below
        yield from _below(below)
