"""Is a transaction's write in a report? Read-your-writes without a clock.

A backend keeps `pg_current_xact_id()` of its write and sends it as `If-Write-Visible`. Each stored set names the
snapshot it was computed from, as `pg_current_snapshot()` writes it: `xmin:xmax:xip,xip,…`. Transactions below
xmin had ended, those from xmax on had not begun, and those listed were still running (PostgreSQL, "Transaction ID
and Snapshot Information Functions").

Most writes change nothing in a given report. Whenever a set is found to be still true, the snapshot of that moment
is noted with it: what that one sees is in the set, or has changed nothing there.
"""

from __future__ import annotations

import re

_XID = re.compile(r"[0-9]{1,20}", re.ASCII)


def transaction(header: str) -> int | None:
    """The transaction id in an `If-Write-Visible` header; None when there is none.

    Raises:
        ValueError: it is no transaction id, as of a client that sends `undefined`; what it wants is not known.

    >>> transaction("748"), transaction("")
    (748, None)
    """
    if not header.strip():
        return None
    if not _XID.fullmatch(header.strip()):
        raise ValueError(
            "If-Write-Visible: is no transaction id; send the digits of pg_current_xact_id(), or no header."
        )
    return int(header)


def is_visible(xid: int, snapshot: str) -> bool:
    """Whether the snapshot sees what that transaction wrote; a snapshot that cannot be read sees nothing.

    >>> [is_visible(xid, "10:20:14,15") for xid in (9, 13, 14, 20)]
    [True, True, False, False]
    """
    try:
        xmin, xmax, running = snapshot.split(":")
        if xid < int(xmin):
            return True
        return xid < int(xmax) and xid not in map(int, filter(None, running.split(",")))
    except ValueError:
        return False
