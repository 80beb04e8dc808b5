"""Checks of a report, from its declaration and a database's facts: pure, one rule per function.

Each rule yields findings with file, line and remedy. `RULES` has the order in which faults are best fixed: a query
that does not run first, a broken pinned schema last.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from difflib import get_close_matches

import orjson

from ops.reports.facts_postgres import ReportFacts, SqlFault
from ops.reports.finding import ReportFinding
from ops.reports.node_checks import check_node_columns, check_nodes
from reports import Report
from reports.catalogue_postgres import Proof
from reports.columns import misfit
from reports.rollup import InvalidRows
from reports.rollups import columns_of
from reports.schema import breaking_changes, document_schema
from reports.tree import InvalidTree

Rule = Callable[[Report, ReportFacts], Iterator[ReportFinding]]

_NEVER_IDS = {
    "numeric",
    "float4",
    "float8",
    "bool",
    "json",
    "jsonb",
    "bytea",
    "date",
    "timestamp",
    "timestamptz",
    "bpchar",
}
_CLOCK = re.compile(
    r"\b(?:(?:now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\(\s*\)"
    r"|current_date|current_timestamp|current_time|localtimestamp|localtime)",
    re.IGNORECASE,
)
_SILENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"[^\"]*\"", re.DOTALL)
_ZONELESS = re.compile(rb'"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?)"')
"""A timestamp without time zone, as JSON text."""
_DAY = {"day_start", "day_end"}


def judge_report(report: Report, facts: ReportFacts, proof: Proof | None = None) -> list[ReportFinding]:
    """Return all findings about a report.

    Args:
        proof: the proof of its board; None: unknown.
    """
    found = [finding for rule in RULES for finding in rule(report, facts)]
    return [*found, *check_hidden_rows(report, facts, proof or Proof())]


def check_hidden_rows(report: Report, facts: ReportFacts, proof: Proof) -> Iterator[ReportFinding]:
    """Check that row-level security leaves the worker's user any rows; having none is hardly intended."""
    if facts.cost_ms is not None and not facts.rows:
        for table in proof.hidden:
            fault = f"the query returns no rows; row-level security may hide those of {table} from this user"
            yield ReportFinding(
                key_of(report, "sources"), fault, "give its role BYPASSRLS, or a policy FOR SELECT USING (true)"
            )


def check_sql(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that the database accepts the queries and runs them within the timeout."""
    for fault in facts.refused:
        if fault.timed_out:
            remedy = "find an avoidable scan with --plan, or raise MOMENTUS_REPORTS__STATEMENT_TIMEOUT"
            yield ReportFinding(
                _at(report, fault), "ran longer than the statement timeout and was cancelled", remedy
            )
        else:
            yield ReportFinding(
                _at(report, fault), fault.words, fault.hint or "fix the query; psql shows the same error"
            )


def check_columns(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that the scope and every measure have a column, the scope with ids."""
    if not facts.columns:
        return
    wanted = {"scope": report.scope, **{f"rollup.{measure}": measure for measure in columns_of(report.rollup)}}
    for key, column in wanted.items():
        if column not in facts.columns:
            close = get_close_matches(column, facts.columns, n=1)
            remedy = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(facts.columns)}"
            yield ReportFinding(key_of(report, key), f"the query has no column {column!r}", remedy)
    if (column := facts.columns.get(report.scope, "int8")) in _NEVER_IDS or column.endswith("[]"):
        fault = f"{report.scope!r} is {column}, but ids are integers, UUIDs or short texts"
        remedy = "name the column with the node's id, or cast it to bigint or text"
        yield ReportFinding(key_of(report, "scope"), fault, remedy)


def check_roll_ups(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that each roll-up fits the type of its column."""
    for measure in columns_of(report.rollup):
        if remedy := _misfit(report, facts, measure):
            fault = f"{report.rollup[measure]!r} does not fit a column of {facts.columns[measure]}"
            yield ReportFinding(key_of(report, f"rollup.{measure}"), fault, remedy)


def _misfit(report: Report, facts: ReportFacts, measure: str) -> str:
    """Return what to do about a measure's column by its type; empty if it fits, or if a zone is at fault."""
    column, how = facts.columns.get(measure), report.rollup.get(measure)
    is_zoned_twice = measure in report.zones and column == "timestamp"
    return "" if column is None or how is None or is_zoned_twice else misfit(column, how)


def check_clocks(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that no query reads the server's clock: it has no stated instant, and the server's zone."""
    del facts
    silent = _SILENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), report.sql)
    for match in _CLOCK.finditer(silent):
        line = report.place.query + silent[: match.start()].count("\n")
        remedy = "use :now, or :day_start and :day_end for the day in the organisation's zone"
        yield ReportFinding(f"{report.place.file}:{line}", f"reads the server's clock with {match[0]}", remedy)


def check_valid_until(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that numbers about a day declare that they change at its end."""
    if _DAY & set(report.parameters) and not report.next_midnight and not report.valid_until:
        fault = "the query is about a day, but valid_until says that only changes of data change its numbers"
        yield ReportFinding(key_of(report, "valid_until"), fault, 'write valid_until = "next_midnight"')
    if report.valid_until and facts.until_past:
        fault = f"returned {facts.until}, which is not a timestamptz after :now"
        yield ReportFinding(
            key_of(report, "valid_until"), fault, "return the next such instant, or null if there is none"
        )


def check_sources(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that the declared sources are the tables that the report reads; others change unnoticed."""
    where = key_of(report, "sources")
    for source in facts.absent:
        yield ReportFinding(
            where, f"{source} is not a table of this database", "name tables, not views, with their schema"
        )
    if report.sources:
        for table in sorted(facts.tables - set(report.sources)):
            fault = f"the query or its tree reads {table}, but its changes would be missed"
            yield ReportFinding(where, fault, f"add {table!r}")


def check_rows(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that a refresh would accept the rows; otherwise it keeps the last good set."""
    match facts.fault:
        case InvalidTree():
            remedy = "no refresh stores anything until this is fixed; docs/reports.md, Trees, has the rules"
            yield ReportFinding(
                f"{report.tree_rules.place.file}:{report.tree_rules.place.query}", str(facts.fault), remedy
            )
        case InvalidRows(measure=measure) if _misfit(report, facts, measure):
            pass  # another rule reports it better
        case InvalidRows(measure=measure, words=words) if measure:
            where = f"rollup.{measure}" if measure in report.rollup else "scope"
            yield ReportFinding(key_of(report, where), words, "no refresh stores anything until this is fixed")
        case InvalidRows():
            if {report.scope, *columns_of(report.rollup)} <= facts.columns.keys():
                yield ReportFinding(
                    key_of(report, "scope"), str(facts.fault), "no refresh stores anything until this is fixed"
                )


def check_budget(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that refreshes within the load budget keep the report as fresh as declared."""
    cost_ms, share = facts.board or (facts.cost_ms, report.max_db_share)
    if cost_ms is None:
        return
    apart = timedelta(milliseconds=cost_ms / share)
    if apart > report.soft:
        needed = cost_ms / (report.soft / timedelta(milliseconds=1))
        fault = (
            f"a refresh{' of its board' if facts.board else ''} takes {cost_ms:.0f} ms of the database, "
            f"so {share:.2%} of a processor allows one in {apart.total_seconds():.0f} s, and "
            + (
                f"readers get 503 after {report.hard}"
                if apart > report.hard
                else f"soft = {report.soft} cannot be kept"
            )
        )
        remedy = f"make the query cheaper (--plan), allow {needed:.2%}, or raise the limits of freshness"
        yield ReportFinding(key_of(report, "budget.max_db_share"), fault, remedy)


def check_schema(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that documents keep the pinned schema, which clients rely on."""
    if report.schema and facts.columns:
        for measure, text in breaking_changes(report.schema, document_schema(report, facts.columns)):
            remedy = "keep it, or inform the clients and write the new schema with --pin"
            yield ReportFinding(
                key_of(report, f"rollup.{measure}"), f"{text}; clients rely on the pinned schema", remedy
            )


def check_zoneless_texts(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Check that JSON values, as in rows of ``top``, hold no timestamp without time zone."""
    seen = set()
    for node, document in facts.documents.items():
        if _ZONELESS.search(document.body):
            for measure, value in orjson.loads(document.body)["data"]["total"].items():
                if measure not in seen and (text := _ZONELESS.search(orjson.dumps(value))):
                    seen.add(measure)
                    fault = f"{text[1].decode()} (node {node}) is not an instant without its zone"
                    remedy = "write column AT TIME ZONE 'UTC', or with the zone in which it is stored"
                    yield ReportFinding(key_of(report, f"rollup.{measure}"), fault, remedy)


RULES: tuple[Rule, ...] = (
    check_sql,
    check_columns,
    check_roll_ups,
    check_clocks,
    check_valid_until,
    check_sources,
    check_node_columns,
    check_rows,
    check_nodes,
    check_zoneless_texts,
    check_budget,
    check_schema,
)


def key_of(report: Report, key: str) -> str:
    """Return the file, line and key of a declaration."""
    return f"{report.place.locate(key)}: {key}"


def _at(report: Report, fault: SqlFault) -> str:
    """Return the line of a fault in a query."""
    place = report.place
    match fault.part:
        case "tree":
            place = report.tree_rules.place
            return f"{place.file}:{place.query + _lines(report.tree, fault.position)}"
        case "valid_until":
            return key_of(report, "valid_until")
        case "nodes":
            return f"{place.file}:{place.query + _lines(report.sql_of_nodes, fault.position)}"
        case _:
            return f"{place.file}:{place.query + _lines(report.sql, fault.position)}"


def _lines(sql: str, position: int) -> int:
    return sql[: max(0, position - 1)].count("\n")
