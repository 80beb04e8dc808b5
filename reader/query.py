"""Parameters of a query, not decoded.

Names and values here need no percent-encoding and no plus signs. So, as in a path, nothing is decoded: a second
way to write a report's name would get past the rules of a proxy.
"""

from __future__ import annotations


def values_of(query: str, name: str) -> list[str]:
    """Return all values of one parameter, in their order.

    >>> values_of("at=2026-11-20&x=1&at=", "at"), values_of("%61t=1&at=%32", "at"), values_of("at", "at")
    (['2026-11-20', ''], ['%32'], [''])
    """
    pairs = [piece.partition("=") for piece in query.split("&")] if query else []
    return [value for key, _, value in pairs if key == name]
