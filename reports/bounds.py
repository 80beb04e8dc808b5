"""Bounds on the size of a report, in nodes and bytes, so that no report exhausts a worker's memory.

A report beyond a bound fails alone, like one with invalid rows: its last good set stays, and the other reports of
its board are refreshed. Queries are limited to one row more than the bound; documents are counted while written.
"""

from dataclasses import dataclass

from reports.measures import InvalidRows

NODES = "MOMENTUS_REPORTS__MOST_NODES"
MIB = "MOMENTUS_REPORTS__MOST_MIB"
_MIB = 1 << 20
_REMEDY = "make the report smaller, or raise the worker's setting, which needs memory in the worker and in Redis"


@dataclass(frozen=True, slots=True)
class ReportBounds:
    """Largest allowed report: its nodes, and the MiB of all its documents before compression."""

    nodes: int = 200_000
    mib: int = 512

    def limited_query(self, sql: str) -> str:
        """Return the query with a limit of one row more than allowed.

        >>> print(ReportBounds(nodes=10).limited_query("SELECT 1 AS id;"))
        SELECT * FROM (
        SELECT 1 AS id
        ) AS bounded LIMIT 11
        """
        query = as_subquery(sql)
        if query is None:
            return sql
        return f"SELECT * FROM (\n{query}\n) AS bounded LIMIT {self.nodes + 1}"  # noqa: S608  the report's own query

    def require_nodes(self, count: int) -> None:
        """Raise if a report has more nodes, or rows, than allowed.

        Raises:
            InvalidRows: with the setting and what to do.
        """
        if count > self.nodes:
            raise InvalidRows(f"the report has more than {self.nodes:,} nodes, the limit of {NODES}; {_REMEDY}")

    def require_bytes(self, count: int) -> None:
        """Raise if the documents of a report have more bytes than allowed.

        Raises:
            InvalidRows: with the setting and what to do.
        """
        if count > self.mib * _MIB:
            raise InvalidRows(f"the documents are larger than {self.mib:,} MiB, the limit of {MIB}; {_REMEDY}")


DEFAULT = ReportBounds()


def as_subquery(sql: str) -> str | None:
    """Return a query so that it can be put in parentheses; None if its end is not known.

    Lines that are comments as a whole may have a semicolon.

    >>> as_subquery("SELECT 1; "), as_subquery("SELECT ';'")
    ('SELECT 1', None)
    """
    query = sql.rstrip().removesuffix(";")
    lines = (line for line in query.splitlines() if not line.lstrip().startswith("--"))
    return None if any(";" in line for line in lines) else query  # within a string or before a comment
