"""Function calls in report queries with reads, results or effects that no plan and no mark shows."""

from collections.abc import Iterable
from typing import Any

from reports.calls import names_of_calls

_CLOCKS = ["clock_timestamp", "timeofday"]
"""Functions that have their own findings."""
_FUNCTIONS = """
SELECT DISTINCT namespace.nspname || '.' || proname AS name, provolatile = 'v' AS volatile
FROM pg_proc AS function
JOIN pg_namespace AS namespace ON namespace.oid = pronamespace
JOIN pg_language AS language ON language.oid = prolang
WHERE lower(proname) = ANY ($1::text[]) AND proname <> ALL ($2::text[])
    AND (provolatile = 'v' OR provolatile = 's' AND function.oid >= 16384 AND lanname NOT IN ('internal', 'c'))
ORDER BY 1
"""


async def hidden_calls(connection: Any, queries: Iterable[str]) -> tuple[str, ...]:  # noqa: ANN401  the driver's
    """Return sentences about functions of these queries with hidden reads or effects.

    Args:
        connection: of the driver, in a transaction.
    """
    names = sorted({name for sql in queries for name in names_of_calls(sql)})
    rows = await connection.fetch(_FUNCTIONS, names, _CLOCKS)
    return tuple(_in_words(row["name"], volatile=row["volatile"]) for row in rows)


def _in_words(name: str, *, volatile: bool) -> str:
    if name.startswith("pg_catalog.") or not volatile:
        what = "its results and effects leave no mark" if volatile else "no plan shows the tables that it reads"
    else:
        what = "no plan shows its reads and effects; a STABLE one may not write"
    return f"calls {name}(): {what}" + ("" if name.startswith("pg_catalog.") else "; name its tables in sources")
