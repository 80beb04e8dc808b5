"""The Redis keys of stored reports; docs/wire.md says what each holds."""


def snapshot(tenant: str, report: str) -> str:
    """HASH of everything stored of one report: a field per scope, its head, and ``_meta``."""
    return f"momentus:{{reports}}:snapshot:{tenant}:{report}"


def closed(tenant: str, report: str, day: str) -> str:
    """HASH like :func:`snapshot`, of a day (ISO) as it was at its end."""
    return f"momentus:{{reports}}:closed:{tenant}:{report}:{day}"


def staged(tenant: str, report: str, attempt: str) -> str:
    """HASH of a new set that one attempt to store it puts together, until it is whole."""
    return f"momentus:{{reports}}:staged:{tenant}:{report}:{attempt}"


def staging(tenant: str) -> str:
    """SET of the :func:`staged` keys that there are, so that those a worker left behind are found."""
    return f"momentus:{{reports}}:staging:{tenant}"


def wanted(tenant: str, report: str) -> str:
    """STRING: somebody read the report and found it old. Written by readers."""
    return f"momentus:{{reports}}:wanted:{tenant}:{report}"


def declared(tenant: str) -> str:
    """ZSET: reports by when a worker last declared them (ms), negative: by when they were withdrawn."""
    return f"momentus:{{reports}}:declared:{tenant}"


def withdrawn(tenant: str, report: str) -> str:
    """HASH: the former :func:`snapshot` of a report that no worker declares."""
    return f"momentus:{{reports}}:withdrawn:{tenant}:{report}"


def prober(tenant: str, report: str = "") -> str:
    """STRING: the worker that looks for changes, so that only one does, and the reports it has.

    With a report, the first of those which the tenant's prober lacks: the worker that looks for changes of these.
    """
    return f"momentus:{{reports}}:prober:{tenant}" + (f":{report}" if report else "")


def changed(tenant: str) -> str:
    """Channel on which each stored set is announced, JSON ``{"report", "gen"}``."""
    return f"momentus:{{reports}}:changed:{tenant}"


def audit(tenant: str, report: str) -> str:
    """HASH of what audits came to: ``audited``, ``passed_over``, ``mismatched``, ``at_us``, ``last``."""
    return f"momentus:{{reports}}:audit:{tenant}:{report}"
