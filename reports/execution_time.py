"""Execution time of a report's query by the server's own clock, returned as one more row of the result.

The worker's clock would add the time in which the worker is busy with something else and does not read from the
connection: it saw 353 ms for a query that took the server 43. No ordinary role may read the processor time of its
connection, and the statistics of statements, like EXPLAIN ANALYZE, would need another query.

    time in it      from the server's receipt of the query to its last row: execution, and waits for disks, locks
                    and a processor
    also in it      waiting for a client that does not read, if the result is larger than the connection's buffers
    not in it       planning, and the way to the server and back

A query that fails has no last row.
"""

from typing import Any

from reports.bounds import as_subquery

_SECONDS = "momentus_seconds"
_TIMED = f"""\
SELECT report.*, CASE turn.number WHEN 2
    THEN extract(epoch FROM clock_timestamp() - statement_timestamp())::float8
END AS {_SECONDS}
FROM (VALUES (1), (2)) AS turn (number)
LEFT JOIN LATERAL (
    SELECT *, true AS momentus_row FROM (SELECT * FROM (
{{query}}
) AS report OFFSET 0) AS report WHERE turn.number = 1 OFFSET 0
) AS report ON true
WHERE turn.number > 0 AND (turn.number = 2 OR report.momentus_row)
"""  # noqa: S608  the report's own query
"""The query runs in the first turn, and the second has the time.

The inner OFFSET lets the server plan the query as if it stood alone, parallel workers included. The outer one
makes ``turn.number = 1`` a condition that is checked once and before it. With ``turn.number > 0`` the planner
expects one turn, so that a plan's cost, on which JIT depends, is not doubled.
"""


def with_execution_time(sql: str) -> str:
    """Return a query with one more row, which `take_execution_time` removes; its other rows stay in their order.

    A query whose end is not known is returned unchanged.
    """
    query = as_subquery(sql)
    return sql if query is None else _TIMED.format(query=query)


def take_execution_time(rows: list[Any]) -> float | None:
    """Remove the added row and return the execution time in seconds; None if there is no such row."""
    if not rows or rows[-1].get(_SECONDS) is None:
        return None
    return float(rows.pop()[_SECONDS])
