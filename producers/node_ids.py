"""Ids of nodes: whole numbers, UUIDs and short texts, written into URLs and keys as they are.

A text has characters that need no escape in URLs (RFC 3986, 2.3). Excluded are texts that a URL's path would
lose (`.` and `..`), and the names of the fields that are stored beside the documents of a report.
"""

from __future__ import annotations

import re

LONGEST = 64
ALLOWED = f"ids are whole numbers, UUIDs, or texts of 1 to {LONGEST} letters, digits and - . _ ~ without accents"
_UNSAFE = re.compile(r"[^A-Za-z0-9._~-]", re.ASCII)
_TAKEN = frozenset({".", "..", "_meta", "_error", "_gen", "_as_of", "_costs"})
_INTEGER_LIMIT = 2**63 - 1


def fault_of(text: str) -> str:
    """Return what makes a text unusable as an id; empty if nothing does.

    >>> fault_of("ventas-norte"), fault_of("ventas/norte")
    ('', "contains '/'")
    """
    if not text:
        return "is empty"
    if unsafe := _UNSAFE.search(text):
        return f"contains {unsafe[0]!a}"
    if len(text) > LONGEST:
        return f"has {len(text)} characters"
    return "is reserved" if text in _TAKEN else ""


def is_node_id(value: object) -> bool:
    """Return True for an id: a whole number from 1 to 2^63 - 1, or a text that is allowed.

    >>> is_node_id(17), is_node_id("ventas"), is_node_id(0), is_node_id(True)
    (True, True, False, False)
    """
    if isinstance(value, str):
        return not fault_of(value)
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _INTEGER_LIMIT
