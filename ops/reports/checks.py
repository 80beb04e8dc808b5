"""What is wrong with a report, from its declaration and what a database says of it: pure, one rule per function.

Each rule yields findings with the file and line at fault and what to do. The order of `RULES` is the one in which
somebody would mend them: a query that does not run first, a pinned schema that it breaks last.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from difflib import get_close_matches

import orjson

from ops.reports.facts_postgres import ReportFacts, SqlFault
from ops.reports.finding import ReportFinding
from reports import Report
from reports.catalogue_postgres import Proof
from reports.columns import misfit
from reports.rollup import InvalidRows
from reports.rollups import columns_of
from reports.schema import breaks, document_schema
from reports.tree import InvalidTree

Rule = Callable[[Report, ReportFacts], Iterator[ReportFinding]]

_IDS = {"int2", "int4", "int8"}
_CLOCK = re.compile(
    r"\b(?:(?:now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\(\s*\)"
    r"|current_date|current_timestamp|current_time|localtimestamp|localtime)",
    re.IGNORECASE,
)
_SILENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"[^\"]*\"", re.DOTALL)
_ZONELESS = re.compile(rb'"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?)"')
"""A text as JSON has a timestamp without time zone."""
_DAY = {"day_start", "day_end"}


def judge_report(report: Report, facts: ReportFacts, proof: Proof | None = None) -> list[ReportFinding]:
    """All that is to be mended.

    Args:
        proof: how its board is proved; left out: not asked.
    """
    found = [finding for rule in RULES for finding in rule(report, facts)]
    return [*found, *check_hidden_rows(report, facts, proof or Proof())]


def check_hidden_rows(report: Report, facts: ReportFacts, proof: Proof) -> Iterator[ReportFinding]:
    """Row-level security that leaves the worker's user nothing at all is hardly meant."""
    if facts.cost_ms is not None and not facts.rows:
        for table in proof.hidden:
            fault = f"there are no rows, and row-level security may hide those of {table} from this user"
            yield ReportFinding(
                key_of(report, "sources"), fault, "give its role BYPASSRLS, or a policy FOR SELECT USING (true)"
            )


def check_sql(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Refused by the database, or ended by its timeout."""
    for fault in facts.refused:
        if fault.timed_out:
            remedy = "look at --plan for a scan to save, or raise MOMENTUS_REPORTS__STATEMENT_TIMEOUT"
            yield ReportFinding(_at(report, fault), "ran longer than the statement timeout and was ended", remedy)
        else:
            yield ReportFinding(
                _at(report, fault), fault.words, fault.hint or "mend the query; psql shows the same error"
            )


def check_columns(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """The scope and every measure need a column, the scope a whole number."""
    if not facts.columns:
        return
    wanted = {"scope": report.scope, **{f"rollup.{measure}": measure for measure in columns_of(report.rollup)}}
    for key, column in wanted.items():
        if column not in facts.columns:
            close = get_close_matches(column, facts.columns, n=1)
            remedy = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(facts.columns)}"
            yield ReportFinding(key_of(report, key), f"the query has no column {column!r}", remedy)
    if facts.columns.get(report.scope, "int8") not in _IDS:
        fault = f"{report.scope!r} is {facts.columns[report.scope]}, and nodes have whole numbers"
        yield ReportFinding(
            key_of(report, "scope"), fault, "name the column with the node's id, or cast it to bigint"
        )


def check_roll_ups(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Each roll-up takes certain types of columns."""
    for measure in columns_of(report.rollup):
        column, how = facts.columns.get(measure), report.rollup[measure]
        if column is not None and (remedy := misfit(column, how)):
            yield ReportFinding(
                key_of(report, f"rollup.{measure}"), f"{how!r} does not fit a column of {column}", remedy
            )


def check_clocks(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """A query that asks the server's clock is true for no stated instant, and in the server's zone."""
    del facts
    silent = _SILENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), report.sql)
    for match in _CLOCK.finditer(silent):
        line = report.place.query + silent[: match.start()].count("\n")
        remedy = "use :now, or :day_start and :day_end for the day in the organisation's zone"
        yield ReportFinding(f"{report.place.file}:{line}", f"asks the server's clock with {match[0]}", remedy)


def check_valid_until(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Numbers about a day change at its end."""
    if _DAY & set(report.parameters) and not report.next_midnight and not report.valid_until:
        fault = "the query asks about a day, and valid_until says that only changes of data change its numbers"
        yield ReportFinding(key_of(report, "valid_until"), fault, 'write valid_until = "next_midnight"')
    if report.valid_until and facts.until_past:
        fault = f"returned {facts.until}, which is no timestamptz after :now"
        yield ReportFinding(
            key_of(report, "valid_until"), fault, "return the next such instant, or null when there is none"
        )


def check_sources(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Changes of a table that is read and not named would go unnoticed."""
    where = key_of(report, "sources")
    for source in facts.absent:
        yield ReportFinding(where, f"{source} is no table here", "name tables, not views, with their schema")
    if report.sources:
        for table in sorted(facts.tables - set(report.sources)):
            fault = f"the query or its tree reads {table}, whose changes would go unnoticed"
            yield ReportFinding(where, fault, f"add {table!r}")


def check_rows(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """What a refresh would refuse today, keeping the last good set."""
    match facts.fault:
        case InvalidTree():
            remedy = "every node needs one parent that is a node, but for the one root"
            yield ReportFinding(f"trees/{report.tree_name}.sql:1", str(facts.fault), remedy)
        case InvalidRows(measure=measure) if (
            misfit(facts.columns.get(measure, ""), how := report.rollup.get(measure, ""))
            and how
            and measure in facts.columns
        ):
            pass  # told already, and better
        case InvalidRows(measure=measure, words=words) if measure:
            where = f"rollup.{measure}" if measure in report.rollup else "scope"
            yield ReportFinding(key_of(report, where), words, "nothing of it is stored until this is mended")
        case InvalidRows():
            if {report.scope, *columns_of(report.rollup)} <= facts.columns.keys():
                yield ReportFinding(
                    key_of(report, "scope"), str(facts.fault), "nothing of it is stored until this is mended"
                )


def check_budget(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """A report whose refreshes are too dear for its share cannot be as fresh as it promises."""
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
                f"readers are refused it (503) after {report.hard}"
                if apart > report.hard
                else f"readers are told that {report.soft} is fresh"
            )
        )
        remedy = f"make the query cheaper (--plan), allow {needed:.2%}, or promise less"
        yield ReportFinding(key_of(report, "budget.max_db_share"), fault, remedy)


def check_schema(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """Clients rely on what is pinned."""
    if report.schema and facts.columns:
        for measure, words in breaks(report.schema, document_schema(report, facts.columns)):
            remedy = "keep it, or tell the clients and write the new schema with --pin"
            yield ReportFinding(
                key_of(report, f"rollup.{measure}"), f"{words}; clients rely on the pinned schema", remedy
            )


def check_zoneless_texts(report: Report, facts: ReportFacts) -> Iterator[ReportFinding]:
    """A timestamp without time zone that JSON carries, as in rows of ``top``, names no instant either."""
    told = set()
    for node, document in facts.documents.items():
        if _ZONELESS.search(document.body):
            for measure, value in orjson.loads(document.body)["data"]["total"].items():
                if measure not in told and (text := _ZONELESS.search(orjson.dumps(value))):
                    told.add(measure)
                    fault = f"{text[1].decode()} (node {node}) names no instant without its zone"
                    remedy = "write column AT TIME ZONE 'UTC', or the zone it is kept in"
                    yield ReportFinding(key_of(report, f"rollup.{measure}"), fault, remedy)


RULES: tuple[Rule, ...] = (
    check_sql,
    check_columns,
    check_roll_ups,
    check_clocks,
    check_valid_until,
    check_sources,
    check_rows,
    check_zoneless_texts,
    check_budget,
    check_schema,
)


def key_of(report: Report, key: str) -> str:
    """File, line and key of a declaration."""
    return f"{report.place.of(key)}: {key}"


def _at(report: Report, fault: SqlFault) -> str:
    """The line of a fault in a query."""
    place = report.place
    match fault.part:
        case "tree":
            return f"trees/{report.tree_name}.sql:{1 + _lines(report.tree, fault.position)}"
        case "valid_until":
            return key_of(report, "valid_until")
        case _:
            return f"{place.file}:{place.query + _lines(report.sql, fault.position)}"


def _lines(sql: str, position: int) -> int:
    return sql[: max(0, position - 1)].count("\n")
