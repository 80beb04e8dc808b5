"""Credentials of a request, and the nodes that a session may read.

A manager has roots: the org nodes named in the session. The manager may read a node if one of the roots lies on
the path from the top of the tree down to that node, itself included; nothing else. The worker stores the path
beside each document, so the decision needs no tree and no further command.

It fails closed: a session without roots, or with roots that are not node ids, may read nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from reader.message import Request
from sessions.node_ids import is_id_text
from sessions.token import place_of

COOKIE = "__Host-momentus"
"""Name of the cookie; its prefix makes the browser insist on Secure, Path=/ and no Domain (RFC 6265bis,
4.1.3.2)."""

_BEARER = re.compile(r"bearer +(\S+)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """Session tokens of a request.

    Attributes:
        token: the token to try first.
        cookie: the token to try if the first has no session; empty if there is no second.
        passed_over: True if the Bearer is not a session token and the cookie replaced it.
    """

    token: str = field(repr=False)
    cookie: str = field(default="", repr=False)
    passed_over: bool = False


def credentials_of(request: Request) -> RequestTokens | None:
    """Return the session tokens of `Authorization: Bearer` and of the cookie, or None without either.

    The Bearer was chosen for this request and comes first. A Bearer without a session (a gateway's token, or that
    of a session that has ended) does not lock out a user whose cookie has one; the response then says that the
    Bearer is not valid.
    """
    cookie = _cookie(request)
    token = _bearer(request) or cookie
    if token is None:
        return None
    if not cookie or cookie == token:
        return RequestTokens(token)
    return RequestTokens(token, cookie) if place_of(token) else RequestTokens(cookie, passed_over=True)


def token_of(request: Request) -> str | None:
    """Return the token of `Authorization: Bearer`, or else of the cookie; None without either."""
    return _bearer(request) or _cookie(request)


def _bearer(request: Request) -> str | None:
    for credentials in request.values("authorization"):
        if found := _BEARER.fullmatch(credentials.strip()):
            return found[1]
    return None


def _cookie(request: Request) -> str | None:
    for cookies in request.values("cookie"):
        for cookie in cookies.split(";"):
            name, _, value = cookie.partition("=")
            if name.strip() == COOKIE:
                return value.strip()
    return None


def roots_of(data: Mapping[str, Any]) -> frozenset[str]:
    """Return the nodes whose subtrees a session may read, as texts: `roots`, a list of node ids.

    >>> sorted(roots_of({"roots": [17, "ventas", True, None, "a/b"]}))
    ['17', 'ventas']
    """
    roots = data.get("roots")
    return frozenset(map(str, filter(_is_node, roots))) if isinstance(roots, list) else frozenset()


def may_read(roots: AbstractSet[str], path: Iterable[str]) -> bool:
    """Return True if the node at the end of `path` (top of the tree first) is in the subtree of one of the roots.

    >>> may_read({"4"}, ["1", "4", "9"]), may_read({"9"}, ["1", "4"])
    (True, False)
    """
    return not roots.isdisjoint(path)


def in_order(scopes: Iterable[str]) -> list[str]:
    """Sort node ids: whole numbers by their value, then texts.

    >>> in_order(["b", "10", "9"])
    ['9', '10', 'b']
    """
    return sorted(scopes, key=lambda scope: (not scope.isdecimal(), int(scope) if scope.isdecimal() else 0, scope))


def _is_node(root: object) -> bool:
    return (type(root) is int) or (isinstance(root, str) and is_id_text(root))
