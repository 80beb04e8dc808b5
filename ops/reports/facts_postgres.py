"""A database's facts about a report: its columns, plan, cost and result.

One read-only, repeatable-read transaction under the statement timeout of refreshes gathers them, each step in its
own savepoint, so that the next step works after a failure. It writes nothing and resets no statistics.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from ops.reports.calls_postgres import hidden_calls
from ops.reports.node_facts_postgres import NodeFacts, examine_nodes
from ops.reports.remedies import remedy_of
from ops.reports.tree_notes import tree_notes, unread_notes
from reports import Report
from reports.boards import Board
from reports.bounds import DEFAULT, ReportBounds
from reports.catalogue_postgres import Catalogue, read_catalogue
from reports.connection_postgres import connect
from reports.day import day_around
from reports.deadlines import is_never
from reports.document import Document, write_documents
from reports.node_ids import NodeId
from reports.rollup import InvalidRows, roll_up
from reports.source_postgres import BEGIN, DATABASE_FAULTS, REPLAYED, DatabaseSnapshot, snapshot_of, undo_at_end
from reports.tree import InvalidTree
from reports.tree_rows import missing_column
from reports.values_postgres import (
    ZONELESS,
    describe_query,
    describe_report,
    parameters_taken_wrongly,
    read_exactly,
)

_TABLES = """
SELECT DISTINCT namespace.nspname || '.' || relation.relname AS source
FROM unnest($1::text[]) AS named (source)
JOIN pg_class AS read ON read.oid = to_regclass(named.source)
JOIN pg_class AS relation ON relation.oid = coalesce(pg_partition_root(read.oid), read.oid)
JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
WHERE relation.relkind IN ('r', 'p', 'm', 'f', 'S')
    AND namespace.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_DATELESS = "the date would be in UTC; write (:{}::timestamptz AT TIME ZONE :zone)::date"
_RUNS = 3
_QUICK_MS = 500.0
"""A faster query runs a few times and the median counts, because the first run fills caches."""


@dataclass(frozen=True, slots=True)
class SqlFault:
    """Error of a query on the database.

    Attributes:
        part: ``sql``, ``nodes``, ``tree`` or ``valid_until``.
        position: in characters from the query's start; 0 if unknown.
    """

    part: str
    words: str
    hint: str = ""
    position: int = 0
    timed_out: bool = False


@dataclass(slots=True, kw_only=True)
class ReportFacts:
    """Facts about a report; unknown ones are empty.

    Attributes:
        columns: the Postgres type of each column by name, arrays with ``[]``.
        tables: the tables, ``schema.table``, that the plans of query and tree read.
        tree_tables: those of the tree alone.
        absent: declared sources that are not tables.
        cost: the planner's estimate.
        cost_ms: duration of a refresh's queries, the median of a few runs, with its tree.
        tree_ms: the tree's part of it, which the reports of a board with the same tree share.
        board: cost and share of all reports of its board together; None if it is alone.
        fault: why no documents could be computed: an InvalidTree or InvalidRows.
        documents: the documents that a refresh would store now.
        calls: sentences about functions with hidden reads or effects.
        tree_notes: sentences about nodes and rows that are left out, and nodes without a name.
        nodes: facts about its query for some nodes; None if it has none, or if all rows are at fault.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    tree_tables: frozenset[str] = frozenset()
    absent: tuple[str, ...] = ()
    cost: float = 0.0
    plan: str = ""
    cost_ms: float | None = None
    tree_ms: float = 0.0
    board: tuple[float, float] | None = None
    rows: int = 0
    refused: list[SqlFault] = field(default_factory=list)
    fault: Exception | None = None
    until: object = None
    until_past: bool = False
    documents: Mapping[NodeId, Document] = field(default_factory=dict)
    calls: tuple[str, ...] = ()
    tree_notes: tuple[str, ...] = ()
    nodes: NodeFacts | None = None


class DatabaseAway(Exception):
    """A database that does not answer, or refuses the login."""


@asynccontextmanager
async def open_probe(
    dsn: str, *, longest: timedelta, bounds: ReportBounds = DEFAULT
) -> AsyncIterator["ReportProbe"]:
    """Open a probe of one state of the database.

    Args:
        longest: the time after which the server ends a query.
        bounds: the largest size of a report.

    Raises:
        DatabaseAway: the database does not answer.
    """
    try:
        connection = await connect(dsn, application="momentus-ops")
    except (*DATABASE_FAULTS, ValueError) as error:
        raise DatabaseAway(f"{type(error).__name__}: {error}") from None
    try:
        await read_exactly(connection)
        replayed = await connection.fetchval(REPLAYED)
        async with undo_at_end(connection, isolation="repeatable_read", readonly=True):
            first = await connection.fetchrow(BEGIN, *[f"{longest // timedelta(milliseconds=1)}ms"] * 2)
            if first is None:  # pragma: no cover  a SELECT without FROM has one row
                raise DatabaseAway("SELECT now() returned no row")
            snapshot = snapshot_of(connection, first, replayed)
            snapshot.bounds = bounds
            yield ReportProbe(snapshot, connection)
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class ReportProbe:
    """Probe of reports in one state of the database; `snapshot` is the state that a refresh would see."""

    snapshot: DatabaseSnapshot
    connection: "asyncpg.Connection[asyncpg.Record]"
    _tree_ms: dict[str, float] = field(default_factory=dict)
    """Duration of each tree's first query."""

    async def examine_report(self, report: Report, zone: ZoneInfo) -> ReportFacts:
        """Gather all facts about a report. The report's own faults are facts, not exceptions.

        Args:
            zone: the organisation's time zone; the report's own takes precedence.
        """
        facts = ReportFacts()
        own = ZoneInfo(report.timezone) if report.timezone else zone
        for part, sql in (("tree", report.tree), ("sql", report.sql), ("valid_until", report.valid_until)):
            if sql:
                await self._ask(facts, part, self._describe(facts, report, part, sql, own))
        await self._tables(facts, report)
        facts.calls = await hidden_calls(self.connection, (report.sql, report.tree, report.valid_until))
        if not facts.refused:
            await self._ask(facts, "sql", self._run(facts, report, own))
        if report.sql_of_nodes and facts.documents:
            await self._ask(facts, "nodes", self._ask_for_some(facts, report, own))
        return facts

    async def catalogue(self, tenant: str, boards: Mapping[str, Board]) -> Catalogue:
        """Return which boards the database proves unchanged. Raises DATABASE_FAULTS."""
        return await read_catalogue(self.snapshot.query, tenant, boards)

    async def _ask(self, facts: ReportFacts, part: str, question: Any) -> None:  # noqa: ANN401  an awaitable
        try:
            async with self.snapshot.part():
                await question
        except (InvalidRows, InvalidTree) as error:
            facts.fault = error
        except asyncpg.PostgresError as error:
            if self.connection.is_closed():
                raise DatabaseAway(f"{type(error).__name__}: {error}") from None
            position = getattr(error, "position", None)
            facts.refused.append(
                SqlFault(
                    part,
                    str(getattr(error, "message", None) or error),
                    str(getattr(error, "hint", None) or "") or remedy_of(type(error).__name__, usual=""),
                    int(position) if position else 0,
                    isinstance(error, asyncpg.QueryCanceledError),
                )
            )
        except Exception as error:  # noqa: BLE001  any error of a refresh is a finding here
            if self.connection.is_closed():
                raise DatabaseAway(f"{type(error).__name__}: {error}") from None
            facts.fault = InvalidRows(f"a refresh fails here with {type(error).__name__}: {error}")

    async def _describe(self, facts: ReportFacts, report: Report, part: str, sql: str, zone: ZoneInfo) -> None:
        """Read the columns and the plan of a query without running it."""
        asked = describe_report(self.connection, report) if part == "sql" else describe_query(self.connection, sql)
        described = await asked
        columns = dict(zip(described.names, described.types, strict=True))
        if part == "sql":
            facts.columns = columns
        names = _parameters(report, part)
        for name, taken in parameters_taken_wrongly(names, described, {"timestamp", "date"}):
            words = f":{name} is an instant, but the query uses it as a {taken}"
            position = sql.find(f"${names.index(name) + 1}") + 1
            remedy = ZONELESS if "timestamp" in taken else _DATELESS.format(name)
            facts.refused.append(SqlFault(part, words, remedy, position))
            return
        if part == "tree" and (missing := missing_column(columns, report.tree_rules)):
            raise InvalidTree(missing)
        if part == "tree":
            facts.tree_notes = unread_notes(columns, report.tree_rules)
        arguments = self._arguments(report, part, zone)
        explained = await self.connection.fetchval(f"EXPLAIN (FORMAT JSON, VERBOSE) {sql}", *arguments)
        plan = orjson.loads(explained)[0]["Plan"]
        read = await self.connection.fetch(_TABLES, sorted(set(_relations(plan))))
        facts.tables |= {row["source"] for row in read} if part != "valid_until" else set()
        if part == "tree":
            facts.tree_tables = facts.tables
        if part == "sql":
            facts.cost = float(plan["Total Cost"])
            facts.plan = "\n".join(row[0] for row in await self.connection.fetch(f"EXPLAIN {sql}", *arguments))

    def _arguments(self, report: Report, part: str, zone: ZoneInfo) -> list[object]:
        values = self._values(zone)
        return [values[name] for name in _parameters(report, part)]

    def _values(self, zone: ZoneInfo) -> dict[str, object]:
        day = day_around(self.snapshot.as_of, zone)
        return {"now": self.snapshot.as_of, "day_start": day.start, "day_end": day.end, "zone": day.zone}

    async def _tables(self, facts: ReportFacts, report: Report) -> None:
        there = {row["source"] for row in await self.connection.fetch(_TABLES, list(report.sources))}
        facts.absent = tuple(one for one in report.sources if one not in there)

    async def _run(self, facts: ReportFacts, report: Report, zone: ZoneInfo) -> None:
        """Compute all documents as a refresh does."""
        snapshot, day = self.snapshot, day_around(self.snapshot.as_of, zone)
        before = snapshot.spent
        tree = await snapshot.tree(report)
        facts.tree_ms = self._tree_ms.setdefault(report.tree, (snapshot.spent - before) * 1000)
        took = []
        for _ in range(_RUNS):
            before = snapshot.spent
            rows = await snapshot.rows(report, now=snapshot.as_of, day=day)
            if report.valid_until:
                facts.until = await snapshot.valid_until(report, now=snapshot.as_of, day=day)
            took.append((snapshot.spent - before) * 1000)
            if sum(took) > _QUICK_MS:
                break
        facts.cost_ms, facts.rows = facts.tree_ms + median(took), len(rows)
        facts.tree_notes += tree_notes(tree, rows, report.scope)
        facts.until_past = bool(not is_never(facts.until) and _is_past(facts.until, snapshot.as_of))
        totals = roll_up(rows, scope=report.scope, rollup=report.rollup, tree=tree)
        facts.documents = write_documents(report, tree, totals, as_of=snapshot.as_of, bounds=snapshot.bounds)

    async def _ask_for_some(self, facts: ReportFacts, report: Report, zone: ZoneInfo) -> None:
        """Compare the rows of some nodes with those for all."""
        snapshot, values = self.snapshot, self._values(zone)
        tree = await snapshot.tree(report)
        rows = await snapshot.rows(report, now=snapshot.as_of, day=day_around(snapshot.as_of, zone))
        facts.nodes = await examine_nodes(self.connection, report, tree, rows, values)


def _parameters(report: Report, part: str) -> tuple[str, ...]:
    return {"sql": report.parameters, "valid_until": report.valid_until_parameters}.get(part, ())


def _is_past(until: Any, now: Any) -> bool:  # noqa: ANN401  any type that the query returned
    try:
        return bool(until <= now)
    except TypeError:  # no timestamptz
        return True


def _relations(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables of a plan and of its subplans, quoted for to_regclass."""
    if "Relation Name" in plan:
        yield f'"{plan["Schema"]}"."{plan["Relation Name"]}"'
    for below in plan.get("Plans", ()):
        yield from _relations(below)
