"""Read-your-writes without a clock: tests whether a report contains the writes of a transaction.

A backend keeps `pg_current_xact_id()` of its write and sends it as `If-Write-Visible`. Each stored set names
the snapshot from which it was computed, as `pg_current_snapshot()` writes it: `xmin:xmax:xip,xip,…`.
Transactions below xmin had ended, those from xmax on had not begun, and those listed were still running
(PostgreSQL, "Transaction ID and Snapshot Information Functions").

Most writes change nothing in a given report. Whenever the worker finds a set to be still true, it stores the
snapshot of that moment with it: a write that this snapshot sees is in the set, or has changed nothing in it.
"""

from __future__ import annotations

import re

_XID = re.compile(r"[0-9]{1,20}", re.ASCII)


def awaited_transaction(header: str) -> int | None:
    """Return the transaction id in an `If-Write-Visible` header, or None if it is absent.

    Raises:
        ValueError: the value is not a transaction id (a client may send `undefined`).

    >>> awaited_transaction("748"), awaited_transaction("")
    (748, None)
    """
    if not header.strip():
        return None
    if not _XID.fullmatch(header.strip()):
        raise ValueError(
            "If-Write-Visible: not a transaction id; send the digits of pg_current_xact_id(), or no header"
        )
    return int(header)


def is_visible(xid: int, snapshot: str) -> bool:
    """Return True if the snapshot sees the writes of that transaction; one that cannot be read sees none.

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
