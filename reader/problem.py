"""Every refusal of the reader, as RFC 9457 problem details.

One line per problem: its name (the end of its `type`, and its counter), its status and its title. The
detail says what to do. None is ever cached, and none carries anything of our insides.

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
"""Also beside a document: other credentials might change the answer (RFC 9110, 11.6.1)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of refusal."""

    name: str
    status: int
    title: str


BAD_REQUEST = Problem("bad-request", 400, "The request cannot be read")
MALFORMED = Problem("malformed", 400, "The octets are no HTTP request")
UNAUTHORISED = Problem("unauthorised", 401, "Log in first")
NOT_FOUND = Problem("not-found", 404, "No such report")
NOT_ACCEPTABLE = Problem("not-acceptable", 406, "Reports are JSON")
METHOD_NOT_ALLOWED = Problem("method-not-allowed", 405, "Reports can only be read")
TOO_SLOW = Problem("too-slow", 408, "The request did not come to its end in time")
GONE = Problem("gone", 410, "The node was removed")
BODY_TOO_LARGE = Problem("body-too-large", 413, "Reports can only be read; send no body")
TARGET_TOO_LONG = Problem("target-too-long", 414, "The request line is too long")
PRECONDITION_FAILED = Problem("precondition-failed", 412, "The document is not the one you named")
MISDIRECTED = Problem("misdirected", 421, "The reader does not answer to this name")
HEAD_TOO_LARGE = Problem("head-too-large", 431, "The header fields are too large")
INTERNAL = Problem("internal", 500, "The reader failed")
WARMING = Problem("warming", 503, "Not computed yet")
TOO_STALE = Problem("too-stale", 503, "The report is too old to be shown")
NOT_FRESH_ENOUGH = Problem("not-fresh-enough", 503, "Not as fresh as you asked for")
NOT_YET_VISIBLE = Problem("not-yet-visible", 503, "Your write is not in the report yet")
UNREADABLE = Problem("unreadable", 503, "The stored report cannot be read")
TOO_MANY_CONNECTIONS = Problem("too-many-connections", 503, "Too many connections")
REDIS_UNREACHABLE = Problem("redis-unreachable", 503, "Redis does not answer")


def refuse(
    problem: Problem,
    detail: str,
    *,
    headers: Headers = (),
    status: int | None = None,
    **members: object,
) -> Response:
    """The answer for a problem; `members` are added to its body, those that are None left out.

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
    """Every status a refusal may have, with what it means."""
    found: dict[int, list[str]] = {}
    for one in globals().values():
        if isinstance(one, Problem):
            found.setdefault(one.status, []).append(one.title)
    return {status: "; ".join(titles) for status, titles in sorted(found.items())} | {504: NOT_FRESH_ENOUGH.title}


def bad_request(detail: str) -> Response:
    """Something in the request cannot be read; the detail names it."""
    return refuse(BAD_REQUEST, detail)


def misdirected() -> Response:
    """The request names a host that is not the reader's: a page of the web may have its name point here."""
    detail = "Ask by a name of this machine, or list the name in MOMENTUS_READER__ALLOWED_HOSTS."
    return refuse(MISDIRECTED, detail)


def precondition_failed() -> Response:
    """`If-Match` or `If-Unmodified-Since` does not hold."""
    detail = (
        "If-Match: ETags here are weak, so that none but `*` matches; If-Unmodified-Since: it has changed since."
    )
    return refuse(PRECONDITION_FAILED, detail)


def not_found() -> Response:
    """The one answer for what does not exist and for what the asker may not see."""
    return refuse(NOT_FOUND, "There is no such report or node, or it is not yours to read.")


def unauthorised(*, token_given: bool) -> Response:
    """The challenge of RFC 6750; says whether a token was missing or is no longer good."""
    return refuse(
        UNAUTHORISED,
        "Send a session token as `Authorization: Bearer` or as the cookie `__Host-momentus`.",
        headers=(INVALID_TOKEN if token_given else _NO_TOKEN,),
    )


def not_acceptable() -> Response:
    """There is no other form."""
    detail = "Documents are application/json, plain or with Content-Encoding zstd or gzip; accept one of them."
    return refuse(NOT_ACCEPTABLE, detail)


def not_yet_visible(retry_after_s: int) -> Response:
    """The transaction of `If-Write-Visible` is not in the stored data."""
    detail = "The transaction you named is not in the report yet; a refresh has been asked for."
    return refuse(NOT_YET_VISIBLE, detail, headers=(("retry-after", str(retry_after_s)),))


def method_not_allowed() -> Response:
    """With the methods that are."""
    return refuse(METHOD_NOT_ALLOWED, f"Allowed here: {ALLOW}.", headers=(("allow", ALLOW),))


def unreachable() -> Response:
    """Redis is away: no answer can be proved true, nor a session good."""
    detail = "The reader cannot reach its data. It recovers by itself once Redis is back."
    return refuse(REDIS_UNREACHABLE, detail, headers=(("retry-after", "2"),))
