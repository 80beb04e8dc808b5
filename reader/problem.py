"""Every refusal of the reader, as RFC 9457 problem details.

One line per problem: its name (the end of its `type`, and its counter), its status and its title. The
detail says what to do. None is ever cached, and none carries anything of our insides.

Absent and forbidden are one problem, NOT_FOUND, made by one function without arguments: they cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from reader.message import Answer, Headers

TYPE = "urn:momentus:problem:"
ALLOW = "GET, HEAD, OPTIONS"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of refusal."""

    name: str
    status: int
    title: str


UNAUTHORISED = Problem("unauthorised", 401, "Log in first")
NOT_FOUND = Problem("not-found", 404, "No such report")
METHOD_NOT_ALLOWED = Problem("method-not-allowed", 405, "Reports can only be read")
GONE = Problem("gone", 410, "The node was removed")
INTERNAL = Problem("internal", 500, "The reader failed")
WARMING = Problem("warming", 503, "Not computed yet")
TOO_STALE = Problem("too-stale", 503, "The report is too old to be shown")
NOT_FRESH_ENOUGH = Problem("not-fresh-enough", 503, "Not as fresh as you asked for")
UNREADABLE = Problem("unreadable", 503, "The stored report cannot be read")
REDIS_UNREACHABLE = Problem("redis-unreachable", 503, "Redis does not answer")


def refuse(
    problem: Problem,
    detail: str,
    *,
    headers: Headers = (),
    status: int | None = None,
    **members: object,
) -> Answer:
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
    return Answer(
        status=status,
        outcome=problem.name.replace("-", "_"),
        headers=common + headers,
        body=orjson.dumps(body),
    )


def not_found() -> Answer:
    """The one answer for what does not exist and for what the asker may not see."""
    return refuse(NOT_FOUND, "There is no such report or node, or it is not yours to read.")


def unauthorised(*, token_given: bool) -> Answer:
    """The challenge of RFC 6750; says whether a token was missing or is no longer good."""
    error = ', error="invalid_token"' if token_given else ""
    return refuse(
        UNAUTHORISED,
        "Send a session token as `Authorization: Bearer` or as the cookie `__Host-momentus`.",
        headers=(("www-authenticate", f'Bearer realm="momentus"{error}'),),
    )


def method_not_allowed() -> Answer:
    """With the methods that are."""
    return refuse(METHOD_NOT_ALLOWED, f"Allowed here: {ALLOW}.", headers=(("allow", ALLOW),))


def unreachable() -> Answer:
    """Redis is away: no answer can be proved true, nor a session good."""
    detail = "The reader cannot reach its data. It recovers by itself once Redis is back."
    return refuse(REDIS_UNREACHABLE, detail, headers=(("retry-after", "2"),))
