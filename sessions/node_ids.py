"""Ids of nodes in sessions and URLs: whole numbers, and texts of characters that need no escape in URLs.

`producers/node_ids.py` has the same rule; a test compares both.
"""

from __future__ import annotations

import re

CHARACTERS = "[A-Za-z0-9._~-]{1,64}"
"""Pattern of an id as text; `is_id_text` refuses a few that fit it."""
_TEXT = re.compile(CHARACTERS, re.ASCII)
_TAKEN = frozenset({".", "..", "_meta", "_error", "_gen", "_as_of", "_costs"})
"""Texts that the path of a URL loses, and fields that are stored beside a report's documents."""


def is_id_text(text: str) -> bool:
    """Return True if a text may be a node's id.

    >>> is_id_text("17"), is_id_text("ventas-norte"), is_id_text("a/b"), is_id_text("..")
    (True, True, False, False)
    """
    return _TEXT.fullmatch(text) is not None and text not in _TAKEN
