"""Every refusal of the reader, as RFC 9457 problem details.

One line per problem: its name (the end of its `type`, and its counter), its status and its title. The detail says
what to do. Refusals are never cached and contain no internals of the reader.

Absent and forbidden are one problem, NOT_FOUND, made by one function without arguments: they cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from reader.message import Headers, Response

TYPE = "urn:momentus:problem:"
ALLOW = "GET, HEAD, OPTIONS"
_NO_TOKEN = ("www-authenticate", 'Bearer realm="momentus"')
INVALID_TOKEN = ("www-authenticate", 'Bearer realm="momentus", error="invalid_token"')
"""Challenge for an invalid token, also sent with a document: other credentials might change the response (RFC
9110, 11.6.1)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Type of refusal."""

    name: str
    status: int
    title: str


BAD_REQUEST = Problem("bad-request", 400, "The request cannot be read")
MALFORMED = Problem("malformed", 400, "The bytes are not an HTTP request")
UNAUTHORISED = Problem("unauthorised", 401, "Log in first")
NOT_FOUND = Problem("not-found", 404, "No such report")
NOT_ACCEPTABLE = Problem("not-acceptable", 406, "Reports are JSON")
METHOD_NOT_ALLOWED = Problem("method-not-allowed", 405, "Reports are read-only")
TOO_SLOW = Problem("too-slow", 408, "The request was not complete in time")
GONE = Problem("gone", 410, "The node was removed")
BODY_TOO_LARGE = Problem("body-too-large", 413, "Reports are read-only; send no body")
TARGET_TOO_LONG = Problem("target-too-long", 414, "The request line is too long")
PRECONDITION_FAILED = Problem("precondition-failed", 412, "The document does not meet your condition")
MISDIRECTED = Problem("misdirected", 421, "The reader does not serve this host name")
HEAD_TOO_LARGE = Problem("head-too-large", 431, "The header fields are too large")
INTERNAL = Problem("internal", 500, "The reader failed")
WARMING = Problem("warming", 503, "Not computed yet")
TOO_STALE = Problem("too-stale", 503, "The report is too old")
NOT_FRESH_ENOUGH = Problem("not-fresh-enough", 503, "The report is older than you accept")
NOT_YET_VISIBLE = Problem("not-yet-visible", 503, "Your write is not in the report yet")
UNREADABLE = Problem("unreadable", 503, "The stored report cannot be read")
TOO_MANY_CONNECTIONS = Problem("too-many-connections", 503, "Too many connections")
REDIS_UNREACHABLE = Problem("redis-unreachable", 503, "Redis is unreachable")


def refuse(
    problem: Problem,
    detail: str,
    *,
    headers: Headers = (),
    status: int | None = None,
    **members: object,
) -> Response:
    """Return the response for a problem; `members` that are not None are added to its body.

    Example:
        >>> refuse(WARMING, "Ask again soon.", headers=(("retry-after", "5"),)).status
        503

    """
    status = status or problem.status
    body: dict[str, object] = {
        "type": TYPE + problem.name,
        "title": problem.title,
        "status": status,
        "detail": detail,
    }
    body |= {name: value for name, value in members.items() if value is not None}
    common = (
        ("content-type", "application/problem+json"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    )
    return Response(
        status=status,
        outcome=problem.name.replace("-", "_"),
        headers=common + headers,
        body=orjson.dumps(body),
    )


def statuses() -> dict[int, str]:
    """Return every status of a refusal, with its titles."""
    found: dict[int, list[str]] = {}
    for one in globals().values():
        if isinstance(one, Problem):
            found.setdefault(one.status, []).append(one.title)
    return {status: "; ".join(titles) for status, titles in sorted(found.items())} | {504: NOT_FRESH_ENOUGH.title}


def bad_request(detail: str) -> Response:
    """Refuse a request with a value that cannot be read; the detail names it."""
    return refuse(BAD_REQUEST, detail)


def refuse_host() -> Response:
    """Refuse a host name that is not the reader's: a foreign page's name may resolve to this address."""
    detail = (
        "Host: not a name of the reader; use a name of this machine, or list it in MOMENTUS_READER__ALLOWED_HOSTS."
    )
    return refuse(MISDIRECTED, detail)


def precondition_failed() -> Response:
    """Refuse a request whose `If-Match` or `If-Unmodified-Since` does not hold."""
    detail = "If-Match: ETags are weak, so only `*` matches. If-Unmodified-Since: the document has changed since."
    return refuse(PRECONDITION_FAILED, detail)


def not_found() -> Response:
    """Refuse a node that does not exist or that the session may not read, with the same response."""
    return refuse(NOT_FOUND, "There is no such report or node, or you may not read it.")


def refuse_token(*, token_given: bool) -> Response:
    """Refuse with the challenge of RFC 6750, which says whether a token is missing or has no session."""
    return refuse(
        UNAUTHORISED,
        "Send a session token as `Authorization: Bearer` or as the cookie `__Host-momentus`.",
        headers=(INVALID_TOKEN if token_given else _NO_TOKEN,),
    )


def not_acceptable() -> Response:
    """Refuse a client that accepts no form in which documents are stored."""
    detail = "Documents are application/json, plain or with Content-Encoding zstd or gzip; accept one of them."
    return refuse(NOT_ACCEPTABLE, detail)


def not_yet_visible(retry_after_s: int) -> Response:
    """Refuse stored data that does not contain the transaction of `If-Write-Visible`."""
    detail = "If-Write-Visible: the transaction is not in the report yet; a refresh has been requested."
    return refuse(NOT_YET_VISIBLE, detail, headers=(("retry-after", str(retry_after_s)),))


def method_not_allowed() -> Response:
    """Refuse a method and name the allowed ones."""
    return refuse(METHOD_NOT_ALLOWED, f"Allowed methods: {ALLOW}.", headers=(("allow", ALLOW),))


def refuse_unreachable() -> Response:
    """Refuse while Redis is unreachable, because neither data nor session can be proved."""
    detail = "The reader cannot reach Redis; retry later."
    return refuse(REDIS_UNREACHABLE, detail, headers=(("retry-after", "2"),))
