"""Tokens of machines: the dashboard of another system, a script. No I/O.

A service token is a session like any other, so whoever checks one checks the other at the same cost. It differs in
what it is made of: it belongs to `SERVICE_USER`, which no person can be; its label is the machine's name; it has
roots and nothing else; it ends at a fixed time and not for want of use (its idle limit is its absolute one).

Two tokens may have one name: the new one is put into use before the old one is revoked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta

from .errors import SessionRefused
from .operations import SERVICE_USER, SessionOperation, begin
from .session import Session

TOKENS_LIMIT = 100
"""Service tokens at a time: as many as a list shows."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_NODE_LIMIT = 2**63 - 1


def create(name: str, roots: Collection[int], *, lasts: timedelta) -> SessionOperation[tuple[str, Session]]:
    """A new token for a machine.

    Args:
        roots: the nodes whose subtrees it may read, at least one.
        lasts: how long it lives from now on.

    Raises:
        SessionRefused: naming what is not acceptable; by its reply, there are `TOKENS_LIMIT` already.
    """
    if not _NAME.fullmatch(name):
        raise SessionRefused(
            f"name must be 1 to 63 letters, digits, dots, hyphens or underscores, the first no sign: {name!r}"
        )
    if not roots or not all(1 <= root <= _NODE_LIMIT for root in roots):
        raise SessionRefused("roots must be one node id or more, each from 1 to 2^63-1")
    data = {"roots": sorted(set(roots))}
    return begin(SERVICE_USER, data, label=name, idle=lasts, absolute=lasts, limit=TOKENS_LIMIT)
