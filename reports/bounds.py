"""How large a report may be: a bound on nodes and one on bytes, so that none takes a worker's memory unforeseen.

A report that passes one of them fails by itself, as one whose rows are wrong: its last good set stays, the others
go on. Rows are asked for up to the bound, and one more that tells; documents are counted while they are written.
"""

from dataclasses import dataclass

from reports.measures import InvalidRows

NODES = "MOMENTUS_REPORTS__MOST_NODES"
MIB = "MOMENTUS_REPORTS__MOST_MIB"
_MIB = 1 << 20
_REMEDY = (
    "make the report smaller, or raise the setting of the worker, whose memory and that of Redis grow with it"
)


@dataclass(frozen=True, slots=True)
class ReportBounds:
    """The most of a report: nodes, and MiB of all its documents before they are compressed."""

    nodes: int = 200_000
    mib: int = 512

    def asked(self, sql: str) -> str:
        """A query that returns one row more than allowed, if there are so many.

        >>> print(ReportBounds(nodes=10).asked("SELECT 1 AS id;"))
        SELECT * FROM (
        SELECT 1 AS id
        ) AS bounded LIMIT 11
        """
        query = sql.rstrip().removesuffix(";")
        if ";" in query:  # within a text, or before a comment: only its author knows where it ends
            return sql
        return f"SELECT * FROM (\n{query}\n) AS bounded LIMIT {self.nodes + 1}"  # noqa: S608  the report's own query

    def require_nodes(self, count: int) -> None:
        """Refuse more nodes, or rows, than are allowed.

        Raises:
            InvalidRows: with the setting and what to do.
        """
        if count > self.nodes:
            raise InvalidRows(f"more than {self.nodes:,} nodes, as {NODES} allows; {_REMEDY}")

    def require_bytes(self, count: int) -> None:
        """Refuse more bytes of documents than are allowed.

        Raises:
            InvalidRows: with the setting and what to do.
        """
        if count > self.mib * _MIB:
            raise InvalidRows(f"documents of more than {self.mib:,} MiB, as {MIB} allows; {_REMEDY}")


DEFAULT = ReportBounds()
