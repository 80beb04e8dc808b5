"""Checks of what a report declares for queries for some nodes, and notes about what is computed whole: pure."""

from collections.abc import Iterator

from ops.reports.facts_postgres import ReportFacts
from ops.reports.finding import ReportFinding
from ops.reports.node_facts_postgres import NodeFacts
from ops.reports.node_rows import DifferenceKind, RowDifference
from reports import Report

_FEW = 1000
"""A table with fewer rows is read in no time."""
_CONDITION = "write = ANY(:nodes) wherever it selects rows, and let a row follow from its node's own rows alone"
_WORDS = {
    DifferenceKind.UNASKED: ("returns a row for node {node}, which was not requested", _CONDITION),
    DifferenceKind.REPEATED: ("returns several rows for node {node}", "group the query by {scope}"),
    DifferenceKind.MISSING: ("returns no row for node {node}, but the query for all nodes does", _CONDITION),
    DifferenceKind.EXTRA: ("returns a row for node {node}, but the query for all nodes does not", _CONDITION),
    DifferenceKind.VALUE: (
        "returns a different {column} for node {node} than the query for all nodes",
        _CONDITION,
    ),
    DifferenceKind.TIE: (
        "chooses a different {column} for node {node} among equals than the query for all nodes",
        "let the order decide, as in ORDER BY opened_at, id",
    ),
    DifferenceKind.FLOAT: (
        "returns {column} for node {node} with different last digits than the query for all nodes",
        "sum and average numeric, as in sum(amount::numeric): a float's sum depends on the order of its rows",
    ),
}


def check_nodes(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that the query for some nodes returns the same rows for them as the query for all, and no others."""
    if facts.nodes is None:
        return
    where = f"{report.place.file}:{report.place.query}"
    if facts.nodes.misfit:
        remedy = "compare a column of the tree's type, or cast it, as in node_id::bigint = ANY(:nodes)"
        yield ReportFinding(where, facts.nodes.misfit, remedy)
    for one in facts.nodes.differences:
        yield _finding_of(report, where, one)


def check_node_columns(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that each column under ``[nodes]`` exists, and that no change of its table changes the tree."""
    for source in sorted(facts.tree_tables & report.node_columns.keys()):
        where = f"{report.place.locate(f'nodes.{source}')}: nodes.{source}"
        fault = "is read by the tree's query, and a change of the tree may change every node"
        yield ReportFinding(where, fault, "remove it")
    for column in facts.nodes.columns if facts.nodes else ():
        if not column.exists:
            where = f"{report.place.locate(f'nodes.{column.source}')}: nodes.{column.source}"
            yield ReportFinding(
                where, f"{column.source} has no column {column.name!r}", "name the one with the node's id"
            )


def _finding_of(report: Report, where: str, one: RowDifference) -> ReportFinding:
    fault, remedy = _WORDS[one.kind]
    if one.column:
        key = f"rollup.{one.column}" if one.column in report.rollup else "valid_until"
        where = f"{report.place.locate(key)}: {key}"
    values = {"node": one.node, "column": one.column, "scope": report.scope}
    return ReportFinding(where, f"the query for some nodes {fault.format(**values)}", remedy.format(**values))


def whole_notes(report: Report) -> Iterator[str]:
    """Yield a sentence about which changes need a computation of all nodes, and why; none for the tree's own."""
    by_query = [measure for measure, how in report.rollup.items() if how == "sql"]
    if by_query:
        yield f"any change computes all nodes: the roll-up of {', '.join(by_query)} is sql"
    elif not report.sql_of_nodes:
        yield "any change computes all nodes: it has no [nodes], so no change tells which nodes it affects"
    else:
        others = [source for source in report.sources if source not in report.node_columns]
        if others:
            yield f"a change of {', '.join(others)} computes all nodes; any other change, only those affected"


def plan_notes(facts: NodeFacts) -> Iterator[str]:
    """Yield a sentence about each table whose rows of all nodes are read for a single one."""
    for column in facts.columns:
        told = f"asked for one node, the query reads rows of all nodes in {column.source}"
        if 0 <= column.rows < _FEW or column.source not in facts.filtered | facts.unfiltered:
            continue
        if not column.is_indexed:
            yield f"{told}; an index on {column.source} ({column.name}) would serve"
        elif column.source in facts.unfiltered:
            yield f"{told}, although an index begins with {column.name}; write = ANY(:nodes) where it reads them"
