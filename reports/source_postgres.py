"""Database side of a refresh: one repeatable-read transaction for all reports of a board.

A transaction begins at one instant (``now()``), its state is taken at a later one, and the server does not tell
that later instant. So a snapshot has two instants, one on either side of it:

    began   ``now()``: every write acknowledged before it is in the numbers. Earlier, if the clock may have been
            set since (state_instants.py): ``now()`` is when the transaction began, the state is taken by its first
            query
    as_of   the clock after the state was taken: no row of the state was written after it. It is the reports'
            ``:now``; with the earlier instant, a row written in between would be visible but skipped as one of the
            future, although its mark is taken up

A standby shows what it has replayed, however long ago that was written. There both instants are the primary's: the
times of the last commits replayed before and after the state was taken. If the two are equal, the state contains
all commits until then; the states of two such refreshes cannot be told apart, and either may be stored. A
standby's snapshots list no transactions in progress: only the transactions below xmin are certainly in the state.

On a watched board the transaction also takes up the board's marks and locks the board's row: a mark is deleted if
and only if the change is stored, since storing comes before the commit. Otherwise, or if this user may not write,
the transaction is read-only.
"""

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

import asyncpg

from clocks import SET_US, ClockReading, readings_agree, running_us
from reports import Report
from reports.bounds import DEFAULT, ReportBounds
from reports.connection_postgres import (
    Connection,
    ConnectionEnded,
    LazyPool,
    NoAnswer,
    connection_ended,
    give_up_connection,
    is_lost,
)
from reports.day import Day
from reports.deadlines import is_never
from reports.document import microseconds
from reports.execution_time import take_execution_time, with_execution_time
from reports.memo import RefreshMemo, TreeQuery
from reports.node_ids import NodeId
from reports.off_loop import off_loop
from reports.rollup import InvalidRows, Row
from reports.state_instants import instant_before
from reports.taken_marks import MOST_NODES, TakenMarks, read_marks
from reports.tree import Tree
from reports.tree_rows import tree_of_rows
from reports.values_postgres import check_columns, describe_report, read_exactly, tree_columns, unreadable_value

DATABASE_FAULTS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Errors of a refresh: bad SQL, a timeout, a lost connection, no server with ``target_session_attrs``."""
QUERY_FAULTS = (asyncpg.SyntaxOrAccessError, asyncpg.DataError)
"""Errors of a query itself, and of values that do not fit its parameters; another run does not help."""
_NO_MARKS = (asyncpg.SyntaxOrAccessError, asyncpg.ReadOnlySQLTransactionError)
"""Errors of a missing right or table, or of a read-only server: a retry does not help."""
_IN_THE_WAY = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
"""Errors of taking up marks while another refresh of the board runs. Elsewhere they are ordinary faults."""
_UNREACHED = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
_NAMES_NO_DATA = {"08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57"}
"""SQLSTATE classes whose messages name tables, rights, settings and users, but no value of a row."""
QueryArgument: TypeAlias = datetime | str | int | Sequence[NodeId]
_ONE = timedelta(microseconds=1)
_LOCK_TIMEOUT = timedelta(seconds=5)
_HELLO = 5.0
"""Seconds for the first query on a connection, which reveals a server that has silently vanished."""
_LONGER = timedelta(seconds=5)
"""Time beyond the server's own limit after which a query is given up here: the server did not answer at all."""
REPLAYED = """
SELECT CASE WHEN pg_is_in_recovery()
    THEN coalesce(pg_last_xact_replay_timestamp(), (SELECT checkpoint_time FROM pg_control_checkpoint()))
END AS replayed
"""
"""Query for the time of the last commit that a standby shows, or of its checkpoint. Null on a primary."""
BEGIN = f"""{REPLAYED},
    now() AS began,
    clock_timestamp() AS as_of,
    pg_current_snapshot()::text AS visible,
    set_config('statement_timeout', $1, true),
    set_config('idle_in_transaction_session_timeout', $1, true),
    set_config('lock_timeout', $2, true)
"""
"""First query of a transaction that reads: how long a statement or a pause in it may take, and how long a lock."""
_TAKE_UP = """
WITH former AS (SELECT xmin::text::bigint AS xid FROM momentus.boards WHERE board = $1)
INSERT INTO momentus.boards (board, as_of) VALUES ($1, $2)
ON CONFLICT (board) DO UPDATE SET as_of = excluded.as_of
RETURNING pg_current_xact_id()::text::bigint AS xid, (SELECT xid FROM former) AS former
"""
"""Query that locks a board's row. The row's ``xmin`` is the transaction that took up the marks before."""
_MARKS = f"""
WITH taken AS (
    DELETE FROM momentus.dirty WHERE board = $1 RETURNING source, to_jsonb(dirty) -> 'nodes' AS nodes
)
SELECT
    source, convert_to(node, 'SQL_ASCII') AS node, coalesce(jsonb_typeof(nodes) = 'array', false) AS named,
    (SELECT count(*) FROM taken) AS marks
FROM taken
LEFT JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(nodes) WHEN 'array' THEN nodes END) AS node ON true
GROUP BY source, node, named
LIMIT {MOST_NODES + 1}
"""  # noqa: S608  a constant
"""Query that deletes a board's marks. The board's row is locked, so it never waits for another refresh.

Tables of an earlier installation have no column ``nodes``; JSON shows that without an error. Nodes are sent as
bytes: in a database with the encoding SQL_ASCII a text need not be UTF-8, and one such row would stop the board.
"""
_SET_FORWARD = "the database's clock was set while its state was taken; the next refresh takes it again"
_UNDO = "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part; SELECT pg_advisory_unlock_all()"


class AnotherRefresh(Exception):
    """Another refresh of the board holds its marks; a retry succeeds soon."""


class MarksRefused(Exception):
    """The database does not let this user take up marks; the message is the database's."""


def log_fields(error: BaseException) -> dict[str, str]:
    """Return the fields to log of an error: its name, and the server's message if that holds no data.

    >>> log_fields(asyncpg.UndefinedTableError('relation "shop.orders" does not exist'))
    {'error': 'UndefinedTableError', 'reason': 'relation "shop.orders" does not exist'}
    """
    named = {"error": type(error).__name__}
    if isinstance(error, ConnectionEnded):
        return named | {"reason": str(error)}
    code = str(getattr(error, "sqlstate", None) or "")
    if code[:2] not in _NAMES_NO_DATA or getattr(error, "context", None):  # a function may say anything
        return named
    return named | {"reason": str(getattr(error, "message", None) or error)}


@dataclass(slots=True)
class DatabaseSnapshot:
    """One database state, and the two instants between which it was taken; it is true for the later one."""

    began: datetime
    as_of: datetime
    visible: str
    """``pg_current_snapshot()``: which transactions are in it."""
    _connection: Any
    clock: datetime | None = None
    """Instant of the state by a standby's own clock; ``began`` and ``as_of`` are by the primary's."""
    memo: RefreshMemo = field(default_factory=RefreshMemo)
    """Results that the process remembers of earlier snapshots."""
    bounds: ReportBounds = DEFAULT
    """Largest allowed report."""
    xid: int | None = None
    """Transaction id; None while the transaction only reads."""
    reading: ClockReading | None = None
    """Reading of the server's clock at the start of the transaction."""
    spent: float = 0.0
    """Database time in seconds for the queries of its reports, failed ones included."""
    _is_part_due: bool = False
    _trees: dict[TreeQuery, Tree] = field(default_factory=dict)
    _earliest: dict[tuple[str, datetime], Any] = field(default_factory=dict)

    async def take_up(self, board: str) -> TakenMarks:
        """Take up the marks of a board and return them. They come back if the transaction fails.

        From then on the transaction is read-only, and no statement in it can undo that.

        Raises:
            AnotherRefresh: another refresh of the board is running, or has ended since this state was taken.
            MarksRefused: the database does not let this user take up marks. The transaction has failed.
        """
        try:
            row = await self._connection.fetchrow(_TAKE_UP, board, self.as_of)
            self.xid = row["xid"]
            taken = read_marks(await self._connection.fetch(_MARKS, board), row["former"])
        except _IN_THE_WAY as error:
            raise AnotherRefresh(type(error).__name__) from error
        except _NO_MARKS as error:
            raise MarksRefused(str(error)) from error
        await self._connection.execute("SET TRANSACTION READ ONLY")
        return taken

    @property
    def standby(self) -> bool:
        """True if the server replays another server's changes (a standby)."""
        return self.clock is not None

    @property
    def at(self) -> datetime:
        """Instant at which the state was taken, by the server's clock."""
        return self.clock or self.as_of

    @property
    def follows(self) -> datetime:
        """Instant before which every set is of an earlier state, or of this one."""
        return self.began + _ONE if self.standby else self.began

    @asynccontextmanager
    async def part(self, *, lazily: bool = False) -> AsyncIterator[None]:
        """Run a part whose failure leaves the rest of the transaction usable, and undo the effects of its queries.

        Session-level advisory locks are released, since through a pooler another client gets the session next.

        Args:
            lazily: begin it with the first query of a report; no other query may run in it.
        """
        self._is_part_due = True
        if not lazily:
            await self._begin_part()
        try:
            yield
        finally:
            if not self._is_part_due and not is_lost(self._connection):
                await self._connection.execute(_UNDO)
            self._is_part_due = False

    async def _begin_part(self) -> None:
        """Begin the part if that is still to be done."""
        if self._is_part_due:
            self._is_part_due = False
            await self._connection.execute("SAVEPOINT part")

    async def note_catalogue(self, board: str, digest: str | None) -> None:
        """Discard prepared queries if a column's type may have changed since the board's last refresh.

        A prepared query keeps the types of its parameters: compared with a column that lost its time zone,
        ``:now`` would be converted by the session's zone without an error.

        Args:
            digest: the catalogue's digest of all tables of the board; None: not known.
        """
        if not self.memo.knows_catalogue(board, digest):
            self.memo.forget_columns()
            if digest is not None:
                self.memo.forget_results()
            await self._connection.reload_schema_state()

    @property
    def lost(self) -> bool:
        """True if the connection has ended, so that no further report can be computed on it."""
        return is_lost(self._connection)

    async def tree(self, report: Report) -> Tree:
        """Return the report's tree; reports of a board with the same query share it.

        Raises:
            InvalidTree: the query's rows do not form a tree.
            InvalidRows: names have a type that is never shown, or a value has no form.
        """
        query = report.tree, report.tree_rules
        if query not in self._trees:
            rows = list(await self._read(report.tree, scope="id"))
            self.bounds.require_nodes(len(rows))
            known = await off_loop(lambda: self.memo.known_tree(query, rows), nodes=len(rows))
            if known is None:
                columns = await tree_columns(self._connection, report.tree)
                grown = partial(tree_of_rows, columns=columns, rules=report.tree_rules)
                known = await off_loop(lambda: self.memo.tree(query, rows, grown), nodes=len(rows))
            self._trees[query] = known
        return self._trees[query]

    async def tree_columns(self, report: Report) -> Mapping[str, str]:
        """Return the column types of the report's tree, by name. Raises as :meth:`tree`."""
        await self._begin_part()
        return await tree_columns(self._connection, report.tree)

    async def rows(self, report: Report, *, now: datetime, day: Day, nodes: Collection[NodeId] = ()) -> list[Row]:
        """Return the report's direct rows.

        Args:
            nodes: nodes to query, if the query has ``:nodes``.

        Raises:
            InvalidRows: the column for ``valid_until`` is missing or has values without order; a column is
                duplicate or has a type that is never shown; or a value has no form.
        """
        await self._begin_part()
        process = self._connection.get_server_pid()
        described = self.memo.columns(process, report.sql)
        if described is None:
            described = await describe_report(self._connection, report)
            self.memo.note_columns(process, report.sql, described)
        check_columns(report, described)
        try:
            values = _values(report.parameters, now, day, nodes)
            rows = list(await self._read(report.sql, *values, scope=report.scope))
        except Exception:
            self.memo.note_columns(process, report.sql, None)  # a column's type may have changed
            raise
        self.bounds.require_nodes(len(rows))
        if report.valid_until_column:
            earliest = partial(_earliest, rows, report.valid_until_column)
            self._earliest[report.name, now] = await off_loop(earliest, nodes=len(rows))
        return rows

    async def valid_until(self, report: Report, *, now: datetime, day: Day) -> Any:  # noqa: ANN401  the query's
        """Return the result of the report's query for its validity, unchecked; None if it has no row.

        No query is sent if the result is a column of rows that were already read.
        """
        if (report.name, now) in self._earliest:
            return self._earliest[report.name, now]
        rows = await self._read(report.valid_until, *_values(report.valid_until_parameters, now, day))
        return rows[0][0] if rows else None

    async def query(self, sql: str, *arguments: QueryArgument) -> list[Any]:
        """Run any other query on the same state.

        Raises:
            InvalidRows: a value cannot be represented.
        """
        return list(await self._fetch(sql, *arguments))

    def require_one_clock(self, *, since_began: timedelta) -> None:
        """Make ``began`` an instant by the clock of ``as_of``. A standby's instants are those of commits.

        Args:
            since_began: running time since before the transaction began.

        Raises:
            InterfaceError: the server's clock has been set forward since.
        """
        if self.standby or self.reading is None:
            return
        taking = (self.reading.heard_us - self.reading.asked_us) * _ONE
        began = instant_before(self.began, self.as_of, taking=taking, since_began=since_began)
        if began is None:
            raise asyncpg.InterfaceError(_SET_FORWARD)
        self.began = began

    async def clock_kept(self) -> bool:
        """Return True if the server's clock has certainly not been set since this state was taken.

        Raises:
            DATABASE_FAULTS: the connection is lost.
        """
        if self.reading is None or self.reading.error_us > SET_US:
            return False
        asked_us = running_us()
        at = await self._connection.fetchval("SELECT clock_timestamp()")
        return readings_agree(self.reading, ClockReading(microseconds(at), asked_us, running_us()))

    async def _read(self, sql: str, *arguments: QueryArgument, scope: str = "") -> Any:  # noqa: ANN401  records
        """Run a query of a report and add its time by the server's clock; by ours if it fails.

        Args:
            scope: column with the node's id, for a query that is limited to the allowed nodes.
        """
        await self._begin_part()
        timed = with_execution_time(self.bounds.limited_query(sql) if scope else sql)
        began, seconds = time.perf_counter(), None
        try:
            rows = await self._fetch(sql, *arguments, scope=scope, sent=timed)
            seconds = take_execution_time(rows)
            return rows
        finally:
            waited = time.perf_counter() - began  # never less, unless the server's clock was set meanwhile
            self.spent += waited if seconds is None else min(max(0.0, seconds), waited)

    async def _fetch(self, sql: str, *arguments: QueryArgument, scope: str = "", sent: str = "") -> Any:  # noqa: ANN401  records
        await self._begin_part()
        try:
            return await self._connection.fetch(sent or sql, *arguments)
        except TimeoutError as error:
            raise give_up_connection(self._connection) from error
        except DATABASE_FAULTS:
            raise
        except Exception as error:  # the driver raises plain Python errors for values it cannot read
            raise await unreadable_value(self._connection, sql, arguments, scope, error) from error


def is_unreached(error: BaseException) -> bool:
    """Return True if no server accepted a connection: none runs, one is starting or stopping, or none is primary.

    False for the end of a connection, `ConnectionEnded`, and for a `TimeoutError`.

    >>> is_unreached(ConnectionRefusedError()), is_unreached(TimeoutError())
    (True, False)
    """
    return isinstance(error, _UNREACHED) and not isinstance(error, TimeoutError)


@asynccontextmanager
async def undo_at_end(connection: Any, **options: Any) -> AsyncIterator[None]:  # noqa: ANN401  the driver's
    """Roll a transaction back at its end: before Postgres 16, read-only queries can create large objects.

    Args:
        options: options of the transaction.
    """
    transaction = connection.transaction(**options)
    await transaction.start()
    try:
        yield
    finally:
        if not is_lost(connection):
            await transaction.rollback()


def _earliest(rows: list[Row], column: str) -> Any:  # noqa: ANN401  the query's
    try:
        return min((row[column] for row in rows if not is_never(row[column])), default=None)
    except (KeyError, TypeError) as error:
        raise InvalidRows(
            f"valid_until: the column {column} must be a timestamptz of the query ({error})"
        ) from None


def _values(
    parameters: tuple[str, ...], now: datetime, day: Day, nodes: Collection[NodeId] = ()
) -> list[QueryArgument]:
    values: dict[str, QueryArgument] = {"now": now, "day_start": day.start, "day_end": day.end, "zone": day.zone}
    values["nodes"] = sorted(nodes)
    return [values[name] for name in parameters]


def snapshot_of(
    connection: Any,  # noqa: ANN401  the driver's
    first: Any,  # noqa: ANN401  the driver's
    before: datetime | None,
    *,
    memo: RefreshMemo | None = None,
) -> DatabaseSnapshot:
    """Return a snapshot from the transaction's first row.

    Args:
        before: time of the last commit that a standby had replayed before the transaction.

    Raises:
        InterfaceError: the connection led to a primary before and leads to a standby now.
    """
    memo = memo or RefreshMemo()
    if first["replayed"] is None:
        return DatabaseSnapshot(first["began"], first["as_of"], first["visible"], connection, memo=memo)
    if before is None:
        raise asyncpg.InterfaceError(
            "the connection now reaches a different server; the next refresh uses the new one"
        )
    xmin = first["visible"].partition(":")[0]
    return DatabaseSnapshot(
        before, first["replayed"], f"{xmin}:{xmin}:", connection, clock=first["as_of"], memo=memo
    )


def _transaction(connection: Any, *, readonly: bool) -> Any:  # noqa: ANN401  the driver's
    options: dict[str, Any] = {"isolation": "repeatable_read", "readonly": readonly}
    return undo_at_end(connection, **options) if readonly else connection.transaction(**options)


class Source:
    """Database connections for refreshes, opened on first use.

    Args:
        dsn: address with a user that has SELECT on the reports' tables; only marks need more rights.
        statement_timeout: time after which the server cancels a query.
        connections: number of refreshes that may run at once.
        bounds: largest allowed report.
    """

    def __init__(
        self, dsn: str, *, statement_timeout: timedelta, connections: int = 2, bounds: ReportBounds = DEFAULT
    ) -> None:
        self._timeouts = [f"{one // timedelta(milliseconds=1)}ms" for one in (statement_timeout, _LOCK_TIMEOUT)]
        self._bounds = bounds
        self._pool = LazyPool(
            dsn,
            application="momentus-refresh",
            connections=connections,
            init=read_exactly,
            command_timeout=(statement_timeout + _LONGER).total_seconds(),
        )
        self._memo = RefreshMemo()

    @asynccontextmanager
    async def snapshot(self, *, readonly: bool = True) -> AsyncIterator[DatabaseSnapshot]:
        """Open a transaction in which every query sees the same state; any error rolls it back.

        Raises:
            ConnectionEnded: the server closed the connection meanwhile.
            MarksRefused: the server is a standby, and the transaction was to write.
            NoAnswer: the server did not answer in time.
        """
        async with self._pool.connection() as connection:
            try:
                async with self._seen(connection, readonly=readonly) as snapshot:
                    yield snapshot
            except DATABASE_FAULTS as error:
                if is_lost(connection) and not isinstance(error, NoAnswer):
                    raise connection_ended(error) from error
                raise

    @asynccontextmanager
    async def _seen(self, connection: Connection, *, readonly: bool) -> AsyncIterator[DatabaseSnapshot]:
        replayed = await connection.fetchval(REPLAYED, timeout=_HELLO)
        if not readonly and replayed is not None:
            raise MarksRefused("the refresh reached a standby; add target_session_attrs=primary to the address")
        begun_us = running_us()
        async with _transaction(connection, readonly=readonly):
            if not readonly:  # a role or a database may have default_transaction_read_only
                await connection.execute("SET TRANSACTION READ WRITE")
            asked_us = running_us()
            first = await connection.fetchrow(BEGIN, *self._timeouts)
            heard_us = running_us()
            if first is None:  # pragma: no cover  a SELECT without FROM has one row
                raise asyncpg.InterfaceError("SELECT now() returned no row")
            snapshot = snapshot_of(connection, first, replayed, memo=self._memo)
            snapshot.bounds = self._bounds
            snapshot.reading = ClockReading(microseconds(snapshot.at), asked_us, heard_us)
            snapshot.require_one_clock(since_began=(heard_us - begun_us) * _ONE)
            yield snapshot

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()
