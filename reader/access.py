"""Who asks, and what they may see.

A manager has roots: the org nodes named in their session. They may read a node when one of their roots lies
on the path from the top of the tree down to that node, itself included; nothing else. The path is stored
beside each document by whoever computed it, so the decision needs no tree and is a single look.

It fails closed: a session without roots, or with roots that are not node ids, sees nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from reader.message import Request
from sessions.token import place_of

COOKIE = "__Host-momentus"
"""The prefix makes the browser insist on Secure, Path=/ and no Domain (RFC 6265bis, 4.1.3.2)."""

_BEARER = re.compile(r"bearer +(\S+)", re.ASCII | re.IGNORECASE)
_NODE = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """The session tokens of a request.

    Attributes:
        token: the one that counts.
        cookie: the one that counts when the first opens no session; empty without one.
        passed_over: whether a Bearer that is no session token gave way to the cookie.
    """

    token: str = field(repr=False)
    cookie: str = field(default="", repr=False)
    passed_over: bool = False


def credentials_of(request: Request) -> RequestTokens | None:
    """Weigh `Authorization: Bearer` against the cookie; None without either.

    The Bearer was chosen for this request and counts first. One that opens no session (a gateway's, or one that
    has ended) does not lock out whoever has a session by cookie; the answer then says that it opened nothing.
    """
    token, cookie = token_of(request), next(_cookies(request), "")
    if token is None:
        return None
    if cookie in {"", token}:
        return RequestTokens(token)
    return RequestTokens(token, cookie) if place_of(token) else RequestTokens(cookie, passed_over=True)


def token_of(request: Request) -> str | None:
    """The session token of a request: `Authorization: Bearer`, or else the cookie; None without either."""
    for credentials in request.values("authorization"):
        if found := _BEARER.fullmatch(credentials.strip()):
            return found[1]
    return next(_cookies(request), None)


def _cookies(request: Request) -> Iterator[str]:
    for cookies in request.values("cookie"):
        for cookie in cookies.split(";"):
            name, _, value = cookie.partition("=")
            if name.strip() == COOKIE:
                yield value.strip()


def roots_of(data: Mapping[str, Any]) -> frozenset[int]:
    """The nodes whose subtrees a session may read: `roots`, a list of node ids, as numbers or decimal text.

    >>> sorted(roots_of({"roots": [17, "18", True, None, "x"]}))
    [17, 18]
    """
    roots = data.get("roots")
    return frozenset(map(int, filter(_is_node, roots))) if isinstance(roots, list) else frozenset()


def allowed(roots: AbstractSet[int], path: Iterable[int]) -> bool:
    """Whether the node at the end of `path` (top of the tree first) lies in the subtree of one of the roots.

    >>> allowed({4}, [1, 4, 9]), allowed({9}, [1, 4])
    (True, False)
    """
    return not roots.isdisjoint(path)


def _is_node(root: object) -> bool:
    return (type(root) is int) or (isinstance(root, str) and _NODE.fullmatch(root) is not None)
