"""Filter of job lists, from the fields of a form or the options of a command. No I/O.

state    of the jobs; one of STATES
lane     one lane; left out, all
kind     the whole kind
domain   of a recipient of a mail
error    a text within the reason of the last attempt, in upper or lower case
older    of ready, dead and uncertain jobs: in this state for longer than that
newer    in this state for less than that
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from durations import read_duration
from ops.lanes.known import lane_argument

ListState = Literal["ready", "scheduled", "leased", "retrying", "dead", "parked", "limited", "uncertain"]
STATES: tuple[ListState, ...] = get_args(ListState)
AGED: frozenset[ListState] = frozenset({"ready", "dead", "uncertain"})
"""States whose age is the time since the job entered them."""
FIELDS = ("state", "lane", "kind", "domain", "error", "older", "newer")
_KIND = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}", re.ASCII)
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)*[^\W_](?:[\w-]{0,61}[^\W_])?")
_DOMAIN_LIMIT, _ERROR_LIMIT = 253, 200


class FilterRefused(ValueError):
    """A field of a filter is invalid; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """The jobs that a list shows; a field that is empty or None matches all."""

    state: ListState = "dead"
    lane: str = ""
    kind: str = ""
    domain: str = ""
    error: str = ""
    older: timedelta | None = None
    newer: timedelta | None = None


def read_filter(fields: Mapping[str, str]) -> JobFilter:
    """Return the filter that these fields give; unknown fields are left out.

    Raises:
        FilterRefused: a field has a value that can match nothing.

    Example:
        >>> read_filter({"state": "dead", "domain": "Example.COM", "older": "2h"}).domain
        'example.com'
    """
    given = {name: fields.get(name, "").strip() for name in FIELDS}
    state = given["state"] or "dead"
    if state not in STATES:
        raise FilterRefused(f"state: {state[:64]!r} is not a state of jobs; choose from {', '.join(STATES)}")
    found = JobFilter(
        state=state,
        lane=_lane(given["lane"]),
        kind=_kind(given["kind"]),
        domain=_domain(given["domain"]),
        error=_error(given["error"]),
        older=_age("older", given["older"]),
        newer=_age("newer", given["newer"]),
    )
    if found.state not in AGED and (found.older or found.newer):
        raise FilterRefused(f"older: {found.state} jobs have no age; use it with {', '.join(sorted(AGED))}")
    if found.older and found.newer and found.older >= found.newer:
        raise FilterRefused("older: must be less than newer, or nothing matches both")
    return found


def _lane(text: str) -> str:
    try:
        return lane_argument(text) if text else ""
    except argparse.ArgumentTypeError as error:
        raise FilterRefused(f"lane: {error}") from None


def _kind(text: str) -> str:
    if text and not _KIND.fullmatch(text):
        raise FilterRefused(f"kind: {text[:64]!r} is not a kind; give a complete one, like mail.send")
    return text


def _domain(text: str) -> str:
    domain = text.lower().removeprefix("@")
    if domain and (len(domain) > _DOMAIN_LIMIT or not _DOMAIN.fullmatch(domain)):
        raise FilterRefused(f"domain: {text[:64]!r} is not a domain; give the part after the @, like example.com")
    return domain if domain.isascii() else _a_label(domain)


def _a_label(domain: str) -> str:
    """Return a domain in the form found in mails; unchanged if it has no such form."""
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _error(text: str) -> str:
    if len(text) > _ERROR_LIMIT or not text.isprintable():
        raise FilterRefused(f"error: must be printable and have at most {_ERROR_LIMIT} characters")
    return text.lower()


def _age(name: str, text: str) -> timedelta | None:
    if not text:
        return None
    try:
        return read_duration(text)
    except ValueError as error:
        raise FilterRefused(f"{name}: {error}") from None
