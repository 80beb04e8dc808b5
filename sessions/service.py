"""Tokens of machines: the dashboard of another system, a script. No I/O.

A service token is an ordinary session, checked by the same code at the same cost. It differs in its content: it
belongs to `SERVICE_USER`, which no user can log in as; its label is the machine's name; its data has roots only;
it ends at a fixed time, used or not (its idle limit is its absolute limit).

Two tokens may share a name, so that the new one can be deployed before the old one is revoked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from .errors import SessionRefused
from .node_ids import is_id_text
from .operations import SERVICE_USER, SessionOperation, create_session
from .session import Session

TOKENS_LIMIT = 100
"""Maximum number of service tokens: the length of a list."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_NODE_LIMIT = 2**63 - 1


def create(
    name: str, roots: Collection[int | str | UUID], *, lasts: timedelta
) -> SessionOperation[tuple[str, Session]]:
    """Create a token for a machine.

    Args:
        roots: ids of the nodes whose subtrees it may read, at least one.
        lasts: time from now until it ends.

    Raises:
        SessionRefused: an argument is invalid; by its reply, `TOKENS_LIMIT` tokens exist already.
    """
    if not _NAME.fullmatch(name):
        raise SessionRefused(
            "name: must have 1 to 63 letters, digits, dots, hyphens or underscores and start with a letter or "
            f"digit, not {name!r}"
        )
    ids = {str(root) if isinstance(root, UUID) else root for root in roots}
    if not ids or not all(map(_is_node, ids)):
        raise SessionRefused(
            "roots: must have at least one node id, each a number from 1 to 2^63-1, a UUID, or a text of 1 to 64 "
            "letters, digits and - . _ ~"
        )
    data = {"roots": sorted(ids, key=lambda root: (isinstance(root, str), root))}
    return create_session(SERVICE_USER, data, label=name, idle=lasts, absolute=lasts, limit=TOKENS_LIMIT)


def _is_node(root: int | str) -> bool:
    return is_id_text(root) if isinstance(root, str) else 1 <= root <= _NODE_LIMIT
