"""Redis keys of stored reports; docs/wire.md describes their contents."""

WAITS, SINCE = "_waits", "_since"
"""Fields of a :func:`snapshot` that was never computed: the tables it waits for; when it was declared first."""


def snapshot(tenant: str, report: str) -> str:
    """Return the key of a HASH: everything stored of one report: a field per scope, its head, and ``_meta``."""
    return f"momentus:{{reports}}:snapshot:{tenant}:{report}"


def closed(tenant: str, report: str, day: str) -> str:
    """Return the key of a HASH like :func:`snapshot`, of a day (ISO) as it was at its end."""
    return f"momentus:{{reports}}:closed:{tenant}:{report}:{day}"


def staged(tenant: str, report: str, attempt: str) -> str:
    """Return the key of a HASH: a new set that one attempt to store it builds, until it is complete."""
    return f"momentus:{{reports}}:staged:{tenant}:{report}:{attempt}"


def staging(tenant: str) -> str:
    """Return the key of a SET: the :func:`staged` keys, so that abandoned ones can be found."""
    return f"momentus:{{reports}}:staging:{tenant}"


def wanted(tenant: str, report: str) -> str:
    """Return the key of a STRING that readers write when they find the report too old."""
    return f"momentus:{{reports}}:wanted:{tenant}:{report}"


def declared(tenant: str) -> str:
    """Return the key of a ZSET: reports by when a worker last declared them (ms); negative: when withdrawn."""
    return f"momentus:{{reports}}:declared:{tenant}"


def withdrawn(tenant: str, report: str) -> str:
    """Return the key of a HASH: the former :func:`snapshot` of a report that no worker declares."""
    return f"momentus:{{reports}}:withdrawn:{tenant}:{report}"


def prober(tenant: str, report: str = "") -> str:
    """Return the key of a STRING: the worker that holds the prober's lease, and the reports it has.

    With a report, it is the lease for reports that the tenant's prober lacks, named by the first of them.
    """
    return f"momentus:{{reports}}:prober:{tenant}" + (f":{report}" if report else "")


def keeper(tenant: str, board: str) -> str:
    """Return the key of a STRING: the worker that keeps the last sets of a board, named with its reports."""
    return f"momentus:{{reports}}:keeper:{tenant}:{board}"


def changed(tenant: str) -> str:
    """Return the channel on which each stored set is announced, JSON ``{"report", "gen"}``."""
    return f"momentus:{{reports}}:changed:{tenant}"


def audit(tenant: str, report: str) -> str:
    """Return the key of a HASH of audit results: ``audited``, ``passed_over``, ``mismatched``, ``last``."""
    return f"momentus:{{reports}}:audit:{tenant}:{report}"
