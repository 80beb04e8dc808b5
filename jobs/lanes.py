"""The lanes: queues with their own slots, so that a flood in one never holds up another (a bulkhead).

A lane's group is the word before its first dot. All keys of a group share one hash tag, ``{mail}`` for
instance, so that one script may touch several of them on a Redis Cluster.
"""

import re

from .errors import JobError

MAIL_URGENT = "mail.urgent"
MAIL_NORMAL = "mail.normal"
MAIL_BULK = "mail.bulk"
REPORTS = "reports"

MAIL_LANES = (MAIL_URGENT, MAIL_NORMAL, MAIL_BULK)
"""The lanes of mails, in order of priority."""

LANES = (*MAIL_LANES, REPORTS)
"""Every lane, in the order in which tables show them."""

OWN = "jobs"
"""The lane of a backend's own jobs that name none, and the group of all lanes of such jobs."""

GROUPS = ("mail", REPORTS, OWN)
"""Groups of all lanes."""
_OWN_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")


def own_lane(name: str) -> str:
    """Return the lane of own jobs with a short name; an empty name is the default lane.

    Raises:
        JobError: the name is malformed.

    >>> own_lane("invoices"), own_lane("jobs.invoices"), own_lane("")
    ('jobs.invoices', 'jobs.invoices', 'jobs')
    """
    short = name.removeprefix(f"{OWN}.") if isinstance(name, str) else ""
    if short in {"", OWN} and name in {"", OWN}:
        return OWN
    if not _OWN_NAME.match(short):
        raise JobError(
            "lane", f"{name!r} must be a lower-case letter and up to 31 lower-case letters, digits or _"
        )
    return f"{OWN}.{short}"
